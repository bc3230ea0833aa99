//! The sink: as futures' combinators use it, what fails in it, and what it leaves behind.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt, TryStreamExt, stream};
use tokio_rdkafka::{
    MockCluster, Producer, ProducerRecord, RDKafkaErrorCode, SendError, SinkStatistics,
};

use crate::support::mock::{
    Counting, DEADLINE, Drop, Fault, assert_capacity_is_whole, cluster, config, payloads,
    poll_then_drop, until, until_records,
};

fn record(index: usize) -> ProducerRecord<'static> {
    ProducerRecord::to("t").payload(index.to_string())
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|index| index.to_string()).collect()
}

fn counts<D>(statistics: &SinkStatistics<D>) -> (u64, u64, u64) {
    let delivered = statistics.delivered();
    (delivered, statistics.failed(), statistics.in_flight())
}

fn producer_with_capacity(cluster: &MockCluster, capacity: usize) -> Producer {
    config(cluster)
        .set("queue.buffering.max.messages", capacity.to_string())
        .create()
        .unwrap()
}

#[tokio::test]
async fn a_stream_is_forwarded_in_order() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 100);
    let sink = producer.sink();
    let statistics = sink.statistics();
    let records = stream::iter(0..5_000).map(record).map(Ok);
    records.forward(sink).await.unwrap();
    assert_eq!(counts(&statistics), (5_000, 0, 0));
    assert_eq!(payloads(&cluster, "t").await, numbers(5_000));
    assert_capacity_is_whole(&producer, 100);
}

#[tokio::test]
async fn a_fallible_stream_is_forwarded_up_to_its_error() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 2);
    let sink = producer.sink();
    let statistics = sink.statistics();
    let lines = stream::iter([Ok(0), Ok(1), Err("a broken line"), Ok(2)]);
    let sink = sink.sink_map_err(|_| "a record that failed");
    let error = lines.map_ok(record).forward(sink).await.unwrap_err();
    assert_eq!(error, "a broken line");
    // The sink has gone, but not what was in it.
    until(|| statistics.delivered() == 2).await;
    assert_eq!(payloads(&cluster, "t").await, numbers(2));
}

#[tokio::test]
async fn it_has_the_combinators_of_sinks() {
    let cluster = cluster("t", 1);
    cluster.create_topic("copy", 1, 1).unwrap();
    let producer = producer_with_capacity(&cluster, 3);
    let copies = producer.sink();
    let copies = copies.with(async |record: ProducerRecord<'static>| {
        let payload = record.get_payload().unwrap().to_vec();
        Ok::<_, SendError>(ProducerRecord::to("copy").payload(payload))
    });
    let mut both = Box::pin(producer.sink().fanout(copies).buffer(20));
    for index in 0..100 {
        both.feed(record(index)).await.unwrap();
    }
    both.close().await.unwrap();
    assert_eq!(payloads(&cluster, "t").await, numbers(100));
    assert_eq!(payloads(&cluster, "copy").await, numbers(100));
    assert!(!producer.is_closed());
}

#[tokio::test]
async fn capacity_is_waited_for_by_being_woken_and_a_ready_sink_holds_none() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 1);
    let mut first = producer.sink();
    let mut second = producer.sink();
    let permit = producer.try_reserve().unwrap();
    let mut waiting = polling(|cx| first.poll_ready(cx).map(Result::unwrap));
    let mut behind = polling(|cx| second.poll_ready(cx).map(Result::unwrap));
    assert!(waiting.is_pending() && behind.is_pending());
    drop(permit);
    assert!(waiting.is_woken() && !behind.is_woken());
    // The first is ready, and passes the capacity on.
    assert!(!waiting.is_pending());
    assert!(behind.is_woken() && !behind.is_pending());
    drop((waiting, behind));
    assert_capacity_is_whole(&producer, 1);

    // Ready again, at once.
    poll_fn(|cx| first.poll_ready(cx)).await.unwrap();
    first.abort_send();

    // A place in the wait queue is given up.
    let permit = producer.try_reserve().unwrap();
    let mut waiting = polling(|cx| first.poll_ready(cx).map(Result::unwrap));
    assert!(waiting.is_pending());
    drop(waiting);
    first.abort_send();
    drop(permit);
    assert_capacity_is_whole(&producer, 1);

    // At most one record for each sink goes over the limit.
    poll_fn(|cx| first.poll_ready(cx)).await.unwrap();
    poll_fn(|cx| second.poll_ready(cx)).await.unwrap();
    first.start_send(record(0)).unwrap();
    second.start_send(record(1)).unwrap();
    assert!(producer.try_reserve().unwrap_err().is_queue_full());
    second.abort_send();
    poll_fn(|cx| first.poll_close(cx)).await.unwrap();
    poll_fn(|cx| second.poll_close(cx)).await.unwrap();
    assert_eq!(payloads(&cluster, "t").await, numbers(2));
    assert_capacity_is_whole(&producer, 1);
}

