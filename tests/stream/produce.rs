//! Streams of results: their order, their bound, what fails in them, and what they leave behind.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt, stream};
use tokio_rdkafka::{MockCluster, ProduceExt, Producer, ProducerRecord, PurgeConfig};

use crate::support::mock::{
    Counting, DEADLINE, Drop, Fault, assert_capacity_is_whole, cluster, config, payloads,
    poll_then_drop, until,
};

fn record(index: usize) -> ProducerRecord<'static> {
    ProducerRecord::to("t").payload(index.to_string())
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|index| index.to_string()).collect()
}

fn producer_with_capacity(cluster: &MockCluster, capacity: usize) -> Producer {
    config(cluster)
        .set("queue.buffering.max.messages", capacity.to_string())
        .create()
        .unwrap()
}

/// Two topics, and a producer that knows them; the leader of `down` goes.
async fn half_down(capacity: usize) -> (MockCluster, Producer) {
    let cluster = MockCluster::new(2).unwrap();
    for (topic, leader) in [("up", 1), ("down", 2)] {
        cluster.create_topic(topic, 1, 1).unwrap();
        cluster.partition_leader(topic, 0, Some(leader)).unwrap();
    }
    let producer = producer_with_capacity(&cluster, capacity);
    producer.send(ProducerRecord::to("down")).await.unwrap();
    cluster.broker_down(2).unwrap();
    (cluster, producer)
}

/// Item i has i % 4 records.
#[tokio::test]
async fn values_come_back_in_order_with_none_one_or_several_deliveries() {
    const ITEMS: usize = 1_000;
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 10);
    let items = stream::iter(0..ITEMS).map(|item| {
        let records = (0..item % 4).map(move |index| record(4 * item + index));
        (item, records)
    });
    let mut results = items.produce(&producer);
    assert_eq!(results.size_hint(), (ITEMS, Some(ITEMS)));
    let mut offset = 0;
    for expected in 0..ITEMS {
        assert_eq!(results.size_hint().0, ITEMS - expected);
        let (item, deliveries) = results.next().await.unwrap();
        assert_eq!(item, expected);
        let deliveries = deliveries.unwrap();
        assert_eq!(deliveries.len(), item % 4);
        for delivery in deliveries {
            assert_eq!(delivery.offset(), Some(offset));
            offset += 1;
        }
    }
    assert!(results.next().await.is_none());
    // It stays at its end.
    assert!(results.next().await.is_none());
    assert_eq!(results.size_hint(), (0, Some(0)));
    let sent = (0..ITEMS).flat_map(|item| (0..item % 4).map(move |index| 4 * item + index));
    let sent: Vec<_> = sent.map(|number| number.to_string()).collect();
    assert_eq!(payloads(&cluster, "t").await, sent);
    assert_capacity_is_whole(&producer, 10);
}

#[tokio::test]
async fn one_record_for_each_item() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 10);
    // Values that are neither Clone nor 'static, and records that borrow.
    let texts = numbers(100);
    let items = stream::iter(&texts).map(|text| (text, ProducerRecord::to("t").payload(text)));
    let mut results = items.produce_each(&producer);
    for (index, expected) in texts.iter().enumerate() {
        let (text, delivery) = results.next().await.unwrap();
        assert!(std::ptr::eq(text, expected));
        assert_eq!(delivery.unwrap().offset(), i64::try_from(index).ok());
    }
    assert!(results.next().await.is_none());
    assert_eq!(payloads(&cluster, "t").await, texts);
}

#[tokio::test]
async fn an_iterator_is_sent_in_order() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 100);
    let texts = numbers(5_000);
    let records = texts
        .iter()
        .map(|text| ProducerRecord::to("t").payload(text));
    let mut results = producer.send_all(records);
    assert_eq!(results.size_hint(), (5_000, Some(5_000)));
    for index in 0..5_000 {
        let delivery = results.next().await.unwrap().unwrap();
        assert_eq!(delivery.offset(), Some(index));
    }
    assert!(results.next().await.is_none());
    assert!(results.next().await.is_none());
    assert_eq!(payloads(&cluster, "t").await, texts);
    assert_capacity_is_whole(&producer, 100);
}

