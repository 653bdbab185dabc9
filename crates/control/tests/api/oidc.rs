//! People who come in by an issuer of OpenID Connect: who they become, what they may do, and how they leave.

use crate::harness::{Answer, Api, PUBLIC_URL};
use anykey_control::{ClaimIs, Gives, IssuerSettings, RoleRule, SecondFactorOf, SignUp};
use anykey_core::Role;
use anykey_testkit::{CLIENT_ID, CLIENT_SECRET, FakeIssuer};
use axum::http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub const CALLBACK: &str = "/auth/issuers/acme/callback";
const PENDING: &str = "__Host-anykey-pending";

pub fn issuer() -> FakeIssuer {
    FakeIssuer::start(&format!("{PUBLIC_URL}/admin/v1{CALLBACK}"))
}

fn rule(claim: Option<(&str, &str)>, gives: Gives) -> RoleRule {
    let when = claim.map(|(claim, value)| ClaimIs { claim: claim.into(), value: value.into() });
    RoleRule { when, gives }
}

fn in_acme(role: Role) -> Gives {
    Gives::Role { organisation: "acme".into(), role }
}

/// Staff are members of acme, its bosses admins; `ops` run the installation.
pub fn settings(issuer: &FakeIssuer) -> IssuerSettings {
    IssuerSettings {
        name: "acme".into(),
        title: "Acme".into(),
        issuer: issuer.url(),
        client_id: CLIENT_ID.into(),
        client_secret: Some(CLIENT_SECRET.into()),
        scopes: vec!["openid".into(), "email".into()],
        allowed_domains: Vec::new(),
        sign_up: SignUp::WithRole,
        link_by_email: false,
        trust_email: false,
        second_factor: SecondFactorOf::Ask,
        strong_amr: vec!["mfa".into()],
        strong_acr: Vec::new(),
        acr_values: None,
        rules: vec![
            rule(Some(("groups", "ops")), Gives::Operator),
            rule(Some(("groups", "bosses")), in_acme(Role::Admin)),
            rule(Some(("groups", "staff")), in_acme(Role::Member)),
            rule(Some(("groups", "gone")), Gives::Role { organisation: "nowhere".into(), role: Role::Member }),
        ],
        allow_private: true,
    }
}

/// An installation with the organisation acme, whose people come in by the issuer.
pub struct World {
    pub api: Api,
    pub issuer: FakeIssuer,
    pub clock: Arc<AtomicI64>,
}

/// A browser on its way.
pub struct Way {
    /// `name=value`
    pub cookie: String,
    /// Where the issuer sent it, below `/admin/v1`.
    pub back: String,
}

pub fn claims(subject: &str, groups: &[&str]) -> Value {
    json!({"sub": subject, "email": format!("{subject}@example.com"), "email_verified": true, "name": subject,
        "groups": groups, "sid": format!("session of {subject}")})
}

/// The value of a cookie that an answer sets.
pub fn cookie(answer: &Answer, name: &str) -> Option<String> {
    let set = answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    let mine = set.filter_map(|text| text.split(';').next()?.split_once('=')).find(|(known, _)| *known == name);
    mine.map(|(_, value)| value.to_owned())
}

