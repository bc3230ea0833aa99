//! Measures one work in rounds, in each of which every entrant runs once.

use std::io::{self, IsTerminal as _};

use crate::brokers::cluster::Cluster;
use crate::jobs::case::Case;
use crate::jobs::entrant::Entrant;
use crate::jobs::job::Job;
use crate::jobs::work::Work;
use crate::measure::metric::Metric;
use crate::measure::sample::Sample;
use crate::report::results::Results;
use crate::runner::child;
use crate::runner::clusters::Clusters;
use crate::runner::instructions;
use crate::runner::options::Options;
use crate::runner::order;
use crate::tables::columns;

/// Measures all rounds of one work.
pub(crate) fn measure(options: &Options, work: Work, entrants: &[Entrant]) -> Results {
    let mut clusters = Clusters::open(&options.cluster, work, entrants);
    let jobs: Vec<_> = entrants
        .iter()
        .map(|entrant| {
            let cluster = clusters.of(&entrant.case);
            entrant.job(cluster.bootstrap_servers(), &cluster.prefix)
        })
        .collect();
    let mut results = Results::new(work, entrants);
    for round in 0..options.rounds(work) {
        for group in order::neighbours(work, entrants) {
            for index in order::rotated(group, round) {
                let Entrant { contender, case } = entrants[index];
                show(&format!("{work}, round {}: {contender}, {case}", round + 1));
                let cluster = clusters.of(&case);
                results.push(index, sample(&entrants[index], &jobs[index], cluster));
            }
        }
        results.add_rss_above_c_loop();
    }
    if !options.smoke && columns::metrics(work).contains(&Metric::AllocationsPerMessage) {
        for (index, job) in jobs.iter().enumerate() {
            show(&format!("{work}, allocations: {}", job.contender));
            let per_message = per_message(job, |job| {
                child::run(job).get(Metric::Allocations).unwrap_or(f64::NAN)
            });
            results.add_to_all(index, Metric::AllocationsPerMessage, per_message);
        }
    }
    show("");
    results
}

/// Measures one run, and the load of the broker during it.
fn sample(entrant: &Entrant, job: &Job, cluster: &mut Cluster) -> Sample {
    let case = entrant.case;
    if case.work == Work::Instructions {
        let instructions = per_message(job, instructions::count);
        return Sample::from([(Metric::Instructions, instructions)]);
    }
    let before = cluster.cpu_seconds();
    let mut sample = child::run(job);
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

/// Returns what each message adds to `measured`.
///
/// It is the difference of two runs, so that what happens once cancels out.
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

/// Shows `what` on a terminal, in place of what was shown before.
fn show(what: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r{what:80}\r");
    }
}
