//! Foreign code that panics or calls the producer: wakers, drops, subscribers and callbacks.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{MaybeDone, join_all, maybe_done};
use futures::{SinkExt, StreamExt, stream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_rdkafka::{
    ClientContext, DeliveryResult, KafkaError, MockCluster, ProduceExt, Producer, ProducerContext,
    ProducerRecord, PurgeConfig, WeakProducer,
};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::support::logs::ask_all_subscribers;
use crate::support::mock::{DEADLINE, assert_capacity_is_whole, cluster, config, until};

/// Fails a test that would wait for ever.
fn within_deadline(test: impl Future<Output = ()> + Send + 'static) {
    within_deadline_on(Runtime::new().unwrap(), test);
}

fn within_deadline_on(runtime: Runtime, test: impl Future<Output = ()> + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(test)));
        // A runtime whose worker is blocked would not end.
        runtime.shutdown_background();
        done.send(result).unwrap();
    });
    let result = is_done.recv_timeout(DEADLINE).expect("it ends in time");
    result.unwrap_or_else(|panic| resume_unwind(panic));
}

fn record() -> ProducerRecord<'static> {
    ProducerRecord::to("t").payload("v")
}

/// Anything that waits.
type Waiting = MaybeDone<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// A future of each kind that the crate has, apart from `close`.
fn futures_of(producer: &Producer) -> Vec<Waiting> {
    macro_rules! futures {
        ($producer:ident: $($future:expr,)*) => {
            vec![$({
                let $producer = producer.clone();
                let future = async move {
                    let _ = $future.await;
                };
                maybe_done(Box::pin(future) as Pin<Box<dyn Future<Output = ()> + Send>>)
            },)*]
        };
    }
    let everything = PurgeConfig::default().queue().inflight();
    futures! { it:
        it.send(record()),
        it.enqueue(record()),
        it.send_timeout(record(), DEADLINE),
        it.reserve(),
        it.reserve_owned(),
        async { if let Ok(delivery) = it.try_enqueue(record()) { drop(delivery.await) } },
        async { it.sink().send(record()).await },
        async {
            let mut sink = it.sink();
            drop(sink.feed(record()).await);
            drop(sink.close().await);
        },
        async { stream::iter([((), [record()])]).produce(&it).next().await },
        async { stream::iter([((), record())]).produce_each(&it).unordered().next().await },
        async { it.send_all([record()]).next().await },
        it.flush(),
        it.flush_timeout(DEADLINE),
        it.purge(everything),
        it.ready(DEADLINE),
        it.cluster(DEADLINE),
        it.partitions_for("t", DEADLINE),
        it.topics(DEADLINE),
    }
}

/// When a waker calls the producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Wake,
    Drop,
}

/// Calls the producer, with everything that it has.
struct Calling {
    producer: Producer,
    runtime: Handle,
    on: On,
    closes: bool,
    calls: Arc<AtomicUsize>,
}

