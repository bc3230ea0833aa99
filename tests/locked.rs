//! TLS, logins and rights on real Apache Kafka: run it by
//! `tests/with-kafka cargo test --features full --test locked`.
//!
//! Without the cluster of `tests/with-kafka`, or without the feature `ssl`, all show as ignored.

#[path = "common/locked.rs"]
mod locked;
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use locked::{GUARDED, Locked, MECHANISMS, READER, WRITER};
use support::Cluster;
use tokio_rdkafka::{ClientConfig, Persistence, Producer, ProducerRecord, RDKafkaErrorCode};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = vec![
        delivers("ssl", |locked| locked.ssl()),
        delivers("mtls", |locked| locked.mtls()),
        delivers("mtls_encrypted_key", |locked| locked.mtls_encrypted_key()),
        delivers("mtls_pem", |locked| locked.mtls_pem()),
        delivers("OAUTHBEARER", |locked| locked.login_unsecured(WRITER)),
        is_denied("OAUTHBEARER", |locked| locked.login_unsecured(READER)),
        // Who may not even know of the topic.
        is_denied("stranger", |locked| locked.login_unsecured("stranger")),
        is_refused("an_unknown_ca", |locked| locked.ssl_unknown_ca()),
        is_refused("an_expired_certificate", |locked| locked.ssl_expired()),
        is_refused("the_wrong_host", |locked| locked.ssl_wrong_host()),
        is_refused("no_certificate", |locked| locked.mtls_without_certificate()),
    ];
    for mechanism in MECHANISMS {
        trials.extend([
            delivers(mechanism, |locked| locked.login(mechanism, WRITER)),
            is_denied(mechanism, |locked| locked.login(mechanism, READER)),
            is_refused(mechanism, |locked| {
                locked.login_with(mechanism, WRITER, "wrong")
            }),
        ]);
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// With this configuration a record comes through.
fn delivers(name: &str, config: impl Fn(&Locked) -> ClientConfig + Send + 'static) -> Trial {
    trial(format!("{name}_delivers"), async move |locked, topic| {
        let producer: Producer = config(&locked).create().unwrap();
        let delivery = producer.send(ProducerRecord::to(&topic)).await.unwrap();
        assert_eq!(delivery.persistence(), Persistence::Persisted);
    })
}

/// With this configuration the user is known, and must not write to the topic.
fn is_denied(name: &str, config: impl Fn(&Locked) -> ClientConfig + Send + 'static) -> Trial {
    trial(format!("{name}_is_denied"), async move |locked, topic| {
        let producer: Producer = config(&locked).create().unwrap();
        // The first is refused by the answer to it, later ones may be before they are sent.
        for _ in 0..3 {
            let error = producer
                .send(ProducerRecord::to(&topic).key("k"))
                .await
                .unwrap_err();
            let code = Some(RDKafkaErrorCode::TopicAuthorizationFailed);
            assert_eq!(error.code(), code, "{error}");
            assert!(!error.is_fatal() && !error.is_retriable(), "{error:?}");
            assert_eq!(error.persistence(), Persistence::NotPersisted);
            assert_eq!(error.into_record().get_key(), Some(&b"k"[..]));
        }
    })
}

/// With this configuration there is no connection.
fn is_refused(name: &str, config: impl Fn(&Locked) -> ClientConfig + Send + 'static) -> Trial {
    trial(format!("{name}_is_refused"), async move |locked, topic| {
        let producer: Producer = config(&locked)
            .set("message.timeout.ms", "2000")
            .create()
            .unwrap();
        let error = producer.send(ProducerRecord::to(&topic)).await.unwrap_err();
        assert_eq!(error.code(), Some(RDKafkaErrorCode::MessageTimedOut));
        assert_eq!(error.persistence(), Persistence::NotPersisted);
    })
}

/// A test with a guarded topic of its own.
fn trial<F>(name: String, test: impl FnOnce(Locked, String) -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()>,
{
    let topic = format!("{GUARDED}{name}-{}", std::process::id());
    Trial::test(name, move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let cluster = Cluster::from_env();
            cluster.create_topic_named(&topic, 1, 3).await;
            test(Locked::from_env(), topic).await;
        });
        Ok(())
    })
    .with_ignored_flag(!Locked::is_there())
}
