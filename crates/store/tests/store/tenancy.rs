//! Organisations, projects, people and service accounts, and what they mean for the keys below them.

use crate::home::*;
use anykey_core::controls::{Controls, Level};
use anykey_core::{Code, KeyKind, KeyRules, OrganisationId, OwnerId, Placement, ProjectId, Role, Sight, Token};
use anykey_store::*;
use std::sync::Arc;

on_both!(
    what_is_made_is_shown_found_and_changed,
    slugs_and_emails_are_taken_once,
    a_change_above_a_key_is_in_force_when_it_returns,
    what_bounds_a_key_comes_from_the_outside_in,
    an_end_above_wins_over_look_ups_under_way,
    a_key_belongs_where_its_owner_does,
    a_transfer_asks_for_a_rotation,
    who_leaves_and_comes_back_is_the_same_member,
    the_default_organisation_and_project_stay,
    who_is_in_a_project_is_who_has_something_there,
    every_change_is_in_the_audit_log,
);

/// What the changes of this file leave in the audit log.
pub const RECORDED: &[&str] = &[
    "organisation.create",
    "project.create",
    "person.create",
    "member.add",
    "service_account.create",
    "organisation.update",
    "organisation.disable",
    "organisation.enable",
    "project.update",
    "project.disable",
    "project.enable",
    "project.owner_add",
    "project.owner_remove",
    "person.update",
    "member.update",
    "member.disable",
    "member.enable",
    "service_account.update",
    "service_account.disable",
    "service_account.enable",
    "key.transfer",
    "key.bulk",
    "service_account.delete",
    "member.remove",
    "person.delete",
    "project.delete",
    "organisation.delete",
];

