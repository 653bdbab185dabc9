-- Organisations, projects, people and service accounts, and what keys get from them. Rows of these tables are never
-- removed: what is deleted stays as a tombstone, since keys and records name it.

CREATE TABLE organisation (
    id          {BYTES} NOT NULL PRIMARY KEY,
    slug        TEXT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    controls    TEXT,
    key_rules   TEXT,
    disabled    {BOOL} NOT NULL,
    deleted_at  {INT},
    version     {INT} NOT NULL,
    created_at  {INT} NOT NULL,
    updated_at  {INT} NOT NULL
) {ROWLESS};
CREATE UNIQUE INDEX organisation_slug ON organisation (slug) WHERE deleted_at IS NULL;

CREATE TABLE project (
    id              {BYTES} NOT NULL PRIMARY KEY,
    organisation_id {BYTES} NOT NULL REFERENCES organisation (id),
    slug            TEXT NOT NULL,
    name            TEXT NOT NULL,
    description     TEXT NOT NULL,
    controls        TEXT,
    disabled        {BOOL} NOT NULL,
    deleted_at      {INT},
    version         {INT} NOT NULL,
    created_at      {INT} NOT NULL,
    updated_at      {INT} NOT NULL
) {ROWLESS};
CREATE UNIQUE INDEX project_slug ON project (organisation_id, slug) WHERE deleted_at IS NULL;
CREATE INDEX project_organisation ON project (organisation_id, id);

-- email_key is the e-mail in lower case: no two people share one.
CREATE TABLE person (
    id         {BYTES} NOT NULL PRIMARY KEY,
    email      TEXT NOT NULL,
    email_key  TEXT NOT NULL,
    name       TEXT NOT NULL,
    operator   {BOOL} NOT NULL,
    disabled   {BOOL} NOT NULL,
    deleted_at {INT},
    version    {INT} NOT NULL,
    created_at {INT} NOT NULL,
    updated_at {INT} NOT NULL
) {ROWLESS};
CREATE UNIQUE INDEX person_email ON person (email_key) WHERE deleted_at IS NULL;

-- A person in an organisation. Its version also goes up when the person changes, so that it alone tells old from new.
CREATE TABLE membership (
    id              {BYTES} NOT NULL PRIMARY KEY,
    organisation_id {BYTES} NOT NULL REFERENCES organisation (id),
    person_id       {BYTES} NOT NULL REFERENCES person (id),
    role            TEXT NOT NULL CHECK (role IN ('admin', 'member', 'viewer', 'auditor')),
    controls        TEXT,
    disabled        {BOOL} NOT NULL,
    deleted_at      {INT},
    version         {INT} NOT NULL,
    created_at      {INT} NOT NULL,
    updated_at      {INT} NOT NULL,
    UNIQUE (organisation_id, person_id)
) {ROWLESS};
CREATE INDEX membership_organisation ON membership (organisation_id, id);
CREATE INDEX membership_person ON membership (person_id, id);

CREATE TABLE project_role (
    project_id {BYTES} NOT NULL REFERENCES project (id),
    person_id  {BYTES} NOT NULL REFERENCES person (id),
    role       TEXT NOT NULL CHECK (role IN ('owner')),
    created_at {INT} NOT NULL,
    PRIMARY KEY (project_id, person_id)
) {ROWLESS};
CREATE INDEX project_role_person ON project_role (person_id, project_id);

-- Without a project it may own keys in every project of its organisation.
CREATE TABLE service_account (
    id              {BYTES} NOT NULL PRIMARY KEY,
    organisation_id {BYTES} NOT NULL REFERENCES organisation (id),
    project_id      {BYTES} REFERENCES project (id),
    name            TEXT NOT NULL,
    description     TEXT NOT NULL,
    controls        TEXT,
    disabled        {BOOL} NOT NULL,
    deleted_at      {INT},
    version         {INT} NOT NULL,
    created_at      {INT} NOT NULL,
    updated_at      {INT} NOT NULL
) {ROWLESS};
CREATE UNIQUE INDEX service_account_name ON service_account (organisation_id, name) WHERE deleted_at IS NULL;
CREATE INDEX service_account_organisation ON service_account (organisation_id, id);

-- Where keys belong that were made before there were organisations, and that are made without naming one.
INSERT INTO organisation (id, slug, name, description, disabled, version, created_at, updated_at)
    VALUES ({DEFAULT_ID}, 'default', 'Default', '', FALSE, 1, 0, 0);
