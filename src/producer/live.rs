//! Changes of a running producer: its password and its log level.

use super::producer::Producer;
use crate::client::ProducerContext;
use crate::error::KafkaError;
use crate::values::RDKafkaLogLevel;

impl<C: ProducerContext> Producer<C> {
    /// Replaces `sasl.username` and `sasl.password`, so that a rotated password needs no new
    /// producer.
    ///
    /// New connections log in with them, and so do connections that a broker makes log in again
    /// (`connections.max.reauth.ms`). Connections that are logged in stay, and records go on. The
    /// call does not check the password. If it is wrong, the next login fails, records wait for up
    /// to `message.timeout.ms`, and [`ready`](Self::ready) says why. Then call it again.
    ///
    /// To rotate a password, set the new one at the brokers, and then call this. A broker closes a
    /// connection whose login fails. librdkafka connects again and sends its records again.
    ///
    /// It returns at once. Clones share the login. Errors and log lines show neither value.
    ///
    /// ```no_run
    /// # async fn new_password() -> (String, String) {
    /// #     (String::new(), String::new())
    /// # }
    /// # async fn run(producer: tokio_rdkafka::Producer) -> Result<(), tokio_rdkafka::KafkaError> {
    /// loop {
    ///     let (username, password) = new_password().await;
    ///     producer.set_sasl_credentials(&username, &password)?;
    /// }
    /// # }
    /// ```
    ///
    /// Source: `rd_kafka_sasl_set_credentials`.
    ///
    /// # Errors
    ///
    /// No error shows a value. The login stays as it was.
    ///
    /// - [`InvalidArgument`](crate::RDKafkaErrorCode::InvalidArgument) if `sasl.mechanism` is not
    ///   `PLAIN` or `SCRAM-SHA-…`, or if `security.protocol` is not one with SASL. For tokens see
    ///   [`refresh_oauth_token`](crate::ClientContext::refresh_oauth_token).
    /// - [`InvalidArgument`](crate::RDKafkaErrorCode::InvalidArgument) if a value is empty,
    ///   contains a NUL byte, or has more than 65535 bytes. [`field`](KafkaError::field) names its
    ///   property.
    /// - The producer is [closed](KafkaError::is_closed).
    pub fn set_sasl_credentials(&self, username: &str, password: &str) -> Result<(), KafkaError> {
        self.shared().core.set_sasl_credentials(username, password)
    }

    /// Sets the lowest level of librdkafka's logs, instead of the one in the configuration.
    ///
    /// It works at once, for this producer and its clones. On a producer that has closed it does
    /// nothing.
    ///
    /// [`Debug`](RDKafkaLogLevel::Debug) logs only the parts of librdkafka that the property
    /// `debug` lists, which cannot be changed later. To be able to look closer, list them at the
    /// creation and lower the level:
    ///
    /// ```no_run
    /// use tokio_rdkafka::{ClientConfig, Producer, RDKafkaLogLevel};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let producer: Producer = ClientConfig::new()
    ///     .set("bootstrap.servers", "localhost:9092")
    ///     .set("debug", "broker,security,msg")
    ///     .create()?;
    /// producer.set_log_level(RDKafkaLogLevel::Info);
    /// // Later, while something is wrong:
    /// producer.set_log_level(RDKafkaLogLevel::Debug);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Below [`Info`](RDKafkaLogLevel::Info), [`ready`](Self::ready) does not notice failures that
    /// appear only in the log.
    ///
    /// Source: `rd_kafka_set_log_level`.
    pub fn set_log_level(&self, level: RDKafkaLogLevel) {
        self.shared().core.set_log_level(level);
    }
}
