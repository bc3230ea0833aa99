//! The callbacks of a producer: logs, errors, statistics, tokens, deliveries.

use std::sync::Arc;

use super::oauth_token::OAuthToken;
use super::partitioner::Partitioner;
use super::thinned_log::{current_client, log_error, log_line};
use crate::error::{BoxError, KafkaError};
use crate::message::{DeliveryResult, InterceptedRecord};
use crate::values::RDKafkaLogLevel;

/// Receives a client's logs, errors and statistics, and supplies its OAuth tokens.
///
/// Every method has a default, so `impl ClientContext for MyContext {}` is enough to begin with.
///
/// # Where the methods run
///
/// [`refresh_oauth_token`](Self::refresh_oauth_token) runs in a tokio task of its own. All other
/// methods run on the producer's driver task; for a [`BaseProducer`](crate::BaseProducer) they run
/// in [`poll`](crate::BaseProducer::poll). During teardown they may run on a thread outside the
/// runtime. If the runtime does not run the driver for 100 ms, because its threads are blocked, they
/// may run on the thread that waits for a flush, a close or a `blocking_` call; after 1 s, on a thread
/// of the crate.
///
/// They must not block, and they should be quick: reports of deliveries wait until they return. A
/// panic in one is caught, logged and counted. The producer continues.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a context: it does not implement `ClientContext`",
    label = "not a `ClientContext`",
    note = "every method has a default: `impl ClientContext for {Self} {{}}`",
    note = "a producer's context implements `ProducerContext` as well"
)]
pub trait ClientContext: Send + Sync + 'static {
    /// Called for each log line of librdkafka.
    ///
    /// `facility` names the part of librdkafka that logs, such as `FAIL` or `CONNECT`. Values of the
    /// configuration that may be secret are replaced by `[redacted]`.
    ///
    /// The default emits a [`tracing`] event with the target `librdkafka::FACILITY`. It
    /// [thins out](crate#logs) lines that repeat. A method of your own is called for all of them.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    /// Called once for each client-level error that librdkafka raises.
    ///
    /// Only fatal errors ([`KafkaError::is_fatal`]) need action; librdkafka recovers from the rest.
    /// Errors of single records are reported by their delivery.
    ///
    /// The default emits a [`tracing`] event with the target `librdkafka`. It
    /// [thins out](crate#logs) errors that repeat, and drops an error whose text librdkafka has also
    /// logged. A method of your own is called for all of them.
    fn error(&self, error: &KafkaError) {
        if error.is_fatal() {
            let (client, error) = (current_client(), error.to_string());
            tracing::error!(
                target: "librdkafka",
                client = client.as_deref(), error, "fatal error"
            );
        } else {
            log_error(error);
        }
    }

    /// Called with librdkafka's statistics as JSON, every `statistics.interval.ms` milliseconds.
    ///
    /// librdkafka's default for that property is 0, which switches statistics off. Its
    /// [STATISTICS.md] describes the fields. With the feature `statistics`,
    /// `Statistics::from_json` parses them, and `Producer::statistics` returns them parsed.
    ///
    /// [STATISTICS.md]: https://github.com/confluentinc/librdkafka/blob/v2.12.1/STATISTICS.md
    ///
    /// The default does nothing.
    ///
    /// librdkafka writes names into the JSON as they are. So a `client.id` or a topic with a quote
    /// is refused, and the reason of a fatal error is escaped. Host names are as brokers advertise
    /// them.
    fn stats(&self, json: &str) {
        let _ = json;
    }

    /// Returns a token for SASL/OAUTHBEARER authentication.
    ///
    /// A [`Producer`](crate::Producer) or [`TransactionalProducer`](crate::TransactionalProducer)
    /// calls it when it starts, and again after 80 % of a token's lifetime. It connects to no
    /// broker before it has the first token. `config` is the value of `sasl.oauthbearer.config`, if
    /// that is set.
    ///
    /// It is not called with `sasl.oauthbearer.method=oidc`, with which librdkafka fetches tokens
    /// itself, nor with `enable.sasl.oauthbearer.unsecure.jwt=true`.
    ///
    /// It runs in a task of its own, so it may await. There is no time limit. Meanwhile the old
    /// token is used until it expires, and messages wait up to `message.timeout.ms`. The task is
    /// aborted once the producer has closed.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use tokio_rdkafka::{BoxError, ClientContext, OAuthToken};
    ///
    /// struct Login {
    ///     principal: String,
    /// }
    ///
    /// impl ClientContext for Login {
    ///     async fn refresh_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, BoxError> {
    ///         let (token, lifetime) = ask_the_token_service(&self.principal).await?;
    ///         Ok(OAuthToken::new(token, &self.principal, SystemTime::now() + lifetime))
    ///     }
    /// }
    /// # async fn ask_the_token_service(_: &str) -> Result<(String, Duration), BoxError> {
    /// #     Ok(("token".to_owned(), Duration::from_secs(300)))
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If it returns an error, panics, or returns an invalid token, the producer calls
    /// [`error`](Self::error) with the code
    /// [`Authentication`](crate::RDKafkaErrorCode::Authentication). The text contains those of the
    /// error and of its sources, so they must not contain a secret.
    ///
    /// The producer calls it again about 10 seconds later. To retry sooner, retry inside the
    /// method.
    ///
    /// The default returns an error that says that the method is not implemented.
    fn refresh_oauth_token(
        &self,
        config: Option<&str>,
    ) -> impl Future<Output = Result<OAuthToken, BoxError>> + Send {
        let _ = config;
        std::future::ready(Err(
            "the producer's context does not implement ClientContext::refresh_oauth_token, which \
             sasl.mechanisms=OAUTHBEARER needs"
                .into(),
        ))
    }

    /// Called when a [`BaseProducer`](crate::BaseProducer) needs a token for SASL/OAUTHBEARER
    /// authentication.
    ///
    /// It is called at the times that [`refresh_oauth_token`](Self::refresh_oauth_token) describes.
    /// Answer soon, from any thread, by [`set_oauth_token`](crate::BaseProducer::set_oauth_token)
    /// or [`set_oauth_token_failure`](crate::BaseProducer::set_oauth_token_failure). Until then it
    /// is not called again.
    ///
    /// The default emits a [`tracing`] event with the target `librdkafka`.
    fn oauth_token_requested(&self, config: Option<&str>) {
        let _ = config;
        tracing::warn!(
            target: "librdkafka",
            client = current_client().as_deref(),
            "an OAUTHBEARER token is needed, and the producer's context does not implement \
             ClientContext::oauth_token_requested"
        );
    }
}

