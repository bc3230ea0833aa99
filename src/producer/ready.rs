//! The wait for a broker that is up.

use std::time::{Duration, Instant};

use super::producer::Producer;
use super::timer::Timer;
use crate::client::ProducerContext;
use crate::driver::{BrokerWaiter, Verdict, served};
use crate::error::KafkaError;

impl<C: ProducerContext> Producer<C> {
    /// Waits until at least one broker is connected, authenticated and answering requests.
    ///
    /// If that fails, it returns why, without waiting for a record to time out. It fails:
    ///
    /// - 1 s after all brokers have failed, with the reason of one of them;
    /// - 1 s after one broker has failed for a lasting reason, such as a wrong password or a bad
    ///   certificate, if no other broker is up by then;
    /// - 1 s after one broker has closed the connection instead of answering, if none is up by
    ///   then;
    /// - 1 s after the call, if one of these was the case before it.
    ///
    /// In that second librdkafka connects to the other addresses of a host name that has several.
    ///
    /// An answer of a server of `bootstrap.servers` is not enough, because records go to the
    /// addresses that the cluster advertises. `ready` waits until a broker has answered there. If
    /// none does, the error names those addresses, up to three.
    ///
    /// librdkafka keeps trying to connect in any case, so `ready` can be called again.
    ///
    /// ```no_run
    /// use std::time::{Duration, Instant};
    /// use tokio_rdkafka::{ClientConfig, ConnectFailure, Producer};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let producer: Producer = ClientConfig::new()
    ///     .set("bootstrap.servers", "localhost:9092")
    ///     .set("enable.idempotence", "true")
    ///     .create()?;
    /// if let Err(error) = producer.ready(Duration::from_secs(30)).await {
    ///     match error.connect_failure() {
    ///         Some(ConnectFailure::Authentication) => eprintln!("look at the password: {error}"),
    ///         Some(ConnectFailure::Expired) => eprintln!("call the operators: {error}"),
    ///         _ => eprintln!("{error}"),
    ///     }
    ///     return Err(error.into());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A broker that needs more than 3 s for an answer to a metadata request is not up.
    ///
    /// All callers share one thread that asks the brokers: see [threads](Self#threads). It ends
    /// within 3 s after the last caller has stopped waiting, and [`close`](Self::close) waits for
    /// it.
    ///
    /// Source: `rd_kafka_metadata` (`orig_broker_id`) and the event `RD_KAFKA_EVENT_ERROR` with the
    /// codes `_AUTHENTICATION`, `_SSL`, `_RESOLVE`, `_TRANSPORT`, `_BAD_MSG` and
    /// `_ALL_BROKERS_DOWN`. librdkafka suppresses identical errors for 30 s, so the last one of
    /// each broker is kept. Some failures appear only in librdkafka's log; they count if
    /// `log_level` is at least 6, which is the default.
    ///
    /// # Errors
    ///
    /// - No broker is up. [`connect_failure`](KafkaError::connect_failure) says why, if that is
    ///   known. [`is_retriable`](KafkaError::is_retriable) is true if the reason may go away by
    ///   itself.
    /// - [Timed out](KafkaError::is_timed_out) after `timeout`. Its source is the last failure of a
    ///   broker, or the advertised addresses that do not answer, if that is known.
    /// - The producer is [closed](KafkaError::is_closed) or has had a [fatal](KafkaError::is_fatal)
    ///   error, or the system cannot start a thread.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the wait and has no other effect.
    pub async fn ready(&self, timeout: Duration) -> Result<(), KafkaError> {
        let shared = self.shared();
        shared.check_open()?;
        let waiter = BrokerWaiter::new(shared);
        let began = Instant::now();
        let not_ready = || Err(KafkaError::not_ready(timeout, shared.broker_failure()));
        let up = async {
            loop {
                // Created before the look: it also resolves for what changes before it is polled.
                let changed = shared.brokers.changed();
                let verdict = waiter.look()?;
                if verdict == Verdict::Up {
                    return Ok(());
                }
                if began.elapsed() >= timeout {
                    return not_ready();
                }
                match verdict {
                    // Changed or not, the next turn looks again.
                    Verdict::Wait(Some(left)) => {
                        let _ = Timer::limit_answer(self.runtime(), left, changed).await;
                    }
                    _ => changed.await,
                }
            }
        };
        let up = Timer::limit_answer(self.runtime(), timeout, served(shared, up)).await;
        up.unwrap_or_else(|elapsed| not_ready().map_err(|error| elapsed.explain(shared, error)))
    }
}
