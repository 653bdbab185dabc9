-- Keys that were seen where secrets do not belong: who said so, of which secret, and where it stands.
CREATE TABLE exposure (
    key_id    {BYTES} NOT NULL REFERENCES api_key (id),
    public_id TEXT NOT NULL,
    source    TEXT NOT NULL,
    place     TEXT NOT NULL,
    at        {INT} NOT NULL,
    PRIMARY KEY (key_id, public_id, source, place)
) {ROWLESS};

-- Signed reports that were taken, by their hash: none counts twice.
CREATE TABLE exposure_report (
    hash {BYTES} NOT NULL PRIMARY KEY,
    at   {INT} NOT NULL
) {ROWLESS};
CREATE INDEX exposure_report_at ON exposure_report (at);

-- What a key of the kind temp has beyond other keys. Its parent is the key that it was minted from.
CREATE TABLE temp_key (
    key_id        {BYTES} NOT NULL PRIMARY KEY REFERENCES api_key (id),
    parent_id     {BYTES} NOT NULL REFERENCES api_key (id),
    request_limit {INT} CHECK (request_limit > 0),
    ip            TEXT,
    models        TEXT
) {ROWLESS};
CREATE INDEX temp_key_parent ON temp_key (parent_id);
