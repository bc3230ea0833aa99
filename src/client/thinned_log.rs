//! Log lines that repeat: the first of a kind is logged at once, and those like it are counted.

use std::cell::RefCell;
use std::error::Error;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::log_targets::{broker_in, emit};
use crate::error::{KafkaError, RDKafkaErrorCode, is_purge};
use crate::ffi::Process;
use crate::sync::{lock, log};
use crate::values::{Persistence, RDKafkaLogLevel};

/// After a line of a kind, the next one comes this much later at the earliest.
const INTERVAL: Duration = Duration::from_secs(10);

/// The number of kinds that are told apart. Beyond it, the kinds of one source are thinned out
/// together.
const MOST_KINDS: usize = 256;

/// The log lines of one client that are thinned out.
///
/// A line with a count waits here until [`log_due`](Self::log_due) or [`log_all`](Self::log_all) is
/// called. The drop logs what is left.
#[derive(Debug)]
pub(crate) struct ThinnedLog {
    /// The client's name, once it has been created.
    client: OnceLock<Arc<str>>,
    /// In a forked child the lines are its parent's, which logs them.
    process: Process,
    kinds: Mutex<Vec<Kind>>,
    /// Whether any kind has a line that was not logged. Written under the lock.
    has_pending: AtomicBool,
}

/// Lines that are like each other.
#[derive(Debug)]
struct Kind {
    source: Source,
    /// What the line is about: a text without its numbers, or a topic. Empty for all that found no
    /// place.
    subject: String,
    /// The first line that was not logged.
    line: Option<Line>,
    /// The number of lines that were not logged.
    count: u64,
    /// When one was last logged.
    logged: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Log(RDKafkaLogLevel),
    Error(Option<RDKafkaErrorCode>),
    Failure(Option<RDKafkaErrorCode>, Persistence),
}

#[derive(Debug)]
enum Line {
    /// A line of librdkafka.
    Log {
        level: RDKafkaLogLevel,
        facility: String,
        text: String,
    },
    /// A client-level error.
    Error(KafkaError),
    /// The failure of a record that nobody awaits.
    Failure {
        topic: String,
        persistence: Persistence,
        error: KafkaError,
    },
}

/// A line to be logged once the lock is free.
#[derive(Debug)]
struct Due {
    line: Line,
    count: u64,
    /// How long ago the line before it was logged.
    since: Option<Duration>,
}

thread_local! {
    /// The log of the client whose context is being called.
    static CURRENT: RefCell<Option<Arc<ThinnedLog>>> = const { RefCell::new(None) };
}

impl Default for ThinnedLog {
    fn default() -> Self {
        Self {
            client: OnceLock::new(),
            process: Process::current(),
            kinds: Mutex::default(),
            has_pending: AtomicBool::new(false),
        }
    }
}

impl ThinnedLog {
    /// Sets the name of the client, which must not contain a secret.
    pub(super) fn set_client(&self, name: Arc<str>) {
        let _ = self.client.set(name);
    }

    /// Returns the name of the client for the field `client` of events: `client.id#producer-1`.
    pub(crate) fn client(&self) -> Option<&str> {
        self.client.get().map(|name| &**name)
    }