/// What polls something by hand.
fn polling<F, T>(poll: F) -> Polling<F>
where
    F: FnMut(&mut std::task::Context<'_>) -> Poll<T>,
{
    Polling {
        poll,
        woken: Arc::default(),
    }
}

struct Polling<F> {
    poll: F,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

impl<F, T> Polling<F>
where
    F: FnMut(&mut std::task::Context<'_>) -> Poll<T>,
{
    fn is_pending(&mut self) -> bool {
        let waker = Arc::clone(&self.woken).into();
        (self.poll)(&mut std::task::Context::from_waker(&waker)).is_pending()
    }

    fn is_woken(&self) -> bool {
        self.woken.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[tokio::test]
#[should_panic(expected = "without a `poll_ready`")]
async fn a_send_without_capacity_panics_as_sinks_do() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 1);
    let _refused = producer.sink().start_send(record(0));
}

#[tokio::test]
async fn the_first_failure_stops_it() {
    for fault in Fault::ALL {
        let (cluster, producer) = fault.setting();
        let mut sink = producer.sink();
        let statistics = sink.statistics();
        let mut refused = Vec::new();
        let mut failures = Vec::new();
        for record in fault.records() {
            if let Err(error) = sink.feed(record).await {
                // Of a record before this one, which the caller still has then, or of this one.
                failures.push(error);
            }
        }
        while let Err(error) = sink.flush().await {
            failures.push(error);
        }
        let own = failures.remove(0);
        fault.assert_error(&own);
        // Those that came after it, if it was known by then.
        for error in failures {
            assert!(
                error.to_string().contains("the sink has stopped"),
                "{error}"
            );
            let cause = std::error::Error::source(error.error()).unwrap();
            assert_eq!(cause.to_string(), own.error().to_string());
            refused.push(error.into_record());
        }
        let late = sink.send(record(99)).await.unwrap_err();
        assert_eq!(late.record().get_payload(), Some(&b"99"[..]));
        assert!(late.code().is_none() && !late.is_closed(), "{late:?}");

        let (delivered, failed, in_flight) = counts(&statistics);
        assert_eq!((failed, in_flight), (1, 0), "{fault:?}");
        let arrived = payloads(&cluster, "t").await;
        assert_eq!(arrived.len() as u64, delivered, "{fault:?}");
        assert!(arrived.contains(&"0".to_owned()) && !arrived.contains(&"5".to_owned()));
        assert!(!producer.is_closed());
    }
}

#[tokio::test]
async fn it_goes_on_after_a_failure_where_it_is_to() {
    for fault in Fault::ALL {
        let (cluster, producer) = fault.setting();
        let mut sink = producer.sink().continue_on_failure();
        let statistics = sink.statistics();
        let mut errors = Vec::new();
        for record in fault.records() {
            // An error of readiness is of an earlier record: this one is sent all the same.
            while let Err(error) = poll_fn(|cx| sink.poll_ready(cx)).await {
                errors.push(error);
            }
            sink.start_send(record).unwrap();
        }
        while let Err(error) = sink.close().await {
            errors.push(error);
        }
        assert_eq!(errors.len(), 1, "{errors:?}");
        fault.assert_error(&errors[0]);
        assert_eq!(counts(&statistics), (9, 1, 0), "{fault:?}");
        fault.assert_others_arrived(&cluster).await;
    }
}

#[tokio::test]
async fn a_handler_of_failures_lets_a_forward_go_on() {
    for fault in Fault::ALL {
        let (cluster, producer) = fault.setting();
        let errors = Arc::new(Mutex::new(Vec::new()));
        let handed = Arc::clone(&errors);
        let sink = producer
            .sink()
            .on_failure(move |error| handed.lock().unwrap().push(error));
        let statistics = sink.statistics();
        let records = stream::iter(fault.records()).map(Ok);
        records.forward(sink).await.unwrap();
        let errors = std::mem::take(&mut *errors.lock().unwrap());
        assert_eq!(errors.len(), 1, "{errors:?}");
        fault.assert_error(&errors[0]);
        assert_eq!(counts(&statistics), (9, 1, 0), "{fault:?}");
        fault.assert_others_arrived(&cluster).await;
    }
}

#[tokio::test]
async fn a_closed_producer_gives_the_record_back_whatever_the_setting() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 1);
    let sinks = [
        producer.sink(),
        producer.sink().continue_on_failure(),
        producer.sink().on_failure(|error| panic!("{error}")),
    ];
    producer.close().await;
    for mut sink in sinks {
        let error = sink.send(record(7)).await.unwrap_err();
        assert!(error.is_closed(), "{error}");
        assert_eq!(error.record().get_payload(), Some(&b"7"[..]));
        // Nothing is in it: its end is orderly.
        sink.close().await.unwrap();
        assert_eq!(counts(&sink.statistics()), (0, 0, 0));
    }
}

/// With a `linger.ms` far beyond the deadline of the test.
fn lingering(cluster: &MockCluster) -> Producer {
    let mut config = config(cluster);
    config.set("linger.ms", "900000");
    config.set("message.timeout.ms", "1000000");
    config.create().unwrap()
}

#[tokio::test]
async fn a_flush_waits_and_a_close_sends() {
    let cluster = cluster("t", 1);
    let producer = lingering(&cluster);
    let others = producer.enqueue(record(100)).await.unwrap();
    let mut sink = producer.sink();
    for index in 0..3 {
        sink.feed(record(index)).await.unwrap();
    }
    // Until the topic is known, whatever the linger is.
    until(|| producer.in_flight_count() == 4).await;
    let mut flush = polling(|cx| sink.poll_flush(cx).map(Result::unwrap));
    assert!(flush.is_pending());
    drop(flush);
    assert_eq!(counts(&sink.statistics()), (0, 0, 3));

    let closed = tokio::time::timeout(DEADLINE, sink.close()).await;
    closed
        .expect("a close does not wait for linger.ms")
        .unwrap();
    assert_eq!(counts(&sink.statistics()), (3, 0, 0));
    others.await.unwrap();
    // It is open for others, and for this sink.
    producer.flush().await.unwrap();
    let mut again = producer.sink();
    again.feed(record(3)).await.unwrap();
    again.close().await.unwrap();
    sink.feed(record(4)).await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(producer.close().await.failed, 0);
}

/// Its flush is not that of records that come after it.
#[tokio::test]
async fn a_close_after_one_that_was_given_up_sends_too() {
    let cluster = cluster("t", 1);
    let producer = lingering(&cluster);
    let mut sink = producer.sink();
    sink.feed(record(0)).await.unwrap();
    let mut close = polling(|cx| sink.poll_close(cx));
    assert!(close.is_pending());
    drop(close);
    sink.flush().await.unwrap();
    sink.feed(record(1)).await.unwrap();
    let closed = tokio::time::timeout(DEADLINE, sink.close()).await;
    closed
        .expect("a close does not wait for linger.ms")
        .unwrap();
    assert_eq!(payloads(&cluster, "t").await, ["0", "1"]);
}

#[tokio::test]
async fn a_sink_that_has_stopped_releases_its_capacity() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 2);
    cluster.broker_down(1).unwrap();
    let mut sink = producer.sink();
    sink.feed(record(0).partition(7)).await.unwrap();
    poll_fn(|cx| sink.poll_ready(cx)).await.unwrap();
    cluster.broker_up(1).unwrap();
    let error = sink.flush().await.unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::UnknownPartition));
    assert_capacity_is_whole(&producer, 2);
}

