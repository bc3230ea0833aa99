//! The columns of each work's table, and the peer that its ratios divide by.

use crate::jobs::case::Case;
use crate::jobs::contender_name::Kind;
use crate::jobs::entrant::Entrant;
use crate::jobs::work::Work;
use crate::measure::metric::Metric;

/// Returns the metrics that the table of `work` shows.
pub(crate) fn metrics(work: Work) -> &'static [Metric] {
    match work {
        Work::Window | Work::Detached => &[
            Metric::Rate,
            Metric::CpuPerMillion,
            Metric::AllocationsPerMessage,
            Metric::PeakRss,
        ],
        Work::Bytes | Work::Topics | Work::Tasks | Work::Kafka => {
            &[Metric::Rate, Metric::CpuPerMillion, Metric::PeakRss]
        }
        Work::Full => &[
            Metric::Rate,
            Metric::ShareOfAllowed,
            Metric::P50,
            Metric::P99,
            Metric::CpuPerMillion,
        ],
        Work::Transactions => &[
            Metric::Rate,
            Metric::P50,
            Metric::P99,
            Metric::CpuPerMillion,
        ],
        Work::Concurrent | Work::Paced => &[
            Metric::Rate,
            Metric::P50,
            Metric::P99,
            Metric::CpuPerMillion,
        ],
        Work::Latency => &[Metric::P50, Metric::P99, Metric::CpuPerMillion],
        Work::Flush => &[Metric::P50, Metric::P99],
        Work::Idle => &[
            Metric::ThreadsLibrdkafka,
            Metric::ThreadsTokio,
            Metric::ThreadsOther,
            Metric::SwitchesLibrdkafka,
            Metric::SwitchesOther,
            Metric::IdleCpuLibrdkafka,
            Metric::IdleCpuOther,
        ],
        Work::Memory => &[
            Metric::PeakRss,
            Metric::RssAboveCLoop,
            Metric::CopiesAboveCLoop,
        ],
        Work::Instructions => &[Metric::Instructions],
    }
}

/// Returns the peer of `entrant` if no goal names another.
pub(crate) fn usual_peer(entrant: &Entrant) -> Entrant {
    match entrant.case.work {
        Work::Topics => Entrant {
            case: Case {
                topics: 1,
                ..entrant.case
            },
            ..*entrant
        },
        Work::Detached => entrant.peer(Kind::Threaded),
        Work::Full | Work::Concurrent | Work::Paced => entrant.peer(Kind::FutureSend),
        _ => entrant.peer(Kind::Future),
    }
}

/// Returns the name of the usual peer in the table of `work`.
pub(crate) fn usual_peer_name(work: Work) -> &'static str {
    match work {
        Work::Topics => "itself with one topic",
        Work::Detached => "threaded",
        Work::Full | Work::Concurrent | Work::Paced => "future-send",
        _ => "future",
    }
}