    /// Calls the context. What its default methods log meanwhile is thinned out.
    pub(super) fn during<T>(self: &Arc<Self>, call: impl FnOnce() -> T) -> T {
        struct Restore(Option<Arc<ThinnedLog>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let _ = CURRENT.try_with(|current| current.replace(self.0.take()));
            }
        }
        let ours = Some(Arc::clone(self));
        // A thread that ends has none. It may drop a `BaseProducer`, and so call its context.
        let _restore = CURRENT.try_with(|current| Restore(current.replace(ours)));
        call()
    }

    /// Counts a record that failed and whose result nobody awaits.
    #[cold]
    pub(crate) fn failure(&self, topic: &str, persistence: Persistence, error: &KafkaError) {
        if !self.process.is_current() {
            return;
        }
        let source = Source::Failure(error.code(), persistence);
        self.count(source, topic, || Line::Failure {
            topic: topic.to_owned(),
            persistence,
            error: error.clone(),
        });
    }

    fn count(&self, source: Source, subject: &str, line: impl FnOnce() -> Line) {
        let mut kinds = lock(&self.kinds);
        let index = place(&mut kinds, source, subject);
        let kind = &mut kinds[index];
        kind.count += 1;
        kind.line.get_or_insert_with(line);
        self.has_pending.store(true, Ordering::Release);
    }

    /// Logs the lines whose time has come. Returns true if there were any.
    #[inline]
    pub(crate) fn log_due(&self) -> bool {
        self.has_pending.load(Ordering::Acquire)
            && self.log_if(|kind, now| kind.wait(now).is_zero())
    }

    /// Logs all lines.
    pub(crate) fn log_all(&self) {
        if self.has_pending.load(Ordering::Acquire) {
            self.log_if(|_, _| true);
        }
    }

    /// Returns how long it is until the next line is due, if there is one.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        if !self.has_pending.load(Ordering::Acquire) {
            return None;
        }
        let now = Instant::now();
        let kinds = lock(&self.kinds);
        let pending = kinds.iter().filter(|kind| kind.count > 0);
        pending.map(|kind| kind.wait(now)).min()
    }

    #[cold]
    fn log_if(&self, is_due: impl Fn(&Kind, Instant) -> bool) -> bool {
        if !self.process.is_current() {
            return false;
        }
        let now = Instant::now();
        let due: Vec<_> = {
            let mut kinds = lock(&self.kinds);
            let pending = kinds.iter_mut().filter(|kind| is_due(kind, now));
            let due = pending.filter_map(|kind| kind.take(now)).collect();
            let is_pending = kinds.iter().any(|kind| kind.count > 0);
            self.has_pending.store(is_pending, Ordering::Release);
            due
        };
        let has_logged = !due.is_empty();
        due.into_iter().for_each(|due| due.log(self.client()));
        has_logged
    }

    /// Whether librdkafka has logged this text, of which it now raises an error.
    fn has_logged(&self, subject: &str) -> bool {
        let is_log = |kind: &Kind| matches!(kind.source, Source::Log(_)) && kind.subject == subject;
        lock(&self.kinds).iter().any(is_log)
    }
}

impl Drop for ThinnedLog {
    fn drop(&mut self) {
        if !self.process.is_current() {
            return;
        }
        let client = self.client.get().cloned();
        let kinds = self.kinds.get_mut().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = kinds.iter_mut().filter_map(|kind| kind.take(now));
        due.for_each(|due| due.log(client.as_deref()));
    }
}

/// Returns the index of the kind, which is added if it is new.
fn place(kinds: &mut Vec<Kind>, source: Source, subject: &str) -> usize {
    let find = |kinds: &[Kind], subject: &str| {
        let is_same = |kind: &Kind| kind.source == source && kind.subject == subject;
        kinds.iter().position(is_same)
    };
    if let Some(index) = find(kinds, subject) {
        return index;
    }
    let mut subject = subject;
    if kinds.len() >= MOST_KINDS {
        let now = Instant::now();
        kinds.retain(|kind| kind.count > 0 || !kind.wait(now).is_zero());
        if kinds.len() >= MOST_KINDS {
            subject = "";
            if let Some(index) = find(kinds, subject) {
                return index;
            }
        }
    }
    kinds.push(Kind {
        source,
        subject: subject.to_owned(),
        line: None,
        count: 0,
        logged: None,
    });
    kinds.len() - 1
}

impl Kind {
    /// Returns how long it is until a line may be logged.
    fn wait(&self, now: Instant) -> Duration {
        match self.logged {
            None => Duration::ZERO,
            Some(logged) => INTERVAL.saturating_sub(now.saturating_duration_since(logged)),
        }
    }

    fn take(&mut self, now: Instant) -> Option<Due> {
        let line = self.line.take()?;
        Some(Due {
            line,
            count: mem::take(&mut self.count),
            since: self
                .logged
                .replace(now)
                .map(|logged| now.saturating_duration_since(logged)),
        })
    }
}

impl Due {
    fn log(self, client: Option<&str>) {
        let more = self.more();
        let count = self.count;
        self.line.emit(client, &more, count);
    }

    /// Returns what follows the text of a line that stands for others.
    fn more(&self) -> String {
        match (self.count, self.since) {
            (0 | 1, _) => String::new(),
            (count, None) => format!(" ({} more like it)", count - 1),
            (count, Some(since)) => {
                let seconds = since.as_secs_f32().ceil().max(1.0);
                format!(" ({} more like it in the last {seconds} s)", count - 1)
            }
        }
    }
}

