//! The courier in front of receivers that answer, refuse, stall and hang up, on a store of its own.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use anykey_core::KeyKind;
use anykey_core::notice::Channel;
use anykey_net::Fetch;
use anykey_notices::mail::Mailer;
use anykey_notices::{BadAddress, Courier, MailOptions, Options, Security, webhook};
use anykey_store::{
    Database, DeliveryFilter, DeliveryRow, DeliveryState, DestinationRow, NewDestination, NewKey, Page, Store,
};
use anykey_testkit::{Canned, CannedUpstream, MailFault, MailTls, Seen, SmtpServer, test_ca, until_some};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Soon enough for a test, and only two more attempts.
const SOON: &[Duration] = &[Duration::from_millis(10), Duration::from_millis(10)];

struct World {
    store: Arc<Store>,
    stop: watch::Sender<bool>,
    courier: Arc<Courier>,
    running: Option<JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

fn mail(server: &SmtpServer, security: Security) -> MailOptions {
    let credentials = (security != Security::None).then(|| ("anykey".to_owned(), SecretString::from("pa55")));
    let pem = std::fs::read_to_string(test_ca()).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
    use base64::Engine as _;
    MailOptions {
        host: "127.0.0.1".into(),
        port: server.address.port(),
        security,
        credentials,
        from: "anykey <keys@example.com>".into(),
        roots: vec![base64::engine::general_purpose::STANDARD.decode(body).unwrap()],
    }
}

impl World {
    fn start(mail: Option<MailOptions>) -> World {
        World::with(Options { mail, allow_private: true, patience: SOON, ..Options::default() })
    }

    fn with(options: Options) -> World {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let database = Database::parse("sqlite:").unwrap();
        let opening = Store::open(anykey_store::Options::new(folder.path().join("data"), database));
        let store = runtime.block_on(opening).unwrap();
        let fetch = Fetch::new(anykey_net::client_config([]).unwrap());
        let courier = Courier::new(store.clone(), fetch, options).unwrap();
        let (stop, stopped) = watch::channel(false);
        let running = Some(runtime.spawn(courier.clone().run(stopped)));
        World { store, stop, courier, running, runtime, _folder: folder }
    }

    fn destination(&self, channel: Channel, address: &str) -> (DestinationRow, Option<SecretString>) {
        let new = NewDestination {
            organisation: None,
            project: None,
            name: "d".into(),
            channel,
            address: address.into(),
            events: Default::default(),
        };
        self.runtime.block_on(self.store.create_destination(new)).unwrap()
    }

    /// Something to tell of.
    fn disable_a_key(&self, name: &str) {
        self.runtime.block_on(async {
            let (key, _) = self.store.create_key(NewKey::new(KeyKind::Live, name)).await.unwrap();
            self.store.disable_key(key.id, None).await.unwrap();
        });
    }

    fn deliveries(&self) -> Vec<DeliveryRow> {
        let filter = DeliveryFilter::default();
        let all = self.store.deliveries(&filter, Page { after: None, limit: 200 });
        self.runtime.block_on(all).unwrap().data
    }

