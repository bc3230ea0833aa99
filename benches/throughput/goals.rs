//! The goals: what our contenders should reach, beside which peer.

use std::fmt;

use super::contender::{Entrant, Kind, Runtime};
use super::job::Case;
use super::sample::Metric;
use super::work::Work;

use Bound::{AtLeast, AtMost};
use Kind::{
    CLoop, Future, FutureSend, Ours, OursBytes, OursDetached, OursDetachedByName, OursSend,
    OursSendAll, OursSink, OursStream, Threaded,
};
use Metric::{
    AllocationsPerMessage, CopiesAboveCLoop, CpuPerMillion, IdleCpuOther, Instructions, P50, P99,
    Rate, RssAboveCLoop, ShareOfAllowed, SwitchesOther, ThreadsOther,
};
use Peer::{ItselfAt, Nobody, Of};
use Runtime::{Ct, Mt, MtBlockOn};
use When::{Always, Tasks, Topics};

/// The usual payload, in bytes.
pub(crate) const SIZE: usize = 100;
const KIB: usize = 1024;

/// A limit on a ratio, or on a value where there is no peer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub(crate) fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
            Self::AtMost(bound) => write!(f, "<= {bound}"),
        }
    }
}

/// What a measured value is divided by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    /// Nothing: the value itself is bounded
    Nobody,
    /// Another contender's, on the same runtime
    Of(Kind),
    /// The contender's own, in another case
    ItselfAt(When),
}

/// Cases, by what distinguishes them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Always,
    Tasks(u64),
    Topics(usize),
}

impl When {
    fn is(self, case: &Case) -> bool {
        match self {
            Always => true,
            Tasks(tasks) => case.tasks == tasks,
            Topics(topics) => case.topics == topics,
        }
    }

    fn applied_to(self, case: Case) -> Case {
        match self {
            Always => case,
            Tasks(tasks) => Case { tasks, ..case },
            Topics(topics) => Case { topics, ..case },
        }
    }
}

/// One goal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    /// The goal's number in the project's list.
    pub(crate) row: u32,
    pub(crate) work: Work,
    /// Bytes of a payload.
    size: usize,
    when: When,
    kind: Kind,
    /// `None` stands for any.
    runtime: Option<Runtime>,
    pub(crate) metric: Metric,
    peer: Peer,
    pub(crate) bound: Bound,
}

impl Goal {
    /// Whether the goal is about this case, or about another of the same work and size.
    pub(crate) fn is_about(&self, case: &Case) -> bool {
        (self.work, self.size) == (case.work, case.size)
    }

    /// Whether the goal is for this entrant.
    pub(crate) fn is_for(&self, entrant: &Entrant) -> bool {
        let Entrant { contender, case } = entrant;
        self.is_about(case)
            && self.when.is(case)
            && self.kind == contender.kind
            && (self.runtime.is_none() || self.runtime == contender.runtime)
    }

    /// With whom the goal compares an entrant.
    pub(crate) fn peer(&self, entrant: &Entrant) -> Option<Entrant> {
        match self.peer {
            Nobody => None,
            Of(kind) => Some(entrant.peer(kind)),
            ItselfAt(when) => Some(Entrant {
                case: when.applied_to(entrant.case),
                ..*entrant
            }),
        }
    }

    /// Whether the goal is for this entrant, or compares one of `all` with it.
    pub(crate) fn needs(&self, entrant: &Entrant, all: &[Entrant]) -> bool {
        let compared = |other: &Entrant| self.is_for(other) && self.peer(other) == Some(*entrant);
        self.is_for(entrant) || all.iter().any(compared)
    }

    /// The same, for some cases only.
    pub(crate) const fn when(self, when: When) -> Self {
        Self { when, ..self }
    }

    /// The same, on one runtime only.
    pub(crate) const fn on(self, runtime: Runtime) -> Self {
        Self {
            runtime: Some(runtime),
            ..self
        }
    }
}

/// No allocation but what a growing buffer makes now and then.
const NO_ALLOCATION: Bound = AtMost(0.001);

/// Less than the C loop has, by one copy of the payloads in flight; a tenth is for what a message takes besides.
const ONE_COPY_LESS: Bound = AtMost(-0.9);