impl Line {
    fn emit(&self, client: Option<&str>, more: &str, count: u64) {
        match self {
            Line::Log {
                level,
                facility,
                text,
            } => emit_line(client, *level, facility, text, more),
            Line::Error(error) => {
                let error = error.to_string();
                let broker = broker_in(&error);
                log(|| {
                    tracing::warn!(
                        target: "librdkafka",
                        client, broker, error, "client error{more}"
                    );
                });
            }
            Line::Failure {
                topic,
                persistence,
                error,
            } => {
                let code = error.code().map(RDKafkaErrorCode::name);
                let code = code.as_deref();
                let is_purged = error.code().is_some_and(is_purge) && !error.is_fatal();
                let error = with_sources(error);
                let persistence = persistence.to_string();
                // Somebody has asked for a purge, and may still not know of these records.
                if is_purged {
                    log(|| {
                        tracing::warn!(
                            target: "tokio_rdkafka::unawaited",
                            client, records = count, topic, code, persistence, error,
                            "records were purged, and nobody awaits their results"
                        )
                    });
                } else {
                    log(|| {
                        tracing::error!(
                            target: "tokio_rdkafka::unawaited",
                            client, records = count, topic, code, persistence, error,
                            "records failed, and nobody awaits their results"
                        )
                    });
                }
            }
        }
    }
}

fn current() -> Option<Arc<ThinnedLog>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok()?
}

/// Logs a line of librdkafka: at once, or if there have been some like it, with their number later.
/// Debug lines are all logged.
pub(super) fn log_line(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match current() {
        Some(current) if level != RDKafkaLogLevel::Debug => {
            current.count(Source::Log(level), &subject_of(text), || Line::Log {
                level,
                facility: facility.to_owned(),
                text: text.to_owned(),
            });
            current.log_due();
        }
        current => {
            let client = current.as_deref().and_then(ThinnedLog::client);
            emit_line(client, level, facility, text, "");
        }
    }
}

/// Returns the name of the client whose context is being called.
pub(super) fn current_client() -> Option<Arc<str>> {
    current()?.client.get().cloned()
}

/// As [`log_line`], for a client-level error that is not fatal. If librdkafka has logged the same
/// text, that line stands for the error, too.
pub(super) fn log_error(error: &KafkaError) {
    let Some(current) = current() else {
        return Line::Error(error.clone()).emit(None, "", 1);
    };
    let text = error.to_string();
    let subject = subject_of(&text);
    if !current.has_logged(&subject) {
        let source = Source::Error(error.code());
        current.count(source, &subject, || Line::Error(error.clone()));
        current.log_due();
    }
}

/// Emits a line of librdkafka. `more` follows its text.
fn emit_line(client: Option<&str>, level: RDKafkaLogLevel, facility: &str, text: &str, more: &str) {
    log(|| {
        let line = format_args!("{text}{more}");
        emit(level, facility, client, line, broker_in(text));
    });
}

/// Returns what lines that are like each other have in common: the broker's name, and the text
/// without its numbers, the time and the state.
///
/// librdkafka writes `[thrd:NAME]: NAME: text 7 (after 3ms in state CONNECT)`. An error has no
/// thread, and its code at the end.
fn subject_of(text: &str) -> String {
    let text = match text.strip_prefix("[thrd:") {
        Some(rest) => rest.split_once("]: ").map_or(rest, |(_, text)| text),
        None => text,
    };
    let (broker, rest) = text.split_once(": ").unwrap_or(("", text));
    let end = rest.find(" (after ").or_else(|| rest.rfind(" (_"));
    let rest = &rest[..end.unwrap_or(rest.len())];
    let mut subject = format!("{broker}: ");
    let mut was_digit = false;
    for character in rest.chars() {
        let is_digit = character.is_ascii_digit();
        if !is_digit {
            subject.push(character);
        } else if !was_digit {
            subject.push('#');
        }
        was_digit = is_digit;
    }
    subject
}

