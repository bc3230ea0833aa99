//! What a producer tells its user beside the results of sends.

use std::sync::Arc;

use super::oauth_token::OAuthToken;
use super::partitioner::Partitioner;
use crate::error::{BoxError, KafkaError};
use crate::message::DeliveryResult;
use crate::values::RDKafkaLogLevel;

/// Logs, errors and statistics of a client, and its tokens.
///
/// All methods but [`refresh_oauth_token`](Self::refresh_oauth_token) run on the producer's driver task (of a [`BaseProducer`](crate::BaseProducer): in
/// `poll`), and at teardown maybe on a thread outside the runtime: they should be quick and must
/// not block. A panic in one is caught, logged and counted, and stops nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a context: it does not implement `ClientContext`",
    label = "not a `ClientContext`",
    note = "every method has a default: `impl ClientContext for {Self} {{}}`",
    note = "a producer's context implements `ProducerContext` as well"
)]
pub trait ClientContext: Send + Sync + 'static {
    /// A log line of librdkafka; `facility` says which part it is from. Values of the
    /// configuration that may be secret are struck out.
    ///
    /// The default makes a [`tracing`] event of it with the target `librdkafka`.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_to_tracing(level, facility, message);
    }

    /// An error of the client, not of one record: once for each that librdkafka raises. All but
    /// the fatal ones ([`KafkaError::is_fatal`]) are for information: librdkafka goes on by itself.
    ///
    /// The default makes a [`tracing`] event of it.
    fn error(&self, error: &KafkaError) {
        if error.is_fatal() {
            tracing::error!(target: "librdkafka", %error, "fatal error");
        } else {
            tracing::warn!(target: "librdkafka", %error, "client error");
        }
    }

    /// Statistics as JSON, every `statistics.interval.ms`: off by default, which is 0. See
    /// librdkafka's STATISTICS.md.
    ///
    /// The default does nothing.
    fn stats(&self, json: &str) {
        let _ = json;
    }

    /// Gets a token for SASL/OAUTHBEARER, of a [`Producer`](crate::Producer) and a
    /// [`TransactionalProducer`](crate::TransactionalProducer): at their start, before which nothing
    /// connects, and again when 80 % of a token's lifetime are over. `config` is
    /// `sasl.oauthbearer.config`, where it is set. With `sasl.oauthbearer.method=oidc` librdkafka
    /// gets the tokens itself.
    ///
    /// It runs in a task of its own, which is aborted when the producer has come to its end: it may
    /// take its time, while everything else goes on. There is no limit to that time; the old token is
    /// used until it expires, and messages wait for up to `message.timeout.ms`.
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
    /// An error, a panic or a token that is not valid goes to [`error`](Self::error), with the code
    /// [`Authentication`](crate::RDKafkaErrorCode::Authentication) and the texts of the error and its
    /// sources, each time; they should have no secret in them. It is called again some 10 seconds
    /// later; to be faster than that, try again within.
    ///
    /// The default returns an error that says that it is not implemented.
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

    /// A [`BaseProducer`](crate::BaseProducer) needs a token for SASL/OAUTHBEARER, as
    /// [`refresh_oauth_token`](Self::refresh_oauth_token) says: to be answered, soon and from
    /// anywhere, by [`set_oauth_token`](crate::BaseProducer::set_oauth_token) or
    /// [`set_oauth_token_failure`](crate::BaseProducer::set_oauth_token_failure). Without an answer it
    /// is not asked again.
    ///
    /// The default makes a [`tracing`] event of it.
    fn oauth_token_requested(&self, config: Option<&str>) {
        let _ = config;
        tracing::warn!(
            target: "librdkafka",
            "a token for OAUTHBEARER is wanted, and the producer's context does not implement \
             ClientContext::oauth_token_requested"
        );
    }
}

fn log_to_tracing(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::error!(target: "librdkafka", facility, ?level, "{message}");
        }
        RDKafkaLogLevel::Warning => {
            tracing::warn!(target: "librdkafka", facility, ?level, "{message}");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, ?level, "{message}");
        }
        RDKafkaLogLevel::Debug => {
            tracing::debug!(target: "librdkafka", facility, ?level, "{message}");
        }
    }
}

/// A [`ClientContext`] that hears of every delivery.
///
/// A producer with a context is made by
/// [`create_with_context`](crate::ClientConfig::create_with_context). Its records carry the
/// context's [`DeliveryOpaque`](Self::DeliveryOpaque), by [`opaque`](crate::ProducerRecord::opaque)
/// or [`with_opaque_to`](crate::ProducerRecord::with_opaque_to).
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
///     /// The row that the record was made from.
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
    note = "implement `ProducerContext` with a type `DeliveryOpaque` (`()` if records carry no value) \
            and the callback `delivery`, and `ClientContext`, whose methods all have defaults",
    note = "without delivery callbacks use `DefaultProducerContext`"
)]
pub trait ProducerContext: ClientContext {
    /// What a record carries for its delivery callback.
    type DeliveryOpaque: Send + Sync + 'static;

    /// What became of a message: called exactly once for each that was enqueued, before its future
    /// resolves. The rules of [`ClientContext`] hold.
    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque);

    /// What chooses the partitions of records that have none: looked at when the producer is made,
    /// and, if there is one then, for each record. By default there is none, which costs nothing, and
    /// librdkafka chooses as the property `partitioner` says.
    ///
    /// A producer with a partitioner has `sticky.partitioning.linger.ms` at 0: librdkafka would not ask
    /// for records without a key otherwise. Another value for it, or one for `partitioner`, is an error
    /// when the producer is made.
    fn partitioner(&self) -> Option<&dyn Partitioner> {
        None
    }
}

/// The context of producers that were given none: logs and errors go to [`tracing`], delivery
/// callbacks do nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DefaultProducerContext;

impl ClientContext for DefaultProducerContext {}

impl ProducerContext for DefaultProducerContext {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// A context that several producers share.
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

    fn partitioner(&self) -> Option<&dyn Partitioner> {
        (**self).partitioner()
    }
}
