//! Counts instructions with valgrind's cachegrind.
//!
//! It runs one thread at a time, so that counts do not depend on what else the machine does. They
//! still vary a little: fewer messages per request or wake-up mean more instructions per message.
//! The least count of several runs is the result.

use std::process::Command;

use crate::jobs::job::Job;

/// Returns true if this machine has valgrind.
pub(crate) fn available() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

const RUNS: usize = 3;

/// Returns the instructions that all threads of the job's process execute.
///
/// It is the least count of several runs.
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
