//! Capacity of the queue: who acquires it, when, and how often anybody is woken for it.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio_rdkafka::{MockCluster, Persistence, Producer, ProducerRecord, RDKafkaErrorCode};

use crate::support::mock::{DEADLINE, assert_capacity_is_whole, cluster, config, payloads, until};

/// A producer whose queue takes up to `messages` messages.
fn producer(cluster: &MockCluster, messages: usize) -> Producer {
    config(cluster)
        .set("queue.buffering.max.messages", messages.to_string())
        .create()
        .unwrap()
}

#[tokio::test]
async fn capacity_is_released_before_the_future_resolves() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.messages", "1")
        .create()
        .unwrap();
    for _ in 0..100 {
        producer
            .send(ProducerRecord::to("t").payload("a"))
            .await
            .unwrap();
        let future = producer
            .try_enqueue(ProducerRecord::to("t").payload("b"))
            .unwrap();
        future.await.unwrap();
    }
}

#[tokio::test]
async fn a_full_queue_refuses_with_the_record_as_it_came() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.messages", "2")
        .set("linger.ms", "60000")
        .create()
        .unwrap();
    let first = producer
        .try_enqueue(ProducerRecord::to("t").payload("1"))
        .unwrap();
    let second = producer
        .try_enqueue(ProducerRecord::to("t").payload("2"))
        .unwrap();
    let payload = String::from("3");
    let record = ProducerRecord::to("t")
        .key("k")
        .payload(&payload)
        .partition(0)
        .timestamp(7);
    let error = producer.try_enqueue(record).unwrap_err();
    assert!(error.is_queue_full() && error.is_retriable());
    let record = error.into_record();
    assert_eq!(record.get_payload(), Some(&b"3"[..]));
    assert_eq!(record.get_key(), Some(&b"k"[..]));
    assert_eq!(
        (record.get_partition(), record.get_timestamp()),
        (Some(0), Some(7))
    );
    assert_eq!(producer.in_flight_count(), 2);

    producer.flush().await.unwrap();
    drop(producer.try_enqueue(record).unwrap());
    first.await.unwrap();
    second.await.unwrap();
}

#[tokio::test]
async fn waiting_senders_are_let_in_first_come_first_served() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.messages", "10")
        .create()
        .unwrap();
    let sends = (0..1_000).map(|index| {
        let producer = producer.clone();
        async move {
            producer
                .send(ProducerRecord::to("t").payload(index.to_string()))
                .await
        }
    });
    // Polled in order for the first time, so they come in order.
    for delivery in join_all(sends).await {
        delivery.unwrap();
    }
    let expected: Vec<_> = (0..1_000).map(|index| index.to_string()).collect();
    assert_eq!(payloads(&cluster, "t").await, expected);
}

#[tokio::test]
async fn nobody_overtakes_those_who_wait() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.kbytes", "1")
        .set("linger.ms", "60000")
        .create()
        .unwrap();
    let first = producer
        .enqueue(ProducerRecord::to("t").payload(vec![0; 1_000]))
        .await
        .unwrap();
    let mut waiting = Box::pin(producer.enqueue(ProducerRecord::to("t").payload(vec![1; 500])));
    assert!(futures::poll!(&mut waiting).is_pending());
    // There is capacity for this one, but others wait.
    let error = producer
        .try_enqueue(ProducerRecord::to("t").payload("2"))
        .unwrap_err();
    assert!(error.is_queue_full());
    let report = producer.flush().await.unwrap();
    assert_eq!((report.delivered, report.failed), (1, 0));
    first.await.unwrap();
    let second = waiting.await.unwrap();
    producer.flush().await.unwrap();
    second.await.unwrap();
}

#[tokio::test]
async fn a_dropped_waiter_sends_nothing_and_passes_its_place_on() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.messages", "1")
        .set("linger.ms", "60000")
        .create()
        .unwrap();
    let first = producer
        .enqueue(ProducerRecord::to("t").payload("1"))
        .await
        .unwrap();
    let mut dropped = Box::pin(producer.enqueue(ProducerRecord::to("t").payload("dropped")));
    let mut granted = Box::pin(producer.enqueue(ProducerRecord::to("t").payload("granted")));
    let mut last = Box::pin(producer.enqueue(ProducerRecord::to("t").payload("2")));
    assert!(futures::poll!(&mut dropped).is_pending());
    assert!(futures::poll!(&mut granted).is_pending());
    assert!(futures::poll!(&mut last).is_pending());
    // One leaves while it waits, one after it was let in.
    drop(dropped);
    producer.flush().await.unwrap();
    first.await.unwrap();
    drop(granted);
    let second = last.await.unwrap();
    producer.flush().await.unwrap();
    second.await.unwrap();
    assert_eq!(payloads(&cluster, "t").await, ["1", "2"]);
}

