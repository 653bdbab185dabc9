//! Sessions, links and attempts as the store keeps them, under a clock that the test moves.

use crate::home::*;
use anykey_core::{PersonId, Role};
use anykey_store::{
    AtIssuer, AuditFilter, Claimed, ClaimedRole, CookieUse, IssuerLogout, MemberPatch, NewMember, NewOrganisation,
    NewOwner, Page, PersonPatch, Recognised, Store, StoreError, TenancyFilter,
};
use std::net::IpAddr;

on_both!(
    every_step_of_somebodys_access_is_recorded,
    a_session_ends_by_idleness_and_by_age,
    a_link_runs_out,
    waits_grow_and_are_forgotten,
    one_address_waits_whatever_the_account,
    a_sealed_second_factor_does_not_open_for_another,
    an_issuer_gives_and_takes_what_it_gave,
    a_sealed_cookie_opens_for_what_it_was_sealed_and_is_spent_once,
    an_issuer_ends_what_it_began_and_no_more,
    two_that_come_first_at_once_are_one_person,
);

/// What the log tells of how people sign in.
pub const RECORDED: &[&str] = &[
    "session.begin",
    "session.end",
    "session.refuse",
    "password.set",
    "totp.begin",
    "totp.enable",
    "totp.disable",
    "recovery.use",
    "link.make",
    "link.use",
    "identity.link",
];

const FROM: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9)));

async fn owner(store: &Store) -> anykey_store::Person {
    let link = store.make_link(None).await.unwrap();
    let ada = NewOwner { email: "ada@example.com".into(), name: "Ada".into() };
    store.use_link(link.token.expose(), "hash".into(), Some(ada)).await.unwrap()
}

async fn a_session_ends_by_idleness_and_by_age(home: &Home) {
    let store = home.open().await;
    let ada = owner(&store).await;
    let (begun, token) = store.begin_session(ada.id, "password", FROM, None).await.unwrap();
    assert_eq!(store.signed_in(token.expose()).await.unwrap().unwrap().session, begun.session);
    assert!(store.signed_in("x").await.unwrap().is_none());
    home.wait(8 * HOUR - MINUTE);
    assert!(store.signed_in(token.expose()).await.unwrap().is_some());
    home.wait(8 * HOUR - MINUTE);
    assert!(store.signed_in(token.expose()).await.unwrap().is_some(), "it was used meanwhile");
    assert_eq!(store.sessions(ada.id).await.unwrap().len(), 1);
    home.wait(8 * HOUR);
    assert!(store.signed_in(token.expose()).await.unwrap().is_none(), "idle");
    assert!(store.sessions(ada.id).await.unwrap().is_empty());

    let (_, token) = store.begin_session(ada.id, "password", FROM, None).await.unwrap();
    let mut hours = 0;
    while store.signed_in(token.expose()).await.unwrap().is_some() {
        home.wait(HOUR);
        hours += 1;
    }
    assert_eq!(hours, 7 * 24, "used every hour, it ends after a week all the same");
}

async fn a_link_runs_out(home: &Home) {
    let store = home.open().await;
    let link = store.make_link(None).await.unwrap();
    home.wait(HOUR);
    assert!(matches!(store.link_owner(link.token.expose()).await, Err(StoreError::Conflict(_))));
    let ada = NewOwner { email: "ada@example.com".into(), name: "Ada".into() };
    let late = store.use_link(link.token.expose(), "hash".into(), Some(ada)).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))), "{late:?}");
    assert!(!store.has_owner().await.unwrap());
    owner(&store).await;
    assert!(store.has_owner().await.unwrap());
    assert!(matches!(store.make_link(None).await, Err(StoreError::Conflict(_))));
}

async fn waits_grow_and_are_forgotten(home: &Home) {
    let store = home.open().await;
    let attempt = || async { store.attempt_sign_in("Ada@example.com", None).await.unwrap() };
    for _ in 0..5 {
        attempt().await.unwrap();
    }
    let mut waits = Vec::new();
    for _ in 0..8 {
        let wait = attempt().await.unwrap_err();
        assert_eq!(attempt().await.unwrap_err(), wait, "who comes too early loses nothing by it");
        home.wait(wait - 1);
        assert_eq!(attempt().await.unwrap_err(), 1);
        home.wait(1);
        attempt().await.unwrap();
        waits.push(wait);
    }
    assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    assert!(store.attempt_sign_in("ada@EXAMPLE.com", None).await.unwrap().is_err(), "in any case of letters");
    store.attempt_sign_in("eve@example.com", None).await.unwrap().unwrap();
    store.forgive_sign_in("ada@example.com", None).await.unwrap();
    for _ in 0..5 {
        attempt().await.unwrap();
    }
    attempt().await.unwrap_err();
    home.wait(HOUR + 1);
    for _ in 0..5 {
        attempt().await.unwrap();
    }
}

