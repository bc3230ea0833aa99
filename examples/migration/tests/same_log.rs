//! Runs each program on a mock cluster and, if `KAFKA_BOOTSTRAP_SERVERS` is set as by
//! `tests/with-kafka`, on that cluster.
//!
//! ```sh
//! cargo test -p tokio-rdkafka-migration
//! tests/with-kafka cargo test -p tokio-rdkafka-migration
//! ```

use std::env;
use std::process::Command;

/// Runs a program, which fails if the logs of both crates differ.
fn run(program: &str, arguments: &[String]) {
    let mut command = Command::new(program);
    let output = command.args(arguments).output().expect("the program");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    assert!(text(&output.stdout).contains("the same with both"));
}

macro_rules! programs {
    ($($name:ident)*) => {
        $(
            mod $name {
                #[test]
                fn on_a_mock_cluster() {
                    super::run(env!(concat!("CARGO_BIN_EXE_", stringify!($name))), &[]);
                }

                #[test]
                fn on_kafka() {
                    let Ok(brokers) = super::env::var("KAFKA_BOOTSTRAP_SERVERS") else {
                        eprintln!("skipped: KAFKA_BOOTSTRAP_SERVERS is not set");
                        return;
                    };
                    super::run(env!(concat!("CARGO_BIN_EXE_", stringify!($name))), &[brokers]);
                }
            }
        )*
    };
}

programs! {
    asynchronous_processing
    at_least_once
    context
    mocking
    partitioner
    simple_producer
    step_by_step
    transactions
}
