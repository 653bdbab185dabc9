//! Our integers against the arithmetic of the people who publish the price list, on every model of the bundled data.
//! Both crates hold the same release of it, so every difference is a mistake of one of them.

use anykey_core::catalogue::{Catalogue, ModelEntry, Rule};
use anykey_core::price::CostError;
use anykey_core::{Unit, Usage};
use genai_prices::{Calculator, PriceRequest, Usage as TheirUsage, UsageKey};
use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

/// How far apart the two may be, in nano-dollars: our rounding up of the sum and our rates of whole pico-dollars (half of
/// one for each unit), and the noise of their `f64`.
fn agree(usage: &Usage, ours: i64, theirs: f64) -> bool {
    let units: u64 = usage.iter().map(|(_, count)| count).sum();
    let theirs = theirs * 1e9;
    (ours as f64 - theirs).abs() <= 1.0 + units as f64 * 0.0005 + theirs.abs() * 1e-12
}

/// Moments on either side of the dated changes and inside and outside of the windows of the day.
const MOMENTS: [u64; 5] = [
    1_717_200_000, // 2024-06-01 00:00
    1_775_000_000, // 2026-03-31 23:33
    1_792_460_000, // 2026-10-20 01:33
    1_795_262_400, // 2026-11-21 12:00
    1_801_526_400, // 2027-02-02 00:00
];

fn usages() -> Vec<Usage> {
    let of = |list: &[(Unit, u64)]| list.iter().copied().collect();
    vec![
        of(&[(Unit::Input, 1)]),
        of(&[(Unit::Input, 1000), (Unit::Output, 77)]),
        of(&[(Unit::Input, 17), (Unit::CacheRead, 4099), (Unit::Output, 501), (Unit::Reasoning, 1203)]),
        of(&[(Unit::Input, 3), (Unit::CacheWrite5m, 2048), (Unit::CacheWrite1h, 999), (Unit::Output, 1)]),
        of(&[(Unit::Input, 31), (Unit::AudioIn, 700), (Unit::Output, 12), (Unit::AudioOut, 350)]),
        of(&[(Unit::Input, 31), (Unit::ImageIn, 1290), (Unit::Output, 12), (Unit::ImageOut, 1290)]),
        // On and just above the thresholds of the data, whose sum is over cached tokens too.
        of(&[(Unit::Input, 100_000), (Unit::CacheRead, 28_000), (Unit::Output, 10)]),
        of(&[(Unit::Input, 150_000), (Unit::CacheRead, 50_000), (Unit::Output, 900)]),
        of(&[(Unit::Input, 150_000), (Unit::CacheRead, 50_001), (Unit::Output, 900)]),
        of(&[(Unit::Input, 271_000), (Unit::CacheRead, 1000), (Unit::Output, 900)]),
        of(&[(Unit::Input, 900_000), (Unit::CacheRead, 50_000), (Unit::Output, 60_000)]),
        of(&[(Unit::Search, 3), (Unit::Request, 1), (Unit::Input, 10), (Unit::Output, 10)]),
        of(&[(Unit::Second, 3600)]),
        of(&[(Unit::Character, 12_345)]),
    ]
}

/// Their counts overlap where ours do not: all input, of which cached, of which audio.
fn theirs(usage: &Usage) -> TheirUsage {
    let sum = |units: &[Unit]| units.iter().map(|unit| usage.get(*unit)).sum::<u64>() as f64;
    let mut counts = TheirUsage::new();
    for (key, count) in [
        (UsageKey::INPUT_TOKENS, usage.input_tokens() as f64),
        (UsageKey::OUTPUT_TOKENS, usage.output_tokens() as f64),
        (UsageKey::CACHE_READ_TOKENS, sum(&[Unit::CacheRead, Unit::AudioCacheRead])),
        (UsageKey::CACHE_AUDIO_READ_TOKENS, sum(&[Unit::AudioCacheRead])),
        (UsageKey::CACHE_WRITE_TOKENS, sum(&[Unit::CacheWrite5m, Unit::CacheWrite1h])),
        (UsageKey::CACHE_WRITE_1H_TOKENS, sum(&[Unit::CacheWrite1h])),
        (UsageKey::INPUT_AUDIO_TOKENS, sum(&[Unit::AudioIn, Unit::AudioCacheRead])),
        (UsageKey::INPUT_IMAGE_TOKENS, sum(&[Unit::ImageIn])),
        (UsageKey::OUTPUT_REASONING_TOKENS, sum(&[Unit::Reasoning])),
        (UsageKey::OUTPUT_AUDIO_TOKENS, sum(&[Unit::AudioOut])),
        (UsageKey::OUTPUT_IMAGE_TOKENS, sum(&[Unit::ImageOut])),
        (UsageKey::REQUESTS, sum(&[Unit::Request])),
        (UsageKey::WEB_SEARCHES, sum(&[Unit::Search])),
        (UsageKey::AUDIO_SECONDS, sum(&[Unit::Second])),
        (UsageKey::INPUT_AUDIO_SECONDS, sum(&[Unit::Second])),
        (UsageKey::INPUT_CHARACTERS, sum(&[Unit::Character])),
    ] {
        if count > 0.0 {
            counts.insert(key, count);
        }
    }
    counts
}

