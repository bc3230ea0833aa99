//! TLS, logins and rights on real Apache Kafka: run it by
//! `tests/with-kafka cargo test --features full --test kafka_logins`.
//!
//! Without the listeners of `tests/with-kafka` (`KAFKA_TLS_DIR`), and without the feature `ssl`, all
//! show as ignored. `TOKIO_RDKAFKA_TOKENS_SECONDS` is how long short tokens are tried under load.
//!
//! Every test logs all that librdkafka has to say, and the last one looks for secrets in it.

mod support;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, io};

use libtest_mimic::{Arguments, Conclusion, Trial};
use support::{Cluster, DEADLINE};
use tokio_rdkafka::{
    BaseProducer, BoxError, ClientConfig, ClientContext, DeliveryResult, KafkaError, OAuthToken,
    Persistence, Producer, ProducerContext, ProducerRecord, RDKafkaErrorCode,
    TransactionalProducer,
};

/// All that was logged, and all errors in both of their forms.
static PRINTED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// The tokens that were made.
static TOKENS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![
        trial("tls_with_a_certificate_in_files", tls_files),
        trial("tls_with_a_certificate_as_text", tls_text),
        trial("tls_with_an_encrypted_key", tls_encrypted_key),
        trial("tls_that_cannot_work_says_why", tls_failures),
        trial("sasl_plain", || logs_in("PLAIN")),
        trial("sasl_scram_sha_256", || logs_in("SCRAM-SHA-256")),
        trial("sasl_scram_sha_512", || logs_in("SCRAM-SHA-512")),
        trial("a_wrong_password_is_reported", wrong_password),
        trial("tokens_are_refreshed_under_load", tokens_under_load),
        trial("a_refresh_that_fails_is_asked_again", failing_refresh),
        trial("a_bad_token_is_reported", bad_token),
        trial("a_transactional_producer_logs_in_by_token", transactional),
        trial("a_base_producer_logs_in_by_token", base_producer),
        trial("without_the_right_to_write_the_record_comes_back", no_right),
    ];
    if Conclusion::has_failed(&finish(&arguments, trials)) {
        return ExitCode::from(101);
    }
    ExitCode::SUCCESS
}

fn main_is_ignored() -> bool {
    !cfg!(feature = "ssl") || !Cluster::is_there() || env::var_os("KAFKA_TLS_DIR").is_none()
}
