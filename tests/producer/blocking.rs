//! Code that blocks a thread until the producer answers: with executors that are not tokio's, and
//! with the `blocking_` methods, inside of the runtime and outside.
//!
//! What is wrong here hangs. So each test runs on a thread of its own, which another one watches.

use std::error::Error;
use std::future::Future;
use std::panic;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::{join_all, try_join_all};
use futures::{StreamExt, stream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::coop;
use tokio_rdkafka::{
    ClientContext, DeliveryResult, KafkaError, MockCluster, Producer, ProducerContext,
    ProducerRecord, PurgeConfig, RDKafkaErrorCode, SendError, TransactionalProducer, WeakProducer,
};
use tracing::Level;

use crate::support::logs::captured;
use crate::support::mock::{DEADLINE, blocking_until, cluster, config, payloads, produce_requests};

/// A deadline that passes within the test.
const SHORT: Duration = Duration::from_millis(300);

/// Runs a test on a thread. It fails instead of hanging: the thread is left behind then.
#[track_caller]
fn watched(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match ended.recv_timeout(DEADLINE) {
        Ok(()) => {}
        Err(RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(RecvTimeoutError::Disconnected) => {
            panic::resume_unwind(thread.join().expect_err("it ended without a result"))
        }
    }
}

fn workers(count: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(count).enable_all().build().unwrap()
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs `test` in a task, on a worker of the runtime.
fn in_task<T: Send + 'static>(
    runtime: &Runtime,
    test: impl Future<Output = T> + Send + 'static,
) -> T {
    let task = runtime.spawn(test);
    runtime.block_on(task).unwrap()
}

fn record(payload: impl ToString) -> ProducerRecord<'static> {
    ProducerRecord::to("t").payload(payload.to_string())
}

fn producer(cluster: &MockCluster) -> Producer {
    config(cluster).create().unwrap()
}

/// It sends nothing before a flush.
fn lingering(cluster: &MockCluster) -> Producer {
    let mut config = config(cluster);
    config.set("linger.ms", "60000");
    config.create().unwrap()
}

/// Its queue holds one message.
fn small(cluster: &MockCluster) -> Producer {
    let mut config = config(cluster);
    config.set("queue.buffering.max.messages", "1");
    config.create().unwrap()
}

/// What a task that has created its producer, or woken the driver, may block on.
#[track_caller]
fn in_the_task_that_created_it(
    test: impl FnOnce(Producer, MockCluster) + Send + panic::UnwindSafe + 'static,
) {
    watched(|| {
        in_task(&workers(2), async {
            let cluster = cluster("t", 1);
            test(producer(&cluster), cluster);
        });
    });
}

#[test]
fn a_send_in_the_task_that_created_the_producer() {
    in_the_task_that_created_it(|producer, _cluster| {
        for index in 0..10 {
            let delivery = block_on(producer.send(record(index))).unwrap();
            assert_eq!(delivery.offset(), Some(index));
        }
    });
}

#[test]
fn sends_in_a_join_all_in_the_task_that_created_the_producer() {
    in_the_task_that_created_it(|producer, _cluster| {
        let all = join_all((0..100).map(|index| producer.send(record(index))));
        assert!(block_on(all).iter().all(Result::is_ok));
    });
}

#[test]
fn a_send_in_block_in_place() {
    in_the_task_that_created_it(|producer, _cluster| {
        tokio::task::block_in_place(|| block_on(producer.send(record(1)))).unwrap();
    });
}

#[test]
fn a_flush_and_a_close_in_the_task_that_created_the_producer() {
    in_the_task_that_created_it(|_, cluster| {
        let producer = lingering(&cluster);
        let delivery = producer.try_enqueue(record(1)).unwrap();
        assert_eq!(block_on(producer.flush()).unwrap().delivered, 1);
        block_on(delivery).unwrap();
        // This wakes the driver on this worker.
        block_on(producer.close());
    });
}

#[test]
fn calls_after_a_refused_record_which_wakes_the_driver() {
    in_the_task_that_created_it(|producer, _cluster| {
        block_on(producer.send(record(0))).unwrap();
        for index in 1..20 {
            let refused = producer.try_enqueue(record("no").partition(99));
            refused.unwrap_err();
            let delivery = block_on(producer.send(record(index))).unwrap();
            assert_eq!(delivery.offset(), Some(index));
        }
    });
}

#[test]
fn a_wait_for_capacity_which_wakes_the_driver() {
    watched(|| {
        in_task(&workers(2), async {
            let cluster = cluster("t", 1);
            let producer = small(&cluster);
            let sends = join_all((0..20).map(|index| producer.send(record(index))));
            assert!(block_on(sends).iter().all(Result::is_ok));
            // Nothing is in flight, so the driver is woken to look after this permit.
            let unused = producer.try_reserve().unwrap();
            block_on(producer.send(record(1))).unwrap();
            drop(unused);
        });
    });
}

/// All workers but one are blocked, and one after the other wakes the driver.
#[test]
fn all_workers_but_one_are_blocked() {
    watched(|| {
        let runtime = workers(4);
        let cluster = cluster("t", 1);
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let config = config(&cluster);
                runtime.spawn(async move {
                    let producer: Producer = config.create().unwrap();
                    for index in 0..50 {
                        block_on(producer.send(record(index))).unwrap();
                    }
                    block_on(producer.close()).delivered
                })
            })
            .collect();
        for task in tasks {
            runtime.block_on(task).unwrap();
        }
        assert_eq!(runtime.block_on(payloads(&cluster, "t")).len(), 150);
    });
}