pub fn controls(rpm: u64) -> Controls {
    Controls::from_json(&format!(r#"{{"limits":{{"rpm":{rpm}}}}}"#)).unwrap()
}

/// An organisation with a project, a member and a service account.
pub struct Acme {
    pub organisation: OrganisationRow,
    pub project: ProjectRow,
    pub person: PersonRow,
    pub member: MemberRow,
    pub account: ServiceAccountRow,
}

pub async fn organisation(store: &Store, name: &str) -> OrganisationRow {
    let new = NewOrganisation {
        slug: None,
        name: name.into(),
        description: String::new(),
        controls: Controls::default(),
        rules: KeyRules::default(),
    };
    store.create_organisation(new).await.unwrap()
}

pub async fn project(store: &Store, organisation: OrganisationId, name: &str) -> ProjectRow {
    let new = NewProject {
        organisation,
        slug: None,
        name: name.into(),
        description: String::new(),
        controls: Controls::default(),
        rules: KeyRules::default(),
    };
    store.create_project(new).await.unwrap()
}

impl Acme {
    pub async fn new(store: &Store, name: &str) -> Acme {
        let organisation = organisation(store, name).await;
        let project = project(store, organisation.id, "Search").await;
        let email = format!("Ada@{}.example", organisation.slug);
        let person = store.create_person(NewPerson { email, name: "Ada".into(), operator: false }).await.unwrap();
        let new = NewMember {
            organisation: organisation.id,
            person: person.id,
            role: Role::Member,
            controls: Controls::default(),
        };
        let member = store.add_member(new).await.unwrap();
        let account = NewServiceAccount {
            organisation: organisation.id,
            project: Some(project.id),
            name: "deploy".into(),
            description: String::new(),
            controls: Controls::default(),
        };
        let account = store.create_service_account(account).await.unwrap();
        Acme { organisation, project, person, member, account }
    }

    pub fn placement(&self, owner: Option<OwnerId>) -> Placement {
        Placement { organisation: self.organisation.id, project: self.project.id, owner }
    }

    pub fn member_id(&self) -> OwnerId {
        OwnerId::Member(self.member.id)
    }

    pub fn account_id(&self) -> OwnerId {
        OwnerId::ServiceAccount(self.account.id)
    }

    pub async fn key(&self, store: &Store, name: &str, owner: Option<OwnerId>) -> (KeyRow, Token) {
        let new = NewKey { placement: self.placement(owner), ..NewKey::new(KeyKind::Live, name) };
        store.create_key(new).await.unwrap()
    }
}

async fn what_is_made_is_shown_found_and_changed(home: &Home) {
    let store = home.open().await;
    let acme = Acme::new(&store, "Acme & Sons").await;
    assert_eq!(acme.organisation.slug, "acme-sons");
    assert_eq!(store.organisation(acme.organisation.id).await.unwrap(), acme.organisation);
    assert_eq!(store.organisation_by_slug("acme-sons").await.unwrap(), acme.organisation);
    assert_eq!(store.project(acme.project.id).await.unwrap(), acme.project);
    assert_eq!(
        store.projects_by_slug("search", None, &Sight::Everything).await.unwrap(),
        std::slice::from_ref(&acme.project)
    );
    assert_eq!(store.person_by_email("ADA@acme-SONS.example").await.unwrap(), acme.person);
    assert_eq!(store.member_of(acme.organisation.id, acme.person.id).await.unwrap(), acme.member);
    assert_eq!(store.service_account(acme.account.id).await.unwrap(), acme.account);
    assert_eq!((acme.member.email.as_str(), acme.member.role), ("Ada@acme-sons.example", Role::Member));

    let rules = KeyRules { max_expiry_days: Some(90), ..KeyRules::default() };
    let patch = OrganisationPatch {
        name: Some("Acme".into()),
        controls: Some(controls(5)),
        rules: Some(rules.clone()),
        ..OrganisationPatch::default()
    };
    let changed = store.update_organisation(acme.organisation.id, Some(1), patch.clone()).await.unwrap();
    assert_eq!((changed.version, changed.name.as_str(), &changed.rules), (2, "Acme", &rules));
    assert_eq!(changed.controls, controls(5));
    assert_eq!(
        store.update_organisation(acme.organisation.id, Some(1), patch).await,
        Err(StoreError::VersionMismatch { what: "organisation", expected: 1, found: 2 })
    );
    store.add_project_owner(acme.project.id, acme.person.id).await.unwrap();
    assert_eq!(store.project_owners(acme.project.id).await.unwrap(), std::slice::from_ref(&acme.person));
    let own = TenancyFilter { person: Some(acme.person.id), ..TenancyFilter::default() };
    assert_eq!(store.projects(&own, Page::default()).await.unwrap().data.len(), 1);
    store.remove_project_owner(acme.project.id, acme.person.id).await.unwrap();
    assert!(store.project_owners(acme.project.id).await.unwrap().is_empty());

    for (q, expected) in [("ACME", 1), ("sons", 1), ("%", 0)] {
        let filter = TenancyFilter { q: Some(q.into()), ..TenancyFilter::default() };
        assert_eq!(store.organisations(&filter, Page::default()).await.unwrap().data.len(), expected, "{q}");
    }
    for name in ["b", "c"] {
        project(&store, acme.organisation.id, name).await;
    }
    let filter = TenancyFilter { organisation: Some(acme.organisation.id), ..TenancyFilter::default() };
    let first = store.projects(&filter, Page { after: None, limit: 2 }).await.unwrap();
    let second = store.projects(&filter, Page { after: first.next, limit: 2 }).await.unwrap();
    assert_eq!((first.data.len(), second.data.len(), second.next), (2, 1, None));
}

async fn slugs_and_emails_are_taken_once(home: &Home) {
    let store = home.open().await;
    let acme = Acme::new(&store, "Acme").await;
    let again = NewOrganisation {
        slug: Some("acme".into()),
        name: "Another".into(),
        description: String::new(),
        controls: Controls::default(),
        rules: KeyRules::default(),
    };
    assert!(matches!(store.create_organisation(again.clone()).await, Err(StoreError::Conflict(_))));
    for slug in ["", "A", "a b", "-a"] {
        let bad = NewOrganisation { slug: Some(slug.into()), ..again.clone() };
        assert!(matches!(store.create_organisation(bad).await, Err(StoreError::Invalid { field: "slug", .. })));
    }
    let twin = NewPerson { email: "ADA@ACME.example".into(), name: "Twin".into(), operator: false };
    assert!(matches!(store.create_person(twin.clone()).await, Err(StoreError::Conflict(_))));
    let bad = NewPerson { email: "nobody".into(), ..twin.clone() };
    assert!(matches!(store.create_person(bad).await, Err(StoreError::Invalid { field: "email", .. })));
    let member = NewMember {
        organisation: acme.organisation.id,
        person: acme.person.id,
        role: Role::Admin,
        controls: Controls::default(),
    };
    assert!(matches!(store.add_member(member).await, Err(StoreError::Conflict(_))));

    // What is deleted gives its name back.
    store.delete_organisation(acme.organisation.id, None).await.unwrap();
    store.create_organisation(again).await.unwrap();
    store.delete_person(acme.person.id, None).await.unwrap();
    store.create_person(twin).await.unwrap();
    assert!(matches!(store.delete_organisation(acme.organisation.id, None).await, Err(StoreError::Conflict(_))));
    let into_the_gone = NewProject {
        organisation: acme.organisation.id,
        slug: None,
        name: "late".into(),
        description: String::new(),
        controls: Controls::default(),
        rules: KeyRules::default(),
    };
    assert!(matches!(
        store.create_project(into_the_gone).await,
        Err(StoreError::Invalid { field: "organisation", .. })
    ));
}

async fn a_change_above_a_key_is_in_force_when_it_returns(home: &Home) {
    let store = home.open().await;
    let acme = Acme::new(&store, "Acme").await;
    let (_, by_member) = acme.key(&store, "of Ada", Some(acme.member_id())).await;
    let (_, by_account) = acme.key(&store, "of deploy", Some(acme.account_id())).await;
    let other = Acme::new(&store, "Other").await;
    let (_, elsewhere) = other.key(&store, "elsewhere", None).await;
    let set = |disabled| OrganisationPatch { disabled: Some(disabled), ..OrganisationPatch::default() };

    for level in [Level::Organisation, Level::Project, Level::Member, Level::ServiceAccount] {
        let flip = async |disabled: bool| match level {
            Level::Organisation => {
                store.update_organisation(acme.organisation.id, None, set(disabled)).await.map(drop).unwrap();
            }
            Level::Project => {
                let patch = ProjectPatch { disabled: Some(disabled), ..ProjectPatch::default() };
                store.update_project(acme.project.id, None, patch).await.map(drop).unwrap();
            }
            Level::Member => {
                let patch = MemberPatch { disabled: Some(disabled), ..MemberPatch::default() };
                store.update_member(acme.member.id, None, patch).await.map(drop).unwrap();
            }
            _ => {
                let patch = ServiceAccountPatch { disabled: Some(disabled), ..ServiceAccountPatch::default() };
                store.update_service_account(acme.account.id, None, patch).await.map(drop).unwrap();
            }
        };
        let token = if level == Level::ServiceAccount { &by_account } else { &by_member };
        let running = live(&store, token, START).await;
        assert_eq!(running.dead_at(START), None, "{level:?}");
        flip(true).await;
        assert!(running.cancelled(), "{level:?}: calls that run end");
        let refused = live(&store, token, START).await;
        assert_eq!(refused.dead_at(START), Some(Code::KeyDisabled), "{level:?}");
        assert_eq!(refused.closed_by().map(|(level, _)| level), Some(level));
        assert!(works(&store, &elsewhere, START).await);
        flip(false).await;
        assert!(works(&store, token, START).await, "{level:?}");
    }
    // A person's end is the end of their keys in every organisation.
    let running = live(&store, &by_member, START).await;
    let off = PersonPatch { disabled: Some(true), ..PersonPatch::default() };
    store.update_person(acme.person.id, None, off).await.unwrap();
    assert!(running.cancelled() && !works(&store, &by_member, START).await);
    let on = PersonPatch { disabled: Some(false), ..PersonPatch::default() };
    store.update_person(acme.person.id, None, on).await.unwrap();
    assert!(works(&store, &by_member, START).await);
    // What is deleted is not memory's alone to say.
    store.delete_project(acme.project.id, None).await.unwrap();
    assert!(!works(&store, &by_member, START).await);
    store.close().await;
    drop(store);
    let store = home.open().await;
    assert!(!works(&store, &by_account, START).await && works(&store, &elsewhere, START).await);
}

async fn what_bounds_a_key_comes_from_the_outside_in(home: &Home) {
    let store = home.open().await;
    let acme = Acme::new(&store, "Acme").await;
    let (key, token) = acme.key(&store, "k", Some(acme.member_id())).await;
    let levels = async || {
        let key = live(&store, &token, START).await;
        let seen: Vec<_> = key.bounds.iter().map(|bound| (bound.level, bound.controls.clone())).collect();
        seen
    };
    assert!(levels().await.is_empty(), "what says nothing is left out");
    let own = KeyPatch { controls: Some(controls(1)), ..KeyPatch::default() };
    store.update_key(key.id, None, own).await.unwrap();
    let patch = MemberPatch { controls: Some(controls(2)), ..MemberPatch::default() };
    store.update_member(acme.member.id, None, patch).await.unwrap();
    let patch = OrganisationPatch { controls: Some(controls(4)), ..OrganisationPatch::default() };
    store.update_organisation(acme.organisation.id, None, patch).await.unwrap();
    let patch = ProjectPatch { controls: Some(controls(3)), ..ProjectPatch::default() };
    store.update_project(acme.project.id, None, patch).await.unwrap();
    let all = [(Level::Organisation, 4), (Level::Project, 3), (Level::Member, 2), (Level::Key, 1)]
        .map(|(level, rpm)| (level, Arc::new(controls(rpm))));
    assert_eq!(levels().await, all);
    // Another owner in another project: what was there is gone, what is there holds.
    let second = project(&store, acme.organisation.id, "Second").await;
    let patch = KeyPatch { project: Some(second.id), owner_id: Some(None), ..KeyPatch::default() };
    let moved = store.update_key(key.id, None, patch).await.unwrap();
    assert_eq!((moved.project.as_str(), moved.owner_id), ("second", None));
    assert_eq!(levels().await, [all[0].clone(), all[3].clone()]);
    let patch = ProjectPatch { controls: Some(controls(9)), ..ProjectPatch::default() };
    store.update_project(second.id, None, patch).await.unwrap();
    assert_eq!(levels().await[1], (Level::Project, Arc::new(controls(9))));
    // The next process reads the same.
    store.close().await;
    drop(store);
    let store = home.open().await;
    let key = live(&store, &token, START).await;
    assert_eq!(
        key.bounds.iter().map(|b| b.level).collect::<Vec<_>>(),
        [Level::Organisation, Level::Project, Level::Key]
    );
    assert_eq!(key.placement, Placement { project: second.id, ..acme.placement(None) });
}

/// Look-ups of keys that are not in memory, and changes of the keys themselves, race with the end of their project, many
/// times over; whatever the order, once it has returned no key below may be used.
async fn an_end_above_wins_over_look_ups_under_way(home: &Home) {
    let store = home.open().await;
    let acme = Acme::new(&store, "Acme").await;
    for round in 0..40 {
        let project = project(&store, acme.organisation.id, &format!("p{round}")).await;
        let placement = Placement { project: project.id, ..acme.placement(None) };
        let new = NewKey { placement, ..NewKey::new(KeyKind::Live, format!("k{round}")) };
        let (_, token) = store.create_key(new).await.unwrap();
        let (moving, mover) = acme.key(&store, "mover", None).await;
        live(&store, &mover, START).await;
        let digest = digest(&store, &token);
        let looking: Vec<_> = (0..3)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.look_up(digest, None).await.unwrap() })
            })
            .collect();
        let there = KeyPatch { project: Some(project.id), ..KeyPatch::default() };
        let moved = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.update_key(moving.id, None, there).await }
        });
        if round % 3 == 0 {
            tokio::task::yield_now().await;
        }
        let patch = ProjectPatch { disabled: Some(true), ..ProjectPatch::default() };
        store.update_project(project.id, None, patch).await.unwrap();
        assert!(!works(&store, &token, START).await, "round {round}");
        for task in looking {
            let Lookup::Live(seen) = task.await.unwrap() else { panic!("unknown") };
            assert!(seen.dead_at(START).is_some() || seen.cancelled(), "round {round}");
        }
        moved.await.unwrap().unwrap();
        assert!(!works(&store, &mover, START).await, "round {round}: it moved into what is disabled");
    }
}

