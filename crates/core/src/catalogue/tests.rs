use super::*;
use crate::price::{CostError, MAX_TOKEN_RATE};
use crate::{Nanos, Unit, Usage};

/// 21 November 2026, noon.
const NOW: i64 = 1_795_262_400_000;
const DAY: i64 = 86_400_000;

fn rate(entry: &ModelEntry, at: i64, unit: Unit) -> Option<i64> {
    entry.price_at(at)?.rates().get(unit)
}

/// One model in the published form.
fn published(prices: &str) -> String {
    format!(r#"[{{"id":"openai","name":"x","models":[{{"id":"m","match":{{"equals":"m"}},"prices":{prices}}}]}}]"#)
}

/// One model in our own form.
fn own(model: &str) -> String {
    format!(r#"{{"format":"anykey-catalogue/1","source":"test","providers":[{{"id":"openai","models":[{model}]}}]}}"#)
}

fn parse(text: &str) -> Result<Catalogue, CatalogueError> {
    Catalogue::parse(text.as_bytes())
}

fn only(catalogue: &Catalogue) -> &ModelEntry {
    catalogue.find("openai", "m").expect("the model")
}

#[test]
fn the_bundled_catalogue_prices_the_models_people_call() {
    let catalogue = Catalogue::bundled();
    for (kind, model) in [
        ("openai", "gpt-4o-mini"),
        ("anthropic", "claude-sonnet-4-5"),
        ("gemini", "gemini-2.5-flash"),
        ("deepseek", "deepseek-chat"),
        ("mistral", "mistral-large-latest"),
        ("xai", "grok-4"),
        ("groq", "llama-3.3-70b-versatile"),
        ("openrouter", "openai/gpt-4o-mini"),
        ("openrouter", "qwen/qwen3-coder:free"),
        ("sim", "echo"),
        ("sim", "echo?delay=200"),
        ("sim", "embed"),
    ] {
        let entry = catalogue.find(kind, model);
        assert!(entry.is_some_and(|entry| entry.price_at(NOW).is_some()), "{kind}/{model}");
    }
    assert!(catalogue.find("openai", "no-such-model").is_none());
    assert!(catalogue.find("no-such-kind", "gpt-4o-mini").is_none());
    assert!(catalogue.find("sim", "echoes").is_none());
    let mini = catalogue.find("openai", "GPT-4o-Mini").expect("names are compared in lower case");
    assert_eq!((mini.context_window, mini.max_output), (Some(128_000), Some(16_384)));
    let cost = mini.price_at(NOW).map(|p| p.cost(&Usage::default().with(Unit::Input, 1000).with(Unit::Output, 100)));
    assert_eq!(cost, Some(Ok(Nanos(210_000))));
}

#[test]
fn every_kind_that_bills_has_models_under_its_catalogue_name() {
    let catalogue = Catalogue::bundled();
    for kind in provider::kinds().iter().filter(|kind| kind.needs_key && !matches!(kind.name, "qwen" | "jina")) {
        let priced = catalogue.models(kind.name).iter().filter(|entry| entry.price_at(NOW).is_some());
        assert!(priced.count() >= 5, "{}", kind.name);
    }
    // The data set does not list these: an operator's own prices have to.
    assert!(catalogue.models("qwen").is_empty() && catalogue.models("jina").is_empty());
}

#[test]
fn bare_names_lead_to_their_kinds() {
    let catalogue = Catalogue::bundled();
    assert_eq!(catalogue.kinds_of("gpt-4o-mini").first(), Some(&"openai"));
    assert_eq!(catalogue.kinds_of("claude-sonnet-4-5").first(), Some(&"anthropic"));
    assert_eq!(catalogue.kinds_of("gemini-2.5-flash").first(), Some(&"gemini"));
    assert_eq!(catalogue.kinds_of("echo"), Vec::<&str>::new());
}

#[test]
fn the_bundled_catalogue_survives_its_own_format() {
    let bundled = Catalogue::bundled();
    let again = parse(&bundled.to_json()).expect("what was written can be read");
    assert_eq!(again.entries(), bundled.entries());
    assert_eq!(again.version(), bundled.version());
    assert_eq!(bundled.to_json().as_bytes(), include_bytes!("../../catalogue/models.json"));
}

#[test]
fn prices_of_units_other_than_tokens_are_scaled() {
    let text = published(r#"{"requests_kcount":12,"web_searches_kcount":2.5,"audio_hours":0.36,"input_mchars":15}"#);
    let catalogue = parse(&text).expect("valid");
    let rates = *only(&catalogue).price_at(NOW).expect("priced").rates();
    assert_eq!(rates.get(Unit::Request), Some(12_000_000_000));
    assert_eq!(rates.get(Unit::Search), Some(2_500_000_000));
    assert_eq!(rates.get(Unit::Second), Some(100_000_000));
    assert_eq!(rates.get(Unit::Character), Some(15_000_000));
}

#[test]
fn tiers_of_several_keys_become_whole_rates() {
    let text = published(
        r#"{"input_mtok":{"base":1,"tiers":[{"start":200,"price":4},{"start":100,"price":2}]},
            "cache_read_mtok":{"base":0.1,"tiers":[{"start":200,"price":0.4}]},"output_mtok":8}"#,
    );
    let catalogue = parse(&text).expect("valid");
    let price = only(&catalogue).price_at(NOW).expect("priced");
    let at = |tokens| {
        let rates = price.rates_for(tokens);
        [Unit::Input, Unit::CacheRead, Unit::Output].map(|unit| rates.get(unit).unwrap_or(-1))
    };
    assert_eq!(at(100), [1_000_000, 100_000, 8_000_000]);
    assert_eq!(at(101), [2_000_000, 100_000, 8_000_000]);
    assert_eq!(at(200), [2_000_000, 100_000, 8_000_000]);
    assert_eq!(at(201), [4_000_000, 400_000, 8_000_000]);
}

#[test]
fn prices_change_at_midnight_of_their_day() {
    let text = published(
        r#"[{"prices":{"input_mtok":2}},{"constraint":{"start_date":"2026-11-21"},"prices":{"input_mtok":1}},
            {"constraint":{"start_date":"2027-01-01"},"prices":{"input_mtok":3}}]"#,
    );
    let catalogue = parse(&text).expect("valid");
    let midnight = NOW - DAY / 2;
    let at = |ms| rate(only(&catalogue), ms, Unit::Input);
    assert_eq!(at(midnight - 1), Some(2_000_000));
    assert_eq!(at(midnight), Some(1_000_000));
    assert_eq!(at(i64::MAX), Some(3_000_000));
    assert_eq!(at(0), Some(2_000_000));
    assert_eq!(only(&catalogue).prices.iter().map(|p| p.valid_from()).max(), Some(1_798_761_600_000));
}

#[test]
fn prices_follow_the_hours_of_the_day() {
    let text = published(
        r#"[{"prices":{"input_mtok":1}},
            {"constraint":{"start_time":"16:30:00Z","end_time":"00:30:00Z"},"prices":{"input_mtok":2}}]"#,
    );
    let catalogue = parse(&text).expect("valid");
    let at = |minutes: i64| rate(only(&catalogue), NOW - DAY / 2 + minutes * 60_000, Unit::Input);
    assert_eq!(
        [at(0), at(29), at(30), at(16 * 60 + 29), at(16 * 60 + 30)].map(|r| r.map(|r| r / 1_000_000)),
        [Some(2), Some(2), Some(1), Some(1), Some(2)]
    );
}

