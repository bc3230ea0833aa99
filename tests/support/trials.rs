//! Tests with a cluster, for libtest-mimic: without one they show as ignored.

use std::sync::{PoisonError, RwLock};

use libtest_mimic::Trial;
use tokio::runtime::{Builder, Runtime};

use super::Cluster;

/// A test that stops nodes must not run beside others.
static NODES: RwLock<()> = RwLock::new(());

/// A test that leaves the nodes alone, on a runtime with one thread.
pub fn trial<F: Future<Output = ()>>(
    name: &str,
    test: impl FnOnce(Cluster) -> F + Send + 'static,
) -> Trial {
    trial_on(one_thread, name, test)
}

/// The same on that runtime.
pub fn trial_on<F: Future<Output = ()>>(
    runtime: fn() -> Runtime,
    name: &str,
    test: impl FnOnce(Cluster) -> F + Send + 'static,
) -> Trial {
    holding(
        || NODES.read().unwrap_or_else(PoisonError::into_inner),
        runtime,
        name,
        test,
    )
    .with_ignored_flag(!Cluster::is_there())
}

/// A test that stops, kills or pauses nodes.
pub fn trial_alone<F: Future<Output = ()>>(
    runtime: fn() -> Runtime,
    name: &str,
    test: impl FnOnce(Cluster) -> F + Send + 'static,
) -> Trial {
    holding(
        || NODES.write().unwrap_or_else(PoisonError::into_inner),
        runtime,
        name,
        test,
    )
    .with_ignored_flag(!Cluster::has_nodes_to_kill())
}

/// A test that has the nodes in that way.
fn holding<G: 'static, F: Future<Output = ()>>(
    nodes: fn() -> G,
    runtime: fn() -> Runtime,
    name: &str,
    test: impl FnOnce(Cluster) -> F + Send + 'static,
) -> Trial {
    Trial::test(name, move || {
        let _nodes = nodes();
        runtime().block_on(test(Cluster::from_env()));
        Ok(())
    })
}

pub fn one_thread() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

pub fn many_threads() -> Runtime {
    Runtime::new().expect("a runtime")
}
