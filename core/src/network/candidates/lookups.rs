//! When sources are asked for servers of a service.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::source::{Source, Sources};
use crate::time::Timestamp;

/// How long after a look-up that has found nobody the next one comes. Doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest of these times, and the longest without a look-up.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A source that has found somebody is left alone for so long at least.
const LEAST_REFRESH: Duration = Duration::from_secs(10);

/// The look-ups for one service, in each source.
#[derive(Debug)]
pub(super) struct LookUps(BTreeMap<Source, LookUp>);

#[derive(Debug)]
struct LookUp {
    due: Timestamp,
    /// How long after the last one the next comes, unless somebody is found.
    pause: Duration,
    last: Option<Timestamp>,
}

impl LookUps {
    pub(super) fn new(sources: Sources, now: Timestamp) -> Self {
        let mut all = Self(BTreeMap::new());
        all.set_sources(sources, now);
        all
    }

    pub(super) fn set_sources(&mut self, sources: Sources, now: Timestamp) {
        self.0.retain(|source, _| sources.contains(*source));
        for source in sources.iter().filter(|source| source.is_asked()) {
            let first = LookUp { due: now, pause: FIRST_PAUSE, last: None };
            self.0.entry(source).or_insert(first);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sources that are to be asked now.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<Source> {
        let due = |(source, one): (&Source, &mut LookUp)| {
            if one.due > now {
                return None;
            }
            (one.last, one.due) = (Some(now), now + one.pause);
            one.pause = one.pause.saturating_mul(2).min(LONGEST_PAUSE);
            Some(*source)
        };
        self.0.iter_mut().filter_map(due).collect()
    }

    /// A source has found somebody, who is there for so long: it is asked again at 80 % of that.
    pub(super) fn found(
        &mut self,
        source: Source,
        ttl: Duration,
        any_serves: bool,
        now: Timestamp,
    ) {
        let Some(one) = self.0.get_mut(&source) else { return };
        let refresh = (ttl / 5).saturating_mul(4).clamp(LEAST_REFRESH, LONGEST_PAUSE);
        // Before that, for one that was found earlier.
        let fresh = one.pause == FIRST_PAUSE;
        one.due = if fresh { one.due.min(now + refresh) } else { now + refresh };
        if any_serves {
            one.pause = FIRST_PAUSE;
        }
    }

    /// Who was found is gone, or does not serve, and nobody else does: it goes on as if nobody had been found.
    pub(super) fn in_vain(&mut self, now: Timestamp) {
        for one in self.0.values_mut() {
            one.due = one.due.min(one.last.map_or(now, |last| last + one.pause));
        }
    }

    /// Somebody waits, and there is nobody.
    pub(super) fn hurry(&mut self, now: Timestamp) {
        for one in self.0.values_mut() {
            let earliest = one.last.map_or(now, |last| last + FIRST_PAUSE);
            if earliest < one.due {
                (one.due, one.pause) = (earliest, FIRST_PAUSE);
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.0.values().map(|one| one.due).min()
    }
}
