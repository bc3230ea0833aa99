//! Finds the secret values of a configuration, and removes them from texts.

use std::borrow::Cow;
use std::collections::VecDeque;

/// The text that replaces a secret.
pub(crate) const REDACTED: &str = "[redacted]";

/// Properties whose values are secret.
///
/// These are the ones that librdkafka marks as sensitive (`_RK_SENSITIVE` in rdkafka_conf.c) and:
///
/// - their aliases, which it does not mark;
/// - certificates, because a key may have been pasted into one;
/// - `sasl.jaas.config` of Java clients, which librdkafka refuses, but which contains a password.
const SENSITIVE: &[&str] = &[
    "https.ca.pem",
    "sasl.jaas.config",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.password",
    "sasl.username",
    "ssl.ca.pem",
    "ssl.certificate.pem",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "ssl_ca",
    "ssl_certificate",
    "ssl_key",
];

pub(crate) fn is_sensitive(property: &str) -> bool {
    SENSITIVE.contains(&property)
}

/// Returns the part of a property's name that may be shown, and true if there is more.
///
/// A name such as `sasl.password=secret` comes from a line that was not split, one with commas or
/// other signs from a table.
pub(crate) fn shown_name(name: &str) -> (&str, bool) {
    const MOST: usize = 100;
    let begin = name.len() - name.trim_start().len();
    let is_end = |c: char| matches!(c, '=' | ':' | ',' | ';' | '|' | '>') || c.is_whitespace();
    let most = || name.char_indices().nth(MOST).map(|(end, _)| end);
    match name.trim_end()[begin.min(name.trim_end().len())..].find(is_end) {
        Some(len) => (&name[..begin + len], true),
        None => match most() {
            Some(end) => (&name[..end], true),
            None => (name, false),
        },
    }
}

/// The least length, in bytes, of a secret that is removed. A shorter one may be part of a common
/// word. A shorter line of a PEM is of no use to anyone.
const MIN_LEN: usize = 8;

/// The most secrets that are kept of those that were set while the client runs. Each costs a search
/// of every log line, and passwords may change every hour for years.
const MAX_LATER: usize = 32;

/// The property with the claims of an unsecured token. librdkafka's errors quote parts of it.
const TOKEN_CLAIMS: &str = "sasl.oauthbearer.config";

/// The properties that list the bootstrap servers.
pub(super) const SERVERS: &[&str] = &["bootstrap.servers", "metadata.broker.list"];

/// The properties that enable OAuth tokens.
const MECHANISMS: &[&str] = &["sasl.mechanism", "sasl.mechanisms"];

/// The phrases of librdkafka's errors that a token or a part of its claims follows
/// (rdkafka_sasl_oauthbearer.c). The text after such a phrase is of no use.
const BEFORE_CLAIM: &[&str] = &[
    "(principal=",
    "beginning at: ",
    "cannot appear in ",
    "characters (%x21-7E): ",
    "characters: ",
    "'lifeSeconds=': ",
];

/// The secret values of one configuration.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    values: Vec<String>,
    /// Those of logins that were set later, the newest at the end.
    later: VecDeque<String>,
    has_tokens: bool,
}

