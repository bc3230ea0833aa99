//! The numbers that a work is measured with.

use std::fmt;

use clap::Args;

use crate::jobs::work::Work;

/// The usual payload, in bytes.
pub(crate) const SIZE: usize = 100;

/// The payload where many send, in bytes.
pub(crate) const CONCURRENT_SIZE: usize = 256;

/// 1 KiB, in bytes.
pub(crate) const KIB: usize = 1024;

/// A work and its numbers.
#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub(crate) struct Case {
    /// What to do
    pub(crate) work: Work,
    /// Messages to send
    #[arg(long)]
    pub(crate) messages: u64,
    /// Bytes of a payload
    #[arg(long)]
    pub(crate) size: usize,
    /// Messages in flight
    #[arg(long)]
    pub(crate) window: u64,
    /// Tasks, or threads, that send
    #[arg(long)]
    pub(crate) tasks: u64,
    /// Topics, used in turn
    #[arg(long)]
    pub(crate) topics: usize,
    /// linger.ms
    #[arg(long)]
    pub(crate) linger: f64,
    /// Messages per second of a steady rate
    #[arg(long)]
    pub(crate) pace: u64,
    /// Milliseconds before the mock broker answers
    #[arg(long)]
    pub(crate) round_trip_ms: u64,
    /// Milliseconds that a work takes if its messages do not limit it
    #[arg(long)]
    pub(crate) duration_ms: u64,
    /// `message.copy.max.bytes=0`: requests refer to payloads instead of copying them
    #[arg(long)]
    pub(crate) no_copy: bool,
    /// `enable.idempotence=true`
    #[arg(long)]
    pub(crate) idempotent: bool,
}

impl Case {
    /// Returns the arguments that describe this case to another process.
    pub(crate) fn to_args(self) -> Vec<String> {
        let Self {
            work,
            messages,
            size,
            window,
            tasks,
            topics,
            linger,
            pace,
            round_trip_ms,
            duration_ms,
            no_copy,
            idempotent,
        } = self;
        let mut args = vec![
            work.to_string(),
            format!("--messages={messages}"),
            format!("--size={size}"),
            format!("--window={window}"),
            format!("--tasks={tasks}"),
            format!("--topics={topics}"),
            format!("--linger={linger}"),
            format!("--pace={pace}"),
            format!("--round-trip-ms={round_trip_ms}"),
            format!("--duration-ms={duration_ms}"),
        ];
        args.extend(no_copy.then(|| "--no-copy".to_owned()));
        args.extend(idempotent.then(|| "--idempotent".to_owned()));
        args
    }
}

/// Writes what distinguishes the cases of a work: `100 B, tasks: 1000, round trip: 20 ms`.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            size,
            tasks,
            topics,
            linger,
            pace,
            round_trip_ms,
            idempotent,
            ..
        } = self;
        match size {
            size if *size >= 1024 && size % 1024 == 0 => write!(f, "{} KiB", size / 1024)?,
            size => write!(f, "{size} B")?,
        }
        match self.work {
            Work::Topics => write!(f, ", topics: {topics}"),
            Work::Tasks => write!(f, ", tasks: {tasks}"),
            Work::Concurrent => write!(f, ", tasks: {tasks}, linger: {linger} ms"),
            Work::Paced => write!(f, ", {pace} per second, linger: {linger} ms"),
            Work::Full => write!(f, ", tasks: {tasks}, round trip: {round_trip_ms} ms"),
            _ if *idempotent => write!(f, ", idempotent, linger: {linger} ms"),
            Work::Kafka => write!(f, ", linger: {linger} ms"),
            _ => Ok(()),
        }
    }
}
