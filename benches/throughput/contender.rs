//! Who is measured.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

use super::Allocator;
use super::awaited::{self, Style};
use super::c_loop::CLoop;
use super::callback;
use super::detached;
use super::future::Future;
use super::goals::SIZE;
use super::job::{Case, Job};
use super::ours::{ByHandle, ByName, Lent, Ours};
use super::sample::Sample;
use super::streams;
use super::tasks;
use super::threaded::Threaded;
use super::transactions;
use super::work::Work;

/// A way to produce.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Kind {
    /// librdkafka itself
    CLoop,
    /// rdkafka's `ThreadedProducer`
    Threaded,
    /// rdkafka's `FutureProducer::send_result`
    Future,
    /// rdkafka's `FutureProducer::send`, in `buffer_unordered` or in many tasks
    FutureSend,
    /// Our `enqueue`, by a topic handle
    Ours,
    /// Our `enqueue`, by the topic's name
    OursByName,
    /// Our `enqueue` of lent `Bytes`
    OursBytes,
    /// Our `send`, in `buffer_unordered` or in many tasks
    OursSend,
    /// Our `enqueue_detached`, by topic handles
    OursDetached,
    /// Our `enqueue_detached`, by topic names
    OursDetachedByName,
    /// A stream forwarded to our sink
    OursSink,
    /// Our `produce_each`, in order
    OursStream,
    /// Our `send_all`
    OursSendAll,
}

/// What an async contender runs on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Runtime {
    /// A current-thread runtime
    Ct,
    /// A task spawned on a multi-thread runtime with two workers
    Mt,
    /// `block_on` of a multi-thread runtime
    MtBlockOn,
}

/// Who runs, on what: `c-loop`, `future:ct`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Contender {
    pub(crate) kind: Kind,
    /// `None` where no runtime is needed.
    pub(crate) runtime: Option<Runtime>,
}

impl Contender {
    /// Does the job in this process.
    pub(crate) fn run(self, job: &Job, allocator: Allocator) -> Sample {
        let job = job.clone();
        let runtime = self.runtime.unwrap_or(Runtime::Ct);
        let style = self.kind.style();
        if job.case.work == Work::Transactions {
            return transactions::run(self.kind, runtime, job, allocator);
        }
        match self.kind {
            Kind::CLoop if job.case.work == Work::Tasks => tasks::threads(&job, allocator),
            Kind::CLoop => callback::run(&CLoop::new(&job), &job, allocator),
            Kind::Threaded => callback::run(&Threaded::new(&job), &job, allocator),
            Kind::Future | Kind::FutureSend => awaited::block_on(runtime, async move {
                awaited::run(Future::new(&job), style, job, allocator).await
            }),
            Kind::Ours | Kind::OursSend => awaited::block_on(runtime, async move {
                awaited::run(Ours::<ByHandle>::new(&job), style, job, allocator).await
            }),
            Kind::OursByName => awaited::block_on(runtime, async move {
                awaited::run(Ours::<ByName>::new(&job), style, job, allocator).await
            }),
            Kind::OursBytes => awaited::block_on(runtime, async move {
                awaited::run(Ours::<Lent>::new(&job), style, job, allocator).await
            }),
            Kind::OursDetached => {
                awaited::block_on(runtime, detached::run::<ByHandle>(job, allocator))
            }
            Kind::OursDetachedByName => {
                awaited::block_on(runtime, detached::run::<ByName>(job, allocator))
            }
            Kind::OursSink => {
                awaited::block_on(runtime, streams::run::<streams::Sink>(job, allocator))
            }
            Kind::OursStream => {
                awaited::block_on(runtime, streams::run::<streams::Stream>(job, allocator))
            }
            Kind::OursSendAll => {
                awaited::block_on(runtime, streams::run::<streams::SendAll>(job, allocator))
            }
        }
    }
}

/// A contender in a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entrant {
    pub(crate) contender: Contender,
    pub(crate) case: Case,
}

impl Entrant {
    /// All contenders in `case`.
    pub(crate) fn all(case: Case) -> Vec<Self> {
        use Kind::{
            CLoop, Future, FutureSend, Ours, OursByName, OursBytes, OursDetached,
            OursDetachedByName, OursSend, OursSendAll, OursSink, OursStream, Threaded,
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
            Work::Kafka if usual => (&[CLoop, Future, Ours], &[Ct, Mt]),
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
                .map(move |runtime| Contender { kind, runtime })
        });
        contenders
            .map(|contender| Self { contender, case })
            .collect()
    }

    /// `kind` in the same case: on the runtime of this contender, or else on the one that the work's tables begin with.
    pub(crate) fn peer(self, kind: Kind) -> Self {
        let first = match self.case.work {
            Work::Tasks => Runtime::Mt,
            _ => Runtime::Ct,
        };
        let runtime = self.contender.runtime.unwrap_or(first);
        let runtime = kind.is_async().then_some(runtime);
        Self {
            contender: Contender { kind, runtime },
            ..self
        }
    }

    /// What this entrant's runs are about: for `instructions`, another work.
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

impl Kind {
    fn is_async(self) -> bool {
        !matches!(self, Self::CLoop | Self::Threaded)
    }

    fn style(self) -> Style {
        if matches!(self, Self::FutureSend | Self::OursSend) {
            Style::Unordered
        } else {
            Style::Queue
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            self.to_possible_value()
                .expect("no kind is skipped")
                .get_name(),
        )
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runtime = self.runtime.and_then(|runtime| runtime.to_possible_value());
        let runtime = runtime
            .map(|value| format!(":{}", value.get_name()))
            .unwrap_or_default();
        f.pad(&format!("{}{runtime}", self.kind))
    }
}

impl FromStr for Contender {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, runtime) = text
            .split_once(':')
            .map_or((text, None), |(kind, runtime)| (kind, Some(runtime)));
        let kind = Kind::from_str(kind, false)?;
        let runtime = runtime
            .map(|name| Runtime::from_str(name, false))
            .transpose()?;
        if kind.is_async() == runtime.is_some() {
            Ok(Self { kind, runtime })
        } else {
            Err("async contenders, and only these, run on `ct`, `mt` or `mt-block-on`".to_owned())
        }
    }
}
