//! Permits: capacity that is reserved ahead of a record.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use tokio::time;
use tokio_rdkafka::{MockCluster, OwnedPermit, Persistence, Producer, ProducerRecord};

use crate::support::mock::{Counting, DEADLINE, assert_capacity_is_whole, cluster, config, until};

/// A producer whose queue takes up to `messages` messages.
fn producer(cluster: &MockCluster, messages: usize) -> Producer {
    config(cluster)
        .set("queue.buffering.max.messages", messages.to_string())
        .create()
        .unwrap()
}

#[tokio::test]
async fn a_permit_holds_capacity_until_it_is_used_or_dropped() {
    let cluster = cluster("t", 1);
    let producer = producer(&cluster, 2);
    let used = producer.reserve().await.unwrap();
    let unused = producer.try_reserve().unwrap();
    assert!(producer.try_reserve().unwrap_err().is_queue_full());
    let error = producer.try_enqueue(ProducerRecord::to("t")).unwrap_err();
    assert!(error.is_queue_full());

    drop(unused);
    let delivery = used.send(ProducerRecord::to("t").payload("by permit"));
    assert_eq!(delivery.await.unwrap().offset(), Some(0));
    assert_capacity_is_whole(&producer, 2);
}

#[tokio::test]
async fn an_owned_permit_keeps_its_producer_open() {
    let cluster = cluster("t", 1);
    let producer = producer(&cluster, 1);
    let permit: OwnedPermit = producer.reserve_owned().await.unwrap();
    let weak = producer.downgrade();
    drop(producer);
    assert!(!permit.producer().is_closed());
    let sent = tokio::spawn(async move { permit.send(ProducerRecord::to("t")).await });
    sent.await.unwrap().unwrap();
    until(|| weak.upgrade().is_none()).await;
}

#[tokio::test]
async fn whatever_refuses_a_permit_s_record_comes_through_the_future() {
    let cluster = cluster("t", 1);
    let mut config = config(&cluster);
    config
        .set("queue.buffering.max.kbytes", "1")
        .set("message.max.bytes", "1000");
    let producer: Producer = config.create().unwrap();
    producer.send(ProducerRecord::to("t")).await.unwrap();

    let too_large_for_the_queue = ProducerRecord::to("t").payload(vec![0; 1025]);
    let too_large_for_a_broker = ProducerRecord::to("t").payload(vec![0; 1010]);
    let unknown_partition = ProducerRecord::to("t").partition(7);
    let no_topic = ProducerRecord::to("");
    for record in [
        too_large_for_the_queue,
        too_large_for_a_broker,
        unknown_partition,
        no_topic,
    ] {
        let given = record.clone();
        let permit = producer.reserve().await.unwrap();
        let error = permit.send(record).await.unwrap_err();
        assert_eq!(error.persistence(), Persistence::NotPersisted);
        let (record, opaque, _) = error.into_parts();
        assert_eq!(record.get_payload(), given.get_payload());
        assert_eq!(record.get_partition(), given.get_partition());
        assert_eq!(opaque, Some(()));
    }

    let longer_than_reserved = producer.reserve_bytes(3).await.unwrap();
    let sent = longer_than_reserved.send(ProducerRecord::to("t").payload("1234"));
    assert_eq!(sent.await.unwrap_err().error().field(), Some("payload"));

    let permit = producer.reserve().await.unwrap();
    let close = producer.close();
    let record = ProducerRecord::to("t").payload("late");
    let (_, error) = tokio::join!(close, async { permit.send(record).await.unwrap_err() });
    assert!(error.is_closed());
    assert_eq!(error.record().get_payload(), Some(&b"late"[..]));
    assert!(producer.reserve().await.unwrap_err().is_closed());
    assert!(producer.try_reserve().unwrap_err().is_closed());
}

#[tokio::test]
async fn reserved_bytes_are_charged_at_once_and_their_rest_goes_back() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.kbytes", "1")
        .set("linger.ms", "60000")
        .create()
        .unwrap();
    let never = producer.reserve_bytes(1025).await.unwrap_err();
    assert_eq!(never.field(), Some("payload"));
    let permit = producer.reserve_bytes(1024).await.unwrap();
    let mut waits = pin!(producer.reserve_bytes(1000));
    assert!(futures::poll!(&mut waits).is_pending());
    let delivery = permit.send(ProducerRecord::to("t").payload(vec![0; 24]));
    drop(waits.await.unwrap());
    producer.flush().await.unwrap();
    delivery.await.unwrap();
    drop(producer.reserve_bytes(1024).await.unwrap());
}

