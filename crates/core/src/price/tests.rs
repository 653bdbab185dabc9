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