fn with_sources(error: &KafkaError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "[thrd:h:1/bootstrap]: h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: \
                        Connection refused (after 0ms in state CONNECT)";

    #[test]
    fn lines_like_each_other_have_one_subject() {
        let subject = subject_of(LINE);
        for like in [
            "[thrd:h:1/bootstrap]: h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection \
             refused (after 12ms in state CONNECT, 3 identical error(s) suppressed)",
            "h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in \
             state CONNECT) (_TRANSPORT)",
        ] {
            assert_eq!(subject_of(like), subject);
        }
        for other in [
            "[thrd:h:2/bootstrap]: h:2/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection \
             refused (after 0ms in state CONNECT)",
            "[thrd:h:1/bootstrap]: h:1/bootstrap: Disconnected (after 0ms in state UP)",
        ] {
            assert_ne!(subject_of(other), subject);
        }
        assert_eq!(
            subject_of("1/3 brokers are down (_ALL_BROKERS_DOWN)"),
            subject_of("3/3 brokers are down (_ALL_BROKERS_DOWN)")
        );
    }

    fn failure(log: &ThinnedLog, topic: &str) {
        let error = KafkaError::from_code(RDKafkaErrorCode::InvalidRecord);
        log.failure(topic, Persistence::NotPersisted, &error);
    }

    fn pending(log: &ThinnedLog) -> u64 {
        lock(&log.kinds).iter().map(|kind| kind.count).sum()
    }

    #[test]
    fn the_first_line_is_due_at_once_and_the_next_one_later() {
        let log = ThinnedLog::default();
        assert_eq!(log.next_due(), None);
        failure(&log, "a");
        failure(&log, "a");
        assert_eq!(log.next_due(), Some(Duration::ZERO));
        log.log_due();
        assert_eq!((pending(&log), log.next_due()), (0, None));
        failure(&log, "a");
        log.log_due();
        assert_eq!(pending(&log), 1);
        let wait = log.next_due().unwrap();
        assert!(Duration::ZERO < wait && wait <= INTERVAL);
        // Another topic is another kind.
        failure(&log, "b");
        assert_eq!(log.next_due(), Some(Duration::ZERO));
        log.log_due();
        assert_eq!(pending(&log), 1);
        log.log_all();
        assert_eq!((pending(&log), log.next_due()), (0, None));
    }

    #[test]
    fn a_line_is_due_again_after_the_interval() {
        let log = ThinnedLog::default();
        failure(&log, "a");
        log.log_due();
        failure(&log, "a");
        let kinds = lock(&log.kinds);
        let logged = kinds[0].logged.unwrap();
        assert_eq!(kinds[0].wait(logged), INTERVAL);
        assert_eq!(kinds[0].wait(logged + INTERVAL), Duration::ZERO);
    }

    #[test]
    fn the_number_of_kinds_is_bounded_and_none_is_lost() {
        let log = ThinnedLog::default();
        for index in 0..10 * MOST_KINDS {
            failure(&log, &index.to_string());
        }
        assert_eq!(pending(&log), 10 * MOST_KINDS as u64);
        assert_eq!(lock(&log.kinds).len(), MOST_KINDS + 1);
    }

    /// The parent logs its lines. In the child, locks of the subscriber may be held for ever.
    #[cfg(unix)]
    #[test]
    fn a_forked_child_logs_none_of_its_parents_lines() {
        use std::io;
        use std::sync::atomic::AtomicUsize;

        let log = ThinnedLog::default();
        failure(&log, "a");
        let mut log = Some(log);
        crate::ffi::in_child(move || {
            static LOGGED: AtomicUsize = AtomicUsize::new(0);
            let subscriber = tracing_subscriber::fmt().with_writer(|| {
                LOGGED.fetch_add(1, Ordering::SeqCst);
                io::sink()
            });
            tracing::subscriber::with_default(subscriber.finish(), || {
                if let Some(log) = log.take() {
                    failure(&log, "a");
                    log.log_all();
                }
            });
            match LOGGED.load(Ordering::SeqCst) {
                0 => Ok(()),
                _ => Err(io::Error::from_raw_os_error(1)),
            }
        });
    }

    #[test]
    fn a_line_says_how_many_it_stands_for() {
        let due = |count, since| Due {
            line: Line::Error(KafkaError::queue_full()),
            count,
            since,
        };
        let since = Some(Duration::from_millis(9_100));
        assert_eq!(due(1, None).more(), "");
        assert_eq!(due(1, since).more(), "");
        assert_eq!(due(18, since).more(), " (17 more like it in the last 10 s)");
    }
}
