-- Notices: who is told of what, and what is still to be delivered. A notice is written in the transaction of the change
-- that it tells of, with one row for everybody who is to get it.

-- Without an organisation it is told of all of them; without a project, of all projects. events is empty for all, or names
-- with commas between and around them. secret is sealed; old_secret signs beside it until old_secret_until.
CREATE TABLE destination (
    id               {BYTES} NOT NULL PRIMARY KEY,
    organisation_id  {BYTES} REFERENCES organisation (id),
    project_id       {BYTES} REFERENCES project (id),
    name             TEXT NOT NULL,
    channel          TEXT NOT NULL CHECK (channel IN ('webhook', 'email')),
    address          TEXT NOT NULL,
    events           TEXT NOT NULL,
    secret           TEXT,
    old_secret       TEXT,
    old_secret_until {INT},
    disabled         {BOOL} NOT NULL,
    version          {INT} NOT NULL,
    created_at       {INT} NOT NULL,
    updated_at       {INT} NOT NULL
) {ROWLESS};
CREATE INDEX destination_organisation ON destination (organisation_id, id);

-- data is a JSON object; what ends in _at is milliseconds.
CREATE TABLE notice (
    id              {BYTES} NOT NULL PRIMARY KEY,
    event           TEXT NOT NULL,
    organisation_id {BYTES},
    project_id      {BYTES},
    key_id          {BYTES},
    data            TEXT NOT NULL,
    created_at      {INT} NOT NULL
) {ROWLESS};
CREATE INDEX notice_age ON notice (created_at);

-- organisation_id is whose delivery it is: the destination's, or that of what a person is told. A destination that was
-- deleted is named here still. lane is what a slow receiver holds up: its own destination, or all mail. attempts counts up
-- when a process takes the row, and so tells that process from a later one; claimed_until is when it is taken for dead.
CREATE TABLE delivery (
    id              {BYTES} NOT NULL PRIMARY KEY,
    notice_id       {BYTES} NOT NULL REFERENCES notice (id),
    organisation_id {BYTES},
    destination_id  {BYTES},
    channel         TEXT NOT NULL CHECK (channel IN ('webhook', 'email')),
    address         TEXT NOT NULL,
    lane            TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'failed')),
    attempts        {INT} NOT NULL,
    next_at         {INT} NOT NULL,
    claimed_until   {INT},
    last_status     {INT},
    last_error      TEXT,
    done_at         {INT},
    created_at      {INT} NOT NULL
) {ROWLESS};
CREATE INDEX delivery_waiting ON delivery (next_at, id) WHERE state = 'waiting';
CREATE INDEX delivery_done ON delivery (done_at) WHERE state <> 'waiting';
CREATE INDEX delivery_notice ON delivery (notice_id);
CREATE INDEX delivery_organisation ON delivery (organisation_id, id) WHERE organisation_id IS NOT NULL;
CREATE INDEX delivery_destination ON delivery (destination_id, id) WHERE destination_id IS NOT NULL;

-- What was told once, so that nobody is told twice. subject is a key's id, or the name of a level and an id; due is the
-- moment that it is about, and another one when the key changes.
CREATE TABLE reminder (
    subject {BYTES} NOT NULL,
    event   TEXT NOT NULL,
    stage   {INT} NOT NULL,
    due     {INT} NOT NULL,
    at      {INT} NOT NULL,
    PRIMARY KEY (subject, event, stage, due)
) {ROWLESS};
CREATE INDEX reminder_age ON reminder (at);

-- When the key is to be rotated: its interval after the making of its newest secret in use.
ALTER TABLE api_key ADD COLUMN rotate_at {INT};
UPDATE api_key SET rotate_at = rotation_interval_ms +
    (SELECT MAX(created_at) FROM secret WHERE key_id = api_key.id AND state <> 'dead' AND NOT pending)
    WHERE rotation_interval_ms IS NOT NULL;
CREATE INDEX api_key_money ON api_key (spend_limit, id) WHERE spend_limit IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX api_key_rotation ON api_key (rotate_at, id) WHERE rotate_at IS NOT NULL AND deleted_at IS NULL;
