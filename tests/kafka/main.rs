//! What a mock cannot prove, on real Apache Kafka. To run all of it, or one module:
//!
//! ```sh
//! tests/with-kafka cargo test --features full --test kafka
//! tests/with-kafka cargo test --features full --test kafka logins::
//! ```
//!
//! Tests that lack something show as ignored: all of them without a cluster
//! (`KAFKA_BOOTSTRAP_SERVERS`), those that stop nodes without `KAFKA_NODECTL`, and those of TLS and
//! logins without the listeners of `tests/with-kafka` (`KAFKA_TLS_DIR`) or the feature `ssl`.
//!
//! What was produced is read back by rdkafka's consumer, not by ours.
//!
//! A binary of its own: its harness shows tests as ignored at run time, and keeps those that stop
//! nodes apart from the others.

mod base_producer;
mod capacity;
mod chaos;
#[cfg(feature = "rdkafka")]
mod consumed;
mod frozen;
mod health;
mod late_requests;
mod logins;
mod metadata;
mod ready;
mod records;
mod renewal;
mod rights;
#[cfg(feature = "statistics")]
mod statistics;
#[path = "../support/mod.rs"]
mod support;
mod transactional_producer;
#[cfg(feature = "rdkafka")]
mod transform;
mod verdicts;

use std::process::ExitCode;

use libtest_mimic::Arguments;

use crate::support::trials::alone_last;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They wait for brokers more than they compute.
    arguments.test_threads.get_or_insert(4);
    let trials = [
        // The longest tests first, beside the others.
        #[cfg(feature = "rdkafka")]
        transform::trials(),
        late_requests::trials(),
        records::trials(),
        verdicts::trials(),
        metadata::trials(),
        ready::trials(),
        logins::trials(),
        rights::trials(),
        base_producer::trials(),
        capacity::trials(),
        transactional_producer::trials(),
        renewal::trials(),
        #[cfg(feature = "rdkafka")]
        consumed::trials(),
        #[cfg(feature = "statistics")]
        statistics::trials(),
        frozen::trials(),
        health::trials(),
        chaos::trials(),
    ];
    let trials = trials.into_iter().flatten().collect();
    libtest_mimic::run(&arguments, alone_last(trials)).exit_code()
}