async fn a_key_belongs_where_its_owner_does(home: &Home) {
    let store = home.open().await;
    let (acme, other) = (Acme::new(&store, "Acme").await, Acme::new(&store, "Other").await);
    let make = async |placement| {
        let new = NewKey { placement, ..NewKey::new(KeyKind::Live, "k") };
        store.create_key(new).await.map(|(key, _)| key)
    };
    let refused = |made: Result<KeyRow>, wrong: &str| match made {
        Err(StoreError::Invalid { field, .. }) => assert_eq!(field, wrong),
        other => panic!("{other:?}"),
    };
    refused(make(Placement { project: other.project.id, ..acme.placement(None) }).await, "project");
    refused(make(acme.placement(Some(other.member_id()))).await, "owner_id");
    refused(make(acme.placement(Some(other.account_id()))).await, "owner_id");
    let second = project(&store, acme.organisation.id, "Second").await;
    let elsewhere = Placement { project: second.id, ..acme.placement(Some(acme.account_id())) };
    refused(make(elsewhere).await, "owner_id");

    let key = make(acme.placement(Some(acme.account_id()))).await.unwrap();
    assert_eq!((key.owner_id, key.owner_label.as_deref()), (Some(acme.account_id()), Some("deploy")));
    let away = KeyPatch { project: Some(other.project.id), ..KeyPatch::default() };
    refused(store.update_key(key.id, None, away).await, "project");
    let away = KeyPatch { project: Some(second.id), ..KeyPatch::default() };
    refused(store.update_key(key.id, None, away).await, "owner_id");
    assert_eq!(store.key(key.id).await.unwrap(), key, "a refused change leaves no trace");
    store.delete_service_account(acme.account.id, None).await.unwrap();
    refused(make(acme.placement(Some(acme.account_id()))).await, "owner_id");
    assert_eq!(store.key(key.id).await.unwrap().closed_by.as_deref(), Some("service account `deploy`"));
}

