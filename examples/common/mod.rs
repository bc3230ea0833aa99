//! Code that the examples share.
#![allow(dead_code)] // Each example uses a part of it.

#[cfg(feature = "mock")]
use tokio_rdkafka::{KafkaError, MockCluster};
use tracing_subscriber::EnvFilter;

/// Prints `tracing` events, which include librdkafka's logs. By default prints warnings and errors.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}

/// Returns the given brokers, or those of a new mock cluster with the topic. The cluster ends when
/// it is dropped.
#[cfg(feature = "mock")]
pub fn brokers(
    given: Option<String>,
    topic: &str,
) -> Result<(String, Option<MockCluster>), KafkaError> {
    if let Some(brokers) = given {
        return Ok((brokers, None));
    }
    let cluster = MockCluster::new(3)?;
    cluster.create_topic(topic, 1, 3)?;
    Ok((cluster.bootstrap_servers(), Some(cluster)))
}

/// Returns the text of an error with those of its causes.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Parses the argument of `-X PROPERTY=VALUE`.
pub fn property(argument: &str) -> Result<(String, String), String> {
    let (name, value) = argument
        .split_once('=')
        .ok_or("not of the form PROPERTY=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
