//! The contenders of each case.

use crate::jobs::case::{Case, SIZE};
use crate::jobs::contender_name::{ContenderName, Kind, Runtime};
use crate::jobs::entrant::Entrant;
use crate::jobs::work::Work;

/// Returns all contenders in `case`, on all runtimes that they are measured on.
pub(crate) fn entrants(case: Case) -> Vec<Entrant> {
    use Kind::{
        CLoop, Future, FutureSend, Ours, OursByName, OursBytes, OursDetached, OursDetachedByName,
        OursSend, OursSendAll, OursSink, OursStream, Threaded,
    };
    use Runtime::{Ct, Mt, MtBlockOn};
    let usual = case.size == SIZE;
    let (kinds, runtimes): (&[Kind], &[Runtime]) = match case.work {
        Work::Window if usual => (
            &[
                CLoop,
                Threaded,
                Future,
                FutureSend,
                Ours,
                OursByName,
                OursBytes,
                OursSend,
                OursSink,
                OursStream,
                OursSendAll,
            ],
            &[Ct, Mt],
        ),
        Work::Window => (&[CLoop, Future, Ours, OursBytes], &[Ct, Mt]),
        Work::Detached => (
            &[CLoop, Threaded, OursDetached, OursDetachedByName],
            &[Ct, Mt],
        ),
        Work::Bytes => (&[CLoop, Future, OursBytes], &[Ct, Mt]),
        Work::Topics => (
            &[CLoop, Threaded, OursDetached, OursDetachedByName],
            &[Ct, Mt],
        ),
        Work::Full => (&[CLoop, FutureSend, OursSend], &[Ct, Mt]),
        Work::Tasks => (&[CLoop, Future, Ours], &[Mt]),
        Work::Latency => (&[CLoop, Threaded, Future, Ours], &[Ct, Mt, MtBlockOn]),
        Work::Flush => (&[CLoop, Threaded, Future, Ours], &[Ct, Mt]),
        Work::Idle => (&[CLoop, Threaded, Future, Ours], &[Ct, Mt]),
        Work::Memory if usual => (&[CLoop, Future, Ours], &[Ct]),
        Work::Memory => (&[CLoop, Future, OursBytes], &[Ct]),
        Work::Instructions => (
            &[
                CLoop,
                Threaded,
                Future,
                FutureSend,
                Ours,
                OursByName,
                OursSend,
                OursDetached,
                OursSink,
                OursStream,
                OursSendAll,
            ],
            &[Ct],
        ),
        Work::Transactions => (&[Threaded, Future, Ours], &[Ct, Mt]),
        Work::Concurrent | Work::Paced => (&[FutureSend, OursSend], &[Mt]),
        Work::Kafka if case.idempotent => (&[Ours], &[Ct]),
        Work::Kafka if usual && case.linger == 0.0 => (&[Ours], &[Ct]),
        Work::Kafka if usual => (&[CLoop, Future, Ours, OursSend, OursSendAll], &[Ct, Mt]),
        Work::Kafka => (&[CLoop, Future, OursBytes], &[Ct, Mt]),
    };
    let runtimes = |kind: Kind| {
        if kind.is_async() {
            runtimes.iter().map(|&runtime| Some(runtime)).collect()
        } else {
            vec![None]
        }
    };
    let contenders = kinds.iter().flat_map(|&kind| {
        runtimes(kind)
            .into_iter()
            .map(move |runtime| ContenderName { kind, runtime })
    });
    contenders
        .map(|contender| Entrant { contender, case })
        .collect()
}
