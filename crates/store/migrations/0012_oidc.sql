-- Who people are at issuers of OpenID Connect. The issuer is its URL, not what the settings file calls it.
CREATE TABLE identity (
    issuer     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    person_id  {BYTES} NOT NULL REFERENCES person (id),
    created_at {INT} NOT NULL,
    seen_at    {INT} NOT NULL,
    PRIMARY KEY (issuer, subject)
) {ROWLESS};
CREATE INDEX identity_person ON identity (person_id, issuer);

-- What somebody has because an issuer's claims say so. Only that is taken away when they no longer do.
CREATE TABLE issuer_membership (
    person_id       {BYTES} NOT NULL REFERENCES person (id),
    organisation_id {BYTES} NOT NULL REFERENCES organisation (id),
    issuer          TEXT NOT NULL,
    PRIMARY KEY (person_id, organisation_id)
) {ROWLESS};
CREATE TABLE issuer_operator (
    person_id {BYTES} NOT NULL PRIMARY KEY REFERENCES person (id),
    issuer    TEXT NOT NULL
) {ROWLESS};

-- Where a session was begun at an issuer: who and which session it is there, so that the issuer can end it.
ALTER TABLE session ADD COLUMN issuer TEXT;
ALTER TABLE session ADD COLUMN issuer_subject TEXT;
ALTER TABLE session ADD COLUMN issuer_session TEXT;
CREATE INDEX session_issuer ON session (issuer, issuer_subject) WHERE issuer IS NOT NULL;

-- What works once and was used, until it would have run out anyway.
CREATE TABLE spent (
    digest     {BYTES} NOT NULL PRIMARY KEY,
    expires_at {INT} NOT NULL
) {ROWLESS};
CREATE INDEX spent_expiry ON spent (expires_at);