/// A worker that is blocked never renews the task's budget: 128 units, of which 128 deliveries, or
/// one flush, take one each.
#[test]
fn more_results_than_the_budget_of_a_task() {
    in_the_task_that_created_it(|producer, _cluster| {
        let deliveries: Vec<_> = (0..40_000)
            .map(|index| producer.try_enqueue(record(index)).unwrap())
            .collect();
        block_on(try_join_all(deliveries)).unwrap();
        for index in 0..300 {
            block_on(async {
                let delivery = producer.enqueue(record(index)).await.unwrap();
                producer.flush_timeout(DEADLINE).await.unwrap();
                delivery.await.unwrap();
            });
        }
    });
}

/// Tasks that block as soon as a delivery wakes them, while the driver has more to serve.
#[test]
fn tasks_that_the_driver_wakes_block() {
    watched(|| {
        let runtime = workers(2);
        let cluster = cluster("t", 1);
        for _ in 0..20 {
            let config = config(&cluster);
            in_task(&runtime, async move {
                let producer: Producer = config.create().unwrap();
                // More than the driver serves in a turn.
                let mut deliveries: Vec<_> = (0..5_000)
                    .map(|index| producer.try_enqueue(record(index)).unwrap())
                    .collect();
                let last = deliveries.pop().unwrap();
                deliveries.swap_remove(0).await.unwrap();
                block_on(last).unwrap();
                producer.close().await;
            });
        }
    });
}

/// As `Drop` would.
struct ClosesOnDrop {
    producer: Producer,
    timeout: Duration,
}

impl Drop for ClosesOnDrop {
    fn drop(&mut self) {
        block_on(self.producer.close_timeout(self.timeout));
    }
}

#[test]
fn a_drop_closes_on_the_only_thread() {
    for runtime in [one_thread, || workers(1)] {
        watched(move || {
            let runtime = runtime();
            let cluster = cluster("t", 1);
            let config = config(&cluster);
            in_task(&runtime, async move {
                let producer: Producer = config.create().unwrap();
                let delivery = producer.try_enqueue(record(1)).unwrap();
                drop(ClosesOnDrop {
                    producer,
                    timeout: DEADLINE,
                });
                // The driver has not run.
                block_on(delivery).unwrap();
            });
            assert_eq!(runtime.block_on(payloads(&cluster, "t")), ["1"]);
        });
    }
}

