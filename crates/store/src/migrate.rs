//! Brings a database up to date: embedded steps, forward only, all in one transaction, each known by its checksum.

use crate::change::Boxed;
use crate::db::{Db, Tx, params};
use crate::error::{Result, StoreError};
use sha2::{Digest as _, Sha256};

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
    /// What SQL cannot say, done after it in the same transaction.
    then: Option<Then>,
}

type Then = for<'a> fn(&'a mut Tx, i64) -> Boxed<'a, ()>;

/// A step that was shipped is never edited: its checksum is in every database.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "first", sql: include_str!("../migrations/0001_first.sql"), then: None },
    Migration {
        version: 2,
        name: "tenancy",
        sql: include_str!("../migrations/0002_tenancy.sql"),
        then: Some(crate::adopt::adopt),
    },
    Migration { version: 4, name: "audit", sql: include_str!("../migrations/0004_audit.sql"), then: None },
    Migration { version: 5, name: "exposure", sql: include_str!("../migrations/0005_exposure.sql"), then: None },
    Migration { version: 6, name: "sign_in", sql: include_str!("../migrations/0006_sign_in.sql"), then: None },
    Migration { version: 7, name: "temp", sql: include_str!("../migrations/0007_temp.sql"), then: None },
    Migration { version: 9, name: "roles", sql: include_str!("../migrations/0009_roles.sql"), then: None },
    Migration { version: 10, name: "notices", sql: include_str!("../migrations/0010_notices.sql"), then: None },
    Migration { version: 11, name: "approval", sql: include_str!("../migrations/0011_approval.sql"), then: None },
    Migration { version: 12, name: "oidc", sql: include_str!("../migrations/0012_oidc.sql"), then: None },
    Migration { version: 13, name: "disabled_by", sql: include_str!("../migrations/0013_disabled_by.sql"), then: None },
    Migration { version: 14, name: "key_indexes", sql: include_str!("../migrations/0014_key_indexes.sql"), then: None },
    Migration {
        version: 15,
        name: "project_rules",
        sql: include_str!("../migrations/0015_project_rules.sql"),
        then: None,
    },
    Migration { version: 16, name: "leases", sql: include_str!("../migrations/0016_leases.sql"), then: None },
];

/// Any number, the same in every release: replicas that start together take turns.
const MIGRATION_LOCK: i64 = 0x616e_796b_6579_0001;

impl Migration {
    fn checksum(&self) -> String {
        crate::secrets_files::hex(&Sha256::digest(self.sql.as_bytes()))
    }
}

/// Against mistakes, ours and those of whoever looks after the database; what gets past it shows in the chain.
const APPEND_ONLY_POSTGRES: &str = "CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$; \
    CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit \
    FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();";
const APPEND_ONLY_SQLITE: &str = "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN \
    SELECT RAISE(ABORT, 'the audit log is append-only'); END; \
    CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN \
    SELECT RAISE(ABORT, 'the audit log is append-only'); END;";

