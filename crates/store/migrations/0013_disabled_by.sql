-- Who disabled a key, as the audit log names them: an owner undoes their own disabling and nobody else's. Of keys that were
-- disabled before it is not known, so those are enabled by whoever manages them.
ALTER TABLE api_key ADD COLUMN disabled_by TEXT;
