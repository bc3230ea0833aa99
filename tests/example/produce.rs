//! The example `produce`, on the mock cluster and without a broker.

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::support::example::program;

/// Records would wait for five minutes.
const SECONDS: Duration = Duration::from_secs(30);

pub fn trials() -> Vec<Trial> {
    vec![
        trial("it_produces_to_the_mock_cluster", on_the_mock_cluster),
        trial("without_a_broker_it_prints_the_reason", without_a_broker),
        trial("the_first_programs_ask_for_a_broker", first_programs),
    ]
}

fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(format!("produce::{name}"), move || {
        test();
        Ok::<_, Failed>(())
    })
}

/// A newcomer's first program has no broker, or the wrong address.
fn first_programs() {
    for text in [
        include_str!("../../README.md"),
        include_str!("../../src/lib.rs"),
    ] {
        let code = text.split("```").nth(1).expect("a program");
        let ready = code.find(".ready(").expect("it waits for a broker");
        let send = code.find(".send(").expect("it sends");
        assert!(ready < send, "{code}");
    }
}

fn run(arguments: &[&str]) -> Output {
    let mut example = Command::new(program("produce", "mock"));
    let example = example.args(arguments).stdin(Stdio::null());
    example.output().expect("the example starts")
}

fn on_the_mock_cluster() {
    let output = run(&["apples", "pears"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("offset 0") && said.contains("offset 1"),
        "{said}"
    );
    assert!(said.contains("2 delivered, 0 failed"), "{said}");
}

fn without_a_broker() {
    // Nobody listens there any more.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    drop(listener);
    let began = Instant::now();
    let output = run(&["--brokers", &address, "apples"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(began.elapsed() < SECONDS, "{:?}", began.elapsed());
    let reason = said
        .lines()
        .find(|line| line.starts_with("no broker is up"));
    let reason = reason.unwrap_or_else(|| panic!("no reason: {said}"));
    assert!(
        reason.contains(&address) && reason.contains("refused"),
        "{reason}"
    );
}
