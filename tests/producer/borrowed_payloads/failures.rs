//! Messages that fail, or are refused, give their payloads back.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tokio_rdkafka::{ApiKey, ProducerRecord, RDKafkaErrorCode as Code};

use super::{
    EVERYTHING, LARGE, Ledger, SMALL, With, content, enqueue, failures, full, producer, uncopied,
};
use crate::support::mock::{DEADLINE, cluster, produce_requests, until};

#[tokio::test]
async fn a_timed_out_message_gives_its_payload_back() {
    async fn time_out(is_topic_known: bool) {
        let cluster = cluster("t", 1);
        let (producer, ledger) = producer(uncopied(&cluster).set("message.timeout.ms", "5000"));
        if is_topic_known {
            producer.topic("t").unwrap();
            producer.send(ledger.record()).await.unwrap();
        }
        cluster.broker_down(1).unwrap();
        let futures = enqueue(&producer, 500);
        for result in join_all(futures).await {
            assert_eq!(result.unwrap_err().code(), Some(Code::MessageTimedOut));
        }
        ledger.all_came_to_their_end().await;
    }
    tokio::join!(time_out(true), time_out(false));
}

#[tokio::test]
async fn a_purge_of_the_queue_gives_payloads_back() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let (producer, ledger) = producer(&uncopied(&cluster));
    let futures = enqueue(&producer, 3_000);
    assert_eq!(producer.purge(EVERYTHING()).await, 3_000);
    assert_eq!(failures(futures).await, [Code::PurgeQueue; 3_000]);
    ledger.all_came_to_their_end().await;
}

#[tokio::test]
async fn a_purge_of_requests_on_their_way_gives_payloads_back() {
    let cluster = cluster("t", 1);
    let (producer, ledger) = producer(&uncopied(&cluster));
    let warm_up =
        ProducerRecord::with_opaque_to("t", ledger.next(SMALL).0).payload(content(0, SMALL));
    producer.send(warm_up).await.unwrap();
    ledger.entries.lock().unwrap().clear();
    cluster.start_request_tracking();
    cluster.broker_round_trip_time(1, DEADLINE).unwrap();
    let futures = enqueue(&producer, 100);
    until(|| produce_requests(&cluster) > 0).await;
    assert_eq!(producer.purge(EVERYTHING()).await, 100);
    let codes = failures(futures).await;
    assert_eq!(codes[0], Code::PurgeInflight);
    ledger.all_came_to_their_end().await;
}

#[tokio::test]
async fn a_fatal_error_gives_payloads_back() {
    let cluster = cluster("t", 1);
    let (producer, ledger) = producer(
        uncopied(&cluster)
            .set("enable.idempotence", "true")
            .set("batch.num.messages", "1"),
    );
    producer.send(ledger.record()).await.unwrap();
    cluster.request_errors(ApiKey::Produce, &[Code::OutOfOrderSequenceNumber]);
    // The error comes when requests are on their way and messages in the queue.
    cluster.start_request_tracking();
    cluster.broker_round_trip_time(1, DEADLINE).unwrap();
    let futures = enqueue(&producer, 50);
    until(|| produce_requests(&cluster) > 1).await;
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    let results = join_all(futures).await;
    let codes: Vec<_> = results
        .into_iter()
        .filter_map(|result| result.err()?.code())
        .collect();
    assert_eq!(codes[0], Code::OutOfOrderSequenceNumber);
    assert_eq!(codes.last(), Some(&Code::PurgeQueue));
    ledger.all_came_to_their_end().await;

    let refusals = Arc::new(Ledger::default());
    let error = producer.try_enqueue(refusals.record()).unwrap_err();
    assert!(error.is_fatal());
    refusals.has_back(0, error.record());
    drop(error);
    assert_eq!(refusals.dropped(), 1);
}

#[tokio::test]
async fn a_message_that_the_broker_refuses_gives_its_payload_back() {
    let cluster = cluster("t", 1);
    let (producer, ledger) = producer(uncopied(&cluster).set("retry.backoff.ms", "5"));
    cluster.request_errors(ApiKey::Produce, &[Code::MessageSizeTooLarge]);
    let error = producer.send(ledger.record()).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::MessageSizeTooLarge));
    assert!(error.record().get_payload().unwrap() == content(0, LARGE));
    cluster.request_errors(ApiKey::Produce, &[Code::MessageSizeTooLarge]);
    let error = producer.send(full(ledger.record())).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::MessageSizeTooLarge));
    // This one is read again.
    cluster.request_errors(ApiKey::Produce, &[Code::NotEnoughReplicas; 2]);
    producer.send(ledger.record()).await.unwrap();
    ledger.all_came_to_their_end().await;
    let records = cluster.records("t").await.unwrap();
    assert_eq!(records.len(), 1);
    assert!(records[0].payload() == Some(&content(2, LARGE)));
}