INSERT INTO project (id, organisation_id, slug, name, description, disabled, version, created_at, updated_at)
    VALUES ({DEFAULT_ID}, {DEFAULT_ID}, 'default', 'Default', '', FALSE, 1, 0, 0);

-- SQLite takes no reference on a column that is added with a default; the store checks both when it writes them.
ALTER TABLE api_key ADD COLUMN organisation_id {BYTES} NOT NULL DEFAULT {DEFAULT_ID};
ALTER TABLE api_key ADD COLUMN project_id {BYTES} NOT NULL DEFAULT {DEFAULT_ID};
ALTER TABLE api_key ADD COLUMN member_id {BYTES} REFERENCES membership (id);
ALTER TABLE api_key ADD COLUMN service_account_id {BYTES} REFERENCES service_account (id);
ALTER TABLE api_key ADD COLUMN controls TEXT;
-- When a new owner was asked to rotate the key, which its old owner still knows.
ALTER TABLE api_key ADD COLUMN rotation_asked_at {INT};
-- The day, counted as in usage_day, of the last use, or of the making while there was none.
ALTER TABLE api_key ADD COLUMN active_day {INT} NOT NULL DEFAULT 0;
-- Name and description in lower case, for searches.
ALTER TABLE api_key ADD COLUMN search TEXT NOT NULL DEFAULT '';

UPDATE api_key SET search = LOWER(name || '
' || description),
    active_day = COALESCE((SELECT MAX(last_used_at) FROM secret WHERE key_id = api_key.id), created_at) / 86400000;

CREATE INDEX api_key_organisation ON api_key (organisation_id, id);
CREATE INDEX api_key_project ON api_key (project_id, id);
CREATE INDEX api_key_member ON api_key (member_id, id) WHERE member_id IS NOT NULL;
CREATE INDEX api_key_service_account ON api_key (service_account_id, id) WHERE service_account_id IS NOT NULL;
CREATE INDEX api_key_owner ON api_key (owner, id) WHERE owner IS NOT NULL;
CREATE INDEX api_key_kind ON api_key (kind, id);
CREATE INDEX api_key_environment ON api_key (environment, id) WHERE environment IS NOT NULL;
CREATE INDEX api_key_disabled ON api_key (id) WHERE disabled AND deleted_at IS NULL;
CREATE INDEX api_key_revoked ON api_key (id) WHERE deleted_at IS NOT NULL;
CREATE INDEX api_key_expiry ON api_key (expires_at, id) WHERE expires_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX api_key_review ON api_key (review_at, id) WHERE review_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX api_key_active ON api_key (active_day, id) WHERE deleted_at IS NULL;

-- The tags of api_key.tags once more, to find keys by.
CREATE TABLE key_tag (
    key_id {BYTES} NOT NULL REFERENCES api_key (id),
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (name, key_id)
) {ROWLESS};
CREATE INDEX key_tag_value ON key_tag (name, value, key_id);
CREATE INDEX key_tag_key ON key_tag (key_id);
INSERT INTO key_tag (key_id, name, value) SELECT k.id, t.key, t.value FROM api_key k, {EACH_TAG} AS t;

-- A secret that is new or on its way out: what makes a key rotating.
CREATE INDEX secret_turning ON secret (key_id) WHERE state <> 'dead' AND (pending OR state = 'superseded');

-- Work on many keys. What is done is said key by key, in the transaction that does it.
CREATE TABLE job (
    id          {BYTES} NOT NULL PRIMARY KEY,
    action      TEXT NOT NULL,
    creator     TEXT,
    state       TEXT NOT NULL CHECK (state IN ('running', 'done')),
    total       {INT} NOT NULL,
    done        {INT} NOT NULL,
    skipped     {INT} NOT NULL,
    created_at  {INT} NOT NULL,
    finished_at {INT}
) {ROWLESS};
CREATE INDEX job_running ON job (id) WHERE state = 'running';

-- outcome is NULL until the key's turn has come, then empty or why the key was left as it was.
CREATE TABLE job_item (
    job_id  {BYTES} NOT NULL REFERENCES job (id),
    key_id  {BYTES} NOT NULL REFERENCES api_key (id),
    outcome TEXT,
    PRIMARY KEY (job_id, key_id)
) {ROWLESS};
CREATE INDEX job_item_waiting ON job_item (job_id, key_id) WHERE outcome IS NULL;
