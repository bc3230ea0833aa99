//! Turns a user's properties into a librdkafka configuration, and refuses those that cannot work.

use super::bootstrap;
use super::config::ClientConfig;
use super::config_errors::{bad_value, missing_for_mechanism, property_error, refused};
use super::config_values::{
    MAX_IDLE, MAX_RECONNECT_BACKOFF, SOCKET_TIMEOUT, batches_without_linger, is_transactional,
    max_idle, max_reconnect_backoff, socket_timeout, transaction_timeout,
};
use super::properties::MECHANISMS;
use super::secrets::{SERVERS, Secrets};
use crate::error::KafkaError;
use crate::ffi::Conf;

impl ClientConfig {
    /// Returns the librdkafka configuration for these properties.
    ///
    /// # Errors
    ///
    /// Returns an error that names the property.
    pub(crate) fn to_conf(&self) -> Result<Conf, KafkaError> {
        let mut conf = Conf::new();
        let secrets = self.secrets();
        let ours = [
            ("client.software.name", env!("CARGO_PKG_NAME")),
            ("client.software.version", env!("CARGO_PKG_VERSION")),
            ("log.queue", "true"),
        ];
        for (property, value) in ours.into_iter().chain(self.iter()) {
            conf.set(property, value)
                .map_err(|error| property_error(property, value, &error, &secrets))?;
            check_number(&conf, property, value, &secrets)?;
        }
        self.check_properties(&conf)?;
        self.check_servers(&conf)?;
        self.check_mechanism(&conf)?;
        check_client_id(&conf)?;
        self.check_linger(&conf)?;
        if is_transactional(&conf) && self.get(MAX_IDLE).is_none() {
            let idle = max_idle(transaction_timeout(&conf));
            conf.set(MAX_IDLE, &idle.as_millis().to_string())
                .expect("the value is in librdkafka's range");
        }
        if self.get(MAX_RECONNECT_BACKOFF).is_none() {
            let backoff = max_reconnect_backoff(&conf);
            conf.set(MAX_RECONNECT_BACKOFF, &backoff.to_string())
                .expect("the value is in librdkafka's range");
        }
        if self.get(SOCKET_TIMEOUT).is_none() {
            if let Some(timeout) = socket_timeout(&conf) {
                conf.set(SOCKET_TIMEOUT, &timeout.as_millis().to_string())
                    .expect("the value is in librdkafka's range");
            }
        }
        for (properties, value) in batches_without_linger(&conf) {
            if properties.iter().all(|it| self.get(it).is_none()) {
                conf.set(properties[0], value)
                    .expect("the value is in librdkafka's range");
            }
        }
        Ok(conf)
    }

    /// Refuses properties that librdkafka accepts and this crate cannot honour.
    fn check_properties(&self, conf: &Conf) -> Result<(), KafkaError> {
        let is = |property: &str, value: &str| conf.get(property).as_deref() == Some(value);
        let has_value = |property: &str| conf.get(property).is_some_and(|value| !value.is_empty());

        if !has_value("bootstrap.servers") && is("test.mock.num.brokers", "0") {
            return Err(KafkaError::config(
                Some("bootstrap.servers"),
                "configuration property bootstrap.servers is missing; set it to the host:port of a \
                 broker, with commas between several",
            ));
        }
        if is("delivery.report.only.error", "true") {
            return Err(refused(
                "delivery.report.only.error",
                "librdkafka would drop the reports of delivered messages, and their futures \
                 would never resolve; leave it at false",
            ));
        }
        let acks = conf.get("acks").and_then(|acks| acks.parse::<i32>().ok());
        if acks.is_some_and(|acks| acks > 1) {
            let names = ["acks", "request.required.acks", "topic.acks"];
            let set = names.into_iter().find(|name| self.get(name).is_some());
            let property = set.unwrap_or("topic.request.required.acks");
            let problem = Some("brokers refuse another number of replicas");
            let value = self.get(property).unwrap_or_default();
            return Err(bad_value(property, value, problem, &self.secrets()));
        }
        if self.get("enabled_events").is_some() {
            return Err(refused(
                "enabled_events",
                "which events are enabled is up to this crate; remove it",
            ));
        }
        if !is("log.queue", "true") {
            return Err(refused(
                "log.queue",
                "logs come through the queue that the driver serves; leave it at true",
            ));
        }
        if is("enable_sasl_queue", "true") {
            return Err(refused(
                "enable_sasl_queue",
                "nobody serves a separate queue for OAuth tokens; leave it at false",
            ));
        }
        if self.get("ut_handle_ProduceResponse").is_some() {
            return Err(refused(
                "ut_handle_ProduceResponse",
                "librdkafka would call the text as a function; remove it",
            ));
        }
        // librdkafka drops the white space, and takes what is left for an id.
        let id = self.get("transactional.id").unwrap_or_default();
        if !id.is_empty() && id.trim().is_empty() {
            return Err(refused(
                "transactional.id",
                "it is blank; set it to a text, or remove it",
            ));
        }
        for property in ["client.software.name", "client.software.version"] {
            let value = conf.get(property).unwrap_or_default();
            if !value.contains(|c: char| c.is_ascii_alphanumeric()) {
                return Err(refused(
                    property,
                    "without an ASCII letter or a digit librdkafka would read beyond its end",
                ));
            }
        }
        Ok(())
    }

