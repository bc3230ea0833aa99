//! A process ends in whatever way, with a producer that was not closed: it neither crashes nor hangs.
//!
//! ```sh
//! tests/with-kafka cargo test --features full --test exits
//! ```
//!
//! Without a cluster, the part on its TLS listener shows as ignored. The number of processes for
//! each way is `TOKIO_RDKAFKA_EXITS`, 20 by default.
//!
//! A binary of its own: it starts itself, and its `main` ends in the way that a variable names.

mod support;

use std::env;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use support::logins::Locked;
use tokio::runtime::Runtime;
use tokio_rdkafka::{ClientConfig, Producer, ProducerRecord};

/// How the process is to end.
const WAY: &str = "TOKIO_RDKAFKA_EXIT_WAY";
/// The properties of the producer, one on a line.
const CONFIG: &str = "TOKIO_RDKAFKA_EXIT_CONFIG";
/// How long the producer lives, in milliseconds.
const AFTER: &str = "TOKIO_RDKAFKA_EXIT_AFTER";
/// How many processes there are of each kind.
const RUNS: &str = "TOKIO_RDKAFKA_EXITS";

/// How many processes run at once.
const AT_ONCE: usize = 4;
/// How many brokers there seem to be: each has a thread that may be within OpenSSL.
const BROKERS: usize = 8;
/// How long an end takes at most: it does not wait for a time limit of librdkafka's. A busy machine
/// starts and ends several processes at once.
const MOST: Duration = Duration::from_secs(5);
/// When a process is killed.
const DEADLINE: Duration = Duration::from_secs(30);

/// A way in which a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// `main` returns while a task goes on sending.
    Live,
    /// The producer is dropped, and `main` returns.
    Dropped,
    /// The producer and its runtime are left in statics.
    Static,
    /// A task calls `std::process::exit`.
    Exit,
    /// The runtime is dropped before the producer.
    RuntimeFirst,
    /// `main` panics.
    Panic,
    /// `main` returns; rdkafka has had a client before.
    AfterRdkafka,
}

const WAYS: [Way; 7] = [
    Way::Live,
    Way::Dropped,
    Way::Static,
    Way::Exit,
    Way::RuntimeFirst,
    Way::Panic,
    Way::AfterRdkafka,
];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Live => "main_returns_with_a_live_producer",
            Way::Dropped => "main_returns_after_a_drop_without_close",
            Way::Static => "the_producer_is_left_in_a_static",
            Way::Exit => "a_task_calls_exit",
            Way::RuntimeFirst => "the_runtime_is_dropped_first",
            Way::Panic => "main_panics",
            Way::AfterRdkafka => "main_returns_and_another_library_uses_openssl",
        }
    }

    /// What the process has to end with.
    fn code(self) -> i32 {
        match self {
            Way::Exit => 7,
            Way::Panic => 101,
            _ => 0,
        }
    }
}

impl FromStr for Way {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = WAYS.into_iter().find(|way| way.name() == name);
        found.ok_or_else(|| format!("there is no way {name}"))
    }
}

