//! Runs all works that the options ask for, prints their results and writes the report.

use std::fs;
use std::process::ExitCode;

use crate::jobs::work::Work;
use crate::measure::metric::Metric;
use crate::report::comparison::Comparison;
use crate::report::comparisons;
use crate::report::json_file;
use crate::report::picture;
use crate::report::table;
use crate::runner::instructions;
use crate::runner::options::Options;
use crate::runner::rounds;
use crate::tables::columns;

/// A mock broker with a higher load, in CPU seconds per second, may have been the limit.
const BUSY: f64 = 0.6;

/// Runs what the options ask for. Fails if a message failed, or if a guard is missed.
pub(crate) fn run(options: &Options) -> ExitCode {
    let mut all = Vec::new();
    let mut failed = false;
    let mut picture = options.picture.as_ref();
    for work in options.works() {
        let entrants = options.entrants(work);
        if entrants.is_empty() || !is_possible(options, work) {
            continue;
        }
        let results = rounds::measure(options, work, &entrants);
        let compared = comparisons::of(&results, options.goals());
        println!("\n{}", table::tables(&results));
        if let Some((file, svg)) = picture.zip(picture::draw(&results)) {
            picture = None;
            if let Err(error) = fs::write(file, svg) {
                eprintln!("{}: {error}", file.display());
                failed = true;
            }
        }
        let what = if options.short { "guard" } else { "goal" };
        let goals = compared
            .iter()
            .filter(|comparison| comparison.goal.is_some());
        goals.for_each(|comparison| println!("{what} {comparison}"));
        if let Some(load) = results
            .highest(Metric::BrokerLoad)
            .filter(|&load| load > BUSY && columns::metrics(work).contains(&Metric::Rate))
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
        all.extend(compared);
    }
    if !options.smoke {
        json_file::write(&all);
        failed |= !summarize(options, &all);
    }
    ExitCode::from(u8::from(failed))
}

/// Prints what was missed. Returns false if a guard was missed.
fn summarize(options: &Options, comparisons: &[Comparison]) -> bool {
    let of = |met| {
        comparisons
            .iter()
            .filter(move |comparison| comparison.is_met() == Some(met))
    };
    println!("{} met, {} missed", of(true).count(), of(false).count());
    if options.short {
        of(false).for_each(|comparison| eprintln!("guard {comparison}"));
    }
    !options.short || of(false).count() == 0
}

/// Returns true if this machine has what the work needs. Prints what is missing.
fn is_possible(options: &Options, work: Work) -> bool {
    match work {
        Work::Instructions if !instructions::available() => {
            eprintln!("{work}: no valgrind here");
            false
        }
        _ if work.needs_kafka() && options.cluster.existing(work).is_none() => {
            eprintln!("{work}: no cluster here; tests/with-kafka has one");
            false
        }
        _ => true,
    }
}
