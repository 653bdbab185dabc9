use super::*;

fn rates(list: &[(Unit, i64)]) -> Rates {
    let mut rates = Rates::default();
    for (unit, rate) in list {
        rates.set(*unit, *rate).expect("a rate");
    }
    rates
}

fn price(base: &[(Unit, i64)], tiers: &[(u64, &[(Unit, i64)])]) -> Price {
    let tiers = tiers.iter().map(|(above, list)| Tier { above_input_tokens: *above, rates: rates(list) });
    Price::new(0, None, "test".into(), rates(base), tiers.collect())
}

const MINI: &[(Unit, i64)] = &[(Unit::Input, 150_000), (Unit::CacheRead, 75_000), (Unit::Output, 600_000)];

#[test]
fn a_call_is_rounded_up_once() {
    let mini = price(MINI, &[]);
    let cost = |usage: Usage| mini.cost(&usage).map(|n| n.0);
    // 1 x 0.15 + 1 x 0.075 + 1 x 0.6 microdollars = 825 nano-dollars, exactly.
    assert_eq!(cost(Usage::default().with(Unit::Input, 1).with(Unit::CacheRead, 1).with(Unit::Output, 1)), Ok(825));
    let odd = price(&[(Unit::Input, 1), (Unit::Output, 1)], &[]);
    assert_eq!(odd.cost(&Usage::default().with(Unit::Input, 1).with(Unit::Output, 1)), Ok(Nanos(1)));
    assert_eq!(odd.cost(&Usage::default().with(Unit::Input, 999).with(Unit::Output, 2)), Ok(Nanos(2)));
    assert_eq!(cost(Usage::default()), Ok(0));
}

#[test]
fn a_call_is_charged_by_the_measure_that_its_price_names() {
    let search = price(&[(Unit::Search, 2_000_000)], &[]);
    let tokens = price(&[(Unit::Input, 1_000), (Unit::Output, 3_000)], &[]);
    let both = price(&[(Unit::Input, 1_000), (Unit::Second, 5_000), (Unit::Request, 7_000)], &[]);
    let items = Usage::default().with(Unit::Search, 3).with(Unit::Second, 2);
    let most = Extent { input: 100, output: 10, items };
    assert_eq!(search.worst_of(&most), Ok(Nanos(6_000)));
    assert_eq!(tokens.worst_of(&most), Ok(Nanos(130)));
    assert_eq!(both.worst_of(&Extent { output: 0, ..most }), Ok(Nanos(100 + 10 + 7)));
    let used = items.with(Unit::Input, 40);
    assert_eq!(search.cost_of(&used), Ok(Nanos(6_000)));
    assert_eq!(tokens.cost_of(&used), Ok(Nanos(40)));
    assert_eq!(both.cost_of(&used), Ok(Nanos(40 + 10 + 7)));
    // What has no rate at all has no cost, which is not the same as none.
    let images = price(&[(Unit::Image, 1)], &[]);
    assert_eq!(images.worst_of(&most), Err(CostError::Unpriced(Unit::Second)));
    assert_eq!(images.cost_of(&used), Err(CostError::Unpriced(Unit::Input)));
    assert_eq!(Price::free().worst_of(&most), Ok(Nanos::ZERO));
    assert_eq!(Price::free().cost_of(&used), Ok(Nanos::ZERO));
}

#[test]
fn what_the_list_leaves_out_is_charged_as_the_wider_unit() {
    let plain = rates(&[(Unit::Input, 100), (Unit::Output, 400)]);
    for unit in Unit::ALL {
        let expected = match unit {
            _ if unit.is_input_token() => Some(100),
            _ if unit.is_output_token() => Some(400),
            Unit::Request => Some(0),
            _ => None,
        };
        assert_eq!(plain.effective(unit), expected, "{}", unit.name());
    }
    let cached = rates(&[(Unit::Input, 100), (Unit::CacheRead, 10), (Unit::CacheWrite5m, 125), (Unit::AudioIn, 900)]);
    assert_eq!(cached.effective(Unit::AudioCacheRead), Some(10));
    assert_eq!(cached.effective(Unit::CacheWrite1h), Some(125));
    assert_eq!(cached.effective(Unit::ImageIn), Some(100));
    assert_eq!(cached.effective(Unit::Reasoning), None);
}