async fn a_transfer_asks_for_a_rotation(home: &Home) {
    let store = home.open().await;
    let acme = Acme::new(&store, "Acme").await;
    let (key, token) = acme.key(&store, "k", Some(acme.member_id())).await;
    store.remove_member(acme.member.id, None).await.unwrap();
    assert!(!works(&store, &token, START).await, "its owner has left");
    home.wait(5);
    let given = store.transfer_key(key.id, Some(1), acme.account_id()).await.unwrap();
    assert_eq!((given.owner_id, given.rotation_asked_at), (Some(acme.account_id()), Some(START + 5)));
    assert!(works(&store, &token, START).await);
    let rotated = store.rotate_key(key.id, None, Rotation::default()).await.unwrap();
    assert_eq!(rotated.key.rotation_asked_at, None);
    assert!(matches!(
        store.transfer_key(key.id, None, acme.member_id()).await,
        Err(StoreError::Invalid { field: "owner_id", .. })
    ));
}

async fn who_leaves_and_comes_back_is_the_same_member(home: &Home) {
    let store = home.open().await;
    let acme = Acme::new(&store, "Acme").await;
    let (_, token) = acme.key(&store, "k", Some(acme.member_id())).await;
    store.add_project_owner(acme.project.id, acme.person.id).await.unwrap();
    let gone = store.remove_member(acme.member.id, Some(acme.member.version)).await.unwrap();
    assert!(gone.deleted_at.is_some() && !works(&store, &token, START).await);
    assert!(store.project_owners(acme.project.id).await.unwrap().is_empty());
    assert_eq!(store.member_of(acme.organisation.id, acme.person.id).await, Err(StoreError::NotFound("member")));
    assert!(matches!(store.add_project_owner(acme.project.id, acme.person.id).await, Err(StoreError::Invalid { .. })));
    let back = NewMember {
        organisation: acme.organisation.id,
        person: acme.person.id,
        role: Role::Admin,
        controls: Controls::default(),
    };
    let back = store.add_member(back).await.unwrap();
    assert_eq!((back.id, back.role, back.deleted_at), (acme.member.id, Role::Admin, None));
    assert!(works(&store, &token, START).await);
}