#[test]
fn a_close_on_the_only_thread_keeps_its_deadline() {
    for runtime in [one_thread, || workers(1)] {
        watched(move || {
            let cluster = cluster("t", 1);
            cluster.broker_down(1).unwrap();
            let config = config(&cluster);
            in_task(&runtime(), async move {
                let producer: Producer = config.create().unwrap();
                let delivery = producer.try_enqueue(record(1)).unwrap();
                let began = Instant::now();
                let report = block_on(producer.close_timeout(SHORT));
                assert!((SHORT..DEADLINE / 4).contains(&began.elapsed()));
                assert_eq!((report.delivered, report.undelivered), (0, 1));
                block_on(delivery).unwrap_err();
                // Others find it closed.
                assert!(block_on(producer.send(record(2))).unwrap_err().is_closed());
                assert_eq!(producer.close().await.undelivered, 1);
            });
        });
    }
}

#[test]
fn a_close_with_nothing_in_flight_on_the_only_thread() {
    watched(|| {
        in_task(&one_thread(), async {
            let cluster = cluster("t", 1);
            // The driver has never run.
            block_on(producer(&cluster).close());
            let producer = producer(&cluster);
            producer.send(record(1)).await.unwrap();
            block_on(producer.close());
        });
    });
}

#[test]
fn a_flush_on_the_only_thread() {
    for runtime in [one_thread, || workers(1)] {
        watched(move || {
            in_task(&runtime(), async {
                let cluster = cluster("t", 1);
                let producer = lingering(&cluster);
                for index in 0..3 {
                    let delivery = producer.try_enqueue(record(index)).unwrap();
                    assert_eq!(block_on(producer.flush()).unwrap().delivered, 1);
                    assert_eq!(block_on(delivery).unwrap().offset(), Some(index));
                }
                // And the driver goes on.
                let (sent, _) = tokio::join!(producer.send(record(3)), producer.flush());
                sent.unwrap();
                producer.close().await;
            });
        });
    }
}

/// Nobody serves for a second, then a thread does.
#[test]
fn deliveries_on_the_only_thread() {
    for runtime in [one_thread, || workers(1)] {
        watched(move || {
            in_task(&runtime(), async {
                let cluster = cluster("t", 1);
                let producer = small(&cluster);
                let began = Instant::now();
                for index in 0..200 {
                    let delivery = block_on(producer.send(record(index))).unwrap();
                    assert_eq!(delivery.offset(), Some(index));
                }
                // A second each would be 200 s.
                assert!(began.elapsed() < DEADLINE / 4, "{:?}", began.elapsed());
                // Capacity that a delivery will release.
                let delivery = producer.try_enqueue(record(200)).unwrap();
                let permit = block_on(producer.reserve()).unwrap();
                block_on(delivery).unwrap();
                block_on(permit.send(record(201))).unwrap();
                // And the driver goes on.
                producer.send(record(202)).await.unwrap();
                producer.close().await;
            });
        });
    }
}

/// Nothing is in flight, and the one who holds the permit waits. A second after somebody serves, the
/// queue is overbooked.
#[test]
fn unused_permits_on_the_only_thread() {
    for runtime in [one_thread, || workers(1)] {
        watched(move || {
            in_task(&runtime(), async {
                let cluster = cluster("t", 1);
                let producer = small(&cluster);
                let unused = producer.try_reserve().unwrap();
                block_on(producer.send(record(0))).unwrap();
                drop(unused);
                let unused = producer.try_reserve().unwrap();
                producer.blocking_send(record(1)).unwrap();
                let second = block_on(producer.reserve()).unwrap();
                drop((unused, second));
            });
        });
    }
}

#[test]
fn streams_and_sinks_on_the_only_thread() {
    watched(|| {
        in_task(&one_thread(), async {
            let cluster = cluster("t", 1);
            let producer = small(&cluster);
            let results = producer.send_all((0..20).map(record));
            assert!(block_on(results.all(|it| async move { it.is_ok() })));
            let records = stream::iter((20..40).map(record)).map(Ok);
            block_on(records.forward(producer.sink())).unwrap();
            assert_eq!(payloads(&cluster, "t").await.len(), 40);
        });
    });
}

