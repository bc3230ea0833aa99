//! Watches whether brokers answer, for those who look at a producer's health.
//!
//! It uses what `ready` does: [`BrokerWaiter`] until a broker is up. After that, [`DownBrokers`] has
//! those that fail, and each of them is asked until it answers. While none fails nothing is asked,
//! and no timer is set.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::watch;

use super::broker_state::Verdict;
use super::down_brokers::DownBrokers;
use super::health_slot::HealthSender;
use super::probe::BrokerWaiter;
use super::shared::Shared;
use crate::client::ProducerContext;
use crate::sync::{Deadline, catch_panic};
use crate::values::{Broker, Health};

/// The least time between two questions to a broker that is down, and how long it may take.
const ROUND: Duration = Duration::from_millis(400);

/// How long the first list of brokers may take.
const FIRST_LIST: Duration = Duration::from_millis(900);

/// What ends a watch.
#[derive(Debug)]
enum Watched {
    /// Look again.
    Changed,
    /// The producer has terminated, or nobody looks any more.
    End,
}

impl<C: ProducerContext> Shared<C> {
    /// Returns a receiver of the health, and what is to be spawned, if nothing watches it yet.
    pub(crate) fn health(
        self: &Arc<Self>,
    ) -> (
        watch::Receiver<Health>,
        Option<impl Future<Output = ()> + Send + use<C>>,
    ) {
        if self.has_reported() {
            // The watch tells the other receivers. Here it could wait for a borrow of the caller's.
            return (watch::channel(Health::Terminated).1, None);
        }
        let mut slot = self.health.get();
        if let Some(sender) = &*slot {
            return (sender.subscribe(), None);
        }
        let known = self.health_without_brokers().unwrap_or_else(|| {
            match self.brokers.is_known_up(self.core.delivered()) {
                true => Health::Up,
                false => Health::Connecting,
            }
        });
        let sender = Arc::new(watch::Sender::new(known));
        let receiver = sender.subscribe();
        *slot = Some(Arc::clone(&sender));
        drop(slot);
        (receiver, Some(self.watch(sender)))
    }

    /// Returns what is to be spawned. If it is dropped, also before it has run, its runtime has
    /// ended, and so has the producer.
    fn watch(self: &Arc<Self>, sender: HealthSender) -> impl Future<Output = ()> + Send + use<C> {
        let shared = Arc::clone(self);
        Watch { shared, sender }.run()
    }

    /// Hands those who look at the health over to a client that replaces this one. Returns what is
    /// to be spawned.
    pub(crate) fn hand_over_health(
        &self,
        successor: &Arc<Self>,
    ) -> Option<impl Future<Output = ()> + Send + use<C>> {
        let sender = self.health.get().take()?;
        self.brokers.notify();
        *successor.health.get() = Some(Arc::clone(&sender));
        Some(successor.watch(sender))
    }

    fn health_without_brokers(&self) -> Option<Health> {
        if self.has_reported() {
            return Some(Health::Terminated);
        }
        self.core.fatal_error().map(Health::Fatal)
    }
}

struct Watch<C: ProducerContext> {
    shared: Arc<Shared<C>>,
    sender: HealthSender,
}

impl<C: ProducerContext> Drop for Watch<C> {
    /// If it still publishes, its task was dropped with the runtime.
    fn drop(&mut self) {
        let own = {
            let mut slot = self.shared.health.get();
            slot.take_if(|it| Arc::ptr_eq(it, &self.sender))
        };
        if own.is_some() {
            self.publish(Health::Terminated);
        }
    }
}