    /// Refuses a list of servers that librdkafka would misread.
    fn check_servers(&self, conf: &Conf) -> Result<(), KafkaError> {
        // librdkafka puts its own servers in their place.
        if conf.get("test.mock.num.brokers").as_deref() != Some("0") {
            return Ok(());
        }
        let servers = conf.get("bootstrap.servers").unwrap_or_default();
        let security = conf.get("security.protocol").unwrap_or_default();
        let Some(problem) = bootstrap::problem(&servers, &security) else {
            return Ok(());
        };
        let set = self.iter().filter(|(name, _)| SERVERS.contains(name));
        let property = set.last().map_or("bootstrap.servers", |(name, _)| name);
        let shown = self.secrets().redact(&problem).into_owned();
        let text = format!("bad value for configuration property {property}: {shown}");
        Err(KafkaError::config(Some(property), text))
    }

    /// Refuses a SASL mechanism that librdkafka does not have, or not in this build.
    ///
    /// librdkafka would do so only if `security.protocol` enables SASL.
    fn check_mechanism(&self, conf: &Conf) -> Result<(), KafkaError> {
        let names = ["sasl.mechanism", "sasl.mechanisms"];
        let set = names.into_iter().find(|name| self.get(name).is_some());
        let security = conf.get("security.protocol").unwrap_or_default();
        if set.is_none() && !security.starts_with("sasl") {
            return Ok(());
        }
        let property = set.unwrap_or("sasl.mechanism");
        let mechanism = conf.get("sasl.mechanisms").unwrap_or_default();
        if let Some(feature) = missing_for_mechanism(&mechanism) {
            let text = match set {
                Some(_) => format!(
                    "bad value {mechanism:?} for configuration property {property}: the mechanism \
                     needs the feature `{feature}` of tokio-rdkafka"
                ),
                None => format!(
                    "configuration property {property} is missing: its default is {mechanism}, \
                     which needs the feature `{feature}` of tokio-rdkafka; set it to {}",
                    MECHANISMS.join(" or ")
                ),
            };
            return Err(KafkaError::config(Some(property), text));
        }
        // SCRAM-SHA-1 is not Kafka's, but librdkafka has it.
        if MECHANISMS.contains(&&*mechanism) || mechanism == "SCRAM-SHA-1" {
            return Ok(());
        }
        let upper = mechanism.to_ascii_uppercase();
        let problem = MECHANISMS
            .contains(&&*upper)
            .then(|| format!("write it as {upper}"));
        let secrets = self.secrets();
        Err(bad_value(
            property,
            &mechanism,
            problem.as_deref(),
            &secrets,
        ))
    }

