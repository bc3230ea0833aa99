//! The system has no thread for the blocking calls of librdkafka: calls that need one return an error
//! at once, deadlines are kept without, and nothing hangs.
//!
//! A binary of its own, which starts itself once more with a stack size for Rust's threads that no
//! system has. librdkafka's threads, which have another one, are there.
#![cfg(unix)]

mod support;

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use libtest_mimic::{Arguments, Failed, Trial};
use support::mock::{DEADLINE, cluster, config};
use tokio::runtime::{Builder, Runtime};
use tokio_rdkafka::{
    BaseProducer, KafkaError, Producer, ProducerRecord, PurgeConfig, TransactionalProducer,
};

/// Read by the standard library at the first start of a thread.
const STACK: (&str, &str) = ("RUST_MIN_STACK", "1000000000000000");

/// The deadline of a close.
const SHORT: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    if env::var(STACK.0).as_deref() != Ok(STACK.1) {
        let mut again = Command::new(env::current_exe().expect("this program"));
        let error = again
            .args(env::args_os().skip(1))
            .env(STACK.0, STACK.1)
            .exec();
        panic!("this program does not start again: {error}");
    }
    // On this thread, as there is no other.
    let arguments = Arguments {
        test_threads: Some(1),
        ..Arguments::from_args()
    };
    let trials = vec![
        trial("there_is_none", there_is_none),
        trial("a_close_keeps_its_deadline", || close(timers().build())),
        trial("a_close_keeps_its_deadline_without_timers", || {
            close(Builder::new_current_thread().build())
        }),
        trial("a_close_delivers", close_delivers),
        trial("a_blocked_runtime", blocked_runtime),
        trial("calls_fail_at_once", calls_fail_at_once),
        trial(
            "transactional_calls_fail_at_once",
            transactional_calls_fail_at_once,
        ),
        trial("a_purge_works", purge),
        trial("unused_permits_stop_nobody", unused_permits),
        trial("a_runtime_ends", runtime_ends),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok::<_, Failed>(())
    })
}

fn timers() -> Builder {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    builder
}

fn record() -> ProducerRecord<'static> {
    ProducerRecord::to("t").payload("v")
}

/// The error says so, and came before any time limit.
#[track_caller]
fn assert_no_thread<T>(call: &str, result: Result<T, KafkaError>) {
    let error = result.err().unwrap_or_else(|| panic!("{call}: no error"));
    let text = error.to_string();
    assert!(text.contains("could not start a thread"), "{call}: {text}");
}

fn there_is_none() {
    assert!(thread::Builder::new().spawn(|| ()).is_err());
}

/// `message.timeout.ms` is five minutes.
fn close(runtime: io::Result<Runtime>) {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    runtime.unwrap().block_on(async {
        let producer: Producer = config(&cluster).create().unwrap();
        let future = producer.try_enqueue(record()).unwrap();
        let began = Instant::now();
        let report = producer.close_timeout(SHORT).await;
        assert!((SHORT..DEADLINE).contains(&began.elapsed()));
        assert_eq!((report.delivered, report.undelivered), (0, 1));
        future.await.unwrap_err();
    });
}

fn close_delivers() {
    let cluster = cluster("t", 1);
    timers().build().unwrap().block_on(async {
        let producer: Producer = config(&cluster).create().unwrap();
        let future = producer.try_enqueue(record()).unwrap();
        assert_eq!(producer.close().await.delivered, 1);
        future.await.unwrap();
    });
}

/// The one who blocks it keeps the deadline, in the driver's place.
fn blocked_runtime() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    timers().build().unwrap().block_on(async {
        let producer: Producer = config(&cluster).create().unwrap();
        let future = producer.try_enqueue(record()).unwrap();
        let report = producer.blocking_close_timeout(SHORT);
        assert_eq!((report.delivered, report.undelivered), (0, 1));
        future.await.unwrap_err();
    });
}

fn calls_fail_at_once() {
    let cluster = cluster("t", 1);
    timers().build().unwrap().block_on(async {
        let producer: Producer = config(&cluster).create().unwrap();
        producer.send(record()).await.unwrap();
        cluster.broker_down(1).unwrap();
        let future = producer.try_enqueue(record()).unwrap();
        let began = Instant::now();
        let error = producer.flush().await.unwrap_err();
        assert_no_thread::<()>("flush", Err(error.error().clone()));
        assert_eq!(error.remaining(), 1);
        let error = producer.flush_timeout(DEADLINE).await.unwrap_err();
        assert_no_thread::<()>("flush_timeout", Err(error.error().clone()));
        assert_no_thread("ready", producer.ready(DEADLINE).await);
        assert_no_thread("topics", producer.topics(DEADLINE).await);
        // It asks the controller before, which a mock cluster does not have.
        assert_no_thread("cluster", producer.cluster(DEADLINE).await);
        assert_no_thread(
            "partitions_for",
            producer.partitions_for("t", DEADLINE).await,
        );
        assert!(began.elapsed() < DEADLINE);
        // What was sent goes on.
        assert_eq!(producer.in_flight_count(), 1);
        cluster.broker_up(1).unwrap();
        future.await.unwrap();
    });
}

fn transactional_calls_fail_at_once() {
    let cluster = cluster("t", 1);
    let mut config = config(&cluster);
    config.set("transactional.id", "tests");
    timers().build().unwrap().block_on(async {
        let mut producer: TransactionalProducer = config.create().unwrap();
        assert_no_thread("init", producer.init(DEADLINE).await);
        assert_no_thread("ready", producer.ready(DEADLINE).await);
        producer.close().await;
    });
    let producer: BaseProducer = config.create().unwrap();
    assert_no_thread("init_transactions", producer.init_transactions(DEADLINE));
}

fn purge() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    timers().build().unwrap().block_on(async {
        let producer: Producer = config(&cluster).create().unwrap();
        let future = producer.try_enqueue(record()).unwrap();
        assert_eq!(producer.purge(PurgeConfig::default().queue()).await, 1);
        future.await.unwrap_err();
    });
}

fn unused_permits() {
    let cluster = cluster("t", 1);
    timers().build().unwrap().block_on(async {
        let mut config = config(&cluster);
        let config = config.set("queue.buffering.max.messages", "1");
        let producer: Producer = config.create().unwrap();
        let unused = producer.try_reserve().unwrap();
        producer.send(record()).await.unwrap();
        drop(unused);
        producer.send(record()).await.unwrap();
    });
}

fn runtime_ends() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let runtime = timers().build().unwrap();
    let config = config(&cluster);
    let producer = Producer::builder(&config);
    let producer = producer.runtime(runtime.handle().clone()).create().unwrap();
    let future = producer.try_enqueue(record()).unwrap();
    drop(runtime);
    block_on(future).unwrap_err();
    assert_eq!(block_on(producer.close()).undelivered, 1);
}
