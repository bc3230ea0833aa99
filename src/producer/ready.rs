//! Waiting until a broker is up.

use std::time::Duration;

use tokio::time;

use super::producer::Producer;
use crate::client::ProducerContext;
use crate::driver::{BrokerWaiter, Shared, Verdict};
use crate::error::KafkaError;

impl<C: ProducerContext> Producer<C> {
    /// Waits until a broker is up, has let the client log in, and has answered a request: of several,
    /// one is enough. Where that does not come about, it returns the reason, without waiting for a
    /// record to time out:
    ///
    /// - once all brokers have failed, with the reason of one of them;
    /// - of several, a second after one has failed in a way that does not go away by itself (a wrong
    ///   password, a certificate), or has closed the connection instead of an answer, if none is up by
    ///   then;
    /// - a second after the call, if that was so before it.
    ///
    /// librdkafka goes on trying in any case: it may be called again.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use tokio_rdkafka::{ClientConfig, ConnectFailure, Producer};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let producer: Producer =
    ///     ClientConfig::new().set("bootstrap.servers", "localhost:9092").create()?;
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
    /// While somebody waits, a thread of its own asks, by librdkafka's blocking call; it ends within a
    /// second after the last one has gone, and [`close`](Self::close) waits for it.
    ///
    /// Source: `rd_kafka_metadata`; the events `RD_KAFKA_EVENT_ERROR`, whose codes
    /// `_AUTHENTICATION`, `_SSL`, `_RESOLVE`, `_TRANSPORT` and `_ALL_BROKERS_DOWN` count. librdkafka
    /// holds identical ones back for 30 seconds, so the last one of each broker is kept. What it tells
    /// by a log line alone is known only where `log_level` is 6, as it is by default, or more.
    ///
    /// # Errors
    ///
    /// - [`connect_failure`](KafkaError::connect_failure) says why, where that is known;
    ///   [retriable](KafkaError::is_retriable) where it may go away by itself.
    /// - [`is_timed_out`](KafkaError::is_timed_out) after `timeout`, with the last failure of a broker
    ///   if there was one.
    /// - [Closed](KafkaError::is_closed), [fatal](KafkaError::is_fatal), or the system has no thread.
    ///
    /// # Cancel safety
    ///
    /// Dropping it stops the waiting.
    ///
    /// # Panics
    ///
    /// On a runtime without its time driver.
    pub async fn ready(&self, timeout: Duration) -> Result<(), KafkaError> {
        let shared = self.shared();
        shared.check_open()?;
        let waiter = BrokerWaiter::new(shared)?;
        match time::timeout(timeout, until_up(shared, &waiter)).await {
            Ok(result) => result,
            Err(_) => Err(KafkaError::not_ready(timeout, shared.broker_failure())),
        }
    }
}

async fn until_up<C: ProducerContext>(
    shared: &Shared<C>,
    waiter: &BrokerWaiter<'_, C>,
) -> Result<(), KafkaError> {
    loop {
        // Notified from here on, also before it is polled.
        let changed = shared.brokers.changed();
        match waiter.look()? {
            Verdict::Up => return Ok(()),
            Verdict::NotUp | Verdict::Wait(None) => changed.await,
            Verdict::Wait(Some(left)) => {
                // Either way it looks again.
                let _ = time::timeout(left, changed).await;
            }
        }
    }
}
