-- The temporary keys that are not buried yet: those of one parent by their end, which is asked for whenever one is minted
-- and whenever a secret ends, and all of them by their end, for the burials. Neither grows with the dead.
CREATE INDEX api_key_temp_of ON api_key (parent_id, expires_at) WHERE parent_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX api_key_temp_end ON api_key (expires_at, id) WHERE parent_id IS NOT NULL AND deleted_at IS NULL;

-- Who has keys in a project, and how many, without going through its keys.
CREATE INDEX api_key_of_member ON api_key (project_id, member_id)
    WHERE member_id IS NOT NULL AND deleted_at IS NULL AND parent_id IS NULL;
CREATE INDEX api_key_of_account ON api_key (project_id, service_account_id)
    WHERE service_account_id IS NOT NULL AND deleted_at IS NULL AND parent_id IS NULL;
