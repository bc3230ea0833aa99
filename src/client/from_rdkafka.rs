//! Conversions between this crate's types and those of the crate `rdkafka`.

use rdkafka::config::RDKafkaLogLevel as TheirLogLevel;
use rdkafka::message::{self, BorrowedHeaders, Headers as _, OwnedHeaders, ToBytes};
use rdkafka::producer::{BaseRecord, FutureRecord};
use rdkafka::types::{RDKafkaErrorCode as TheirErrorCode, RDKafkaRespErr};
use rdkafka::util::IntoOpaque;

use super::config::ClientConfig;
use crate::error::RDKafkaErrorCode;
use crate::message::ProducerRecord;
use crate::values::{Headers, RDKafkaLogLevel, Timestamp};

// --- headers -------------------------------------------------------------------------------------

/// Copies the headers, for instance those of a message that a consumer has returned.
///
/// Available with the feature `rdkafka`.
///
/// # Panics
///
/// Panics if a name is not UTF-8, as `rdkafka::message::Headers::get` does.
impl From<&BorrowedHeaders> for Headers {
    fn from(theirs: &BorrowedHeaders) -> Self {
        let mut headers = Headers::with_capacity(theirs.count());
        headers.extend(theirs.iter().map(|header| (header.key, header.value)));
        headers
    }
}

/// Copies the headers. Available with the feature `rdkafka`.
///
/// ```
/// use rdkafka::message::{Header, OwnedHeaders};
/// use tokio_rdkafka::Headers;
///
/// let theirs = OwnedHeaders::new().insert(Header { key: "tenant", value: Some("7") });
/// assert_eq!(Headers::from(theirs), Headers::new().append("tenant", "7"));
/// ```
///
/// # Panics
///
/// Panics if a name is not UTF-8, as `rdkafka::message::Headers::get` does.
impl From<&OwnedHeaders> for Headers {
    fn from(theirs: &OwnedHeaders) -> Self {
        theirs.as_borrowed().into()
    }
}

/// Copies the headers. Available with the feature `rdkafka`.
///
/// # Panics
///
/// Panics if a name is not UTF-8, as `rdkafka::message::Headers::get` does.
impl From<OwnedHeaders> for Headers {
    fn from(theirs: OwnedHeaders) -> Self {
        (&theirs).into()
    }
}

/// Copies the headers. Available with the feature `rdkafka`.
///
/// A name that contains a NUL byte ends there: librdkafka reads names as C strings. A
/// [`ProducerRecord`] with such a name is refused instead.
impl From<&Headers> for OwnedHeaders {
    fn from(ours: &Headers) -> Self {
        let empty = OwnedHeaders::new_with_capacity(ours.len());
        ours.iter().fold(empty, |headers, header| {
            headers.insert(message::Header {
                key: header.name,
                value: header.value,
            })
        })
    }
}

/// Copies the headers as the conversion of `&Headers` does. Available with the feature `rdkafka`.
impl From<Headers> for OwnedHeaders {
    fn from(ours: Headers) -> Self {
        (&ours).into()
    }
}

// --- records -------------------------------------------------------------------------------------

/// The same record, which borrows the same bytes. Available with the feature `rdkafka`.
///
/// The timestamp 0, which means "now" to librdkafka, becomes none.
///
/// ```
/// use rdkafka::producer::FutureRecord;
/// use tokio_rdkafka::ProducerRecord;
///
/// let theirs = FutureRecord::to("orders").key("customer-7").payload("three apples");
/// let record = ProducerRecord::from(theirs);
/// assert_eq!(record.get_key(), Some(&b"customer-7"[..]));
/// ```
impl<'a, K, P> From<FutureRecord<'a, K, P>> for ProducerRecord<'a>
where
    K: ToBytes + ?Sized,
    P: ToBytes + ?Sized,
{
    fn from(theirs: FutureRecord<'a, K, P>) -> Self {
        let mut record = BaseRecord::<K, P>::to(theirs.topic);
        record.partition = theirs.partition;
        record.payload = theirs.payload;
        record.key = theirs.key;
        record.timestamp = theirs.timestamp;
        record.headers = theirs.headers;
        record.into()
    }
}