/// Takes the results of a stream one by one, and checks what was taken from its source by then.
async fn assert_bound<S: Stream>(results: S, max_in_flight: usize, taken: &Cell<usize>) {
    let mut results = pin!(results);
    let mut returned = 0;
    taken.set(0);
    loop {
        assert!(taken.get() <= returned + max_in_flight, "{}", taken.get());
        if results.next().await.is_none() {
            break;
        }
        returned += 1;
    }
    assert_eq!((returned, taken.get()), (1_000, 1_000));
}

#[tokio::test]
async fn what_is_in_flight_is_bounded() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    for max_in_flight in [1, 7] {
        let taken = Cell::new(0);
        let records = (0..1_000).map(|index| {
            taken.set(index + 1);
            record(index)
        });
        let results = producer.send_all(records).max_in_flight(max_in_flight);
        assert_bound(results, max_in_flight, &taken).await;

        // Items without a record count too.
        for is_empty in [false, true] {
            let items = || {
                stream::iter(0..1_000).map(|index| {
                    taken.set(index + 1);
                    (index, (!is_empty).then(|| record(index)))
                })
            };
            let results = items().produce(&producer).max_in_flight(max_in_flight);
            assert_bound(results, max_in_flight, &taken).await;
            let results = items().produce(&producer).max_in_flight(max_in_flight);
            assert_bound(results.unordered(), max_in_flight, &taken).await;
        }
    }
    // None at all would be no bound, but a hang.
    let results = producer.send_all([record(0)]).max_in_flight(0);
    assert_eq!(results.count().await, 1);
}

#[tokio::test]
async fn an_item_larger_than_the_bound_and_the_queue_goes_on() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 10);
    let items = stream::iter([1, 100, 0, 100, 2]);
    let items = items.map(|count| (count, (0..count).map(record)));
    let results = items.produce(&producer).max_in_flight(3);
    let lengths: Vec<_> = results
        .map(|(count, deliveries)| (count, deliveries.unwrap().len()))
        .collect()
        .await;
    assert_eq!(lengths, [(1, 1), (100, 100), (0, 0), (100, 100), (2, 2)]);
}

#[tokio::test]
async fn a_failure_in_the_middle_is_that_of_its_item() {
    for fault in Fault::ALL {
        let (cluster, producer) = fault.setting();
        let results: Vec<_> = producer.send_all(fault.records()).collect().await;
        assert_middle(fault, results.into_iter().enumerate());
        fault.assert_others_arrived(&cluster).await;

        let (cluster, producer) = fault.setting();
        let items = stream::iter(fault.records().enumerate());
        let results: Vec<_> = items.produce_each(&producer).collect().await;
        assert_middle(fault, results);
        fault.assert_others_arrived(&cluster).await;
    }
}

fn assert_middle<T>(
    fault: Fault,
    results: impl IntoIterator<Item = (usize, Result<T, tokio_rdkafka::SendError>)>,
) {
    let mut count = 0;
    for (index, (value, result)) in results.into_iter().enumerate() {
        assert_eq!(value, index);
        match result {
            Err(error) if index == Fault::MIDDLE => fault.assert_error(&error),
            result => {
                assert!(result.is_ok(), "{fault:?}: record {index}");
                assert_ne!(index, Fault::MIDDLE, "{fault:?}");
            }
        }
        count += 1;
    }
    assert_eq!(count, Fault::RECORDS);
}

#[tokio::test]
async fn an_item_that_fails_has_the_result_of_each_record() {
    for fault in Fault::ALL {
        let (cluster, producer) = fault.setting();
        let records: Vec<_> = fault.records().collect();
        let items = stream::iter([("before", vec![]), ("all", records), ("after", vec![])]);
        let results: Vec<_> = items.produce(&producer).collect().await;
        let values: Vec<_> = results.iter().map(|(value, _)| *value).collect();
        assert_eq!(values, ["before", "all", "after"]);
        let mut outcomes = results.into_iter().map(|(_, outcome)| outcome);
        assert!(outcomes.next().unwrap().unwrap().is_empty());
        let error = outcomes.next().unwrap().unwrap_err();
        assert!(outcomes.next().unwrap().unwrap().is_empty());

        fault.assert_error(error.error());
        assert_eq!(error.to_string(), error.error().to_string());
        let is_ok: Vec<_> = error.results().iter().map(Result::is_ok).collect();
        let expected: Vec<_> = (0..Fault::RECORDS)
            .map(|index| index != Fault::MIDDLE)
            .collect();
        assert_eq!(is_ok, expected);
        assert_middle(fault, error.into_results().into_iter().enumerate());
        fault.assert_others_arrived(&cluster).await;
    }
}

