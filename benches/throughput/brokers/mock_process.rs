//! Starts a mock broker in its own process, and asks for its CPU time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::brokers::mock_broker::MockBroker;

/// The process of a mock broker. Dropping it ends the process.
pub(crate) struct MockProcess {
    child: Child,
    /// `None` after it has been closed.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    bootstrap_servers: String,
}

impl MockProcess {
    /// Starts the process and waits until it serves.
    pub(crate) fn start(broker: &MockBroker) -> Self {
        let executable = std::env::current_exe().expect("this executable has a path");
        let mut child = Command::new(executable)
            .args(broker.to_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this executable runs");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut process = Self {
            child,
            stdin,
            stdout,
            bootstrap_servers: String::new(),
        };
        process.bootstrap_servers = process.read_line();
        process
    }

    /// Returns the address of the broker.
    pub(crate) fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Returns the CPU seconds that the process has used so far.
    pub(crate) fn cpu_seconds(&mut self) -> f64 {
        let stdin = self.stdin.as_mut().expect("open until dropped");
        stdin.write_all(b"\n").expect("the broker runs");
        self.read_line()
            .parse()
            .expect("the broker answers with a number")
    }

    fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the broker runs");
        line.trim().to_owned()
    }
}

impl Drop for MockProcess {
    fn drop(&mut self) {
        self.stdin = None;
        if let Err(error) = self.child.wait() {
            eprintln!("the mock broker: {error}");
        }
    }
}
