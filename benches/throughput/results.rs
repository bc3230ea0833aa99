//! The samples of all rounds, compared with each other.

use std::fmt::Write as _;

use super::contender::{Entrant, Kind};
use super::goals::Goal;
use super::job::Case;
use super::report::Entry;
use super::sample::{Metric, Sample};
use super::work::Work;

/// What all rounds of one work measured.
pub(crate) struct Results {
    work: Work,
    /// The samples of an entrant, by round.
    samples: Vec<(Entrant, Vec<Sample>)>,
}

impl Results {
    pub(crate) fn new(work: Work, entrants: &[Entrant]) -> Self {
        Self {
            work,
            samples: entrants
                .iter()
                .map(|&entrant| (entrant, Vec::new()))
                .collect(),
        }
    }

    /// Adds what the entrant at `index` measured in one more round.
    pub(crate) fn push(&mut self, index: usize, sample: Sample) {
        self.samples[index].1.push(sample);
    }

    /// Adds what was measured once, apart from the rounds.
    pub(crate) fn add_to_all(&mut self, index: usize, metric: Metric, value: f64) {
        self.samples[index]
            .1
            .iter_mut()
            .for_each(|sample| sample.insert(metric, value));
    }

    /// Derives [`Metric::RssAboveCLoop`] and [`Metric::CopiesAboveCLoop`] for the latest round.
    pub(crate) fn add_rss_above_c_loop(&mut self) {
        let peak = |samples: &[Sample]| samples.last()?.get(Metric::PeakRss);
        let floors: Vec<_> = self
            .samples
            .iter()
            .filter(|(entrant, _)| entrant.contender.kind == Kind::CLoop)
            .filter_map(|(entrant, samples)| Some((entrant.case, peak(samples)?)))
            .collect();
        for (Entrant { case, .. }, samples) in &mut self.samples {
            let floor = floors.iter().find(|(other, _)| other == case);
            let above = floor.and_then(|(_, floor)| Some(peak(samples)? - floor));
            let payloads = (case.messages * case.size as u64) as f64 / f64::from(1 << 20);
            if let Some((above, sample)) = above.zip(samples.last_mut()) {
                sample.insert(Metric::RssAboveCLoop, above);
                sample.insert(Metric::CopiesAboveCLoop, above / payloads);
            }
        }
    }

    /// The highest value of `metric` in any run.
    pub(crate) fn highest(&self, metric: Metric) -> Option<f64> {
        let samples = self.samples.iter().flat_map(|(_, samples)| samples);
        samples
            .filter_map(|sample| sample.get(metric))
            .max_by(f64::total_cmp)
    }

    /// For each case a line per contender, a column per metric.
    pub(crate) fn tables(&self) -> String {
        let mut cases: Vec<_> = self
            .samples
            .iter()
            .map(|(entrant, _)| entrant.case)
            .collect();
        cases.dedup();
        let tables: Vec<_> = cases.iter().map(|case| self.table(case)).collect();
        tables.join("\n\n")
    }

    fn table(&self, case: &Case) -> String {
        let (metrics, peer) = (self.work.metrics(), self.usual_peer_name());
        let mut table = format!(
            "{}, {case} (ratios: × {peer}, median, lowest – highest)\n{:<24}",
            self.work, ""
        );
        for &metric in metrics {
            let _ = write!(table, "{:>1$}", metric.heading(), column(metric));
        }
        let entrants = self.samples.iter().map(|(entrant, _)| entrant);
        for entrant in entrants.filter(|entrant| entrant.case == *case) {
            let _ = write!(table, "\n{:<24}", entrant.contender);
            for &metric in metrics {
                let cell = self.cell(entrant, metric);
                let _ = write!(table, "{cell:>0$}", column(metric));
            }
        }
        table
    }

    fn cell(&self, entrant: &Entrant, metric: Metric) -> String {
        let Some(Spread { median, .. }) = self.spread(entrant, None, metric) else {
            return "–".to_owned();
        };
        let value = format!("{:.*}", metric.decimals(), median);
        let ratio = if metric.is_compared() {
            self.spread(entrant, Some(&self.usual_peer(entrant)), metric)
        } else {
            None
        };
        ratio.map_or(value.clone(), |Spread { median, low, high }| {
            format!("{value} ×{median:.2} ({low:.2}–{high:.2})")
        })
    }

    /// With whom an entrant is compared where no goal asks for another.
    fn usual_peer(&self, entrant: &Entrant) -> Entrant {
        match self.work {
            Work::Topics => Entrant {
                case: Case {
                    topics: 1,
                    ..entrant.case
                },
                ..*entrant
            },
            Work::Detached => entrant.peer(Kind::Threaded),
            Work::Full => entrant.peer(Kind::FutureSend),
            _ => entrant.peer(Kind::Future),
        }
    }

    /// What the tables call it.
    fn usual_peer_name(&self) -> &'static str {
        match self.work {
            Work::Topics => "itself with one topic",
            Work::Detached => "threaded",
            Work::Full => "future-send",
            _ => "future",
        }
    }

    /// Values of a metric, or its ratios to those of a peer in the same round.
    fn spread(&self, entrant: &Entrant, peer: Option<&Entrant>, metric: Metric) -> Option<Spread> {
        let values = |entrant| {
            let mut all = self.samples.iter();
            let (_, samples) = all.find(|(other, _)| other == entrant)?;
            Some(samples.iter().map(move |sample| sample.get(metric)))
        };
        let ours = values(entrant)?;
        let ratio = |(ours, theirs): (Option<f64>, Option<f64>)| Some(ours? / theirs?);
        let values: Option<_> = match peer {
            None => ours.collect(),
            Some(peer) => ours.zip(values(peer)?).map(ratio).collect(),
        };
        Spread::of(values?)
    }

    /// All comparisons, those that `goals` ask for first.
    pub(crate) fn entries(&self, goals: &[Goal]) -> Vec<Entry> {
        let mut entries = Vec::new();
        let entrants = || self.samples.iter().map(|(entrant, _)| *entrant);
        for goal in goals {
            for entrant in entrants().filter(|entrant| goal.is_for(entrant)) {
                entries.extend(self.entry(entrant, goal.peer(&entrant), goal.metric, Some(*goal)));
            }
        }
        for entrant in entrants() {
            for &metric in self.work.metrics() {
                let peer = self.usual_peer(&entrant);
                let peer = metric.is_compared().then_some(peer);
                let same = |entry: &Entry| entry.is(&entrant, peer.as_ref(), metric);
                if peer != Some(entrant) && !entries.iter().any(same) {
                    entries.extend(self.entry(entrant, peer, metric, None));
                }
            }
        }
        entries
    }

    fn entry(
        &self,
        entrant: Entrant,
        peer: Option<Entrant>,
        metric: Metric,
        goal: Option<Goal>,
    ) -> Option<Entry> {
        let spread = self.spread(&entrant, peer.as_ref(), metric)?;
        Some(Entry {
            entrant,
            peer,
            metric,
            spread,
            goal,
        })
    }
}

/// The middle and the ends of some values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        };
        Some(Self { median, low, high })
    }
}

/// The width of a metric's column.
fn column(metric: Metric) -> usize {
    if metric.is_compared() { 29 } else { 18 }
}
