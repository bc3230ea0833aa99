//! Which payloads are copied, and which are borrowed.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::join_all;
use tokio_rdkafka::ProducerRecord;

use super::{LARGE, Ledger, Record, Report, SMALL, With, arrived, full, producer, uncopied};
use crate::support::mock::{cluster, config};

#[tokio::test]
async fn whatever_owns_its_bytes_is_not_copied() {
    let cluster = cluster("t", 1);
    let (producer, ledger) = producer(&uncopied(&cluster));
    let mut records = Vec::new();
    let mut owned = |convert: &dyn Fn(&Ledger, usize, Vec<u8>) -> Record| {
        let (number, bytes) = ledger.next(LARGE);
        records.push(convert(&ledger, number, bytes));
    };
    owned(&|ledger, number, bytes| ledger.record_at(number, bytes.as_ptr(), bytes));
    owned(&|ledger, number, bytes| {
        let text = String::from_utf8(bytes).unwrap();
        ledger.record_at(number, text.as_ptr(), text)
    });
    owned(&|ledger, number, bytes| {
        let bytes = bytes.into_boxed_slice();
        ledger.record_at(number, bytes.as_ptr(), bytes)
    });
    owned(&|ledger, number, bytes| {
        let bytes: Arc<[u8]> = bytes.into();
        ledger.record_at(number, bytes.as_ptr(), bytes)
    });
    owned(&|ledger, number, bytes| {
        let text: Arc<str> = String::from_utf8(bytes).unwrap().into();
        ledger.record_at(number, text.as_ptr(), text)
    });
    owned(&|ledger, number, bytes| {
        let bytes = Bytes::from(bytes);
        ledger.record_at(number, bytes.as_ptr(), bytes)
    });
    owned(&|ledger, number, bytes| {
        let bytes = BytesMut::from(&bytes[..]);
        ledger.record_at(number, bytes.as_ptr(), bytes)
    });
    // A part of a larger buffer.
    owned(&|ledger, number, bytes| {
        let bytes = Bytes::from([&b"before"[..], &bytes, b"after"].concat()).slice(6..6 + LARGE);
        ledger.record_at(number, bytes.as_ptr(), bytes)
    });
    let count = records.len();
    for record in records {
        producer.send(record).await.unwrap();
    }
    for number in 0..count {
        let entry = ledger.entry(number);
        let itself = Report {
            address: entry.address,
            is_whole: true,
        };
        assert_eq!(entry.reports, [itself], "{number}");
    }
    arrived(&cluster, &ledger).await;
}

#[tokio::test]
async fn what_is_small_or_borrowed_is_copied_and_free_at_once() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let (producer, ledger) = producer(&uncopied(&cluster));
    let small = producer.try_enqueue(ledger.owned(SMALL, None)).unwrap();
    let small_and_full = producer.try_enqueue(full(ledger.owned(SMALL, None)));
    assert_eq!(ledger.dropped(), 2);

    let (number, mut bytes) = ledger.next(LARGE);
    ledger.change(number, |entry| entry.address = bytes.as_ptr() as usize);
    let borrowed = ProducerRecord::with_opaque_to("t", number).payload(&bytes[..]);
    let borrowed = producer.try_enqueue(borrowed).unwrap();
    bytes.fill(b'-');

    cluster.broker_up(1).unwrap();
    for future in [small, small_and_full.unwrap(), borrowed] {
        future.await.unwrap();
    }
    for entry in ledger.entries() {
        assert_eq!(entry.reports.len(), 1);
        assert_ne!(entry.reports[0].address, entry.address);
        assert!(entry.reports[0].is_whole);
    }
    assert_eq!(ledger.dropped(), 2);
    arrived(&cluster, &ledger).await;
}

async fn delivered(codec: &str, copy_max: &str, with: With) {
    let cluster = cluster("t", 2);
    let mut config = config(&cluster);
    config
        .set("compression.codec", codec)
        .set("message.copy.max.bytes", copy_max)
        .set("linger.ms", "5");
    let (producer, ledger) = producer(&config);
    let futures: Vec<_> = (0..50)
        .map(|_| producer.try_enqueue(with(ledger.record())).unwrap())
        .collect();
    for delivery in join_all(futures).await {
        delivery.unwrap();
    }
    ledger.all_came_to_their_end().await;
    arrived(&cluster, &ledger).await;
}

#[tokio::test]
async fn borrowed_payloads_arrive_whole_by_every_way() {
    for codec in ["none", "gzip", "snappy", "lz4"] {
        for copy_max in ["0", "65535"] {
            delivered(codec, copy_max, |record| record).await;
            delivered(codec, copy_max, full).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_send_borrowed_payloads_at_the_same_time() {
    let cluster = cluster("t", 4);
    let (producer, ledger) = producer(uncopied(&cluster).set("queue.buffering.max.messages", "20"));
    let tasks = (0..4).map(|_| {
        let producer = producer.clone();
        tokio::spawn(async move {
            for _ in 0..200 {
                let record = producer.context().record();
                producer.send(record).await.unwrap();
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    ledger.all_came_to_their_end().await;
}
