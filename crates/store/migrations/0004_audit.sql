-- The audit log: one row for each change, in one chain. hash is SHA-256 over the entry and the hash of the entry before it
-- (see audit/entry.rs); before and after are JSON of what changed.
CREATE TABLE audit (
    seq          {INT} NOT NULL PRIMARY KEY CHECK (seq > 0),
    at           {INT} NOT NULL,
    actor_kind   TEXT NOT NULL,
    actor_id     TEXT,
    actor_name   TEXT NOT NULL,
    surface      TEXT NOT NULL,
    ip           TEXT,
    client       TEXT,
    request      TEXT,
    verb         TEXT NOT NULL,
    organisation TEXT,
    object_kind  TEXT NOT NULL,
    object_id    TEXT NOT NULL,
    object_name  TEXT NOT NULL,
    before       TEXT,
    after        TEXT,
    hash         TEXT NOT NULL
) {STRICT};
CREATE INDEX audit_object ON audit (object_id, seq);
CREATE INDEX audit_actor ON audit (actor_id, seq);
CREATE INDEX audit_organisation ON audit (organisation, seq);

-- The end of the chain, so that a tail that is cut off is missed. seal is a MAC under the pepper, which is not in the
-- database: who can only write to the database cannot make another end. The row is what writers queue for.
CREATE TABLE audit_head (
    one  {INT} NOT NULL PRIMARY KEY CHECK (one = 1),
    seq  {INT} NOT NULL,
    hash TEXT NOT NULL,
    seal TEXT NOT NULL
) {STRICT};
INSERT INTO audit_head (one, seq, hash, seal)
VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000', '');

{APPEND_ONLY_AUDIT}
