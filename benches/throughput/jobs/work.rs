//! The kinds of work that are measured.

use std::fmt;

use clap::ValueEnum;

/// What a run does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Work {
    /// A window of messages in flight, the oldest awaited first
    Window,
    /// Deliveries are not awaited: a callback counts them
    Detached,
    /// Large payloads, borrowed from `Bytes` by contenders that can; a window as in `window`
    Bytes,
    /// `detached`, to one topic and to a thousand in turn
    Topics,
    /// Many tasks send, most of them waiting for capacity of a small queue
    Full,
    /// `window`, shared by several tasks or threads
    Tasks,
    /// One message at a time
    Latency,
    /// A few messages that would linger are flushed
    Flush,
    /// Nothing is sent
    Idle,
    /// A whole window in flight while the mock broker delays its answers: peak memory
    Memory,
    /// `window` and `detached` under valgrind: instructions per message
    Instructions,
    /// Many tasks on a real cluster, each of which awaits one send after the other
    Concurrent,
    /// Sends on a real cluster that begin at a steady rate
    Paced,
    /// `window` on a real cluster, with settings for it
    Kafka,
    /// Transactions on a real cluster, each of a window of messages: how long commits take
    Transactions,
}

impl Work {
    /// Returns true if a mock cluster cannot serve the work.
    pub(crate) fn needs_kafka(self) -> bool {
        matches!(
            self,
            Self::Concurrent | Self::Paced | Self::Kafka | Self::Transactions
        )
    }

    /// Returns true if results of one case are compared with those of another.
    ///
    /// Such cases should run next to each other in time.
    pub(crate) fn compares_cases(self) -> bool {
        self == Self::Topics
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            self.to_possible_value()
                .expect("no work is skipped")
                .get_name(),
        )
    }
}