impl World {
    pub async fn start() -> World {
        World::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut IssuerSettings)) -> World {
        let issuer = issuer();
        let mut settings = settings(&issuer);
        change(&mut settings);
        let (api, clock) = Api::with_issuers(vec![settings]).await;
        api.post("/organisations", json!({"name": "Acme"})).await.is(201);
        World { api, issuer, clock }
    }

    /// Time passes, here and there.
    pub fn wait(&self, ms: i64) {
        let now = self.clock.fetch_add(ms, Ordering::SeqCst) + ms;
        self.issuer.clock_is(now);
    }

    pub async fn go(&self, query: &str) -> Way {
        let started = self.api.stranger(Method::GET, &format!("/auth/issuers/acme/start{query}")).send().await;
        started.is(303);
        assert_eq!(started.header("referrer-policy"), "no-referrer");
        let set = started.header("set-cookie").to_owned();
        assert!(set.ends_with("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure"), "{set}");
        let back = self.issuer.sign_in(started.header("location"));
        let cookie = format!("{PENDING}={}", cookie(&started, PENDING).unwrap());
        Way { cookie, back: back.strip_prefix("/admin/v1").unwrap().to_owned() }
    }

    pub async fn back(&self, way: &Way) -> Answer {
        self.api.stranger(Method::GET, &way.back).header("cookie", &way.cookie).send().await
    }

    /// There and back.
    pub async fn sign_in(&self, claims: Value) -> Answer {
        self.issuer.is(claims);
        let way = self.go("").await;
        self.back(&way).await
    }

    /// There and back, and in: the cookie of the session.
    pub async fn come_in(&self, claims: Value) -> String {
        let answer = self.sign_in(claims).await;
        answer.is(303);
        assert_eq!(answer.header("location"), "/admin/v1/auth/session");
        assert_eq!(cookie(&answer, PENDING).as_deref(), Some(""), "the way is over");
        format!("__Host-anykey={}", cookie(&answer, "__Host-anykey").unwrap())
    }

    pub async fn me(&self, cookie: &str) -> Value {
        self.api.stranger(Method::GET, "/auth/session").header("cookie", cookie).send().await.is(200)
    }

    pub async fn is_over(&self, cookie: &str) -> bool {
        self.api.stranger(Method::GET, "/auth/session").header("cookie", cookie).send().await.status == 401
    }

    /// The organisations and roles of somebody, by their e-mail.
    pub async fn roles(&self, email: &str) -> Vec<String> {
        let found = self.api.get(&format!("/members?q={email}")).await.is(200);
        let rows = found["data"].as_array().unwrap().iter();
        rows.map(|row| format!("{} {}", row["role"].as_str().unwrap(), row["status"].as_str().unwrap())).collect()
    }

    pub async fn is_operator(&self, email: &str) -> bool {
        let found = self.api.get(&format!("/people?q={email}")).await.is(200);
        found["data"][0]["operator"].as_bool().unwrap()
    }

    /// The verbs of the log with whoever did it, the newest first.
    pub async fn log(&self, verb: &str) -> Vec<Value> {
        self.api.get(&format!("/audit?verb={verb}&limit=50")).await.is(200)["data"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn somebody_new_comes_in_with_the_role_that_their_claims_give() {
    let world = World::start().await;
    let doors = world.api.stranger(Method::GET, "/auth/issuers").send().await.is(200);
    assert_eq!(
        doors["data"][0],
        json!({"name": "acme", "title": "Acme", "start_url": "/admin/v1/auth/issuers/acme/start"})
    );
    let cookie = world.come_in(claims("ada", &["staff", "others"])).await;
    let me = world.me(&cookie).await;
    assert_eq!((&me["person"]["email"], &me["person"]["operator"]), (&json!("ada@example.com"), &json!(false)));
    assert_eq!(me["session"]["issuer"], world.issuer.url());
    assert_eq!(world.roles("ada@example.com").await, ["member active"]);
    let system = "issuer acme";
    for verb in ["person.create", "identity.link", "member.add"] {
        let log = world.log(verb).await;
        assert_eq!((&log[0]["actor"]["kind"], &log[0]["actor"]["name"]), (&json!("system"), &json!(system)), "{verb}");
    }
    let begun = world.log("session.begin").await;
    assert_eq!(
        (&begun[0]["after"]["by"], &begun[0]["after"]["issuer"]),
        (&json!("issuer"), &json!(world.issuer.url()))
    );
    // A second time it is the same person, whatever their e-mail is now.
    let mut moved = claims("ada", &["staff"]);
    moved["email"] = "countess@example.com".into();
    let again = world.me(&world.come_in(moved).await).await;
    assert_eq!(again["person"]["id"], me["person"]["id"]);
    assert_eq!(world.log("person.create").await.len(), 1);
}

#[tokio::test]
async fn roles_follow_the_claims_and_what_was_given_by_hand_stays() {
    let world = World::start().await;
    let session = world.come_in(claims("ada", &["staff"])).await;
    let person = world.me(&session).await["person"]["id"].as_str().unwrap().to_owned();
    world.come_in(claims("ada", &["bosses", "staff"])).await;
    assert_eq!(world.roles("ada").await, ["admin active"], "the first rule that fits");
    world.come_in(claims("ada", &["others", "gone"])).await;
    assert!(world.roles("ada").await.is_empty());
    assert_eq!(world.log("member.remove").await[0]["actor"]["name"], "issuer acme");
    world.come_in(claims("ada", &["staff"])).await;
    assert_eq!(world.roles("ada").await, ["member active"], "the same member again");
    // By hand from now on.
    let member = world.api.get("/members?q=ada").await.is(200)["data"][0]["id"].as_str().unwrap().to_owned();
    world.api.delete(&format!("/members/{member}")).await.is(200);
    let hand = json!({"organisation": "acme", "email": "ada@example.com", "role": "auditor"});
    assert_eq!(world.api.post("/members", hand).await.is(201)["person_id"], person.as_str());
    world.come_in(claims("ada", &["bosses"])).await;
    assert_eq!(world.roles("ada").await, ["auditor active"]);
    world.come_in(claims("ada", &[])).await;
    assert_eq!(world.roles("ada").await, ["auditor active"]);
}

/// An administrator's switch is not an issuer's to turn.
#[tokio::test]
async fn a_member_who_was_disabled_stays_so_whatever_the_claims_say() {
    let world = World::start().await;
    world.come_in(claims("ada", &["staff"])).await;
    let member = world.api.get("/members?q=ada").await.is(200)["data"][0]["id"].as_str().unwrap().to_owned();
    world.api.post(&format!("/members/{member}/disable"), Value::Null).await.is(200);
    world.come_in(claims("ada", &[])).await;
    world.come_in(claims("ada", &["bosses"])).await;
    assert_eq!(world.roles("ada").await, ["admin disabled"]);
}

#[tokio::test]
async fn the_installation_is_run_by_whom_a_rule_names_and_no_longer_than_that() {
    let world = World::start().await;
    world.come_in(claims("eve", &["staff", "operator", "admin"])).await;
    assert!(!world.is_operator("eve").await);
    let session = world.come_in(claims("ada", &["ops"])).await;
    assert!(world.is_operator("ada").await);
    let ask = |session: &str| world.api.stranger(Method::GET, "/status").header("cookie", session);
    ask(&session).send().await.is(200);
    let other = world.come_in(claims("ada", &["ops"])).await;
    ask(&session).send().await.is(200);
    let fresh = world.come_in(claims("ada", &["staff"])).await;
    for over in [&session, &other] {
        ask(over).send().await.refused(401, "session_over");
    }
    ask(&fresh).send().await.refused(403, "role_forbidden");
    // Who was made one by hand stays one.
    let id = world.api.get("/people?q=ada").await.is(200)["data"][0]["id"].as_str().unwrap().to_owned();
    world.api.patch(&format!("/people/{id}"), json!({"operator": true})).await.is(200);
    world.come_in(claims("ada", &["staff"])).await;
    assert!(world.is_operator("ada").await);
}

#[tokio::test]
async fn strangers_stay_out_where_nothing_lets_them_in() {
    let world = World::with(|settings| settings.allowed_domains = vec!["example.com".into()]).await;
    world.sign_in(claims("eve", &["others"])).await.refused(401, "sign_in_refused");
    let told = async || world.log("session.refuse").await[0].clone();
    let refused = told().await;
    assert_eq!((&refused["after"]["why"], &refused["object"]["id"]), (&json!("not known here"), &json!("eve")));
    let mut foreign = claims("mallory", &["staff"]);
    foreign["email"] = "mallory@evil.example".into();
    world.sign_in(foreign).await.refused(401, "sign_in_refused");
    assert_eq!(told().await["after"]["why"], "no verified e-mail of a domain that comes in");
    let mut unverified = claims("mallory", &["staff", "ops"]);
    unverified["email_verified"] = false.into();
    world.sign_in(unverified).await.refused(401, "sign_in_refused");
    assert!(world.api.get("/people").await.is(200)["data"].as_array().unwrap().is_empty());

    let closed = World::with(|settings| settings.sign_up = SignUp::Nobody).await;
    closed.sign_in(claims("ada", &["staff", "ops"])).await.refused(401, "sign_in_refused");
    let open = World::with(|settings| settings.sign_up = SignUp::Everybody).await;
    open.come_in(claims("ada", &[])).await;
}

/// Subjects are people; e-mails are not.
#[tokio::test]
async fn nobody_becomes_somebody_else_by_their_email() {
    let world = World::start().await;
    world.api.post("/people", json!({"email": "Ada@example.com", "name": "Ada"})).await.is(201);
    let refused = world.sign_in(claims("ada", &["staff"])).await.refused(401, "sign_in_refused");
    assert!(!refused["detail"].as_str().unwrap().contains('@'));
    assert_eq!(world.log("session.refuse").await[0]["after"]["why"], "e-mail of another account");
    assert!(world.roles("ada").await.is_empty());

    let world = World::with(|settings| settings.link_by_email = true).await;
    let made = world.api.post("/people", json!({"email": "Ada@example.com", "name": "Ada"})).await.is(201);
    let mut unverified = claims("ada", &["staff"]);
    unverified["email_verified"] = false.into();
    world.sign_in(unverified).await.refused(401, "sign_in_refused");
    let session = world.come_in(claims("ada", &["staff"])).await;
    assert_eq!(world.me(&session).await["person"]["id"], made["id"]);
    // The address was given to somebody else at the issuer.
    let mut other = claims("other", &["staff"]);
    other["email"] = "ada@example.com".into();
    world.sign_in(other).await.refused(401, "sign_in_refused");
    // Who runs the installation is not handed over with an address.
    world.api.post("/people", json!({"email": "boss@example.com", "name": "Boss", "operator": true})).await.is(201);
    world.sign_in(claims("boss", &["staff"])).await.refused(401, "sign_in_refused");
    world.come_in(claims("boss", &["ops"])).await;
}

#[tokio::test]
async fn who_is_disabled_stays_out() {
    let world = World::start().await;
    let session = world.come_in(claims("ada", &["staff"])).await;
    let id = world.me(&session).await["person"]["id"].as_str().unwrap().to_owned();
    world.api.patch(&format!("/people/{id}"), json!({"disabled": true})).await.is(200);
    assert!(world.is_over(&session).await);
    world.sign_in(claims("ada", &["ops"])).await.refused(401, "sign_in_refused");
    assert_eq!(world.log("session.refuse").await[0]["after"]["why"], "disabled");
    assert!(!world.is_operator("ada").await);
    // Who was deleted is nobody, and comes as somebody new.
    world.api.patch(&format!("/people/{id}"), json!({"disabled": false})).await.is(200);
    world.api.delete(&format!("/people/{id}")).await.is(200);
    let session = world.come_in(claims("ada", &["staff"])).await;
    assert_ne!(world.me(&session).await["person"]["id"], id.as_str());
}

#[tokio::test]
async fn two_first_sign_ins_at_once_make_one_person() {
    let world = World::start().await;
    world.issuer.is(claims("ada", &["staff"]));
    let (one, two) = (world.go("").await, world.go("").await);
    let (one, two) = tokio::join!(world.back(&one), world.back(&two));
    one.is(303);
    two.is(303);
    assert_eq!(world.api.get("/people").await.is(200)["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn people_return_to_where_they_began_and_only_there() {
    let world = World::start().await;
    world.issuer.is(claims("ada", &["staff"]));
    let way = world.go("?return_to=%2Fkeys%3Ftag%3Da").await;
    let back = world.back(&way).await;
    back.is(303);
    assert_eq!(back.header("location"), "/keys?tag=a");
    world.issuer.is(claims("eve", &[]));
    let way = world.go("?return_to=%2Fkeys%3Ftag%3Da").await;
    let back = world.back(&way).await;
    back.is(303);
    assert_eq!(back.header("location"), "/keys?tag=a&sign_in_error=sign_in_refused");
    assert!(cookie(&back, "__Host-anykey").is_none());
    for evil in ["%2F%2Fevil.example", "https%3A%2F%2Fevil.example", "%2F%5Cevil.example", "keys", "%2Fa%0D%0Ab"] {
        let path = format!("/auth/issuers/acme/start?return_to={evil}");
        let refused = world.api.stranger(Method::GET, &path).send().await;
        assert_eq!(refused.faults(), ["return_to"], "{evil}");
        assert!(refused.headers.get("location").is_none());
    }
    let path = "/auth/issuers/nobody/start";
    world.api.stranger(Method::GET, path).send().await.refused(404, "not_found");
}

#[tokio::test]
async fn leaving_ends_the_session_here_and_names_the_way_out_there() {
    let world = World::start().await;
    let session = world.come_in(claims("ada", &["staff"])).await;
    let csrf = world.me(&session).await["csrf_token"].as_str().unwrap().to_owned();
    let leave = world.api.stranger(Method::POST, "/auth/sign-out").header("cookie", &session);
    let left = leave.header("x-csrf-token", &csrf).send().await.is(200);
    assert_eq!(left["issuer_sign_out_url"], format!("{}/logout?client_id=any%20key%2Fclient", world.issuer.url()));
    assert!(world.is_over(&session).await);
}

#[tokio::test]
async fn an_issuer_ends_the_sessions_that_it_began() {
    let world = World::start().await;
    let ada = world.come_in(claims("ada", &["staff"])).await;
    let eve = world.come_in(claims("eve", &["staff"])).await;
    let now = world.clock.load(Ordering::SeqCst) / 1000;
    let logout = |id: &str, edit: &dyn Fn(&mut Value)| {
        let mut claims = json!({"iss": world.issuer.url(), "aud": CLIENT_ID, "iat": now, "exp": now + 120, "jti": id,
            "sid": "session of ada", "events": {"http://schemas.openid.net/event/backchannel-logout": {}}});
        edit(&mut claims);
        world.issuer.sign(&claims)
    };
    let send = async |token: &str| {
        let form = format!("logout_token={token}");
        let call = world.api.stranger(Method::POST, "/auth/issuers/acme/logout").body(form);
        call.header("content-type", "application/x-www-form-urlencoded").send().await
    };
    send("x").await.refused(400, "invalid_parameter");
    send(&logout("0", &|claims| claims["aud"] = "another".into())).await.refused(400, "invalid_parameter");
    assert!(!world.is_over(&ada).await);
    let token = logout("1", &|_| {});
    send(&token).await.is(200);
    assert!(world.is_over(&ada).await && !world.is_over(&eve).await);
    send(&token).await.refused(400, "invalid_parameter");
    send(&logout("2", &|claims| {
        claims.as_object_mut().unwrap().remove("sid");
        claims["sub"] = "eve".into();
    }))
    .await
    .is(200);
    assert!(world.is_over(&eve).await);
    assert_eq!(world.log("session.end").await[0]["actor"]["name"], "issuer acme");
}

#[tokio::test]
async fn an_operator_sees_the_issuers_and_whether_they_can_be_used() {
    let world = World::start().await;
    let list = world.api.get("/issuers").await;
    let row = list.is(200)["data"][0].clone();
    assert_eq!(row["redirect_uri"], format!("{PUBLIC_URL}/admin/v1{CALLBACK}"));
    assert_eq!(row["rules"][0], json!({"claim": "groups", "value": "ops", "organisation": null, "role": "operator"}));
    assert!(!list.text().contains("CANARY"));
    let check = world.api.get("/issuers/acme").await.is(200);
    assert_eq!((&check["ok"], &check["keys"]), (&json!(true), &json!(1)));
    let findings = check["findings"].as_array().unwrap();
    assert!(findings.len() == 1 && findings[0].as_str().unwrap().contains("`nowhere`"), "{findings:?}");
    world.issuer.describes_itself(|found| found["issuer"] = "https://evil.example".into());
    let check = world.api.get("/issuers/acme").await.is(200);
    assert_eq!(check["ok"], false);
    assert!(check["findings"][0].as_str().unwrap().contains("evil.example"), "{check}");
    // Looking is not what people who sign in have to suffer from.
    world.come_in(claims("ada", &["staff"])).await;
    world.api.get("/issuers/nobody").await.refused(404, "not_found");
}
