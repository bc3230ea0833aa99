//! Examples as programs: started, killed, run to their end.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
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
pub struct Running {
    child: Child,
    /// Shows what it says, and keeps it.
    said: Option<JoinHandle<Vec<String>>>,
}

impl Running {
    /// Starts it, without its output.
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::null()).spawn();
        Self {
            child: child.expect("the example starts"),
            said: None,
        }
    }

    /// Likewise, but keeps what it says on its standard error, too.
    pub fn start_piped(command: &mut Command) -> Self {
        let mut running = Self::start(command.stderr(Stdio::piped()));
        let stderr = BufReader::new(running.child.stderr.take().expect("a pipe"));
        running.said = Some(thread::spawn(move || {
            let lines = stderr.lines().map(|line| line.expect("text"));
            lines.inspect(|line| eprintln!("{line}")).collect()
        }));
        running
    }

    pub fn assert_runs(&mut self) {
        let ended = self.ended();
        assert!(ended.is_none(), "it has ended by itself: {ended:?}");
    }

    /// How it has ended by itself, if it has, and what it has printed; to be asked once after its
    /// end.
    pub fn ended(&mut self) -> Option<(ExitStatus, Vec<String>)> {
        let status = self.child.try_wait().expect("its status")?;
        let said = self.said.take().map(JoinHandle::join);
        Some((
            status,
            said.map_or(Vec::new(), |said| said.expect("its words")),
        ))
    }

    /// Returns whether it was running.
    pub fn kill(&mut self) -> bool {
        self.child.kill().expect("a kill");
        self.wait().signal() == Some(9)
    }

    /// Sends it the signal of Ctrl-C.
    pub fn interrupt(&self) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-INT", &id]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("its status")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
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
