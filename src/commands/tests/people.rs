//! One-time links.

use super::*;

const LINK: &str = r#"{"token":"0f0f","expires_at":"2026-11-21T11:00:00Z","person":null}"#;

#[tokio::test]
async fn a_link_is_shown_once_and_alone_on_a_pipe() {
    let ask = "POST /admin/v1/auth/links";
    let taken = r#"{"title":"Conflict","code":"conflict","detail":"The installation has an owner."}"#;
    let fake = Fake::start(&[(ask, 201, LINK), (ask, 201, LINK), (ask, 201, LINK), (ask, 409, taken)]).await;
    let bench = Bench::with(&fake);
    assert_eq!(bench.run(&["owner-link"]).await.out, "0f0f\n");
    let person = bench.clone().on_terminal().run(&["owner-link", "--email", "ada@example.com"]).await;
    insta::assert_snapshot!("link-on-terminal", person.transcript().replace(&fake.url, "http://SERVER"));
    assert_eq!(bench.run(&["owner-link", "--json"]).await.out, format!("{LINK}\n"));
    assert_eq!(bench.run(&["owner-link"]).await.exit, Exit::Conflict);
    let seen = fake.seen();
    assert_eq!((seen[0].json(), seen[1].json()), (json!({}), json!({"email": "ada@example.com"})));
}

const ADA: &str = r#"{"id":"person_01","email":"Ada@example.com","name":"Ada","operator":false,"status":"active","created_at":"2026-11-01T10:00:00Z","updated_at":"2026-11-01T10:00:00Z","version":3}"#;

#[tokio::test]
async fn a_person_is_found_by_the_e_mail_shut_out_and_let_in_again() {
    let fake = Fake::start(&[
        ("GET /admin/v1/people?organisation=acme&limit=100", 200, &list_of(&[ADA])),
        ("GET /admin/v1/people?q=ada%40example.com&limit=50", 200, &list_of(&[ADA])),
        ("GET /admin/v1/people?q=ada%40example.com&limit=50", 200, &list_of(&[ADA])),
        ("PATCH /admin/v1/people/person_01", 200, ADA),
        ("PATCH /admin/v1/people/person_01", 200, ADA),
        ("PATCH /admin/v1/people/person_01", 200, ADA),
        ("GET /admin/v1/people/person_01", 200, ADA),
        ("GET /admin/v1/people/person_01", 200, ADA),
        ("POST /admin/v1/auth/links", 201, LINK),
        ("POST /admin/v1/people", 201, ADA),
    ])
    .await;
    let bench = Bench::with(&fake);
    let done = bench.run(&["person", "disable", "ada@example.com"]).await;
    assert!(done.err.contains("disabled the person Ada@example.com (person_01)"), "{}", done.err);
    assert_eq!(fake.seen().last().unwrap().json(), json!({"disabled": true}));
    assert_eq!(bench.run(&["person", "enable", "ada@example.com"]).await.exit, Exit::Ok);
    assert_eq!(fake.seen().last().unwrap().json(), json!({"disabled": false}));
    assert_eq!(bench.run(&["person", "update", "person_01", "--operator", "true"]).await.exit, Exit::Ok);
    let change = fake.seen().last().unwrap().clone();
    assert_eq!((change.json(), change.header("if-match")), (json!({"operator": true}), Some("\"3\"")));
    assert_eq!(bench.run(&["person", "link", "person_01"]).await.out, "0f0f\n");
    assert_eq!(fake.seen().last().unwrap().json(), json!({"email": "Ada@example.com"}));
    assert_eq!(bench.run(&["person", "create", "ada@example.com", "--name", "Ada"]).await.exit, Exit::Ok);
    assert_eq!(fake.seen().last().unwrap().json(), json!({"email": "ada@example.com", "name": "Ada"}));
    insta::assert_snapshot!(
        "people-on-terminal",
        bench.on_terminal().run(&["person", "list", "--org", "acme"]).await.transcript()
    );
}

#[tokio::test]
async fn who_may_not_is_told_so_in_plain_words() {
    let ask = "GET /admin/v1/people?limit=100";
    let refused = r#"{"title":"Role forbidden","code":"role_forbidden","detail":"The role project_owner does not include people:read there. Ask an admin of the organisation."}"#;
    let fake = Fake::start(&[(ask, 403, refused)]).await;
    let told = Bench::with(&fake).run(&["person", "list"]).await;
    assert_eq!(told.exit, Exit::Auth);
    assert!(told.err.contains("Ask an admin of the organisation"), "{}", told.err);
}