#[test]
fn service_tiers_lie_over_the_standard_price() {
    let text = r#"[{"id":"openai","models":[{"id":"m","match":{"equals":"m"},
        "prices":[{"prices":{"input_mtok":2,"output_mtok":8}},
                  {"constraint":{"start_date":"2026-11-21"},"prices":{"input_mtok":1,"output_mtok":4}}],
        "price_variants":[
            {"when":{"service_tier":"default"},"prices":{}},
            {"when":{"processing":"batch"},"prices":{"input_mtok":0.1}},
            {"when":{"service_tier":"priority","region":"eu"},"prices":{"input_mtok":9}},
            {"when":{"service_tier":"priority"},"prices":{"input_mtok":5},"constraint":{"start_date":"2026-11-20"}}]}]}]"#;
    let catalogue = parse(text).expect("valid");
    let entry = only(&catalogue);
    let at = |service, ms| {
        let rates = *entry.price_for(service, ms).expect("priced").rates();
        [Unit::Input, Unit::Output].map(|unit| rates.get(unit).unwrap_or(-1) / 1_000_000)
    };
    assert_eq!(at("priority", NOW - 3 * DAY), [2, 8]);
    assert_eq!(at("priority", NOW - DAY), [5, 8]);
    assert_eq!(at("Priority", NOW), [5, 4]);
    assert_eq!(at("default", NOW), [1, 4]);
    assert_eq!(at("flex", NOW), [1, 4]);
    assert_eq!(entry.services.len(), 1);
    assert_eq!(catalogue.notes().len(), 2, "{:?}", catalogue.notes());
    let dearest = entry.prices_in_force(NOW).map(|price| price.rates().get(Unit::Input)).max();
    assert_eq!(dearest, Some(Some(5_000_000)));
}