    /// Refuses a `linger.ms` with which librdkafka opens no topic, so that no record can be sent.
    fn check_linger(&self, conf: &Conf) -> Result<(), KafkaError> {
        let is_set = |property: &&str| self.get(property).is_some();
        let mut names = ["linger.ms", "queue.buffering.max.ms"].into_iter();
        let Some(linger) = names.find(is_set) else {
            return Ok(());
        };
        let millis = |property: &str| conf.get(property)?.parse::<f64>().ok();
        // librdkafka returns no default of a topic property while none is set.
        let of_message = millis("message.timeout.ms").unwrap_or(300_000.0);
        // 0 is no limit.
        if of_message == 0.0 {
            return Ok(());
        }
        let (limit, timeout) = match millis("transaction.timeout.ms") {
            Some(timeout) if is_transactional(conf) => ("transaction.timeout.ms", timeout),
            _ => ("message.timeout.ms", of_message),
        };
        match millis("linger.ms") {
            Some(millis) if millis >= timeout => Err(refused(
                linger,
                &format!("it is {millis} ms, and must be below {limit}, which is {timeout} ms"),
            )),
            _ => Ok(()),
        }
    }

    /// Prepares the configuration for a partitioner of the context.
    ///
    /// # Errors
    ///
    /// Returns an error that names the property under which another partitioner would choose.
    pub(crate) fn prepare_for_partitioner(&self, conf: &mut Conf) -> Result<(), KafkaError> {
        const STICKY: &str = "sticky.partitioning.linger.ms";
        if self.get(STICKY).is_some() && conf.get(STICKY).as_deref() != Some("0") {
            return Err(refused(
                STICKY,
                "with a value above 0 librdkafka does not ask the context's partitioner about \
                 records without a key; remove it or set it to 0",
            ));
        }
        for property in ["partitioner", "topic.partitioner"] {
            if self.get(property).is_some() {
                return Err(refused(
                    property,
                    "the context has a partitioner; remove one of the two",
                ));
            }
        }
        conf.set(STICKY, "0")
            .expect("the value is in librdkafka's range");
        Ok(())
    }
}

/// Refuses a number that librdkafka has parsed as another one.
///
/// librdkafka parses the digits at the beginning, takes a leading 0 for octal, and truncates a
/// number that is too large.
fn check_number(
    conf: &Conf,
    property: &str,
    value: &str,
    secrets: &Secrets,
) -> Result<(), KafkaError> {
    // `topic.` is a prefix of topic properties, but also the beginning of other names.
    let of_topics = || conf.get(property.strip_prefix("topic.")?);
    let Some(text) = conf.get(property).or_else(of_topics) else {
        return Ok(());
    };
    let value = value.trim();
    // Not a number but a text, a flag or a choice.
    let Ok(parsed) = text.parse::<f64>() else {
        return Ok(());
    };
    // The only property with a fraction, under its two names.
    let is_fraction = matches!(property, "linger.ms" | "queue.buffering.max.ms");
    let is_text = text.trim() == value && !(is_fraction && parsed.is_nan());
    if is_text || property == "topic.auto.commit.interval.ms" {
        return Ok(());
    }
    let is_the_same = match value.parse::<f64>() {
        // librdkafka returns six digits of a fraction.
        Ok(given) => (given - parsed).abs() <= 1e-5 * parsed.abs(),
        // `acks`
        Err(_) => value.eq_ignore_ascii_case("all"),
    };
    if is_the_same {
        return Ok(());
    }
    let problem = "it is not a decimal number, or it is too large";
    Err(bad_value(property, value, Some(problem), secrets))
}

