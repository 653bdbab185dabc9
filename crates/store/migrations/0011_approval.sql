-- Requests for more than a key has, or for a key, and what became of them. wish is what is asked for; granted is what was
-- changed when it was approved, so that it can be taken back at ends_at. new_key says what key is to be made, key_id which
-- one was; collected_at is when whoever asked has taken its secret.
CREATE TABLE approval (
    id              {BYTES} NOT NULL PRIMARY KEY,
    organisation_id {BYTES} NOT NULL REFERENCES organisation (id),
    project_id      {BYTES} NOT NULL REFERENCES project (id),
    member_id       {BYTES} REFERENCES membership (id),
    key_id          {BYTES} REFERENCES api_key (id),
    new_key         TEXT,
    collected_at    {INT},
    wish            TEXT NOT NULL,
    reason          TEXT NOT NULL,
    asked_by        TEXT NOT NULL,
    asked_by_name   TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('waiting', 'approved', 'refused', 'withdrawn', 'lapsed', 'ended')),
    lapses_at       {INT} NOT NULL,
    decided_by      TEXT,
    decided_by_name TEXT,
    decided_at      {INT},
    answer          TEXT,
    granted         TEXT,
    ends_at         {INT},
    version         {INT} NOT NULL,
    created_at      {INT} NOT NULL,
    updated_at      {INT} NOT NULL,
    CHECK (key_id IS NOT NULL OR new_key IS NOT NULL)
) {ROWLESS};
CREATE INDEX approval_organisation ON approval (organisation_id, id);
CREATE INDEX approval_key ON approval (key_id, id);
CREATE INDEX approval_project ON approval (project_id, id);
CREATE INDEX approval_member ON approval (member_id, id) WHERE member_id IS NOT NULL;
CREATE INDEX approval_waiting ON approval (lapses_at) WHERE state = 'waiting';
CREATE INDEX approval_running ON approval (ends_at) WHERE state = 'approved' AND ends_at IS NOT NULL;
CREATE INDEX approval_asker ON approval (asked_by, id);
