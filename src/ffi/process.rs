//! Which process this is. A forked child has none of its parent's threads, so also none of
//! librdkafka's.

use std::sync::atomic::{AtomicU32, Ordering};

/// How often this process was forked off, since its first ancestor that had a client.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The process in which a client was created.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(u32);

impl Process {
    /// Returns the process that this is.
    pub(crate) fn current() -> Self {
        #[cfg(unix)]
        count_forks();
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// Returns false in a child that the process has forked.
    #[inline]
    pub(crate) fn is_current(self) -> bool {
        self.0 == FORKS.load(Ordering::Relaxed)
    }
}

#[cfg(unix)]
fn count_forks() {
    use std::ffi::c_int;
    use std::sync::Once;

    type Handler = extern "C" fn();

    unsafe extern "C" {
        fn pthread_atfork(
            prepare: Option<Handler>,
            parent: Option<Handler>,
            child: Option<Handler>,
        ) -> c_int;
    }

    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler may run in any child, where only async-signal-safe code is allowed: it
        // adds to an atomic integer. The system calls it no more once it has unloaded this library.
        // Without memory for the handler, forks go unnoticed.
        unsafe { pthread_atfork(None, None, Some(in_child)) };
    });
}

/// How long a child may take in a test.
#[cfg(all(test, unix))]
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(60);

/// Runs `look` in a forked child, for a test. It must need no lock that is held at the fork.
///
/// # Panics
///
/// Panics if it fails, or if it hangs.
#[cfg(all(test, unix))]
#[track_caller]
pub(crate) fn in_child(look: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static) {
    use std::os::unix::process::CommandExt;
    let (done, looked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut child = std::process::Command::new("true");
        // SAFETY: the closure uses what the child has a copy of. By contract it needs no lock that
        // another thread may hold.
        unsafe { child.pre_exec(look) };
        let status = child.status();
        let _ = done.send(status.map(|status| status.success()));
        // The parent's copies of what the closure captures are dropped after this.
    });
    let status = looked.recv_timeout(DEADLINE).expect("the child hangs");
    assert!(status.expect("it fails in the child"));
}

#[cfg(all(test, unix))]
mod tests {
    use std::io;
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::DEADLINE;
    use crate::{BaseProducer, ClientConfig, KafkaError, Producer, ProducerRecord, PurgeConfig};

    /// The error says that this is a forked child.
    fn says_so(error: &KafkaError) -> bool {
        error.is_closed() && error.to_string().contains("was forked")
    }

    fn fails<T>(result: Option<Result<T, KafkaError>>) -> bool {
        result
            .and_then(Result::err)
            .is_some_and(|error| says_so(&error))
    }

    /// What is wrong in the child, by its number.
    fn look(producer: Producer, base: BaseProducer) -> Result<(), i32> {
        let record = || ProducerRecord::to("t").payload("v");
        let sent = producer.send(record()).now_or_never();
        let sent = sent.map(|sent| sent.map_err(KafkaError::from));
        let flushed = producer.flush().now_or_never();
        let flushed = flushed.map(|flushed| flushed.map_err(|error| error.error().clone()));
        let purge = producer.purge(PurgeConfig::default().queue());
        let checks = [
            fails(Some(
                producer.try_enqueue(record()).map_err(KafkaError::from),
            )),
            fails(sent),
            // The queue is full.
            fails(Some(producer.try_reserve().map(drop))),
            fails(producer.reserve().now_or_never()),
            fails(flushed),
            fails(producer.ready(DEADLINE).now_or_never()),
            fails(producer.cluster(DEADLINE).now_or_never()),
            fails(producer.topics(DEADLINE).now_or_never()),
            fails(Some(producer.topic("t"))),
            producer.is_closed(),
            purge.now_or_never() == Some(0),
            producer.close().now_or_never().is_some(),
            fails(Some(base.send(record()).map_err(KafkaError::from))),
            fails(Some(base.flush(DEADLINE))),
            fails(Some(base.begin_transaction())),
            base.poll(Duration::MAX) == 0,
        ];
        base.purge(PurgeConfig::default().queue());
        // A drop waits for nobody either.
        drop(base);
        drop(producer);
        match checks.iter().position(|is_right| !is_right) {
            None => Ok(()),
            Some(index) => Err(i32::try_from(index).expect("few checks") + 1),
        }
    }

    #[test]
    fn calls_in_a_forked_child_fail_and_none_waits() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut config = ClientConfig::new();
        // A port that nobody listens on.
        config.set("bootstrap.servers", "127.0.0.1:1");
        let base: BaseProducer = config.create().unwrap();
        base.send(ProducerRecord::to("t")).unwrap();
        config.set("queue.buffering.max.messages", "1");
        let producer = Producer::builder(&config)
            .runtime(runtime.handle().clone())
            .create()
            .unwrap();
        let _future = producer.try_enqueue(ProducerRecord::to("t")).unwrap();

        let (done, looked) = mpsc::channel();
        let theirs = producer.clone();
        thread::spawn(move || {
            let mut both = Some((theirs, base));
            let mut child = Command::new("true");
            // SAFETY: the closure uses what the child has a copy of. No lock that it needs is held at
            // the fork: nobody else uses these producers, whose driver waits.
            unsafe {
                child.pre_exec(move || {
                    let (producer, base) = both.take().expect("called once");
                    look(producer, base).map_err(io::Error::from_raw_os_error)
                });
            }
            let status = child.status();
            let _ = done.send(status.map(|status| status.success()));
            // The parent's copies go on.
            drop(child);
        });
        let status = looked.recv_timeout(DEADLINE).expect("the child hangs");
        match status {
            Ok(success) => assert!(success),
            Err(error) => panic!("check {:?} fails", error.raw_os_error()),
        }
        // The parent is not closed, and its record is in flight.
        assert!(!producer.is_closed());
        assert_eq!(producer.in_flight_count(), 1);
    }
}