#[tokio::test]
async fn a_flush_is_that_of_this_sink() {
    let cluster = MockCluster::new(2).unwrap();
    cluster.create_topic("up", 1, 1).unwrap();
    cluster.create_topic("down", 1, 1).unwrap();
    cluster.partition_leader("up", 0, Some(1)).unwrap();
    cluster.partition_leader("down", 0, Some(2)).unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    producer.send(ProducerRecord::to("down")).await.unwrap();
    cluster.broker_down(2).unwrap();
    let stuck = producer.enqueue(ProducerRecord::to("down")).await.unwrap();
    let mut sink = producer.sink();
    let sent = tokio::time::timeout(DEADLINE, sink.send(ProducerRecord::to("up"))).await;
    sent.expect("it waits for its own").unwrap();
    let closed = tokio::time::timeout(DEADLINE, sink.close()).await;
    closed.expect("it waits for its own").unwrap();
    assert_eq!(producer.in_flight_count(), 1);
    cluster.broker_up(2).unwrap();
    stuck.await.unwrap();
}

/// Deliveries behind one that does not come are taken all the same.
#[tokio::test]
async fn a_partition_without_a_leader_keeps_no_deliveries() {
    const OTHERS: usize = 20_000;
    let cluster = MockCluster::new(2).unwrap();
    for (topic, leader) in [("up", 1), ("down", 2)] {
        cluster.create_topic(topic, 1, 1).unwrap();
        cluster.partition_leader(topic, 0, Some(leader)).unwrap();
    }
    let producer = producer_with_capacity(&cluster, 100);
    producer.send(ProducerRecord::to("down")).await.unwrap();
    cluster.broker_down(2).unwrap();
    let mut sink = producer.sink();
    let statistics = sink.statistics();
    sink.feed(ProducerRecord::to("down")).await.unwrap();
    for _ in 0..OTHERS {
        sink.feed(ProducerRecord::to("up")).await.unwrap();
        // The capacity and a sweep's threshold.
        assert!(statistics.in_flight() <= 100 + 2 * 1024, "{statistics:?}");
    }
    cluster.broker_up(2).unwrap();
    sink.flush().await.unwrap();
    assert_eq!(counts(&statistics), (OTHERS as u64 + 1, 0, 0));
}

