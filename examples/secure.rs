//! Produces to a cluster that requires TLS, a client certificate or a login.
//!
//! It sends nothing before a broker has accepted the login. If no broker does, it prints why.
//!
//! Secrets come from environment variables, because arguments appear in process lists.
//!
//! ```sh
//! secure() { cargo run --features ssl --example secure -- --brokers localhost:9093 --ca ca.pem "$@"; }
//! secure tls
//! secure certificate --certificate client.pem --key client.key
//! SASL_PASSWORD=$(pass kafka) secure scram-sha-512 --user alice
//! ```
//!
//! `oidc` also needs the feature `curl`, and `gssapi` the feature `gssapi`.

mod common;
#[path = "common/unsecured_token.rs"]
mod unsecured_token;

use std::env;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};
use futures::StreamExt;
use tokio_rdkafka::{
    BoxError, ClientConfig, ClientContext, ConnectFailure, DeliveryResult, KafkaError, OAuthToken,
    Producer, ProducerContext, ProducerRecord,
};
use unsecured_token::unsecured_token;

/// The time limit of the close.
const GRACE: Duration = Duration::from_secs(30);

/// How long a token is valid.
const LIFETIME: Duration = Duration::from_secs(300);

#[derive(Debug, Parser)]
#[command(
    about = "Logs in to a cluster and produces records.",
    after_help = "\
Secrets come from the environment only:
  SASL_PASSWORD                   the password of plain and scram-sha-…
  SASL_OAUTHBEARER_CLIENT_SECRET  the secret of oidc
  SSL_KEY_PASSWORD                the password of an encrypted client key
  SSL_CA_PEM                      the CA as text, instead of --ca
  SSL_CERTIFICATE_PEM, SSL_KEY_PEM
                                  the client certificate and its key as text,
                                  instead of --certificate and --key

Exits with 1 if no broker accepts the login, or if a record is not delivered."
)]
struct Arguments {
    /// The cluster, as host:port,…
    #[arg(long)]
    brokers: String,
    #[arg(long, default_value = "demo")]
    topic: String,
    /// The number of records to send
    #[arg(long, default_value_t = 10)]
    records: u32,
    /// The CA of the brokers' certificates; by default SSL_CA_PEM or the system's CAs
    #[arg(long, value_name = "FILE")]
    ca: Option<String>,
    /// How long it waits until a broker has accepted the login
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
    /// A configuration property of librdkafka (CONFIGURATION.md); may be repeated. For logins
    /// without TLS: security.protocol=sasl_plaintext
    #[arg(short = 'X', value_name = "PROPERTY=VALUE", value_parser = common::property)]
    properties: Vec<(String, String)>,
    #[command(subcommand)]
    login: Login,
}

#[derive(Debug, Subcommand)]
enum Login {
    /// TLS without a login
    Tls,
    /// TLS with a client certificate
    Certificate(Certificate),
    /// SASL PLAIN
    Plain(User),
    /// SASL SCRAM-SHA-256
    #[command(name = "scram-sha-256")]
    ScramSha256(User),
    /// SASL SCRAM-SHA-512
    #[command(name = "scram-sha-512")]
    ScramSha512(User),
    /// SASL OAUTHBEARER with unsigned tokens that this program creates; for tests only
    UnsecuredToken(User),
    /// SASL OAUTHBEARER with tokens that librdkafka gets by OpenID Connect
    Oidc(Oidc),
    /// SASL GSSAPI: Kerberos
    Gssapi(Kerberos),
}

#[derive(Debug, Args)]
struct Certificate {
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<String>,
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<String>,
}

#[derive(Debug, Args)]
struct User {
    #[arg(long)]
    user: String,
}

#[derive(Debug, Args)]
struct Oidc {
    #[arg(long, value_name = "URL")]
    token_endpoint: String,
    #[arg(long, value_name = "ID")]
    client_id: String,
    #[arg(long)]
    scope: Option<String>,
}