/// Refuses a `client.id` that would break the JSON of the statistics.
///
/// librdkafka writes strings into it as they are. The others are the names of topics, which are
/// checked when they are used, and of brokers.
fn check_client_id(conf: &Conf) -> Result<(), KafkaError> {
    let id = conf.get("client.id").unwrap_or_default();
    let is_bad = |c: char| c < ' ' || matches!(c, '"' | '\\');
    match id.chars().find(|&c| is_bad(c)) {
        Some(bad) => Err(refused(
            "client.id",
            &format!(
                "librdkafka would write its {bad:?} into the JSON of the statistics as it is; use \
                 no quotes, backslashes and control characters"
            ),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{java_properties, properties};
    use super::*;

    fn value_with(property: &str, properties: &[(&str, &str)]) -> String {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "localhost:9092");
        config.extend(properties.iter().copied());
        let conf = config.to_conf().unwrap();
        conf.get(property).unwrap()
    }

    /// The page for users has the defaults that really apply.
    #[test]
    fn the_table_in_the_docs_is_true() {
        let page = include_str!("../../docs/configuration.md");
        let config: ClientConfig = [("bootstrap.servers", "h")].into_iter().collect();
        let conf = config.to_conf().unwrap();
        let mut rows = 0;
        for row in page.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            let &[property, default, _unit, _what, java] = &*cells else {
                continue;
            };
            rows += 1;
            let property = property.trim_matches('`');
            let known = properties::find(property).expect(property);
            if property == "bootstrap.servers" {
                continue;
            }
            // librdkafka has no value of a topic property that is not set.
            let real = conf.get(property).unwrap_or(known.default);
            let real = if real.is_empty() { "–" } else { &real };
            assert_eq!(default.trim_matches('`'), real, "{property}");
            let java = java.split('`').nth(1).unwrap_or(property);
            let is_there = Conf::knows(java) || java_properties::replacement(java).is_some();
            assert!(is_there, "{property}: {java}");
        }
        assert!(rows >= 40, "{rows}");
    }

    #[test]
    fn without_linger_one_request_is_in_flight() {
        let with = |properties: &[(&str, &str)]| {
            let value = |property| value_with(property, properties);
            (
                value("max.in.flight"),
                value("sticky.partitioning.linger.ms"),
            )
        };
        let are = |in_flight: &str, sticky: &str| (in_flight.to_owned(), sticky.to_owned());
        let librdkafkas = are("1000000", "10");
        assert_eq!(with(&[]), librdkafkas);
        assert_eq!(with(&[("linger.ms", "1")]), librdkafkas);
        for linger in ["linger.ms", "queue.buffering.max.ms"] {
            for millis in ["0", "0.0", "0.999"] {
                assert_eq!(
                    with(&[(linger, millis)]),
                    are("1", "10"),
                    "{linger} {millis}"
                );
            }
        }
        let linger = ("linger.ms", "0");
        // librdkafka's limit.
        for idempotent in [
            ("enable.idempotence", "true"),
            ("transactional.id", "tests"),
        ] {
            assert_eq!(with(&[linger, idempotent]), librdkafkas);
        }
        // What the user sets stays, by either name.
        for name in ["max.in.flight", "max.in.flight.requests.per.connection"] {
            assert_eq!(with(&[linger, (name, "7")]), are("7", "10"));
        }
        let sticky = ("sticky.partitioning.linger.ms", "0");
        assert_eq!(with(&[linger, sticky]), are("1", "0"));
    }

    fn max_idle_with(properties: &[(&str, &str)]) -> String {
        value_with(MAX_IDLE, properties)
    }

    #[test]
    fn a_request_waits_a_second_longer_than_a_broker_may_take() {
        let with = |properties: &[(&str, &str)]| value_with(SOCKET_TIMEOUT, properties);
        assert_eq!(with(&[]), "31000");
        // Other requests need their time, too.
        assert_eq!(with(&[("request.timeout.ms", "5000")]), "31000");
        assert_eq!(with(&[("request.timeout.ms", "45000")]), "46000");
        assert_eq!(with(&[("topic.request.timeout.ms", "45000")]), "46000");
        assert_eq!(with(&[("request.timeout.ms", "90000")]), "60000");
        assert_eq!(with(&[(SOCKET_TIMEOUT, "60000")]), "60000");
    }

    /// librdkafka refuses one that is longer than the transaction, and has a default for it.
    #[test]
    fn a_request_does_not_wait_longer_than_a_transaction() {
        let id = ("transactional.id", "tests");
        let timeout = |millis| [id, ("transaction.timeout.ms", millis)];
        assert_eq!(value_with(SOCKET_TIMEOUT, &[id]), "31000");
        let properties = timeout("10000");
        // What is not set, librdkafka changes when a client is created.
        assert_eq!(value_with(SOCKET_TIMEOUT, &properties), "60000");
        assert_eq!(value_with(SOCKET_TIMEOUT, &timeout("31101")), "31000");
    }

    #[test]
    fn a_transactional_producer_closes_idle_connections_before_its_transactions_time_out() {
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
