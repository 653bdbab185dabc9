//! Controls as they are written, stored and compared.

use super::*;
use crate::{Endpoint, Scope};
use proptest::prelude::*;

fn read(text: &str) -> Controls {
    Controls::from_json(text).unwrap()
}

fn refused(text: &str) -> String {
    Controls::from_json(text).unwrap_err().to_string()
}

const FULL: &str = r#"{"scopes":["completions:write"],"endpoints":["chat_completions","embeddings"],"models":{"allow":["openai/*","gpt-*"]},"routing":["house-*"],"ips":["10.0.0.0/8","2001:db8::/32"],"limits":{"rpm":60,"tpd":1000000,"concurrency":4},"model_limits":{"openai/gpt-5*":{"rpm":5}}}"#;

#[test]
fn what_is_written_is_read_again() {
    let controls = read(FULL);
    assert_eq!(controls.to_json(), FULL);
    assert!(controls.endpoints.unwrap().contains(Endpoint::Embeddings));
    assert!(controls.scopes.unwrap().contains(Scope::CompletionsWrite));
    assert!(read("{}").is_open() && !controls.is_open());
    assert!(read(r#"{"models":null,"limits":null}"#).is_open());
    assert_eq!(read("{}").to_json(), "{}");
}

#[test]
fn a_mistake_is_named() {
    for (text, says) in [
        (r#"{"modles":{}}"#, "modles"),
        (r#"{"limits":{"rps":1}}"#, "rps"),
        (r#"{"limits":{"rpm":0}}"#, "from 1 to"),
        (r#"{"limits":{"rpm":-5}}"#, "not -5"),
        (r#"{"limits":{"rpm":1.5}}"#, "1.5"),
        (r#"{"limits":{"rpm":"many"}}"#, "many"),
        (r#"{"models":{"allow":["a"],"block":["b"]}}"#, "not both"),
        (r#"{"models":{"allow":[]}}"#, "`models.allow` names nothing"),
        (r#"{"models":{}}"#, "`models` names nothing"),
        (r#"{"models":{"allow":["a b"]}}"#, "the only wildcard"),
        (r#"{"endpoints":["chat"]}"#, "there is no endpoint `chat`; there are chat_completions"),
        (r#"{"endpoints":[]}"#, "`endpoints` names nothing"),
        (r#"{"ips":["10.0.0.1/8"]}"#, "10.0.0.0/8"),
        (r#"{"ips":[]}"#, "`ips` names nothing"),
        (r#"{"scopes":["root"]}"#, "there is no scope `root`"),
        (r#"{"model_limits":{"openai/*":{}}}"#, "sets no limit for `openai/*`"),
        (r#"{"model_limits":{"openai/*":{"rpm":1,"rpm":2}}}"#, "duplicate"),
    ] {
        let error = refused(text);
        assert!(error.contains(says), "{text}: {error}");
    }
    let many = vec!["\"m\""; LIST_LIMIT + 1].join(",");
    assert!(refused(&format!(r#"{{"models":{{"block":[{many}]}}}}"#)).contains("more than 256"));
}

#[test]
fn models_are_looked_at_where_they_are_served() {
    let allow = read(r#"{"models":{"allow":["openai/gpt-4o*"]}}"#);
    assert!(allow.permits_model("openai", "gpt-4o-mini") && !allow.permits_model("azure", "gpt-4o-mini"));
    let block = read(r#"{"models":{"block":["gpt-5*"]}}"#);
    assert!(!block.permits_model("openai", "GPT-5") && !block.permits_model("openrouter", "openai/gpt-5"));
    assert!(block.permits_model("sim", "echo") && !read(r#"{"models":{"block":["*"]}}"#).permits_model("sim", "echo"));
    let names = read(r#"{"routing":["house-*"]}"#);
    assert!(names.permits_name("House-fast") && !names.permits_name("openai/house-fast"));
    let limits = read(r#"{"model_limits":{"openai/*":{"rpm":9},"gpt-5*":{"rpm":5}}}"#);
    assert_eq!(limits.model_limits_of("openai", "gpt-5").count(), 2);
    assert_eq!(limits.model_limits_of("sim", "echo").count(), 0);
}

#[test]
fn a_chain_keeps_what_binds_and_says_whose_it_is() {
    let bound = |level, text: &str| Bound { level, id: [1; 16], name: "x".into(), controls: Arc::new(read(text)) };
    let chain = Bound::chain([
        bound(Level::Installation, r#"{"limits":{"rpm":1}}"#),
        bound(Level::Project, "{}"),
        bound(Level::Key, r#"{"limits":{"rpm":1}}"#),
    ]);
    let said: Vec<String> = chain.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["this installation", "the API key `x`"]);
    assert!(Level::ALL.is_sorted());
}

#[test]
fn narrower_is_within_and_wider_says_where() {
    for (own, above) in [
        (FULL, "{}"),
        (FULL, FULL),
        (r#"{"models":{"allow":["openai/gpt-4o"]}}"#, r#"{"models":{"allow":["openai/*"]}}"#),
        (r#"{"models":{"allow":["openai/gpt-4o"]}}"#, r#"{"models":{"block":["anthropic/*"]}}"#),
        (r#"{"models":{"block":["anthropic/*","gpt-5*"]}}"#, r#"{"models":{"block":["gpt-5-pro"]}}"#),
        (r#"{"limits":{"rpm":10,"rph":5}}"#, r#"{"limits":{"rpm":10}}"#),
        (r#"{"limits":{"rpm":5}}"#, r#"{"model_limits":{"gpt-5*":{"rpm":5}}}"#),
        (
            r#"{"model_limits":{"gpt-*":{"rpm":5}},"limits":{"tpm":9}}"#,
            r#"{"model_limits":{"gpt-5*":{"rpm":5,"tpm":9}}}"#,
        ),
        (r#"{"models":{"allow":["sim/*"]}}"#, r#"{"model_limits":{"openai/gpt-5*":{"rpm":5}}}"#),
        (r#"{"models":{"block":["gpt-*"]}}"#, r#"{"model_limits":{"gpt-5*":{"rpm":5}}}"#),
        (r#"{"ips":["10.1.0.0/16"]}"#, r#"{"ips":["192.0.2.1","10.0.0.0/8"]}"#),
        (r#"{"routing":["house-1"]}"#, r#"{"routing":["house-*"]}"#),
    ] {
        assert_eq!(read(own).within(&read(above)), Ok(()), "{own} {above}");
    }
    for (own, above, field) in [
        ("{}", r#"{"models":{"allow":["*"]}}"#, "models"),
        (r#"{"models":{"allow":["*"]}}"#, r#"{"models":{"allow":["openai/*"]}}"#, "models"),
        (r#"{"models":{"allow":["sim/echo"]}}"#, r#"{"models":{"allow":["*"]}}"#, "models"),
        (r#"{"models":{"allow":["*"]}}"#, r#"{"models":{"block":["gpt-5"]}}"#, "models"),
        (r#"{"models":{"block":["gpt-5"]}}"#, r#"{"models":{"block":["gpt-5*"]}}"#, "models"),
        (r#"{"models":{"block":["x"]}}"#, r#"{"models":{"allow":["*"]}}"#, "models"),
        (r#"{"limits":{"rpm":11}}"#, r#"{"limits":{"rpm":10}}"#, "limits.rpm"),
        (r#"{"limits":{"rpd":1}}"#, r#"{"limits":{"rpm":10}}"#, "limits.rpm"),
        ("{}", r#"{"model_limits":{"gpt-5*":{"rpm":5}}}"#, "model_limits.gpt-5*"),
        (r#"{"model_limits":{"gpt-5":{"rpm":5}}}"#, r#"{"model_limits":{"gpt-5*":{"rpm":5}}}"#, "model_limits.gpt-5*"),
        (r#"{"ips":["0.0.0.0/0"]}"#, r#"{"ips":["10.0.0.0/8"]}"#, "ips"),
        ("{}", r#"{"ips":["10.0.0.0/8"]}"#, "ips"),
        (r#"{"endpoints":["messages"]}"#, r#"{"endpoints":["embeddings"]}"#, "endpoints"),
        (r#"{"scopes":["usage:read"]}"#, r#"{"scopes":["models:read"]}"#, "scopes"),
        ("{}", r#"{"routing":["*"]}"#, "routing"),
    ] {
        assert_eq!(read(own).within(&read(above)).unwrap_err().field, field, "{own} {above}");
    }
}

fn globs() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[ab*]{1,2}/[ab*]{1,2}|[ab*]{1,3}|sim/[a*]", 1..4)
}

fn models() -> impl Strategy<Value = Controls> {
    (prop::option::of((any::<bool>(), globs())), prop::option::of((globs(), 1u64..4))).prop_map(|(models, limited)| {
        let list = |globs: Vec<String>| globs.iter().map(|g| ModelGlob::parse(g).unwrap()).collect::<Box<[_]>>();
        let limits = |(globs, rpm): (Vec<String>, u64)| {
            list(globs).into_iter().map(|g| (g, Limits { rpm: Some(rpm), ..Limits::default() })).collect()
        };
        Controls {
            models: models
                .map(|(allow, globs)| if allow { Models::Allow(list(globs)) } else { Models::Block(list(globs)) }),
            model_limits: limited.map(limits).unwrap_or_default(),
            ..Controls::default()
        }
    })
}

proptest! {
    /// Whatever may be called below may be called above, and is limited as much.
    #[test]
    fn within_is_never_claimed_in_vain(own in models(), above in models()) {
        if own.within(&above).is_ok() {
            for provider in ["a", "b", "ab", "sim"] {
                for model in ["a", "b", "ab", "aa", "bab", "a/b", "c"] {
                    if !own.permits_model(provider, model) {
                        continue;
                    }
                    prop_assert!(above.permits_model(provider, model), "{provider}/{model}");
                    let tightest = |c: &Controls| c.model_limits_of(provider, model).filter_map(|(_, l)| l.rpm).min();
                    if let Some(most) = tightest(&above) {
                        prop_assert!(tightest(&own).is_some_and(|n| n <= most), "{provider}/{model}");
                    }
                }
            }
        }
    }

    #[test]
    fn controls_are_within_themselves(own in models()) {
        // An empty allow list of one's own is covered pattern by pattern.
        prop_assert_eq!(own.within(&own), Ok(()));
        prop_assert_eq!(own.within(&Controls::default()), Ok(()));
    }

    #[test]
    fn noise_is_refused_and_never_panics(text in r#"[{}\[\]":,a-z0-9*/]{0,60}"#) {
        let _ = Controls::from_json(&text);
    }
}