type Round = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<C: ProducerContext> Watch<C> {
    /// Publishes the health until the producer has terminated, or nobody looks any more.
    async fn run(mut self) {
        loop {
            if let Watched::End = self.until_up().await {
                break;
            }
            if let Watched::End = self.while_up().await {
                break;
            }
        }
    }

    fn publish(&self, health: Health) {
        // Its wakers are foreign code.
        let _ = catch_panic(|| {
            self.sender.send_if_modified(|last| {
                let is_new = !last.is_same(&health);
                if is_new {
                    *last = health;
                }
                is_new
            })
        });
    }

    /// Publishes what ends the watch, or what no broker changes. Returns `None` if brokers decide.
    fn look(&self) -> Option<Watched> {
        let Self { shared, sender } = self;
        {
            let mut slot = shared.health.get();
            let is_own = slot.as_ref().is_some_and(|it| Arc::ptr_eq(it, sender));
            if !is_own {
                // Another client publishes, or the producer had closed before.
                return Some(Watched::End);
            }
            if sender.receiver_count() == 0 {
                *slot = None;
                return Some(Watched::End);
            }
        }
        match shared.health_without_brokers()? {
            Health::Terminated => {
                self.publish(Health::Terminated);
                *shared.health.get() = None;
                Some(Watched::End)
            }
            health => {
                self.publish(health);
                Some(Watched::Changed)
            }
        }
    }

    /// Waits for a change, the end, `limit` or the end of a round of questions.
    async fn wait(
        &self,
        changed: impl Future<Output = ()>,
        limit: Option<Duration>,
        round: &mut Option<Round>,
    ) {
        let mut changed = Box::pin(changed);
        let mut ended = Box::pin(self.shared.reported());
        let mut unwatched = Box::pin(self.sender.closed());
        let mut deadline = limit.map(|limit| Box::pin(Deadline::after(limit)));
        poll_fn(|cx| {
            let asked = round
                .as_mut()
                .is_some_and(|it| it.as_mut().poll(cx).is_ready());
            if asked {
                *round = None;
            }
            let is_late = deadline
                .as_mut()
                .is_some_and(|it| it.as_mut().poll(cx).is_ready());
            let is_over = ended.as_mut().poll(cx).is_ready()
                || unwatched.as_mut().poll(cx).is_ready()
                || changed.as_mut().poll(cx).is_ready();
            if asked || is_late || is_over {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }

    /// Waits until a broker is up.
    async fn until_up(&mut self) -> Watched {
        let shared = Arc::clone(&self.shared);
        let since = Instant::now();
        let mut waiter = BrokerWaiter::new(&shared);
        loop {
            let changed = shared.brokers.changed();
            let mut limit = None;
            match self.look() {
                Some(Watched::End) => return Watched::End,
                Some(Watched::Changed) => {}
                None => match waiter.look() {
                    Ok(Verdict::Up) => return Watched::Changed,
                    Ok(_) => match shared.brokers.failing(since) {
                        Ok(Some(reason)) => self.publish(Health::Failing(reason)),
                        Ok(None) => {}
                        Err(left) => limit = left,
                    },
                    // The producer is closing.
                    Err(error) if error.is_closed() => {}
                    Err(reason) => {
                        self.publish(Health::Failing(reason));
                        waiter = BrokerWaiter::new(&shared);
                        // It may fail at once, again and again.
                        limit = Some(ROUND);
                        if shared.core.is_closed() {
                            continue;
                        }
                        let _ = waiter.look();
                    }
                },
            }
            self.wait(changed, limit, &mut None).await;
        }
    }

    /// Watches for brokers that fail, until none is up.
    async fn while_up(&mut self) -> Watched {
        let shared = Arc::clone(&self.shared);
        // What failed before may have come back.
        shared.brokers.down(|down| down.doubt(Instant::now()));
        let mut brokers = list(&shared, None, FIRST_LIST).await;
        let mut round: Option<Round> = None;
        let since = Instant::now();
        let mut is_settled = false;
        loop {
            let changed = shared.brokers.changed();
            let ended = self.look();
            if let Some(Watched::End) = ended {
                return Watched::End;
            }
            let (mut failures, next) = shared.brokers.down(|down| down.failures(Instant::now()));
            for failure in &mut failures {
                failure.address = shared.core.shown(&failure.address);
            }
            if ended.is_none() {
                let reason = match &brokers {
                    Some(brokers) => {
                        let is_down = |it: &Broker| failures.iter().any(|down| down.id == it.id());
                        brokers.iter().all(is_down).then(|| shared.broker_failure())
                    }
                    None => shared.brokers.failing(since).ok(),
                };
                if let Some(reason) = reason {
                    let first = || failures.first().map(|it| it.error.clone());
                    if let Some(reason) = reason.or_else(first) {
                        self.publish(Health::Failing(reason));
                    }
                    return Watched::Changed;
                }
                is_settled |= next.is_none() || since.elapsed() >= ROUND;
                // First all that failed before get the time to answer.
                if is_settled {
                    self.publish(match failures.is_empty() {
                        true => Health::Up,
                        false => Health::Degraded(failures.into()),
                    });
                }
            }
            if round.is_none() && !shared.brokers.down(|down| down.is_empty()) {
                round = Some(Box::pin(ask(Arc::clone(&shared))));
            }
            let had_round = round.is_some();
            self.wait(changed, next, &mut round).await;
            if had_round && round.is_none() && !shared.brokers.down(|down| down.is_empty()) {
                let down = shared.brokers.down(|down| down.ids());
                // One that has left the list and is in it again is up.
                let mut ids = brokers.iter().flatten().map(Broker::id);
                let other = ids.find(|id| !down.contains(id));
                brokers = list(&shared, other, ROUND).await.or(brokers);
            }
        }
    }
}

/// Asks that broker, or any, which brokers the cluster lists.
async fn list<C: ProducerContext>(
    shared: &Arc<Shared<C>>,
    broker: Option<i32>,
    limit: Duration,
) -> Option<Vec<Broker>> {
    let brokers = shared.list_brokers(broker, limit).await?;
    let listed = |down: &mut DownBrokers| down.listed(&brokers, Instant::now());
    shared.brokers.down(listed);
    Some(brokers)
}

/// Asks all brokers that are down whether they answer, for at most [`ROUND`].
async fn ask<C: ProducerContext>(shared: Arc<Shared<C>>) {
    let pause = Deadline::after(ROUND);
    let ids = shared.brokers.down(|down| down.ids());
    let questions = ids.into_iter().map(|id| {
        let shared = &shared;
        async move {
            let answers = shared.list_brokers(Some(id), ROUND).await.is_some();
            if answers {
                shared.brokers.down(|down| down.answered(id));
                shared.brokers.notify();
            }
            answers
        }
    });
    let answers = join_all(questions).await;
    if answers.is_empty() || answers.contains(&false) {
        pause.await;
    }
}
