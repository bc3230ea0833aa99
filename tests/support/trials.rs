//! Tests on a real cluster, for libtest-mimic. Without a cluster they show as ignored.

use std::sync::{PoisonError, RwLock};

use libtest_mimic::Trial;
use tokio::runtime::{Builder, Runtime};

use super::kafka::Cluster;

/// A test that stops nodes must not run beside others of its binary.
static NODES: RwLock<()> = RwLock::new(());

/// The kind of a test that stops nodes.
const ALONE: &str = "alone";

/// Puts the tests that run alone behind the others, which so run beside each other.
pub fn alone_last(mut trials: Vec<Trial>) -> Vec<Trial> {
    trials.sort_by_key(|trial| trial.kind() == ALONE);
    trials
}

/// A module with such tests. Its name precedes theirs, as in the names of other Rust tests.
#[derive(Clone, Copy, Debug)]
pub struct Module(pub &'static str);

impl Module {
    /// A test that leaves the nodes alone, on a runtime with one thread.
    pub fn trial<F: Future<Output = ()>>(
        self,
        name: &str,
        test: impl FnOnce(Cluster) -> F + Send + 'static,
    ) -> Trial {
        self.trial_on(one_thread, name, test)
    }

    /// A test that leaves the nodes alone, on that runtime.
    pub fn trial_on<F: Future<Output = ()>>(
        self,
        runtime: fn() -> Runtime,
        name: &str,
        test: impl FnOnce(Cluster) -> F + Send + 'static,
    ) -> Trial {
        self.blocking_trial(name, move |cluster| runtime().block_on(test(cluster)))
    }

    /// A test that leaves the nodes alone, and has no runtime yet.
    pub fn blocking_trial(self, name: &str, test: impl FnOnce(Cluster) + Send + 'static) -> Trial {
        let nodes = || NODES.read().unwrap_or_else(PoisonError::into_inner);
        self.holding(nodes, name, test)
            .with_ignored_flag(!Cluster::is_there())
    }

    /// A test that stops, kills or pauses nodes, on that runtime.
    pub fn trial_alone<F: Future<Output = ()>>(
        self,
        runtime: fn() -> Runtime,
        name: &str,
        test: impl FnOnce(Cluster) -> F + Send + 'static,
    ) -> Trial {
        self.blocking_trial_alone(name, move |cluster| runtime().block_on(test(cluster)))
    }

    /// A test that stops, kills or pauses nodes, and has no runtime yet.
    pub fn blocking_trial_alone(
        self,
        name: &str,
        test: impl FnOnce(Cluster) + Send + 'static,
    ) -> Trial {
        let nodes = || NODES.write().unwrap_or_else(PoisonError::into_inner);
        self.holding(nodes, name, test)
            .with_kind(ALONE)
            .with_ignored_flag(!Cluster::has_nodes_to_kill())
    }

    /// A test that holds this guard of the nodes while it runs.
    fn holding<G: 'static>(
        self,
        nodes: fn() -> G,
        name: &str,
        test: impl FnOnce(Cluster) + Send + 'static,
    ) -> Trial {
        Trial::test(format!("{}::{name}", self.0), move || {
            let _nodes = nodes();
            test(Cluster::from_env());
            Ok(())
        })
    }
}

pub fn one_thread() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

pub fn many_threads() -> Runtime {
    Runtime::new().expect("a runtime")
}
