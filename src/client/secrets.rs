//! Which values of a configuration may be secret, and striking them out of texts.

use std::borrow::Cow;

/// What a secret is replaced by.
pub(crate) const REDACTED: &str = "[redacted]";

/// Properties that librdkafka marks as sensitive (`_RK_SENSITIVE` in rdkafka_conf.c), the aliases
/// of them, which it does not mark, certificates, into which a key may have been pasted, and Java's
/// `sasl.jaas.config`, which it knows only to refuse it, but which has a password in it where it was
/// copied from a Java client.
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

/// A shorter line of a PEM is too little to be of use; that, and a secret, may be a common word.
const LEAST_LINE: usize = 8;

/// Has the claims of an unsecured token, which librdkafka takes apart.
const TOKEN_CLAIMS: &str = "sasl.oauthbearer.config";

/// Say whether there are tokens at all.
const MECHANISMS: &[&str] = &["sasl.mechanism", "sasl.mechanisms"];

/// What librdkafka's errors about a token have before it or a part of its claims
/// (rdkafka_sasl_oauthbearer.c); nothing of use follows that part.
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
    has_tokens: bool,
}

impl Secrets {
    /// Of those of the properties that are sensitive, and in URLs.
    pub(crate) fn of<'p>(properties: impl Iterator<Item = (&'p str, &'p str)>) -> Self {
        let mut secrets = Self::default();
        for (property, value) in properties {
            // librdkafka takes it without them.
            let value = value.trim_start();
            secrets.has_tokens |= property == TOKEN_CLAIMS
                || (MECHANISMS.contains(&property) && value.eq_ignore_ascii_case("OAUTHBEARER"));
            if !is_sensitive(property) {
                secrets.values.extend(url_logins(value).map(str::to_owned));
                continue;
            }
            if !value.is_empty() {
                secrets.values.push(value.to_owned());
            }
            // A text may have a part of it alone, librdkafka's having a greatest length.
            if value.contains('\n') {
                let lines = value.lines().map(str::trim);
                let lines = lines.filter(|line| line.len() >= LEAST_LINE && !line.starts_with('-'));
                secrets.values.extend(lines.map(str::to_owned));
            }
        }
        secrets
    }

    /// The text without the secrets.
    pub(crate) fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let text = if self.has_tokens {
            without_claims(text)
        } else {
            Cow::Borrowed(text)
        };
        let mut places: Vec<_> = self
            .values
            .iter()
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
            // Those that overlap are struck out together.
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

/// Whether a short secret is not part of a word: it may be a part of any text by chance, and then its
/// absence would tell it.
fn stands_alone(text: &str, start: usize, secret: &str) -> bool {
    let is_of_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    secret.len() >= LEAST_LINE
        || !(is_of_word(text[..start].chars().next_back())
            || is_of_word(text[start + secret.len()..].chars().next()))
}

/// Users and passwords in the URLs of a text, as `user:password` and the password alone.
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

/// The text up to a part of a token or its claims.
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
        write!(f, "{} secrets", self.values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_secrets_go_also_where_one_is_part_of_another() {
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
    fn a_short_one_is_not_taken_out_of_words() {
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
    fn librdkafka_has_them_without_white_space_in_front() {
        let secrets = Secrets::of([("sasl.username", "  alice"), ("ssl.key.pem", " ")].into_iter());
        assert_eq!(secrets.redact("as alice"), "as [redacted]");
        assert_eq!(secrets.redact("as  alice "), "as  [redacted] ");
    }

    #[test]
    fn urls_may_have_them() {
        let url = "https://user:s3cr:et@idp:8080/token?a=b://c, http://u@h/ http://nobody/x:y@z";
        let secrets = Secrets::of([("sasl.oauthbearer.token.endpoint.url", url)].into_iter());
        assert_eq!(
            secrets.redact("from https://user:s3cr:et@idp and s3cr:et of u@h and x:y@z"),
            "from https://[redacted]@idp and [redacted] of u@h and x:y@z"
        );
    }

    #[test]
    fn tokens_go_where_there_may_be_some() {
        let text = "visible characters (%x21-7E): eyJ.abc";
        let mechanism = |value| Secrets::of([("sasl.mechanism", value)].into_iter());
        assert_eq!(
            mechanism("OAuthBearer").redact(text),
            "visible characters (%x21-7E): [redacted]"
        );
        assert_eq!(mechanism("PLAIN").redact(text), text);
    }

    #[test]
    fn so_do_the_lines_of_a_key() {
        let pem = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\nByqGSM49AgEG==\n-----END PRIVATE KEY-----\n";
        let secrets = Secrets::of([("ssl.key.pem", pem)].into_iter());
        assert_eq!(secrets.redact(pem), REDACTED);
        assert_eq!(
            secrets.redact("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\nByq"),
            "-----BEGIN PRIVATE KEY-----\n[redacted]\nByq"
        );
    }

    #[test]
    fn parts_of_a_tokens_claims_go_too() {
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
