//! Temporary keys: no more than their parent, and no longer.

use crate::home::*;
use crate::tenancy::{Acme, controls, project};
use anykey_core::controls::{Client, Controls, Level, ModelGlob, Models};
use anykey_core::limit::Target;
use anykey_core::record::Outcome;
use anykey_core::{Bound, Code, KeyId, KeyKind, Nanos, Scope, Scopes, Token};
use anykey_store::*;
use std::sync::Arc;

on_both!(
    a_temporary_key_is_no_more_than_its_parent,
    what_has_nothing_to_hand_on_mints_nothing,
    it_dies_with_its_parent_and_with_the_secret_that_minted_it,
    it_shrinks_with_its_parent,
    what_it_costs_is_charged_to_both_and_counted_for_the_parent,
    it_is_buried_after_its_end,
    its_terms_come_back_after_a_restart,
    its_parents_policy_bounds_it_as_that_changes,
    a_key_has_no_more_than_a_thousand_that_live,
    a_crowd_is_buried_in_one_round,
    the_dead_are_not_gone_through,
    those_of_a_key_are_listed_and_show_their_parent,
    it_is_never_changed,
    nothing_that_happens_gives_it_more_than_its_parent_has,
);

fn new(name: &str) -> NewTemp {
    NewTemp { name: name.into(), ..NewTemp::usual() }
}

async fn mint(store: &Store, parent: KeyId) -> (KeyRow, Token) {
    store.mint_temp(parent, None, new("t")).await.unwrap()
}

fn field(error: StoreError) -> &'static str {
    match error {
        StoreError::Invalid { field, .. } => field,
        other => panic!("{other:?}"),
    }
}

async fn a_temporary_key_is_no_more_than_its_parent(home: &Home) {
    let store = home.open().await;
    let mut parent = NewKey::new(KeyKind::Live, "parent");
    parent.scopes = Scopes::NONE.with(Scope::CompletionsWrite).with(Scope::UsageRead);
    parent.spend_limit = Some(Nanos(1000));
    parent.expires_at = Some(START + 10 * MINUTE);
    parent.owner = Some("kai".into());
    let (parent, _) = store.create_key(parent).await.unwrap();
    let (row, token) = mint(&store, parent.id).await;
    assert_eq!((row.kind, row.scopes, row.owner.as_deref()), (KeyKind::Temp, parent.scopes, Some("kai")));
    assert_eq!(row.expires_at, Some(START + 10 * MINUTE), "not longer than its parent");
    assert!(token.expose().starts_with("ak-temp-"));
    assert!(works(&store, &token, START).await && !works(&store, &token, START + 10 * MINUTE).await);

    let refused = |change: fn(&mut NewTemp)| {
        let mut temp = new("t");
        change(&mut temp);
        store.mint_temp(parent.id, None, temp)
    };
    let wider = refused(|t| t.scopes = Some(Scopes::NONE.with(Scope::EmbeddingsWrite))).await.unwrap_err();
    assert_eq!(field(wider), "scopes");
    assert_eq!(field(refused(|t| t.spend_limit = Some(Nanos(1001))).await.unwrap_err()), "spend_limit");
    assert_eq!(field(refused(|t| t.lives_ms = 24 * HOUR + 1).await.unwrap_err()), "expires_in");
    assert_eq!(field(refused(|t| t.lives_ms = 0).await.unwrap_err()), "expires_in");
    refused(|t| t.spend_limit = Some(Nanos(1000))).await.unwrap();
    let mut record = call(parent.id, public_id(&parent), START);
    record.cost = Some(Nanos(1));
    store.apply(vec![record]).await.unwrap();
    assert_eq!(field(refused(|t| t.spend_limit = Some(Nanos(1000))).await.unwrap_err()), "spend_limit");
}

fn public_id(key: &KeyRow) -> [u8; 8] {
    key.secrets[0].public_id.as_bytes().try_into().unwrap()
}

async fn what_has_nothing_to_hand_on_mints_nothing(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    let (temp, _) = mint(&store, parent.id).await;
    let (admin, _) = store.create_key(NewKey::new(KeyKind::Admin, "boss")).await.unwrap();
    let (off, _) = make(&store, "off").await;
    store.disable_key(off.id, None).await.unwrap();
    for id in [temp.id, admin.id, off.id] {
        assert!(matches!(store.mint_temp(id, None, new("t")).await, Err(StoreError::Conflict(_))));
    }
    let nobody = store.mint_temp(KeyId([9; 16]), None, new("t")).await;
    assert!(matches!(nobody, Err(StoreError::NotFound(_))));
}

