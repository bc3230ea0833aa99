//! Does a job in a fresh process.

use std::process::{Command, Stdio};

use crate::jobs::job::Job;
use crate::measure::sample::Sample;

/// Does a job in a process of its own.
pub(crate) fn run(job: &Job) -> Sample {
    let executable = std::env::current_exe().expect("this executable has a path");
    let output = Command::new(executable)
        .args(job.to_args())
        .stderr(Stdio::inherit())
        .output();
    let output = output.expect("this executable runs");
    assert!(
        output.status.success(),
        "{} fails at {}",
        job.contender,
        job.case.work
    );
    String::from_utf8_lossy(&output.stdout)
        .parse()
        .expect("a run prints a sample")
}