/// All workers wait, each for its own delivery.
#[test]
fn all_workers_are_blocked() {
    watched(|| {
        let runtime = workers(3);
        let cluster = cluster("t", 1);
        let config = config(&cluster);
        let producer: Producer = in_task(&runtime, async move { config.create().unwrap() });
        let all = Arc::new(Barrier::new(3));
        let tasks: Vec<_> = (0..3)
            .map(|index| {
                let (producer, all) = (producer.clone(), Arc::clone(&all));
                runtime.spawn(async move {
                    all.wait();
                    block_on(producer.send(record(index))).unwrap();
                    all.wait();
                })
            })
            .collect();
        for task in tasks {
            runtime.block_on(task).unwrap();
        }
    });
}

/// The runtime has never run.
#[test]
fn a_runtime_that_nobody_runs() {
    watched(|| {
        let (runtime, cluster) = (one_thread(), cluster("t", 1));
        let config = config(&cluster);
        let builder = Producer::builder(&config).runtime(runtime.handle().clone());
        let producer = builder.create().unwrap();
        block_on(producer.send(record(0))).unwrap();
        drop(producer);
    });
}

/// The failure comes although nobody runs the driver.
#[test]
fn a_message_that_times_out_on_the_only_thread() {
    watched(|| {
        in_task(&one_thread(), async {
            let cluster = cluster("t", 1);
            cluster.broker_down(1).unwrap();
            let mut config = config(&cluster);
            config.set("message.timeout.ms", "200");
            let producer: Producer = config.create().unwrap();
            let error = block_on(producer.send(record(0))).unwrap_err();
            assert!(error.is_timed_out(), "{error}");
        });
    });
}

/// Its future does not resolve before somebody serves. The errors say so.
#[test]
fn deadlines_on_the_only_thread_and_why() {
    for runtime in [one_thread, || workers(1)] {
        watched(move || {
            in_task(&runtime(), async {
                let cluster = cluster("t", 1);
                let producer = small(&cluster);
                producer.send(record(0)).await.unwrap();
                // It will be delivered, and nobody will know.
                let delivery = producer.try_enqueue(record(1)).unwrap();
                let error = within(SHORT, || {
                    block_on(producer.send_timeout(record(2), SHORT)).unwrap_err()
                });
                assert!(error.is_timed_out(), "{error}");
                assert_says_why(&error);
                assert_eq!(error.into_record().get_payload(), Some(&b"2"[..]));
                delivery.await.unwrap();
            });
        });
    }
}

/// Whoever waits for one of these serves.
#[test]
fn rare_calls_on_the_only_thread() {
    for runtime in [one_thread, || workers(1)] {
        watched(move || {
            in_task(&runtime(), async {
                let cluster = cluster("t", 2);
                let producer = producer(&cluster);
                block_on(producer.ready(DEADLINE)).unwrap();
                assert_eq!(
                    block_on(producer.cluster(DEADLINE))
                        .unwrap()
                        .brokers()
                        .len(),
                    1
                );
                let partitions = block_on(producer.partitions_for("t", DEADLINE));
                assert_eq!(partitions.unwrap().len(), 2);
                assert_eq!(block_on(producer.topics(DEADLINE)).unwrap().len(), 1);
                cluster.broker_down(1).unwrap();
                let delivery = producer.try_enqueue(record(1)).unwrap();
                let everything = PurgeConfig::default().queue().inflight();
                assert_eq!(block_on(producer.purge(everything)), 1);
                block_on(delivery).unwrap_err();
                let error = within(SHORT, || block_on(producer.cluster(SHORT)).unwrap_err());
                assert!(error.is_timed_out(), "{error}");
            });
        });
    }
}

#[test]
fn transactions_on_the_only_thread() {
    for runtime in [one_thread, || workers(1)] {
        watched(move || {
            in_task(&runtime(), async {
                let cluster = cluster("t", 1);
                let mut config = config(&cluster);
                config.set("transactional.id", "tests");
                let mut producer: TransactionalProducer = config.create().unwrap();
                block_on(producer.init(DEADLINE)).unwrap();
                for commits in [true, false] {
                    let transaction = block_on(producer.begin()).unwrap();
                    transaction.try_enqueue_detached(record(1)).unwrap();
                    if commits {
                        block_on(transaction.commit())
                            .map_err(KafkaError::from)
                            .unwrap();
                    } else {
                        block_on(transaction.abort()).unwrap();
                    }
                }
                block_on(producer.close());
            });
        });
    }
}

