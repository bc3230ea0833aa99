//! The configuration of a producer.

use std::fmt;
use std::time::Duration;

use super::context::{DefaultProducerContext, ProducerContext};
use super::secrets::{REDACTED, Secrets, is_sensitive};
use crate::error::KafkaError;
use crate::ffi::{Conf, ConfError};
use crate::values::RDKafkaLogLevel;

/// The configuration of a producer: librdkafka's properties, with librdkafka's defaults.
///
/// The properties are in librdkafka's CONFIGURATION.md; `bootstrap.servers` is the one that every
/// producer needs. They are applied in the order in which they were set.
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
/// # What is refused
///
/// Properties that cannot work with this crate are an error with the reason when a producer is
/// made: `delivery.report.only.error` (futures of delivered messages would never resolve),
/// `enabled_events` and `log.queue=false` (events and logs come through one queue),
/// `client.software.name` and `.version` without a letter or a digit and `ut_handle_ProduceResponse`
/// (librdkafka would read, or call, what is not there), `enable_sasl_queue` (nobody would serve it), a
/// `linger.ms` that is not below `message.timeout.ms`, or with `transactional.id` below
/// `transaction.timeout.ms` (no record could be sent), and numbers that librdkafka would take for
/// others: `5m`, `010`.
///
/// # What is set
///
/// With `transactional.id`, `connections.max.idle.ms` is half of `transaction.timeout.ms`, from 10 to
/// 30 seconds, where it is not set: without it, offsets may never be sent after the group's
/// coordinator was lost (librdkafka's issue 5511). It also closes a connection on which a request has
/// not been answered for so long, and the request is sent again: where brokers take longer, set it.
///
/// `Debug` strikes out values that may be secret: what librdkafka calls sensitive, and properties
/// that it does not know.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientConfig {
    properties: Vec<(String, String)>,
}

impl ClientConfig {
    /// librdkafka's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a property. One that was set before is replaced, and takes its place at the end.
    pub fn set(&mut self, property: impl Into<String>, value: impl Into<String>) -> &mut Self {
        let property = property.into();
        self.remove(&property);
        self.properties.push((property, value.into()));
        self
    }

    /// The value that was set for a property.
    pub fn get(&self, property: &str) -> Option<&str> {
        let found = self.properties.iter().find(|(name, _)| name == property);
        found.map(|(_, value)| value.as_str())
    }

    /// Goes back to librdkafka's default for a property.
    pub fn remove(&mut self, property: &str) -> &mut Self {
        self.properties.retain(|(name, _)| name != property);
        self
    }

    /// Sets the level of librdkafka's logs (the property `log_level`; its default is
    /// [`Info`](RDKafkaLogLevel::Info)). Which parts log at `Debug` the property `debug` says.
    pub fn set_log_level(&mut self, level: RDKafkaLogLevel) -> &mut Self {
        self.set("log_level", level.to_syslog().to_string())
    }

