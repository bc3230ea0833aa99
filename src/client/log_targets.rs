//! `tracing` events with a target for each facility of librdkafka.
//!
//! The macros of `tracing` need targets that are known when the crate is compiled, and librdkafka
//! has some two hundred facilities. So each facility and level gets a callsite of its own when its
//! first line is logged.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock};

use tracing::callsite::{self, Callsite, Identifier};
use tracing::field::{self, FieldSet, Value};
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::metadata::Kind;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, dispatcher};

use crate::sync::lock;
use crate::values::RDKafkaLogLevel;

/// The target of all lines whose facility has none of its own.
const TARGET: &str = "librdkafka";

/// The fields of a line, in the order of [`emit`].
const FIELDS: &[&str] = &["message", "facility", "level", "client", "broker"];

/// The most callsites, which live for ever. librdkafka's facilities are fixed, but a plugin's may be
/// anything.
const MOST_CALLSITES: usize = 2048;

/// The longest facility that librdkafka passes on (`rko_u.log.fac`) is shorter.
const LONGEST_FACILITY: usize = 64;

/// What `tracing` knows of the lines of one facility and level.
struct FacilityCallsite {
    metadata: OnceLock<Metadata<'static>>,
    /// No subscriber wants its events.
    is_off: AtomicBool,
}

impl FacilityCallsite {
    /// Creates one that is never dropped: `tracing` keeps a reference to it.
    fn leak(facility: Option<&str>, level: Level) -> &'static Self {
        let target: &'static str = match facility {
            Some(facility) => Box::leak(format!("{TARGET}::{facility}").into_boxed_str()),
            None => TARGET,
        };
        let leaked: &'static Self = Box::leak(Box::new(Self {
            metadata: OnceLock::new(),
            is_off: AtomicBool::new(false),
        }));
        leaked.metadata.get_or_init(|| {
            let fields = FieldSet::new(FIELDS, Identifier(leaked));
            Metadata::new(
                "log line of librdkafka",
                target,
                level,
                None,
                None,
                None,
                fields,
                Kind::EVENT,
            )
        });
        leaked
    }
}

impl Callsite for FacilityCallsite {
    fn set_interest(&self, interest: Interest) {
        self.is_off.store(interest.is_never(), Ordering::Release);
    }

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata.get().expect("it is set at once")
    }
}

/// Returns the callsite of a facility and a level.
fn callsite_of(facility: &str, level: Level) -> &'static FacilityCallsite {
    type Known = HashMap<(String, Level), &'static FacilityCallsite>;
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_target = !facility.is_empty()
        && facility.len() <= LONGEST_FACILITY
        && facility.bytes().all(is_plain);
    let mut known = lock(&KNOWN);
    let facility = if is_target && known.len() < MOST_CALLSITES {
        facility
    } else {
        ""
    };
    let key = (facility.to_owned(), level);
    if let Some(callsite) = known.get(&key) {
        return callsite;
    }
    let leaked = FacilityCallsite::leak((!facility.is_empty()).then_some(facility), level);
    known.insert(key, leaked);
    // It asks subscribers, which are foreign code.
    drop(known);
    callsite::register(leaked);
    leaked
}

/// Emits a line of librdkafka as an event with the target `librdkafka::FACILITY`.
pub(super) fn emit(
    level: RDKafkaLogLevel,
    facility: &str,
    client: Option<&str>,
    text: fmt::Arguments<'_>,
    broker: Option<&str>,
) {
    let severity = match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => Level::ERROR,
        RDKafkaLogLevel::Warning => Level::WARN,
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => Level::INFO,
        RDKafkaLogLevel::Debug => Level::DEBUG,
    };
    if severity > STATIC_MAX_LEVEL || severity > LevelFilter::current() {
        return;
    }
    let callsite = callsite_of(facility, severity);
    if callsite.is_off.load(Ordering::Acquire) {
        return;
    }
    let metadata = callsite.metadata.get().expect("it is set at once");
    dispatcher::get_default(|current| {
        if current.enabled(metadata) {
            let level = field::debug(level);
            let values: [Option<&dyn Value>; 5] = [
                Some(&text),
                Some(&facility),
                Some(&level),
                client.as_ref().map(|client| client as &dyn Value),
                broker.as_ref().map(|broker| broker as &dyn Value),
            ];
            let fields = metadata.fields();
            let mut names = fields.iter();
            let values = values.map(|value| (names.next().expect("as many names"), value));
            let values = values.each_ref().map(|(name, value)| (name, *value));
            current.event(&Event::new(metadata, &fields.value_set(&values)));
        }
    });
}

/// Returns the name of the broker that a line of librdkafka is about, if it is about one.
///
/// librdkafka writes `[thrd:THREAD]: BROKER: text`. The broker is `PROTOCOL://HOST:PORT/ID`, without
/// the protocol if it is plaintext, and with `bootstrap` in place of an unknown id
/// (`rd_kafka_mk_brokername`). Coordinators have names of their own.
pub(super) fn broker_in(line: &str) -> Option<&str> {
    let text = match line.strip_prefix("[thrd:") {
        Some(rest) => rest.split_once("]: ")?.1,
        None => line,
    };
    let (name, _) = text.split_once(": ")?;
    if name.contains(char::is_whitespace) {
        return None;
    }
    let (node, id) = name.rsplit_once('/').unwrap_or((name, ""));
    let is_logical = matches!(node, "GroupCoordinator" | "TxnCoordinator");
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    let is_broker = match id {
        "" => is_logical,
        "bootstrap" | "internal" => true,
        _ => is_id,
    };
    is_broker.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_broker_or_none() {
        for (line, broker) in [
            (
                "[thrd:a:1/bootstrap]: a:1/bootstrap: Connect failed",
                Some("a:1/bootstrap"),
            ),
            (
                "[thrd:main]: sasl_ssl://a.b:9094/12: SASL: x/y",
                Some("sasl_ssl://a.b:9094/12"),
            ),
            ("[::1]:9093/1: Disconnected", Some("[::1]:9093/1")),
            (":0/internal: Terminating", Some(":0/internal")),
            (
                "[thrd:TxnCoordinator]: TxnCoordinator: Connect failed",
                Some("TxnCoordinator"),
            ),
            (
                "[thrd:TxnCoordinator]: TxnCoordinator/1: Disconnected",
                Some("TxnCoordinator/1"),
            ),
            ("[thrd:main]: Topic t [0]: no leader", None),
            ("[thrd:app]: librdkafka v2.12.1 initialized", None),
            ("1/1 brokers are down", None),
            ("[thrd:", None),
            ("", None),
        ] {
            assert_eq!(broker_in(line), broker, "{line}");
        }
    }

    #[test]
    fn a_facility_without_a_name_for_a_target_shares_that_of_all() {
        for facility in ["", "a b", "a=b", "ä", &"A".repeat(65)] {
            let callsite = callsite_of(facility, Level::INFO);
            assert_eq!(callsite.metadata().target(), "librdkafka", "{facility:?}");
        }
        let callsite = callsite_of("FAIL", Level::INFO);
        assert_eq!(callsite.metadata().target(), "librdkafka::FAIL");
        assert!(std::ptr::eq(callsite, callsite_of("FAIL", Level::INFO)));
        let warnings = callsite_of("FAIL", Level::WARN);
        assert_eq!(*warnings.metadata().level(), Level::WARN);
    }
}