#[test]
fn a_limit_of_the_builder_on_the_only_thread_and_why() {
    watched(|| {
        in_task(&one_thread(), async {
            let cluster = cluster("t", 1);
            let mut config = config(&cluster);
            config.set("queue.buffering.max.messages", "1");
            let producer = Producer::builder(&config)
                .max_block(SHORT)
                .create()
                .unwrap();
            let delivery = producer.try_enqueue(record(1)).unwrap();
            let error = within(SHORT, || block_on(producer.enqueue(record(2))).unwrap_err());
            assert_says_why(&error);
            let call = || block_on(producer.enqueue_detached(record(2))).unwrap_err();
            assert_says_why(&within(SHORT, call));
            delivery.await.unwrap();
        });
    });
}

/// Somebody serves in the driver's place, so the runtime is not the reason.
#[test]
fn a_broker_that_is_down_is_the_reason_on_the_only_thread() {
    watched(|| {
        in_task(&one_thread(), async {
            let cluster = cluster("t", 1);
            cluster.broker_down(1).unwrap();
            let producer = small(&cluster);
            let error = block_on(producer.ready(2 * SHORT)).unwrap_err();
            assert_names_the_failure(&error);
            let delivery = producer.try_enqueue(record(0)).unwrap();
            let limit = Duration::from_secs(3);
            let error = within(limit, || {
                block_on(producer.send_timeout(record(1), limit)).unwrap_err()
            });
            assert_names_the_failure(error.error());
            block_on(producer.close_timeout(Duration::ZERO));
            block_on(delivery).unwrap_err();
        });
    });
}

#[track_caller]
fn assert_names_the_failure(error: &KafkaError) {
    assert!(error.is_timed_out() || error.is_queue_full(), "{error}");
    assert!(!error.to_string().contains("blocked"), "{error}");
    let cause = error.source().map(ToString::to_string);
    assert!(
        cause.is_some_and(|cause| cause.contains("refused")),
        "{error}"
    );
}

/// The runtime is not the reason, and the error does not say so.
#[test]
fn a_broker_that_is_down_is_another_reason() {
    watched(|| {
        in_task(&one_thread(), async {
            let cluster = cluster("t", 1);
            let producer = small(&cluster);
            producer.send(record(0)).await.unwrap();
            let _unused = producer.try_reserve().unwrap();
            let error = producer.send_timeout(record(1), SHORT).await.unwrap_err();
            assert!(error.is_timed_out(), "{error}");
            assert!(!error.to_string().contains("blocked"), "{error}");
        });
    });
}

#[track_caller]
fn within<T>(limit: Duration, call: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = call();
    assert!((limit..DEADLINE / 4).contains(&began.elapsed()));
    result
}

#[track_caller]
fn assert_says_why(error: &dyn std::error::Error) {
    let text = error.to_string();
    assert!(text.contains("the producer's tokio runtime"), "{text}");
    assert!(text.contains("blocked"), "{text}");
}

/// Every blocking call, once.
fn call_each(producer: &Producer) -> Result<(), SendError> {
    assert_eq!(producer.blocking_send(record(0))?.offset(), Some(0));
    let delivery = producer.blocking_enqueue(record(1))?;
    producer.blocking_enqueue_detached(record(2))?;
    producer.blocking_flush().unwrap();
    producer.blocking_enqueue_detached(record(3))?;
    producer.blocking_flush_timeout(DEADLINE).unwrap();
    assert_eq!(block_on(delivery)?.offset(), Some(1));
    producer.blocking_enqueue_detached(record(4))?;
    producer.blocking_close_timeout(DEADLINE);
    producer.blocking_close();
    let error = producer.blocking_send(record(5)).unwrap_err();
    assert!(error.is_closed());
    assert_eq!(error.record().get_payload(), Some(&b"5"[..]));
    Ok(())
}