/// All goals, by row.
///
/// Row 4 leaves `ours-send` out: `buffer_unordered` itself allocates once per future.
#[rustfmt::skip]
pub(crate) const GOALS: [Goal; 54] = [
    goal(1, Work::Instructions, SIZE, Ours, Instructions, Of(CLoop), AtMost(1.08)),
    goal(1, Work::Instructions, SIZE, Ours, Instructions, Of(Future), AtMost(0.70)),
    goal(1, Work::Instructions, SIZE, OursSend, Instructions, Of(FutureSend), AtMost(0.66)),
    goal(2, Work::Window, SIZE, Ours, Rate, Of(Future), AtLeast(2.0)),
    goal(2, Work::Window, SIZE, Ours, Rate, Of(CLoop), AtLeast(0.95)),
    goal(2, Work::Window, SIZE, Ours, CpuPerMillion, Of(Future), AtMost(0.50)),
    goal(2, Work::Window, KIB, OursBytes, Rate, Of(Future), AtLeast(1.6)),
    goal(2, Work::Window, KIB, OursBytes, Rate, Of(CLoop), AtLeast(0.95)),
    goal(2, Work::Window, KIB, OursBytes, CpuPerMillion, Of(Future), AtMost(0.50)),
    goal(3, Work::Detached, SIZE, OursDetached, Rate, Of(Threaded), AtLeast(1.1)),
    goal(3, Work::Detached, SIZE, OursDetached, Rate, Of(CLoop), AtLeast(0.97)),
    goal(3, Work::Instructions, SIZE, OursDetached, Instructions, Of(CLoop), AtMost(1.04)),
    goal(4, Work::Window, SIZE, Ours, AllocationsPerMessage, Nobody, AtMost(1.0)),
    goal(4, Work::Detached, SIZE, OursDetached, AllocationsPerMessage, Nobody, NO_ALLOCATION),
    goal(5, Work::Topics, SIZE, OursDetachedByName, Rate, ItselfAt(Topics(1)), AtLeast(0.9)).when(Topics(1_000)),
    goal(6, Work::Full, SIZE, OursSend, ShareOfAllowed, Nobody, AtLeast(0.9)),
    goal(6, Work::Full, SIZE, OursSend, P99, Of(FutureSend), AtMost(0.15)),
    goal(6, Work::Full, SIZE, OursSend, CpuPerMillion, ItselfAt(Tasks(1_000)), AtMost(2.0)).when(Tasks(20_000)),
    goal(7, Work::Latency, SIZE, Ours, P50, Of(Future), AtMost(0.92)).on(Ct),
    goal(7, Work::Latency, SIZE, Ours, P50, Of(CLoop), AtMost(1.10)).on(Ct),
    goal(7, Work::Latency, SIZE, Ours, P50, Of(Future), AtMost(1.0)).on(Mt),
    goal(7, Work::Latency, SIZE, Ours, P50, Of(Future), AtMost(1.05)).on(MtBlockOn),
    goal(8, Work::Idle, SIZE, Ours, ThreadsOther, Nobody, AtMost(0.0)),
    goal(8, Work::Idle, SIZE, Ours, SwitchesOther, Nobody, AtMost(0.0)),
    goal(8, Work::Idle, SIZE, Ours, IdleCpuOther, Nobody, AtMost(2.0)),
    goal(9, Work::Bytes, KIB, OursBytes, CpuPerMillion, Of(Future), AtMost(0.60)),
    goal(9, Work::Bytes, 10 * KIB, OursBytes, CpuPerMillion, Of(Future), AtMost(0.65)),
    goal(9, Work::Bytes, 100 * KIB, OursBytes, CpuPerMillion, Of(Future), AtMost(0.65)),
    goal(9, Work::Memory, KIB, OursBytes, CopiesAboveCLoop, Nobody, ONE_COPY_LESS),
    goal(9, Work::Memory, 10 * KIB, OursBytes, CopiesAboveCLoop, Nobody, ONE_COPY_LESS),
    goal(9, Work::Memory, 100 * KIB, OursBytes, CopiesAboveCLoop, Nobody, ONE_COPY_LESS),
    // In microseconds.
    goal(10, Work::Flush, SIZE, Ours, P50, Nobody, AtMost(10_000.0)),
    goal(11, Work::Memory, SIZE, Ours, RssAboveCLoop, Of(Future), AtMost(0.35)),
    goal(12, Work::Tasks, SIZE, Ours, Rate, Of(CLoop), AtLeast(0.9)),
    goal(12, Work::Tasks, SIZE, Ours, Rate, Of(Future), AtLeast(1.7)).when(Tasks(4)),
    goal(13, Work::Kafka, SIZE, Ours, CpuPerMillion, Of(Future), AtMost(0.48)),
    goal(13, Work::Kafka, SIZE, Ours, CpuPerMillion, Of(CLoop), AtMost(1.15)),
    goal(13, Work::Kafka, SIZE, Ours, Rate, Of(CLoop), AtLeast(0.97)),
    goal(13, Work::Kafka, SIZE, Ours, Rate, Of(Future), AtLeast(1.0)),
    goal(13, Work::Kafka, KIB, OursBytes, CpuPerMillion, Of(Future), AtMost(0.60)),
    goal(13, Work::Kafka, KIB, OursBytes, CpuPerMillion, Of(CLoop), AtMost(0.95)),
    goal(13, Work::Kafka, KIB, OursBytes, Rate, Of(CLoop), AtLeast(0.97)),
    goal(13, Work::Kafka, KIB, OursBytes, Rate, Of(Future), AtLeast(1.0)),
    goal(14, Work::Instructions, SIZE, OursSendAll, Instructions, Of(CLoop), AtMost(1.03)),
    goal(14, Work::Instructions, SIZE, OursSink, Instructions, Of(CLoop), AtMost(1.08)),
    goal(14, Work::Window, SIZE, OursSink, Rate, Of(Ours), AtLeast(0.95)),
    goal(14, Work::Window, SIZE, OursStream, Rate, Of(Ours), AtLeast(0.9)),
    goal(14, Work::Window, SIZE, OursSink, AllocationsPerMessage, Nobody, NO_ALLOCATION),
    goal(14, Work::Window, SIZE, OursStream, AllocationsPerMessage, Nobody, NO_ALLOCATION),
    goal(14, Work::Window, SIZE, OursSendAll, AllocationsPerMessage, Nobody, NO_ALLOCATION),
    // P50 and P99 are those of commits.
    goal(15, Work::Transactions, SIZE, Ours, Rate, Of(Future), AtLeast(0.97)),
    goal(15, Work::Transactions, SIZE, Ours, Rate, Of(Threaded), AtLeast(0.97)),
    goal(15, Work::Transactions, SIZE, Ours, P50, Of(Future), AtMost(1.05)),
    goal(15, Work::Transactions, SIZE, Ours, P50, Of(Threaded), AtMost(1.05)),
];

/// A goal on any runtime.
pub(crate) const fn goal(
    row: u32,
    work: Work,
    size: usize,
    kind: Kind,
    metric: Metric,
    peer: Peer,
    bound: Bound,
) -> Goal {
    Goal {
        row,
        work,
        size,
        when: Always,
        kind,
        runtime: None,
        metric,
        peer,
        bound,
    }
}