/// The same record with the same opaque. It borrows the same bytes. Available with the feature
/// `rdkafka`.
///
/// The timestamp 0, which means "now" to librdkafka, becomes none.
impl<'a, K, P, D> From<BaseRecord<'a, K, P, D>> for ProducerRecord<'a, D>
where
    K: ToBytes + ?Sized,
    P: ToBytes + ?Sized,
    D: IntoOpaque,
{
    fn from(theirs: BaseRecord<'a, K, P, D>) -> Self {
        let mut record = ProducerRecord::with_opaque_to(theirs.topic, theirs.delivery_opaque)
            .key(theirs.key.map(ToBytes::to_bytes))
            .payload(theirs.payload.map(ToBytes::to_bytes));
        if let Some(partition) = theirs.partition {
            record = record.partition(partition);
        }
        if let Some(millis) = theirs.timestamp.filter(|millis| *millis != 0) {
            record = record.timestamp(millis);
        }
        if let Some(headers) = theirs.headers {
            record = record.headers(headers.into());
        }
        record
    }
}

/// The same timestamp. Available with the feature `rdkafka`.
///
/// A message of a consumer has it: `record.timestamp(message.timestamp())`. The number −1, with
/// which librdkafka means that there is none, becomes [`Timestamp::NotAvailable`].
impl From<message::Timestamp> for Timestamp {
    fn from(theirs: message::Timestamp) -> Self {
        match theirs {
            _ if theirs.to_millis().is_none() => Timestamp::NotAvailable,
            message::Timestamp::NotAvailable => Timestamp::NotAvailable,
            message::Timestamp::CreateTime(millis) => Timestamp::CreateTime(millis),
            message::Timestamp::LogAppendTime(millis) => Timestamp::LogAppendTime(millis),
        }
    }
}

// --- configuration -------------------------------------------------------------------------------

/// Copies the properties, secrets included. Available with the feature `rdkafka`.
///
/// They are in the order of their names: rdkafka keeps no order. The log level is copied if it was
/// set. If it is the one that rdkafka takes from the crate `log` anyway, it is left out, because
/// this crate logs by `tracing`.
///
/// ```
/// use tokio_rdkafka::ClientConfig;
///
/// let mut theirs = rdkafka::ClientConfig::new();
/// theirs.set("bootstrap.servers", "localhost:9092").set("linger.ms", "5");
/// let mut config = ClientConfig::from(&theirs);
/// config.set("enable.idempotence", "true");
/// assert_eq!(config.get("linger.ms"), Some("5"));
/// ```
impl From<&rdkafka::ClientConfig> for ClientConfig {
    fn from(theirs: &rdkafka::ClientConfig) -> Self {
        let mut config = ClientConfig::new();
        // The values of this map are not all true: rdkafka masks secrets in it.
        for property in theirs.config_map().into_keys() {
            if let Some(value) = theirs.get(property) {
                config.set(property, value);
            }
        }
        let default = rdkafka::ClientConfig::new().log_level;
        if theirs.log_level as i32 != default as i32 {
            config.set_log_level(theirs.log_level.into());
        }
        config
    }
}

/// Copies the properties as the conversion of `&rdkafka::ClientConfig` does. Available with the
/// feature `rdkafka`.
impl From<rdkafka::ClientConfig> for ClientConfig {
    fn from(theirs: rdkafka::ClientConfig) -> Self {
        (&theirs).into()
    }
}

/// The same level. Available with the feature `rdkafka`.
impl From<TheirLogLevel> for RDKafkaLogLevel {
    fn from(theirs: TheirLogLevel) -> Self {
        RDKafkaLogLevel::from_syslog(theirs as i32)
    }
}

/// The same level. Available with the feature `rdkafka`.
impl From<RDKafkaLogLevel> for TheirLogLevel {
    fn from(ours: RDKafkaLogLevel) -> Self {
        match ours {
            RDKafkaLogLevel::Emerg => TheirLogLevel::Emerg,
            RDKafkaLogLevel::Alert => TheirLogLevel::Alert,
            RDKafkaLogLevel::Critical => TheirLogLevel::Critical,
            RDKafkaLogLevel::Error => TheirLogLevel::Error,
            RDKafkaLogLevel::Warning => TheirLogLevel::Warning,
            RDKafkaLogLevel::Notice => TheirLogLevel::Notice,
            RDKafkaLogLevel::Info => TheirLogLevel::Info,
            RDKafkaLogLevel::Debug => TheirLogLevel::Debug,
        }
    }
}

