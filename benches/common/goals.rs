//! The goals: what our contenders should reach, beside which peer.

use std::fmt;

use super::contender::{Contender, Kind, Runtime};
use super::job::Work;
use super::sample::Metric;

use Bound::{AtLeast, AtMost};
use Kind::{CLoop, Future, FutureSend, Ours, OursDetached, OursSend, Threaded};
use Metric::{
    AllocationsPerMessage, CpuPerMillion, IdleCpuOther, Instructions, P50, Rate, RssAboveCLoop,
    SwitchesOther, ThreadsOther,
};
use Runtime::{Ct, Mt, MtBlockOn};

/// The payload, in bytes, for which the goals were set.
pub(crate) const SIZE: usize = 100;

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

/// One goal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    /// The goal's number in the project's list.
    pub(crate) row: u32,
    work: Work,
    kind: Kind,
    /// `None` stands for any.
    runtime: Option<Runtime>,
    pub(crate) metric: Metric,
    /// `None` where the value itself is bounded.
    pub(crate) peer: Option<Kind>,
    pub(crate) bound: Bound,
}

impl Goal {
    /// Whether the goal is about this contender at this work.
    pub(crate) fn is_for(&self, work: Work, contender: Contender) -> bool {
        let runtime = self.runtime.is_none() || self.runtime == contender.runtime;
        self.work == work && self.kind == contender.kind && runtime
    }
}

/// No allocation but what a growing buffer makes now and then.
const NO_ALLOCATION: Bound = AtMost(0.001);

/// All goals, by row. A runtime of `None` stands for any, a peer of `None` bounds the value itself.
///
/// Row 4 leaves `ours-send` out: `buffer_unordered` itself allocates once per future.
#[rustfmt::skip]
pub(crate) const GOALS: [Goal; 19] = [
    goal(1, Work::Instructions, Ours, None, Instructions, Some(CLoop), AtMost(1.08)),
    goal(1, Work::Instructions, Ours, None, Instructions, Some(Future), AtMost(0.70)),
    goal(1, Work::Instructions, OursSend, None, Instructions, Some(FutureSend), AtMost(0.66)),
    goal(2, Work::Window, Ours, None, Rate, Some(Future), AtLeast(2.0)),
    goal(2, Work::Window, Ours, None, Rate, Some(CLoop), AtLeast(0.95)),
    goal(2, Work::Window, Ours, None, CpuPerMillion, Some(Future), AtMost(0.50)),
    goal(3, Work::Detached, OursDetached, None, Rate, Some(Threaded), AtLeast(1.1)),
    goal(3, Work::Detached, OursDetached, None, Rate, Some(CLoop), AtLeast(0.97)),
    goal(3, Work::Instructions, OursDetached, None, Instructions, Some(CLoop), AtMost(1.04)),
    goal(4, Work::Window, Ours, None, AllocationsPerMessage, None, AtMost(1.0)),
    goal(4, Work::Detached, OursDetached, None, AllocationsPerMessage, None, NO_ALLOCATION),
    goal(7, Work::Latency, Ours, Some(Ct), P50, Some(Future), AtMost(0.92)),
    goal(7, Work::Latency, Ours, Some(Ct), P50, Some(CLoop), AtMost(1.10)),
    goal(7, Work::Latency, Ours, Some(Mt), P50, Some(Future), AtMost(1.0)),
    goal(7, Work::Latency, Ours, Some(MtBlockOn), P50, Some(Future), AtMost(1.05)),
    goal(8, Work::Idle, Ours, None, ThreadsOther, None, AtMost(0.0)),
    goal(8, Work::Idle, Ours, None, SwitchesOther, None, AtMost(0.0)),
    goal(8, Work::Idle, Ours, None, IdleCpuOther, None, AtMost(2.0)),
    goal(11, Work::Memory, Ours, None, RssAboveCLoop, Some(Future), AtMost(0.35)),
];

const fn goal(
    row: u32,
    work: Work,
    kind: Kind,
    runtime: Option<Runtime>,
    metric: Metric,
    peer: Option<Kind>,
    bound: Bound,
) -> Goal {
    Goal {
        row,
        work,
        kind,
        runtime,
        metric,
        peer,
        bound,
    }
}
