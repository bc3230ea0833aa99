//! How a producer hands its statistics out.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{Either, select};
use tokio::sync::watch;

use super::statistics::Statistics;
use crate::client::ProducerContext;
use crate::error::KafkaError;
use crate::producer::{Access, Producer};
use crate::sync::{catch_panic, log};
use crate::transaction::TransactionalProducer;

impl<C: ProducerContext, A: Access> Producer<C, A> {
    /// Returns a receiver of librdkafka's statistics, every `statistics.interval.ms` milliseconds.
    ///
    /// The value is `None` until the next document, or the last one if another receiver has got
    /// it. A receiver sees the newest value only. Once the producer has closed, `changed` returns
    /// an error, and the last value stays. A receiver does not keep the producer open.
    ///
    /// Clone the `Arc` out of a receiver, and do not hold its `borrow` across an `.await`. New
    /// statistics wait for the end of a borrow, and block a thread of the runtime meanwhile. On a
    /// runtime with one thread nothing would go on.
    ///
    /// ```no_run
    /// use tokio_rdkafka::{ClientConfig, Producer};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let producer: Producer = ClientConfig::new()
    ///     .set("bootstrap.servers", "localhost:9092")
    ///     .set("statistics.interval.ms", "5000")
    ///     .create()?;
    /// let mut statistics = producer.statistics()?;
    /// tokio::spawn(async move {
    ///     while statistics.changed().await.is_ok() {
    ///         let Some(statistics) = statistics.borrow_and_update().clone() else {
    ///             continue;
    ///         };
    ///         for broker in statistics.brokers.values() {
    ///             println!("{}: {}, p99 {} µs", broker.name, broker.state, broker.rtt.p99);
    ///         }
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    ///
    /// A document has about 1 KiB for each partition and 3 KiB for each broker. Each call of this
    /// method parses it once, in a task on the producer's runtime; clones of a receiver share that.
    /// So call it once, and keep the receiver or clone it. Nothing is parsed while nobody holds a
    /// receiver. [`ClientContext::stats`](crate::ClientContext::stats) gets the JSON in any case.
    ///
    /// A document that cannot be parsed is skipped. One warning is logged.
    ///
    /// # Errors
    ///
    /// - `statistics.interval.ms` is 0, which is its default: librdkafka writes no statistics.
    ///   [`field`](KafkaError::field) names the property.
    /// - The producer is [closed](KafkaError::is_closed).
    pub fn statistics(&self) -> Result<watch::Receiver<Option<Arc<Statistics>>>, KafkaError> {
        let documents = self.shared().statistics()?;
        let (sender, receiver) = watch::channel(None);
        let client = self.shared().core.client_name().map(str::to_owned);
        self.spawn(parse(client, documents, sender));
        Ok(receiver)
    }
}

impl<C: ProducerContext> TransactionalProducer<C> {
    /// Returns a receiver of librdkafka's statistics, as [`Producer::statistics`] does.
    ///
    /// It goes on if a [renewal](Self#renewal) replaces the client. The counts of the next client
    /// begin at zero.
    ///
    /// # Errors
    ///
    /// Same as [`Producer::statistics`].
    pub fn statistics(&self) -> Result<watch::Receiver<Option<Arc<Statistics>>>, KafkaError> {
        self.producer().statistics()
    }
}

/// Parses documents until the producer has terminated, or nobody holds a receiver.
async fn parse(
    client: Option<String>,
    mut documents: watch::Receiver<Option<Arc<str>>>,
    statistics: watch::Sender<Option<Arc<Statistics>>>,
) {
    let mut has_warned = false;
    loop {
        let document = documents.borrow_and_update().clone();
        match document.as_deref().map(Statistics::from_json) {
            // Its wakers are foreign code.
            Some(Ok(new)) => {
                let _ = catch_panic(|| statistics.send_replace(Some(Arc::new(new))));
            }
            Some(Err(error)) if !has_warned => {
                has_warned = true;
                let error = error.to_string();
                let client = client.as_deref();
                log(|| tracing::warn!(client, error, "librdkafka's statistics cannot be parsed"));
            }
            Some(Err(_)) | None => {}
        }
        drop(document);
        let changed = pin!(documents.changed());
        match select(changed, pin!(statistics.closed())).await {
            Either::Left((Ok(()), _)) => {}
            Either::Left((Err(_), _)) | Either::Right(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::task::yield_now;

    use super::*;
    use crate::sync::lock;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn documents_that_cannot_be_parsed_are_skipped_with_one_warning() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
        let _guard = tracing::subscriber::set_default(subscriber.finish());
        let (documents, of_documents) = watch::channel(None);
        let (sender, mut statistics) = watch::channel(None);
        let parsing = tokio::spawn(parse(None, of_documents, sender));
        for bad in ["", "{", r#"{"ts": "b"}"#] {
            documents.send_replace(Some(bad.into()));
            // The task runs until it waits for the next one.
            yield_now().await;
            assert!(statistics.borrow().is_none());
        }
        documents.send_replace(Some(r#"{"ts": 7}"#.into()));
        statistics.changed().await.unwrap();
        let last = statistics.borrow_and_update().clone();
        assert_eq!(last.unwrap().ts, 7);
        drop(documents);
        parsing.await.unwrap();
        let text = String::from_utf8(lock(&log.0).clone()).unwrap();
        assert_eq!(text.matches("cannot be parsed").count(), 1, "{text}");
    }
}