const CALLED: [&str; 5] = ["0", "1", "2", "3", "4"];

#[test]
fn blocking_calls_on_a_thread_outside() {
    for runtime in [one_thread, || workers(1), || workers(2)] {
        watched(move || {
            let runtime = runtime();
            let cluster = cluster("t", 1);
            let _entered = runtime.enter();
            let producer = small(&cluster);
            drop(_entered);
            let calls = thread::spawn(move || call_each(&producer).unwrap());
            runtime.block_on(async {
                let join = tokio::task::spawn_blocking(|| calls.join());
                join.await.unwrap().unwrap();
            });
            assert_eq!(runtime.block_on(payloads(&cluster, "t")), CALLED);
        });
    }
}

#[test]
fn blocking_calls_in_spawn_blocking() {
    watched(|| {
        let runtime = one_thread();
        runtime.block_on(async {
            let cluster = cluster("t", 1);
            let producer = small(&cluster);
            let calls = tokio::task::spawn_blocking(move || call_each(&producer));
            calls.await.unwrap().unwrap();
            assert_eq!(payloads(&cluster, "t").await, CALLED);
        });
    });
}

/// Nobody else may be left to serve.
#[test]
fn blocking_calls_on_a_thread_of_the_runtime() {
    for runtime in [one_thread, || workers(1), || workers(2)] {
        watched(move || {
            let runtime = runtime();
            let cluster = cluster("t", 1);
            let config = config(&cluster);
            in_task(&runtime, async move {
                let mut config = config.clone();
                let config = config.set("queue.buffering.max.messages", "1");
                call_each(&config.create().unwrap()).unwrap();
            });
            assert_eq!(runtime.block_on(payloads(&cluster, "t")), CALLED);
        });
    }
}

/// Once the thread of the runtime is known not to run the driver, a call does not wait for that.
#[test]
fn blocking_sends_on_the_only_thread_are_not_slow() {
    watched(|| {
        in_task(&one_thread(), async {
            let cluster = cluster("t", 1);
            let producer = producer(&cluster);
            let (_guard, logged) = captured(Level::WARN);
            let began = Instant::now();
            for index in 0..500 {
                producer.blocking_send(record(index)).unwrap();
            }
            // Once, as the driver has not run meanwhile.
            assert_eq!(logged().matches("its threads are blocked").count(), 1);
            // 100 ms each would be 50 s.
            assert!(began.elapsed() < DEADLINE / 4, "{:?}", began.elapsed());
        });
    });
}

#[test]
fn blocking_calls_keep_their_deadlines() {
    watched(|| {
        in_task(&one_thread(), async {
            let cluster = cluster("t", 1);
            let producer = producer(&cluster);
            producer.blocking_send(record(0)).unwrap();
            cluster.broker_down(1).unwrap();
            producer.blocking_enqueue_detached(record(1)).unwrap();
            let error = within(SHORT, || {
                producer.blocking_flush_timeout(SHORT).unwrap_err()
            });
            assert!(error.is_timed_out());
            assert_eq!(error.remaining(), 1);
            let report = within(SHORT, || producer.blocking_close_timeout(SHORT));
            assert_eq!(report.undelivered, 1);
            assert_eq!(report.records().len(), 1);
        });
    });
}

/// Calls a function with its producer in the delivery callback.
struct Calling {
    producer: OnceLock<WeakProducer<Self>>,
    call: Call,
}

type Call = Box<dyn Fn(&Producer<Calling>) + Send + Sync>;

impl ClientContext for Calling {}

impl ProducerContext for Calling {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
        if let Some(producer) = self.producer.get().and_then(WeakProducer::upgrade) {
            (self.call)(&producer);
        }
    }
}

