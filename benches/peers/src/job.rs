//! The arguments.

use clap::{Parser, ValueEnum};

/// Sends messages once to warm up, a tenth of them, and once to measure.
#[derive(Clone, Debug, Parser)]
pub struct Job {
    /// bootstrap.servers
    #[arg(long)]
    pub brokers: String,
    /// An existing topic
    #[arg(long)]
    pub topic: String,
    #[arg(long)]
    pub(crate) work: Work,
    #[arg(long)]
    pub(crate) runtime: Runtime,
    /// Messages to send
    #[arg(long)]
    pub(crate) messages: u64,
    /// Messages in flight
    #[arg(long)]
    pub in_flight: u64,
    /// Bytes of a payload
    #[arg(long)]
    pub size: usize,
    /// linger.ms
    #[arg(long)]
    pub linger: u64,
}

impl Job {
    /// Returns the bytes of a batch for clients whose default is 16 KiB.
    ///
    /// A window needs more: 1 MB, which is the default of librdkafka and franz-go.
    pub fn batch_size(&self) -> usize {
        match self.work {
            Work::Window => 1_000_000,
            Work::Sends => 16_384,
        }
    }

    /// Returns the properties of clients that use librdkafka, as in `benches/throughput`.
    pub fn librdkafka(&self) -> Vec<(&'static str, String)> {
        let mut properties = vec![
            ("bootstrap.servers", self.brokers.clone()),
            ("acks", "all".into()),
            ("linger.ms", self.linger.to_string()),
            ("queue.buffering.max.kbytes", "2147483647".into()),
        ];
        if self.size >= 1024 {
            properties.push(("message.copy.max.bytes", "0".into()));
        }
        properties
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Work {
    /// One task sends, and awaits the oldest delivery first
    Window,
    /// A task for each message in flight, which awaits its send before the next
    Sends,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Runtime {
    /// A current-thread runtime
    Ct,
    /// A multi-thread runtime with two workers
    Mt,
}