#[tokio::test]
async fn statistics_count_on_after_the_sink() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 10);
    cluster
        .broker_round_trip_time(1, Duration::from_millis(100))
        .unwrap();
    let mut sink = producer.sink();
    let statistics = sink.statistics();
    for index in 0..4 {
        sink.feed(record(index)).await.unwrap();
    }
    sink.feed(record(4).partition(9)).await.unwrap();
    drop(sink);
    until(|| statistics.in_flight() == 0).await;
    assert_eq!(counts(&statistics.clone()), (4, 1, 0));
    assert_eq!(
        format!("{statistics:?}"),
        "SinkStatistics { delivered: 4, failed: 1, in_flight: 0 }"
    );
}

/// More than what a task may take of tokio's budget in one turn.
#[tokio::test]
async fn statistics_count_all_at_once() {
    const RECORDS: usize = 50_000;
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    let mut sink = producer.sink();
    let statistics = sink.statistics();
    for _ in 0..RECORDS {
        poll_fn(|cx| sink.poll_ready(cx)).await.unwrap();
        sink.start_send(record(0)).unwrap();
    }
    drop(sink);
    producer.close().await;
    assert_eq!(counts(&statistics), (RECORDS as u64, 0, 0));
}

/// Unused permits of sinks hold all capacity, and nobody moves: the others are let in all the same.
#[tokio::test]
async fn a_thousand_idle_sinks_stall_nobody() {
    const CAPACITY: usize = 100;
    const SINKS: usize = 1_000;
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, CAPACITY);
    let mut sinks = Vec::new();
    for _ in 0..SINKS {
        let mut sink = producer.sink();
        let ready = tokio::time::timeout(DEADLINE, poll_fn(|cx| sink.poll_ready(cx))).await;
        ready.expect("a sink waits for ever").unwrap();
        sinks.push(sink);
    }
    let delivery = tokio::time::timeout(DEADLINE, producer.send(record(0))).await;
    delivery.expect("a send waits for ever").unwrap();
    // What they are ready for they can do.
    for (index, sink) in sinks.iter_mut().enumerate() {
        sink.start_send(record(index + 1)).unwrap();
    }
    for mut sink in sinks {
        sink.close().await.unwrap();
    }
    until_records(&cluster, "t", SINKS + 1).await;
    assert_capacity_is_whole(&producer, CAPACITY);
}

