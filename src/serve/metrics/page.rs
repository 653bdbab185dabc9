//! The page itself, in the text format of OpenMetrics: every figure with its name, unit and meaning.

use super::process::Process;
use anykey_core::Unit;
use anykey_gateway::observe::{BOUNDS, Counts, Times};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;

/// What a page says.
#[derive(Debug)]
pub struct Facts {
    pub counts: Counts,
    pub pending_records: usize,
    pub admits: bool,
    pub process: Process,
}

pub fn render(facts: Facts) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(facts));
    let mut page = String::with_capacity(16 * 1024);
    // Writing to a text fails only where a collector does, and ours has no cause to.
    let _ = text::encode(&mut page, &registry);
    page
}

/// The encoder with the three kinds of figures that are shown.
struct Shown<'e>(DescriptorEncoder<'e>);

impl Shown<'_> {
    fn family(&mut self, name: &str, help: &str, kind: MetricType, each: impl Each) -> fmt::Result {
        each(self.0.encode_descriptor(name, help, None, kind)?)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, help, MetricType::Counter, |mut metric| metric.count(value))
    }

    fn gauge(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        match value {
            Some(value) => self.family(name, help, MetricType::Gauge, |mut metric| metric.encode_gauge(&value)),
            None => Ok(()),
        }
    }
}