#[test]
fn an_empty_price_is_unknown_unless_the_name_says_free() {
    let text = r#"[{"id":"openrouter","models":[
        {"id":"a","match":{"equals":"a"},"prices":{}},
        {"id":"b:free","match":{"equals":"b:free"},"prices":{}},
        {"id":"c","match":{"equals":"c"},"prices":{"input_mtok":1}},
        {"id":"d","match":{"equals":"d"},"prices":{"input_document_kpages":1}}]}]"#;
    let catalogue = parse(text).expect("valid");
    let price = |model| catalogue.find("openrouter", model).expect("known").price_at(NOW);
    assert!(price("a").is_none() && price("d").is_none());
    let usage = Usage::default().with(Unit::Input, 5);
    assert_eq!(price("b:free").map(|price| price.cost(&usage)), Some(Ok(Nanos(0))));
    assert_eq!(
        price("b:free").map(|price| price.cost(&usage.with(Unit::Search, 1))),
        Some(Err(CostError::Unpriced(Unit::Search)))
    );
    assert_eq!(catalogue.notes(), ["input_document_kpages: left out"]);
}

#[test]
fn a_rule_that_is_not_understood_matches_nothing() {
    let text = r#"[{"id":"openai","models":[{"id":"m","match":{"or":[{"equals":"m"},{"regex":"(x+)+$"}]},
        "prices":{"input_mtok":1}}]}]"#;
    let catalogue = parse(text).expect("valid");
    assert!(catalogue.find("openai", "xxxxxx").is_none());
    assert_eq!(only(&catalogue).id.as_ref(), "m");
    assert_eq!(catalogue.notes().len(), 1);
}

#[test]
fn the_first_model_that_matches_counts() {
    let row = |id, rule| format!(r#"{{"id":"{id}","match":{rule},"prices":[{{"rates":{{"input":1}}}}]}}"#);
    let rows = [row("early", r#"{"starts":"gpt"}"#), row("gpt-x", r#"{"is":"gpt-x"}"#), row("m", r#"{"is":"M"}"#)];
    let catalogue = parse(&own(&rows.join(","))).expect("valid");
    let id = |name| catalogue.find("openai", name).map(|entry| &*entry.id);
    assert_eq!([id("gpt-x"), id("gpt-y"), id("m"), id("n")], [Some("early"), Some("early"), Some("m"), None]);
}

#[test]
fn practice_is_in_every_catalogue_and_cannot_be_repriced() {
    let text = r#"[{"id":"sim","models":[{"id":"echo","match":{"equals":"echo"},"prices":{"input_mtok":5000}}]},
        {"id":"openai","models":[{"id":"m","match":{"equals":"m"},"prices":{"input_mtok":1}}]}]"#;
    let catalogue = parse(text).expect("valid");
    let echo = catalogue.find("sim", "echo").expect("practice");
    assert_eq!(rate(echo, NOW, Unit::Input), Some(150_000));
    let rates = echo.price_at(NOW).expect("priced").rates();
    let distinct: std::collections::HashSet<_> = rates.iter().map(|(_, rate)| rate).collect();
    assert_eq!(distinct.len(), rates.iter().count(), "a token in the wrong class shows in the cost");
}

#[test]
fn a_published_file_keeps_the_sizes_that_are_known() {
    let text = r#"[{"id":"openai","models":[{"id":"gpt-4o-mini","match":{"equals":"gpt-4o-mini"},
        "context_window":1000,"prices":{"input_mtok":1}}]}]"#;
    let catalogue = parse(text).expect("valid");
    let mini = catalogue.find("openai", "gpt-4o-mini").expect("known");
    assert_eq!((mini.context_window, mini.max_output), (Some(1000), Some(16_384)));
}

