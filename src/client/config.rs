//! The configuration of a producer.

use std::fmt;

use super::context::{DefaultProducerContext, ProducerContext};
use super::secrets::{REDACTED, Secrets, is_sensitive, shown_name};
use crate::error::KafkaError;
use crate::ffi::Conf;
use crate::values::RDKafkaLogLevel;

/// The configuration of a producer: librdkafka properties and their values.
///
/// Every producer needs `bootstrap.servers`. A property that is not set has librdkafka's default.
/// The page [`docs::configuration`](crate::docs::configuration) has those that most users meet, with
/// Java's names and how the time limits nest. librdkafka's [CONFIGURATION.md] lists all. Properties
/// are applied in the order in which they were set.
///
/// ```no_run
/// use tokio_rdkafka::{ClientConfig, Producer};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let producer: Producer = ClientConfig::new()
///     .set("bootstrap.servers", "localhost:9092")
///     .set("linger.ms", "5")
///     .set("enable.idempotence", "true")
///     .create()?;
/// # Ok(())
/// # }
/// ```
///
/// `Debug` replaces values that may be secret by `[redacted]`. These are the properties that
/// librdkafka calls sensitive, those that it does not know, keys and certificates in PEM, and logins
/// and parameters in URLs and lists of servers. Of a name it shows what is before a space, an equals
/// sign or another separator.
///
/// # Refused properties
///
/// Creating a producer fails if the configuration sets a property that this crate cannot honour:
///
/// - `delivery.report.only.error=true`: the futures of delivered messages would never resolve.
/// - `enabled_events`: this crate decides which events are enabled.
/// - `log.queue=false`: this crate gets librdkafka's logs through the client's queue.
/// - `enable_sasl_queue=true`: this crate serves no separate queue for OAuth tokens.
/// - `client.software.name` or `client.software.version` without an ASCII letter or digit:
///   librdkafka would read beyond the end of the value.
/// - `ut_handle_ProduceResponse`: librdkafka would call the text as a function.
/// - `linger.ms` not less than `message.timeout.ms`, or for a transactional producer not less than
///   `transaction.timeout.ms`: no record could be sent. A `message.timeout.ms` of 0 sets no limit.
/// - A `transactional.id` of white space alone.
/// - A number that librdkafka would read as another one, as `5m` or the octal `010`.
/// - `bootstrap.servers` that librdkafka would misread: no server, a port that is not from 1 to
///   65535, a number in place of a host, a scheme that does not fit `security.protocol`, a login,
///   the parameters of a URL.
/// - A `sasl.mechanism` that librdkafka does not have, or that needs a feature which is off. This
///   holds whatever `security.protocol` is.
/// - `client.id` with a quote, a backslash or a control character: the JSON of the statistics would
///   be invalid.
///
/// # Changed defaults
///
/// If `reconnect.backoff.max.ms` is not set, it becomes 500 ms, or `reconnect.backoff.ms` if that
/// is larger. librdkafka's default is 10 s. While a broker is down, librdkafka checks its messages
/// for timeouts only before each attempt to connect. With 10 s they would fail up to 10 s after
/// `message.timeout.ms`.
///
/// `socket.timeout.ms` is 31 s instead of 60 s, or a second more than `request.timeout.ms` if that
/// is above 30 s, and at most librdkafka's default. It limits how long a [broker that does not
/// answer](crate::Producer#a-broker-that-does-not-answer) stops the partitions that it leads. It is
/// longer than `request.timeout.ms`, so that a broker which waits for its replicas can say so
/// first.
///
/// If `linger.ms` is below 1 ms, `sticky.partitioning.linger.ms` stays 10 ms and, without
/// idempotence, `max.in.flight` is 1, unless they are set. A record that finds no request in flight
/// to its broker is sent at once. The records that come while one is in flight wait for its answer
/// and share the next requests. librdkafka's defaults are twice `linger.ms` and no limit: each of
/// hundreds of concurrent sends then gets a request of its own, and brokers answer those one after
/// another. For brokers that are far away, set [more](crate::docs::configuration#lingerms-below-1).
///
/// If `transactional.id` is set and `connections.max.idle.ms` is not, the latter becomes half of
/// `transaction.timeout.ms`, but at least 10 and at most 30 seconds. With librdkafka's default of 0
/// (never), a transaction may wait without end to send offsets after their group's coordinator was
/// lost ([issue 5511]).
///
/// A connection also counts as idle while a request on it waits for an answer. librdkafka then
/// closes the connection and sends the request again. If your brokers take that long to answer, set
/// a larger value.
///
/// [CONFIGURATION.md]: https://github.com/confluentinc/librdkafka/blob/v2.12.1/CONFIGURATION.md
/// [issue 5511]: https://github.com/confluentinc/librdkafka/issues/5511
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientConfig {
    properties: Vec<(String, String)>,
}

