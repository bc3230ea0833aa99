//! Who is measured.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

use super::Allocator;
use super::awaited::{self, Style};
use super::c_loop::CLoop;
use super::callback;
use super::future::Future;
use super::job::{Job, Work};
use super::ours::{self, Ours};
use super::sample::Sample;
use super::threaded::Threaded;

/// A way to produce.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Kind {
    /// librdkafka itself
    CLoop,
    /// rdkafka's `ThreadedProducer`
    Threaded,
    /// rdkafka's `FutureProducer::send_result`
    Future,
    /// rdkafka's `FutureProducer::send` in `buffer_unordered`
    FutureSend,
    /// Our `enqueue`
    Ours,
    /// Our `send` in `buffer_unordered`
    OursSend,
    /// Our `enqueue_detached`
    OursDetached,
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
    /// All that can do `work`.
    pub(crate) fn all(work: Work) -> Vec<Self> {
        use Kind::{CLoop, Future, FutureSend, Ours, OursDetached, OursSend, Threaded};
        use Runtime::{Ct, Mt, MtBlockOn};
        let (kinds, runtimes): (&[Kind], &[Runtime]) = match work {
            Work::Window => (
                &[CLoop, Threaded, Future, FutureSend, Ours, OursSend],
                &[Ct, Mt],
            ),
            Work::Detached => (&[CLoop, Threaded, OursDetached], &[Ct, Mt]),
            Work::Latency => (&[CLoop, Threaded, Future, Ours], &[Ct, Mt, MtBlockOn]),
            Work::Idle => (&[CLoop, Threaded, Future, Ours], &[Ct, Mt]),
            Work::Memory => (&[CLoop, Future, Ours], &[Ct]),
            Work::Instructions => (
                &[
                    CLoop,
                    Threaded,
                    Future,
                    FutureSend,
                    Ours,
                    OursSend,
                    OursDetached,
                ],
                &[Ct],
            ),
        };
        let runtimes = |kind: Kind| {
            if kind.is_async() {
                runtimes.iter().map(|&runtime| Some(runtime)).collect()
            } else {
                vec![None]
            }
        };
        kinds
            .iter()
            .flat_map(|&kind| {
                runtimes(kind)
                    .into_iter()
                    .map(move |runtime| Self { kind, runtime })
            })
            .collect()
    }

    /// `kind` on the runtime of this contender, or on a current-thread one.
    pub(crate) fn peer(self, kind: Kind) -> Self {
        Self {
            kind,
            runtime: kind.is_async().then(|| self.runtime.unwrap_or(Runtime::Ct)),
        }
    }

    /// Does the job in this process.
    pub(crate) fn run(self, job: &Job, allocator: Allocator) -> Sample {
        let job = job.clone();
        let runtime = self.runtime.unwrap_or(Runtime::Ct);
        match self.kind {
            Kind::CLoop => callback::run(&CLoop::new(&job), &job, allocator),
            Kind::Threaded => callback::run(&Threaded::new(&job), &job, allocator),
            Kind::Future | Kind::FutureSend => awaited::block_on(runtime, async move {
                awaited::run(Future::new(&job), self.kind.style(), job, allocator).await
            }),
            Kind::Ours | Kind::OursSend => awaited::block_on(runtime, async move {
                awaited::run(Ours::new(&job), self.kind.style(), job, allocator).await
            }),
            Kind::OursDetached => awaited::block_on(runtime, ours::detached(job, allocator)),
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
