//! Room in the queue: who is let in, when, and how often anybody is woken for it.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake};

use futures::future::join_all;
use tokio_rdkafka::{MockCluster, OwnedPermit, Persistence, Producer, ProducerRecord};

use crate::support::mock::{
    Counting, DEADLINE, assert_room_is_whole, cluster, config, payloads, until,
};

/// A producer whose queue takes so many messages.
fn producer(cluster: &MockCluster, messages: usize) -> Producer {
    config(cluster)
        .set("queue.buffering.max.messages", messages.to_string())
        .create()
        .unwrap()
}

#[tokio::test]
async fn a_permit_holds_room_until_it_is_used_or_dropped() {
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
    assert_room_is_whole(&producer, 2);
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
    assert_room_is_whole(&producer, 1);
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
            _ = &mut first => panic!("there is no room"),
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

/// Spawns a send of each number, all of which wait in line before there is room, and waits for
/// them; how often each was polled.
async fn send_from_tasks(producer: &Producer, count: usize) -> Vec<usize> {
    // A delivery that came before all are in line would let one of those to come go first: it finds
    // room, while those who were let in by the delivery have not had their turn yet.
    let permits: Vec<_> = std::iter::from_fn(|| producer.try_reserve().ok()).collect();
    let in_line = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..count)
        .map(|index| {
            let (producer, in_line) = (producer.clone(), Arc::clone(&in_line));
            tokio::spawn(async move {
                let mut polls = 0;
                let record = ProducerRecord::to("t").payload(index.to_string());
                let mut send = pin!(producer.send(record));
                let sent = std::future::poll_fn(|cx| {
                    polls += 1;
                    let polled = send.as_mut().poll(cx);
                    in_line.fetch_add(usize::from(polls == 1), Ordering::SeqCst);
                    polled
                });
                sent.await.unwrap();
                polls
            })
        })
        .collect();
    until(|| in_line.load(Ordering::SeqCst) == count).await;
    drop(permits);
    let polls = join_all(tasks).await;
    polls.into_iter().map(|task| task.unwrap()).collect()
}

#[tokio::test]
async fn twenty_thousand_waiters_are_let_in_in_order_and_woken_for_it_once() {
    const WAITERS: usize = 20_000;
    let cluster = cluster("t", 1);
    let producer = producer(&cluster, 100);
    let polls = send_from_tasks(&producer, WAITERS).await;
    // To get into the line, to be let in, to hear of the delivery; and now and then the
    // cooperative budget lets others go first.
    let (most, sum) = (polls.iter().max().unwrap(), polls.iter().sum::<usize>());
    assert!(*most <= 5, "{most}");
    assert!(sum <= 3 * WAITERS + WAITERS / 50, "{sum}");
    let expected: Vec<_> = (0..WAITERS).map(|index| index.to_string()).collect();
    assert_eq!(payloads(&cluster, "t").await, expected);
    assert_room_is_whole(&producer, 100);
}

/// Holds all room by permits, has more wait who never look again, and then sends.
async fn sends_behind_idle_ones() {
    let cluster = cluster("t", 1);
    let producer = producer(&cluster, 10);
    let mut idle: Vec<_> = (0..40).map(|_| Box::pin(producer.reserve())).collect();
    let mut permits = Vec::new();
    for reserve in &mut idle {
        if let Poll::Ready(permit) = futures::poll!(reserve) {
            permits.push(permit.unwrap());
        }
    }
    assert_eq!(permits.len(), 10);
    for index in 0..50 {
        let record = ProducerRecord::to("t").payload(index.to_string());
        let sent = tokio::time::timeout(DEADLINE, producer.send(record)).await;
        sent.expect("the idle ones stop others").unwrap();
    }
    drop((permits, idle));
    assert_room_is_whole(&producer, 10);
}

#[tokio::test]
async fn idle_permits_and_waiters_do_not_stop_others_for_ever() {
    sends_behind_idle_ones().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_permits_and_waiters_do_not_stop_others_on_several_workers() {
    sends_behind_idle_ones().await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_on_several_threads_share_room() {
    let cluster = cluster("t", 2);
    let producer = producer(&cluster, 7);
    let tasks = (0..6).map(|task| {
        let producer = producer.clone();
        tokio::spawn(async move {
            for index in 0..300 {
                let record = ProducerRecord::to("t").payload(format!("{task}-{index}"));
                match index % 3 {
                    0 => drop(producer.send(record).await.unwrap()),
                    1 => drop(producer.reserve().await.unwrap().send(record)),
                    _ => drop(producer.reserve_owned().await.unwrap()),
                }
            }
        })
    });
    let thread = {
        let producer = producer.clone();
        tokio::task::spawn_blocking(move || {
            for index in 0..300 {
                let record = ProducerRecord::to("t").payload(format!("thread-{index}"));
                drop(producer.blocking_enqueue(record).unwrap());
            }
        })
    };
    for task in join_all(tasks).await {
        task.unwrap();
    }
    thread.await.unwrap();
    producer.flush().await.unwrap();
    assert_eq!(cluster.records("t").await.unwrap().len(), 6 * 200 + 300);
    assert_room_is_whole(&producer, 7);
}

/// A waker that takes room itself, where a task yields though there is some.
#[test]
fn a_waker_may_use_the_producer() {
    struct Takes(Producer, AtomicUsize);

    impl Wake for Takes {
        fn wake(self: Arc<Self>) {
            drop(self.0.try_reserve().unwrap());
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let cluster = cluster("t", 1);
    let producer = producer(&cluster, 2);
    let takes = Arc::new(Takes(producer.clone(), AtomicUsize::new(0)));
    let waker = Arc::clone(&takes).into();
    let (done, is_done) = mpsc::channel();
    // On a thread of its own, which would wait for itself.
    std::thread::spawn(move || {
        let mut producer = producer;
        let mut cx = Context::from_waker(&waker);
        for _ in 0..10_000 {
            if let Poll::Ready(permit) = producer.poll_reserve(&mut cx) {
                drop(permit.unwrap());
            }
        }
        done.send(()).unwrap();
    });
    is_done.recv_timeout(DEADLINE).unwrap();
    assert!(takes.1.load(Ordering::SeqCst) > 0);
}