impl ClientConfig {
    /// Creates a configuration in which no property is set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a property. An earlier value is replaced, and the property moves to the end of the
    /// order.
    ///
    /// The value is checked when a producer is created.
    pub fn set(&mut self, property: impl Into<String>, value: impl Into<String>) -> &mut Self {
        let property = property.into();
        self.remove(&property);
        self.properties.push((property, value.into()));
        self
    }

    /// Returns the value that was set for a property, or `None` if it was not set.
    pub fn get(&self, property: &str) -> Option<&str> {
        let found = self.properties.iter().find(|(name, _)| name == property);
        found.map(|(_, value)| value.as_str())
    }

    /// Removes a property, so that librdkafka's default applies again.
    pub fn remove(&mut self, property: &str) -> &mut Self {
        self.properties.retain(|(name, _)| name != property);
        self
    }

    /// Sets the lowest level of librdkafka's logs (property `log_level`). The default is
    /// [`Info`](RDKafkaLogLevel::Info).
    ///
    /// [`Debug`](RDKafkaLogLevel::Debug) logs only the parts of librdkafka that the property
    /// `debug` lists. If that property is set, the producer begins with `Debug`.
    ///
    /// [`Producer::set_log_level`](crate::Producer::set_log_level) changes the level later.
    pub fn set_log_level(&mut self, level: RDKafkaLogLevel) -> &mut Self {
        self.set("log_level", level.to_syslog().to_string())
    }

    /// Returns the properties and their values, in the order in which they are applied.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.properties
            .iter()
            .map(|(property, value)| (property.as_str(), value.as_str()))
    }

    /// Creates a producer with the [default context](DefaultProducerContext).
    ///
    /// The type of the result decides which producer it is: a [`Producer`](crate::Producer), a
    /// [`TransactionalProducer`](crate::TransactionalProducer) or a
    /// [`BaseProducer`](crate::BaseProducer).
    ///
    /// # Errors
    ///
    /// Returns an error that names the property if one is unknown, missing, refused, in conflict
    /// with another, or has an invalid value. The error says what is allowed, and which feature of
    /// this crate is missing. For an unknown property it suggests the nearest known name, or what
    /// replaces a property of Java's client. For a TLS file it says the path and what is wrong.
    ///
    /// The error never shows a value that may be secret. It shows numbers, flags, choices from a
    /// list, servers without logins, and paths.
    ///
    /// Also fails if librdkafka cannot create the client, for instance without threads, or if the
    /// runtime has ended.
    ///
    /// A [`Producer`](crate::Producer) refuses `transactional.id`, and a
    /// [`TransactionalProducer`](crate::TransactionalProducer) requires it.
    ///
    /// Except for a [`BaseProducer`](crate::BaseProducer), also returns an error if it is called
    /// outside a tokio runtime.
    pub fn create<T: FromClientConfig>(&self) -> Result<T, KafkaError> {
        T::from_config(self)
    }

    /// Creates a producer with a context of your own, which gets its logs, errors, statistics and
    /// delivery reports.
    ///
    /// # Errors
    ///
    /// Fails as [`create`](Self::create) does.
    pub fn create_with_context<C, T>(&self, context: C) -> Result<T, KafkaError>
    where
        C: ProducerContext,
        T: FromClientConfigAndContext<C>,
    {
        T::from_config_and_context(self, context)
    }

    /// Returns the values that must not be shown.
    pub(crate) fn secrets(&self) -> Secrets {
        Secrets::of(self.iter())
    }
}

/// A producer that [`ClientConfig::create`] can create.
pub trait FromClientConfig: Sized {
    /// Creates the producer with the default context.
    ///
    /// # Errors
    ///
    /// Fails as [`ClientConfig::create`] does.
    fn from_config(config: &ClientConfig) -> Result<Self, KafkaError>;
}

/// A producer that [`ClientConfig::create_with_context`] can create.
pub trait FromClientConfigAndContext<C: ProducerContext>: Sized {
    /// Creates the producer with that context.
    ///
    /// # Errors
    ///
    /// Fails as [`ClientConfig::create`] does.
    fn from_config_and_context(config: &ClientConfig, context: C) -> Result<Self, KafkaError>;
}

impl<T: FromClientConfigAndContext<DefaultProducerContext>> FromClientConfig for T {
    fn from_config(config: &ClientConfig) -> Result<Self, KafkaError> {
        T::from_config_and_context(config, DefaultProducerContext)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for ClientConfig {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(properties: I) -> Self {
        let mut config = Self::new();
        config.extend(properties);
        config
    }
}

impl<K: Into<String>, V: Into<String>> Extend<(K, V)> for ClientConfig {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, properties: I) {
        for (property, value) in properties {
            self.set(property, value);
        }
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secrets = self.secrets();
        f.debug_map()
            .entries(self.iter().map(|(property, value)| {
                let shown = !is_sensitive(property) && Conf::knows(property);
                let value = if shown {
                    secrets.redact(value)
                } else {
                    REDACTED.into()
                };
                (shown_name(property).0, value)
            }))
            .finish()
    }
}
