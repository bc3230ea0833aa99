//! Examples as programs: started, killed, run to their end.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The example's program, in the folder beside that of this test's, built with these features.
pub fn program(name: &str, features: &str) -> PathBuf {
    let test = env::current_exe().expect("this program");
    let profile = test.ancestors().nth(2).expect("the profile's folder");
    let program = profile.join("examples").join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.rs"));
    let modified = |path| {
        fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    assert!(
        modified(&program) >= modified(&source),
        "the example is not built, or an old one: cargo build --features {features} --example {name}"
    );
    program
}

/// A process of an example, killed at the latest when this is dropped.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts it, without its output.
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::null()).spawn();
        Self(child.expect("the example starts"))
    }

    pub fn assert_runs(&mut self) {
        let status = self.0.try_wait().expect("its status");
        assert!(status.is_none(), "it has ended by itself: {status:?}");
    }

    /// Returns whether it was running.
    pub fn kill(&mut self) -> bool {
        self.0.kill().expect("a kill");
        let status = self.0.wait().expect("its status");
        status.signal() == Some(9)
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.0.wait().expect("its status")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// The moments of kills: the same ones with the same seed.
#[derive(Debug)]
pub struct Random {
    seed: u64,
    number: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { seed, number: 0 }
    }

    pub fn next(&mut self) -> u64 {
        self.number += 1;
        let mut hasher = DefaultHasher::new();
        (self.seed, self.number).hash(&mut hasher);
        hasher.finish()
    }

    /// A pause of less than that.
    pub fn pause(&mut self, limit: Duration) -> Duration {
        Duration::from_micros(self.next() % limit.as_micros() as u64)
    }
}
