//! The samples of all rounds, compared: as a table, against the goals, and as JSON.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::contender::{Contender, Kind};
use super::goals::{self, Bound, GOALS};
use super::job::Work;
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

    /// Whether a value of `metric` is such.
    pub(crate) fn any(&self, metric: Metric, is_such: impl Fn(f64) -> bool) -> bool {
        self.samples
            .iter()
            .flat_map(|(_, samples)| samples)
            .filter_map(|sample| sample.get(metric))
            .any(is_such)
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
            self.samples
                .iter()
                .find(|(other, _)| *other == contender)
                .map(|(_, samples)| samples)
        };
        let ours = values(contender)?.iter().map(|sample| sample.get(metric));
        match peer {
            None => Spread::of(ours.collect::<Option<_>>()?),
            Some(peer) => {
                let theirs = values(peer)?.iter().map(|sample| sample.get(metric));
                Spread::of(
                    ours.zip(theirs)
                        .map(|(ours, theirs)| Some(ours? / theirs?))
                        .collect::<Option<_>>()?,
                )
            }
        }
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

/// One comparison, or without a peer one value.
pub(crate) struct Entry {
    work: Work,
    contender: Contender,
    peer: Option<Contender>,
    metric: Metric,
    spread: Spread,
    /// The row in the project's list of goals, and the bound.
    goal: Option<(u32, Bound)>,
}

impl Entry {
    fn is(&self, contender: Contender, peer: Option<Contender>, metric: Metric) -> bool {
        (self.contender, self.peer, self.metric) == (contender, peer, metric)
    }

    fn is_met(&self) -> Option<bool> {
        self.goal.map(|(_, bound)| bound.is_met(self.spread.median))
    }

    /// A JSON object. All strings are names of ours, which need no escaping.
    fn to_json(&self) -> String {
        let Self {
            work,
            contender,
            peer,
            metric,
            spread,
            goal,
        } = self;
        let Spread { median, low, high } = spread;
        let or_null = |text: Option<String>| text.unwrap_or_else(|| "null".to_owned());
        let row = or_null(goal.map(|(row, _)| row.to_string()));
        let peer = or_null(peer.map(|peer| format!("\"{peer}\"")));
        let bound = or_null(goal.map(|(_, bound)| format!("\"{bound}\"")));
        let met = or_null(self.is_met().map(|met| met.to_string()));
        let [ratio, low, high] =
            [median, low, high].map(|value| or_null(value.is_finite().then(|| value.to_string())));
        format!(
            r#"{{"row": {row}, "work": "{work}", "contender": "{contender}", "peer": {peer}, "metric": "{metric}", "ratio": {ratio}, "low": {low}, "high": {high}, "goal": {bound}, "met": {met}}}"#
        )
    }
}

/// Prints which goals are met.
pub(crate) fn print_goals(entries: &[Entry]) {
    for entry in entries {
        let (Some((row, bound)), Some(met)) = (entry.goal, entry.is_met()) else {
            continue;
        };
        let peer = entry
            .peer
            .map(|peer| format!(" × {peer}"))
            .unwrap_or_default();
        let Entry {
            contender,
            metric,
            spread,
            ..
        } = entry;
        let verdict = if met { "met" } else { "MISSED" };
        println!(
            "goal {row}: {contender} {metric} {bound}{peer}: {:.3}, {verdict}",
            spread.median
        );
    }
}

/// Writes `target/bench-report.json`; a later run overwrites it.
pub(crate) fn write(entries: &[Entry]) {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let file = target.join("bench-report.json");
    let objects: Vec<_> = entries.iter().map(Entry::to_json).collect();
    let json = format!("[\n  {}\n]\n", objects.join(",\n  "));
    match std::fs::create_dir_all(&target).and_then(|()| std::fs::write(&file, json)) {
        Ok(()) => println!("\nReport: {}", file.display()),
        Err(error) => eprintln!("{}: {error}", file.display()),
    }
}

/// The middle and the ends of some values.
#[derive(Clone, Copy, Debug)]
struct Spread {
    median: f64,
    low: f64,
    high: f64,
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