async fn one_address_waits_whatever_the_account(home: &Home) {
    let store = home.open().await;
    for n in 0..20 {
        store.attempt_sign_in(&format!("p{n}@example.com"), FROM).await.unwrap().unwrap();
    }
    store.attempt_sign_in("p20@example.com", FROM).await.unwrap().unwrap_err();
    let elsewhere = Some(IpAddr::from([203, 0, 113, 10]));
    store.attempt_sign_in("p20@example.com", elsewhere).await.unwrap().unwrap();
    store.forgive_sign_in("p20@example.com", elsewhere).await.unwrap();
    let mapped: IpAddr = "::ffff:203.0.113.9".parse().unwrap();
    store.attempt_sign_in("p21@example.com", Some(mapped)).await.unwrap().unwrap_err();
}

async fn a_sealed_second_factor_does_not_open_for_another(home: &Home) {
    let store = home.open().await;
    let ada = owner(&store).await;
    store.begin_totp(ada.id, b"12345678901234567890").await.unwrap();
    let account = store.account(ada.id).await.unwrap();
    let factor = account.second_factor.unwrap();
    assert_eq!((factor.secret.as_slice(), factor.on), (&b"12345678901234567890"[..], false));
    store.enable_totp(ada.id, 7, &["aaaaa-bbbbb".into()]).await.unwrap();
    assert!(!store.use_totp_step(ada.id, 7).await.unwrap());
    assert!(store.use_totp_step(ada.id, 8).await.unwrap());
    assert!(!store.use_totp_step(ada.id, 8).await.unwrap());
    assert!(store.use_recovery_code(ada.id, "aaaaa-bbbbb").await.unwrap());
    assert!(!store.use_recovery_code(ada.id, "aaaaa-bbbbb").await.unwrap());
    store.begin_session(ada.id, "password", None, None).await.unwrap();
    home.sql(
        "INSERT INTO person (id, email, email_key, name, operator, disabled, version, created_at, updated_at) \
         SELECT id, 'eve@example.com', 'eve@example.com', 'Eve', FALSE, FALSE, 1, 0, 0 FROM session; \
         INSERT INTO credential (person_id, password, totp, totp_on, totp_step) \
         SELECT p.id, 'hash', c.totp, c.totp_on, 0 FROM person p, credential c WHERE p.email_key = 'eve@example.com'",
    )
    .await;
    let moved = store.account_by_email("eve@example.com").await;
    assert!(moved.is_err(), "a secret that was copied to another row gives nothing: {moved:?}");
}

async fn every_step_of_somebodys_access_is_recorded(home: &Home) {
    let store = home.open().await;
    let ada = owner(&store).await;
    let (session, _) = store.begin_session(ada.id, "password", FROM, None).await.unwrap();
    store.note_refused(&ada, "password").await.unwrap();
    store.set_password(ada.id, "other".into(), Some(session.digest())).await.unwrap();
    store.begin_totp(ada.id, b"12345678901234567890").await.unwrap();
    store.enable_totp(ada.id, 1, &["aaaaa-bbbbb".into()]).await.unwrap();
    assert!(store.use_recovery_code(ada.id, "aaaaa-bbbbb").await.unwrap());
    store.disable_totp(ada.id).await.unwrap();
    store.end_session(ada.id, session.session.id).await.unwrap();
    store.recognise(claimed("ada-at-acme", &[])).await.unwrap();
    let (entries, _) = store.audit_after(&AuditFilter::default(), 0, 1_000).await.unwrap();
    let told: std::collections::BTreeSet<&str> = entries.iter().map(|entry| entry.verb.as_str()).collect();
    let missing: Vec<&&str> = RECORDED.iter().filter(|verb| !told.contains(**verb)).collect();
    assert!(missing.is_empty(), "{missing:?} of {told:?}");
    assert!(store.verify_audit(None).await.unwrap().is_whole());
}

const ISSUER: &str = "https://login.example.com";

