//! Checks the list of bootstrap servers as librdkafka will read it.
//!
//! librdkafka drops an entry that it cannot parse, and all after it, with a log line. It takes the
//! digits at the beginning of a port, modulo 65536.

use std::net::Ipv6Addr;

use super::secrets::REDACTED;

/// The longest host that librdkafka keeps together with its port (`RD_KAFKA_NODENAME_SIZE`).
const MAX_HOST_LEN: usize = 249;

/// Returns what is wrong with a list of servers, or `None` if librdkafka reads it as it was meant.
///
/// The problem shows the entry, which has no login in it.
///
/// Source: `rd_kafka_brokers_add0` and `rd_kafka_broker_name_parse` in rdkafka_broker.c.
pub(super) fn problem(servers: &str, security_protocol: &str) -> Option<String> {
    // A password may contain any of the characters by which librdkafka splits.
    if let Some((_, behind)) = servers.rsplit_once('@') {
        return Some(format!(
            "it contains a login ({REDACTED}@{behind}); set sasl.username and sasl.password \
             instead, and write host:port"
        ));
    }
    let mut entries = servers
        .split(',')
        .map(|entry| entry.trim_start_matches(' '))
        .filter(|entry| !entry.is_empty())
        .peekable();
    if entries.peek().is_none() {
        return Some("it names no server; write host:port, with commas between several".to_owned());
    }
    entries.find_map(|entry| {
        // The parameters of a URL may be secret, and those of a connection string are.
        if let Some(begin) = entry.find(['?', '=']) {
            let sign = match entry[begin..].starts_with('?') {
                true => "a question mark",
                false => "an equals sign",
            };
            return Some(format!(
                "{} is followed by {sign} and {REDACTED}; write host:port, and set the parameters \
                 as properties",
                shown(&entry[..begin])
            ));
        }
        let problem = problem_of_entry(entry, security_protocol)?;
        Some(format!("{} {problem}", shown(entry)))
    })
}

/// Returns what is wrong with one entry, as the rest of a sentence that begins with it.
fn problem_of_entry(entry: &str, security_protocol: &str) -> Option<String> {
    let rest = match entry.split_once("://") {
        Some((scheme, rest)) => {
            if let Some(problem) = problem_of_scheme(scheme, security_protocol) {
                return Some(problem);
            }
            rest.split('/').next().unwrap_or_default()
        }
        None => entry,
    };
    let (host, port) = split_port(rest);
    // After the digits librdkafka ignores what looks like the path of a URL.
    let port = port.map(|port| port.split('/').next().unwrap_or_default().trim());
    if let Some(port) = port {
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse::<u16>() {
            _ if !is_number => {
                return Some(format!(
                    "has {port:?} where its port should be, a number from 1 to 65535"
                ));
            }
            Ok(0) | Err(_) => {
                return Some(format!("has the port {port}, which is not from 1 to 65535"));
            }
            Ok(_) => {}
        }
    }
    problem_of_host(host)
}

fn problem_of_scheme(scheme: &str, security_protocol: &str) -> Option<String> {
    const SCHEMES: &[&str] = &["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];
    let lower = scheme.to_ascii_lowercase();
    if !SCHEMES.contains(&&*lower) {
        return Some(
            "has a scheme that is not Kafka's; write host:port, and set security.protocol for \
             TLS and logins"
                .to_owned(),
        );
    }
    (lower != security_protocol).then(|| {
        format!(
            "has a scheme that does not fit security.protocol={security_protocol}; set \
             security.protocol={lower}, or write host:port"
        )
    })
}

/// Splits as librdkafka does. Without a port it takes 9092.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (entry, None),
    }
}

fn problem_of_host(host: &str) -> Option<String> {
    let bracketed = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    if bracketed.is_some() || host.contains(':') {
        // The zone of a link-local address follows a percent sign.
        let address = bracketed.unwrap_or(host).split('%').next();
        let is_address = address.is_some_and(|it| it.parse::<Ipv6Addr>().is_ok());
        return (!is_address).then(|| {
            "is neither host:port nor [IPv6 address]:port; put commas between servers".to_owned()
        });
    }
    let is_bad = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '"' | '\'' | '\\' | '/' | ';' | '[' | ']')
    };
    // The system would read it as an address: `9092` is 0.0.35.132.
    if !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some("has a number in place of its host; write host:port".to_owned());
    }
    if let Some(bad) = host.chars().find(|&c| is_bad(c)) {
        return Some(format!(
            "has {bad:?} in its host; write host:port, with commas between servers"
        ));
    }
    (host.len() > MAX_HOST_LEN).then(|| format!("has a host of more than {MAX_HOST_LEN} bytes"))
}

