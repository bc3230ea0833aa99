//! Runs contenders in turn, each in a fresh process.

use std::io::{self, IsTerminal as _};
use std::process::{Command, ExitCode, Stdio};

use super::broker::{Cluster, TOPIC};
use super::cli::Options;
use super::contender::{Contender, Kind};
use super::instructions;
use super::job::{Job, Work};
use super::report;
use super::results::Results;
use super::sample::{Metric, Sample};

/// A mock broker busier than this, in CPU seconds per second, may have been the limit.
const BUSY: f64 = 0.6;

/// Runs what the options ask for; fails if a message did.
pub(crate) fn run(options: &Options) -> ExitCode {
    let mut entries = Vec::new();
    let mut failed = false;
    for &work in options.works() {
        let Some(results) = measure(options, work) else {
            continue;
        };
        let compared = results.entries(options.size);
        println!("\n{}", results.table());
        report::print_goals(&compared);
        failed |= results
            .highest(Metric::Errors)
            .is_some_and(|errors| errors > 0.0);
        if let Some(load) = results
            .highest(Metric::BrokerLoad)
            .filter(|&load| load > BUSY)
        {
            println!("The broker used up to {load:.2} of a core: it may have been the limit.");
        }
        entries.extend(compared);
    }
    if !options.smoke {
        report::write(&entries);
    }
    if failed {
        eprintln!("messages failed");
    }
    ExitCode::from(u8::from(failed))
}

/// All rounds of one work; `None` if this machine cannot do it.
fn measure(options: &Options, work: Work) -> Option<Results> {
    if work == Work::Instructions && !instructions::available() {
        eprintln!("instructions: no valgrind here");
        return None;
    }
    let mut contenders = Contender::all(work);
    contenders
        .retain(|contender| options.contender.is_empty() || options.contender.contains(contender));
    let mut cluster = Cluster::open(options, work);
    let jobs: Vec<_> = contenders
        .iter()
        .map(|&contender| job(options, work, contender, &cluster))
        .collect();
    let mut results = Results::new(work, &contenders);
    for round in 0..options.rounds(work) {
        // Each round starts one contender later, and every other round goes backwards.
        let mut order: Vec<_> = (0..jobs.len()).collect();
        order.rotate_left(round % jobs.len().max(1));
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            progress(&format!(
                "{work}, round {}: {}",
                round + 1,
                contenders[index]
            ));
            results.push(index, sample(work, &jobs[index], &mut cluster));
        }
        results.add_rss_above_c_loop();
    }
    if work.metrics().contains(&Metric::AllocationsPerMessage) {
        for (index, job) in jobs.iter().enumerate() {
            progress(&format!("{work}, allocations: {}", contenders[index]));
            let per_message = per_message(job, |job| {
                run_job(job).get(Metric::Allocations).unwrap_or(f64::NAN)
            });
            results.add_to_all(index, Metric::AllocationsPerMessage, per_message);
        }
    }
    progress("");
    Some(results)
}

fn job(options: &Options, work: Work, contender: Contender, cluster: &Cluster) -> Job {
    let messages = options.messages(work);
    let window = options.window(work);
    let (work, window) = match (work, contender.kind) {
        (Work::Instructions, Kind::OursDetached) => (Work::Detached, window),
        (Work::Instructions, _) => (Work::Window, window),
        _ => (work, window),
    };
    Job {
        contender,
        work,
        brokers: cluster.bootstrap_servers().to_owned(),
        topic: TOPIC.to_owned(),
        messages,
        size: options.size,
        window,
        linger: options.linger,
        idle_ms: options.idle_ms(),
    }
}

/// One run, and what the broker did meanwhile.
fn sample(work: Work, job: &Job, cluster: &mut Cluster) -> Sample {
    if work == Work::Instructions {
        let instructions = per_message(job, instructions::count);
        return Sample::from([(Metric::Instructions, instructions)]);
    }
    let before = cluster.cpu_seconds();
    let mut sample = run_job(job);
    let broker = cluster
        .cpu_seconds()
        .zip(before)
        .map(|(after, before)| after - before);
    let seconds = sample.get(Metric::Seconds);
    sample.extend(
        broker
            .zip(seconds)
            .map(|(cpu, seconds)| (Metric::BrokerLoad, cpu / seconds)),
    );
    sample
}

/// Does a job in a process of its own.
fn run_job(job: &Job) -> Sample {
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
        job.work
    );
    String::from_utf8_lossy(&output.stdout)
        .parse()
        .expect("a run prints a sample")
}

/// What each message adds to `measured`: the difference of two runs, so that whatever happens once cancels.
fn per_message(job: &Job, measured: impl Fn(&Job) -> f64) -> f64 {
    let few = Job {
        messages: job.messages.div_ceil(4),
        ..job.clone()
    };
    let many = Job {
        messages: 3 * few.messages,
        ..job.clone()
    };
    (measured(&many) - measured(&few)) / (many.messages - few.messages) as f64
}

/// Shows on a terminal what is being done.
fn progress(what: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r{what:60}\r");
    }
}
