//! Tables of the results: one for each case, with a line per contender and a column per metric.

use std::fmt::Write as _;

use crate::jobs::case::Case;
use crate::jobs::entrant::Entrant;
use crate::measure::metric::Metric;
use crate::report::results::Results;
use crate::report::spread::Spread;
use crate::tables::columns;

/// Returns the tables of all cases.
pub(crate) fn tables(results: &Results) -> String {
    let mut cases: Vec<_> = results.entrants().map(|entrant| entrant.case).collect();
    cases.dedup();
    let tables: Vec<_> = cases.iter().map(|case| table(results, case)).collect();
    tables.join("\n\n")
}

fn table(results: &Results, case: &Case) -> String {
    let work = results.work();
    let (metrics, peer) = (columns::metrics(work), columns::usual_peer_name(work));
    let mut table = format!(
        "{work}, {case} (ratios: × {peer}, median, lowest – highest)\n{:<24}",
        ""
    );
    for &metric in metrics {
        let _ = write!(table, "{:>1$}", metric.heading(), width(metric));
    }
    for entrant in results.entrants().filter(|entrant| entrant.case == *case) {
        let _ = write!(table, "\n{:<24}", entrant.contender);
        for &metric in metrics {
            let cell = cell(results, &entrant, metric);
            let _ = write!(table, "{cell:>0$}", width(metric));
        }
    }
    table
}

fn cell(results: &Results, entrant: &Entrant, metric: Metric) -> String {
    let Some(Spread { median, .. }) = results.spread(entrant, None, metric) else {
        return "–".to_owned();
    };
    let value = format!("{:.*}", metric.decimals(), median);
    let ratio = if metric.is_compared() {
        let peer = columns::usual_peer(entrant);
        results.spread(entrant, Some(&peer), metric)
    } else {
        None
    };
    ratio.map_or(value.clone(), |Spread { median, low, high }| {
        format!("{value} ×{median:.2} ({low:.2}–{high:.2})")
    })
}

/// Returns the width of a metric's column.
fn width(metric: Metric) -> usize {
    if metric.is_compared() { 29 } else { 18 }
}
