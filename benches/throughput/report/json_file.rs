//! The report as a JSON file.

use std::path::PathBuf;

use crate::report::comparison::Comparison;

/// Writes `target/bench-report.json`, and overwrites that of an earlier run.
pub(crate) fn write(comparisons: &[Comparison]) {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let file = target.join("bench-report.json");
    let objects: Vec<_> = comparisons.iter().map(Comparison::to_json).collect();
    let json = format!("[\n  {}\n]\n", objects.join(",\n  "));
    match std::fs::create_dir_all(&target).and_then(|()| std::fs::write(&file, json)) {
        Ok(()) => println!("\nReport: {}", file.display()),
        Err(error) => eprintln!("{}: {error}", file.display()),
    }
}
