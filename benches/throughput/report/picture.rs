//! A picture of the CPU time of each contender: an SVG with a bar for each.

use std::fmt::Write as _;

use crate::jobs::contender_name::{ContenderName, Kind, Runtime};
use crate::measure::metric::Metric;
use crate::report::results::Results;

const WIDTH: f64 = 760.0;
const BAR: f64 = 26.0;
/// Where bars begin: names stand before them.
const LEFT: f64 = 270.0;
/// The room for the value behind the longest bar.
const VALUE: f64 = 70.0;
const TOP: f64 = 48.0;

/// Draws the first case of the results. Returns `None` if its CPU time was not measured.
pub(crate) fn draw(results: &Results) -> Option<String> {
    let case = results.entrants().next()?.case;
    let bars: Vec<_> = results
        .entrants()
        .filter(|entrant| entrant.case == case)
        .filter_map(|entrant| {
            let spread = results.spread(&entrant, None, Metric::CpuPerMillion)?;
            Some((entrant.contender, spread.median))
        })
        .collect();
    let longest = bars.iter().map(|(_, value)| *value).reduce(f64::max)?;
    let height = TOP + BAR * bars.len() as f64 + 12.0;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="12" y="28" font-size="15">CPU seconds of the client per million records of {case} ({}); shorter is better</text>
"##,
        results.work()
    );
    for (index, (contender, value)) in bars.into_iter().enumerate() {
        let y = TOP + BAR * index as f64;
        let length = (WIDTH - LEFT - VALUE) * value / longest;
        let fill = if is_ours(contender) {
            "#c2410c"
        } else {
            "#94a3b8"
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            svg,
            r#"<text x="{}" y="{}" text-anchor="end">{}</text><rect x="{LEFT}" y="{y}" width="{length:.1}" height="{}" fill="{fill}"/><text x="{:.1}" y="{}">{value:.2}</text>"#,
            LEFT - 8.0,
            y + 15.0,
            name(contender),
            BAR - 6.0,
            LEFT + length + 6.0,
            y + 15.0,
        );
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

fn is_ours(contender: ContenderName) -> bool {
    !matches!(
        contender.kind,
        Kind::CLoop | Kind::Threaded | Kind::Future | Kind::FutureSend
    )
}

/// Returns the name that a reader knows who has not seen the command line.
fn name(ContenderName { kind, runtime }: ContenderName) -> String {
    let kind = match kind {
        Kind::CLoop => "librdkafka, a loop in C".to_owned(),
        Kind::Threaded => "rdkafka ThreadedProducer".to_owned(),
        Kind::Future => "rdkafka FutureProducer".to_owned(),
        Kind::FutureSend => "rdkafka FutureProducer::send".to_owned(),
        Kind::Ours => "tokio-rdkafka".to_owned(),
        Kind::OursSend => "tokio-rdkafka send".to_owned(),
        Kind::OursSendAll => "tokio-rdkafka send_all".to_owned(),
        other => format!("tokio-rdkafka ({other})"),
    };
    match runtime {
        None => kind,
        Some(Runtime::Ct) => format!("{kind}, one thread"),
        Some(Runtime::Mt) => format!("{kind}, two workers"),
        Some(Runtime::MtBlockOn) => format!("{kind}, block_on"),
    }
}
