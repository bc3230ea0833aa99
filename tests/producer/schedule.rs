//! Random schedules of everything that can be done to a producer, with brokers that go away and
//! come back: each future resolves once, callbacks and enqueued messages are the same, capacity is
//! conserved.
//!
//! `TOKIO_RDKAFKA_SCHEDULE_SECONDS` says how long new schedules are tried (5 by default).
//! `TOKIO_RDKAFKA_SCHEDULE_SEED` begins with another seed than 0. A schedule that fails is
//! shrunk and shown, with the seed of the run.

use std::collections::HashMap;
use std::env;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::future::join_all;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::runtime;
use tokio::time::timeout;
use tokio_rdkafka::{
    ClientContext, DeliveryFuture, DeliveryResult, KafkaError, MockCluster, OwnedPermit, Producer,
    ProducerContext, ProducerRecord, PurgeConfig, RDKafkaLogLevel,
};

use crate::support::mock::{DEADLINE, assert_capacity_is_whole, cluster, config};

const MAX_MESSAGES: usize = 5;
const MAX_KBYTES: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    Send { bytes: usize },
    Enqueue { bytes: usize },
    TryEnqueue { bytes: usize },
    Detached { bytes: usize },
    Reserve,
    ReserveBytes { bytes: usize },
    PollReserve,
    UsePermit { which: usize, bytes: usize },
    DropPermit { which: usize },
    Cancel { which: usize },
    DropDelivery { which: usize },
    Flush { is_dropped: bool },
    Purge { inflight: bool },
    Broker { is_up: bool },
    LetOthersRun { turns: usize },
    Close { millis: Option<u64> },
    DropHandle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = || 0..1500_usize;
    let any = || 0..64_usize;
    let step = prop_oneof![
        8 => bytes().prop_map(|bytes| Step::Send { bytes }),
        8 => bytes().prop_map(|bytes| Step::Enqueue { bytes }),
        4 => bytes().prop_map(|bytes| Step::TryEnqueue { bytes }),
        4 => bytes().prop_map(|bytes| Step::Detached { bytes }),
        4 => Just(Step::Reserve),
        2 => bytes().prop_map(|bytes| Step::ReserveBytes { bytes }),
        2 => Just(Step::PollReserve),
        4 => (any(), bytes()).prop_map(|(which, bytes)| Step::UsePermit { which, bytes }),
        2 => any().prop_map(|which| Step::DropPermit { which }),
        6 => any().prop_map(|which| Step::Cancel { which }),
        2 => any().prop_map(|which| Step::DropDelivery { which }),
        2 => proptest::bool::ANY.prop_map(|is_dropped| Step::Flush { is_dropped }),
        1 => proptest::bool::ANY.prop_map(|inflight| Step::Purge { inflight }),
        1 => proptest::bool::ANY.prop_map(|is_up| Step::Broker { is_up }),
        8 => (0..30_usize).prop_map(|turns| Step::LetOthersRun { turns }),
    ];
    let end = prop_oneof![
        3 => Just(None),
        1 => Just(Some(Step::Close { millis: None })),
        1 => (0..20_u64).prop_map(|millis| Some(Step::Close { millis: Some(millis) })),
        1 => Just(Some(Step::DropHandle)),
    ];
    (vec(step, 1..80), end, vec(bytes(), 0..4)).prop_map(|(mut steps, end, late)| {
        if let Some(end) = end {
            steps.push(end);
            // What comes after the end is refused.
            steps.extend(late.into_iter().map(|bytes| Step::Send { bytes }));
        }
        steps
    })
}

/// What became of the messages, by the callbacks.
#[derive(Debug, Default)]
struct Seen(Mutex<HashMap<usize, (usize, bool)>>);

impl ClientContext for Seen {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: &KafkaError) {}
}

impl ProducerContext for Seen {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let mut seen = self.0.lock().unwrap();
        let (count, is_delivered) = seen.entry(number).or_default();
        *count += 1;
        *is_delivered = result.is_ok();
    }
}

/// What the caller knows of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It may have been enqueued: the future was dropped before that was known.
    Nothing,
    Refused,
    /// Nothing but that it was enqueued.
    Enqueued,
    Delivered,
    Failed,
}

type Waiting = Pin<Box<dyn Future<Output = After>>>;

/// What a future that waited for capacity ended with.
enum After {
    Known(usize, Known),
    Delivery(usize, DeliveryFuture<usize>),
    Permit(OwnedPermit<Arc<Seen>>),
    Nothing,
}

/// One run of a schedule.
struct Run {
    cluster: MockCluster,
    seen: Arc<Seen>,
    producer: Option<Producer<Arc<Seen>>>,
    waiting: Vec<Waiting>,
    permits: Vec<OwnedPermit<Arc<Seen>>>,
    deliveries: Vec<(usize, DeliveryFuture<usize>)>,
    known: Vec<Known>,
    purges: Arc<AtomicUsize>,
}

