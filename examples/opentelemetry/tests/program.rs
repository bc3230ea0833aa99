//! The program: a trace goes from a request through a record to its consumer. Without a cluster the
//! test on Kafka shows as ignored:
//!
//! ```sh
//! tests/with-kafka cargo test -p opentelemetry-example
//! ```

use std::collections::HashMap;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};

use support::kafka::Cluster;

/// What the tests of the library share.
#[allow(dead_code)] // A part of it is used here.
#[path = "../../../tests/support"]
mod support {
    pub mod kafka;
}

fn main() -> ExitCode {
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok::<_, Failed>(())
        })
    };
    let on_kafka = trial("a_consumer_continues_the_trace_on_kafka", on_kafka);
    let trials = vec![
        trial("a_consumer_continues_the_trace", on_the_mock_cluster),
        on_kafka.with_ignored_flag(!Cluster::is_there()),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A line of the program: a span that has ended.
struct Span<'l> {
    trace: &'l str,
    id: &'l str,
    parent: &'l str,
    /// The kind and the name.
    what: String,
}

fn spans(said: &str) -> Vec<Span<'_>> {
    let lines = said.lines().filter(|line| line.starts_with("trace "));
    lines
        .map(|line| match &line.split(' ').collect::<Vec<_>>()[..] {
            ["trace", trace, "span", id, "parent", parent, what @ ..] => Span {
                trace,
                id,
                parent,
                what: what.join(" "),
            },
            _ => panic!("{line}"),
        })
        .collect()
}

fn on_the_mock_cluster() {
    assert_traces("orders", &[]);
}

fn on_kafka() {
    let cluster = Cluster::from_env();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let topic = runtime.block_on(cluster.create_topic(1, 3));
    let config = cluster.config();
    let brokers = config.get("bootstrap.servers").expect("brokers");
    assert_traces(&topic, &["--brokers", brokers, "--topic", &topic]);
}

/// The program with two orders prints two whole traces.
fn assert_traces(topic: &str, arguments: &[&str]) {
    let mut example = Command::new(env!("CARGO_BIN_EXE_opentelemetry-example"));
    let example = example.args(["--orders", "2"]).args(arguments);
    let example = example.stdin(Stdio::null());
    let output = example.output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    let mut traces: HashMap<_, Vec<_>> = HashMap::new();
    for span in spans(&said) {
        traces.entry(span.trace.to_owned()).or_default().push(span);
    }
    assert_eq!(traces.len(), 2, "{said}");
    for trace in traces.into_values() {
        assert_eq!(trace.len(), 3, "{said}");
        let of = |what: &str| {
            let span = trace.iter().find(|span| span.what == what);
            span.unwrap_or_else(|| panic!("no {what}: {said}"))
        };
        let request = of("Server \"POST /orders\"");
        let record = of(&format!("Producer \"send {topic}\""));
        let processing = of("Consumer \"process order\"");
        assert_eq!(record.parent, request.id);
        assert_eq!(processing.parent, record.id);
    }
    assert!(said.contains("messaging.kafka.offset = 0"), "{said}");
}