#[tokio::test]
async fn a_payload_that_can_never_fit_fails_at_once() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.kbytes", "1")
        .create()
        .unwrap();
    let error = producer
        .send(ProducerRecord::to("t").payload(vec![0; 1_025]))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::MessageSizeTooLarge));
    assert!(
        error.to_string().contains("queue.buffering.max.kbytes"),
        "{error}"
    );
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    assert_eq!(error.into_record().get_payload().unwrap().len(), 1_025);
    producer
        .send(ProducerRecord::to("t").payload(vec![0; 1_024]))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_capacity_fails_at_its_time_limit_and_returns_the_record() {
    let cluster = cluster("t", 1);
    let mut config = config(&cluster);
    config
        .set("queue.buffering.max.messages", "1")
        .set("linger.ms", "60000");
    let producer = Producer::builder(&config)
        .max_block(Duration::from_secs(3))
        .create()
        .unwrap();
    let first = producer
        .enqueue(ProducerRecord::to("t").payload("1"))
        .await
        .unwrap();
    let errors = [
        producer
            .send(ProducerRecord::to("t").payload("2"))
            .await
            .unwrap_err(),
        producer
            .send_timeout(ProducerRecord::to("t").payload("2"), Duration::from_secs(1))
            .await
            .unwrap_err(),
        producer
            .enqueue_timeout(ProducerRecord::to("t").payload("2"), Duration::from_secs(1))
            .await
            .unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_timed_out() && error.is_queue_full(), "{error:?}");
        assert_eq!(error.record().get_payload(), Some(&b"2"[..]));
    }
    producer.close().await;
    first.await.unwrap();
}

/// Sends "first", and then spawns a send of each number, all of which are in the wait queue before
/// there is capacity, and waits for them; how often each was polled.
async fn send_from_tasks(cluster: &MockCluster, producer: &Producer, count: usize) -> Vec<usize> {
    // A delivery that came before all wait would let one of those to come go first: it finds
    // capacity, while those who were let in by the delivery have not had their turn yet.
    cluster.broker_down(1).unwrap();
    // With a message in flight, the queue is not overbooked, however long the tasks take to start.
    let first = ProducerRecord::to("t").payload("first");
    let first = producer.try_enqueue(first).unwrap();
    let permits: Vec<_> = std::iter::from_fn(|| producer.try_reserve().ok()).collect();
    let waiting = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..count)
        .map(|index| {
            let (producer, waiting) = (producer.clone(), Arc::clone(&waiting));
            tokio::spawn(async move {
                let mut polls = 0;
                let record = ProducerRecord::to("t").payload(index.to_string());
                let mut send = pin!(producer.send(record));
                let sent = std::future::poll_fn(|cx| {
                    polls += 1;
                    let polled = send.as_mut().poll(cx);
                    waiting.fetch_add(usize::from(polls == 1), Ordering::SeqCst);
                    polled
                });
                sent.await.unwrap();
                polls
            })
        })
        .collect();
    until(|| waiting.load(Ordering::SeqCst) == count).await;
    cluster.broker_up(1).unwrap();
    drop(permits);
    first.await.unwrap();
    let polls = join_all(tasks).await;
    polls.into_iter().map(|task| task.unwrap()).collect()
}

#[tokio::test]
async fn twenty_thousand_waiters_are_let_in_in_order_and_woken_for_it_once() {
    const WAITERS: usize = 20_000;
    let cluster = cluster("t", 1);
    let producer = producer(&cluster, 100);
    let polls = send_from_tasks(&cluster, &producer, WAITERS).await;
    // To enter the wait queue, to be admitted, to learn of the delivery; and now and then the
    // cooperative budget lets others go first.
    let (most, sum) = (polls.iter().max().unwrap(), polls.iter().sum::<usize>());
    assert!(*most <= 5, "{most}");
    assert!(sum <= 3 * WAITERS + WAITERS / 50, "{sum}");
    let numbers = (0..WAITERS).map(|index| index.to_string());
    let expected: Vec<_> = ["first".to_owned()].into_iter().chain(numbers).collect();
    assert_eq!(payloads(&cluster, "t").await, expected);
    assert_capacity_is_whole(&producer, 100);
}

