-- Processes that spend from the same budgets. run tells apart those that call themselves alike: only the newest is lent to.
CREATE TABLE replica (
    id      {BYTES} NOT NULL PRIMARY KEY,
    run     {BYTES} NOT NULL,
    seen_at {INT} NOT NULL
) {ROWLESS};

-- Budgets that several processes spend from, each in one window of time (milliseconds since 1970). settled is the cost of
-- all stored attempts that began in it; it moves in their transaction. Until wanted_until somebody waits for what others
-- have leased and do not need.
CREATE TABLE budget_window (
    subject      {BYTES} NOT NULL,
    level        {INT} NOT NULL,
    span         {INT} NOT NULL,
    window_start {INT} NOT NULL,
    window_end   {INT} NOT NULL,
    settled      {INT} NOT NULL,
    wanted_until {INT} NOT NULL,
    PRIMARY KEY (subject, level, span, window_start)
) {ROWLESS};

-- What a process keeps of one for itself. firm_at is when it last said that it needs all of that; NULL: it may not.
CREATE TABLE budget_lease (
    subject      {BYTES} NOT NULL,
    level        {INT} NOT NULL,
    span         {INT} NOT NULL,
    window_start {INT} NOT NULL,
    replica      {BYTES} NOT NULL,
    amount       {INT} NOT NULL CHECK (amount >= 0),
    firm_at      {INT},
    PRIMARY KEY (subject, level, span, window_start, replica)
) {ROWLESS};
CREATE INDEX budget_lease_replica ON budget_lease (replica);
