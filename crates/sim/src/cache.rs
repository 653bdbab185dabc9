//! The prompt cache that a provider would keep, so that cache figures of usage can be practised.
//!
//! Unlike the real ones it has no least size and no clock: a prefix stays known until the process ends or the
//! cache is full.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::prompt::{Input, Meter, Ttl};
use crate::text::tokens;

const MOST_PREFIXES: usize = 1 << 16;

#[derive(Debug, Default)]
pub(crate) struct PromptCache {
    seen: Mutex<HashSet<(u64, u64)>>,
}

impl PromptCache {
    /// Anthropic's rule: what lies before the last marker is written, or read as far as it was seen before.
    pub(crate) fn settle_markers(&self, meter: &Meter) -> Input {
        let Some(last) = meter.boundaries.iter().rposition(|end| end.marker.is_some()) else {
            return meter.plain();
        };
        let boundaries = &meter.boundaries[..=last];
        let mut seen = self.seen.lock();
        let read = boundaries.iter().rposition(|end| seen.contains(&(0, end.hash)));
        let mut input = Input { cache_read: read.map_or(0, |at| tokens(boundaries[at].bytes)), ..Input::default() };
        let mut cached = input.cache_read;
        for end in &boundaries[read.map_or(0, |at| at + 1)..] {
            let written = tokens(end.bytes) - cached;
            match end.marker {
                Some(Ttl::FiveMinutes) => input.cache_write_5m += written,
                Some(Ttl::OneHour) => input.cache_write_1h += written,
                None => continue,
            }
            cached += written;
        }
        let marked = boundaries.iter().filter(|end| end.marker.is_some());
        remember(&mut seen, marked.map(|end| (0, end.hash)));
        input.fresh = tokens(meter.bytes) - cached;
        if input.total() == 0 {
            input.fresh = 1;
        }
        input
    }

    /// OpenAI's rule: the longest prefix that was seen under the same `prompt_cache_key` is read; writing is free.
    pub(crate) fn settle_key(&self, key: u64, meter: &Meter) -> Input {
        let mut seen = self.seen.lock();
        let read = meter.boundaries.iter().rfind(|end| seen.contains(&(key, end.hash)));
        let total = tokens(meter.bytes).max(1);
        let cache_read = read.map_or(0, |end| tokens(end.bytes));
        remember(&mut seen, meter.boundaries.iter().map(|end| (key, end.hash)));
        Input { fresh: total - cache_read, cache_read, ..Input::default() }
    }

    pub(crate) fn clear(&self) {
        self.seen.lock().clear();
    }
}

fn remember(seen: &mut HashSet<(u64, u64)>, prefixes: impl Iterator<Item = (u64, u64)>) {
    if seen.len() > MOST_PREFIXES {
        seen.clear();
    }
    seen.extend(prefixes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(blocks: &[(&str, Option<Ttl>)]) -> Meter {
        let mut meter = Meter::new(true);
        for (text, marker) in blocks {
            meter.text(text);
            meter.boundary(*marker);
        }
        meter
    }

    #[test]
    fn a_marked_prefix_is_written_once_and_read_after() {
        let cache = PromptCache::default();
        let first = prompt(&[("system text", Some(Ttl::OneHour)), ("question", None)]);
        let input = cache.settle_markers(&first);
        assert_eq!((input.cache_write_1h, input.cache_write_5m, input.cache_read), (3, 0, 0));
        let again = cache.settle_markers(&first);
        assert_eq!((again.cache_write(), again.cache_read), (0, 3));
        assert_eq!(input.total(), again.total());
    }

    #[test]
    fn a_moved_marker_reads_the_old_prefix_and_writes_the_rest() {
        let cache = PromptCache::default();
        cache.settle_markers(&prompt(&[("aaaa", None), ("bbbb", Some(Ttl::FiveMinutes))]));
        let grown = prompt(&[("aaaa", None), ("bbbb", None), ("cccc", Some(Ttl::FiveMinutes)), ("dd", None)]);
        let input = cache.settle_markers(&grown);
        assert_eq!((input.cache_read, input.cache_write_5m, input.fresh), (2, 1, 1));
    }

    #[test]
    fn a_cache_key_reads_only_under_itself() {
        let cache = PromptCache::default();
        let one = prompt(&[("aaaa", None), ("bbbb", None)]);
        assert_eq!(cache.settle_key(7, &one).cache_read, 0);
        assert_eq!(cache.settle_key(8, &one).cache_read, 0);
        assert_eq!(cache.settle_key(7, &one).cache_read, 2);
        assert_eq!(cache.settle_key(7, &prompt(&[("aaaa", None), ("zzzz", None)])).cache_read, 1);
    }
}
