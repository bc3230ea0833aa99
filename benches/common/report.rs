//! Comparisons against the goals, and as JSON.

use std::path::PathBuf;

use super::contender::Contender;
use super::goals::Bound;
use super::job::Work;
use super::results::Spread;
use super::sample::Metric;

/// One comparison, or without a peer one value.
pub(crate) struct Entry {
    pub(crate) work: Work,
    pub(crate) contender: Contender,
    pub(crate) peer: Option<Contender>,
    pub(crate) metric: Metric,
    pub(crate) spread: Spread,
    /// The row in the project's list of goals, and the bound.
    pub(crate) goal: Option<(u32, Bound)>,
}

impl Entry {
    /// Whether it is this comparison.
    pub(crate) fn is(&self, contender: Contender, peer: Option<Contender>, metric: Metric) -> bool {
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