impl Run {
    fn new() -> Self {
        let cluster = cluster("t", 2);
        let seen = Arc::new(Seen::default());
        let mut config = config(&cluster);
        config
            .set("queue.buffering.max.messages", MAX_MESSAGES.to_string())
            .set("queue.buffering.max.kbytes", MAX_KBYTES.to_string())
            .set("reconnect.backoff.ms", "1")
            .set("reconnect.backoff.max.ms", "20")
            .set("retry.backoff.ms", "1");
        let producer = Producer::builder(&config).context(Arc::clone(&seen));
        Self {
            producer: Some(producer.create().unwrap()),
            cluster,
            seen,
            waiting: Vec::new(),
            permits: Vec::new(),
            deliveries: Vec::new(),
            known: Vec::new(),
            purges: Arc::default(),
        }
    }

    fn record(&mut self, bytes: usize) -> ProducerRecord<'static, usize> {
        let number = self.known.len();
        self.known.push(Known::Nothing);
        let payload = format!("{number:0>bytes$}");
        ProducerRecord::with_opaque_to("t", number).payload(payload)
    }

    /// Starts a future, which is polled whenever others run.
    fn start(&mut self, future: impl Future<Output = After> + 'static) {
        self.waiting.push(Box::pin(future));
        self.poll(self.waiting.len() - 1);
    }

    fn poll(&mut self, index: usize) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(after) = self.waiting[index].as_mut().poll(&mut cx) else {
            return false;
        };
        drop(self.waiting.swap_remove(index));
        self.after(after);
        true
    }

    fn after(&mut self, after: After) {
        match after {
            After::Known(number, known) => self.known[number] = known,
            After::Delivery(number, delivery) => {
                self.known[number] = Known::Enqueued;
                self.deliveries.push((number, delivery));
            }
            After::Permit(permit) => self.permits.push(permit),
            After::Nothing => {}
        }
    }

    fn poll_all(&mut self) {
        let mut index = 0;
        while index < self.waiting.len() {
            if !self.poll(index) {
                index += 1;
            }
        }
    }

    async fn step(&mut self, step: Step) {
        let Some(producer) = self.producer.clone() else {
            return;
        };
        match step {
            Step::Send { bytes } => {
                let record = self.record(bytes);
                let number = *record.get_opaque();
                self.start(async move {
                    After::Known(number, known(producer.send(record).await.map(drop)))
                });
            }
            Step::Enqueue { bytes } => {
                let record = self.record(bytes);
                let number = *record.get_opaque();
                self.start(async move {
                    match producer.enqueue(record).await {
                        Ok(delivery) => After::Delivery(number, delivery),
                        Err(error) => After::Known(number, known(Err(error))),
                    }
                });
            }
            Step::Detached { bytes } => {
                let record = self.record(bytes);
                let number = *record.get_opaque();
                self.start(async move {
                    After::Known(
                        number,
                        match producer.enqueue_detached(record).await {
                            Ok(()) => Known::Enqueued,
                            Err(error) => known(Err(error)),
                        },
                    )
                });
            }
            Step::TryEnqueue { bytes } => {
                let record = self.record(bytes);
                let number = *record.get_opaque();
                match producer.try_enqueue(record) {
                    Ok(delivery) => self.after(After::Delivery(number, delivery)),
                    Err(error) => {
                        assert_eq!(*error.record().get_opaque(), number);
                        self.known[number] = Known::Refused;
                    }
                }
            }
            Step::Reserve => {
                self.start(async move { permit(producer.reserve_owned().await) });
            }
            Step::ReserveBytes { bytes } => {
                self.start(async move {
                    // Borrowed: it can only be dropped.
                    drop(producer.reserve_bytes(bytes).await);
                    After::Nothing
                });
            }
            Step::PollReserve => {
                let mut producer = producer;
                self.start(async move {
                    permit(std::future::poll_fn(|cx| producer.poll_reserve(cx)).await)
                });
            }
            Step::UsePermit { which, bytes } => {
                if let Some(index) = which.checked_rem(self.permits.len()) {
                    let permit = self.permits.swap_remove(index);
                    let record = self.record(bytes);
                    let number = *record.get_opaque();
                    let delivery = permit.send(record);
                    self.after(After::Delivery(number, delivery));
                }
            }
            Step::DropPermit { which } => {
                if let Some(index) = which.checked_rem(self.permits.len()) {
                    drop(self.permits.swap_remove(index));
                }
            }
            Step::Cancel { which } => {
                if let Some(index) = which.checked_rem(self.waiting.len()) {
                    drop(self.waiting.swap_remove(index));
                }
            }
            Step::DropDelivery { which } => {
                if let Some(index) = which.checked_rem(self.deliveries.len()) {
                    let (number, delivery) = self.deliveries.swap_remove(index);
                    drop(delivery);
                    // By a permit it may have been refused, and nobody hears of that.
                    self.known[number] = Known::Nothing;
                }
            }
            Step::Flush { is_dropped } => {
                self.start(async move {
                    producer.flush().await.unwrap();
                    After::Nothing
                });
                if is_dropped {
                    drop(self.waiting.pop());
                }
            }
            Step::Purge { inflight } => {
                let purges = Arc::clone(&self.purges);
                let queue = PurgeConfig::default().queue();
                let covers = if inflight { queue.inflight() } else { queue };
                self.start(async move {
                    purges.fetch_add(producer.purge(covers).await, Ordering::SeqCst);
                    After::Nothing
                });
            }
            Step::Broker { is_up: true } => self.cluster.broker_up(1).unwrap(),
            Step::Broker { is_up: false } => self.cluster.broker_down(1).unwrap(),
            Step::LetOthersRun { turns } => {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                    self.poll_all();
                }
            }
            Step::Close { millis } => {
                self.start(async move {
                    match millis {
                        Some(millis) => producer.close_timeout(Duration::from_millis(millis)).await,
                        None => producer.close().await,
                    };
                    After::Nothing
                });
            }
            Step::DropHandle => drop(self.producer.take()),
        }
    }

    /// Lets everything come to its end, and checks what came of it.
    async fn finish(mut self) {
        self.cluster.broker_up(1).unwrap();
        // Unused permits go first: those who wait may wait for them.
        self.permits.clear();
        while !self.waiting.is_empty() {
            tokio::task::yield_now().await;
            self.poll_all();
            self.permits.clear();
        }
        let (numbers, deliveries): (Vec<_>, Vec<_>) = self.deliveries.drain(..).unzip();
        let results = join_all(deliveries).await;
        for (number, result) in numbers.into_iter().zip(results) {
            self.known[number] = known(result.map(drop));
        }
        if let Some(producer) = self.producer.take() {
            while producer.in_flight_count() > 0 {
                tokio::task::yield_now().await;
            }
            if !producer.is_closed() {
                assert_capacity_is_whole(&producer, MAX_MESSAGES);
                drop(producer.reserve_bytes(MAX_KBYTES * 1024).await.unwrap());
            }
            assert_eq!(producer.callback_panics(), 0);
            producer.close().await;
        }
        // Without a handle the driver ends by itself, and gives its context up.
        while Arc::strong_count(&self.seen) > 1 {
            tokio::task::yield_now().await;
        }
        self.check();
        let seen = self.seen.0.lock().unwrap().clone();
        self.check_log(&seen).await;
    }

    fn check(&self) {
        let seen = self.seen.0.lock().unwrap();
        for (number, known) in self.known.iter().enumerate() {
            let seen = seen.get(&number).copied();
            let is_right = match known {
                Known::Nothing => matches!(seen, None | Some((1, _))),
                Known::Refused => seen.is_none(),
                Known::Enqueued => matches!(seen, Some((1, _))),
                Known::Delivered => seen == Some((1, true)),
                Known::Failed => seen == Some((1, false)),
            };
            assert!(
                is_right,
                "record {number}: known {known:?}, callbacks {seen:?}"
            );
        }
    }

    /// Whatever was delivered is there.
    async fn check_log(&self, seen: &HashMap<usize, (usize, bool)>) {
        let records = self.cluster.records("t").await.unwrap();
        let number = |payload: &[u8]| std::str::from_utf8(payload).unwrap().parse().unwrap();
        let there: std::collections::HashSet<usize> = records
            .iter()
            .map(|record| number(record.payload().unwrap()))
            .collect();
        for (number, (_, is_delivered)) in seen {
            assert!(!is_delivered || there.contains(number), "{number} is lost");
        }
    }
}