/// Returns an entry between quotes, cut off if it is long.
fn shown(entry: &str) -> String {
    const MOST: usize = 100;
    match entry.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}", format!("{}…", &entry[..end])),
        None => format!("{entry:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_librdkafka_reads_right_is_accepted() {
        for servers in [
            "h",
            "h:1",
            "localhost:9092",
            "a:9092,b:9092",
            "a:9092, b:9092 , c",
            ",a:1,,b:2,",
            "PLAINTEXT://h:1",
            "plaintext://h",
            "PLAINTEXT://h:1/path,h:2",
            "h:9092/",
            "[::1]:9092",
            "[::1]",
            "::1",
            "[fe80::1%eth0]:9092",
            "fe80::1%eth0",
            "127.0.0.1:65535",
            "my_broker-1.svc.local.:9092",
            "bücher.example:9092",
            // librdkafka's default for an empty host is localhost.
            ":9092",
            "PLAINTEXT://:9092",
            "h: 9092 ",
            "h:09092",
        ] {
            assert_eq!(problem(servers, "plaintext"), None, "{servers}");
        }
        assert_eq!(problem("SASL_SSL://h:1,h:2", "sasl_ssl"), None);
    }

    #[test]
    fn what_librdkafka_misreads_is_refused() {
        for (servers, expected) in [
            (",", "names no server"),
            (" , ,", "names no server"),
            ("http://localhost:9092", "a scheme that is not Kafka's"),
            ("://h", "a scheme that is not Kafka's"),
            ("kafka://h:1", "a scheme that is not Kafka's"),
            ("SSL://h:9093", "security.protocol=ssl"),
            ("a:1,sasl_ssl://h:9093", "security.protocol=sasl_ssl"),
            ("localhost:99999", "the port 99999"),
            ("localhost:0", "the port 0"),
            ("localhost:65536", "the port 65536"),
            ("localhost:18446744073709551617", "which is not from 1"),
            ("localhost:", "a number from 1 to 65535"),
            ("localhost:abc", "\"abc\" where its port"),
            ("localhost:-1", "\"-1\" where its port"),
            ("localhost:9092x", "\"9092x\" where its port"),
            ("a:9092;b:9092", "commas between servers"),
            ("a:9092 b:9092", "commas between servers"),
            ("a:9092\nb:9092", "commas between servers"),
            ("a;b", "';' in its host"),
            ("a b", "' ' in its host"),
            ("h\t:1", "'\\t' in its host"),
            ("\"h:1\"", "where its port"),
            ("\"h\":1", "'\"' in its host"),
            ("h/path", "'/' in its host"),
            ("9092", "a number in place of its host"),
            ("h,9092", "\"9092\" has a number"),
            ("h:1?a=b", "\"h:1\" is followed by a question mark"),
            ("h:1,a=b", "\"a\" is followed by an equals sign"),
            ("h:1:2", "[IPv6 address]:port"),
            ("[::1", "[IPv6 address]:port"),
            ("[h]:1", "[IPv6 address]:port"),
            ("::g:1", "[IPv6 address]:port"),
            ("PLAINTEXT://user:pw@h:1", "contains a login"),
        ] {
            let problem = problem(servers, "plaintext").expect(servers);
            assert!(problem.contains(expected), "{servers}: {problem}");
        }
    }

    #[test]
    fn the_parameters_of_a_url_are_not_shown() {
        for servers in [
            "h:1?password=pass-word",
            "http://h/?a=pass-word,b=pass-word",
            "Endpoint=sb://h/;SharedAccessKeyName=Root;SharedAccessKey=pass-word",
            "h:9093;SharedAccessKey=pass-word",
            "h:9093,password=pass-word",
            "h:9093 password=pass-word",
        ] {
            let problem = problem(servers, "plaintext").expect(servers);
            assert!(!problem.contains("pass-word"), "{problem}");
        }
    }

    #[test]
    fn a_login_is_not_shown() {
        for servers in [
            "sasl://user:pass-word@host:1",
            "user:pass-word@host:1",
            "PLAINTEXT://user:pass-word@host:1",
            "PLAINTEXT://user:pass-word@host:99999",
            "h:1,SSL://user:p@pass-word@host:1",
            "user:pass-word,more@host:1",
            "user:1,pass-word/@host:1",
        ] {
            let problem = problem(servers, "plaintext").expect(servers);
            assert!(!problem.contains("pass-word"), "{problem}");
            assert!(
                problem.contains("login") && problem.contains("host:"),
                "{problem}"
            );
        }
    }
}
