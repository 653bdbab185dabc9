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