impl Secrets {
    /// Collects the values of sensitive properties. Of the others, collects keys that were pasted into
    /// them, and the logins and parameters of URLs and servers.
    pub(crate) fn of<'p>(properties: impl Iterator<Item = (&'p str, &'p str)>) -> Self {
        let mut secrets = Self::default();
        for (property, value) in properties {
            // librdkafka ignores white space at the beginning.
            let value = value.trim_start();
            secrets.has_tokens |= property == TOKEN_CLAIMS
                || (MECHANISMS.contains(&property) && value.eq_ignore_ascii_case("OAUTHBEARER"));
            // A text that belongs under another name, such as the key of `ssl.key.location`.
            let is_pem = value.contains("-----BEGIN");
            if !is_sensitive(property) && !is_pem {
                let parts = url_logins(value).chain(parameters(property, value));
                secrets.values.extend(parts.map(str::to_owned));
                continue;
            }
            if !value.is_empty() {
                secrets.values.push(value.to_owned());
            }
            // librdkafka truncates long texts, so a text may contain only some lines of the value.
            if value.contains('\n') {
                let lines = value.lines().map(str::trim);
                let lines = lines.filter(|line| line.len() >= MIN_LEN && !line.starts_with('-'));
                secrets.values.extend(lines.map(str::to_owned));
            }
        }
        secrets
    }

    /// Adds a secret that was set while the client runs. Forgets the oldest of many: librdkafka has
    /// no text with it any more.
    pub(super) fn add(&mut self, secret: &str) {
        if self.values.iter().any(|known| known == secret) {
            return;
        }
        // Set again, it is the newest.
        self.later.retain(|known| known != secret);
        self.later.push_back(secret.to_owned());
        if self.later.len() > MAX_LATER {
            self.later.pop_front();
        }
    }

    /// Replaces every secret in a text by [`REDACTED`].
    pub(crate) fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let text = if self.has_tokens {
            without_claims(text)
        } else {
            Cow::Borrowed(text)
        };
        let mut places: Vec<_> = self
            .values
            .iter()
            .chain(&self.later)
            .flat_map(|secret| {
                let found = text.match_indices(secret.as_str()).map(|(start, _)| start);
                let found = found.filter(|&start| stands_alone(&text, start, secret));
                found.map(|start| (start, start + secret.len()))
            })
            .collect();
        if places.is_empty() {
            return text;
        }
        places.sort_unstable();
        let (mut shown, mut done) = (String::new(), 0);
        for (start, end) in places {
            // Secrets that overlap are replaced together.
            if start >= done {
                shown.push_str(&text[done..start]);
                shown.push_str(REDACTED);
            }
            done = done.max(end);
        }
        shown.push_str(&text[done..]);
        shown.into()
    }
}

/// Returns false if a short secret is part of a word.
///
/// It may be there by chance, and replacing it would then give it away.
fn stands_alone(text: &str, start: usize, secret: &str) -> bool {
    let is_of_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    secret.len() >= MIN_LEN
        || !(is_of_word(text[..start].chars().next_back())
            || is_of_word(text[start + secret.len()..].chars().next()))
}

/// Returns the logins in the URLs of a text, each as `user:password` and as the password alone.
fn url_logins(text: &str) -> impl Iterator<Item = &str> {
    let authorities = text.split("://").skip(1).map(|behind| {
        let is_end = |c: char| matches!(c, '/' | '?' | '#' | ',') || c.is_whitespace();
        behind.split(is_end).next().unwrap_or_default()
    });
    authorities
        .filter_map(|authority| {
            let (login, _) = authority.rsplit_once('@')?;
            let (_, password) = login.split_once(':')?;
            (!password.is_empty()).then_some([login, password])
        })
        .flatten()
}

/// Returns the query of a URL, and of a list of servers what is before an at sign or after an equals
/// sign or a question mark: it may be a login, or a connection string with a key.
fn parameters<'v>(property: &str, value: &'v str) -> impl Iterator<Item = &'v str> + use<'v> {
    let is_of_servers = SERVERS.contains(&property);
    let login = value.rsplit_once('@').filter(|_| is_of_servers);
    let begin = match is_of_servers {
        true => value.find(['?', '=']),
        false => value.contains("://").then(|| value.find('?')).flatten(),
    };
    let behind = begin.map(|begin| &value[begin + 1..]);
    let parts = [login.map(|(login, _)| login), behind];
    parts.into_iter().flatten().filter(|part| !part.is_empty())
}