async fn it_dies_with_its_parent_and_with_the_secret_that_minted_it(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    let (_, first) = mint(&store, parent.id).await;
    let running = live(&store, &first, START).await;
    store.disable_key(parent.id, None).await.unwrap();
    assert!(!works(&store, &first, START).await && running.cancelled());
    store.enable_key(parent.id, None).await.unwrap();
    assert!(works(&store, &first, START).await);

    // An ordinary rotation ends it with the overlap of the secret that minted it.
    let made = store.rotate_key(parent.id, None, Rotation { overlap_ms: MINUTE, leaked: false }).await.unwrap();
    assert!(works(&store, &first, START).await);
    let used = live(&store, &made.token, START).await;
    store.apply(vec![call(parent.id, used.public_id, START)]).await.unwrap();
    assert!(works(&store, &first, START).await && !works(&store, &first, START + MINUTE).await);

    // A secret that others know may have minted for them.
    let (_, second) = mint(&store, parent.id).await;
    let running = live(&store, &second, START).await;
    store.rotate_key(parent.id, None, Rotation { overlap_ms: HOUR, leaked: true }).await.unwrap();
    assert!(!works(&store, &second, START).await && running.cancelled());
    let (_, third) = mint(&store, parent.id).await;
    assert!(works(&store, &third, START).await);
    store.regenerate_key(parent.id, None).await.unwrap();
    assert!(!works(&store, &third, START).await);
    let (_, fourth) = mint(&store, parent.id).await;
    let running = live(&store, &fourth, START).await;
    store.delete_key(parent.id, None).await.unwrap();
    assert!(!works(&store, &fourth, START).await && running.cancelled());
    // In the lists as well, and for a process that starts now.
    let filter = KeyFilter { parent: Some(parent.id), status: Some(KeyStatus::Active), ..KeyFilter::default() };
    assert_eq!(store.keys(&filter, Page::default()).await.unwrap().data, []);
    store.close().await;
    drop(store);
    let store = home.open().await;
    for token in [&first, &second, &third, &fourth] {
        let key = live(&store, token, START).await;
        assert!(key.dead_at(START + HOUR).is_some());
    }
}

async fn it_shrinks_with_its_parent(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    let (_, token) = mint(&store, parent.id).await;
    let key = live(&store, &token, START).await;
    assert!(key.info.scopes.contains(Scope::EmbeddingsWrite));
    let patch = KeyPatch {
        scopes: Some(Scopes::NONE.with(Scope::CompletionsWrite)),
        spend_limit: Some(Some(Nanos(5))),
        expires_at: Some(Some(START + MINUTE)),
        ..KeyPatch::default()
    };
    store.update_key(parent.id, None, patch).await.unwrap();
    let key = live(&store, &token, START).await;
    assert_eq!(key.info.scopes, Scopes::NONE.with(Scope::CompletionsWrite));
    assert_eq!(key.temp.as_ref().unwrap().parent_spend_limit, Some(Nanos(5)));
    assert!(works(&store, &token, START).await && !works(&store, &token, START + MINUTE).await);
    // That end is its own from now on, whatever becomes of its parent's.
    let filter = KeyFilter { parent: Some(parent.id), ..KeyFilter::default() };
    let listed = store.keys(&filter, Page::default()).await.unwrap().data;
    assert_eq!(listed.iter().map(|key| key.expires_at).collect::<Vec<_>>(), [Some(START + MINUTE)]);
    for end in [Some(START + DAY), None] {
        store.update_key(parent.id, None, KeyPatch { expires_at: Some(end), ..KeyPatch::default() }).await.unwrap();
        assert!(works(&store, &token, START).await && !works(&store, &token, START + MINUTE).await, "{end:?}");
    }
    store.close().await;
    drop((store, key));
    let store = home.open().await;
    assert!(works(&store, &token, START).await && !works(&store, &token, START + MINUTE).await);
}