#[tokio::test]
async fn a_broker_that_goes_away_meanwhile_loses_no_payload() {
    let cluster = cluster("t", 1);
    let (producer, ledger) = producer(
        uncopied(&cluster)
            .set("reconnect.backoff.ms", "1")
            .set("reconnect.backoff.max.ms", "20")
            .set("retry.backoff.ms", "1"),
    );
    for _ in 0..20 {
        let futures = enqueue(&producer, 10);
        cluster.broker_down(1).unwrap();
        cluster.broker_up(1).unwrap();
        for delivery in join_all(futures).await {
            delivery.unwrap();
        }
    }
    ledger.all_came_to_their_end().await;
}

#[tokio::test]
async fn a_record_that_is_refused_has_the_very_same_payload() {
    const KBYTES: usize = 200;
    let cluster = cluster("t", 1);
    let (producer, ledger) = producer(
        uncopied(&cluster)
            .set("message.max.bytes", "100000")
            .set("queue.buffering.max.kbytes", KBYTES.to_string())
            .set("queue.buffering.max.messages", "2"),
    );
    producer.send(ledger.record()).await.unwrap();

    let refusals = Arc::new(Ledger::default());
    let wrong: [(usize, With); 6] = [
        // Refused by the produce call,
        (100_000, |record| record),
        (100_000, full),
        (LARGE, |record| record.partition(7)),
        (LARGE, |record| full(record).partition(7)),
        // and before it.
        (KBYTES * 1024 + 1, |record| record),
        (LARGE, |record| record.partition(-2)),
    ];
    for (bytes, wrong) in wrong {
        let record = || {
            let record = wrong(refusals.owned(bytes, None));
            (*record.get_opaque(), record)
        };
        let (number, refused) = record();
        refusals.has_back(number, producer.try_enqueue(refused).unwrap_err().record());
        let (number, refused) = record();
        let error = producer.try_enqueue_detached(refused).unwrap_err();
        refusals.has_back(number, error.into_owned().record());
        let (number, refused) = record();
        refusals.has_back(number, producer.send(refused).await.unwrap_err().record());
        let (number, refused) = record();
        let error = producer.enqueue_detached(refused).await.unwrap_err();
        refusals.has_back(number, error.record());
        let (number, refused) = record();
        let permit = producer.reserve().await.unwrap();
        refusals.has_back(number, permit.send(refused).await.unwrap_err().record());
        let (number, refused) = record();
        let permit = producer.reserve_owned().await.unwrap();
        refusals.has_back(number, permit.send(refused).await.unwrap_err().record());
        let (number, refused) = record();
        let permit = producer.reserve_bytes(KBYTES * 1024).await.unwrap();
        refusals.has_back(number, permit.send(refused).await.unwrap_err().record());
        // Nobody looks at this future.
        let (_, refused) = record();
        drop(producer.try_reserve().unwrap().send(refused));
    }
    let longer = refusals.record();
    let number = *longer.get_opaque();
    let permit = producer.reserve_bytes(LARGE - 1).await.unwrap();
    refusals.has_back(number, permit.send(longer).await.unwrap_err().record());

    // The queue is full; with a message in flight, the queue is not overbooked.
    cluster.broker_down(1).unwrap();
    let in_flight = producer.try_enqueue(ledger.record()).unwrap();
    let permit = producer.try_reserve().unwrap();
    let waiting = refusals.record();
    let number = *waiting.get_opaque();
    let error = producer.enqueue_timeout(waiting, Duration::ZERO).await;
    refusals.has_back(number, error.unwrap_err().record());
    let cancelled = producer.send(refusals.record()).now_or_never();
    assert!(cancelled.is_none());
    let error = producer.try_enqueue(ledger.record()).unwrap_err();
    assert!(error.is_queue_full());
    ledger.has_back(2, error.record());
    drop(permit);
    cluster.broker_up(1).unwrap();
    in_flight.await.unwrap();
    producer.send(error.into_record()).await.unwrap();
    ledger.all_came_to_their_end().await;

    // All capacity is back.
    until(|| producer.in_flight_count() == 0).await;
    let capacity = producer.reserve_bytes(KBYTES * 1024).now_or_never();
    let permit = capacity.unwrap().unwrap();
    producer.close().await;
    let late = refusals.record();
    let number = *late.get_opaque();
    refusals.has_back(number, permit.send(late).await.unwrap_err().record());
    let late = refusals.record();
    let number = *late.get_opaque();
    refusals.has_back(number, producer.send(late).await.unwrap_err().record());

    for (number, entry) in refusals.entries().iter().enumerate() {
        assert_eq!((entry.drops, entry.reports.len()), (1, 0), "{number}");
    }
}