    /// The properties in the order in which they are applied.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.properties
            .iter()
            .map(|(property, value)| (property.as_str(), value.as_str()))
    }

    /// Makes a producer with the default context: a [`Producer`](crate::Producer), a
    /// [`TransactionalProducer`](crate::TransactionalProducer) or a
    /// [`BaseProducer`](crate::BaseProducer).
    ///
    /// # Errors
    ///
    /// Names the property that is unknown, missing, in conflict, refused or has a bad value; for
    /// all but a [`BaseProducer`](crate::BaseProducer), also where there is no runtime.
    pub fn create<T: FromClientConfig>(&self) -> Result<T, KafkaError> {
        T::from_config(self)
    }

    /// Makes a producer with that context.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn create_with_context<C, T>(&self, context: C) -> Result<T, KafkaError>
    where
        C: ProducerContext,
        T: FromClientConfigAndContext<C>,
    {
        T::from_config_and_context(self, context)
    }

    /// The configuration as librdkafka wants it.
    pub(crate) fn to_conf(&self) -> Result<Conf, KafkaError> {
        let mut conf = Conf::new();
        let ours = [
            ("client.software.name", env!("CARGO_PKG_NAME")),
            ("client.software.version", env!("CARGO_PKG_VERSION")),
            ("log.queue", "true"),
        ];
        for (property, value) in ours.into_iter().chain(self.iter()) {
            conf.set(property, value)
                .map_err(|error| config_error(property, value, &error))?;
            check_number(&conf, property, value)?;
        }
        self.check(&conf)?;
        if is_transactional(&conf) && self.get(MAX_IDLE).is_none() {
            let idle = max_idle(transaction_timeout(&conf));
            conf.set(MAX_IDLE, &idle.as_millis().to_string())
                .expect("the value is in librdkafka's range");
        }
        Ok(conf)
    }

    /// What librdkafka would take, but cannot work here.
    fn check(&self, conf: &Conf) -> Result<(), KafkaError> {
        let refuse = |property: &str, reason: &str| {
            let text = format!("configuration property {property} is refused: {reason}");
            Err(KafkaError::config(Some(property), text))
        };
        let is = |property: &str, value: &str| conf.get(property).as_deref() == Some(value);
        let is_set = |property: &str| conf.get(property).is_some_and(|value| !value.is_empty());

        if !is_set("bootstrap.servers") && is("test.mock.num.brokers", "0") {
            return Err(KafkaError::config(
                Some("bootstrap.servers"),
                "configuration property bootstrap.servers is missing",
            ));
        }
        if is("delivery.report.only.error", "true") {
            return refuse(
                "delivery.report.only.error",
                "librdkafka would drop the reports of delivered messages, and their futures \
                 would never resolve",
            );
        }
        if self.get("enabled_events").is_some() {
            return refuse(
                "enabled_events",
                "which events are enabled is up to this crate",
            );
        }
        if !is("log.queue", "true") {
            return refuse(
                "log.queue",
                "logs come through the queue that the driver serves",
            );
        }
        if is("enable_sasl_queue", "true") {
            return refuse(
                "enable_sasl_queue",
                "nobody serves a queue of its own for tokens",
            );
        }
        if self.get("ut_handle_ProduceResponse").is_some() {
            return refuse(
                "ut_handle_ProduceResponse",
                "librdkafka would call the text as a function",
            );
        }
        for property in ["client.software.name", "client.software.version"] {
            let value = conf.get(property).unwrap_or_default();
            if !value.contains(|c: char| c.is_ascii_alphanumeric()) {
                return refuse(
                    property,
                    "without a letter or a digit librdkafka would read beyond its end",
                );
            }
        }
        let millis = |property: &str| conf.get(property)?.parse::<f64>().ok();
        // librdkafka has it so for the topics, which would not come into being; 0 is no limit.
        // Before there is any property of topics, librdkafka does not tell it.
        let timeout = millis("message.timeout.ms").unwrap_or(300_000.0);
        let is_set = |property: &&str| self.get(property).is_some();
        let Some(linger) = ["linger.ms", "queue.buffering.max.ms"]
            .into_iter()
            .find(is_set)
        else {
            return Ok(());
        };
        if timeout == 0.0 {
            return Ok(());
        }
        if is_transactional(conf) && millis("linger.ms") >= millis("transaction.timeout.ms") {
            return refuse(
                linger,
                "it is not below transaction.timeout.ms, and with it message.timeout.ms",
            );
        }
        if !is_transactional(conf) && millis("linger.ms") >= Some(timeout) {
            return refuse(linger, "it is not below message.timeout.ms");
        }
        Ok(())
    }

    /// Makes way for a partitioner of the user's own.
    ///
    /// # Errors
    ///
    /// Names the property that would have another choose.
    pub(crate) fn make_way_for_partitioner(&self, conf: &mut Conf) -> Result<(), KafkaError> {
        const STICKY: &str = "sticky.partitioning.linger.ms";
        let refuse = |property: &str, reason: &str| {
            let text = format!("configuration property {property} is refused: {reason}");
            Err(KafkaError::config(Some(property), text))
        };
        if self.get(STICKY).is_some() && conf.get(STICKY).as_deref() != Some("0") {
            return refuse(
                STICKY,
                "with a value above 0 the context's partitioner would not be asked for records \
                 without a key",
            );
        }
        for property in ["partitioner", "topic.partitioner"] {
            if self.get(property).is_some() {
                return refuse(property, "the context has a partitioner of its own");
            }
        }
        conf.set(STICKY, "0")
            .expect("the value is in librdkafka's range");
        Ok(())
    }

    /// The values that must not show.
    pub(crate) fn secrets(&self) -> Secrets {
        Secrets::of(self.iter())
    }
}