trait Each: FnOnce(MetricEncoder<'_>) -> fmt::Result {}
impl<F: FnOnce(MetricEncoder<'_>) -> fmt::Result> Each for F {}

trait Figure {
    fn count(&mut self, value: u64) -> fmt::Result;
    fn times(&mut self, times: &Times) -> fmt::Result;
}

impl Figure for MetricEncoder<'_> {
    fn count(&mut self, value: u64) -> fmt::Result {
        self.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn times(&mut self, times: &Times) -> fmt::Result {
        let bounds = BOUNDS.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(times.buckets).collect();
        self.encode_histogram::<NoLabelSet>(times.sum_us as f64 / 1e6, times.count(), &buckets, None)
    }
}

impl Collector for Facts {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut shown = Shown(encoder);
        self.calls(&mut shown)?;
        self.work(&mut shown)?;
        self.ledger(&mut shown)?;
        self.process(&mut shown)
    }
}

impl Facts {
    fn calls(&self, shown: &mut Shown<'_>) -> fmt::Result {
        let Counts { ends, running, connections, lost, .. } = &self.counts;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        shown.family("anykey_build_info", "The version that runs; always 1", MetricType::Gauge, |mut metric| {
            metric.encode_family(&version)?.encode_gauge(&1_u32)
        })?;
        let help = "Calls that ended, by endpoint, provider, how they ended, and a refusal's code";
        shown.family("anykey_requests", help, MetricType::Counter, |mut metric| {
            ends.iter().try_for_each(|(end, n)| {
                let labels = [
                    ("endpoint", end.endpoint.map_or("", |endpoint| endpoint.name())),
                    ("provider", &*end.provider),
                    ("outcome", end.outcome.name()),
                    ("code", end.code),
                ];
                metric.encode_family(&labels)?.count(*n)
            })
        })?;
        let help = "Attempts that did not reach their provider and were made again";
        shown.family("anykey_attempts_lost", help, MetricType::Counter, |mut metric| {
            lost.iter().try_for_each(|(provider, n)| metric.encode_family(&[("provider", &**provider)])?.count(*n))
        })?;
        shown.gauge("anykey_requests_running", "Calls that run now", Some(*running as f64))?;
        shown.gauge("anykey_connections_open", "Connections of callers that are open now", Some(*connections as f64))
    }

    fn work(&self, shown: &mut Shown<'_>) -> fmt::Result {
        let work = &self.counts.work;
        let each = |metric: &mut MetricEncoder<'_>, figure: &dyn Fn(&mut MetricEncoder<'_>, _) -> fmt::Result| {
            work.iter().try_for_each(|(served, work)| {
                let labels = [("endpoint", served.endpoint.name()), ("provider", &*served.provider)];
                figure(&mut metric.encode_family(&labels)?, work)
            })
        };
        let help = "From a call's head to the end of its answer, in seconds, of calls that were sent to a provider";
        shown.family("anykey_request_duration_seconds", help, MetricType::Histogram, |mut metric| {
            each(&mut metric, &|metric, work| metric.times(&work.total))
        })?;
        let help = "From a call's head to the first byte of its answer, in seconds";
        shown.family("anykey_first_byte_seconds", help, MetricType::Histogram, |mut metric| {
            each(&mut metric, &|metric, work| metric.times(&work.first_byte))
        })?;
        let help =
            "What was used, by unit: tokens of disjoint classes, requests, seconds, characters, images, searches";
        shown.family("anykey_units", help, MetricType::Counter, |mut metric| {
            work.iter().try_for_each(|(served, work)| {
                let (endpoint, provider) = (served.endpoint.name(), &*served.provider);
                Unit::ALL.into_iter().filter(|unit| work.units[*unit as usize] > 0).try_for_each(|unit| {
                    let labels = [("endpoint", endpoint), ("provider", provider), ("unit", unit.name())];
                    metric.encode_family(&labels)?.count(work.units[unit as usize])
                })
            })
        })?;
        let help = "What calls cost, in billionths of a dollar";
        shown.family("anykey_cost_nano_usd", help, MetricType::Counter, |mut metric| {
            each(&mut metric, &|metric, work| metric.count(u64::try_from(work.cost.0).unwrap_or_default()))
        })?;
        let help = "Calls whose cost is not known, because no price was";
        shown.family("anykey_requests_unpriced", help, MetricType::Counter, |mut metric| {
            each(&mut metric, &|metric, work| metric.count(work.unpriced))
        })?;
        let help = "Calls that cost more than was set aside for the most they could cost: a provider kept to no bound";
        shown.family("anykey_overruns", help, MetricType::Counter, |mut metric| {
            each(&mut metric, &|metric, work| metric.count(work.overruns))
        })?;
        let help = "What calls cost beyond what was set aside for them, in billionths of a dollar";
        shown.family("anykey_overrun_nano_usd", help, MetricType::Counter, |mut metric| {
            each(&mut metric, &|metric, work| metric.count(u64::try_from(work.overrun.0).unwrap_or_default()))
        })
    }

    fn ledger(&self, shown: &mut Shown<'_>) -> fmt::Result {
        let help = "Records that are in the journal and not yet in the database";
        shown.gauge("anykey_ledger_pending_records", help, Some(self.pending_records as f64))?;
        let help = "1 while the journal takes calls, 0 while every call is refused";
        shown.gauge("anykey_ledger_admits", help, Some(f64::from(u8::from(self.admits))))?;
        let help = "Lines of the log of calls that found no room because stderr was not read";
        shown.counter("anykey_log_lines_missed", help, self.counts.missed_lines)
    }

    fn process(&self, shown: &mut Shown<'_>) -> fmt::Result {
        let Process { cpu_seconds, resident_bytes, threads, open_files, max_files, started } = self.process;
        let whole = |n: Option<u64>| n.map(|n| n as f64);
        if let Some(seconds) = cpu_seconds {
            let help = "Processor time, user and system, in seconds";
            shown.family("process_cpu_seconds", help, MetricType::Counter, |mut metric| {
                metric.encode_counter::<NoLabelSet, _, u64>(&seconds, None)
            })?;
        }
        shown.gauge("process_resident_memory_bytes", "Memory that is present", whole(resident_bytes))?;
        shown.gauge("process_threads", "Threads", whole(threads))?;
        shown.gauge("process_open_fds", "Open file descriptors", whole(open_files))?;
        shown.gauge("process_max_fds", "How many file descriptors may be open", whole(max_files))?;
        shown.gauge("process_start_time_seconds", "When the process started, in seconds since 1970", started)
    }
}