#[test]
fn nothing_is_free_for_want_of_a_price() {
    let mini = price(MINI, &[]);
    for unit in [Unit::Search, Unit::Second, Unit::Character, Unit::Image] {
        let usage = Usage::default().with(Unit::Input, 5).with(unit, 1);
        assert_eq!(mini.cost(&usage), Err(CostError::Unpriced(unit)));
    }
    let embedding = price(&[(Unit::Input, 20_000)], &[]);
    assert_eq!(embedding.cost(&Usage::default().with(Unit::Output, 1)), Err(CostError::Unpriced(Unit::Output)));
    assert_eq!(embedding.worst(1000, 0, 1), Ok(Nanos(20_000)));
    assert_eq!(embedding.worst(1000, 1, 1), Err(CostError::Unpriced(Unit::Output)));
    let speech = price(&[(Unit::Character, 15_000_000)], &[]);
    assert_eq!(speech.worst(1, 0, 1), Err(CostError::Unpriced(Unit::Input)));
}

#[test]
fn a_tier_reprices_the_whole_call_above_its_threshold() {
    let pro = price(
        &[(Unit::Input, 1000), (Unit::Output, 10_000)],
        &[(200_000, &[(Unit::Input, 2000), (Unit::Output, 15_000)])],
    );
    let cost = |input, cached| {
        pro.cost(&Usage::default().with(Unit::Input, input).with(Unit::CacheRead, cached).with(Unit::Output, 1))
    };
    assert_eq!(cost(200_000, 0), Ok(Nanos(200_010)));
    assert_eq!(cost(150_000, 50_000), Ok(Nanos(200_010)));
    assert_eq!(cost(150_001, 50_000), Ok(Nanos(400_017)));
    // A bound below the threshold never pays for the tier; one above it may.
    assert_eq!(pro.worst(200_000, 1, 1), Ok(Nanos(200_010)));
    assert_eq!(pro.worst(200_001, 1, 1), Ok(Nanos(400_017)));
}

#[test]
fn the_worst_case_counts_every_answer_and_the_fee() {
    let sonar = price(&[(Unit::Input, 1_000_000), (Unit::Output, 1_000_000), (Unit::Request, 12_000_000_000)], &[]);
    assert_eq!(sonar.worst(10, 20, 3), Ok(Nanos(12_000_000 + 10_000 + 60_000)));
    assert_eq!(sonar.worst(10, 20, 0), sonar.worst(10, 20, 1));
}

#[test]
fn a_call_that_used_anything_was_a_request() {
    let sonar = price(&[(Unit::Input, 1_000_000), (Unit::Request, 12_000_000_000)], &[]);
    let one = Usage::default().with(Unit::Input, 1);
    assert_eq!(sonar.cost(&one), Ok(Nanos(12_001_000)));
    assert_eq!(sonar.cost(&one.with(Unit::Request, 1)), Ok(Nanos(12_001_000)));
    assert_eq!(sonar.cost(&one.with(Unit::Request, 2)), Ok(Nanos(24_001_000)));
    assert_eq!(sonar.cost(&Usage::default()), Ok(Nanos::ZERO));
}

#[test]
fn amounts_beyond_the_range_are_refused() {
    let mini = price(MINI, &[]);
    assert_eq!(mini.cost(&Usage::default().with(Unit::Output, u64::MAX)), Err(CostError::Overflow));
    assert_eq!(mini.worst(u64::MAX, 1, 1), Err(CostError::Overflow));
    let dear = price(&[(Unit::Input, MAX_TOKEN_RATE), (Unit::Output, MAX_TOKEN_RATE)], &[]);
    assert_eq!(dear.worst(u64::MAX, u64::MAX, u32::MAX), Err(CostError::Overflow));
    let all = Unit::ALL.into_iter().map(|unit| (unit, u64::MAX)).collect();
    let every: Vec<_> = Unit::ALL.into_iter().map(|unit| (unit, MAX_TOKEN_RATE)).collect();
    assert_eq!(price(&every, &[]).cost(&all), Err(CostError::Overflow));
}

#[test]
fn rates_have_bounds() {
    let mut rates = Rates::default();
    assert_eq!(rates.set(Unit::Input, -1), Err(RateError::Negative));
    assert_eq!(rates.set(Unit::Input, i64::MIN), Err(RateError::Negative));
    assert_eq!(rates.set(Unit::Input, MAX_TOKEN_RATE + 1), Err(RateError::TooHigh));
    assert_eq!(rates.set(Unit::Search, MAX_ITEM_RATE + 1), Err(RateError::TooHigh));
    assert!(rates.is_empty());
    assert_eq!(rates.set(Unit::Input, 0), Ok(()));
    assert_eq!(rates.effective(Unit::Input), Some(0));
}