/// Somebody whom an issuer vouches for, with roles by organisation.
fn claimed(subject: &str, roles: &[(&str, Role)]) -> Claimed {
    let role = |(organisation, role): &(&str, Role)| ClaimedRole { organisation: (*organisation).into(), role: *role };
    Claimed {
        issuer: ISSUER.into(),
        subject: subject.into(),
        email: Some(format!("{subject}@example.com")),
        name: subject.into(),
        roles: roles.iter().map(role).collect(),
        operator: false,
        may_create: true,
        may_link: false,
    }
}

async fn known(store: &Store, claimed: Claimed) -> PersonId {
    match store.recognise(claimed).await.unwrap() {
        Recognised::Known(account) => account.person.id,
        other => panic!("not known: {other:?}"),
    }
}

/// Slugs and roles, in the order of the slugs.
async fn roles(store: &Store, person: PersonId) -> Vec<(String, Role)> {
    let filter = TenancyFilter { person: Some(person), ..TenancyFilter::default() };
    let mut found = Vec::new();
    for member in store.members(&filter, Page { limit: 50, after: None }).await.unwrap().data {
        found.push((store.organisation(member.organisation).await.unwrap().slug, member.role));
    }
    found.sort();
    found
}

async fn organisation(store: &Store, name: &str) -> anykey_core::OrganisationId {
    let new = NewOrganisation {
        slug: None,
        name: name.into(),
        description: String::new(),
        controls: Default::default(),
        rules: Default::default(),
    };
    store.create_organisation(new).await.unwrap().id
}

async fn an_issuer_gives_and_takes_what_it_gave(home: &Home) {
    let store = home.open().await;
    let (acme, other) = (organisation(&store, "acme").await, organisation(&store, "other").await);
    let both = [("acme", Role::Member), ("other", Role::Viewer), ("acme", Role::Admin), ("nowhere", Role::Admin)];
    let ada = known(&store, claimed("ada", &both)).await;
    let given = [("acme".to_owned(), Role::Member), ("other".to_owned(), Role::Viewer)];
    assert_eq!(roles(&store, ada).await, given);
    assert_eq!(known(&store, claimed("ada", &both)).await, ada);
    let quiet = store.audit_after(&AuditFilter::default(), 0, 1_000).await.unwrap().0.len();
    known(&store, claimed("ada", &both)).await;
    let after = store.audit_after(&AuditFilter::default(), 0, 1_000).await.unwrap().0.len();
    assert_eq!(quiet, after, "where nothing changes nothing is told");
    // Another issuer takes nothing of it, and gives beside it.
    let mut elsewhere = claimed("ada", &[("acme", Role::Admin)]);
    elsewhere.issuer = "https://other.example.com".into();
    elsewhere.may_link = true;
    assert_eq!(known(&store, elsewhere).await, ada);
    assert_eq!(roles(&store, ada).await, given);
    // What somebody set by hand on what was given is set again by the claims; its bounds stay.
    let member = store.member_of(acme, ada).await.unwrap();
    store
        .update_member(member.id, None, MemberPatch { role: Some(Role::Auditor), ..Default::default() })
        .await
        .unwrap();
    known(&store, claimed("ada", &[("acme", Role::Member)])).await;
    assert_eq!(roles(&store, ada).await, [("acme".to_owned(), Role::Member)]);
    // Taken in by hand where the issuer had let go.
    let hand = NewMember { organisation: other, person: ada, role: Role::Admin, controls: Default::default() };
    store.add_member(hand).await.unwrap();
    known(&store, claimed("ada", &[])).await;
    assert_eq!(roles(&store, ada).await, [("other".to_owned(), Role::Admin)]);
    let mut boss = claimed("ada", &[]);
    boss.operator = true;
    assert!(!store.has_owner().await.unwrap());
    known(&store, boss).await;
    assert!(store.has_owner().await.unwrap(), "who comes in by an issuer and runs the installation owns it");
    known(&store, claimed("ada", &[])).await;
    assert!(!store.person(ada).await.unwrap().operator);
    // Said by hand of somebody whom the claims had made an operator: it is the claims' no longer.
    let mut boss = claimed("ada", &[]);
    boss.operator = true;
    known(&store, boss).await;
    let by_hand = |operator| PersonPatch { operator: Some(operator), ..PersonPatch::default() };
    store.update_person(ada, None, by_hand(true)).await.unwrap();
    known(&store, claimed("ada", &[])).await;
    assert!(store.person(ada).await.unwrap().operator, "what was given by hand stays");
    store.update_person(ada, None, by_hand(false)).await.unwrap();
    known(&store, claimed("ada", &[])).await;
    assert!(!store.person(ada).await.unwrap().operator);
    // Whoever may read the log of an organisation sees there what claims gave and took in it.
    let of_acme = AuditFilter { organisation: Some(acme.to_string()), ..AuditFilter::default() };
    let (entries, _) = store.audit_after(&of_acme, 0, 1_000).await.unwrap();
    let told: Vec<&str> = entries.iter().map(|entry| entry.verb.as_str()).collect();
    assert_eq!(told, ["organisation.create", "member.add", "member.update", "member.update", "member.remove"]);
    assert!(store.verify_audit(None).await.unwrap().is_whole());
}

