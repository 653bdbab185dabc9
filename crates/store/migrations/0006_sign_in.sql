-- How people sign in. Secrets are nowhere: passwords are Argon2id strings, tokens and codes are HMACs under the pepper,
-- the secret of the second factor is sealed.
CREATE TABLE credential (
    person_id {BYTES} NOT NULL PRIMARY KEY REFERENCES person (id),
    password  TEXT,
    totp      TEXT,
    totp_on   {BOOL} NOT NULL,
    totp_step {INT} NOT NULL
) {ROWLESS};

CREATE TABLE recovery_code (
    person_id {BYTES} NOT NULL REFERENCES person (id),
    digest    {BYTES} NOT NULL,
    PRIMARY KEY (person_id, digest)
) {ROWLESS};

CREATE TABLE session (
    digest     {BYTES} NOT NULL PRIMARY KEY,
    id         {BYTES} NOT NULL UNIQUE,
    person_id  {BYTES} NOT NULL REFERENCES person (id),
    created_at {INT} NOT NULL,
    seen_at    {INT} NOT NULL,
    expires_at {INT} NOT NULL,
    ip         TEXT,
    client     TEXT
) {ROWLESS};
CREATE INDEX session_person ON session (person_id, created_at);
CREATE INDEX session_expiry ON session (expires_at);

-- A link by which somebody sets their password. Without a person it makes the first owner.
CREATE TABLE sign_in_link (
    digest     {BYTES} NOT NULL PRIMARY KEY,
    person_id  {BYTES} REFERENCES person (id),
    expires_at {INT} NOT NULL,
    used_at    {INT}
) {ROWLESS};

-- Attempts to sign in, by account and by address.
CREATE TABLE throttle (
    subject  TEXT NOT NULL PRIMARY KEY,
    failures {INT} NOT NULL,
    last_at  {INT} NOT NULL,
    open_at  {INT} NOT NULL
) {ROWLESS};
CREATE INDEX throttle_age ON throttle (last_at);
