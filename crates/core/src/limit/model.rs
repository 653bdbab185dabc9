//! The limiter against a model that keeps every admission for ever, under a clock that the test moves: two keys under shared
//! bounds, all dimensions, calls that end, fail and are refused in any order.

use super::tests::{bound, tokens};
use super::*;
use crate::controls::Unit;
use proptest::prelude::*;

const SECOND: Micros = 1_000_000;
const MODELS: [Target<'static>; 3] = [
    Target { provider: "openai", model: "gpt-4o" },
    Target { provider: "openai", model: "o1" },
    Target { provider: "anthropic", model: "claude" },
];

/// One limit: whose it is, for which models, and how much.
type Line = (u8, Option<&'static str>, Dimension, u64);

const ORGANISATION: [Line; 3] =
    [(1, None, Dimension::Rpm, 30), (1, None, Dimension::Tpm, 900), (1, None, Dimension::Concurrency, 6)];
const PROJECT: [Line; 2] = [(2, None, Dimension::Rph, 60), (2, None, Dimension::Tpd, 4_000)];
const MEMBER: [Line; 2] = [(3, None, Dimension::Rpd, 50), (3, None, Dimension::Rpm, 20)];
const ACCOUNT: [Line; 2] = [(4, None, Dimension::Concurrency, 3), (4, None, Dimension::Tpm, 600)];
const FIRST: [Line; 2] = [(5, None, Dimension::Rpm, 12), (5, None, Dimension::Concurrency, 2)];
const FIRST_OF_GPT: [Line; 2] = [(5, Some("gpt-*"), Dimension::Rpm, 5), (5, Some("gpt-*"), Dimension::Tpm, 300)];
const SECOND_KEY: [Line; 2] = [(6, None, Dimension::Tpd, 2_500), (6, None, Dimension::Rph, 40)];
const SECOND_OF_OPENAI: [Line; 2] =
    [(6, Some("openai/*"), Dimension::Rph, 25), (6, Some("openai/*"), Dimension::Concurrency, 4)];

/// What a call of a key for a model stands under, written down by hand and not worked out by what is tested.
fn lines(second: bool, model: usize) -> Vec<Line> {
    let shared = ORGANISATION.into_iter().chain(PROJECT);
    match (second, model) {
        (false, 0) => shared.chain(MEMBER).chain(FIRST).chain(FIRST_OF_GPT).collect(),
        (false, _) => shared.chain(MEMBER).chain(FIRST).collect(),
        (true, 0 | 1) => shared.chain(ACCOUNT).chain(SECOND_KEY).chain(SECOND_OF_OPENAI).collect(),
        (true, _) => shared.chain(ACCOUNT).chain(SECOND_KEY).collect(),
    }
}

fn chain(second: bool) -> Vec<Bound> {
    let of = |level, lines: &[&[Line]]| {
        let limits = |lines: &[Line]| {
            let fields: Vec<String> = lines.iter().map(|(_, _, d, n)| format!("\"{}\":{n}", d.field())).collect();
            format!("{{{}}}", fields.join(","))
        };
        let of_models =
            lines.get(1).map(|lines| format!(r#","model_limits":{{"{}":{}}}"#, lines[0].1.unwrap(), limits(lines)));
        let controls = format!(r#"{{"limits":{}{}}}"#, limits(lines[0]), of_models.unwrap_or_default());
        Bound { id: [lines[0][0].0; 16], ..bound(level, &controls) }
    };
    let mut chain = vec![of(Level::Organisation, &[&ORGANISATION]), of(Level::Project, &[&PROJECT])];
    if second {
        chain.extend([of(Level::ServiceAccount, &[&ACCOUNT]), of(Level::Key, &[&SECOND_KEY, &SECOND_OF_OPENAI])]);
    } else {
        chain.extend([of(Level::Member, &[&MEMBER]), of(Level::Key, &[&FIRST, &FIRST_OF_GPT])]);
    }
    chain
}

#[derive(Clone, Debug)]
enum Step {
    Pause(Micros),
    Call {
        second: bool,
        model: usize,
        input: u64,
        output: u64,
    },
    /// One of those that run ends, having used so many hundredths of what it was taken to use.
    End {
        which: usize,
        used: u64,
    },
    /// One of those that run never reached a provider.
    Fail(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => prop_oneof![0..SECOND, 0..20 * SECOND, 0..4_000 * SECOND, 0..100_000 * SECOND].prop_map(Step::Pause),
        6 => (any::<bool>(), 0..3usize, 1..40u64, 1..120u64)
            .prop_map(|(second, model, input, output)| Step::Call { second, model, input, output }),
        4 => (0..8usize, 0..=100u64).prop_map(|(which, used)| Step::End { which, used }),
        1 => (0..8usize).prop_map(Step::Fail),
    ]
}

/// A call that was let in, as the model remembers it.
struct Admission {
    lines: Vec<Line>,
    at: Micros,
    input: u64,
    output: u64,
    tokens: u64,
    permit: Option<Permit>,
    /// It counts as never having come.
    failed: bool,
}

#[derive(Default)]
struct Model {
    admissions: Vec<Admission>,
}

impl Model {
    /// What counts of a limit for a window that ends now and is so much longer than it is.
    fn used(&self, line: &Line, now: Micros, longer: Micros) -> u64 {
        let under = self.admissions.iter().filter(|a| !a.failed && a.lines.contains(line));
        let Some(window) = line.2.window_seconds().map(|seconds| seconds * SECOND) else {
            return under.filter(|a| a.permit.is_some()).count() as u64;
        };
        let amount = |a: &Admission| if line.2.unit() == Unit::Tokens { a.tokens } else { 1 };
        under.filter(|a| a.at + window + longer >= now).map(amount).sum()
    }

    /// A mark stays at most a hundredth of its window too long.
    fn latest(&self, line: &Line, now: Micros) -> u64 {
        self.used(line, now, line.2.window_seconds().unwrap_or(0) * SECOND / 100)
    }

    fn running(&mut self, which: usize) -> Option<&mut Admission> {
        let mut running: Vec<_> = self.admissions.iter_mut().filter(|a| a.permit.is_some()).collect();
        let n = running.len();
        (n > 0).then(|| running.swap_remove(which % n))
    }
}

fn call(
    limiter: &Limiter,
    model: &mut Model,
    now: Micros,
    wanted: (bool, usize, u64, u64),
) -> Result<(), TestCaseError> {
    let (second, of, input, output) = wanted;
    let lines = lines(second, of);
    match limiter.take(&chain(second), MODELS[of], &tokens(input, output), now) {
        Ok(permit) => {
            let admission = Admission {
                lines,
                at: now,
                input,
                output,
                tokens: input + output,
                permit: Some(permit),
                failed: false,
            };
            let under = admission.lines.clone();
            model.admissions.push(admission);
            for line in &under {
                let used = model.used(line, now, 0);
                prop_assert!(used <= line.3, "{line:?} let {used} through in one window");
            }
        }
        Err(full) => {
            let full_line = lines.iter().find(|line| {
                [line.0; 16] == full.bound.id
                    && line.1.map(str::to_owned) == full.models.as_ref().map(ToString::to_string)
                    && line.2 == full.dimension
            });
            let line =
                full_line.ok_or_else(|| TestCaseError::fail(format!("refused by what does not apply: {full:?}")))?;
            let wanted = if line.2.unit() == Unit::Tokens { input + output } else { 1 };
            let used = model.latest(line, now);
            prop_assert!(used + wanted > line.3, "{line:?} refused {wanted} with {used} used");
            prop_assert_eq!((full.limit, full.wanted), (line.3, wanted));
        }
    }
    Ok(())
}

/// What is told of every limit is what the model has, or what it had a hundredth of the window before.
fn compare(limiter: &Limiter, model: &Model, now: Micros) -> Result<(), TestCaseError> {
    for second in [false, true] {
        let mut told = Vec::new();
        let chain = chain(second);
        limiter.all_standings(&chain, now, |s| {
            told.push((s.bound.id[0], s.models.map(ToString::to_string), s.dimension, s.limit, s.used));
        });
        for (id, models, dimension, limit, used) in told {
            let all = (0..3).flat_map(|of| lines(second, of));
            let line =
                all.into_iter().find(|l| l.0 == id && l.1 == models.as_deref() && l.2 == dimension && l.3 == limit);
            let line = line.ok_or_else(|| TestCaseError::fail(format!("{id} {models:?} {dimension:?} is not set")))?;
            let (least, most) = (model.used(&line, now, 0), model.latest(&line, now));
            prop_assert!((least..=most).contains(&used), "{line:?}: {used}, and not {least} to {most}");
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn it_lets_in_what_the_model_lets_in_and_tells_what_it_has(steps in prop::collection::vec(step(), 1..400)) {
        let limiter = Limiter::default();
        let mut model = Model::default();
        let mut now = limiter.now();
        for step in steps {
            match step {
                Step::Pause(pause) => now += pause,
                Step::Call { second, model: of, input, output } => call(&limiter, &mut model, now, (second, of, input, output))?,
                Step::End { which, used } => {
                    if let Some(admission) = model.running(which) {
                        let (input, output) = (admission.input * used / 100, admission.output * used / 100);
                        admission.tokens = input + output;
                        admission.permit.take().unwrap().settle(Some((input, output)), now);
                    }
                }
                Step::Fail(which) => {
                    if let Some(admission) = model.running(which) {
                        admission.failed = true;
                        admission.permit.take().unwrap().cancel();
                    }
                }
            }
            compare(&limiter, &model, now)?;
        }
    }
}
