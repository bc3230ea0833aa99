//! A goal: a limit on what a contender measures, on its own or as a ratio to a peer.

use std::fmt;

use crate::jobs::case::Case;
use crate::jobs::contender_name::{Kind, Runtime};
use crate::jobs::entrant::Entrant;
use crate::jobs::work::Work;
use crate::measure::metric::Metric;

/// A limit on a ratio, or on a value if there is no peer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    /// Returns true if `value` is within the limit.
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
    /// Nothing: the limit is on the value itself.
    Nobody,
    /// The value of another contender on the same runtime.
    Of(Kind),
    /// The value of the same contender in another case.
    ItselfAt(When),
}

/// Selects cases of a work and a size.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Always,
    Tasks(u64),
    Topics(usize),
    Idempotent(bool),
}

impl When {
    fn selects(self, case: &Case) -> bool {
        match self {
            Self::Always => true,
            Self::Tasks(tasks) => case.tasks == tasks,
            Self::Topics(topics) => case.topics == topics,
            Self::Idempotent(idempotent) => case.idempotent == idempotent,
        }
    }

    fn applied_to(self, case: Case) -> Case {
        match self {
            Self::Always => case,
            Self::Tasks(tasks) => Case { tasks, ..case },
            Self::Topics(topics) => Case { topics, ..case },
            Self::Idempotent(idempotent) => Case { idempotent, ..case },
        }
    }
}

/// A limit on what an entrant measures: one goal, or one guard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    /// The goal's number in the project's list of goals.
    pub(crate) row: u32,
    pub(crate) work: Work,
    /// Bytes of a payload.
    size: usize,
    when: When,
    kind: Kind,
    /// `None` selects every runtime.
    runtime: Option<Runtime>,
    pub(crate) metric: Metric,
    peer: Peer,
    pub(crate) bound: Bound,
}

impl Goal {
    /// Returns true if the goal is for the work and the size of `case`.
    pub(crate) fn is_about(&self, case: &Case) -> bool {
        (self.work, self.size) == (case.work, case.size)
    }

    /// Returns true if the goal is for `entrant`.
    pub(crate) fn is_for(&self, entrant: &Entrant) -> bool {
        let Entrant { contender, case } = entrant;
        self.is_about(case)
            && self.when.selects(case)
            && self.kind == contender.kind
            && (self.runtime.is_none() || self.runtime == contender.runtime)
    }

    /// Returns the peer that the goal compares `entrant` with.
    pub(crate) fn peer(&self, entrant: &Entrant) -> Option<Entrant> {
        match self.peer {
            Peer::Nobody => None,
            Peer::Of(kind) => Some(entrant.peer(kind)),
            Peer::ItselfAt(when) => Some(Entrant {
                case: when.applied_to(entrant.case),
                ..*entrant
            }),
        }
    }

    /// Returns true if the goal is for `entrant`, or compares one of `all` with it.
    pub(crate) fn needs(&self, entrant: &Entrant, all: &[Entrant]) -> bool {
        let compared = |other: &Entrant| self.is_for(other) && self.peer(other) == Some(*entrant);
        self.is_for(entrant) || all.iter().any(compared)
    }

    /// Limits the goal to some cases.
    pub(crate) const fn when(self, when: When) -> Self {
        Self { when, ..self }
    }

    /// Limits the goal to one runtime.
    pub(crate) const fn on(self, runtime: Runtime) -> Self {
        Self {
            runtime: Some(runtime),
            ..self
        }
    }
}

/// Creates a goal for all cases of a work and a size, on every runtime.
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
        when: When::Always,
        kind,
        runtime: None,
        metric,
        peer,
        bound,
    }
}