    /// The only delivery, once it is in this state.
    fn done(&self, state: DeliveryState) -> DeliveryRow {
        until_some("the delivery is done with", || {
            let mut all = self.deliveries();
            (all.len() == 1 && all[0].state == state).then(|| all.remove(0))
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(running) = self.running.take() {
            let _ = self.runtime.block_on(running);
        }
        self.runtime.block_on(self.store.close());
    }
}

fn ok() -> Canned {
    Canned::whole(204, &[], b"").then_close()
}

fn receiver(answer: Canned) -> CannedUpstream {
    let receiver = CannedUpstream::start();
    receiver.answer(answer);
    receiver
}

/// As a receiver checks a message.
fn verify(seen: &Seen, secret: &SecretString) {
    let field = |name: &str| seen.header(name).unwrap_or_else(|| panic!("no {name} in {}", seen.head)).to_owned();
    let bare = SecretString::from(secret.expose_secret().strip_prefix("whsec_").unwrap().to_owned());
    let body = std::str::from_utf8(&seen.body).unwrap();
    let sent_at: i64 = field("webhook-timestamp").parse().unwrap();
    let expected = webhook::sign(&bare, &field("webhook-id"), sent_at, body).unwrap();
    assert!(field("webhook-signature").split(' ').any(|signature| signature == expected), "{}", seen.head);
}

#[test]
fn a_message_arrives_signed_and_tells_what_happened() {
    let (world, to) = (World::start(None), receiver(ok()));
    let (_, secret) = world.destination(Channel::Webhook, &format!("{}/hook?sig=a%20b", to.url()));
    world.disable_a_key("ci");
    assert_eq!(world.done(DeliveryState::Sent).last_status, Some(204));
    let seen = to.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].head.starts_with("POST /hook?sig=a%20b HTTP/1.1\r\n"), "{}", seen[0].head);
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    verify(&seen[0], &secret.unwrap());
    let text = std::str::from_utf8(&seen[0].body).unwrap();
    for part in [r#""type":"key.disabled""#, r#""name":"ci""#, r#""timestamp":"20"#, r#""expires_at":null"#] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_fails_is_tried_again_with_the_same_message_and_given_up_in_the_end() {
    let (world, to) = (World::start(None), receiver(Canned::whole(500, &[], b"no").then_close()));
    let (_, secret) = world.destination(Channel::Webhook, &to.url());
    world.disable_a_key("ci");
    let row = world.done(DeliveryState::Failed);
    assert_eq!((row.attempts, row.last_status), (3, Some(500)));
    let seen = to.take_seen();
    assert_eq!(seen.len(), 3);
    let secret = secret.unwrap();
    for one in &seen {
        verify(one, &secret);
        assert_eq!((one.header("webhook-id"), &one.body), (seen[0].header("webhook-id"), &seen[0].body));
    }
    to.answer(ok());
    world.runtime.block_on(world.store.replay_delivery(row.id)).unwrap();
    world.done(DeliveryState::Sent);
    assert_eq!(to.seen()[0].header("webhook-id"), seen[0].header("webhook-id"));
}

#[test]
fn redirects_are_not_followed_and_half_an_answer_is_none() {
    let elsewhere = receiver(ok());
    let location = elsewhere.url();
    for (answer, told) in [
        (Canned::whole(307, &[("location", &location)], b"").then_close(), "redirects are not followed"),
        (Canned::raw("HTTP/1.1 20").then_close(), "closed"),
    ] {
        let (world, to) = (World::start(None), receiver(answer));
        world.destination(Channel::Webhook, &to.url());
        world.disable_a_key("ci");
        let row = world.done(DeliveryState::Failed);
        assert!(row.last_error.as_deref().unwrap().contains(told), "{row:?}");
        assert_eq!(to.seen().len(), 3);
    }
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn who_answers_gone_is_disabled() {
    let (world, to) = (World::start(None), receiver(Canned::whole(410, &[], b"").then_close()));
    let (row, _) = world.destination(Channel::Webhook, &to.url());
    world.disable_a_key("ci");
    assert_eq!(world.done(DeliveryState::Failed).attempts, 1);
    assert!(world.runtime.block_on(world.store.destination(row.id)).unwrap().disabled);
}

#[test]
fn a_receiver_that_stalls_holds_up_nobody_else() {
    let (world, slow, quick) = (World::start(None), receiver(ok()), receiver(ok()));
    let gate = slow.gate();
    world.destination(Channel::Webhook, &slow.url());
    world.destination(Channel::Webhook, &quick.url());
    for n in 0..12 {
        world.disable_a_key(&format!("k{n}"));
    }
    until_some("the quick one has everything", || (quick.seen().len() == 12).then_some(()));
    assert!(slow.seen().len() <= 2, "no more at once than a receiver may get");
    gate.open();
    until_some("so has the slow one", || {
        world.deliveries().iter().all(|row| row.state == DeliveryState::Sent).then_some(())
    });
    assert_eq!(slow.seen().len(), 12);
}

#[test]
fn a_new_secret_signs_beside_the_old_one() {
    let (world, to) = (World::start(None), receiver(ok()));
    let (row, first) = world.destination(Channel::Webhook, &to.url());
    let (_, second) = world.runtime.block_on(world.store.rotate_destination(row.id, None, 60_000)).unwrap();
    world.disable_a_key("ci");
    world.done(DeliveryState::Sent);
    verify(&to.seen()[0], &first.unwrap());
    verify(&to.seen()[0], &second);
}

#[test]
fn letters_go_out_encrypted_with_credentials_and_whole() {
    for (tls, security) in [
        (MailTls::StartTls, Security::StartTls),
        (MailTls::Implicit, Security::Implicit),
        (MailTls::None, Security::None),
    ] {
        let server = SmtpServer::start(tls);
        let world = World::start(Some(mail(&server, security)));
        world.destination(Channel::Email, "team@example.com");
        world.disable_a_key("Schlüssel \u{2028}.");
        world.done(DeliveryState::Sent);
        let kept = server.kept();
        assert_eq!(kept.len(), 1, "{tls:?}");
        let letter = &kept[0];
        assert_eq!(letter.encrypted, security != Security::None);
        assert_eq!(letter.credentials.as_deref(), (security != Security::None).then_some("anykey pa55"));
        assert_eq!(
            (letter.from.as_str(), letter.to.as_slice()),
            ("keys@example.com", &["team@example.com".to_owned()][..])
        );
        assert_eq!(letter.header("auto-submitted").as_deref(), Some("auto-generated"));
        assert_eq!(letter.header("from").as_deref(), Some("anykey <keys@example.com>"));
        let id = letter.header("message-id").unwrap();
        assert!(id.starts_with("<dlv_") && id.ends_with("@example.com>"), "{id}");
    }
}

#[test]
fn a_server_without_encryption_gets_nothing_that_asks_for_it() {
    // It offers no STARTTLS, so neither the letter nor the password is sent.
    let server = SmtpServer::start(MailTls::None);
    let world = World::start(Some(mail(&server, Security::StartTls)));
    world.destination(Channel::Email, "team@example.com");
    world.disable_a_key("ci");
    world.done(DeliveryState::Failed);
    assert!(server.kept().is_empty());
    // And one whose certificate nobody vouches for.
    let server = SmtpServer::start(MailTls::StartTls);
    let options = MailOptions { roots: Vec::new(), ..mail(&server, Security::StartTls) };
    let world = World::start(Some(options));
    world.destination(Channel::Email, "team@example.com");
    world.disable_a_key("ci");
    assert!(world.done(DeliveryState::Failed).last_error.unwrap().contains("certificate"));
    assert!(server.kept().is_empty());
}

#[test]
fn mail_servers_that_say_later_are_asked_later_and_those_that_say_never_are_not() {
    let server = SmtpServer::start(MailTls::StartTls);
    let options = || Some(mail(&server, Security::StartTls));
    for (faults, state, attempts, letters) in [
        (vec![MailFault::Greylist, MailFault::Greylist], DeliveryState::Sent, 3, 1),
        (vec![MailFault::Greylist; 3], DeliveryState::Failed, 3, 0),
        (vec![MailFault::NoSuchMailbox], DeliveryState::Failed, 1, 0),
        (vec![MailFault::WrongPassword, MailFault::WrongPassword], DeliveryState::Sent, 3, 1),
        (vec![MailFault::Cut], DeliveryState::Sent, 2, 1),
        // At least once: what was kept without a word is sent again, under the same id.
        (vec![MailFault::LostAnswer], DeliveryState::Sent, 2, 2),
    ] {
        let world = World::start(options());
        server.fail_next(faults.clone());
        world.destination(Channel::Email, "team@example.com");
        world.disable_a_key("ci");
        let row = world.done(state);
        assert_eq!(row.attempts, attempts, "{faults:?} {row:?}");
        let kept = server.take_kept();
        assert_eq!(kept.len(), letters, "{faults:?}");
        assert!(kept.windows(2).all(|pair| pair[0].header("message-id") == pair[1].header("message-id")));
    }
}

#[test]
fn a_destination_is_tried_past_the_outbox() {
    let (world, to) = (World::start(None), receiver(Canned::whole(404, &[], b"").then_close()));
    let (row, secret) = world.destination(Channel::Webhook, &to.url());
    let test = || {
        let receiver = world.runtime.block_on(world.store.receiver(row.id)).unwrap();
        world.runtime.block_on(world.courier.test(&receiver)).unwrap()
    };
    let tried = test();
    assert_eq!((tried.status, tried.error.as_deref()), (Some(404), Some("the receiver answered 404")));
    to.answer(ok());
    assert_eq!(test().error, None);
    verify(&to.seen()[1], &secret.unwrap());
    assert!(world.deliveries().is_empty());
}

#[test]
fn what_cannot_be_reached_cannot_be_set() {
    let world = World::start(None);
    assert!(matches!(world.courier.check(Channel::Email, "a@example.com"), Err(BadAddress::NoMail)));
    assert!(world.courier.check(Channel::Webhook, "http://127.0.0.1:9999/x").is_ok(), "it was allowed");
    assert!(matches!(world.courier.check(Channel::Webhook, "http://169.254.169.254/"), Err(BadAddress::Url(_))));
    let fetch = Fetch::new(anykey_net::client_config([]).unwrap());
    let strict = Courier::new(world.store.clone(), fetch, Options::default()).unwrap();
    for url in ["http://127.0.0.1/", "http://example.com/", "https://10.1.2.3/", "https://[::1]/", "file:///etc/passwd"]
    {
        assert!(matches!(strict.check(Channel::Webhook, url), Err(BadAddress::Url(_))), "{url}");
    }
    assert!(strict.check(Channel::Webhook, "https://example.com/x").is_ok());
    let server = SmtpServer::start(MailTls::None);
    assert!(Mailer::new(MailOptions { from: "a\r\nb@c".into(), ..mail(&server, Security::None) }).is_err());
}

#[test]
fn a_destination_from_before_the_setting_was_taken_away_gets_nothing() {
    // It is in the database, as it would be after a restart with other settings.
    let (world, to) = (World::with(Options { patience: SOON, ..Options::default() }), receiver(ok()));
    let port = to.url().rsplit(':').next().unwrap().to_owned();
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost"] {
        for scheme in ["http", "https"] {
            world.destination(Channel::Webhook, &format!("{scheme}://{host}:{port}/"));
        }
    }
    world.disable_a_key("ci");
    let failed = until_some("all are given up", || {
        let all = world.deliveries();
        (all.len() == 6 && all.iter().all(|row| row.state == DeliveryState::Failed)).then_some(all)
    });
    assert!(failed.iter().all(|row| row.attempts == 1 && row.last_status.is_none()), "{failed:?}");
    assert!(to.seen().is_empty());
}
