//! Compares the results with the goals and with the usual peers.

use crate::jobs::entrant::Entrant;
use crate::measure::metric::Metric;
use crate::report::comparison::Comparison;
use crate::report::results::Results;
use crate::tables::columns;
use crate::tables::goal::Goal;

/// Returns all comparisons. Those that `goals` ask for come first.
pub(crate) fn of(results: &Results, goals: &[Goal]) -> Vec<Comparison> {
    let mut all = Vec::new();
    for goal in goals {
        for entrant in results.entrants().filter(|entrant| goal.is_for(entrant)) {
            let peer = goal.peer(&entrant);
            all.extend(compare(results, entrant, peer, goal.metric, Some(*goal)));
        }
    }
    for entrant in results.entrants() {
        for &metric in columns::metrics(results.work()) {
            let peer = columns::usual_peer(&entrant);
            let peer = metric.is_compared().then_some(peer);
            let same = |other: &Comparison| other.is(&entrant, peer.as_ref(), metric);
            if peer != Some(entrant) && !all.iter().any(same) {
                all.extend(compare(results, entrant, peer, metric, None));
            }
        }
    }
    all
}

fn compare(
    results: &Results,
    entrant: Entrant,
    peer: Option<Entrant>,
    metric: Metric,
    goal: Option<Goal>,
) -> Option<Comparison> {
    let spread = results.spread(&entrant, peer.as_ref(), metric)?;
    Some(Comparison {
        entrant,
        peer,
        metric,
        spread,
        goal,
    })
}
