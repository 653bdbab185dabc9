-- Rules for the keys of a project, beside those of its organisation.
ALTER TABLE project ADD COLUMN key_rules TEXT;

-- What is visible of a secret is looked for by its beginning.
{VISIBLE_INDEX}
