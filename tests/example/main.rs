//! The examples as programs of their own: started, killed, run to their end. All but `produce` run on
//! real Apache Kafka. Examples that are packages have tests of their own.
//!
//! `cargo test` without `--test` builds the examples by itself. Otherwise they have to be built
//! first:
//!
//! ```sh
//! cargo build --features full --examples
//! tests/with-kafka cargo test --features full --test example
//! tests/with-kafka cargo test --features full --test example secure:: -- --nocapture
//! ```
//!
//! Tests that lack something show as ignored: those on Kafka without a cluster
//! (`KAFKA_BOOTSTRAP_SERVERS`), and those that kill brokers without `KAFKA_NODECTL`.
//!
//! A binary of its own: it needs the programs of the examples, which `--test` alone does not build.

#[cfg(feature = "rdkafka")]
mod exactly_once;
#[cfg(feature = "mock")]
mod produce;
mod secure;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = [
        secure::trials(),
        #[cfg(feature = "mock")]
        produce::trials(),
        #[cfg(feature = "rdkafka")]
        exactly_once::trials(),
    ];
    let trials = trials.into_iter().flatten().collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
