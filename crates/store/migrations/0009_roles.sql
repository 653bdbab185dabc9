-- Where all keys of a job are, if they are in one organisation, so that those who manage it see the job. Jobs of before
-- stay with who asked for them and with operators.
ALTER TABLE job ADD COLUMN organisation_id {BYTES} REFERENCES organisation (id);
CREATE INDEX job_organisation ON job (organisation_id, id) WHERE organisation_id IS NOT NULL;
CREATE INDEX job_creator ON job (creator, id) WHERE creator IS NOT NULL;