/// Cuts a text off where a token or a part of its claims begins.
pub(crate) fn without_claims(text: &str) -> Cow<'_, str> {
    let ends = BEFORE_CLAIM
        .iter()
        .filter_map(|before| Some(text.find(before)? + before.len()));
    match ends.min() {
        Some(end) => format!("{}{REDACTED}", &text[..end]).into(),
        None => text.into(),
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.values.len() + self.later.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_contains_another_is_replaced_whole() {
        let properties = [
            ("sasl.username", "pass"),
            ("ssl.key.password", ""),
            ("client.id", "nothing"),
            ("sasl.password", "password"),
        ];
        let secrets = Secrets::of(properties.into_iter());
        assert_eq!(
            secrets.redact("my password, my pass"),
            "my [redacted], my [redacted]"
        );
        assert_eq!(secrets.redact("nothing"), "nothing");
    }

    #[test]
    fn a_short_secret_is_not_replaced_within_a_word() {
        let secrets = Secrets::of([("sasl.username", "e"), ("sasl.password", "red")].into_iter());
        assert_eq!(
            secrets.redact("Authenticated as e with red, (red)/e: never redone"),
            "Authenticated as [redacted] with [redacted], ([redacted])/[redacted]: never redone"
        );
        let secrets = Secrets::of([("sasl.password", "password")].into_iter());
        assert_eq!(secrets.redact("xpasswordy"), "x[redacted]y");
        let overlap = [
            ("sasl.username", "user-long"),
            ("sasl.password", "long-one"),
        ];
        let secrets = Secrets::of(overlap.into_iter());
        assert_eq!(
            secrets.redact("user-long-one, ü long-one"),
            "[redacted], ü [redacted]"
        );
    }

    #[test]
    fn secrets_that_are_set_later_are_replaced_too() {
        let mut secrets = Secrets::of([("sasl.password", "the-first-one")].into_iter());
        for index in 0..1_000 {
            secrets.add("the-first-one");
            secrets.add("the-same-user");
            secrets.add(&format!("password-{index:04}"));
        }
        let text = "the-first-one, the-same-user, password-0999, password-0980, password-0000";
        assert_eq!(
            secrets.redact(text),
            "[redacted], [redacted], [redacted], [redacted], password-0000"
        );
        assert_eq!(secrets.values.len() + secrets.later.len(), 1 + MAX_LATER);
        assert_eq!(format!("{secrets:?}"), "33 secrets");
    }

    #[test]
    fn what_follows_a_name_is_not_shown() {
        for (name, shown) in [
            ("linger.ms", None),
            (" linger.ms ", None),
            ("", None),
            ("  ", None),
            ("ü", None),
            ("sasl.password=secret", Some("sasl.password")),
            (" sasl.password: secret", Some(" sasl.password")),
            ("sasl.password,secret", Some("sasl.password")),
            ("sasl.password;secret", Some("sasl.password")),
            ("sasl.password|secret", Some("sasl.password")),
            ("sasl.password->secret", Some("sasl.password-")),
            ("sasl.password secret", Some("sasl.password")),
            ("=secret", Some("")),
            (&"x".repeat(101), Some(&*"x".repeat(100))),
        ] {
            let expected = (shown.unwrap_or(name), shown.is_some());
            assert_eq!(shown_name(name), expected, "{name}");
        }
    }

    #[test]
    fn white_space_before_a_secret_is_ignored() {
        let secrets = Secrets::of([("sasl.username", "  alice"), ("ssl.key.pem", " ")].into_iter());
        assert_eq!(secrets.redact("as alice"), "as [redacted]");
        assert_eq!(secrets.redact("as  alice "), "as  [redacted] ");
    }

    #[test]
    fn logins_in_urls_are_replaced() {
        let url = "https://user:s3cr:et@idp:8080/token?a=b://c, http://u@h/ http://nobody/x:y@z";
        let secrets = Secrets::of([("sasl.oauthbearer.token.endpoint.url", url)].into_iter());
        assert_eq!(
            secrets.redact("from https://user:s3cr:et@idp and s3cr:et of u@h and x:y@z"),
            "from https://[redacted]@idp and [redacted] of u@h and x:y@z"
        );
    }

    #[test]
    fn tokens_are_removed_if_the_mechanism_uses_them() {
        let text = "visible characters (%x21-7E): eyJ.abc";
        let mechanism = |value| Secrets::of([("sasl.mechanism", value)].into_iter());
        assert_eq!(
            mechanism("OAuthBearer").redact(text),
            "visible characters (%x21-7E): [redacted]"
        );
        assert_eq!(mechanism("PLAIN").redact(text), text);
    }

    #[test]
    fn single_lines_of_a_key_are_replaced() {
        let pem = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\nByqGSM49AgEG==\n\
                   -----END PRIVATE KEY-----\n";
        let secrets = Secrets::of([("ssl.key.pem", pem)].into_iter());
        assert_eq!(secrets.redact(pem), REDACTED);
        assert_eq!(
            secrets.redact("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\nByq"),
            "-----BEGIN PRIVATE KEY-----\n[redacted]\nByq"
        );
    }

    #[test]
    fn parts_of_a_tokens_claims_are_removed() {
        let claims = ("sasl.oauthbearer.config", "principal=p lifeSeconds=s3cret");
        let secrets = Secrets::of([claims].into_iter());
        assert_eq!(
            secrets.redact("Invalid sasl.oauthbearer.config: non-integral 'lifeSeconds=': s3cret"),
            "Invalid sasl.oauthbearer.config: non-integral 'lifeSeconds=': [redacted]"
        );
        assert_eq!(
            secrets.redact("Unrecognized sasl.oauthbearer.config beginning at: ret (after 1 ms)"),
            "Unrecognized sasl.oauthbearer.config beginning at: [redacted]"
        );
    }
}
