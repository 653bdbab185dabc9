//! What the server says when it is up. A terminal gets a curl that works, key and all; anything else is a log that may be
//! shipped away, so it gets no secret, only the commands that make one.

use anykey_core::Token;
use anykey_core::record::AttemptRecord;
use anykey_ledger::Ledger;
use anykey_store::Store;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

pub struct Facts<'a> {
    pub url: &'a str,
    pub metrics_url: Option<&'a str>,
    pub address: SocketAddr,
    pub data_dir: &'a Path,
    pub database: &'static str,
    pub practice: bool,
    pub providers: usize,
    pub new_admin_key: bool,
    pub starter: Option<&'a Token>,
    /// Whether somebody can sign in who runs the installation.
    pub has_owner: bool,
    pub on_terminal: bool,
}

pub fn print(facts: &Facts<'_>) {
    let text = if facts.on_terminal { for_a_person(facts) } else { for_a_log(facts) };
    // Nobody reads it, then: not a reason to stop serving.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}

fn for_a_log(facts: &Facts<'_>) -> String {
    let mut text = opening(facts);
    let anykey = this_command(facts);
    let _ = writeln!(text, "  Make a key      {anykey} key create my-first-key --budget 5");
    add_provider(&mut text, facts, &anykey);
    text
}

fn for_a_person(facts: &Facts<'_>) -> String {
    let mut text = opening(facts);
    let anykey = this_command(facts);
    match facts.starter {
        Some(token) if facts.practice => {
            let _ = writeln!(text, "\n  Try it\n\n    curl {}/v1/chat/completions \\", facts.url);
            let _ = writeln!(text, "      -H \"Authorization: Bearer {}\" \\", token.expose());
            let _ = writeln!(text, "      -H \"Content-Type: application/json\" \\");
            let _ = writeln!(
                text,
                "      -d '{{\"model\":\"sim/echo\",\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'\n"
            );
            let _ = writeln!(text, "  That key is shown once. It may spend $5 and lives for 7 days.");
        }
        Some(token) => {
            let _ = writeln!(text, "\n  Your first key, shown once: {}", token.expose());
            let _ = writeln!(text, "  It may spend $5 and lives for 7 days.");
        }
        None => {
            let _ = writeln!(text, "  Make a key      {anykey} key create my-key --budget 5");
        }
    }
    add_provider(&mut text, facts, &anykey);
    text.push('\n');
    text
}

fn opening(facts: &Facts<'_>) -> String {
    let Facts { url, address, data_dir, database, .. } = facts;
    let mut text = format!(
        "anykey {}   data {} ({database})   listening on {address}\n  URL             {url}\n",
        env!("CARGO_PKG_VERSION"),
        data_dir.display(),
    );
    if let Some(url) = facts.metrics_url {
        let _ = writeln!(text, "  Metrics         {url}");
    }
    if facts.new_admin_key {
        let _ = writeln!(text, "  Admin           commands on this machine use {}/admin.key", data_dir.display());
    }
    if !facts.has_owner {
        let _ = writeln!(text, "  Become owner    {} owner-link", this_command(facts));
    }
    text
}

fn add_provider(text: &mut String, facts: &Facts<'_>, anykey: &str) {
    if facts.practice && facts.providers == 0 {
        text.push_str("  No provider     the practice models sim/* answer without any account\n");
    }
    let found = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"]
        .into_iter()
        .find(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
    let name = found.unwrap_or("OPENAI_API_KEY");
    let kind = name.trim_end_matches("_API_KEY").to_lowercase();
    let _ = writeln!(text, "  Add a provider  {anykey} provider add {kind} --key-env {name}");
}

/// This program as it was called, so that the commands can be copied. They find the default folder by themselves.
fn this_command(facts: &Facts<'_>) -> String {
    let called = std::env::args().next().filter(|name| name.contains('/'));
    let name = called.unwrap_or_else(|| "anykey".to_owned());
    match facts.data_dir.to_str() {
        Some("anykey-data" | "./anykey-data") | None => name,
        Some(dir) => format!("{name} --data-dir {dir}"),
    }
}

/// On a terminal, calls appear as they end.
pub fn follow(ledger: &Ledger, store: &Arc<Store>) {
    let mut records = ledger.subscribe();
    let store = store.clone();
    tokio::spawn(async move {
        loop {
            match records.recv().await {
                Ok(record) => println!("{}", line(&record, &name_of(&store, &record).await)),
                Err(tokio::sync::broadcast::error::RecvError::Lagged(missed)) => println!("… {missed} more"),
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            }
        }
    });
}

async fn name_of(store: &Store, record: &AttemptRecord) -> String {
    let names = store.key_names(&[record.key]).await.unwrap_or_default();
    names.get(&record.key).cloned().unwrap_or_else(|| record.key.to_string())
}

fn line(record: &AttemptRecord, key: &str) -> String {
    let time = jiff::Timestamp::from_millisecond(record.started_at).map(|t| t.strftime("%H:%M:%S").to_string());
    let cost = record.cost.map_or_else(|| "unpriced".to_owned(), |cost| format!("${cost}"));
    // Names are their makers' input; a terminal is not the place for control characters.
    let plain = |text: &str| text.chars().map(|c| if c.is_control() { '?' } else { c }).take(60).collect::<String>();
    format!(
        "{} {} {} {} {} {} ms {cost}",
        time.unwrap_or_default(),
        record.status,
        plain(key),
        plain(&record.model_asked),
        record.outcome.name(),
        record.total_us / 1000,
    )
}