#[derive(Debug, Args)]
struct Kerberos {
    /// The client's principal
    #[arg(long)]
    principal: String,
    /// The keytab of the principal, with which librdkafka runs kinit; by default an existing ticket
    /// is used
    #[arg(long, value_name = "FILE")]
    keytab: Option<String>,
    /// The first part of the brokers' principals
    #[arg(long, default_value = "kafka")]
    service: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    common::log_to_stderr();
    match run(Arguments::parse()).await {
        Ok(code) => code,
        // The error names the invalid property or variable and never shows its value.
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode, BoxError> {
    let config = config(&arguments)?;
    let context = Context {
        token_user: match &arguments.login {
            Login::UnsecuredToken(user) => Some(user.user.clone()),
            _ => None,
        },
    };
    let producer: Producer<Context> = config.create_with_context(context)?;

    // Without this, a wrong password would only make records time out minutes later.
    let timeout = Duration::from_secs(arguments.timeout);
    let code = match producer.ready(timeout).await {
        Ok(()) => send(&producer, &arguments.topic, arguments.records).await,
        Err(error) => {
            eprintln!("not ready: {error}");
            if let Some(advice) = advice(&error) {
                eprintln!("{advice}");
            }
            ExitCode::FAILURE
        }
    };
    producer.close_timeout(GRACE).await;
    Ok(code)
}

/// Returns what an operator should check.
fn advice(error: &KafkaError) -> Option<&'static str> {
    Some(match error.connect_failure()? {
        ConnectFailure::Authentication => "look at the login: user, password, token, mechanism",
        ConnectFailure::UnknownCa => "look at --ca or SSL_CA_PEM",
        ConnectFailure::WrongHost => "look at --brokers: certificates name other hosts",
        ConnectFailure::Expired => "the operator of the brokers has to renew their certificates",
        ConnectFailure::ClientCertificate => "look at the client's certificate, or log in with one",
        ConnectFailure::SecurityProtocol => "look at --brokers: this port may want another login",
        ConnectFailure::UnknownHost | ConnectFailure::Refused => "look at --brokers",
        _ => return None,
    })
}

/// Sends that many records and prints how many were delivered.
async fn send(producer: &Producer<Context>, topic: &str, count: u32) -> ExitCode {
    let (mut delivered, mut failed) = (0, 0);
    let records = (1..=count).map(|number| {
        let payload = format!("record {number}");
        ProducerRecord::to(topic).payload(payload)
    });
    let mut results = producer.send_all(records);
    while let Some(result) = results.next().await {
        match result {
            Ok(_) => delivered += 1,
            Err(error) => {
                failed += 1;
                eprintln!("{error}");
            }
        }
    }
    println!("{delivered} delivered, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

// --- configuration -------------------------------------------------------------------------------

fn config(arguments: &Arguments) -> Result<ClientConfig, BoxError> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &arguments.brokers)
        .set("enable.idempotence", "true");
    match &arguments.ca {
        Some(file) => drop(config.set("ssl.ca.location", file)),
        None => from_env_if_set(&mut config, "ssl.ca.pem")?,
    }

    match &arguments.login {
        Login::Tls => drop(config.set("security.protocol", "ssl")),
        Login::Certificate(login) => certificate(&mut config, login)?,
        Login::Plain(login) => password(&mut config, "PLAIN", login)?,
        Login::ScramSha256(login) => password(&mut config, "SCRAM-SHA-256", login)?,
        Login::ScramSha512(login) => password(&mut config, "SCRAM-SHA-512", login)?,
        // The context creates the tokens.
        Login::UnsecuredToken(_) => sasl(&mut config, "OAUTHBEARER"),
        Login::Oidc(login) => oidc(&mut config, login)?,
        Login::Gssapi(login) => kerberos(&mut config, login),
    }

    for (property, value) in &arguments.properties {
        let parts = ["pass", "secret", "pem", "jaas"];
        if parts.iter().any(|part| property.contains(part)) {
            return Err(format!("{property} is no argument: secrets show there").into());
        }
        config.set(property, value);
    }
    Ok(config)
}

fn certificate(config: &mut ClientConfig, login: &Certificate) -> Result<(), BoxError> {
    config.set("security.protocol", "ssl");
    if let (Some(certificate), Some(key)) = (&login.certificate, &login.key) {
        config
            .set("ssl.certificate.location", certificate)
            .set("ssl.key.location", key);
    } else {
        from_env(config, "ssl.certificate.pem")?;
        from_env(config, "ssl.key.pem")?;
    }
    from_env_if_set(config, "ssl.key.password")
}

fn sasl(config: &mut ClientConfig, mechanism: &str) {
    config
        .set("security.protocol", "sasl_ssl")
        .set("sasl.mechanism", mechanism);
}

fn password(config: &mut ClientConfig, mechanism: &str, login: &User) -> Result<(), BoxError> {
    sasl(config, mechanism);
    config.set("sasl.username", &login.user);
    from_env(config, "sasl.password")
}

fn oidc(config: &mut ClientConfig, login: &Oidc) -> Result<(), BoxError> {
    sasl(config, "OAUTHBEARER");
    config
        .set("sasl.oauthbearer.method", "oidc")
        .set("sasl.oauthbearer.token.endpoint.url", &login.token_endpoint)
        .set("sasl.oauthbearer.client.id", &login.client_id);
    if let Some(scope) = &login.scope {
        config.set("sasl.oauthbearer.scope", scope);
    }
    from_env(config, "sasl.oauthbearer.client.secret")
}

fn kerberos(config: &mut ClientConfig, login: &Kerberos) {
    sasl(config, "GSSAPI");
    config
        .set("sasl.kerberos.service.name", &login.service)
        .set("sasl.kerberos.principal", &login.principal);
    match &login.keytab {
        Some(file) => config.set("sasl.kerberos.keytab", file),
        // No kinit.
        None => config.set("sasl.kerberos.min.time.before.relogin", "0"),
    };
}

/// Sets a property from the environment variable of its name: `sasl.password` from `SASL_PASSWORD`.
fn from_env(config: &mut ClientConfig, property: &str) -> Result<(), BoxError> {
    let variable = variable(property);
    // The text of `VarError` may contain the value.
    let value = env::var(&variable).map_err(|_| format!("{variable} is not set, or no text"))?;
    config.set(property, value);
    Ok(())
}

fn from_env_if_set(config: &mut ClientConfig, property: &str) -> Result<(), BoxError> {
    match env::var_os(variable(property)) {
        Some(_) => from_env(config, property),
        None => Ok(()),
    }
}

fn variable(property: &str) -> String {
    property.to_uppercase().replace('.', "_")
}

// --- tokens --------------------------------------------------------------------------------------

/// The context, which provides the tokens.
struct Context {
    token_user: Option<String>,
}

impl ClientContext for Context {
    /// Creates a token. A service would ask its identity provider here. Deliveries continue
    /// meanwhile.
    async fn refresh_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, BoxError> {
        let user = self.token_user.as_ref().ok_or("there are no tokens")?;
        let now = SystemTime::now();
        let issued = now.duration_since(UNIX_EPOCH)?.as_secs();
        let expires = issued + LIFETIME.as_secs();
        let claims = format!(r#"{{"sub":"{user}","iat":{issued},"exp":{expires}}}"#);
        // An `OAuthToken` never appears in errors, in logs or in `Debug` output.
        Ok(OAuthToken::new(
            unsecured_token(&claims),
            user,
            now + LIFETIME,
        ))
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    /// Does nothing, because `send` prints the results.
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
