//! The example `opentelemetry`: a trace goes from a request through a record to its consumer.

use std::collections::HashMap;
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};

use crate::support::example::program;
use crate::support::kafka::Cluster;

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(format!("opentelemetry::{name}"), move || {
            test();
            Ok::<_, Failed>(())
        })
    };
    let on_kafka = trial("a_consumer_continues_the_trace_on_kafka", on_kafka);
    vec![
        trial("a_consumer_continues_the_trace", on_the_mock_cluster),
        on_kafka.with_ignored_flag(!Cluster::is_there()),
    ]
}

/// A line of the example: a span that has ended.
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

/// The example with two orders prints two whole traces.
fn assert_traces(topic: &str, arguments: &[&str]) {
    const FEATURES: &str = "mock,opentelemetry,rdkafka,tracing-spans";
    let mut example = Command::new(program("opentelemetry", FEATURES));
    let example = example.args(["--orders", "2"]).args(arguments);
    let example = example.stdin(Stdio::null());
    let output = example.output().expect("the example starts");
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