/// Names that the entry's rule spells out, and one that only its pattern matches.
fn names(entry: &ModelEntry) -> BTreeSet<String> {
    fn collect(rule: &Rule, names: &mut BTreeSet<String>) {
        match rule {
            Rule::Is(name) => drop(names.insert(name.to_string())),
            Rule::Starts(text) => names.extend([format!("{text}-2099-01-01"), text.to_string()]),
            Rule::Ends(text) => drop(names.insert(format!("x{text}"))),
            Rule::Has(text) => drop(names.insert(format!("x{text}y"))),
            Rule::Like(pattern) => {
                let dated = |digits: &str| pattern.text().replace(digits, "2026-01-02").replace(['^', '$', '\\'], "");
                names.extend([dated(r"\d{4}-\d{2}-\d{2}"), dated(r"\d{8}").replace("2026-01-02", "20260102")]);
            }
            Rule::Any(rules) | Rule::All(rules) => rules.iter().for_each(|rule| collect(rule, names)),
            Rule::Not(_) => {}
        }
    }
    let mut names = BTreeSet::from([entry.id.to_string()]);
    collect(&entry.rule, &mut names);
    names
}

#[test]
fn every_model_costs_what_its_publishers_say() {
    let (ours, oracle) = (Catalogue::bundled(), Calculator::bundled());
    let usages: Vec<(Usage, TheirUsage)> = usages().into_iter().map(|usage| (usage, theirs(&usage))).collect();
    let (mut compared, mut models, mut wrong) = (0, 0, Vec::new());
    for entry in ours.entries().iter().filter(|entry| &*entry.provider != "sim") {
        let services = std::iter::once("standard").chain(entry.services.iter().map(|service| &*service.name));
        for service in services {
            for at in MOMENTS {
                let Some(price) = entry.price_for(service, at as i64 * 1000) else { continue };
                models += 1;
                for (usage, their_usage) in &usages {
                    let request = PriceRequest::new(&entry.id, their_usage)
                        .with_provider_id(&entry.provider)
                        .with_timestamp(UNIX_EPOCH + Duration::from_secs(at))
                        .with_price_context("service_tier", service);
                    let Ok(their) = oracle.calculate(&request) else { continue };
                    if their.model_id != *entry.id {
                        continue;
                    }
                    match price.cost(usage) {
                        Ok(cost) if agree(usage, cost.0, their.total_price) => compared += 1,
                        // What their list does not price costs nothing there, and is refused here.
                        Err(CostError::Unpriced(_)) => {}
                        cost => wrong.push(format!(
                            "{}/{} {service} at {at}: {usage:?}: {cost:?}, not {}",
                            entry.provider, entry.id, their.total_price
                        )),
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared}: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    assert!(models > 8_000 && compared > 60_000, "only {compared} costs of {models} prices were compared");
}

#[test]
fn every_name_leads_to_the_model_that_its_publishers_mean() {
    let (ours, oracle) = (Catalogue::bundled(), Calculator::bundled());
    let usage = TheirUsage::new();
    let mut compared = 0;
    for entry in ours.entries().iter().filter(|entry| &*entry.provider != "sim") {
        for name in names(entry) {
            let request = PriceRequest::new(&name, &usage).with_provider_id(&entry.provider);
            let their = oracle.calculate(&request).ok().filter(|price| price.provider_id == *entry.provider);
            let found = ours.find(&entry.provider, &name);
            assert_eq!(
                found.map(|found| &*found.id),
                their.as_ref().map(|price| &*price.model_id),
                "{}/{name}",
                entry.provider
            );
            compared += 1;
        }
    }
    assert!(compared > 3_000, "only {compared} names were compared");
}