async fn a_sealed_cookie_opens_for_what_it_was_sealed_and_is_spent_once(home: &Home) {
    let store = home.open().await;
    let sealed = store.seal_cookie(CookieUse::Flow, b"state").unwrap();
    assert_eq!(store.open_cookie(CookieUse::Flow, &sealed).unwrap().as_slice(), b"state");
    assert!(store.open_cookie(CookieUse::Half, &sealed).is_none());
    assert!(store.open_cookie(CookieUse::Flow, "v1.a.b.c").is_none());
    let both = tokio::join!(store.spend("once", START + MINUTE), store.spend("once", START + MINUTE));
    assert_ne!(both.0.unwrap(), both.1.unwrap());
    assert!(!store.spend("once", START + MINUTE).await.unwrap());
    assert!(store.spend("another", START + MINUTE).await.unwrap());
}

async fn an_issuer_ends_what_it_began_and_no_more(home: &Home) {
    let store = home.open().await;
    let ada = known(&store, claimed("ada", &[])).await;
    let at = |issuer: &str, session: &str| {
        Some(AtIssuer { issuer: issuer.into(), subject: "ada".into(), session: Some(session.into()) })
    };
    let mut tokens = Vec::new();
    for at in [at(ISSUER, "one"), at(ISSUER, "two"), at("https://other.example.com", "one"), None] {
        tokens.push(store.begin_session_of(ada, "issuer", FROM, None, at).await.unwrap().1);
    }
    let alive = async || {
        let mut alive = Vec::new();
        for token in &tokens {
            alive.push(store.signed_in(token.expose()).await.unwrap().is_some());
        }
        alive
    };
    let end = async |once: &str, subject: Option<&str>, session: Option<&str>| {
        let word = IssuerLogout {
            issuer: ISSUER.into(),
            subject: subject.map(str::to_owned),
            session: session.map(str::to_owned),
            once: once.into(),
            until: START + HOUR,
        };
        store.end_sessions_at(word).await
    };
    assert_eq!(end("0", None, None).await.unwrap(), Some(0), "nobody is everybody");
    assert_eq!(end("1", Some("eve"), Some("one")).await.unwrap(), Some(0));
    // One that cannot be done is not used up by that.
    home.sql(if home.is_postgres() {
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; \
         CREATE TRIGGER kept BEFORE DELETE ON session FOR EACH ROW EXECUTE FUNCTION keep()"
    } else {
        "CREATE TRIGGER kept BEFORE DELETE ON session BEGIN SELECT RAISE(ABORT, 'no'); END"
    })
    .await;
    end("2", None, Some("one")).await.unwrap_err();
    home.sql(if home.is_postgres() { "DROP TRIGGER kept ON session" } else { "DROP TRIGGER kept" }).await;
    assert_eq!(alive().await, [true, true, true, true]);
    assert_eq!(end("2", None, Some("one")).await.unwrap(), Some(1));
    assert_eq!(alive().await, [false, true, true, true]);
    assert_eq!(end("2", Some("ada"), None).await.unwrap(), None, "it was used");
    assert_eq!(end("3", Some("ada"), None).await.unwrap(), Some(1));
    assert_eq!(alive().await, [false, false, true, true]);
}

async fn two_that_come_first_at_once_are_one_person(home: &Home) {
    let store = home.open().await;
    organisation(&store, "acme").await;
    let claims = || claimed("ada", &[("acme", Role::Member)]);
    let (one, two, three) = tokio::join!(known(&store, claims()), known(&store, claims()), known(&store, claims()));
    assert!(one == two && two == three);
    assert_eq!(roles(&store, one).await.len(), 1);
}