impl Calling {
    fn call(&self) {
        let _inside = self.runtime.enter();
        drop(self.producer.try_reserve());
        let mut cx = Context::from_waker(Waker::noop());
        for mut future in futures_of(&self.producer) {
            let _ = Pin::new(&mut future).poll(&mut cx);
        }
        if self.closes {
            let _ = std::pin::pin!(self.producer.close()).poll(&mut cx);
        }
        let _ = self.producer.in_flight_count();
        self.calls.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wake for Calling {
    fn wake(self: Arc<Self>) {
        if self.on == On::Wake {
            self.call();
        }
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        if self.on == On::Drop {
            self.call();
        }
    }
}

/// Polls with a new waker of that kind, of which the future then has the only one.
fn poll_calling(futures: &mut [Waiting], new: impl Fn() -> Arc<Calling>) {
    for future in futures {
        let waker = Waker::from(new());
        let _ = Pin::new(future).poll(&mut Context::from_waker(&waker));
    }
}

/// A producer whose queue has room for one message, which no broker takes.
async fn stuck() -> (MockCluster, Producer) {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.messages", "1")
        .set("reconnect.backoff.ms", "5")
        .set("reconnect.backoff.max.ms", "50")
        .create()
        .unwrap();
    producer.enqueue_detached(record()).await.unwrap();
    (cluster, producer)
}

fn wakers_may_call_the_producer(on: On, closes: bool) {
    within_deadline(async move {
        let (cluster, producer) = stuck().await;
        let calls = Arc::new(AtomicUsize::new(0));
        let new = || {
            Arc::new(Calling {
                producer: producer.clone(),
                runtime: Handle::current(),
                on,
                closes,
                calls: Arc::clone(&calls),
            })
        };
        let mut futures = futures_of(&producer);
        poll_calling(&mut futures, new);
        let mut dropped = futures_of(&producer);
        poll_calling(&mut dropped, new);
        drop(dropped);
        // Another waker takes the place of the first.
        poll_calling(&mut futures, new);
        cluster.broker_up(1).unwrap();
        until(|| calls.load(Ordering::SeqCst) > 0).await;
        join_all(futures).await;
        let mut close = Box::pin(producer.close());
        let waker = Waker::from(new());
        let polled = close.as_mut().poll(&mut Context::from_waker(&waker));
        drop(waker);
        if polled.is_pending() {
            close.await;
        }
    });
}

#[test]
fn a_waker_may_call_the_producer_when_it_is_woken() {
    wakers_may_call_the_producer(On::Wake, false);
}

#[test]
fn a_waker_may_call_the_producer_when_it_is_dropped() {
    wakers_may_call_the_producer(On::Drop, false);
}

#[test]
fn a_waker_may_close_the_producer_when_it_is_woken() {
    wakers_may_call_the_producer(On::Wake, true);
}

#[test]
fn a_waker_may_close_the_producer_when_it_is_dropped() {
    wakers_may_call_the_producer(On::Drop, true);
}

/// Otherwise lists of those who wait could grow without a limit, and the waker would be dropped at any
/// time later, perhaps under a lock.
#[test]
fn a_future_that_is_dropped_leaves_no_waker_behind() {
    // Its driver wakes nobody between a poll and a look, and so has no waker in its hands then.
    let one_thread = Builder::new_current_thread().enable_all().build();
    within_deadline_on(one_thread.unwrap(), async {
        let (cluster, producer) = stuck().await;
        // Others go on waiting for the same.
        let mut others = futures_of(&producer);
        for other in &mut others {
            let _ = futures::poll!(other);
        }
        let counting = Arc::new(Counting {
            wakes: AtomicUsize::new(0),
            panics: false,
        });
        for (index, mut future) in futures_of(&producer).into_iter().enumerate() {
            let waker = Waker::from(Arc::clone(&counting));
            let _ = Pin::new(&mut future).poll(&mut Context::from_waker(&waker));
            drop((waker, future));
            assert_eq!(Arc::strong_count(&counting), 1, "future {index}");
        }
        cluster.broker_up(1).unwrap();
        join_all(others).await;
    });
}

/// Counts, and may panic.
struct Counting {
    wakes: AtomicUsize,
    panics: bool,
}

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        if self.panics {
            resume_unwind(Box::new("as asked"));
        }
    }
}

/// Polls futures, one of them with a waker that panics, and keeps those that wait. The closure tells
/// whether all of these were woken.
fn poll_counting<F: Future>(futures: &mut Vec<Pin<Box<F>>>) -> impl Fn() -> bool + use<F> {
    let mut wakers = Vec::new();
    futures.retain_mut(|future| {
        let counting = Arc::new(Counting {
            wakes: AtomicUsize::new(0),
            panics: wakers.len() == 7,
        });
        let waker = Waker::from(Arc::clone(&counting));
        let is_waiting = future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending();
        if is_waiting {
            wakers.push(counting);
        }
        is_waiting
    });
    move || wakers.iter().all(|it| it.wakes.load(Ordering::SeqCst) > 0)
}