/// Puts the words of one database in the place of the tokens.
fn spell(sql: &str, postgres: bool) -> String {
    let words: [(&str, &str); 10] = if postgres {
        [
            ("{BYTES}", "BYTEA"),
            ("{INT}", "BIGINT"),
            ("{BOOL}", "BOOLEAN"),
            ("{SERIAL}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
            ("{STRICT}", ""),
            ("{ROWLESS}", ""),
            ("{DEFAULT_ID}", r"'\x00000000000000000000000000000000'::bytea"),
            ("{EACH_TAG}", "json_each_text(k.tags::json)"),
            ("{APPEND_ONLY_AUDIT}", APPEND_ONLY_POSTGRES),
            ("{VISIBLE_INDEX}", "CREATE INDEX secret_visible ON secret (public_id text_pattern_ops);"),
        ]
    } else {
        [
            ("{BYTES}", "BLOB"),
            ("{INT}", "INTEGER"),
            ("{BOOL}", "INTEGER"),
            ("{SERIAL}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
            ("{STRICT}", "STRICT"),
            ("{ROWLESS}", "STRICT, WITHOUT ROWID"),
            ("{DEFAULT_ID}", "x'00000000000000000000000000000000'"),
            ("{EACH_TAG}", "json_each(k.tags)"),
            ("{APPEND_ONLY_AUDIT}", APPEND_ONLY_SQLITE),
            // Its primary key answers that, since it compares bytes.
            ("{VISIBLE_INDEX}", ""),
        ]
    };
    words.into_iter().fold(sql.to_owned(), |sql, (token, word)| sql.replace(token, word))
}

/// Runs what is missing. A database that a newer release made, or whose steps differ from ours, is refused.
pub(crate) async fn run(db: &Db, now_ms: i64) -> Result<()> {
    run_steps(db, MIGRATIONS, now_ms).await
}

async fn run_steps(db: &Db, steps: &[Migration], now_ms: i64) -> Result<()> {
    let mut tx = db.begin().await?;
    if tx.is_postgres() {
        tx.exec("SELECT pg_advisory_xact_lock($1)", params![MIGRATION_LOCK]).await?;
    }
    tx.script(spell(
        "CREATE TABLE IF NOT EXISTS migration (version {INT} NOT NULL PRIMARY KEY, name TEXT NOT NULL, \
         checksum TEXT NOT NULL, applied_at {INT} NOT NULL) {STRICT}",
        tx.is_postgres(),
    ))
    .await?;
    let done: Vec<(i64, String)> =
        tx.all("SELECT version, checksum FROM migration ORDER BY version", params![]).await?;
    check(steps, &done)?;
    for step in steps.iter().filter(|step| !done.iter().any(|(version, _)| *version == step.version)) {
        apply(&mut tx, step, now_ms).await?;
    }
    tx.commit().await?;
    db.forget_pages().await
}

async fn apply(tx: &mut Tx, step: &Migration, now_ms: i64) -> Result<()> {
    tx.script(spell(step.sql, tx.is_postgres())).await?;
    if let Some(then) = step.then {
        then(tx, now_ms).await?;
    }
    tx.exec(
        "INSERT INTO migration (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)",
        params![step.version, step.name, step.checksum(), now_ms],
    )
    .await?;
    Ok(())
}

fn check(steps: &[Migration], done: &[(i64, String)]) -> Result<()> {
    let newest = steps.last().map_or(0, |step| step.version);
    if let Some((version, _)) = done.iter().find(|(version, _)| *version > newest) {
        return Err(StoreError::Refused(format!(
            "the database was written by a newer anykey (its schema is {version}, this program knows {newest}); \
             start that release, or restore a backup made before the upgrade"
        )));
    }
    for (version, checksum) in done {
        // Steps that were made side by side may have been run in another order; each is known by what it says.
        if !steps.iter().any(|step| step.version == *version && step.checksum() == *checksum) {
            return Err(StoreError::Refused(format!(
                "the database's schema {version} is not the one that this program knows; it was made by another program \
                 or altered by hand"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Migration = Migration { version: 1, name: "one", sql: "CREATE TABLE one (n {INT})", then: None };
    const TWO: Migration = Migration { version: 2, name: "two", sql: "CREATE TABLE two (n {INT})", then: None };

    #[test]
    fn a_newer_or_another_database_is_refused() {
        let one = (1, ONE.checksum());
        assert_eq!(check(&[ONE, TWO], &[]), Ok(()));
        assert_eq!(check(&[ONE, TWO], std::slice::from_ref(&one)), Ok(()));
        let newer = check(&[ONE], &[one.clone(), (2, TWO.checksum())]);
        assert!(matches!(newer, Err(StoreError::Refused(text)) if text.contains("newer anykey")));
        assert!(matches!(check(&[ONE, TWO], &[(1, TWO.checksum())]), Err(StoreError::Refused(_))));
    }

    #[test]
    fn every_token_has_a_word_in_both_languages() {
        for step in MIGRATIONS {
            for postgres in [true, false] {
                assert!(!spell(step.sql, postgres).contains('{'), "{} {postgres}", step.name);
            }
        }
    }

    #[test]
    fn versions_go_up() {
        for pair in MIGRATIONS.windows(2) {
            assert!(pair[0].version < pair[1].version, "{}", pair[1].name);
        }
    }

    #[test]
    fn a_step_that_was_made_beside_a_later_one_is_not_taken_for_a_strange_one() {
        assert_eq!(check(&[ONE, TWO], &[(2, TWO.checksum())]), Ok(()));
    }
}
