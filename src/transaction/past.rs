//! The clients of a producer with transactions that were replaced, and their numbers.

use std::sync::{Arc, Mutex};

use crate::client::ProducerContext;
use crate::driver::Shared;
use crate::sync::lock;
use crate::values::Metrics;

/// The clients that were replaced.
#[derive(Debug)]
pub(super) struct Past<C: ProducerContext>(Mutex<State<C>>);

#[derive(Debug)]
struct State<C: ProducerContext> {
    /// Those that have something in flight.
    ending: Vec<Arc<Shared<C>>>,
    /// What the others have done.
    ended: Metrics,
}

impl<C: ProducerContext> Past<C> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            ending: Vec::new(),
            ended: Metrics::default(),
        }))
    }

    /// Adds a client that is replaced.
    pub(super) fn push(&self, client: Arc<Shared<C>>) {
        let ended = {
            let mut state = lock(&self.0);
            state.ending.push(client);
            state.collect()
        };
        drop(ended);
    }

    pub(super) fn add_to(&self, metrics: &mut Metrics) {
        let ended = {
            let mut state = lock(&self.0);
            let ended = state.collect();
            metrics.merge_past(&state.ended);
            for client in &state.ending {
                metrics.merge_past(&client.metrics());
            }
            ended
        };
        drop(ended);
    }

    /// Returns how often these clients have renewed their epoch.
    pub(super) fn renewals(&self) -> u64 {
        let state = lock(&self.0);
        let ending = state.ending.iter().map(|client| client.doubts.renewals());
        state.ended.renewals + ending.sum::<u64>()
    }
}

impl<C: ProducerContext> State<C> {
    /// Keeps the numbers of clients that have ended, instead of the clients. Returns these.
    #[must_use = "they may be the last to hold foreign values, which must not drop under the lock"]
    fn collect(&mut self) -> Vec<Arc<Shared<C>>> {
        let all = std::mem::take(&mut self.ending).into_iter();
        let (ended, ending) = all.partition(|client| client.has_reported());
        self.ending = ending;
        for client in &ended {
            let client: &Arc<Shared<C>> = client;
            self.ended.merge_past(&client.metrics());
        }
        ended
    }
}