#[test]
fn a_waker_that_panics_keeps_nobody_from_being_woken() {
    within_deadline(async {
        let (cluster, producer) = stuck().await;
        let mut ready: Vec<_> = (0..41)
            .map(|_| Box::pin(producer.ready(DEADLINE)))
            .collect();
        let mut topics: Vec<_> = (0..41)
            .map(|_| Box::pin(producer.topics(DEADLINE)))
            .collect();
        let mut flushes: Vec<_> = (0..41).map(|_| Box::pin(producer.flush())).collect();
        let all_ready = poll_counting(&mut ready);
        let all_found = poll_counting(&mut topics);
        let all_flushed = poll_counting(&mut flushes);
        cluster.broker_up(1).unwrap();
        until(|| all_ready() && all_found() && all_flushed()).await;
        join_all(ready).await;
        assert!(join_all(topics).await.into_iter().all(|it| it.is_ok()));
        assert!(join_all(flushes).await.into_iter().all(|it| it.is_ok()));

        let (cluster, producer) = stuck().await;
        let mut refused: Vec<_> = (0..41).map(|_| Box::pin(producer.reserve())).collect();
        let mut closes: Vec<_> = (0..41).map(|_| Box::pin(producer.close())).collect();
        let all_refused = poll_counting(&mut refused);
        let all_closed = poll_counting(&mut closes);
        until(all_refused).await;
        cluster.broker_up(1).unwrap();
        until(all_closed).await;
        assert!(join_all(refused).await.into_iter().all(|it| it.is_err()));
        join_all(closes).await;
    });
}

/// Panics at every event.
struct PanickingSubscriber(Arc<AtomicUsize>);

impl Subscriber for PanickingSubscriber {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        if event.metadata().target().contains("rdkafka") {
            self.0.fetch_add(1, Ordering::SeqCst);
            resume_unwind(Box::new("as asked"));
        }
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Panics in every delivery callback.
struct Panicking;

impl ClientContext for Panicking {}

impl ProducerContext for Panicking {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
        resume_unwind(Box::new("as asked"));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_subscriber_that_panics_stops_nothing() {
    let events = Arc::new(AtomicUsize::new(0));
    ask_all_subscribers();
    let _guard = tracing::subscriber::set_default(PanickingSubscriber(Arc::clone(&events)));
    let cluster = cluster("t", 1);
    // The default log callback logs to it.
    let create = || {
        Producer::builder(config(&cluster).set("debug", "broker"))
            .context(Panicking)
            .create()
            .unwrap()
    };
    let producer = create();
    for _ in 0..10 {
        producer.send(record()).await.unwrap();
    }
    assert!(producer.callback_panics() >= 10);
    assert_eq!(producer.close().await.failed, 0);

    // The drop of the last handle logs what is in flight, also while a panic unwinds.
    let dropped = create();
    let first = dropped.enqueue(record()).await.unwrap();
    let before = events.load(Ordering::SeqCst);
    drop(dropped);
    assert!(events.load(Ordering::SeqCst) > before);
    first.await.unwrap();
    let dropped = create();
    let second = dropped.enqueue(record()).await.unwrap();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _dropped = dropped;
        resume_unwind(Box::new("as asked"));
    }));
    assert!(unwound.is_err());
    second.await.unwrap();
}

