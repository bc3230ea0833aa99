//! Measures what the threads of an idle process do.
//!
//! It reads `/proc`, and so measures nothing on systems other than Linux.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;
use std::{fs, process};

use crate::measure::metric::Metric;
use crate::measure::sample::Sample;

/// The watching thread's name. The thread leaves itself out of the count.
const WATCHER: &str = "bench watcher";

/// Time for a producer to settle after its first message. A thread of ours looks within 2 s whether
/// its task runs, and ends after another one.
const SETTLE: Duration = Duration::from_millis(3_500);

/// Who started a thread.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Owner {
    Librdkafka,
    Tokio,
    Main,
    Other,
}

/// One thread's totals since it started.
#[derive(Clone, Copy)]
struct Thread {
    owner: Owner,
    switches: f64,
    cpu_ms: f64,
}

/// Watches the other threads for `idle`, then calls `done` from the watching thread.
///
/// The watcher has its own thread so that the watched threads need not wake up for it.
pub(crate) fn watch(idle: Duration, done: impl FnOnce(Sample) + Send + 'static) {
    let watch = move || {
        thread::sleep(SETTLE);
        let before = snapshot();
        thread::sleep(idle);
        done(compare(&before, &snapshot(), idle));
    };
    thread::Builder::new()
        .name(WATCHER.into())
        .spawn(watch)
        .expect("a thread starts");
}

/// Reads all threads, by their ids.
fn snapshot() -> BTreeMap<u32, Thread> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return BTreeMap::new();
    };
    let id = |name: &std::ffi::OsStr| name.to_str()?.parse().ok();
    tasks
        .flatten()
        .filter_map(|task| Some((id(&task.file_name())?, task.path())))
        .filter_map(read)
        .collect()
}

/// Reads one thread. Returns `None` for the watcher and for a thread that has just ended.
fn read((id, task): (u32, impl AsRef<Path>)) -> Option<(u32, Thread)> {
    let file = |name| fs::read_to_string(task.as_ref().join(name)).ok();
    let owner = match file("comm")?.trim() {
        WATCHER => return None,
        name if name.starts_with("rdk:") => Owner::Librdkafka,
        name if name.starts_with("tokio-") => Owner::Tokio,
        _ if id == process::id() => Owner::Main,
        _ => Owner::Other,
    };
    let switches = file("status")?
        .lines()
        .filter(|line| line.contains("voluntary_ctxt_switches"))
        .filter_map(|line| line.split_whitespace().last()?.parse::<f64>().ok())
        .sum();
    // The first number is the time spent running, in nanoseconds.
    let cpu_ms = file("schedstat")?
        .split_whitespace()
        .next()?
        .parse::<f64>()
        .ok()?
        / 1e6;
    Some((
        id,
        Thread {
            owner,
            switches,
            cpu_ms,
        },
    ))
}

/// Compares two snapshots that are `idle` apart.
fn compare(
    before: &BTreeMap<u32, Thread>,
    after: &BTreeMap<u32, Thread>,
    idle: Duration,
) -> Sample {
    let count = |owner| {
        after
            .values()
            .filter(|thread| thread.owner == owner)
            .count() as f64
    };
    let grown = |librdkafka: bool, value: fn(&Thread) -> f64| -> f64 {
        after
            .iter()
            .filter(|(_, thread)| (thread.owner == Owner::Librdkafka) == librdkafka)
            .map(|(id, thread)| value(thread) - before.get(id).map_or(0.0, value))
            .sum()
    };
    if after.is_empty() {
        return Sample::default();
    }
    Sample::from([
        (Metric::ThreadsLibrdkafka, count(Owner::Librdkafka)),
        (Metric::ThreadsTokio, count(Owner::Tokio)),
        (Metric::ThreadsOther, count(Owner::Other)),
        (
            Metric::SwitchesLibrdkafka,
            grown(true, |thread| thread.switches) / idle.as_secs_f64(),
        ),
        (
            Metric::SwitchesOther,
            grown(false, |thread| thread.switches) / idle.as_secs_f64(),
        ),
        (
            Metric::IdleCpuLibrdkafka,
            grown(true, |thread| thread.cpu_ms),
        ),
        (Metric::IdleCpuOther, grown(false, |thread| thread.cpu_ms)),
    ])
}