async fn what_it_costs_is_charged_to_both_and_counted_for_the_parent(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    let (temp, token) = mint(&store, parent.id).await;
    let key = live(&store, &token, START).await;
    let one = call(temp.id, key.public_id, START);
    let mut refused = call(temp.id, key.public_id, START);
    (refused.outcome, refused.cost) = (Outcome::Refused, Some(Nanos(0)));
    let mut lost = call(temp.id, key.public_id, START);
    (lost.outcome, lost.cost) = (Outcome::Unresolved, Some(Nanos(700)));
    let cost = one.cost.unwrap();
    store.apply(vec![one.clone(), refused, lost.clone()]).await.unwrap();
    // The same again, and the truth about the one that was lost.
    let mut truth = lost.clone();
    (truth.outcome, truth.cost) = (Outcome::Completed, Some(Nanos(30)));
    store.apply(vec![one, truth]).await.unwrap();
    let total = Nanos(cost.0 + 30);
    assert_eq!(store.spent(temp.id).await.unwrap(), total);
    assert_eq!(store.spent(parent.id).await.unwrap(), total);
    assert_eq!(store.requests_made(temp.id).await.unwrap(), 2);
    let query = UsageQuery { group_by: GroupBy { key: true, ..GroupBy::default() }, ..UsageQuery::default() };
    let rows = store.usage(&query).await.unwrap();
    let keys: Vec<_> = rows.iter().map(|row| (row.key, row.sums.cost, row.sums.requests)).collect();
    assert_eq!(keys, [(Some(parent.id), total, 3)]);
}

async fn it_is_buried_after_its_end(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    let (temp, token) = mint(&store, parent.id).await;
    let (ended, _) = mint(&store, parent.id).await;
    let key = live(&store, &token, START).await;
    store.end_temp(&key).await.unwrap();
    assert!(key.cancelled() && !works(&store, &token, START).await);
    assert_eq!(store.key(temp.id).await.unwrap().deleted_at, None, "its caller can still hear why it fails");
    home.wait(2 * HOUR);
    store.bury_temp_keys().await.unwrap();
    for id in [temp.id, ended.id] {
        let row = store.key(id).await.unwrap();
        assert!(row.deleted_at.is_some(), "{id}");
    }
    assert!(store.key(parent.id).await.unwrap().deleted_at.is_none());
}

async fn its_terms_come_back_after_a_restart(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    let mut temp = new("t");
    temp.request_limit = Some(7);
    temp.ip = Some("2001:db8::1".parse().unwrap());
    temp.models = Some(Models::Allow([ModelGlob::parse("openai/gpt-*").unwrap()].into()));
    let (_, token) = store.mint_temp(parent.id, None, temp.clone()).await.unwrap();
    store.close().await;
    drop(store);
    let store = home.open().await;
    let key = live(&store, &token, START).await;
    let terms = key.temp.as_ref().unwrap();
    assert_eq!((terms.parent_id, terms.request_limit), (parent.id, Some(7)));
    let own = key.bounds.last().unwrap();
    assert_eq!((own.level, own.id), (Level::Key, key.info.id.0));
    assert_eq!(own.controls.models, temp.models);
    assert!(own.check_address(from("2001:db8::1")).is_ok() && own.check_address(from("2001:db8::2")).is_err());
    // Spend is the parent's too although nobody has looked the key up in this process yet.
    let (other, _) = mint(&store, parent.id).await;
    store.close().await;
    drop((store, key));
    let store = home.open().await;
    store.apply(vec![call(other.id, *b"AbCd1234", START)]).await.unwrap();
    assert_eq!(store.spent(parent.id).await.unwrap(), call(other.id, [0; 8], 0).cost.unwrap());
}

fn from(address: &str) -> Client {
    Client { address: address.parse().unwrap(), known: true }
}

fn of(bounds: &[Bound], id: [u8; 16]) -> Option<&Controls> {
    bounds.iter().find(|bound| bound.id == id).map(|bound| &*bound.controls)
}