#[test]
fn the_id_is_of_the_content() {
    let id = |from, source: &str, list| Price::new(from, None, source.into(), rates(list), Vec::new()).id();
    // Written down once: records of earlier releases name these numbers.
    assert_eq!(id(0, "test", MINI), price(MINI, &[]).id());
    assert_eq!(id(0, "test", MINI), 4_791_998_170_366_884);
    let others = [
        id(1, "test", MINI),
        id(0, "operator", MINI),
        id(0, "test", &MINI[..2]),
        price(MINI, &[(1, MINI)]).id(),
        price(MINI, &[(2, MINI)]).id(),
        Price::new(0, Some(Daily { start: 0, end: 1 }), "test".into(), rates(MINI), Vec::new()).id(),
    ];
    let mut all = others.to_vec();
    all.push(id(0, "test", MINI));
    assert!(all.iter().all(|id| (1..1 << 53).contains(id)));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), others.len() + 1);
}

#[test]
fn a_part_of_the_day_may_cross_midnight() {
    let peak = Daily { start: 3600, end: 4 * 3600 };
    assert!(peak.contains(3600) && !peak.contains(3599) && !peak.contains(4 * 3600));
    let night = Daily { start: 59_400, end: 1800 };
    assert!(night.contains(59_400) && night.contains(0) && !night.contains(1800) && !night.contains(59_399));
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    fn some_rates() -> impl Strategy<Value = Vec<(Unit, i64)>> {
        let rate = prop_oneof![Just(0), 0..1_000_000_i64, Just(MAX_TOKEN_RATE)];
        let all = prop::collection::vec(prop::option::of(rate), UNITS);
        all.prop_map(|all| {
            let mut list: Vec<_> =
                Unit::ALL.into_iter().zip(all).filter_map(|(unit, rate)| Some((unit, rate?))).collect();
            list.extend([(Unit::Input, 7), (Unit::Output, 11)]);
            list
        })
    }

    fn some_price() -> impl Strategy<Value = Price> {
        let tier = (0_u64..50_000, some_rates());
        (some_rates(), prop::collection::vec(tier, 0..4)).prop_map(|(base, tiers)| {
            let tiers: Vec<_> = tiers.iter().map(|(above, list)| (*above, &list[..])).collect();
            price(&base, &tiers)
        })
    }

    fn tokens() -> impl Strategy<Value = Usage> {
        prop::collection::vec(0_u64..20_000, UNITS).prop_map(|counts| {
            let token = |unit: &Unit| unit.is_input_token() || unit.is_output_token();
            Unit::ALL.into_iter().zip(counts).filter(|(unit, _)| token(unit)).collect::<Usage>().with(Unit::Request, 1)
        })
    }

    proptest! {
        #[test]
        fn no_call_within_its_bounds_costs_more_than_its_worst_case(
            price in some_price(), usage in tokens(), spare in 0_u64..10_000, n in 1_u32..4
        ) {
            let output_bound = usage.output_tokens().div_ceil(n.into());
            let worst = price.worst(usage.input_tokens() + spare, output_bound, n);
            prop_assert!(price.cost(&usage)? <= worst?);
        }

        #[test]
        fn more_is_never_cheaper_within_a_tier(usage in tokens(), unit in 0..11_usize, more in 0_u64..100) {
            let flat = price(MINI, &[]);
            let unit = Unit::ALL[unit];
            prop_assert!(flat.cost(&usage)? <= flat.cost(&usage.with(unit, usage.get(unit) + more))?);
        }

        #[test]
        fn one_rounding_never_gains_a_nano(usage in tokens()) {
            let flat = price(MINI, &[]);
            let exact: u128 = usage.iter().map(|(unit, n)| flat.rates().of(unit).map(|r| r * u128::from(n))).sum::<Result<_, _>>()?;
            let nano = u128::from(flat.cost(&usage)?.0.unsigned_abs());
            prop_assert!(nano * PICO_PER_NANO >= exact && nano * PICO_PER_NANO < exact + PICO_PER_NANO);
        }
    }
}