fn permit(permit: Result<OwnedPermit<Arc<Seen>>, KafkaError>) -> After {
    match permit {
        Ok(permit) => After::Permit(permit),
        Err(error) => {
            assert!(error.is_closed(), "{error:?}");
            After::Nothing
        }
    }
}

/// A failure has the opaque only where the record was refused.
fn known(result: Result<(), tokio_rdkafka::SendError<usize>>) -> Known {
    match result.map_err(tokio_rdkafka::SendError::into_parts) {
        Ok(()) => Known::Delivered,
        Err((_, Some(_), _)) => Known::Refused,
        Err((_, None, _)) => Known::Failed,
    }
}

fn run(steps: Vec<Step>) {
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let schedule = async {
            let mut run = Run::new();
            for step in steps {
                run.step(step).await;
            }
            run.finish().await;
        };
        let ended = timeout(DEADLINE, schedule).await;
        ended.expect("something never resolves");
    });
}

#[test]
fn random_schedules_keep_what_is_promised() {
    let number = |variable: &str| env::var(variable).ok().map(|text| text.parse().unwrap());
    let seconds = number("TOKIO_RDKAFKA_SCHEDULE_SECONDS").unwrap_or(5);
    let first: u64 = number("TOKIO_RDKAFKA_SCHEDULE_SEED").unwrap_or(0);
    let started = Instant::now();
    let mut schedules = 0;
    for seed in first.. {
        if started.elapsed() > Duration::from_secs(seconds) {
            println!("{schedules} schedules, seeds {first} to {}", seed - 1);
            break;
        }
        const CASES: u32 = 16;
        let config = Config {
            cases: CASES,
            failure_persistence: None,
            max_shrink_iters: 200,
            ..Config::default()
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let result = TestRunner::new_with_rng(config, rng).run(&steps(), |steps| {
            run(steps);
            Ok(())
        });
        if let Err(error) = result {
            panic!("seed {seed}: {error}");
        }
        schedules += CASES;
    }
}