/// The end of a runtime, with messages in flight, logs that.
#[test]
fn a_subscriber_that_panics_does_not_stop_the_teardown() {
    let events = Arc::new(AtomicUsize::new(0));
    ask_all_subscribers();
    let _guard = tracing::subscriber::set_default(PanickingSubscriber(Arc::clone(&events)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (cluster, producer) = runtime.block_on(stuck());
    let before = events.load(Ordering::SeqCst);
    drop(runtime);
    assert!(events.load(Ordering::SeqCst) > before);
    let closed = futures::executor::block_on(producer.close());
    assert_eq!(closed.records().len(), 1);
    drop(cluster);
}

/// What a user gives along, whose drop calls the producer and may panic.
#[derive(Default)]
struct Foreign {
    producer: Option<WeakProducer<Ignoring>>,
    panics: bool,
    drops: Arc<AtomicUsize>,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        if let Some(producer) = self.producer.as_ref().and_then(WeakProducer::upgrade) {
            drop(producer.try_reserve());
            let mut cx = Context::from_waker(Waker::noop());
            let _ = std::pin::pin!(producer.flush()).poll(&mut cx);
            let _ = std::pin::pin!(producer.reserve()).poll(&mut cx);
            let _ = std::pin::pin!(producer.topics(DEADLINE)).poll(&mut cx);
            let _ = producer.in_flight_count();
        }
        if self.panics && !std::thread::panicking() {
            resume_unwind(Box::new("as asked"));
        }
    }
}

impl AsRef<[u8]> for Foreign {
    fn as_ref(&self) -> &[u8] {
        const PAYLOAD: &[u8] = &[0; 2048];
        if self.panics { PAYLOAD } else { &PAYLOAD[..8] }
    }
}

/// Takes opaques, and drops them.
struct Ignoring;

impl ClientContext for Ignoring {}

impl ProducerContext for Ignoring {
    type DeliveryOpaque = Foreign;

    fn delivery(&self, _: &DeliveryResult<'_>, _: Foreign) {}
}

#[test]
fn drops_of_what_users_give_may_panic_and_call_the_producer() {
    const WAYS: usize = 9;
    within_deadline(async {
        let cluster = cluster("t", 1);
        let producer = Producer::builder(
            config(&cluster)
                .set("queue.buffering.max.messages", "100")
                .set("linger.ms", "1"),
        )
        .context(Ignoring)
        .create()
        .unwrap();
        let drops = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        // Those of a partition that does not exist are refused, or fail.
        for (panics, partition) in [(false, 0), (true, 0), (false, 99), (true, 99)] {
            let foreign = {
                let (weak, drops) = (producer.downgrade(), Arc::clone(&drops));
                move || Foreign {
                    producer: Some(weak.clone()),
                    panics,
                    drops: Arc::clone(&drops),
                }
            };
            for way in 0..WAYS {
                let (producer, foreign) = (producer.clone(), foreign.clone());
                let record = move || {
                    ProducerRecord::with_opaque_to("t", foreign())
                        .payload(Bytes::from_owner(foreign()))
                        .partition(partition)
                };
                // A drop that panics may end the task: it is the task's own.
                tasks.push(tokio::spawn(async move {
                    match way {
                        0 => drop(producer.send(record()).await),
                        1 => drop(producer.enqueue(record()).await),
                        2 => drop(producer.enqueue_detached(record()).await),
                        3 => drop(producer.try_enqueue(record())),
                        4 => drop(producer.reserve().await.map(|it| it.send(record()))),
                        5 => drop(producer.sink().send(record()).await),
                        6 => {
                            let items = stream::iter([((), [record(), record()])]);
                            drop(items.produce(&producer).next().await);
                        }
                        7 => {
                            let records = [record(), record(), record()];
                            drop(producer.send_all(records).next().await);
                        }
                        _ => {
                            let mut sink = producer.sink();
                            drop(sink.feed(record()).await);
                        }
                    }
                }));
            }
        }
        join_all(tasks).await;
        until(|| producer.in_flight_count() == 0).await;
        assert_capacity_is_whole(&producer, 100);
        let report = producer.close().await;
        drop(catch_unwind(AssertUnwindSafe(move || drop(report))));
        // Each record has two: its opaque and the owner of its payload.
        let all = 2 * 4 * (WAYS + 3);
        until(|| drops.load(Ordering::SeqCst) == all).await;
    });
}

/// Drops the last handle of its producer in a callback, after it has begun to close it.
struct Last {
    producer: Mutex<Option<Producer<Arc<Last>>>>,
    closes: bool,
    reports: OnceLock<Result<(), KafkaError>>,
}

impl ClientContext for Last {}

impl ProducerContext for Last {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
        let producer = self.producer.lock().unwrap().take();
        if let Some(producer) = producer {
            if self.closes {
                let mut cx = Context::from_waker(Waker::noop());
                assert!(std::pin::pin!(producer.close()).poll(&mut cx).is_pending());
            }
            drop(producer);
            let _ = self.reports.set(Ok(()));
        }
    }
}

#[test]
fn a_delivery_callback_may_drop_the_last_handle() {
    within_deadline(async {
        for closes in [false, true] {
            let cluster = cluster("t", 1);
            let last = Arc::new(Last {
                producer: Mutex::new(None),
                closes,
                reports: OnceLock::new(),
            });
            let producer = Producer::builder(&config(&cluster))
                .context(Arc::clone(&last))
                .create()
                .unwrap();
            let mut deliveries = Vec::new();
            cluster
                .broker_round_trip_time(1, Duration::from_millis(1))
                .unwrap();
            for _ in 0..100 {
                let record = ProducerRecord::to("t").payload("v");
                deliveries.push(producer.enqueue(record).await.unwrap());
            }
            *last.producer.lock().unwrap() = Some(producer);
            for delivery in deliveries {
                delivery.await.unwrap();
            }
            // The client has been destroyed, and the context dropped.
            until(|| Arc::strong_count(&last) == 1).await;
            assert!(last.reports.get().is_some());
        }
    });
}