/// Refuses what librdkafka takes for another number than it is: it takes the digits at the beginning,
/// octal ones behind a 0, and what is left of a number that is too large for it.
fn check_number(conf: &Conf, property: &str, value: &str) -> Result<(), KafkaError> {
    // Properties of topics may have a prefix, which some others have, too.
    let of_topics = || conf.get(property.strip_prefix("topic.")?);
    let Some(text) = conf.get(property).or_else(of_topics) else {
        return Ok(());
    };
    let value = value.trim();
    // A text, a flag or a choice.
    let Ok(taken) = text.parse::<f64>() else {
        return Ok(());
    };
    // Those that may have a fraction are the same property.
    let is_fraction = matches!(property, "linger.ms" | "queue.buffering.max.ms");
    let is_text = text.trim() == value && !(is_fraction && taken.is_nan());
    if is_text || property == "topic.auto.commit.interval.ms" {
        return Ok(());
    }
    let is_the_same = match value.parse::<f64>() {
        // Six digits are what librdkafka tells of one with a fraction.
        Ok(given) => (given - taken).abs() <= 1e-5 * taken.abs(),
        // `acks`
        Err(_) => value.eq_ignore_ascii_case("all"),
    };
    if is_the_same {
        return Ok(());
    }
    let text = format!(
        "bad value for configuration property {property}: it is not a decimal number, or too large"
    );
    Err(KafkaError::config(Some(property), text))
}

/// What librdkafka has been built without, where it does not take one of these.
fn missing_feature(property: &str, value: &str) -> Option<&'static str> {
    match (property, &*value.to_ascii_lowercase()) {
        ("security.protocol", "ssl" | "sasl_ssl") => Some("TLS takes the crate's feature `ssl`"),
        ("compression.type" | "compression.codec", "zstd") => {
            Some("zstd takes the crate's feature `zstd`")
        }
        _ => None,
    }
}

/// The error for a property that librdkafka does not take. Its own text may contain the value, so
/// only what is sure not to is taken from it.
fn config_error(property: &str, value: &str, error: &ConfError) -> KafkaError {
    let reason = match error {
        ConfError::Unknown => {
            let text = format!("unknown configuration property {property:?}");
            return KafkaError::config(Some(property), text);
        }
        ConfError::Invalid(text) => text,
    };
    let safe = [
        "outside allowed range",
        "not supported in this build",
        "NUL byte",
        "empty value",
    ];
    let told = safe
        .iter()
        .find_map(|known| Some(reason[reason.find(known)?..].to_owned()));
    let detail = told.or_else(|| Some(missing_feature(property, value)?.to_owned()));
    let detail = detail.map(|detail| format!(": {detail}"));
    KafkaError::config(
        Some(property),
        format!(
            "bad value for configuration property {property}{}",
            detail.unwrap_or_default()
        ),
    )
}

/// The error for a configuration that librdkafka refuses as a whole; its texts name the property.
pub(crate) fn creation_error(text: &str, secrets: &Secrets) -> KafkaError {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    let mut words = text
        .split(|c| !is_name(c))
        .map(|word| word.trim_end_matches('.'));
    let property = words.find(|word| {
        (word.contains('.') || text.contains(&format!("`{word}`"))) && Conf::knows(word)
    });
    KafkaError::config(
        property,
        format!("the client cannot be made: {}", secrets.redact(text)),
    )
}