#[tokio::test]
async fn dropped_at_any_poll_point_it_loses_nothing() {
    const CAPACITY: usize = 3;
    const RECORDS: usize = 20;
    let cluster = cluster("t", 1);
    let mut config = config(&cluster);
    config.set("queue.buffering.max.messages", CAPACITY.to_string());
    let producer: Producer<Counting> = config
        .create_with_context::<_, Producer<Counting>>(Counting::default())
        .unwrap();
    let mut sent = 0;
    for polls in 0.. {
        assert!(polls < 200, "it is never done");
        let mut is_done = false;
        for how in [Drop::WhenWoken, Drop::AtOnce] {
            let sink = producer.sink();
            let statistics = sink.statistics();
            // Pending after every other item, as a socket is: flushed meanwhile.
            let records = stream::iter(0..RECORDS).then(async |index| {
                if index % 2 == 1 {
                    tokio::task::yield_now().await;
                }
                Ok(ProducerRecord::with_opaque_to("t", index))
            });
            let output = poll_then_drop(records.forward(sink), polls, how).await;
            is_done = output.is_some();
            until(|| statistics.in_flight() == 0).await;
            assert_eq!(statistics.failed(), 0);
            sent += usize::try_from(statistics.delivered()).unwrap();
            until(|| producer.in_flight_count() == 0).await;
            assert_capacity_is_whole(&producer, CAPACITY);
        }
        if is_done {
            break;
        }
    }
    assert_eq!(producer.context().failed(), 0);
    assert_eq!(producer.context().seen().len(), sent);
    assert_eq!(cluster.records("t").await.unwrap().len(), sent);
}

#[tokio::test]
async fn a_refused_record_is_a_failure_of_the_sink() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 1);
    let mut sink = producer.sink().continue_on_failure();
    let error = sink.send(ProducerRecord::to("")).await.unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::InvalidArgument));
    assert_eq!(error.error().field(), Some("topic"));
    sink.send(record(0)).await.unwrap();
    assert_eq!(counts(&sink.statistics()), (1, 1, 0));
    assert_capacity_is_whole(&producer, 1);
}

/// In the forms that rustc takes; see the docs of `ProducerSink`.
#[tokio::test]
async fn a_forward_can_be_spawned() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 10);
    let [first, second, third] = [producer.sink(), producer.sink(), producer.sink()];
    let whole = tokio::spawn(stream::iter(0..3).map(record).map(Ok).forward(first));
    whole.await.unwrap().unwrap();
    let at_once = tokio::spawn(async move {
        let records = stream::iter(0..3).map(|index| Ok(record(index)));
        records.forward(second).await
    });
    at_once.await.unwrap().unwrap();
    let fallible = tokio::spawn(async move {
        let lines = stream::iter(0..3).map(Ok::<_, std::io::Error>);
        let sink = third.sink_map_err(std::io::Error::other);
        lines.map_ok(record).forward(sink).await
    });
    fallible.await.unwrap().unwrap();
    until_records(&cluster, "t", 9).await;
}

/// Payloads as long as the last ones have their bytes of the capacity ahead, and others not:
/// whatever comes, each byte is given back.
#[tokio::test]
async fn payloads_of_all_lengths_leave_the_capacity_whole() {
    const BYTES: usize = 16 * 1024;
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.kbytes", (BYTES / 1024).to_string())
        .set("queue.buffering.max.messages", "10")
        .create()
        .unwrap();
    let lens = [
        7, 7, 7, 9, 9, 1, 1, 1, 0, 0, 0, 1023, 1023, 1023, 1024, 1024, 1024, 5000, 5000, 5000, 3,
    ];
    // Larger than the whole capacity.
    let wrong = [BYTES + 1, BYTES + 1, BYTES + 1, 3, 3];
    let all = || lens.iter().chain(&wrong).cycle().take(300).copied();
    let failures = Arc::new(Mutex::new(0));
    let failed = Arc::clone(&failures);
    let mut sink = producer
        .sink()
        .on_failure(move |_| *failed.lock().unwrap() += 1);
    for len in all() {
        let record = ProducerRecord::to("t").payload(vec![b'v'; len]);
        sink.feed(record).await.unwrap();
    }
    // Ready for one more of the same length, which does not come.
    poll_fn(|cx| sink.poll_ready(cx)).await.unwrap();
    sink.abort_send();
    sink.flush().await.unwrap();
    let too_large = all().filter(|&len| len > BYTES).count();
    assert_eq!(*failures.lock().unwrap(), too_large);
    let whole = producer.reserve_bytes(BYTES).now_or_never();
    drop(whole.expect("all bytes are back").unwrap());
    assert_capacity_is_whole(&producer, 10);
}
