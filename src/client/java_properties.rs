//! The properties of Java's producer that librdkafka does not have, and what to use instead.

use super::properties::Wanted;

/// Returns what to use instead of a property of Java's producer, as a whole clause. `None` if Java
/// has no such property, or if librdkafka has it too.
///
/// Source: `ProducerConfig`, `SslConfigs` and `SaslConfigs` of Kafka 4.
pub(super) fn replacement(property: &str) -> Option<&'static str> {
    let found = REPLACEMENTS.iter().find(|(name, _)| *name == property);
    found.map(|(_, instead)| *instead).or_else(|| {
        let of = |prefixes: &[&str]| prefixes.iter().any(|it| property.starts_with(it));
        if of(&["sasl.login.refresh.", "sasl.login.retry."]) {
            return Some("ClientContext::refresh_oauth_token decides when to get a token");
        }
        if of(&["metrics.", "metric."]) {
            return Some(STATISTICS);
        }
        None
    })
}

/// Returns the property of Java's producer that a wrong name was most likely meant to be, what to
/// use instead, and the [distance](Wanted::distance) of the names.
pub(super) fn nearest(wanted: &Wanted) -> Option<(usize, &'static str, &'static str)> {
    REPLACEMENTS
        .iter()
        .filter_map(|&(name, instead)| Some((wanted.distance(name)?, name, instead)))
        .min_by_key(|&(distance, name, _)| (distance, name.len()))
}

const STATISTICS: &str =
    "set statistics.interval.ms and implement ClientContext::stats to get metrics";
const TRUSTED: &str = "put the CA certificates into a PEM file and set ssl.ca.location to it, or \
                       set ssl.ca.pem to its text";
const PAYLOADS: &str = "remove it and give the record bytes: the payload and the key of a \
                        ProducerRecord are what your serializer returns";
const OPENSSL: &str = "remove it: OpenSSL and its configuration file decide";
const CALLBACKS: &str = "remove it and implement ClientContext::refresh_oauth_token";
const LEVEL: &str = "set compression.level";

const REPLACEMENTS: &[(&str, &str)] = &[
    ("auto.include.jmx.reporter", STATISTICS),
    (
        "buffer.memory",
        "set queue.buffering.max.kbytes, in KiB (buffer.memory divided by 1024)",
    ),
    ("compression.gzip.level", LEVEL),
    ("compression.lz4.level", LEVEL),
    ("compression.zstd.level", LEVEL),
    (
        "config.providers",
        "remove it and read the values before you set them",
    ),
    (
        "interceptor.classes",
        "remove it and implement ProducerContext::delivery, which gets every result",
    ),
    ("key.serializer", PAYLOADS),
    (
        "max.block.ms",
        "call ProducerBuilder::max_block, or a method with a timeout such as \
         Producer::send_timeout",
    ),
    (
        "max.request.size",
        "set message.max.bytes, in bytes as well",
    ),
    (
        "metadata.max.idle.ms",
        "set topic.metadata.refresh.interval.ms or metadata.max.age.ms",
    ),
    (
        "partitioner.adaptive.partitioning.enable",
        "remove it: records without a key stay with a partition for sticky.partitioning.linger.ms",
    ),
    (
        "partitioner.availability.timeout.ms",
        "remove it: librdkafka chooses among available partitions for records without a key",
    ),
    (
        "partitioner.class",
        "set partitioner (murmur2_random is Java's placement), or implement \
         ProducerContext::partitioner",
    ),
    (
        "partitioner.ignore.keys",
        "set partitioner=random instead of partitioner.ignore.keys=true",
    ),
    (
        "receive.buffer.bytes",
        "set socket.receive.buffer.bytes, in bytes as well, where 0 is the system's default",
    ),
    ("sasl.client.callback.handler.class", CALLBACKS),
    (
        "sasl.jaas.config",
        "set sasl.mechanism, sasl.username and sasl.password",
    ),
    (
        "sasl.kerberos.ticket.renew.jitter",
        "set sasl.kerberos.min.time.before.relogin, in ms",
    ),
    (
        "sasl.kerberos.ticket.renew.window.factor",
        "set sasl.kerberos.min.time.before.relogin, in ms",
    ),
    ("sasl.login.callback.handler.class", CALLBACKS),
    ("sasl.login.class", CALLBACKS),
    ("sasl.login.connect.timeout.ms", CALLBACKS),
    ("sasl.login.read.timeout.ms", CALLBACKS),
    ("security.providers", "set ssl.providers"),
    (
        "send.buffer.bytes",
        "set socket.send.buffer.bytes, in bytes as well, where 0 is the system's default",
    ),
    (
        "socket.connection.setup.timeout.max.ms",
        "set socket.connection.setup.timeout.ms, which does not grow",
    ),
    ("ssl.enabled.protocols", OPENSSL),
    ("ssl.engine.factory.class", "set ssl.engine.location"),
    ("ssl.keymanager.algorithm", OPENSSL),
    (
        "ssl.keystore.certificate.chain",
        "set ssl.certificate.pem to the text, or ssl.certificate.location to a PEM file",
    ),
    (
        "ssl.keystore.key",
        "set ssl.key.pem to the text, or ssl.key.location to a PEM file",
    ),
    (
        "ssl.keystore.type",
        "remove it: ssl.keystore.location is a PKCS#12 file, and PEM files go to \
         ssl.certificate.location and ssl.key.location",
    ),
    ("ssl.protocol", OPENSSL),
    ("ssl.provider", "set ssl.providers"),
    ("ssl.secure.random.implementation", OPENSSL),
    ("ssl.trustmanager.algorithm", OPENSSL),
    ("ssl.truststore.certificates", TRUSTED),
    ("ssl.truststore.location", TRUSTED),
    ("ssl.truststore.password", TRUSTED),
    ("ssl.truststore.type", TRUSTED),
    (
        "transaction.two.phase.commit.enable",
        "remove it: librdkafka has no two-phase commit",
    ),
    ("value.serializer", PAYLOADS),
];

#[cfg(test)]
mod tests {
    use super::super::properties;
    use super::*;
    use crate::ffi::Conf;

    /// Otherwise the user would be sent from one error to the next.
    #[test]
    fn what_is_named_instead_is_a_property_that_librdkafka_has() {
        let all = properties::all();
        for (name, instead) in REPLACEMENTS {
            // librdkafka knows two of them only to refuse them.
            let refused = Conf::new().set(name, "x").is_err();
            assert!(refused, "{name}");
            let words = instead.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'));
            for word in words.map(|word| word.trim_end_matches('.')) {
                let is_java = REPLACEMENTS.iter().any(|(name, _)| *name == word);
                if word.contains('.') && !is_java {
                    assert!(all.iter().any(|it| it.name == word), "{name}: {word}");
                }
            }
        }
    }
}