#[tokio::test]
async fn it_stops_at_the_first_failure_where_it_is_to() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    for is_unordered in [false, true] {
        let taken = Cell::new(0);
        let items = stream::iter(0..100).map(|index| {
            taken.set(index + 1);
            let partition = if index == 10 { 9 } else { 0 };
            (index, record(index).partition(partition))
        });
        let results = items
            .produce_each(&producer)
            .max_in_flight(5)
            .stop_on_failure();
        let mut results = if is_unordered {
            results.unordered()
        } else {
            results
        };
        let mut seen = Vec::new();
        let mut failed_at = None;
        while let Some((index, result)) = results.next().await {
            assert_eq!(result.is_err(), index == 10);
            seen.push(index);
            if result.is_err() {
                failed_at = Some(taken.get());
            }
        }
        // What had been taken by then is returned, and nothing more is taken.
        assert_eq!(failed_at, Some(taken.get()));
        assert!(taken.get() <= 20, "{}", taken.get());
        seen.sort_unstable();
        assert_eq!(seen, (0..taken.get()).collect::<Vec<_>>());
        assert!(results.next().await.is_none());
    }
}

#[tokio::test]
async fn unordered_results_pass_one_that_is_late() {
    let (cluster, producer) = half_down(100).await;
    let topics = ["up", "down", "up", "down", "up"];
    let items = || stream::iter(topics).map(|topic| (topic, ProducerRecord::to(topic)));
    let mut results = items().produce_each(&producer).unordered();
    for _ in 0..3 {
        let (topic, result) = tokio::time::timeout(DEADLINE, results.next())
            .await
            .expect("a late one holds up the others")
            .unwrap();
        assert_eq!(topic, "up");
        result.unwrap();
    }
    assert!(results.next().now_or_never().is_none());
    assert_eq!(results.size_hint(), (2, Some(2)));
    cluster.broker_up(2).unwrap();
    let late: Vec<_> = results.map(|(topic, _)| topic).collect().await;
    assert_eq!(late, ["down", "down"]);
}

/// What is pending in the source or in the queue does not hold up what has been delivered.
#[tokio::test]
async fn results_come_while_the_stream_waits_for_its_source_or_for_capacity() {
    let (cluster, producer) = half_down(2).await;
    // The source never goes on after its first item.
    let items = stream::iter([("first", Some(ProducerRecord::to("up")))]);
    let items = items.chain(stream::pending());
    let mut results = pin!(items.produce(&producer));
    let first = tokio::time::timeout(DEADLINE, results.next()).await;
    assert_eq!(first.unwrap().unwrap().0, "first");

    // The third waits for capacity until the leader is back.
    let topics = ["up", "down", "down", "up"];
    let records = topics.map(ProducerRecord::to);
    let mut results = producer.send_all(records);
    let first = tokio::time::timeout(DEADLINE, results.next()).await;
    first.unwrap().unwrap().unwrap();
    cluster.broker_up(2).unwrap();
    assert_eq!(results.count().await, 3);
}

#[tokio::test]
async fn a_closed_producer_fails_what_is_left() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 1);
    let mut results = producer.send_all((0..10).map(record)).max_in_flight(1);
    results.next().await.unwrap().unwrap();
    producer.close().await;
    let mut failed = 0;
    while let Some(result) = results.next().await {
        // The second was enqueued when the first was returned, or not.
        if let Err(error) = result {
            assert!(error.is_closed(), "{error}");
            failed += 1;
        }
    }
    assert!(failed >= 8, "{failed}");
}

/// The three streams as one with as many results as records.
fn streams(producer: &Producer<Counting>, count: usize) -> [futures::stream::BoxStream<'_, ()>; 4] {
    let record = |index| ProducerRecord::with_opaque_to("t", index);
    // Pending after every other item, as a socket is.
    let source = move || {
        stream::iter(0..count).then(|index| async move {
            if index % 2 == 1 {
                tokio::task::yield_now().await;
            }
            index
        })
    };
    let pairs = move || source().map(move |index| (index, [record(index), record(index)]));
    let single = source().map(move |index| (index, record(index)));
    [
        producer
            .send_all((0..count).map(record))
            .max_in_flight(5)
            .map(drop)
            .boxed(),
        single.produce_each(producer).map(drop).boxed(),
        pairs().produce(producer).max_in_flight(5).map(drop).boxed(),
        pairs().produce(producer).unordered().map(drop).boxed(),
    ]
}

