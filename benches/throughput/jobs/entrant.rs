//! A contender in a case: what the tables list, and what ratios compare.

use crate::jobs::case::Case;
use crate::jobs::contender_name::{ContenderName, Kind, Runtime};
use crate::jobs::job::Job;
use crate::jobs::work::Work;

/// A contender in a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entrant {
    pub(crate) contender: ContenderName,
    pub(crate) case: Case,
}

impl Entrant {
    /// Returns `kind` in the same case and on the same runtime.
    ///
    /// If this contender has no runtime, the peer runs on the first one that the work is measured
    /// on.
    pub(crate) fn peer(self, kind: Kind) -> Self {
        let first = match self.case.work {
            Work::Tasks => Runtime::Mt,
            _ => Runtime::Ct,
        };
        let runtime = self.contender.runtime.unwrap_or(first);
        let runtime = kind.is_async().then_some(runtime);
        Self {
            contender: ContenderName { kind, runtime },
            ..self
        }
    }

    /// Returns the job of one run. The work `instructions` counts those of another work.
    pub(crate) fn job(self, brokers: &str, prefix: &str) -> Job {
        let work = match (self.case.work, self.contender.kind) {
            (Work::Instructions, Kind::OursDetached) => Work::Detached,
            (Work::Instructions, _) => Work::Window,
            (work, _) => work,
        };
        Job {
            contender: self.contender,
            case: Case { work, ..self.case },
            brokers: brokers.to_owned(),
            prefix: prefix.to_owned(),
        }
    }
}
