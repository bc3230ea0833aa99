//! Counts by valgrind's cachegrind, which runs one thread at a time, whatever else the machine does.
//!
//! They are not quite exact: how many messages meet in one request or wake-up is a matter of time, and
//! fewer mean more instructions for each. So of several runs the least counts.

use std::process::Command;

use super::job::Job;

/// Whether there is a valgrind on this machine.
pub(crate) fn available() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

const RUNS: usize = 3;

/// Instructions that all threads of the job's process execute, in the least of several runs.
pub(crate) fn count(job: &Job) -> f64 {
    let runs = (0..RUNS).map(|_| count_once(job));
    runs.fold(f64::INFINITY, f64::min)
}

fn count_once(job: &Job) -> f64 {
    let executable = std::env::current_exe().expect("this executable has a path");
    let output = Command::new("valgrind")
        .args([
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
            "--fair-sched=yes",
        ])
        .arg(executable)
        .args(job.to_args())
        .output()
        .expect("valgrind runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{} fails under valgrind: {log}",
        job.contender
    );
    // ==123== I refs:        1,234,567
    let line = log
        .lines()
        .find_map(|line| line.split_once("refs:"))
        .expect("cachegrind prints the count");
    line.1
        .trim()
        .replace(',', "")
        .parse()
        .expect("the count is a number")
}