#[tokio::test]
async fn dropped_at_any_poll_point_they_lose_nothing() {
    const CAPACITY: usize = 3;
    const COUNT: usize = 10;
    let cluster = cluster("t", 1);
    let producer: Producer<Counting> = config(&cluster)
        .set("queue.buffering.max.messages", CAPACITY.to_string())
        .create_with_context(Counting::default())
        .unwrap();
    for which in 0..4 {
        for polls in 0.. {
            assert!(polls < 100, "it is never done");
            let mut is_done = false;
            for how in [Drop::WhenWoken, Drop::AtOnce] {
                let [a, b, c, d] = streams(&producer, COUNT);
                let results = [a, b, c, d].into_iter().nth(which).unwrap();
                let output = poll_then_drop(results.count(), polls, how).await;
                is_done = output.is_some();
                if let Some(count) = output {
                    assert_eq!(count, COUNT);
                }
                until(|| producer.in_flight_count() == 0).await;
                assert_capacity_is_whole(&producer, CAPACITY);
            }
            if is_done {
                break;
            }
        }
    }
    assert_eq!(producer.context().failed(), 0);
    let seen = producer.context().seen().len();
    assert!(seen > 0);
    assert_eq!(cluster.records("t").await.unwrap().len(), seen);
}

#[tokio::test]
async fn purged_records_come_back_in_their_places() {
    let (_cluster, producer) = half_down(100).await;
    let records = (0..10).map(|index| {
        let topic = if index % 2 == 0 { "up" } else { "down" };
        ProducerRecord::to(topic).payload(index.to_string())
    });
    let mut results = producer.send_all(records);
    // All are enqueued by one poll.
    assert!(results.next().now_or_never().is_none());
    until(|| producer.in_flight_count() == 5).await;
    producer
        .purge(PurgeConfig::default().queue().inflight())
        .await;
    for index in 0..10 {
        match (index % 2, results.next().await.unwrap()) {
            (0, result) => drop(result.unwrap()),
            (_, result) => {
                let error = result.unwrap_err();
                let payload = index.to_string();
                assert_eq!(error.record().get_payload(), Some(payload.as_bytes()));
            }
        }
    }
    assert!(results.next().await.is_none());
    assert_capacity_is_whole(&producer, 100);
    producer.close_timeout(Duration::ZERO).await;
}

/// The results go on, into a sink, in a task.
#[tokio::test]
async fn results_can_be_forwarded_in_a_spawned_task() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 10);
    let own = producer.clone();
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let forwarded = tokio::spawn(async move {
        let items = stream::iter(0..3).map(|index| (index, Some(record(index))));
        let results = items.produce(&own);
        let values = results.map(|(index, result)| Ok((index, result.is_ok())));
        values.forward(sender).await
    });
    forwarded.await.unwrap().unwrap();
    let values: Vec<_> = receiver.collect().await;
    assert_eq!(values, [(0, true), (1, true), (2, true)]);
}

#[tokio::test]
async fn when_an_item_s_records_panic_the_others_are_sent_before_it_comes_back() {
    let cluster = cluster("t", 1);
    for capacity in [1, 1_000] {
        let producer = producer_with_capacity(&cluster, 10);
        let records = (0..4).map(|index| match index {
            2 => panic!("the iterator's"),
            index => record(index),
        });
        let items = stream::iter([("item", records)]);
        let mut results = items.produce(&producer).max_in_flight(capacity);
        let deliveries = loop {
            let next = AssertUnwindSafe(results.next()).catch_unwind();
            match tokio::time::timeout(DEADLINE, next).await.unwrap() {
                Ok(next) => break next.unwrap().1.unwrap(),
                Err(panic) => assert_eq!(panic.downcast_ref(), Some(&"the iterator's")),
            }
        };
        assert_eq!(deliveries.len(), 3, "{capacity}");
        assert!(results.next().await.is_none());
        assert_capacity_is_whole(&producer, 10);
    }
    let twice = ["0", "1", "3", "0", "1", "3"];
    assert_eq!(payloads(&cluster, "t").await, twice);
}
