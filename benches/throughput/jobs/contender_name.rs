//! The names of contenders and of the runtimes they run on.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

/// A way to produce messages, by its name on the command line.
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
    /// Our `enqueue`, which borrows its payload from `Bytes`
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

/// A contender and its runtime, as the command line names them: `c-loop`, `future:ct`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ContenderName {
    pub(crate) kind: Kind,
    /// `None` if the contender needs no runtime.
    pub(crate) runtime: Option<Runtime>,
}

impl Kind {
    /// Returns true if the contender runs on a tokio runtime.
    pub(crate) fn is_async(self) -> bool {
        !matches!(self, Self::CLoop | Self::Threaded)
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

impl fmt::Display for ContenderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runtime = self.runtime.and_then(|runtime| runtime.to_possible_value());
        let runtime = runtime
            .map(|value| format!(":{}", value.get_name()))
            .unwrap_or_default();
        f.pad(&format!("{}{runtime}", self.kind))
    }
}

impl FromStr for ContenderName {
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
