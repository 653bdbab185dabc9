//! Starting: what is made, what is refused and with which exit code.

use crate::home::*;
use anykey_store::{Database, Options, Store, StoreError};
use std::fs;
use std::os::unix::fs::PermissionsExt;

on_both!(
    a_first_start_makes_what_is_missing_and_a_second_finds_it,
    a_lost_or_another_pepper_or_kek_is_refused,
    a_second_process_is_refused,
    a_newer_database_is_refused,
);

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn a_first_start_makes_what_is_missing_and_a_second_finds_it(home: &Home) {
    let options = Options { data_dir: home.dir().join("a/b"), ..home.options() };
    let store = Store::open(options.clone()).await.unwrap();
    let (key, token) = make(&store, "k").await;
    assert_eq!(mode(&options.data_dir), 0o700);
    for file in ["pepper", "kek"] {
        assert_eq!(mode(&options.data_dir.join(file)), 0o600);
    }
    if store.database() == "sqlite" {
        for file in ["anykey.db", "anykey.db-wal"] {
            assert_eq!(mode(&options.data_dir.join(file)), 0o600, "{file}");
        }
    }
    store.ping().await.unwrap();
    store.close().await;
    assert!(store.ping().await.is_err());
    drop(store);
    let store = Store::open(options).await.unwrap();
    assert_eq!(live(&store, &token, START).await.info.id, key.id);
    assert!(store.is_fresh());
}

async fn refused(home: &Home) -> String {
    match Store::open(home.options()).await {
        Err(error @ StoreError::Refused(_)) => {
            assert_eq!(error.exit_code(), 78);
            error.to_string()
        }
        other => panic!("{other:?}"),
    }
}

async fn a_lost_or_another_pepper_or_kek_is_refused(home: &Home) {
    home.open().await.close().await;
    for name in ["pepper", "kek"] {
        let path = home.dir().join(name);
        let right = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(refused(home).await.contains("is missing"));
        assert!(!path.exists(), "no new one is made in its place");
        fs::write(&path, "00112233445566778899aabbccddeeff102132435465768798a9babbdcddfeef").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(refused(home).await.contains("is not the one"));
        fs::write(&path, "").unwrap();
        assert!(refused(home).await.contains("is empty"));
        fs::write(&path, &right).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(refused(home).await.contains("every user"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    home.open().await.close().await;
}

async fn a_second_process_is_refused(home: &Home) {
    let store = home.open().await;
    let again = Store::open(home.options()).await;
    assert!(matches!(&again, Err(error @ StoreError::Locked(_)) if error.exit_code() == 75), "{again:?}");
    if store.database() == "sqlite" {
        // From another data folder, at the same file.
        let other = tempfile::tempdir().unwrap();
        let database = Database::Sqlite(Some(home.dir().join("anykey.db")));
        let again = Store::open(Options::new(other.path(), database)).await;
        assert!(matches!(again, Err(StoreError::Locked(_))), "{again:?}");
    }
    store.close().await;
    drop(store);
    home.open().await.close().await;
}

async fn a_newer_database_is_refused(home: &Home) {
    home.open().await.close().await;
    home.sql("INSERT INTO migration (version, name, checksum, applied_at) VALUES (999, 'later', 'x', 1)").await;
    assert!(refused(home).await.contains("newer anykey"));
    home.sql("DELETE FROM migration WHERE version = 999").await;
    home.sql("UPDATE migration SET checksum = 'x' WHERE version = 1").await;
    assert!(refused(home).await.contains("not the one that this program knows"));
}

#[tokio::test]
async fn a_file_that_is_no_database_or_is_damaged_is_refused() {
    let home = Home::sqlite();
    fs::write(home.dir().join("anykey.db"), "this is no database, but it is longer than a header would be".repeat(20))
        .unwrap();
    let opened = Store::open(home.options()).await;
    assert!(matches!(&opened, Err(error @ StoreError::Corrupt(_)) if error.exit_code() == 65), "{opened:?}");

    let home = Home::sqlite();
    let store = home.open().await;
    for i in 0..200 {
        make(&store, &format!("k{i}")).await;
    }
    store.close().await;
    drop(store);
    let file = home.dir().join("anykey.db");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    let opened = Store::open(home.options()).await;
    assert!(matches!(&opened, Err(StoreError::Corrupt(_))), "{opened:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_its_password_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("postgres://u:hunter2@localhost/x?host={}", dir.path().display());
    let opened = Store::open(Options::new(dir.path(), Database::parse(&url).unwrap())).await;
    let error = opened.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable(_)));
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    assert!(matches!(Database::parse("mysql://x"), Err(StoreError::Invalid { .. })));
}
