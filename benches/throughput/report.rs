//! Comparisons against the goals, and as JSON.

use std::fmt;
use std::path::PathBuf;

use super::contender::Entrant;
use super::goals::Goal;
use super::results::Spread;
use super::sample::Metric;

/// One comparison, or without a peer one value.
pub(crate) struct Entry {
    pub(crate) entrant: Entrant,
    pub(crate) peer: Option<Entrant>,
    pub(crate) metric: Metric,
    pub(crate) spread: Spread,
    pub(crate) goal: Option<Goal>,
}

impl Entry {
    /// Whether it is this comparison.
    pub(crate) fn is(&self, entrant: &Entrant, peer: Option<&Entrant>, metric: Metric) -> bool {
        (&self.entrant, self.peer.as_ref(), self.metric) == (entrant, peer, metric)
    }

    /// Whether the goal is met; `None` if there is no goal.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.goal.map(|goal| goal.bound.is_met(self.spread.median))
    }

    /// The peer, with its case if that is another.
    fn peer(&self) -> Option<String> {
        let Entrant { contender, case } = self.peer?;
        Some(if case == self.entrant.case {
            contender.to_string()
        } else {
            format!("{contender} ({case})")
        })
    }

    /// A JSON object. All strings are names of ours, which need no escaping.
    fn to_json(&self) -> String {
        let Entrant { contender, case } = self.entrant;
        let Self {
            metric,
            spread: Spread { median, low, high },
            goal,
            ..
        } = self;
        let or_null = |text: Option<String>| text.unwrap_or_else(|| "null".to_owned());
        let row = or_null(goal.map(|goal| goal.row.to_string()));
        let work = case.work;
        let peer = or_null(self.peer().map(|peer| format!("\"{peer}\"")));
        let bound = or_null(goal.map(|goal| format!("\"{}\"", goal.bound)));
        let met = or_null(self.is_met().map(|met| met.to_string()));
        let [ratio, low, high] =
            [median, low, high].map(|value| or_null(value.is_finite().then(|| value.to_string())));
        format!(
            r#"{{"row": {row}, "work": "{work}", "case": "{case}", "contender": "{contender}", "peer": {peer}, "metric": "{metric}", "ratio": {ratio}, "low": {low}, "high": {high}, "goal": {bound}, "met": {met}}}"#
        )
    }
}

/// What the goal was, what it came to and whether it is met: `goal 2: ours:ct (100 B) rate >= 2 × future:ct: 2.31 (2.1–2.5), met`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((goal, met)) = self.goal.zip(self.is_met()) else {
            return Ok(());
        };
        let Entrant { contender, case } = self.entrant;
        let Spread { median, low, high } = self.spread;
        let (row, metric, bound) = (goal.row, self.metric, goal.bound);
        let times = self.peer().map(|peer| format!(" × {peer}"));
        let (times, verdict) = (
            times.unwrap_or_default(),
            if met { "met" } else { "MISSED" },
        );
        write!(
            f,
            "{row}: {contender} ({case}) {metric} {bound}{times}: {median:.3} ({low:.3}–{high:.3}), {verdict}"
        )
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