async fn its_parents_policy_bounds_it_as_that_changes(home: &Home) {
    let store = home.open().await;
    let acme = Acme::new(&store, "Acme").await;
    let new_parent =
        NewKey { controls: controls(60), placement: acme.placement(None), ..NewKey::new(KeyKind::Live, "parent") };
    let (parent, _) = store.create_key(new_parent).await.unwrap();
    let (row, token) = mint(&store, parent.id).await;
    assert_eq!((row.organisation_id, row.project_id), (acme.organisation.id, acme.project.id));
    let running = live(&store, &token, START).await;
    assert_eq!(of(&running.bounds, parent.id.0), Some(&controls(60)), "what is counted is counted for both");

    let patch = |controls| KeyPatch { controls: Some(controls), ..KeyPatch::default() };
    store.update_key(parent.id, None, patch(controls(6))).await.unwrap();
    let key = live(&store, &token, START).await;
    assert_eq!(of(&key.bounds, parent.id.0), Some(&controls(6)));
    assert_eq!(*store.bounds_of(&store.key(row.id).await.unwrap()).await.unwrap(), *key.bounds, "both planes agree");
    assert!(!running.cancelled());

    // What is above its parent is above it, also where its parent goes.
    let organisation = OrganisationPatch { controls: Some(controls(600)), ..OrganisationPatch::default() };
    store.update_organisation(acme.organisation.id, None, organisation).await.unwrap();
    assert_eq!(of(&live(&store, &token, START).await.bounds, acme.organisation.id.0), Some(&controls(600)));
    let elsewhere = project(&store, acme.organisation.id, "Elsewhere").await;
    let patch = ProjectPatch { controls: Some(controls(30)), ..ProjectPatch::default() };
    store.update_project(elsewhere.id, None, patch).await.unwrap();
    let moved = KeyPatch { project: Some(elsewhere.id), ..KeyPatch::default() };
    store.update_key(parent.id, None, moved).await.unwrap();
    let key = live(&store, &token, START).await;
    assert_eq!((key.placement.project, of(&key.bounds, elsewhere.id.0)), (elsewhere.id, Some(&controls(30))));
    assert_eq!(store.key(row.id).await.unwrap().project_id, elsewhere.id);
    let closed = |disabled| ProjectPatch { disabled: Some(disabled), ..ProjectPatch::default() };
    store.update_project(elsewhere.id, None, closed(true)).await.unwrap();
    assert_eq!(live(&store, &token, START).await.dead_at(START), Some(Code::KeyDisabled));
    assert!(key.cancelled());
    store.update_project(elsewhere.id, None, closed(false)).await.unwrap();
    store.disable_key(parent.id, None).await.unwrap();
    assert_eq!(live(&store, &token, START).await.closed_by(), Some((Level::Key, "parent")));
}

/// So many copies of the key `t`, put there past the store: minting them takes its time.
async fn copy(home: &Home, copies: usize) {
    let copied = "kind, name, description, tags, organisation_id, project_id, scopes, disabled, browser_allowed, \
                  spent, note, version, created_at, updated_at, parent_id, minted_with, expires_at, active_day, search";
    let (id, numbers) = if home.is_postgres() {
        ("decode(md5(i::text), 'hex')", format!("generate_series(1, {copies}) AS n (i)"))
    } else {
        (
            "randomblob(16)",
            format!(
                "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {copies}) SELECT i FROM n)"
            ),
        )
    };
    home.sql(&format!(
        "INSERT INTO api_key (id, {copied}) SELECT {id}, {copied} FROM api_key, {numbers} WHERE name = 't'"
    ))
    .await;
}

/// However many end in one moment, one round buries them.
async fn a_crowd_is_buried_in_one_round(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    let (_, token) = mint(&store, parent.id).await;
    copy(home, 249).await;
    let running = live(&store, &token, START).await;
    home.wait(2 * HOUR);
    store.bury_temp_keys().await.unwrap();
    let filter = KeyFilter { parent: Some(parent.id), ..KeyFilter::default() };
    assert_eq!(store.keys(&filter, Page::default()).await.unwrap().data, []);
    assert!(running.cancelled() && live(&store, &token, START).await.info.deleted, "known in memory as what it is");
    let deleted = AuditFilter { verbs: vec![Verb::KeyDelete], ..AuditFilter::default() };
    let (entries, _) = store.audit_after(&deleted, 0, 1_000).await.unwrap();
    assert_eq!(entries.len(), 250, "each is told of");
    assert!(entries.iter().all(|entry| entry.actor_kind == "system" || entry.actor_id.is_none()));
    assert!(store.verify_audit(None).await.unwrap().is_whole());
    store.close().await;
    drop((store, running));
    let store = home.open().await;
    assert!(matches!(identify(&store, token.expose(), START).await.unwrap(), Lookup::Unknown), "its secret is gone");
}