async fn the_default_organisation_and_project_stay(home: &Home) {
    let store = home.open().await;
    let off = OrganisationPatch { disabled: Some(true), ..OrganisationPatch::default() };
    assert!(matches!(
        store.update_organisation(OrganisationId::DEFAULT, None, off).await,
        Err(StoreError::Conflict(_))
    ));
    let off = ProjectPatch { disabled: Some(true), ..ProjectPatch::default() };
    assert!(matches!(store.update_project(ProjectId::DEFAULT, None, off).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.delete_organisation(OrganisationId::DEFAULT, None).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.delete_project(ProjectId::DEFAULT, None).await, Err(StoreError::Conflict(_))));
    let renamed = OrganisationPatch { name: Some("House".into()), ..OrganisationPatch::default() };
    assert_eq!(store.update_organisation(OrganisationId::DEFAULT, None, renamed).await.unwrap().name, "House");
}

async fn every_change_is_in_the_audit_log(home: &Home) {
    let store = home.open().await;
    let acme = Acme::new(&store, "Acme").await;
    let (id, project, member) = (acme.organisation.id, acme.project.id, acme.member.id);
    let (person, account) = (acme.person.id, acme.account.id);
    for (controls, disabled) in [(Some(controls(7)), None), (None, Some(true)), (None, Some(false))] {
        let patch = OrganisationPatch { controls: controls.clone(), disabled, ..OrganisationPatch::default() };
        store.update_organisation(id, None, patch).await.unwrap();
    }
    for (controls, disabled) in [(Some(controls(7)), None), (None, Some(true)), (None, Some(false))] {
        let patch = ProjectPatch { controls: controls.clone(), disabled, ..ProjectPatch::default() };
        store.update_project(project, None, patch).await.unwrap();
    }
    store.add_project_owner(project, person).await.unwrap();
    store.add_project_owner(project, person).await.unwrap();
    store.remove_project_owner(project, person).await.unwrap();
    let renamed = PersonPatch { name: Some("Ada L".into()), ..PersonPatch::default() };
    store.update_person(person, None, renamed).await.unwrap();
    for (role, disabled) in [(Some(Role::Admin), None), (None, Some(true)), (None, Some(false))] {
        store.update_member(member, None, MemberPatch { role, disabled, controls: None }).await.unwrap();
    }
    for (controls, disabled) in [(Some(controls(7)), None), (None, Some(true)), (None, Some(false))] {
        let patch = ServiceAccountPatch { controls: controls.clone(), disabled, ..ServiceAccountPatch::default() };
        store.update_service_account(account, None, patch).await.unwrap();
    }
    let (key, _) = acme.key(&store, "k", Some(acme.member_id())).await;
    store.transfer_key(key.id, None, acme.account_id()).await.unwrap();
    store.start_job(BulkAction::Disable, Selection::Keys(vec![key.id]), None).await.unwrap();
    store.delete_service_account(account, None).await.unwrap();
    store.remove_member(member, None).await.unwrap();
    store.delete_person(person, None).await.unwrap();
    store.delete_project(project, None).await.unwrap();
    store.delete_organisation(id, None).await.unwrap();

    let page = Page { after: None, limit: 200 };
    let mut entries = store.audit(&AuditFilter::default(), page).await.unwrap().data;
    entries.reverse();
    let verbs: Vec<&str> =
        entries.iter().map(|entry| entry.verb.as_str()).filter(|v| *v != "audit.begin" && *v != "key.create").collect();
    assert_eq!(verbs, RECORDED, "each once, also what was asked for twice");
    let policy = entries.iter().find(|entry| entry.verb == "organisation.update").unwrap();
    assert_eq!(policy.before.as_deref(), Some(r#"{"controls":{}}"#));
    assert_eq!(policy.after.as_deref(), Some(r#"{"controls":{"limits":{"rpm":7}}}"#));
    let job = entries.iter().find(|entry| entry.verb == "key.bulk").unwrap();
    assert!(job.after.as_deref().unwrap().contains(&key.id.to_string()), "{job:?}");
    assert!(store.verify_audit(None).await.unwrap().is_whole());
}

async fn who_is_in_a_project_is_who_has_something_there(home: &Home) {
    let store = home.open().await;
    let acme = Acme::new(&store, "Acme").await;
    let next = project(&store, acme.organisation.id, "Next").await;
    let all = async |id| {
        let (mut found, mut page) = (Vec::new(), Page { after: None, limit: 1 });
        loop {
            let part = store.in_project(id, page).await.unwrap();
            found.extend(part.data.into_iter().map(|who| (who.id, who.of_project, who.keys)));
            match part.next {
                Some(after) => page.after = Some(after),
                None => {
                    // Made in one moment, they come in any order.
                    found.sort_by_key(|(id, ..)| matches!(id, OwnerId::Member(_)));
                    return found;
                }
            }
        }
    };
    let (ada, deploy) = (acme.member_id(), acme.account_id());
    assert_eq!(all(acme.project.id).await, [(deploy, true, 0)], "a service account is in its project");
    assert_eq!(all(next.id).await, []);
    let (key, _) = acme.key(&store, "one", Some(ada)).await;
    acme.key(&store, "two", Some(ada)).await;
    acme.key(&store, "three", Some(deploy)).await;
    acme.key(&store, "four", None).await;
    // What it mints is no more of it.
    store.mint_temp(key.id, None, NewTemp::usual()).await.unwrap();
    assert_eq!(all(acme.project.id).await, [(deploy, true, 1), (ada, false, 2)]);
    store.add_project_owner(next.id, acme.person.id).await.unwrap();
    assert_eq!(all(next.id).await, [(ada, true, 0)]);
    let moved = KeyPatch { project: Some(next.id), ..KeyPatch::default() };
    store.update_key(key.id, None, moved).await.unwrap();
    assert_eq!(all(next.id).await, [(ada, true, 1)]);
    store.delete_key(key.id, None).await.unwrap();
    assert_eq!((all(next.id).await, all(acme.project.id).await[1]), (vec![(ada, true, 0)], (ada, false, 1)));
    let plan = store.explain_in_project(acme.project.id).await.unwrap();
    assert!(plan.contains("api_key_of_member") && plan.contains("api_key_of_account"), "{plan}");
    store.remove_member(acme.member.id, None).await.unwrap();
    assert_eq!((all(next.id).await, all(acme.project.id).await), (vec![], vec![(deploy, true, 1)]));
}
