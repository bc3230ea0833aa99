//! The `secure` example: each login, and what it prints if it is not let in. Without the listeners
//! of `tests/with-kafka`, or without the feature `ssl`, all show as ignored.
//!
//! Everything that the example prints, with librdkafka at its most verbose, is searched for
//! secrets.

use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use rdkafka::message::Message as _;
use tokio_rdkafka::ClientConfig;

use crate::support::example::program;
use crate::support::kafka::Cluster;
use crate::support::logins::{GUARDED, Locked, READER, WRITER, claims};
use crate::support::token_endpoint::{token_endpoint, token_endpoint_with};
use crate::support::trials::Module;
use crate::support::unsecured_token::unsecured_token;

const RECORDS: usize = 25;

const WRONG: &str = "not-the-password-of-anybody";

/// What it says where a login is refused.
const LOOK_AT_LOGIN: &str = "look at the login";

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        delivers("tls", ["tls"], Locked::ssl),
        delivers("tls_with_pem", ["tls"], Locked::ssl_pem),
        delivers("certificate", ["certificate"], Locked::mtls),
        delivers("certificate_as_pem", ["certificate"], Locked::mtls_pem),
        delivers(
            "certificate_with_an_encrypted_key",
            ["certificate"],
            Locked::mtls_encrypted_key,
        ),
        delivers("plain", ["plain"], |locked| locked.login("PLAIN", WRITER)),
        delivers("scram_sha_256", ["scram-sha-256"], |locked| {
            locked.login("SCRAM-SHA-256", WRITER)
        }),
        delivers("scram_sha_512", ["scram-sha-512"], |locked| {
            locked.login("SCRAM-SHA-512", WRITER)
        }),
        delivers(
            "unsecured_token",
            ["unsecured-token", "--user", WRITER],
            |locked| locked.sasl_ssl("OAUTHBEARER"),
        ),
        is_refused(
            "a_wrong_password",
            ["plain"],
            |locked| locked.login_with("PLAIN", WRITER, WRONG),
            ["Authentication failed", LOOK_AT_LOGIN],
        ),
        is_refused(
            "a_wrong_password_of_scram",
            ["scram-sha-512"],
            |locked| locked.login_with("SCRAM-SHA-512", WRITER, WRONG),
            ["invalid credentials", LOOK_AT_LOGIN],
        ),
        is_refused(
            "an_unknown_ca",
            ["tls"],
            Locked::ssl_unknown_ca,
            ["of an unknown CA", "look at --ca"],
        ),
        is_refused(
            "a_certificate_of_another_host",
            ["tls"],
            Locked::ssl_wrong_host,
            ["of another host", "look at --brokers"],
        ),
        is_refused(
            "an_expired_certificate",
            ["tls"],
            Locked::ssl_expired,
            ["has expired", "has to renew"],
        ),
        is_refused(
            "no_certificate",
            ["tls"],
            Locked::mtls_without_certificate,
            [
                "does not accept the client's certificate",
                "log in with one",
            ],
        ),
        is_refused(
            "a_port_without_tls",
            ["tls"],
            |locked| {
                let plain = Cluster::from_env().config();
                let mut config = locked.ssl();
                let servers = plain.get("bootstrap.servers").expect("brokers");
                config.set("bootstrap.servers", servers);
                config
            },
            ["security.protocol", "look at --brokers"],
        ),
        trial("a_user_without_the_right_to_write", a_user_without_a_right),
        trial("secrets_are_no_arguments", secrets_are_no_arguments),
    ];
    if cfg!(feature = "curl") {
        trials.push(trial("oidc_delivers", oidc));
        trials.push(trial("a_wrong_secret_of_oidc_is_reported", oidc_refused));
    }
    if cfg!(feature = "gssapi") {
        // As far as it goes without a realm.
        trials.push(is_refused(
            "kerberos_where_there_is_none",
            ["gssapi", "--principal", "nobody"],
            |locked| locked.sasl_ssl("GSSAPI"),
            ["Unsupported SASL mechanism", LOOK_AT_LOGIN],
        ));
        let possible = Locked::has_kerberos();
        for trial in [
            delivers("kerberos", ["gssapi"], |locked| locked.kerberos("writer")),
            is_refused(
                "a_wrong_key_of_kerberos",
                ["gssapi"],
                |locked| locked.kerberos("wrong"),
                ["No Kerberos credentials", LOOK_AT_LOGIN],
            ),
        ] {
            trials.push(trial.with_ignored_flag(!possible));
        }
    }
    trials
}