#[tokio::test]
async fn poll_reserve_keeps_its_place_in_the_handle() {
    let cluster = cluster("t", 1);
    let mut producer = producer(&cluster, 1);
    let held = producer.reserve_owned().await.unwrap();
    let mut poll = |cx: &mut std::task::Context<'_>| producer.poll_reserve(cx);
    assert!(futures::poll!(std::future::poll_fn(&mut poll)).is_pending());
    let mut later = producer.clone();
    let mut second =
        Box::pin(async move { std::future::poll_fn(|cx| later.poll_reserve(cx)).await });
    assert!(futures::poll!(&mut second).is_pending());
    drop(held);
    // The first one is first, although it was polled through a future that has gone.
    assert!(futures::poll!(&mut second).is_pending());
    let permit = std::future::poll_fn(|cx| producer.poll_reserve(cx)).await;
    drop(permit.unwrap());
    let permit = second.await.unwrap();
    permit.send(ProducerRecord::to("t")).await.unwrap();
    assert_capacity_is_whole(&producer, 1);
}

#[tokio::test]
async fn a_handle_that_is_dropped_passes_its_place_on() {
    let cluster = cluster("t", 1);
    let producer = producer(&cluster, 1);
    let held = producer.reserve().await.unwrap();
    let mut leaves = producer.clone();
    let poll = std::future::poll_fn(|cx| leaves.poll_reserve(cx));
    assert!(futures::poll!(poll).is_pending());
    let mut waits = pin!(producer.reserve());
    assert!(futures::poll!(&mut waits).is_pending());
    drop(held);
    assert!(futures::poll!(&mut waits).is_pending());
    drop(leaves);
    assert!(futures::poll!(&mut waits).is_ready());
}

#[tokio::test]
async fn in_a_select_loop_a_pinned_reserve_keeps_its_place() {
    let cluster = cluster("t", 1);
    let producer = producer(&cluster, 1);
    let held = producer.reserve().await.unwrap();
    let mut first = pin!(producer.reserve());
    for _ in 0..10 {
        tokio::select! {
            biased;
            _ = &mut first => panic!("there is no capacity"),
            () = tokio::task::yield_now() => {}
        }
    }
    let mut second = pin!(producer.reserve());
    assert!(futures::poll!(&mut second).is_pending());
    drop(held);
    assert!(futures::poll!(&mut second).is_pending());
    let permit = first.await.unwrap();
    permit.send(ProducerRecord::to("t")).await.unwrap();
}

#[tokio::test]
async fn permits_that_move_keep_the_limit() {
    let cluster = cluster("t", 1);
    let producer = Producer::builder(config(&cluster).set("queue.buffering.max.messages", "4"))
        .context(Counting::default())
        .create()
        .unwrap();
    let most = Arc::new(AtomicUsize::new(0));
    let tasks = (0..200).map(|index| {
        let (producer, most) = (producer.clone(), Arc::clone(&most));
        tokio::spawn(async move {
            let permit = producer.reserve().await.unwrap();
            tokio::task::yield_now().await;
            let delivery = permit.send(ProducerRecord::with_opaque_to("t", index));
            most.fetch_max(producer.in_flight_count(), Ordering::SeqCst);
            delivery.await.unwrap();
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    assert!((1..=4).contains(&most.load(Ordering::SeqCst)));
    assert_eq!(producer.context().seen().len(), 200);
}

/// It runs on the same thread.
async fn let_the_driver_look() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Nothing is in flight whose delivery would wake anybody.
#[tokio::test]
async fn a_permit_that_is_dropped_does_not_stop_those_who_wait_for_another() {
    let cluster = cluster("t", 1);
    let producer = producer(&cluster, 1);
    let first = producer.reserve().await.unwrap();
    // The queue is overbooked because of the first one.
    let second = producer.reserve().await.unwrap();
    let mut waits = pin!(producer.reserve());
    assert!(futures::poll!(&mut waits).is_pending());
    let_the_driver_look().await;
    drop(first);
    // And now because of the second one.
    let third = time::timeout(DEADLINE, &mut waits).await;
    drop((second, third.expect("capacity").unwrap()));
    assert_capacity_is_whole(&producer, 1);
}

#[tokio::test]
async fn a_permit_that_is_dropped_does_not_stop_those_behind_one_that_is_not_polled() {
    let cluster = cluster("t", 1);
    let producer = producer(&cluster, 1);
    let first = producer.reserve().await.unwrap();
    let second = producer.reserve().await.unwrap();
    let mut never = Box::pin(producer.reserve());
    assert!(futures::poll!(&mut never).is_pending());
    let mut waits = pin!(producer.reserve());
    assert!(futures::poll!(&mut waits).is_pending());
    let_the_driver_look().await;
    drop(second);
    let third = time::timeout(DEADLINE, &mut waits).await;
    drop((first, never, third.expect("capacity").unwrap()));
    assert_capacity_is_whole(&producer, 1);
}