/// What minting, ending and burying ask must not grow with the dead.
async fn the_dead_are_not_gone_through(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    mint(&store, parent.id).await;
    copy(home, 900).await;
    home.wait(2 * HOUR);
    store.bury_temp_keys().await.unwrap();
    mint(&store, parent.id).await;
    home.sql("ANALYZE api_key").await;
    for plan in store.explain_temp_keys().await.unwrap() {
        assert!(plan.contains("api_key_temp_"), "{plan}");
    }
}

async fn a_key_has_no_more_than_a_thousand_that_live(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    let (other, _) = make(&store, "other").await;
    let (_, first) = mint(&store, parent.id).await;
    copy(home, 998).await;
    mint(&store, parent.id).await;
    let full = store.mint_temp(parent.id, None, new("t")).await;
    assert!(matches!(full, Err(StoreError::Conflict(why)) if why.contains("1000")));
    mint(&store, other.id).await;

    // Room for one, and four who want it at once.
    store.end_temp(&*live(&store, &first, START).await).await.unwrap();
    let mut mints = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (store, parent) = (Arc::clone(&store), parent.id);
        mints.spawn(async move { store.mint_temp(parent, None, new("t")).await.is_ok() });
    }
    assert_eq!(mints.join_all().await.into_iter().filter(|made| *made).count(), 1);
    home.wait(HOUR);
    mint(&store, parent.id).await;
}

async fn those_of_a_key_are_listed_and_show_their_parent(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    let (other, _) = make(&store, "other").await;
    let (first, _) = mint(&store, parent.id).await;
    mint(&store, other.id).await;
    home.wait(1);
    let second = store.mint_temp(parent.id, None, NewTemp { request_limit: Some(7), ..new("u") }).await.unwrap().0;
    assert_eq!((second.parent_id, second.request_limit), (Some(parent.id), Some(7)));
    assert_eq!((parent.parent_id, parent.request_limit), (None, None));
    let filter = KeyFilter { parent: Some(parent.id), ..KeyFilter::default() };
    let listed = || async { store.keys(&filter, Page::default()).await.unwrap().data };
    assert_eq!(listed().await.iter().map(|key| key.id).collect::<Vec<_>>(), [second.id, first.id]);
    assert!(listed().await.iter().all(|key| key.closed_by.is_none() && key.status == KeyStatus::Active));
    let plan = store.explain_keys(&filter, None).await.unwrap();
    assert!(home.is_postgres() || plan.contains("api_key_parent"), "{plan}");
    store.disable_key(parent.id, None).await.unwrap();
    assert!(listed().await.iter().all(|key| key.closed_by.as_deref() == Some("API key `parent`")));
    store.enable_key(parent.id, None).await.unwrap();
    store.regenerate_key(parent.id, None).await.unwrap();
    assert!(listed().await.iter().all(|key| key.status == KeyStatus::Expired));
}

async fn it_is_never_changed(home: &Home) {
    let store = home.open().await;
    let (parent, _) = make(&store, "parent").await;
    let (temp, token) = mint(&store, parent.id).await;
    let before = store.key(temp.id).await.unwrap();
    let patch = KeyPatch { expires_at: Some(None), ..KeyPatch::default() };
    let refused = [
        store.update_key(temp.id, None, patch).await.err(),
        store.regenerate_key(temp.id, None).await.err(),
        store.rotate_key(temp.id, None, Rotation::default()).await.err(),
    ];
    assert!(refused.iter().all(|error| matches!(error, Some(StoreError::Conflict(_)))), "{refused:?}");
    assert_eq!(store.key(temp.id).await.unwrap(), before);
    store.disable_key(temp.id, None).await.unwrap();
    assert!(!works(&store, &token, START).await);
    store.enable_key(temp.id, None).await.unwrap();
    assert!(works(&store, &token, START).await);
}

/// A walk over changes of a key, of what is above it and of its temporary keys, in an order that a number decides.
async fn nothing_that_happens_gives_it_more_than_its_parent_has(home: &Home) {
    let store = home.open().await;
    let mut walk = Walk::begin(&store, 0x9e37_79b9_7f4a_7c15).await;
    for _ in 0..120 {
        walk.step().await;
        walk.check().await;
    }
    assert!(walk.alive > 50 && walk.dead > 50, "both were seen: {} alive, {} dead", walk.alive, walk.dead);
}