// --- error codes ---------------------------------------------------------------------------------

/// The same code. Available with the feature `rdkafka`.
///
/// ```
/// use tokio_rdkafka::RDKafkaErrorCode;
///
/// let theirs = rdkafka::types::RDKafkaErrorCode::QueueFull;
/// assert_eq!(RDKafkaErrorCode::from(theirs), RDKafkaErrorCode::QueueFull);
/// assert_eq!(rdkafka::types::RDKafkaErrorCode::from(RDKafkaErrorCode::QueueFull), theirs);
/// ```
impl From<TheirErrorCode> for RDKafkaErrorCode {
    fn from(theirs: TheirErrorCode) -> Self {
        RDKafkaErrorCode::from(theirs as i32)
    }
}

/// The same code. Available with the feature `rdkafka`.
impl From<RDKafkaRespErr> for RDKafkaErrorCode {
    fn from(theirs: RDKafkaRespErr) -> Self {
        RDKafkaErrorCode::from(theirs as i32)
    }
}

/// The same code, or `Unknown` for a code that rdkafka does not know. Available with the feature
/// `rdkafka`.
impl From<RDKafkaErrorCode> for TheirErrorCode {
    fn from(ours: RDKafkaErrorCode) -> Self {
        RDKafkaRespErr::try_from(ours.raw()).map_or(TheirErrorCode::Unknown, TheirErrorCode::from)
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Header;

    use super::*;

    fn owned(headers: &[(&str, Option<&[u8]>)]) -> OwnedHeaders {
        headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: *value })
            })
    }

    /// Names that repeat, bytes that are not UTF-8, an empty value, a null, an empty name.
    const HEADERS: &[(&str, Option<&[u8]>)] = &[
        ("a", Some(b"1")),
        ("b", None),
        ("a", Some(&[0xff, 0, 1])),
        ("é", Some(b"")),
        ("", Some(b"2")),
    ];

    #[test]
    fn headers_keep_order_duplicates_nulls_and_empty_values_in_both_ways() {
        let ours: Headers = HEADERS.iter().copied().collect();
        assert_eq!(Headers::from(owned(HEADERS)), ours);
        assert_eq!(Headers::from(owned(HEADERS).as_borrowed()), ours);
        let theirs = OwnedHeaders::from(ours);
        let pairs: Vec<_> = theirs.iter().map(|it| (it.key, it.value)).collect();
        assert_eq!(pairs, HEADERS);
    }

    #[test]
    fn no_headers_are_no_headers() {
        assert!(Headers::from(OwnedHeaders::new()).is_empty());
        assert_eq!(OwnedHeaders::from(Headers::new()).count(), 0);
    }

    #[test]
    fn a_name_ends_at_a_nul_byte_on_the_way_to_rdkafka() {
        let theirs = OwnedHeaders::from(Headers::new().append("a\0b", "1"));
        assert_eq!(theirs.get(0).key, "a");
    }

    #[test]
    fn a_future_record_keeps_all_its_fields() {
        let payload = vec![1, 2, 3];
        let theirs = FutureRecord::to("t")
            .key("k")
            .payload(&payload)
            .partition(3)
            .timestamp(1_700_000_000_000)
            .headers(owned(HEADERS));
        let record = ProducerRecord::from(theirs);
        assert_eq!(record.get_topic(), "t");
        assert_eq!(record.get_key(), Some(&b"k"[..]));
        assert_eq!(record.get_payload(), Some(&payload[..]));
        // It borrows what the other one has borrowed.
        let borrowed = record.get_payload().map(<[u8]>::as_ptr);
        assert_eq!(borrowed, Some(payload.as_ptr()));
        assert_eq!(record.get_partition(), Some(3));
        assert_eq!(record.get_timestamp(), Some(1_700_000_000_000));
        assert_eq!(record.get_headers(), &Headers::from(owned(HEADERS)));
    }

    #[test]
    fn a_base_record_keeps_its_opaque() {
        let theirs = BaseRecord::<str, [u8; 2], _>::with_opaque_to("t", Box::new(7_u64))
            .payload(&[1, 2])
            .partition(0);
        let record: ProducerRecord<'_, Box<u64>> = theirs.into();
        assert_eq!(**record.get_opaque(), 7);
        assert_eq!(record.get_key(), None);
        assert_eq!(record.get_payload(), Some(&[1, 2][..]));
        assert_eq!(record.get_partition(), Some(0));
    }

    #[test]
    fn null_and_empty_stay_apart() {
        let record = ProducerRecord::from(FutureRecord::<str, str>::to("t"));
        assert_eq!((record.get_key(), record.get_payload()), (None, None));
        let record = ProducerRecord::from(FutureRecord::to("t").key("").payload(""));
        let empty = Some(&b""[..]);
        assert_eq!((record.get_key(), record.get_payload()), (empty, empty));
        assert!(record.get_headers().is_empty());
    }

    #[test]
    fn what_librdkafka_takes_for_unset_is_unset() {
        let theirs = FutureRecord::<str, str>::to("t").partition(-1).timestamp(0);
        let record = ProducerRecord::from(theirs);
        assert_eq!(record.get_partition(), None);
        assert_eq!(record.get_timestamp(), None);
    }

    #[test]
    fn a_timestamp_keeps_its_kind() {
        let pairs = [
            (message::Timestamp::NotAvailable, Timestamp::NotAvailable),
            (message::Timestamp::CreateTime(-1), Timestamp::NotAvailable),
            (
                message::Timestamp::LogAppendTime(-1),
                Timestamp::NotAvailable,
            ),
            (message::Timestamp::CreateTime(5), Timestamp::CreateTime(5)),
            (
                message::Timestamp::LogAppendTime(5),
                Timestamp::LogAppendTime(5),
            ),
        ];
        for (theirs, ours) in pairs {
            assert_eq!(Timestamp::from(theirs), ours);
        }
    }

    #[test]
    fn a_configuration_keeps_its_secrets_and_does_not_show_them() {
        // All that rdkafka masks in its `config_map`.
        let secrets = [
            "sasl.password",
            "ssl.key.password",
            "ssl.keystore.password",
            "sasl.oauthbearer.client.secret",
        ];
        let mut theirs = rdkafka::ClientConfig::new();
        theirs.set("bootstrap.servers", "localhost:9092");
        for (number, property) in secrets.iter().enumerate() {
            theirs.set(*property, format!("hunter{number}"));
        }
        let config = ClientConfig::from(theirs);
        assert_eq!(config.iter().len(), 1 + secrets.len());
        for (number, property) in secrets.iter().enumerate() {
            assert_eq!(
                config.get(property),
                Some(format!("hunter{number}").as_str())
            );
        }
        assert!(!format!("{config:?}").contains("hunter"), "{config:?}");
    }

    #[test]
    fn only_a_log_level_that_was_set_is_taken_over() {
        let mut theirs = rdkafka::ClientConfig::new();
        assert_eq!(ClientConfig::from(&theirs).get("log_level"), None);
        // A property, which rdkafka overrides, stays one.
        theirs.set("log_level", "4");
        assert_eq!(ClientConfig::from(&theirs).get("log_level"), Some("4"));
        theirs.set_log_level(TheirLogLevel::Debug);
        assert_eq!(ClientConfig::from(&theirs).get("log_level"), Some("7"));
    }

    #[test]
    fn log_levels_are_the_same_in_both_ways() {
        for level in 0..8 {
            let ours = RDKafkaLogLevel::from_syslog(level);
            let theirs = TheirLogLevel::from(ours);
            assert_eq!(theirs as i32, level);
            assert_eq!(RDKafkaLogLevel::from(theirs), ours);
        }
    }

    #[test]
    fn every_error_code_is_the_same_in_both_ways() {
        for &raw in crate::error::KNOWN {
            let ours = RDKafkaErrorCode::from(raw);
            let theirs = TheirErrorCode::from(ours);
            assert!(
                theirs != TheirErrorCode::Unknown || ours == RDKafkaErrorCode::Unknown,
                "{ours:?}"
            );
            assert_eq!(RDKafkaErrorCode::from(theirs), ours, "{theirs:?}");
            let native = RDKafkaRespErr::try_from(raw).expect("a code of librdkafka");
            assert_eq!(RDKafkaErrorCode::from(native), ours);
        }
    }

    #[test]
    fn a_code_that_rdkafka_does_not_know_is_unknown() {
        let theirs = TheirErrorCode::from(RDKafkaErrorCode::from(30_000));
        assert_eq!(theirs, TheirErrorCode::Unknown);
    }
}
