//! What a new installation needs to be of use at once: a credential for the commands on this machine, and on a terminal
//! a key to try it with. There is never a default password.

use crate::config::Settings;
use anykey_core::{KeyKind, Nanos, Token, token};
use anykey_store::{Lookup, NewKey, Store, StoreError};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const ADMIN_KEY_FILE: &str = "admin.key";
const BRAND: &str = "brand";
const STARTER_MADE: &str = "starter_key_made";
const STARTER_LIMIT: Nanos = Nanos::dollars(5);
const STARTER_DAYS: i64 = 7;

/// Keys carry the brand in their text, so it cannot change once there are any.
pub async fn keep_brand(store: &Store) -> Result<(), StoreError> {
    match store.setting(BRAND).await? {
        Some(first) if first != store.brand() => Err(StoreError::Refused(format!(
            "the brand of this installation is {first:?} since its first start, and the settings say {:?}: keys that were \
             handed out would stop working. Set it back.",
            store.brand()
        ))),
        Some(_) => Ok(()),
        None => store.set_setting(BRAND, store.brand()).await,
    }
}

pub struct LocalCredential {
    pub is_new: bool,
}

/// Keeps an admin key in the data folder, readable by the server's user alone. One that the database does not know, or
/// knows as dead, is replaced.
pub async fn admin_key(store: &Store, settings: &Settings) -> Result<LocalCredential, StoreError> {
    let path = settings.data_dir.join(ADMIN_KEY_FILE);
    if let Ok(text) = std::fs::read_to_string(&path)
        && is_alive(store, text.trim()).await?
    {
        return Ok(LocalCredential { is_new: false });
    }
    let mut new = NewKey::new(KeyKind::Admin, "local-admin");
    new.description = "Made by the server for the commands on its own machine".into();
    new.note = format!("{ADMIN_KEY_FILE} in the server's data folder");
    let (_, token) = store.create_key(new).await?;
    write_private(&path, &token)
        .map_err(|error| StoreError::Refused(format!("{} could not be written: {error}", path.display())))?;
    Ok(LocalCredential { is_new: true })
}

async fn is_alive(store: &Store, text: &str) -> Result<bool, StoreError> {
    if token::read(text, store.brand()).is_none() {
        return Ok(false);
    }
    let found = store.look_up(store.pepper().digest(text.as_bytes()), None).await?;
    Ok(matches!(found, Lookup::Live(key) if key.dead_at(jiff::Timestamp::now().as_millisecond()).is_none()))
}

fn write_private(path: &Path, token: &Token) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let _ = std::fs::remove_file(&draft);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
    writeln!(file, "{}", token.expose())?;
    file.sync_all()?;
    std::fs::rename(draft, path)
}

/// A key to try the gateway with, made once, with a small cap and a short life.
pub async fn starter_key(store: &Store) -> Result<Option<Token>, StoreError> {
    if store.setting(STARTER_MADE).await?.is_some() {
        return Ok(None);
    }
    let mut new = NewKey::new(KeyKind::Live, "first-key");
    new.description = "Made at the first start, to try the gateway with".into();
    new.spend_limit = Some(STARTER_LIMIT);
    new.expires_at = Some(jiff::Timestamp::now().as_millisecond() + STARTER_DAYS * 24 * 60 * 60 * 1000);
    let (_, token) = store.create_key(new).await?;
    store.set_setting(STARTER_MADE, "yes").await?;
    Ok(Some(token))
}
