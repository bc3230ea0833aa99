//! One comparison, as a line of text and as JSON.

use std::fmt;

use crate::jobs::entrant::Entrant;
use crate::measure::metric::Metric;
use crate::report::spread::Spread;
use crate::tables::goal::Goal;

/// A comparison of an entrant with a peer. Without a peer, the value of the entrant.
pub(crate) struct Comparison {
    pub(crate) entrant: Entrant,
    pub(crate) peer: Option<Entrant>,
    pub(crate) metric: Metric,
    pub(crate) spread: Spread,
    pub(crate) goal: Option<Goal>,
}

impl Comparison {
    /// Returns true if it is this comparison.
    pub(crate) fn is(&self, entrant: &Entrant, peer: Option<&Entrant>, metric: Metric) -> bool {
        (&self.entrant, self.peer.as_ref(), self.metric) == (entrant, peer, metric)
    }

    /// Returns true if the goal is met, `None` if there is no goal.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.goal.map(|goal| goal.bound.is_met(self.spread.median))
    }

    /// Returns the name of the peer, with its case if that differs.
    fn peer(&self) -> Option<String> {
        let Entrant { contender, case } = self.peer?;
        Some(if case == self.entrant.case {
            contender.to_string()
        } else {
            format!("{contender} ({case})")
        })
    }

    /// Returns a JSON object. Its strings are names from this program, which need no escaping.
    pub(crate) fn to_json(&self) -> String {
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

/// Writes the goal, the value and whether the goal is met:
/// `2: ours:ct (100 B) rate >= 2 × future:ct: 2.31 (2.1–2.5), met`. Writes nothing without a goal.
impl fmt::Display for Comparison {
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