/// Creates a producer on the runtime that has been entered.
fn calling(
    cluster: &MockCluster,
    call: impl Fn(&Producer<Calling>) + Send + Sync + 'static,
) -> Producer<Calling> {
    let context = Calling {
        producer: OnceLock::new(),
        call: Box::new(call),
    };
    let config = config(cluster);
    let producer: Producer<_> = config.create_with_context(context).unwrap();
    let set = producer.context().producer.set(producer.downgrade());
    assert!(set.is_ok());
    producer
}

/// It would wait for the callback from which it is called.
#[test]
fn blocking_calls_in_a_callback_return() {
    watched(|| {
        let (_guard, log) = captured(Level::ERROR);
        let runtime = one_thread();
        let _entered = runtime.enter();
        let cluster = cluster("t", 1);
        let results = Mutex::new(Some(()));
        let (sender, failures) = mpsc::channel();
        let producer = calling(&cluster, move |producer| {
            if results.lock().unwrap().take().is_none() {
                return;
            }
            let error = producer.blocking_send(record("no")).unwrap_err();
            sender.send(error.error().clone()).unwrap();
            assert_eq!(error.into_record().get_payload(), Some(&b"no"[..]));
            drop(producer.blocking_enqueue(record(1)).unwrap());
            producer.blocking_enqueue_detached(record(2)).unwrap();
            for flushed in [
                producer.blocking_flush(),
                producer.blocking_flush_timeout(DEADLINE),
            ] {
                let error = flushed.unwrap_err();
                assert_eq!(error.remaining(), 3);
                sender.send(error.error().clone()).unwrap();
            }
            assert_eq!(producer.blocking_close_timeout(DEADLINE).delivered, 0);
            assert_eq!(producer.blocking_close().delivered, 0);
        });
        runtime.block_on(producer.send(record(0))).unwrap();
        let failures: Vec<_> = failures.try_iter().collect();
        assert_eq!(failures.len(), 3);
        for error in failures {
            assert_eq!(error.code(), Some(RDKafkaErrorCode::State));
            assert!(
                error.to_string().contains("called from a callback"),
                "{error}"
            );
        }
        // The close goes on, and another call gets its report.
        let report = producer.blocking_close();
        assert_eq!((report.delivered, report.failed), (3, 0));
        assert_eq!(producer.callback_panics(), 0);
        assert_eq!(log().matches("goes on after the callback").count(), 2);
    });
}

/// What is served in the driver's place need not come to an end.
#[test]
fn a_blocking_send_returns_while_callbacks_go_on_sending() {
    watched(|| {
        static HAS_RETURNED: AtomicBool = AtomicBool::new(false);
        let runtime = one_thread();
        let _entered = runtime.enter();
        let cluster = cluster("t", 1);
        cluster.start_request_tracking();
        let cluster = std::sync::Arc::new(cluster);
        let requests = std::sync::Arc::clone(&cluster);
        let producer = calling(&cluster, move |producer| {
            if HAS_RETURNED.load(Ordering::SeqCst) {
                return;
            }
            let before = produce_requests(&requests);
            producer.try_enqueue_detached(record("more")).unwrap();
            blocking_until(|| produce_requests(&requests) > before);
        });
        for _ in 0..4 {
            producer.try_enqueue_detached(record("first")).unwrap();
        }
        producer.blocking_send(record("last")).unwrap();
        HAS_RETURNED.store(true, Ordering::SeqCst);
        producer.blocking_close();
    });
}

/// The wait for a partition has a limit, which holds without a worker and without the budget of the
/// task.
#[test]
fn a_wait_for_a_partition_without_a_budget() {
    for runtime in [one_thread, || workers(2)] {
        watched(move || {
            in_task(&runtime(), async {
                let cluster = cluster("t", 1);
                let producer = producer(&cluster);
                producer.send(record(0)).await.unwrap();
                while coop::has_budget_remaining() {
                    let spent = pin!(coop::consume_budget());
                    let _ = spent.poll(&mut Context::from_waker(Waker::noop()));
                }
                let sent = block_on(producer.send(record(1).partition(7)));
                let code = sent.unwrap_err().code();
                assert_eq!(code, Some(RDKafkaErrorCode::UnknownPartition));
            });
        });
    }
}