/// threats.md C16: none of these may change a price.
#[test]
fn a_file_with_any_flaw_is_refused_whole() {
    let good = r#"{"input_mtok":1}"#;
    assert!(parse(&published(good)).is_ok());
    let flaw = |text: &str| match parse(text) {
        Err(CatalogueError::Bad { why, .. }) => Some(why),
        _ => None,
    };
    for (rate, why) in [
        ("-1", Flaw::Number(DecimalError::Negative)),
        ("-0.0000001", Flaw::Number(DecimalError::Negative)),
        ("1e308", Flaw::Number(DecimalError::TooLarge)),
        ("1e9999999999", Flaw::Number(DecimalError::TooLarge)),
        ("10000.000001", Flaw::Rate(RateError::TooHigh)),
        ("\"NaN\"", Flaw::Number(DecimalError::NotNumber)),
        ("\"1\"", Flaw::Number(DecimalError::NotNumber)),
        ("null", Flaw::Number(DecimalError::NotNumber)),
        ("true", Flaw::Number(DecimalError::NotNumber)),
        ("[]", Flaw::Number(DecimalError::NotNumber)),
        ("{}", Flaw::Form),
        (r#"{"base":1,"tiers":[{"start":-5,"price":0}]}"#, Flaw::Threshold),
        (r#"{"base":1,"tiers":[{"start":1.5,"price":0}]}"#, Flaw::Threshold),
        (r#"{"base":1,"tiers":[{"start":1,"price":-1}]}"#, Flaw::Number(DecimalError::Negative)),
    ] {
        for key in ["input_mtok", "video_of_the_future_mtok"] {
            assert_eq!(flaw(&published(&format!(r#"{{"{key}":{rate}}}"#))), Some(why), "{key} {rate}");
        }
    }
    for (prices, why) in [
        (r#"{"input_mtok":1,"input_mtok":0}"#, Flaw::Form),
        (r#"[{"constraint":{"start_date":"2026-02-30"},"prices":{"input_mtok":1}}]"#, Flaw::Time),
        (r#"[{"constraint":{"start_time":"01:00:00Z"},"prices":{"input_mtok":1}}]"#, Flaw::Time),
        (r#"[{"constraint":{"full_moon":true},"prices":{"input_mtok":0}}]"#, Flaw::Form),
        (r#""free""#, Flaw::Form),
        ("7", Flaw::Form),
    ] {
        assert_eq!(flaw(&published(prices)), Some(why), "{prices}");
    }
    // One broken model among good ones spoils the file.
    let bundled = Catalogue::bundled().to_json();
    assert!(parse(&bundled.replacen("\"input\":150000", "\"input\":-150000", 1)).is_err());
}

#[test]
fn a_file_that_is_no_catalogue_is_refused() {
    let nested = "[".repeat(200_000);
    for text in
        ["", " ", "null", "[]", "{}", "NaN", "[NaN]", "[1]", "{\"format\":1}", "<html>", "[{\"id\":\"x\"}]", &nested]
    {
        assert!(parse(text).is_err(), "{}", &text[..text.len().min(40)]);
    }
    assert_eq!(parse("[]").err(), Some(CatalogueError::Empty));
    assert_eq!(parse(&published("{}")).err(), Some(CatalogueError::Empty));
    assert_eq!(parse(&own(r#"{"id":"m"}"#)).err(), Some(CatalogueError::Empty));
    let newer = own(r#"{"id":"m","prices":[{"rates":{"input":1}}]}"#);
    assert!(parse(&newer).is_ok());
    assert_eq!(parse(&newer.replace("/1\"", "/2\"")).err(), Some(CatalogueError::Version));
    let mut large = newer.into_bytes();
    large.resize(MAX_FILE + 1, b' ');
    assert_eq!(Catalogue::parse(&large).err(), Some(CatalogueError::TooLarge));
    assert_eq!(Catalogue::import(&large, "x", None).err(), Some(CatalogueError::TooLarge));
}

#[test]
fn our_own_format_has_the_same_bounds() {
    let with = |rates: &str| parse(&own(&format!(r#"{{"id":"m","prices":[{{"rates":{rates}}}]}}"#)));
    assert!(with(&format!(r#"{{"input":{MAX_TOKEN_RATE}}}"#)).is_ok());
    for rates in [
        r#"{"input":-1}"#,
        r#"{"input":10000000001}"#,
        r#"{"input":1e308}"#,
        r#"{"input":1.5}"#,
        r#"{"input":null}"#,
        r#"{"input":"1"}"#,
        r#"{"input":1,"input":0}"#,
        r#"{"inptu":1}"#,
        "{}",
        "[]",
        "null",
    ] {
        assert!(with(rates).is_err(), "{rates}");
    }
    let name = "n".repeat(257);
    for model in [
        r#"{"id":"","prices":[{"rates":{"input":1}}]}"#,
        &format!(r#"{{"id":"{name}","prices":[{{"rates":{{"input":1}}}}]}}"#),
        r#"{"id":"m","prices":[{"rates":{"input":1},"daily":{"start":86400,"end":0}}]}"#,
        r#"{"id":"m","prices":[{"rates":{"input":1},"from":"2026-01-01"}]}"#,
        r#"{"id":"m","prices":[{"rates":{"input":1},"tiers":[{"above":-1,"rates":{"input":0}}]}]}"#,
        r#"{"id":"m","match":{"like":"(a+)+"},"prices":[{"rates":{"input":1}}]}"#,
        r#"{"id":"m","price":[],"prices":[{"rates":{"input":1}}]}"#,
    ] {
        assert!(parse(&own(model)).is_err(), "{model}");
    }
    let twice = own(r#"{"id":"m","prices":[{"rates":{"input":1}}]}"#).replace(
        "\"providers\":[",
        r#""providers":[{"id":"openai","models":[{"id":"m"}]},{"id":"x","models":[{"id":"m"}]},"#,
    );
    assert!(matches!(parse(&twice), Err(CatalogueError::Bad { why: Flaw::Twice, .. })));
}

#[test]
fn a_file_cannot_make_its_reading_or_a_look_up_slow() {
    let many = |n: usize, part: &dyn Fn(usize) -> String| (0..n).map(part).collect::<Vec<_>>().join(",");
    let price = r#""prices":[{"rates":{"input":1}}]"#;
    let names = many(100, &|i| format!(r#"{{"is":"n{i}"}}"#));
    let pairs = many(200_000, &|i| format!(r#""k{i}":1"#));
    let dates = many(101, &|_| r#"{"prices":{"input_mtok":1}}"#.into());
    let tiers = many(101, &|i| format!(r#"{{"start":{i},"price":1}}"#));
    for (what, text) in [
        ("models", own(&many(20_001, &|i| format!(r#"{{"id":"m{i}",{price}}}"#)))),
        ("open rules", own(&many(1001, &|i| format!(r#"{{"id":"m{i}","match":{{"has":"m{i}"}},{price}}}"#)))),
        ("names", own(&format!(r#"{{"id":"m","match":{{"any":[{names}]}},{price}}}"#))),
        ("keys of a price", published(&format!("{{{pairs}}}"))),
        ("dates", published(&format!("[{dates}]"))),
        ("tiers", published(&format!(r#"{{"input_mtok":{{"base":1,"tiers":[{tiers}]}}}}"#))),
    ] {
        assert!(parse(&text).is_err(), "{what}");
    }
}

#[test]
fn errors_name_the_model_without_repeating_the_file() {
    let text = published("{\"input_mtok\":-1}").replace("\"m\"", &format!("\"{}\\u001b[2J\"", "m".repeat(200)));
    let error = parse(&text).expect_err("negative").to_string();
    assert!(error.contains("openai/mmm") && error.len() < 200 && !error.contains('\u{1b}'), "{error}");
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(32))]

    #[test]
    fn noise_is_refused_without_a_panic(text in r#"[\[{]([-\[\]{}:,"a-z0-9.]|"prices"|"models"|"id"){0,60}"#) {
        proptest::prop_assert!(parse(&text).is_err());
    }

    #[test]
    fn a_damaged_byte_never_panics(at in proptest::prelude::any::<proptest::sample::Index>(), byte in 32..127_u8) {
        let mut bytes = include_bytes!("../../catalogue/models.json").to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = Catalogue::parse(&bytes);
    }
}

#[test]
fn a_price_that_is_said_twice_is_kept_once() {
    let model = |id: &str, input: u32| format!(r#"{{"id":"{id}","prices":[{{"rates":{{"input":{input}}}}}]}}"#);
    let catalogue = parse(&own(&[model("m", 1000), model("same", 1000), model("other", 2000)].join(","))).unwrap();
    let price = |model: &str| &catalogue.find("openai", model).unwrap().prices[0];
    assert!(Arc::ptr_eq(price("m"), price("same")));
    assert_ne!(price("m"), price("other"));
}
