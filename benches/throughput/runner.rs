//! Runs contenders in turn, each in a fresh process.

use std::io::{self, IsTerminal as _};
use std::process::{Command, ExitCode, Stdio};

use super::broker::{self, Cluster};
use super::cli::Options;
use super::contender::Entrant;
use super::instructions;
use super::job::{Case, Job};
use super::report::{self, Entry};
use super::results::Results;
use super::sample::{Metric, Sample};
use super::work::Work;

/// A mock broker busier than this, in CPU seconds per second, may have been the limit.
const BUSY: f64 = 0.6;

/// Runs what the options ask for; fails if a message did, or a guard.
pub(crate) fn run(options: &Options) -> ExitCode {
    let mut entries = Vec::new();
    let mut failed = false;
    for work in options.works() {
        let entrants = options.entrants(work);
        if entrants.is_empty() || !is_possible(options, work) {
            continue;
        }
        let results = measure(options, work, &entrants);
        let compared = results.entries(options.goals());
        println!("\n{}", results.tables());
        let what = if options.short { "guard" } else { "goal" };
        let goals = compared.iter().filter(|entry| entry.goal.is_some());
        goals.for_each(|entry| println!("{what} {entry}"));
        if let Some(load) = results
            .highest(Metric::BrokerLoad)
            .filter(|&load| load > BUSY && work.metrics().contains(&Metric::Rate))
        {
            println!("The broker used up to {load:.2} of a core: it may have been the limit.");
        }
        if results
            .highest(Metric::Errors)
            .is_some_and(|errors| errors > 0.0)
        {
            eprintln!("{work}: messages failed");
            failed = true;
        }
        entries.extend(compared);
    }
    if !options.smoke {
        report::write(&entries);
        failed |= !summarize(options, &entries);
    }
    ExitCode::from(u8::from(failed))
}

/// Says what was missed; false if it was a guard.
fn summarize(options: &Options, entries: &[Entry]) -> bool {
    let of = |met| {
        entries
            .iter()
            .filter(move |entry| entry.is_met() == Some(met))
    };
    println!("{} met, {} missed", of(true).count(), of(false).count());
    if options.short {
        of(false).for_each(|entry| eprintln!("guard {entry}"));
    }
    !options.short || of(false).count() == 0
}

/// Whether this machine has what the work needs; says what is missing.
fn is_possible(options: &Options, work: Work) -> bool {
    match work {
        Work::Instructions if !instructions::available() => {
            eprintln!("{work}: no valgrind here");
            false
        }
        _ if work.needs_kafka() && broker::given(options, work).is_none() => {
            eprintln!("{work}: no cluster here; tests/with-kafka has one");
            false
        }
        _ => true,
    }
}

/// All rounds of one work.
fn measure(options: &Options, work: Work, entrants: &[Entrant]) -> Results {
    let mut clusters = Clusters::open(options, work, entrants);
    let jobs: Vec<_> = entrants
        .iter()
        .map(|entrant| {
            let cluster = clusters.of(&entrant.case);
            entrant.job(cluster.bootstrap_servers(), &cluster.prefix)
        })
        .collect();
    let mut results = Results::new(work, entrants);
    for round in 0..options.rounds(work) {
        for group in neighbours(work, entrants) {
            for index in rotated(group, round) {
                let Entrant { contender, case } = entrants[index];
                progress(&format!("{work}, round {}: {contender}, {case}", round + 1));
                let cluster = clusters.of(&case);
                results.push(index, sample(&entrants[index], &jobs[index], cluster));
            }
        }
        results.add_rss_above_c_loop();
    }
    if !options.smoke && work.metrics().contains(&Metric::AllocationsPerMessage) {
        for (index, job) in jobs.iter().enumerate() {
            progress(&format!("{work}, allocations: {}", job.contender));
            let per_message = per_message(job, |job| {
                run_job(job).get(Metric::Allocations).unwrap_or(f64::NAN)
            });
            results.add_to_all(index, Metric::AllocationsPerMessage, per_message);
        }
    }
    progress("");
    results
}

/// The entrants, by index, in groups whose members are compared and should follow each other: those of a case, or all, by contender.
fn neighbours(work: Work, entrants: &[Entrant]) -> Vec<Vec<usize>> {
    let indexes = || (0..entrants.len()).collect::<Vec<_>>();
    if work.compares_cases() {
        let first = |entrant: &Entrant| {
            entrants
                .iter()
                .position(|other| other.contender == entrant.contender)
        };
        let mut all = indexes();
        all.sort_by_key(|&index| first(&entrants[index]));
        vec![all]
    } else {
        indexes()
            .chunk_by(|&a, &b| entrants[a].case == entrants[b].case)
            .map(<[_]>::to_vec)
            .collect()
    }
}

/// Each round starts one later, and every other round goes backwards.
fn rotated(mut order: Vec<usize>, round: usize) -> Vec<usize> {
    let start = round % order.len();
    order.rotate_left(start);
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// A cluster for each round trip.
struct Clusters(Vec<(u64, Cluster)>);

impl Clusters {
    fn open(options: &Options, work: Work, entrants: &[Entrant]) -> Self {
        let topics = entrants.iter().map(|entrant| entrant.case.topics).max();
        let topics = topics.unwrap_or(1);
        let mut round_trips: Vec<_> = entrants
            .iter()
            .map(|entrant| entrant.case.round_trip_ms)
            .collect();
        round_trips.dedup();
        let open = |round_trip| {
            let cluster = Cluster::open(options, work, topics, round_trip);
            (round_trip, cluster)
        };
        Self(round_trips.into_iter().map(open).collect())
    }

    fn of(&mut self, case: &Case) -> &mut Cluster {
        let mut all = self.0.iter_mut();
        let found = all.find(|(round_trip, _)| *round_trip == case.round_trip_ms);
        &mut found.expect("each round trip has a cluster").1
    }
}

/// One run, and what the broker did meanwhile.
fn sample(entrant: &Entrant, job: &Job, cluster: &mut Cluster) -> Sample {
    let case = entrant.case;
    if case.work == Work::Instructions {
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
    if case.work == Work::Full {
        let allowed = (case.window * 1000) as f64 / case.round_trip_ms as f64;
        let rate = sample.get(Metric::Rate);
        sample.extend(rate.map(|rate| (Metric::ShareOfAllowed, rate / allowed)));
    }
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
        job.case.work
    );
    String::from_utf8_lossy(&output.stdout)
        .parse()
        .expect("a run prints a sample")
}

/// What each message adds to `measured`: the difference of two runs, so that whatever happens once cancels.
fn per_message(job: &Job, measured: impl Fn(&Job) -> f64) -> f64 {
    let with = |messages| {
        let case = Case {
            messages,
            ..job.case
        };
        measured(&Job {
            case,
            ..job.clone()
        })
    };
    let few = job.case.messages.div_ceil(4);
    let many = 3 * few;
    (with(many) - with(few)) / (many - few) as f64
}

/// Shows on a terminal what is being done.
fn progress(what: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r{what:80}\r");
    }
}
