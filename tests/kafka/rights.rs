//! Each login: one that delivers, one that is denied a topic, and one that is refused.

use libtest_mimic::Trial;
use tokio_rdkafka::{ClientConfig, Persistence, Producer, ProducerRecord, RDKafkaErrorCode};

use crate::support::logins::{GUARDED, Locked, MECHANISMS, READER, WRITER};
use crate::support::trials::{Module, many_threads};

const MODULE: Module = Module("rights");

pub fn trials() -> Vec<Trial> {
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
    trials
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
    MODULE
        .trial_on(many_threads, &name, async |cluster| {
            cluster.create_topic_named(&topic, 1, 3).await;
            test(Locked::from_env(), topic).await;
        })
        .with_ignored_flag(!Locked::is_there())
}
