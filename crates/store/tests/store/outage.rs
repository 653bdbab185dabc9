//! PostgreSQL goes away and comes back: known keys go on for a while, nothing is taken for unknown, nothing is lost.

use crate::home::*;
use anykey_store::{Database, Lookup, Options, Store, StoreError};
use sqlx::postgres::PgConnectOptions;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Stands between the store and the server and can be cut.
struct Line {
    port: u16,
    open: watch::Sender<bool>,
}

impl Line {
    async fn to(host: String, port: u16) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let line = Line { port: listener.local_addr().unwrap().port(), open: watch::Sender::new(true) };
        let open = line.open.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (host, mut open) = (host.clone(), open.clone());
                tokio::spawn(async move {
                    if *open.borrow() {
                        let far = TcpStream::connect((host, port)).await.unwrap();
                        tokio::select! {
                            () = carry(near, far) => {}
                            _ = open.wait_for(|open| !open) => {}
                        }
                    }
                });
            }
        });
        line
    }

    fn set(&self, open: bool) {
        self.open.send_replace(open);
    }
}

async fn carry(mut near: TcpStream, mut far: TcpStream) {
    // An error here is the end of the line, which is what a test asks for.
    let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_and_comes_back_loses_nothing() {
    let Some(home) = Home::postgres().await else { return };
    let Database::Postgres(url) = home.options().database else { panic!("not PostgreSQL") };
    let url = secrecy::ExposeSecret::expose_secret(&url).to_owned();
    let server = PgConnectOptions::from_str(&url).unwrap();
    let line = Line::to(server.get_host().to_owned(), server.get_port()).await;
    let there = format!("{}:{}", server.get_host(), server.get_port());
    assert!(url.contains(&there), "ANYKEY_TEST_POSTGRES names its host and port");
    let database = Database::parse(&url.replace(&there, &format!("127.0.0.1:{}", line.port))).unwrap();
    let options = Options { database, feed_interval: Duration::from_millis(20), ..home.options() };
    let store = Store::open(options).await.unwrap();
    let (key, token) = make(&store, "known").await;
    let (_, stranger) = make(&store, "not in memory").await;
    live(&store, &token, START).await;
    let batch = vec![call(key.id, public_id(&key), START)];

    line.set(false);
    let known = |at| store.known(&digest(&store, &token), at);
    assert!(matches!(known(START + 30_000), Lookup::Live(_)), "served from memory");
    assert!(matches!(known(START + 30_001), Lookup::Ask), "and not trusted for ever");
    let asked = store.look_up(digest(&store, &stranger), None).await;
    assert!(matches!(asked, Err(StoreError::Unavailable(_))), "a 503, never a 401: {asked:?}");
    assert!(matches!(store.apply(batch.clone()).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.disable_key(key.id, None).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(known(START), Lookup::Live(k) if !k.info.disabled), "what was not committed is not in force");

    line.set(true);
    home.wait(HOUR);
    until(async || store.is_fresh()).await;
    assert!(works(&store, &stranger, START + HOUR).await);
    store.apply(batch.clone()).await.unwrap();
    store.apply(batch).await.unwrap();
    assert_eq!(store.spent(key.id).await.unwrap().0, 1_000);
    store.close().await;
    drop(store);
    home.clean().await;
}

async fn until(mut there: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !there().await {
        assert!(tokio::time::Instant::now() < deadline, "it never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A caller who goes away in the middle of a change leaves memory and database agreeing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_caller_goes_away_is_whole() {
    let home = Home::sqlite();
    let store = home.open().await;
    for round in 0..40u32 {
        let (key, token) = make(&store, &format!("k{round}")).await;
        let running = live(&store, &token, START).await;
        let changing = Arc::clone(&store);
        let task = tokio::spawn(async move { changing.disable_key(key.id, None).await });
        for _ in 0..round % 8 {
            tokio::task::yield_now().await;
        }
        task.abort();
        drop(task.await);
        // Whether it was begun or not, memory comes to say what the database says.
        until(async || running.cancelled() == store.key(key.id).await.unwrap().disabled).await;
        until(async || works(&store, &token, START).await != store.key(key.id).await.unwrap().disabled).await;
    }
}
