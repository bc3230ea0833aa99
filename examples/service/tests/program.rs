//! The whole program, over HTTP: it is killed under load and loses nothing.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio_rdkafka::MockCluster;

/// The program, and what it prints.
struct Running {
    child: Child,
    /// What it prints must be read, or it would block.
    printed: Option<JoinHandle<Vec<String>>>,
    address: String,
}

impl Running {
    fn start(cluster: &MockCluster) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_service"))
            .args(["--listen", "127.0.0.1:0", "--brokers"])
            .arg(cluster.bootstrap_servers())
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut lines = stdout.lines();
        let address = lines.by_ref().find_map(|line| {
            let line = line.expect("text");
            let (_, rest) = line.split_once("listening address=")?;
            Some(rest.trim().to_owned())
        });
        Self {
            child,
            printed: Some(thread::spawn(|| lines.map_while(Result::ok).collect())),
            address: address.expect("an address"),
        }
    }

    /// Sends SIGTERM.
    fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.expect("a shell").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_it_loses_nothing_that_it_accepted() {
    let cluster = MockCluster::new(3).unwrap();
    cluster.create_topic("events", 3, 3).unwrap();
    let mut running = Running::start(&cluster);
    let (accepted, is_over) = (Mutex::new(BTreeSet::new()), AtomicBool::new(false));
    let number = AtomicUsize::new(0);
    let address = running.address.clone();
    let url = |path: &str| format!("http://{address}{path}");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let agent = agent();
                while !is_over.load(Ordering::SeqCst) {
                    let event = number.fetch_add(1, Ordering::SeqCst).to_string();
                    let Ok(response) = agent.post(url("/events")).send(&event) else {
                        // It has stopped to listen.
                        continue;
                    };
                    match response.status().as_u16() {
                        202 => {
                            accepted.lock().unwrap().insert(event);
                        }
                        status => assert_eq!(status, 503),
                    }
                }
            });
        }
        while accepted.lock().unwrap().len() < 300 {
            thread::yield_now();
        }
        let mut ready = agent().get(url("/ready")).call().unwrap();
        assert_eq!(ready.status().as_u16(), 200);
        assert_eq!(ready.body_mut().read_to_string().unwrap(), "up\n");
        let mut metrics = String::new();
        while !metrics.contains("messaging_client_sent_messages") {
            let mut response = agent().get(url("/metrics")).call().unwrap();
            metrics = response.body_mut().read_to_string().unwrap();
        }
        for line in [
            "# HELP messaging_client_sent_messages ",
            "messaging_client_sent_messages{client=\"service\",topic=\"events\"} ",
            "messaging_client_operation_duration_bucket{client=\"service\",topic=\"events\",le=\"0.001\"}",
            "kafka_producer_in_flight_messages{client=\"service\"} ",
        ] {
            assert!(metrics.contains(line), "{line}\n{metrics}");
        }
        if std::env::var_os("SHOW_METRICS").is_some() {
            println!("{metrics}");
        }
        running.terminate();
        let status = running.child.wait().unwrap();
        is_over.store(true, Ordering::SeqCst);
        assert!(status.success(), "{status}");
    });
    let printed = running.printed.take().unwrap().join().unwrap().join("\n");
    assert!(printed.contains("lost=0"), "{printed}");
    assert!(printed.contains("POST /events"), "{printed}");
    let accepted = accepted.into_inner().unwrap();
    let records = cluster.records("events").await.unwrap();
    let arrived = records
        .iter()
        .map(|it| String::from_utf8(it.payload().unwrap().to_vec()));
    let arrived: BTreeSet<_> = arrived.map(Result::unwrap).collect();
    let lost: Vec<_> = accepted.difference(&arrived).collect();
    assert!(lost.is_empty(), "{lost:?}");
}
