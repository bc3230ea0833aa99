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
    /// The property of which this is another name.
    alias_of: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Boolean,
    Choice,
    Flags,
    /// A pointer, which only code in C can set.
    Pointer,
    Other,
}

impl Property {
    /// Returns true if only a number or one of a few names is allowed, so that a wrong value may be
    /// shown.
    pub(super) fn is_plain(&self) -> bool {
        !matches!(self.kind, Kind::Pointer | Kind::Other)
    }

    /// Returns the name that librdkafka's errors use.
    pub(super) fn main_name(&self) -> &str {
        self.alias_of.as_deref().unwrap_or(&self.name)
    }

    /// Returns true if [`allowed`](Self::allowed) lists the names of single values.
    pub(super) fn is_choice(&self) -> bool {
        self.kind == Kind::Choice || self.name.starts_with("sasl.mechanism")
    }

    /// Returns the allowed values as a part of a sentence, or `None` if any text is allowed.
    pub(super) fn allowed(&self) -> Option<String> {
        let of = |name: &str| name == self.name;
        if of("acks") || of("request.required.acks") {
            return Some("0, 1, -1, all".to_owned());
        }
        if of("partitioner") {
            return Some(PARTITIONERS.to_owned());
        }
        if of("sasl.mechanism") || of("sasl.mechanisms") {
            return Some(MECHANISMS.join(", "));
        }
        if let Some((_, form)) = FORMS.iter().find(|(name, _)| of(name)) {
            return Some((*form).to_owned());
        }
        let values = match self.kind {
            Kind::Pointer | Kind::Other => return None,
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

/// The texts that librdkafka parses, and refuses without a reason.
const FORMS: &[(&str, &str)] = &[
    (
        "broker.version.fallback",
        "a version of Kafka, such as 0.10.0",
    ),
    (
        "builtin.features",
        "the features of this build alone; remove it",
    ),
    (
        "plugin.library.paths",
        "paths of shared libraries that can be loaded, with semicolons between several",
    ),
    (
        "topic.blacklist",
        "regular expressions, with commas between several",
    ),
];

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
        "see dedicated API" => Kind::Pointer,
        _ if !allowed.is_empty() => Kind::Choice,
        _ => Kind::Other,
    };
    let alias_of = description.strip_prefix("Alias for `");
    let alias_of = alias_of.and_then(|it| it.split('`').next());
    Some(Property {
        alias_of: alias_of.map(str::to_owned),
        name: name.to_owned(),
        allowed: allowed.to_owned(),
        default: default.to_owned(),
        kind,
        is_of_consumers: scope == "C",
    })
}

/// Returns the known name that a wrong one was most likely meant to be, and their
/// [distance](Wanted::distance).
pub(super) fn nearest(wanted: &Wanted) -> Option<(usize, String)> {
    let all = all().into_iter();
    all.filter(|property| !property.is_of_consumers && property.kind != Kind::Pointer)
        .filter_map(|Property { name, .. }| Some((wanted.distance(&name)?, name)))
        // The same distance: rather the path of a file than its text, rather a short name.
        .min_by_key(|(distance, name)| (*distance, !name.ends_with(".location"), name.len()))
}

/// A name that librdkafka does not know, prepared to be compared with known ones.
pub(super) struct Wanted {
    lower: String,
}

impl Wanted {
    pub(super) fn new(name: &str) -> Self {
        Self {
            lower: name.trim().to_ascii_lowercase().replace(['_', '-'], "."),
        }
    }

    /// Returns the number of letters by which the name differs from a known one. `None` if it
    /// differs too much.
    pub(super) fn distance(&self, known: &str) -> Option<usize> {
        const OF_PART: usize = 3;
        let len = known.len();
        let known = known.replace('_', ".");
        // `topic.` is a prefix that any topic property may have.
        let wanted = self.lower.strip_prefix("topic.").unwrap_or(&self.lower);
        // Other programs have prefixes of their own, such as `kafka.` and `producer.`.
        let is_prefixed = || {
            let before = self.lower.strip_suffix(&*known);
            before.is_some_and(|it| it.ends_with('.'))
        };
        if is_prefixed() {
            return Some(0);
        }
        let is_part = wanted.len() >= 5
            && (known.starts_with(&format!("{wanted}.")) || known.ends_with(&format!(".{wanted}")));
        let of_part = if is_part { OF_PART } else { usize::MAX };
        let distances = [&*self.lower, wanted].map(|text| strsim::osa_distance(text, &known));
        let distance = distances[0].min(distances[1]).min(of_part);
        // A third of the letters may be wrong, and at most four.
        (distance <= (len / 3).min(4)).then_some(distance)
    }
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
            ("kafka.bootstrap.servers", Some("bootstrap.servers")),
            ("producer.acks", Some("acks")),
            ("spring.kafka.producer.client-id", Some("client.id")),
            // Not those that only code in C can set.
            ("ssl.ca", Some("ssl.ca.location")),
            ("partitioner.type", None),
            ("partitioner.callback", None),
            ("no.such.property", None),
            ("x", None),
            ("", None),
        ] {
            let found = nearest(&Wanted::new(wrong)).map(|(_, name)| name);
            assert_eq!(found.as_deref(), meant, "{wrong}");
        }
    }
}