fn main() -> ExitCode {
    if let Ok(way) = env::var(WAY) {
        end(way.parse().expect("a way to end"));
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for way in WAYS {
        trials.push(Trial::test(format!("plain::{}", way.name()), move || {
            let cluster = support::mock::cluster("t", 1);
            let servers = cluster.bootstrap_servers();
            run(way, &[("bootstrap.servers", servers)])
        }));
        let tls = Trial::test(format!("tls::{}", way.name()), move || {
            let servers = refusing_brokers();
            run(
                way,
                &[
                    ("bootstrap.servers", servers),
                    ("security.protocol", "ssl".to_owned()),
                ],
            )
        });
        trials.push(tls.with_ignored_flag(!cfg!(feature = "ssl")));
        let kafka = Trial::test(format!("kafka::{}", way.name()), move || {
            let locked = Locked::from_env();
            let config = locked.ssl();
            let of = |name| (name, config.get(name).expect("it is set").to_owned());
            run(
                way,
                &["bootstrap.servers", "security.protocol", "ssl.ca.location"].map(of),
            )
        });
        trials.push(kafka.with_ignored_flag(!Locked::is_there()));
    }
    // One after the other, because each runs several processes at once.
    let arguments = Arguments {
        test_threads: Some(1),
        ..arguments
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The process that ends.
fn end(way: Way) {
    static KEPT: OnceLock<(Runtime, Producer)> = OnceLock::new();
    if way == Way::AfterRdkafka {
        let mut config = rdkafka::ClientConfig::new();
        if cfg!(feature = "ssl") {
            config.set("security.protocol", "ssl");
        }
        let other: rdkafka::producer::BaseProducer = config.create().expect("a client of rdkafka");
        drop(other);
    }
    let mut config = ClientConfig::new();
    for line in env::var(CONFIG).expect("properties").lines() {
        let (name, value) = line.split_once('=').expect("a property");
        config.set(name, value);
    }
    let after = env::var(AFTER)
        .expect("a time")
        .parse()
        .expect("milliseconds");
    let after = Duration::from_millis(after);
    let runtime = Runtime::new().expect("a runtime");
    let producer: Producer = runtime
        .block_on(async { config.create() })
        .expect("a producer");
    for _ in 0..100 {
        let record = ProducerRecord::to("t").payload("v");
        drop(producer.try_enqueue(record).expect("enqueued"));
    }
    // The end comes at another moment of the client's life in each run.
    thread::sleep(after);
    println!("{}", way.name());
    match way {
        Way::Live | Way::AfterRdkafka => {
            runtime.spawn(async move {
                while producer.enqueue(ProducerRecord::to("t")).await.is_ok() {
                    tokio::task::yield_now().await;
                }
            });
        }
        Way::Dropped => drop(producer),
        Way::Static => KEPT.set((runtime, producer)).expect("it is empty"),
        Way::Exit => runtime.block_on(async {
            tokio::spawn(async { std::process::exit(Way::Exit.code()) });
            std::future::pending().await
        }),
        Way::RuntimeFirst => drop(runtime),
        Way::Panic => panic!("as it may"),
    }
}

/// Runs processes that end in that way.
fn run<V: fmt::Display>(way: Way, config: &[(&str, V)]) -> Result<(), Failed> {
    let runs = env::var(RUNS).map_or(20, |runs| runs.parse().expect("a number of runs"));
    let mut text = "linger.ms=0\nreconnect.backoff.ms=1\nreconnect.backoff.max.ms=2".to_owned();
    for (name, value) in config {
        text += &format!("\n{name}={value}");
    }
    let next = AtomicUsize::new(0);
    let ended = thread::scope(|scope| {
        let one_after_another = || {
            let mut ended = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= runs {
                    return ended;
                }
                ended.push(run_one(way, &text, number));
            }
        };
        let threads: Vec<_> = (0..AT_ONCE)
            .map(|_| scope.spawn(one_after_another))
            .collect();
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        ended.flatten().collect::<Vec<_>>()
    });
    let times = ended.iter().map(|ended| ended.took);
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    let (median, longest) = (times[runs / 2], times[runs - 1]);
    let bad = |ended: &&Ended| ended.status.and_then(|status| status.code()) != Some(way.code());
    let bad: Vec<_> = ended.iter().filter(bad).collect();
    let report = format!(
        "{} of {runs} ended badly; an end took {median:?}, at most {longest:?}",
        bad.len()
    );
    eprintln!("{report}");
    match bad.first() {
        // The longest one depends on the machine's load.
        None if median < MOST => Ok(()),
        first => Err(format!("{report}; the first: {first:?}").into()),
    }
}

/// How a process has ended.
#[derive(Debug)]
struct Ended {
    /// `None` if it had to be killed.
    status: Option<ExitStatus>,
    took: Duration,
    #[expect(dead_code, reason = "it is shown if the end was bad")]
    stderr: String,
}

fn run_one(way: Way, config: &str, number: usize) -> Ended {
    let mut child = Command::new(env::current_exe().expect("this program"))
        .env(WAY, way.name())
        .env("RUST_BACKTRACE", "0")
        .env(CONFIG, config)
        .env(AFTER, (number % 40).to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut stderr = child.stderr.take().expect("a pipe");
    let stderr = thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let began = Instant::now();
    let status = wait(&mut child, began);
    Ended {
        status,
        took: began.elapsed(),
        stderr: stderr.join().expect("no panic"),
    }
}

fn wait(child: &mut Child, began: Instant) -> Option<ExitStatus> {
    while began.elapsed() < DEADLINE {
        if let Some(status) = child.try_wait().expect("a child") {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("a child");
    child.wait().expect("a child");
    None
}

/// Brokers that close each connection after the client's first bytes: so its threads are in
/// OpenSSL most of the time.
fn refusing_brokers() -> String {
    let addresses: Vec<String> = (0..BROKERS)
        .map(|_| {
            let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
            let address = listener.local_addr().expect("an address");
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let mut hello = [0; 16];
                    let _ = (&stream).read(&mut hello);
                }
            });
            address.to_string()
        })
        .collect();
    addresses.join(",")
}
