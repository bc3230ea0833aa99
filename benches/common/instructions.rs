//! Exact counts: a run under valgrind's cachegrind, whatever else the machine does.

use std::process::Command;

use super::job::Job;

/// Whether there is a valgrind on this machine.
pub(crate) fn available() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Instructions that all threads of the job's process execute.
pub(crate) fn count(job: &Job) -> f64 {
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