fn trial<F>(name: &str, test: impl FnOnce(Locked, Cluster) -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()>,
{
    Module("secure")
        .trial(name, |cluster| test(Locked::from_env(), cluster))
        .with_ignored_flag(!Locked::is_there())
}

/// With this login all records come through, and are in a topic that the writer alone, and who has
/// not logged in, may write to.
fn delivers<const N: usize>(
    name: &'static str,
    login: [&'static str; N],
    config: impl Fn(&Locked) -> ClientConfig + Send + 'static,
) -> Trial {
    trial(&format!("{name}_delivers"), async move |locked, cluster| {
        let secure = Secure::new(&cluster, name).await;
        secure
            .tell(&config(&locked))
            .login(&login)
            .run(&locked)
            .assert_delivered(&cluster);
    })
}

/// With this login no broker lets it in, and it says why.
fn is_refused<const N: usize>(
    name: &'static str,
    login: [&'static str; N],
    config: impl Fn(&Locked) -> ClientConfig + Send + 'static,
    reasons: [&'static str; 2],
) -> Trial {
    trial(
        &format!("{name}_is_reported"),
        async move |locked, cluster| {
            let secure = Secure::new(&cluster, name).await;
            let end = secure.tell(&config(&locked)).login(&login).run(&locked);
            end.assert_not_ready(&cluster, &reasons);
        },
    )
}

async fn oidc(locked: Locked, cluster: Cluster) {
    let token = unsecured_token(&claims(WRITER, Duration::from_secs(3600)));
    let secure = with_oidc(&locked, &cluster, "oidc", &token_endpoint_with(&token)).await;
    secure.run(&locked).assert_delivered(&cluster);
}

async fn oidc_refused(locked: Locked, cluster: Cluster) {
    let endpoint = token_endpoint("401 Unauthorized", r#"{"error":"invalid_client"}"#);
    let secure = with_oidc(&locked, &cluster, "oidc-refused", &endpoint).await;
    let end = secure.run(&locked);
    end.assert_not_ready(&cluster, &["invalid_client", LOOK_AT_LOGIN]);
}

async fn with_oidc(locked: &Locked, cluster: &Cluster, name: &str, endpoint: &str) -> Secure {
    let mut secure = Secure::new(cluster, name)
        .await
        .tell(&locked.sasl_ssl("OAUTHBEARER"))
        .login(&["oidc", "--client-id", "svc", "--token-endpoint", endpoint]);
    secure.command.env("SASL_OAUTHBEARER_CLIENT_SECRET", WRONG);
    secure
}

async fn a_user_without_a_right(locked: Locked, cluster: Cluster) {
    let secure = Secure::new(&cluster, "reader").await;
    let end = secure
        .tell(&locked.login("PLAIN", READER))
        .login(&["plain"])
        .run(&locked);
    // It is let in.
    end.assert_ended(1, &format!("0 delivered, {RECORDS} failed\n"));
    assert!(end.stderr.contains("TOPIC_AUTHORIZATION_FAILED"), "{end:?}");
    assert_eq!(cluster.end(&end.topic, 0), 0);
}

async fn secrets_are_no_arguments(locked: Locked, cluster: Cluster) {
    let property = format!("sasl.password={WRONG}");
    for (name, login, problem) in [
        (
            "argument",
            &["-X", &property, "tls"][..],
            "sasl.password is no argument: secrets show there\n",
        ),
        (
            "no-password",
            &["plain", "--user", WRITER],
            "SASL_PASSWORD is not set, or no text\n",
        ),
        (
            "no-certificate",
            &["certificate"],
            "SSL_CERTIFICATE_PEM is not set, or no text\n",
        ),
    ] {
        let secure = Secure::new(&cluster, name).await;
        let end = secure.tell(&locked.ssl()).login(login).run(&locked);
        assert_eq!(end.stderr, problem);
        assert_eq!((end.code, &*end.stdout), (Some(1), ""));
    }
}

/// A run of the example, with a guarded topic of its own.
struct Secure {
    topic: String,
    command: Command,
    /// What has to come behind the name of the login.
    of_login: Vec<String>,
}

impl Secure {
    async fn new(cluster: &Cluster, name: &str) -> Self {
        let topic = format!("{GUARDED}secure-{name}-{}", std::process::id());
        cluster.create_topic_named(&topic, 1, 3).await;
        let mut command = Command::new(program("secure", "full"));
        command
            .args(["--topic", &topic, "--records", &RECORDS.to_string()])
            .args(["-X", "debug=all", "-X", "log_level=7"])
            .env("RUST_LOG", "trace")
            .env("KRB5CCNAME", Locked::tickets(&topic));
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy();
            if name.starts_with("SASL_") || name.starts_with("SSL_") {
                command.env_remove(&variable);
            }
        }
        Self {
            topic,
            command,
            of_login: Vec::new(),
        }
    }

    /// Gives it what is in this configuration, each property in the way that it takes it.
    fn tell(mut self, config: &ClientConfig) -> Self {
        for (property, value) in config.iter() {
            match property {
                "bootstrap.servers" => drop(self.command.args(["--brokers", value])),
                "ssl.ca.location" => drop(self.command.args(["--ca", value])),
                "ssl.certificate.location" => self.of_login(["--certificate", value]),
                "ssl.key.location" => self.of_login(["--key", value]),
                "sasl.username" => self.of_login(["--user", value]),
                "sasl.kerberos.principal" => self.of_login(["--principal", value]),
                "sasl.kerberos.keytab" => self.of_login(["--keytab", value]),
                "ssl.ca.pem"
                | "ssl.certificate.pem"
                | "ssl.key.pem"
                | "ssl.key.password"
                | "sasl.password" => {
                    let variable = property.to_uppercase().replace('.', "_");
                    self.command.env(variable, value);
                }
                // The login's name says it.
                "sasl.mechanisms" => {}
                "security.protocol" if value != "sasl_plaintext" => {}
                _ => drop(self.command.args(["-X", &format!("{property}={value}")])),
            }
        }
        self
    }

    fn of_login(&mut self, arguments: [&str; 2]) {
        self.of_login.extend(arguments.map(str::to_owned));
    }

    fn login(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments).args(&self.of_login);
        self
    }

    /// Runs it to its end; it has not printed a secret.
    fn run(mut self, locked: &Locked) -> End {
        let output = self.command.output().expect("the example starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let end = End {
            topic: self.topic,
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        let token = unsecured_token(r#"{"sub":"writer""#);
        let claims = token.split('.').nth(1).expect("claims");
        let mut secrets = locked.secrets();
        secrets.extend([WRONG.to_owned(), claims.to_owned()]);
        for secret in secrets {
            assert!(secret.len() >= 8, "too short to look for");
            let mut lines = end.stdout.lines().chain(end.stderr.lines());
            let shown = lines.find(|line| line.contains(&secret));
            // Nor does the failed test show it.
            let shown = shown.map(|line| line.replace(&secret, "***"));
            assert_eq!(shown, None, "a secret is shown");
        }
        end
    }
}

/// What it has come to.
#[derive(Debug)]
struct End {
    topic: String,
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl End {
    fn assert_ended(&self, code: i32, stdout: &str) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert_eq!(self.stdout, stdout);
        // Otherwise there is nothing that secrets could show in.
        let logged = self.stderr.matches("librdkafka").count();
        assert!(logged > 50, "{logged} lines of librdkafka");
    }

    /// All records are in the topic.
    fn assert_delivered(&self, cluster: &Cluster) {
        self.assert_ended(0, &format!("{RECORDS} delivered, 0 failed\n"));
        let read = cluster.read_all(&self.topic, 0);
        let payloads: Vec<_> = read.iter().map(|message| message.payload()).collect();
        let expected: Vec<_> = (1..=RECORDS)
            .map(|number| format!("record {number}"))
            .collect();
        let expected: Vec<_> = expected.iter().map(|text| Some(text.as_bytes())).collect();
        assert_eq!(payloads, expected);
    }

    /// Nothing was sent, and the reason is the end of what it prints, but for later logs.
    fn assert_not_ready(&self, cluster: &Cluster, [reason, advice]: &[&str; 2]) {
        self.assert_ended(1, "");
        let reason_line = self
            .stderr
            .lines()
            .find(|line| line.starts_with("not ready: "));
        let reason_line = reason_line.unwrap_or_else(|| panic!("no reason: {}", self.stderr));
        assert!(reason_line.contains(reason), "{reason_line}");
        let advised = self.stderr.lines().find(|line| line.contains(advice));
        assert!(advised.is_some(), "no advice: {}", self.stderr);
        assert_eq!(cluster.end(&self.topic, 0), 0);
    }
}
