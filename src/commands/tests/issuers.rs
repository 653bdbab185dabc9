//! By whom people sign in.

use super::*;

const LIST: &str = r#"{"data":[{"name":"acme","title":"Acme","issuer":"https://login.example.com","client_id":"anykey",
"redirect_uri":"https://gw.example.com/admin/v1/auth/issuers/acme/callback","sign_up":"with_role","second_factor":"ask",
"rules":[{"claim":null,"value":null,"organisation":"acme","role":"member"}]}],"next":null}"#;
const GOOD: &str = r#"{"name":"acme","issuer":"https://login.example.com","ok":true,"findings":[],"keys":2,
"redirect_uri":"https://gw.example.com/admin/v1/auth/issuers/acme/callback"}"#;
const BAD: &str = r#"{"name":"acme","issuer":"https://login.example.com","ok":false,"keys":0,
"findings":["the issuer calls itself \"https://evil.example\""],"redirect_uri":"https://gw.example.com/cb"}"#;

#[tokio::test]
async fn issuers_are_listed_and_one_that_cannot_be_used_fails_the_command() {
    let list = "GET /admin/v1/issuers?limit=100";
    let check = "GET /admin/v1/issuers/acme";
    let fake = Fake::start(&[(list, 200, LIST), (check, 200, GOOD), (check, 200, BAD)]).await;
    let bench = Bench::with(&fake);
    let listed = bench.run(&["issuer", "list"]).await;
    assert!(
        listed.out.contains("acme\tAcme\thttps://login.example.com\tanykey\twith_role\task\t1\t"),
        "{}",
        listed.out
    );
    let good = bench.run(&["issuer", "test", "acme"]).await;
    assert_eq!((good.exit, good.out.contains("https://login.example.com")), (Exit::Ok, true), "{}", good.out);
    let bad = bench.run(&["issuer", "test", "acme"]).await;
    assert_eq!(bad.exit, Exit::Failed);
    assert!(bad.out.contains("evil.example") && bad.err.contains("nobody can sign in by the issuer acme now"));
}
