//! The samples of all rounds.

use crate::jobs::contender_name::Kind;
use crate::jobs::entrant::Entrant;
use crate::jobs::work::Work;
use crate::measure::metric::Metric;
use crate::measure::sample::Sample;
use crate::report::spread::Spread;

/// The samples of all rounds of one work.
pub(crate) struct Results {
    work: Work,
    /// The samples of each entrant, by round.
    samples: Vec<(Entrant, Vec<Sample>)>,
}

impl Results {
    /// Creates results without samples.
    pub(crate) fn new(work: Work, entrants: &[Entrant]) -> Self {
        Self {
            work,
            samples: entrants
                .iter()
                .map(|&entrant| (entrant, Vec::new()))
                .collect(),
        }
    }

    /// Adds the sample of one more round of the entrant at `index`.
    pub(crate) fn push(&mut self, index: usize, sample: Sample) {
        self.samples[index].1.push(sample);
    }

    /// Adds a value that was measured once, to all rounds of the entrant at `index`.
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

    /// Returns the highest value of `metric` in any run.
    pub(crate) fn highest(&self, metric: Metric) -> Option<f64> {
        let samples = self.samples.iter().flat_map(|(_, samples)| samples);
        samples
            .filter_map(|sample| sample.get(metric))
            .max_by(f64::total_cmp)
    }

    /// Returns the work that was measured.
    pub(crate) fn work(&self) -> Work {
        self.work
    }

    /// Returns all entrants, in their order.
    pub(crate) fn entrants(&self) -> impl Iterator<Item = Entrant> {
        self.samples.iter().map(|(entrant, _)| *entrant)
    }

    /// Returns the spread of a metric, or of its ratios to those of a peer in the same round.
    pub(crate) fn spread(
        &self,
        entrant: &Entrant,
        peer: Option<&Entrant>,
        metric: Metric,
    ) -> Option<Spread> {
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
}
