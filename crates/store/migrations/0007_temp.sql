-- What a key has that was minted from another one: its parent, how many requests it may make in its life, and the parent's
-- secret that asked for it. The table of step 5 was made for this and never written to; beside the key it is read with it.
DROP TABLE temp_key;

ALTER TABLE api_key ADD COLUMN parent_id {BYTES} REFERENCES api_key (id);
ALTER TABLE api_key ADD COLUMN request_limit {INT} CHECK (request_limit > 0);
ALTER TABLE api_key ADD COLUMN minted_with TEXT;

CREATE INDEX api_key_parent ON api_key (parent_id, id) WHERE parent_id IS NOT NULL;
