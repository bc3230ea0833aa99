//! The samples of all rounds, compared with each other.

use std::fmt::Write as _;

use super::contender::{Contender, Kind};
use super::goals::{self, Bound, GOALS};
use super::job::Work;
use super::report::Entry;
use super::sample::{Metric, Sample};

/// What all rounds of one work measured.
pub(crate) struct Results {
    work: Work,
    /// The samples of a contender, by round.
    samples: Vec<(Contender, Vec<Sample>)>,
}

impl Results {
    pub(crate) fn new(work: Work, contenders: &[Contender]) -> Self {
        Self {
            work,
            samples: contenders
                .iter()
                .map(|&contender| (contender, Vec::new()))
                .collect(),
        }
    }

    /// Adds what the contender at `index` measured in one more round.
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

    /// Derives [`Metric::RssAboveCLoop`] for the latest round.
    pub(crate) fn add_rss_above_c_loop(&mut self) {
        let peak = |samples: &[Sample]| samples.last()?.get(Metric::PeakRss);
        let floor = self
            .samples
            .iter()
            .find(|(contender, _)| contender.kind == Kind::CLoop);
        let Some(floor) = floor.and_then(|(_, samples)| peak(samples)) else {
            return;
        };
        for (_, samples) in &mut self.samples {
            let above = peak(samples).map(|peak| (Metric::RssAboveCLoop, peak - floor));
            samples
                .last_mut()
                .into_iter()
                .for_each(|sample| sample.extend(above));
        }
    }

    /// The highest value of `metric` in any run.
    pub(crate) fn highest(&self, metric: Metric) -> Option<f64> {
        let samples = self.samples.iter().flat_map(|(_, samples)| samples);
        samples
            .filter_map(|sample| sample.get(metric))
            .max_by(f64::total_cmp)
    }

    /// A line per contender, a column per metric.
    pub(crate) fn table(&self) -> String {
        let (metrics, peer) = (self.work.metrics(), self.usual_peer());
        let mut table = format!(
            "{} (ratios: × {}, median, lowest – highest)\n",
            self.work, peer
        );
        let _ = write!(table, "{:<20}", "");
        for metric in metrics {
            let _ = write!(
                table,
                "{:>width$}",
                metric.heading(),
                width = column(*metric)
            );
        }
        for (contender, _) in &self.samples {
            let _ = write!(table, "\n{contender:<20}");
            for &metric in metrics {
                let cell = self.cell(*contender, metric, peer);
                let _ = write!(table, "{cell:>width$}", width = column(metric));
            }
        }
        table
    }

    fn cell(&self, contender: Contender, metric: Metric, peer: Kind) -> String {
        let Some(Spread { median, .. }) = self.spread(contender, None, metric) else {
            return "–".to_owned();
        };
        let value = format!("{:.*}", metric.decimals(), median);
        let ratio = if metric.is_compared() {
            self.spread(contender, Some(contender.peer(peer)), metric)
        } else {
            None
        };
        ratio.map_or(value.clone(), |Spread { median, low, high }| {
            format!("{value} ×{median:.2} ({low:.2}–{high:.2})")
        })
    }

    /// The peer of comparisons that no goal asks for.
    fn usual_peer(&self) -> Kind {
        if self.work == Work::Detached {
            Kind::Threaded
        } else {
            Kind::Future
        }
    }

    /// Values of a metric, or its ratios to those of a peer in the same round.
    fn spread(
        &self,
        contender: Contender,
        peer: Option<Contender>,
        metric: Metric,
    ) -> Option<Spread> {
        let values = |contender| {
            let mut all = self.samples.iter();
            let (_, samples) = all.find(|(other, _)| *other == contender)?;
            Some(samples.iter().map(|sample| sample.get(metric)))
        };
        let ours = values(contender)?;
        let ratio = |(ours, theirs): (Option<f64>, Option<f64>)| Some(ours? / theirs?);
        let values: Option<_> = match peer {
            None => ours.collect(),
            Some(peer) => ours.zip(values(peer)?).map(ratio).collect(),
        };
        Spread::of(values?)
    }

    /// All comparisons: those with a goal first, if payloads have the `size` that goals are for.
    pub(crate) fn entries(&self, size: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        let contenders = || self.samples.iter().map(|(contender, _)| *contender);
        if size == goals::SIZE {
            for goal in GOALS {
                for contender in contenders().filter(|&contender| goal.is_for(self.work, contender))
                {
                    let peer = goal.peer.map(|kind| contender.peer(kind));
                    entries.extend(self.entry(
                        contender,
                        peer,
                        goal.metric,
                        Some((goal.row, goal.bound)),
                    ));
                }
            }
        }
        for contender in contenders() {
            for &metric in self.work.metrics() {
                let peer = metric
                    .is_compared()
                    .then(|| contender.peer(self.usual_peer()));
                let same = |entry: &Entry| entry.is(contender, peer, metric);
                if peer != Some(contender) && !entries.iter().any(same) {
                    entries.extend(self.entry(contender, peer, metric, None));
                }
            }
        }
        entries
    }

    fn entry(
        &self,
        contender: Contender,
        peer: Option<Contender>,
        metric: Metric,
        goal: Option<(u32, Bound)>,
    ) -> Option<Entry> {
        let spread = self.spread(contender, peer, metric)?;
        Some(Entry {
            work: self.work,
            contender,
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
    if metric.is_compared() { 29 } else { 15 }
}
