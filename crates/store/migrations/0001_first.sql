-- Written once for both databases; the words in braces are put in by migrate.rs. Times are milliseconds since 1970,
-- money is nano-dollars, ids are 16 bytes that sort by time of making, lists and maps are JSON text.

CREATE TABLE setting (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) {STRICT};

CREATE TABLE api_key (
    id                   {BYTES} NOT NULL PRIMARY KEY,
    kind                 TEXT NOT NULL,
    name                 TEXT NOT NULL,
    description          TEXT NOT NULL,
    tags                 TEXT NOT NULL,
    owner                TEXT,
    creator              TEXT,
    project              TEXT,
    environment          TEXT,
    scopes               TEXT NOT NULL,
    disabled             {BOOL} NOT NULL,
    deleted_at           {INT},
    expires_at           {INT},
    browser_allowed      {BOOL} NOT NULL,
    spend_limit          {INT} CHECK (spend_limit >= 0),
    spent                {INT} NOT NULL,
    note                 TEXT NOT NULL,
    rotation_interval_ms {INT},
    review_at            {INT},
    exposed_at           {INT},
    version              {INT} NOT NULL,
    created_at           {INT} NOT NULL,
    updated_at           {INT} NOT NULL
) {ROWLESS};
CREATE INDEX api_key_name ON api_key (name, id);

-- The secret itself is nowhere: digest is its HMAC under the pepper, or, for a key of another system that was not used
-- yet, its plain SHA-256. pending marks the new secret of a rotation until its first use.
CREATE TABLE secret (
    public_id     TEXT NOT NULL PRIMARY KEY,
    digest        {BYTES} NOT NULL UNIQUE,
    digest_kind   TEXT NOT NULL CHECK (digest_kind IN ('hmac', 'sha256')),
    imported      {BOOL} NOT NULL,
    key_id        {BYTES} NOT NULL REFERENCES api_key (id),
    state         TEXT NOT NULL CHECK (state IN ('live', 'superseded', 'dead')),
    pending       {BOOL} NOT NULL,
    created_at    {INT} NOT NULL,
    first_used_at {INT},
    last_used_at  {INT},
    last_ip       TEXT,
    expires_at    {INT},
    overlap_ms    {INT},
    rotation_id   TEXT
) {ROWLESS};
CREATE INDEX secret_key ON secret (key_id, created_at);
CREATE INDEX secret_pending ON secret (public_id) WHERE pending;

CREATE TABLE provider (
    name          TEXT NOT NULL PRIMARY KEY,
    kind          TEXT NOT NULL,
    base_url      TEXT,
    sealed_key    TEXT,
    allow_private {BOOL} NOT NULL,
    disabled      {BOOL} NOT NULL,
    version       {INT} NOT NULL,
    created_at    {INT} NOT NULL,
    updated_at    {INT} NOT NULL
) {STRICT};

-- Kept apart from provider, because providers of the settings file are tested too.
CREATE TABLE provider_test (
    name       TEXT NOT NULL PRIMARY KEY,
    models     TEXT NOT NULL,
    tested_at  {INT} NOT NULL,
    test_error TEXT
) {STRICT};

CREATE TABLE alias (
    name   TEXT NOT NULL PRIMARY KEY,
    target TEXT NOT NULL
) {STRICT};

CREATE TABLE catalogue (
    id        {SERIAL},
    loaded_at {INT} NOT NULL,
    source    TEXT NOT NULL,
    bytes     {BYTES} NOT NULL
) {STRICT};

-- One row for each attempt, the hottest write: closed sets are the numbers that core gives them (endpoint, dialect,
-- outcome, usage_source), what is usually empty is NULL, and the units that most calls use have columns of their own.
CREATE TABLE usage (
    request        {BYTES} NOT NULL,
    attempt        {INT} NOT NULL,
    key_id         {BYTES} NOT NULL,
    secret         {BYTES} NOT NULL,
    endpoint       {INT} NOT NULL,
    dialect        {INT} NOT NULL,
    stream         {BOOL} NOT NULL,
    provider       TEXT,
    model_asked    TEXT,
    model_sent     TEXT,
    model_served   TEXT,
    status         {INT} NOT NULL,
    outcome        {INT} NOT NULL,
    code           TEXT,
    input          {INT} NOT NULL,
    cache_read     {INT} NOT NULL,
    cache_write_5m {INT} NOT NULL,
    output         {INT} NOT NULL,
    reasoning      {INT} NOT NULL,
    other_units    TEXT,
    usage_source   {INT} NOT NULL,
    cost           {INT},
    hold           {INT} NOT NULL,
    price_id       {INT} NOT NULL,
    started_at     {INT} NOT NULL,
    first_byte_us  {INT} NOT NULL,
    total_us       {INT} NOT NULL,
    bytes_in       {INT} NOT NULL,
    bytes_out      {INT} NOT NULL,
    upstream_id    TEXT,
    client         TEXT,
    PRIMARY KEY (request, attempt)
) {ROWLESS};
CREATE INDEX usage_key ON usage (key_id, request);

-- Sums of usage, moved in the same transaction and only by rows really inserted. day counts days since 1970 in UTC.
CREATE TABLE usage_day (
    day         {INT} NOT NULL,
    key_id      {BYTES} NOT NULL,
    provider    TEXT NOT NULL,
    model       TEXT NOT NULL,
    requests    {INT} NOT NULL,
    errors      {INT} NOT NULL,
    input       {INT} NOT NULL,
    cache_read  {INT} NOT NULL,
    cache_write {INT} NOT NULL,
    output      {INT} NOT NULL,
    reasoning   {INT} NOT NULL,
    cost        {INT} NOT NULL,
    unpriced    {INT} NOT NULL,
    estimated   {INT} NOT NULL,
    PRIMARY KEY (day, key_id, provider, model)
) {ROWLESS};
CREATE INDEX usage_day_key ON usage_day (key_id, day);

-- An answer is sealed, since it may hold a secret. No answer yet: the request is being worked on.
CREATE TABLE idempotency (
    route      TEXT NOT NULL,
    key        TEXT NOT NULL,
    body_hash  {BYTES} NOT NULL,
    ticket     {INT} NOT NULL,
    status     {INT},
    answer     TEXT,
    started_at {INT} NOT NULL,
    expires_at {INT} NOT NULL,
    PRIMARY KEY (route, key)
) {ROWLESS};
CREATE INDEX idempotency_expiry ON idempotency (expires_at);

-- What other replicas must re-read (PostgreSQL only; empty in SQLite).
CREATE TABLE change (
    seq  {SERIAL},
    kind TEXT NOT NULL,
    id   {BYTES} NOT NULL,
    at   {INT} NOT NULL
) {STRICT};
CREATE INDEX change_at ON change (at);
