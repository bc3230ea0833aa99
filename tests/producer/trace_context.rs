//! Trace context in the headers of records.

use std::sync::Mutex;

use futures::StreamExt;
use tokio_rdkafka::{
    ApiKey, ClientContext, DeliveryResult, Headers, InterceptedRecord, MockCluster, Producer,
    ProducerContext, ProducerRecord, RDKafkaErrorCode as Code,
};

use crate::support::mock::{cluster, config};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Writes these headers into each record.
#[derive(Default)]
struct Injecting(Mutex<Vec<(&'static str, &'static str)>>);

impl ClientContext for Injecting {}

impl ProducerContext for Injecting {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}

    fn on_send(&self, record: &mut InterceptedRecord<'_, '_>) {
        record.inject_with(|set| {
            for (name, value) in &*self.0.lock().unwrap() {
                set(name, (*value).to_owned());
            }
        });
    }
}

async fn arrived(cluster: &MockCluster) -> Headers {
    let mut records = cluster.records("t").await.unwrap();
    records.pop().unwrap().headers().clone()
}

#[tokio::test]
async fn headers_that_a_record_has_are_respected() {
    let all = [
        ("traceparent", "new"),
        ("tracestate", "new"),
        ("baggage", "new"),
    ];
    let headers = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Headers>();
    type Pairs<'p> = &'p [(&'p str, &'p str)];
    let cases: &[(Pairs<'_>, Pairs<'_>)] = &[
        (&[], &all),
        (
            &[("other", "old")],
            &[("other", "old"), all[0], all[1], all[2]],
        ),
        // A `tracestate` without its `traceparent` would be wrong.
        (&[("traceparent", "old")], &[("traceparent", "old"), all[2]]),
        (&[("tracestate", "old")], &[("tracestate", "old"), all[2]]),
        (&[("baggage", "old")], &[("baggage", "old"), all[0], all[1]]),
        (
            &[("traceparent", "old"), ("baggage", "old")],
            &[("traceparent", "old"), ("baggage", "old")],
        ),
    ];
    let cluster = cluster("t", 1);
    let context = Injecting(Mutex::new(all.to_vec()));
    let producer: Producer<Injecting> = config(&cluster).create_with_context(context).unwrap();
    for (given, expected) in cases {
        let record = ProducerRecord::to("t").headers(headers(given));
        producer.send(record).await.unwrap();
        assert_eq!(arrived(&cluster).await, headers(expected));
    }
    // An empty one says nothing.
    *producer.context().0.lock().unwrap() = vec![("traceparent", "new"), ("tracestate", "")];
    producer.send(ProducerRecord::to("t")).await.unwrap();
    assert_eq!(arrived(&cluster).await, headers(&[("traceparent", "new")]));
    producer.context().0.lock().unwrap().clear();
    producer.send(ProducerRecord::to("t")).await.unwrap();
    assert!(arrived(&cluster).await.is_empty());
}

#[tokio::test]
async fn a_record_that_is_sent_again_has_the_headers_once() {
    let cluster = cluster("t", 1);
    let context = Injecting(Mutex::new(vec![("traceparent", TRACEPARENT)]));
    let producer: Producer<Injecting> = config(&cluster)
        .set("linger.ms", "50")
        .create_with_context(context)
        .unwrap();
    producer.send(ProducerRecord::to("t")).await.unwrap();
    cluster.request_errors(ApiKey::Produce, &[Code::InvalidRecord]);
    let error = producer.send(ProducerRecord::to("t")).await.unwrap_err();
    assert!(error.record().get_headers().is_empty());
    producer.send(error.into_record()).await.unwrap();
    cluster.request_errors(ApiKey::Produce, &[Code::InvalidRecord]);
    let results = producer.send_all([ProducerRecord::to("t"), ProducerRecord::to("t")]);
    let results = results.resend_refused_batches();
    assert!(results.all(async |result| result.is_ok()).await);
    let records = cluster.records("t").await.unwrap();
    assert_eq!(records.len(), 4);
    for record in records {
        let headers = record.headers();
        assert_eq!(headers, &Headers::new().append("traceparent", TRACEPARENT));
    }
}