/// Keeps the task, and so its worker, busy for a while between two polls.
fn be_busy() {
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(20) {
        std::hint::spin_loop();
    }
}

/// Polls all sends of one task, which is busy between its polls: the limit holds all the same.
async fn senders_of_a_busy_task(queue: &str, limit: &str, most: usize) {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set(queue, limit).create().unwrap();
    let sends = (0..200).map(|_| producer.send(ProducerRecord::to("t").payload(vec![b'p'; 512])));
    let mut all = pin!(join_all(sends));
    let sent = std::future::poll_fn(|cx| {
        let polled = all.as_mut().poll(cx);
        assert!(
            producer.in_flight_count() <= most,
            "{}",
            producer.in_flight_count()
        );
        be_busy();
        assert!(
            producer.in_flight_count() <= most,
            "{}",
            producer.in_flight_count()
        );
        polled
    });
    for result in sent.await {
        result.unwrap();
    }
    assert_eq!(cluster.records("t").await.unwrap().len(), 200);
}

#[tokio::test]
async fn a_busy_task_keeps_the_limit_of_messages() {
    senders_of_a_busy_task("queue.buffering.max.messages", "10", 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_task_keeps_the_limit_of_messages_on_several_workers() {
    senders_of_a_busy_task("queue.buffering.max.messages", "10", 10).await;
}

#[tokio::test]
async fn a_busy_task_keeps_the_limit_of_bytes() {
    senders_of_a_busy_task("queue.buffering.max.kbytes", "5", 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permits_of_busy_tasks_keep_the_limit() {
    let cluster = cluster("t", 1);
    let producer = producer(&cluster, 10);
    // The most permits and messages together, and how many permits there are: who looks at both
    // holds the lock, so that nobody uses a permit meanwhile.
    let counts = Arc::new(Mutex::new((0, 0)));
    let tasks = (0..60).map(|_| {
        let (producer, counts) = (producer.clone(), Arc::clone(&counts));
        tokio::spawn(async move {
            let permit = producer.reserve().await.unwrap();
            {
                let (most, permits) = &mut *counts.lock().unwrap();
                *permits += 1;
                *most = (*permits + producer.in_flight_count()).max(*most);
            }
            tokio::task::yield_now().await;
            be_busy();
            counts.lock().unwrap().1 -= 1;
            permit
                .send(ProducerRecord::to("t").payload("v"))
                .await
                .unwrap();
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let (most, _) = *counts.lock().unwrap();
    assert!(most <= 10, "{most}");
}

/// Unused permits keep their capacity for a second; then others get as much, once.
#[tokio::test]
async fn unused_permits_have_the_queue_overbooked_once() {
    let cluster = cluster("t", 1);
    let producer = producer(&cluster, 2);
    let unused = [
        producer.try_reserve().unwrap(),
        producer.try_reserve().unwrap(),
    ];
    let started = Instant::now();
    let third = producer.reserve().await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    let fourth = producer.try_reserve().unwrap();
    assert!(producer.try_reserve().unwrap_err().is_queue_full());
    // Others flow at full speed.
    let sent = third.send(ProducerRecord::to("t").payload("v"));
    sent.await.unwrap();
    for _ in 0..100 {
        producer
            .send(ProducerRecord::to("t").payload("v"))
            .await
            .unwrap();
    }
    drop((unused, fourth));
    assert_capacity_is_whole(&producer, 2);
}

/// Holds all capacity by permits, has more wait who never look again, and then sends.
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
    assert_capacity_is_whole(&producer, 10);
}

#[tokio::test]
async fn idle_permits_and_waiters_do_not_stop_others_for_ever() {
    sends_behind_idle_ones().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_permits_and_waiters_do_not_stop_others_on_several_workers() {
    sends_behind_idle_ones().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_on_several_threads_share_capacity() {
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
    assert_capacity_is_whole(&producer, 7);
}

/// A waker that takes capacity itself, where a task yields though there is some.
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