const MAX_IDLE: &str = "connections.max.idle.ms";

/// After how long a connection is closed that nothing has come or gone on, where there are transactions.
///
/// While librdkafka sends offsets it waits for the group's coordinator without a limit of time. One
/// that is not in the cluster's metadata any more never gets a connection, and only when another
/// connection comes or goes does librdkafka ask who the coordinator is now (its issues 5456 and
/// 5511). Then nothing else may be going on, so that connections are idle, and this ends the wait,
/// before the transaction times out.
///
/// Not sooner than that: the connection may be waiting for an answer, for which librdkafka gives a
/// produce request 30 s by default (`request.timeout.ms`).
fn max_idle(transaction_timeout: Duration) -> Duration {
    (transaction_timeout / 2).clamp(Duration::from_secs(10), Duration::from_secs(30))
}

/// `transaction.timeout.ms`.
pub(crate) fn transaction_timeout(conf: &Conf) -> Duration {
    let millis = conf.get("transaction.timeout.ms");
    // librdkafka has checked it.
    let millis = millis.and_then(|millis| millis.parse().ok());
    Duration::from_millis(millis.unwrap_or(60_000))
}

/// Whether a configuration is for transactions.
pub(crate) fn is_transactional(conf: &Conf) -> bool {
    conf.get("transactional.id")
        .is_some_and(|id| !id.is_empty())
}

/// The limits of a producer's queue, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueLimits {
    /// `queue.buffering.max.messages`, which 0 switches off.
    pub(crate) messages: usize,
    /// `queue.buffering.max.kbytes`, in bytes.
    pub(crate) bytes: usize,
}

impl QueueLimits {
    /// Takes the limits out of the configuration: what librdkafka is left with never stops a
    /// message, because whoever takes them keeps its own count.
    pub(crate) fn take_from(conf: &mut Conf) -> Self {
        let number = |property| {
            let value = conf.get(property).and_then(|value| value.parse().ok());
            value.expect("librdkafka has an integer for its own property")
        };
        let messages: usize = number("queue.buffering.max.messages");
        let kbytes: usize = number("queue.buffering.max.kbytes");
        for (property, value) in [
            ("queue.buffering.max.messages", "0"),
            ("queue.buffering.max.kbytes", "2147483647"),
        ] {
            conf.set(property, value)
                .expect("the value is in librdkafka's range");
        }
        Self {
            messages: if messages == 0 { usize::MAX } else { messages },
            bytes: kbytes.saturating_mul(1024),
        }
    }
}

/// A producer that a configuration alone makes.
pub trait FromClientConfig: Sized {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// As [`ClientConfig::create`].
    fn from_config(config: &ClientConfig) -> Result<Self, KafkaError>;
}

/// A producer that a configuration and a context make.
pub trait FromClientConfigAndContext<C: ProducerContext>: Sized {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// As [`ClientConfig::create`].
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
                (property, value)
            }))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn max_idle_with(properties: &[(&str, &str)]) -> String {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "localhost:9092");
        config.extend(properties.iter().copied());
        let conf = config.to_conf().unwrap();
        conf.get(MAX_IDLE).unwrap()
    }

    #[test]
    fn idle_connections_are_closed_within_a_transaction() {
        let id = ("transactional.id", "tests");
        assert_eq!(max_idle_with(&[]), "0");
        assert_eq!(max_idle_with(&[id]), "30000");
        let timeout = |millis| max_idle_with(&[id, ("transaction.timeout.ms", millis)]);
        assert_eq!(timeout("900000"), "30000");
        assert_eq!(timeout("40000"), "20000");
        assert_eq!(timeout("1000"), "10000");
        assert_eq!(max_idle_with(&[id, (MAX_IDLE, "0")]), "0");
    }
}
