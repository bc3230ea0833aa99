//! Records: what they take, and what is refused with the record given back.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio_rdkafka::{BaseProducer, Headers, IntoPayload, Producer, ProducerRecord};

use crate::support::mock::{cluster, config, payloads};

#[test]
fn all_kinds_of_payloads_are_taken() {
    fn is_abc<'a>(payload: impl IntoPayload<'a>) {
        let record = ProducerRecord::to("t").key("k").payload(payload);
        assert_eq!(record.get_payload(), Some(&b"abc"[..]));
        assert_eq!(record.into_owned().get_payload(), Some(&b"abc"[..]));
    }
    let (text, bytes) = (String::from("abc"), b"abc".to_vec());
    is_abc("abc");
    is_abc(&text);
    is_abc(&b"abc"[..]);
    is_abc(b"abc");
    is_abc(&bytes);
    is_abc(String::from("abc"));
    is_abc(b"abc".to_vec());
    is_abc(b"abc".to_vec().into_boxed_slice());
    is_abc(Arc::<[u8]>::from(&b"abc"[..]));
    is_abc(Cow::Borrowed("abc"));
    is_abc(Cow::<[u8]>::Owned(b"abc".to_vec()));
    is_abc(Bytes::from_static(b"abc"));
    is_abc(BytesMut::from(&b"abc"[..]));
    is_abc(Some("abc"));
    is_abc(Some(Some(Bytes::from_static(b"abc"))));
}

#[test]
fn null_differs_from_empty() {
    let record = ProducerRecord::to("t").key("").payload(None::<&str>);
    assert_eq!(
        (record.get_key(), record.get_payload()),
        (Some(&b""[..]), None)
    );
}

#[test]
fn a_static_record_serves_where_a_borrowed_one_is_wanted() {
    fn shorter<'a>(record: ProducerRecord<'static>, _: &'a str) -> ProducerRecord<'a> {
        record
    }
    let text = String::from("short");
    assert_eq!(shorter(ProducerRecord::to("t"), &text).get_topic(), "t");
}

#[test]
fn debug_shows_neither_bytes_nor_wants_debug_of_the_opaque() {
    struct Opaque;
    let headers = Headers::new().append("name", Some("s3cret"));
    let record = ProducerRecord::with_opaque_to("t", Opaque)
        .key("s3cret")
        .payload("s3cret")
        .headers(headers);
    let debug = format!("{record:?}");
    assert!(!debug.contains("s3cret") && debug.contains("6 bytes") && debug.contains("name"));
    assert!(!debug.contains(&format!("{:?}", b"s3cret")));
}

#[test]
fn headers_keep_order_duplicates_and_nulls() {
    let headers = Headers::new()
        .append("a", "1")
        .append("b", None::<&str>)
        .append("a", [0xff]);
    let order: Vec<_> = headers
        .iter()
        .map(|header| (header.name, header.value))
        .collect();
    assert_eq!(
        order,
        [
            ("a", Some(&b"1"[..])),
            ("b", None),
            ("a", Some(&[0xff][..]))
        ]
    );
    assert_eq!(headers.get("a"), Some(Some(&[0xff][..])));
    assert_eq!(headers.iter().collect::<Headers>(), headers);
}

/// A wrong field, as its error names it, and the record that has it.
fn wrong() -> Vec<(&'static str, ProducerRecord<'static>)> {
    let record = |topic: &str| ProducerRecord::to(topic.to_owned()).key("k").payload("v");
    vec![
        ("topic", record("")),
        ("topic", record(&"x".repeat(250))),
        ("topic", record("with\0nul")),
        ("partition", record("t").partition(-2)),
        ("partition", record("t").partition(i32::MIN)),
        ("timestamp", record("t").timestamp(0)),
        ("timestamp", record("t").timestamp(-1)),
        (
            "headers",
            record("t").headers(Headers::new().append("n\0ul", "v")),
        ),
    ]
}

fn is_same(record: &ProducerRecord<'_>, given: &ProducerRecord<'_>) {
    assert_eq!(record.get_topic(), given.get_topic());
    assert_eq!(record.get_partition(), given.get_partition());
    assert_eq!(record.get_timestamp(), given.get_timestamp());
    assert_eq!(record.get_headers(), given.get_headers());
    assert_eq!(record.get_key(), given.get_key());
    assert_eq!(record.get_payload(), given.get_payload());
}

#[tokio::test]
async fn a_wrong_field_is_named_and_the_record_comes_back() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    let base: BaseProducer = config(&cluster).create().unwrap();
    for (field, given) in wrong() {
        let error = producer.send(given.clone()).await.unwrap_err();
        assert_eq!(error.error().field(), Some(field));
        assert!(error.to_string().contains(field), "{error}");
        is_same(error.record(), &given);

        let error = producer.try_enqueue(given.clone()).unwrap_err();
        assert_eq!(error.error().field(), Some(field));
        is_same(error.record(), &given);

        let error = base.send(given.clone()).unwrap_err();
        assert_eq!(error.error().field(), Some(field));
        is_same(&error.into_record(), &given);
    }
    assert_eq!((producer.in_flight_count(), base.in_flight_count()), (0, 0));
    assert!(producer.topic("").unwrap_err().field() == Some("topic"));
    let longest = "x".repeat(249);
    producer
        .send(ProducerRecord::to(&longest).payload("v"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_topic_of_another_producer_counts_as_its_name() {
    let (ours, theirs) = (cluster("t", 1), cluster("t", 1));
    let producer: Producer = config(&ours).create().unwrap();
    let other: Producer = config(&theirs).create().unwrap();
    let topic = other.topic("t").unwrap();
    assert_eq!(topic.name(), "t");
    producer
        .send(ProducerRecord::to(&topic).payload("1"))
        .await
        .unwrap();
    other
        .send(ProducerRecord::to(&topic).payload("2"))
        .await
        .unwrap();
    other.close().await;
    drop(other);
    producer
        .send(ProducerRecord::to(topic).payload("3"))
        .await
        .unwrap();
    assert_eq!(payloads(&ours, "t").await, ["1", "3"]);
    assert_eq!(payloads(&theirs, "t").await, ["2"]);
}