/// A [`ClientContext`] that also receives the result of each message's delivery.
///
/// Pass it to [`create_with_context`](crate::ClientConfig::create_with_context). Each record of the
/// producer then carries a value of type [`DeliveryOpaque`](Self::DeliveryOpaque), which comes back
/// in the delivery callback. Set it with [`opaque`](crate::ProducerRecord::opaque) or
/// [`with_opaque_to`](crate::ProducerRecord::with_opaque_to).
///
/// ```no_run
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tokio_rdkafka::{ClientConfig, ClientContext, DeliveryResult, Producer};
/// use tokio_rdkafka::{ProducerContext, ProducerRecord};
///
/// #[derive(Default)]
/// struct Counting {
///     failed: AtomicU64,
/// }
///
/// impl ClientContext for Counting {}
///
/// impl ProducerContext for Counting {
///     /// The number of the row in the source table.
///     type DeliveryOpaque = u64;
///
///     fn delivery(&self, result: &DeliveryResult<'_>, row: u64) {
///         if let Err(error) = result {
///             self.failed.fetch_add(1, Ordering::Relaxed);
///             eprintln!("row {row}: {error}");
///         }
///     }
/// }
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let producer: Producer<Counting> = ClientConfig::new()
///     .set("bootstrap.servers", "localhost:9092")
///     .set("enable.idempotence", "true")
///     .create_with_context(Counting::default())?;
/// let record = ProducerRecord::to("rows").payload("three apples").opaque(7);
/// producer.enqueue_detached(record).await?;
/// producer.send(ProducerRecord::with_opaque_to("rows", 8).payload("a pear")).await?;
/// producer.close().await;
/// println!("{} failed", producer.context().failed.load(Ordering::Relaxed));
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a producer's context: it does not implement `ProducerContext`",
    label = "not a `ProducerContext`",
    note = "implement `ProducerContext` with a type `DeliveryOpaque` (`()` if records carry no \
            value) and the callback `delivery`, and `ClientContext`, whose methods all have \
            defaults",
    note = "without delivery callbacks use `DefaultProducerContext`"
)]
pub trait ProducerContext: ClientContext {
    /// The value that a record carries for its delivery callback. `()` if you need none.
    type DeliveryOpaque: Send + Sync + 'static;

