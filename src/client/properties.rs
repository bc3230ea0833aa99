//! What librdkafka says about its properties: names, types and allowed values.

use crate::ffi::Conf;

/// A property in librdkafka's own table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) name: String,
    /// A range of numbers, or the names of the values. Empty if any text is allowed.
    allowed: String,
    pub(super) default: String,
    kind: Kind,
    is_of_consumers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Boolean,
    Choice,
    Flags,
    Other,
}

impl Property {
    /// Returns true if only a number or one of a few names is allowed, so that a wrong value may be
    /// shown.
    pub(super) fn is_plain(&self) -> bool {
        self.kind != Kind::Other
    }

    /// Returns true if [`allowed`](Self::allowed) lists the names of single values.
    pub(super) fn is_choice(&self) -> bool {
        self.kind == Kind::Choice || self.name.starts_with("sasl.mechanism")
    }

    /// Returns the allowed values as a part of a sentence, or `None` if any text is allowed.
    pub(super) fn allowed(&self) -> Option<String> {
        let of = |name: &str| name == self.name;
        if of("acks") || of("request.required.acks") {
            return Some("0, 1, and all or -1".to_owned());
        }
        if of("partitioner") {
            return Some(PARTITIONERS.to_owned());
        }
        if of("sasl.mechanism") || of("sasl.mechanisms") {
            return Some(MECHANISMS.join(", "));
        }
        let values = match self.kind {
            Kind::Other => return None,
            _ if self.allowed.is_empty() => return None,
            Kind::Number => self.allowed.replace(" .. ", ".."),
            Kind::Flags => format!("a list of {}", self.allowed),
            Kind::Boolean | Kind::Choice => self.allowed.clone(),
        };
        Some(values)
    }
}

/// The values of `partitioner`. They are not in librdkafka's table
/// (`rd_kafka_conf_validate_partitioner`).
const PARTITIONERS: &str = "random, consistent, consistent_random, murmur2, murmur2_random \
                            (Java's placement), fnv1a, fnv1a_random";

/// The values of `sasl.mechanism`, which librdkafka compares byte by byte.
pub(super) const MECHANISMS: &[&str] = &[
    "PLAIN",
    "SCRAM-SHA-256",
    "SCRAM-SHA-512",
    "OAUTHBEARER",
    "GSSAPI",
];

/// Returns all properties that librdkafka lists. Reads its whole table, so it is for errors only.
pub(super) fn all() -> Vec<Property> {
    Conf::properties_table().lines().filter_map(parse).collect()
}

/// Returns the property of that name, which may have the prefix `topic.`.
pub(super) fn find(name: &str) -> Option<Property> {
    let all = all();
    let is = |wanted: &str| all.iter().position(|found| found.name == wanted);
    let index = is(name).or_else(|| is(name.strip_prefix("topic.")?))?;
    all.into_iter().nth(index)
}

/// Parses a row: the name, C or P, the range, the default, the importance and the description.
fn parse(row: &str) -> Option<Property> {
    let cells: Vec<_> = row.splitn(6, " | ").map(str::trim).collect();
    let &[name, scope, allowed, default, _, description] = &*cells else {
        return None;
    };
    let (_, kind) = description.rsplit_once("*Type: ")?;
    let kind = match kind.trim_end_matches('*') {
        "integer" | "float" => Kind::Number,
        "boolean" => Kind::Boolean,
        "enum value" => Kind::Choice,
        "CSV flags" => Kind::Flags,
        _ if !allowed.is_empty() => Kind::Choice,
        _ => Kind::Other,
    };
    Some(Property {
        name: name.to_owned(),
        allowed: allowed.to_owned(),
        default: default.to_owned(),
        kind,
        is_of_consumers: scope == "C",
    })
}

/// Returns the known name that a wrong one was most likely meant to be.
pub(super) fn nearest(name: &str) -> Option<String> {
    let lower = name.trim().to_ascii_lowercase().replace(['_', '-'], ".");
    // `topic.` is a prefix that any topic property may have.
    let wanted = lower.strip_prefix("topic.").unwrap_or(&lower);
    let all = all().into_iter();
    all.filter(|property| !property.is_of_consumers)
        .map(|property| {
            let known = property.name.replace('_', ".");
            let distance = [&*lower, wanted].map(|text| strsim::osa_distance(text, &known));
            let is_part = wanted.len() >= 5
                && (known.starts_with(&format!("{wanted}."))
                    || known.ends_with(&format!(".{wanted}")));
            let of_part = if is_part { 3 } else { usize::MAX };
            let distance = distance[0].min(distance[1]).min(of_part);
            (distance, property.name.len(), property.name)
        })
        // A third of the letters may be wrong, and at most four.
        .filter(|(distance, len, _)| *distance <= (len / 3).min(4))
        .min()
        .map(|(_, _, found)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(name: &str) -> Option<String> {
        find(name).unwrap().allowed()
    }

    #[test]
    fn the_table_has_the_allowed_values() {
        assert_eq!(allowed("linger.ms").unwrap(), "0..900000");
        assert_eq!(
            allowed("topic.message.timeout.ms").unwrap(),
            "0..2147483647"
        );
        assert_eq!(allowed("enable.idempotence").unwrap(), "true, false");
        let codecs = allowed("compression.type").unwrap();
        assert_eq!(codecs, "none, gzip, snappy, lz4, zstd");
        assert!(allowed("debug").unwrap().contains("broker, topic"));
        assert!(allowed("ssl.endpoint.identification.algorithm").is_some());
        assert_eq!(allowed("client.id"), None);
        assert!(!find("client.id").unwrap().is_plain());
        assert!(find("security.protocol").unwrap().is_plain());
        assert_eq!(find("no.such.property"), None);
        assert!(all().len() > 150);
    }

    #[test]
    fn the_nearest_name_is_one_of_a_producer() {
        for (wrong, meant) in [
            ("bootstrap.server", Some("bootstrap.servers")),
            ("bootstrap_servers", Some("bootstrap.servers")),
            ("Bootstrap.Servers ", Some("bootstrap.servers")),
            ("lingerms", Some("linger.ms")),
            ("linger-ms", Some("linger.ms")),
            ("ack", Some("acks")),
            ("compresion.type", Some("compression.type")),
            ("enable.idempotent", Some("enable.idempotence")),
            ("topic.message.timeout", Some("message.timeout.ms")),
            ("sasl.pasword", Some("sasl.password")),
            ("transaction.id", Some("transactional.id")),
            ("compression", Some("compression.type")),
            ("idempotence", Some("enable.idempotence")),
            ("no.such.property", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong).as_deref(), meant, "{wrong}");
        }
    }
}