struct Walk<'a> {
    store: &'a Store,
    random: u64,
    acme: Acme,
    parent: KeyRow,
    /// The parent's newest secret.
    token: Token,
    temps: Vec<(NewTemp, Token)>,
    alive: usize,
    dead: usize,
}

const MODELS: [&str; 4] = ["openai/gpt-4o", "openai/gpt-4o-mini", "anthropic/claude-x", "google/gemini-y"];
const PLACES: [&str; 3] = ["10.0.0.1", "10.0.0.2", "2001:db8::1"];

impl<'a> Walk<'a> {
    async fn begin(store: &'a Store, random: u64) -> Walk<'a> {
        let acme = Acme::new(store, "Acme").await;
        let (parent, token) = acme.key(store, "parent", None).await;
        Walk { store, random, acme, parent, token, temps: Vec::new(), alive: 0, dead: 0 }
    }

    fn dice(&mut self, sides: u32) -> u32 {
        for shift in [13, -7, 17] {
            self.random ^= if shift > 0 { self.random << shift } else { self.random >> -shift };
        }
        (self.random >> 32) as u32 % sides
    }

    fn maybe<T>(&mut self, value: T) -> Option<T> {
        (self.dice(2) == 0).then_some(value)
    }

    fn scopes(&mut self) -> Scopes {
        let some: Scopes = Scopes::DEFAULT.iter().filter(|_| self.dice(3) > 0).collect();
        if some == Scopes::NONE { Scopes::DEFAULT } else { some }
    }

    fn glob(&mut self) -> ModelGlob {
        let patterns = ["openai/*", "openai/gpt-4o", "*/claude-*", "gemini-*", "*/*"];
        ModelGlob::parse(patterns[self.dice(5) as usize]).unwrap()
    }

    fn controls(&mut self) -> Controls {
        let mut controls = controls(u64::from(1 + self.dice(100)));
        let (allow, block, place) = (self.glob(), self.glob(), PLACES[self.dice(3) as usize]);
        controls.models = match self.dice(3) {
            0 => Some(Models::Allow([allow].into())),
            1 => Some(Models::Block([block].into())),
            _ => None,
        };
        controls.ips = self.maybe(Controls::from_json(&format!(r#"{{"ips":["{place}"]}}"#)).unwrap().ips).flatten();
        controls
    }

    async fn step(&mut self) {
        let (store, id) = (self.store, self.parent.id);
        match self.dice(12) {
            0 => drop(store.disable_key(id, None).await.unwrap()),
            1 | 2 => drop(store.enable_key(id, None).await.unwrap()),
            3 => {
                let (money, end) = (self.dice(1000), self.dice(60));
                let patch = KeyPatch {
                    scopes: Some(self.scopes()),
                    controls: Some(self.controls()),
                    spend_limit: Some(self.maybe(Nanos(i64::from(money)))),
                    expires_at: Some(self.maybe(START + i64::from(end) * MINUTE)),
                    ..KeyPatch::default()
                };
                self.parent = store.update_key(id, None, patch).await.unwrap();
            }
            4 if self.dice(3) == 0 => self.token = store.regenerate_key(id, None).await.unwrap().1,
            5 => {
                let leaked = self.dice(4) == 0;
                let rotation = Rotation { overlap_ms: i64::from(self.dice(10)) * MINUTE, leaked };
                let made = store.rotate_key(id, None, rotation).await.unwrap();
                if self.dice(2) == 0 {
                    let used = live(store, &made.token, START).await;
                    store.apply(vec![call(id, used.public_id, START)]).await.unwrap();
                }
                self.token = made.token;
            }
            6 => {
                let patch = OrganisationPatch { controls: Some(self.controls()), ..OrganisationPatch::default() };
                store.update_organisation(self.acme.organisation.id, None, patch).await.unwrap();
            }
            n @ (7 | 8) => {
                let patch = ProjectPatch { disabled: Some(n == 7), ..ProjectPatch::default() };
                store.update_project(self.acme.project.id, None, patch).await.unwrap();
            }
            _ => self.mint().await,
        }
    }

    async fn mint(&mut self) {
        let place = PLACES[self.dice(3) as usize].parse().unwrap();
        let models = Models::Allow([self.glob()].into());
        let scopes = self.scopes();
        let (money, requests, most, lives) = (self.dice(2000), self.dice(9), self.dice(4), self.dice(90));
        let temp = NewTemp {
            scopes: self.maybe(scopes),
            spend_limit: self.maybe(Nanos(i64::from(money))),
            request_limit: self.maybe(u64::from(1 + requests)),
            lives_ms: i64::from(1 + lives) * MINUTE,
            ip: self.maybe(place),
            models: self.maybe(models),
            concurrency: self.maybe(u64::from(1 + most)),
            ..new("t")
        };
        let minted = self.store.mint_temp(self.parent.id, None, temp.clone()).await;
        let parent = self.store.key(self.parent.id).await.unwrap();
        match minted {
            Ok((row, token)) => {
                let left = parent.spend_limit.map(|limit| Nanos((limit.0 - parent.spent.0).max(0)));
                assert!(row.scopes.and(parent.scopes) == row.scopes);
                assert!(left.is_none_or(|left| temp.spend_limit.is_none_or(|asked| asked <= left)));
                assert!(parent.expires_at.is_none_or(|at| row.expires_at.unwrap() <= at));
                self.temps.push((temp, token));
            }
            // Refused for a reason: something that it asked for is more, or the parent cannot be used.
            Err(StoreError::Invalid { field, .. }) => assert!(["scopes", "spend_limit"].contains(&field), "{field}"),
            Err(StoreError::Conflict(_)) => {
                let dead = parent.disabled || parent.closed_by.is_some() || parent.status == KeyStatus::Expired;
                assert!(dead, "{parent:?}");
            }
            Err(other) => panic!("{other}"),
        }
        if self.temps.len() > 12 {
            self.temps.remove(0);
        }
    }

    /// Whatever a temporary key may do now, its parent may as well, and so may what it was minted as.
    async fn check(&mut self) {
        let parent = live(self.store, &self.token, START).await;
        for (minted, token) in &self.temps {
            let key = live(self.store, token, START).await;
            let minutes: Vec<i64> = (0..90).map(|n| START + n * MINUTE).collect();
            for at in &minutes {
                // The parent's newest secret may be one that is not used yet and lapses; the key itself is what counts.
                let parent_dead = parent.info.dead_at(*at).is_some() || parent.closed_by().is_some();
                assert!(!parent_dead || key.dead_at(*at).is_some(), "it lives on at {at}");
                assert!(*at < START + minted.lives_ms || key.dead_at(*at).is_some());
            }
            if key.dead_at(START).is_some() {
                self.dead += 1;
                continue;
            }
            self.alive += 1;
            assert!(key.info.scopes.and(parent.info.scopes) == key.info.scopes);
            assert!(minted.scopes.is_none_or(|scopes| key.info.scopes.and(scopes) == key.info.scopes));
            let temp = key.temp.as_ref().unwrap();
            assert_eq!(temp.parent_spend_limit, parent.info.spend_limit, "its parent's money");
            assert_eq!((key.info.spend_limit, temp.request_limit), (minted.spend_limit, minted.request_limit));
            let own = of(&key.bounds, key.info.id.0).and_then(|own| own.limits.concurrency);
            assert_eq!(own, minted.concurrency);
            // All that is counted of its parent is counted of it, by the same counters.
            for bound in parent.bounds.iter() {
                assert_eq!(of(&key.bounds, bound.id), Some(&*bound.controls));
            }
            let may = |bounds: &[Bound], model: &str, place: &str| {
                let (provider, name) = model.split_once('/').unwrap();
                let target = Target { provider, model: name };
                bounds.iter().all(|b| b.check_model(model, target).is_ok() && b.check_address(from(place)).is_ok())
            };
            for (model, place) in MODELS.iter().flat_map(|model| PLACES.map(|place| (*model, place))) {
                let (provider, name) = model.split_once('/').unwrap();
                let asked = minted.models.as_ref().is_none_or(|models| models.permits(provider, name))
                    && minted.ip.is_none_or(|ip| ip == place.parse::<std::net::IpAddr>().unwrap());
                let parents = may(&parent.bounds, model, place);
                assert_eq!(may(&key.bounds, model, place), asked && parents, "{model} from {place}");
            }
        }
    }
}