    /// Called exactly once for each enqueued message, with the result of its delivery.
    ///
    /// A failure that no future awaits is [logged](crate::Producer#failures-that-nobody-awaits) as
    /// well: the producer cannot know what the callback does with it.
    ///
    /// It is called before the message's future resolves. It runs where the methods of
    /// [`ClientContext`] run, so it must not block.
    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque);

    /// Called once for each record before it is produced, and may change it.
    ///
    /// It is called on the thread of the call that sends the record: of `send` and its like when
    /// their future is first polled, of a permit or a sink when it takes the record, of a stream
    /// while it is polled. The checks of the record, its capacity and the partitioner follow, and
    /// see the changed record. So the hook also sees a record that is then refused. The default does
    /// nothing and costs nothing.
    ///
    /// ```
    /// use tokio_rdkafka::{ClientContext, DeliveryResult, InterceptedRecord, ProducerContext};
    ///
    /// struct Tenant(String);
    ///
    /// impl ClientContext for Tenant {}
    ///
    /// impl ProducerContext for Tenant {
    ///     type DeliveryOpaque = ();
    ///
    ///     fn on_send(&self, record: &mut InterceptedRecord<'_, '_>) {
    ///         if record.headers().get("tenant").is_none() {
    ///             record.headers_mut().push("tenant", &self.0);
    ///         }
    ///     }
    ///
    ///     fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
    /// }
    /// ```
    ///
    /// # The record of an error
    ///
    /// If the record fails, its [`SendError`](crate::SendError) or
    /// [`EnqueueError`](crate::EnqueueError) returns it as the caller passed it, without the
    /// changes. So sending it again, also by
    /// [`resend_refused_batches`](crate::SendAll::resend_refused_batches), calls the hook for the
    /// same record as the first time: nothing is done twice. [`delivery`](Self::delivery) gets the
    /// message as it was produced.
    ///
    /// # What it should not do
    ///
    /// It must be quick and must not block: it runs in a task of the user's. It may send another
    /// record by [`try_enqueue`](crate::Producer::try_enqueue), for which it is called, too.
    ///
    /// If it panics, the panic is caught, logged and counted, and the record is produced as the
    /// caller passed it. A hook without which no record may be produced, as one that encrypts,
    /// should not panic: it can set an invalid partition such as −2, and the record is refused.
    #[inline]
    fn on_send(&self, record: &mut InterceptedRecord<'_, '_, Self::DeliveryOpaque>) {
        let _ = record;
    }

    /// Returns the partitioner for records without a partition.
    ///
    /// It is called when the producer is created, and if it returned a partitioner then, again for
    /// each record. The default returns `None`, and librdkafka chooses partitions according to the
    /// property `partitioner`.
    ///
    /// A partitioner of your own needs `sticky.partitioning.linger.ms=0`, because otherwise
    /// librdkafka would not call it for records without a key. The producer sets that value.
    /// Creating the producer fails if the configuration sets another value, or sets `partitioner`.
    fn partitioner(&self) -> Option<&dyn Partitioner> {
        None
    }
}

/// The context of a producer that was created without one.
///
/// It emits logs and errors as [`tracing`] events, and ignores statistics and deliveries. Failures
/// that no future awaits are [logged](crate::Producer#failures-that-nobody-awaits) with any context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DefaultProducerContext;

impl ClientContext for DefaultProducerContext {}

impl ProducerContext for DefaultProducerContext {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// Lets several producers share one context.
impl<T: ClientContext> ClientContext for Arc<T> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        (**self).log(level, facility, message);
    }

    fn error(&self, error: &KafkaError) {
        (**self).error(error);
    }

    fn stats(&self, json: &str) {
        (**self).stats(json);
    }

    fn refresh_oauth_token(
        &self,
        config: Option<&str>,
    ) -> impl Future<Output = Result<OAuthToken, BoxError>> + Send {
        (**self).refresh_oauth_token(config)
    }

    fn oauth_token_requested(&self, config: Option<&str>) {
        (**self).oauth_token_requested(config);
    }
}

impl<T: ProducerContext> ProducerContext for Arc<T> {
    type DeliveryOpaque = T::DeliveryOpaque;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        (**self).delivery(result, opaque);
    }

    #[inline]
    fn on_send(&self, record: &mut InterceptedRecord<'_, '_, Self::DeliveryOpaque>) {
        (**self).on_send(record);
    }

    fn partitioner(&self) -> Option<&dyn Partitioner> {
        (**self).partitioner()
    }
}
