//! Futures that are dropped: at every point where they can be polled, with an empty and a full
//! queue, nothing is lost and no capacity with it.

use std::future::Future;

use futures::future::join_all;
use tokio_rdkafka::{MockCluster, Producer, ProducerRecord, PurgeConfig};

use crate::support::mock::{
    Counting, DEADLINE, Drop, assert_capacity_is_whole, cluster, config, poll_then_drop, until,
};

const CAPACITY: usize = 3;

/// More polls than any future here takes; see [`at_every_poll_point`].
const TOO_MANY: usize = 50;

struct Setting {
    cluster: MockCluster,
    producer: Producer<Counting>,
    is_full: bool,
    /// How many messages have been enqueued beside the futures that are dropped.
    fillers: usize,
}

impl Setting {
    fn new(is_full: bool) -> Self {
        let cluster = cluster("t", 1);
        let mut config = config(&cluster);
        config.set("queue.buffering.max.messages", CAPACITY.to_string());
        let producer = Producer::builder(&config).context(Counting::default());
        Self {
            producer: producer.create().unwrap(),
            cluster,
            is_full,
            fillers: 0,
        }
    }

    /// Fills the queue, if it is to be full, with messages that are delivered after a while.
    fn fill(&mut self) {
        if self.is_full {
            for _ in 0..CAPACITY {
                let filler = self.producer.try_enqueue_detached(record(0));
                filler.unwrap();
                self.fillers += 1;
            }
        }
    }

    /// Waits until nothing is in flight; nobody is left in the wait queue then, and all capacity is
    /// released.
    async fn settle(&self) {
        until(|| self.producer.in_flight_count() == 0).await;
        assert_capacity_is_whole(&self.producer, CAPACITY);
    }

    /// What was enqueued, what the callbacks saw and what arrived are the same.
    async fn finish(self, expected: std::ops::RangeInclusive<usize>) {
        let seen = self.producer.context().seen();
        assert_eq!(self.producer.context().failed(), 0);
        let arrived = self.cluster.records("t").await.unwrap().len();
        assert_eq!(seen.len(), arrived);
        let (fewest, most) = (*expected.start(), *expected.end());
        let others = arrived - self.fillers;
        assert!(
            (fewest..=most).contains(&others),
            "{others} of {fewest} to {most}"
        );
        let report = self.producer.close().await;
        assert_eq!((report.delivered, report.failed), (0, 0));
    }
}

fn record(opaque: usize) -> ProducerRecord<'static, usize> {
    ProducerRecord::with_opaque_to("t", opaque).payload("v")
}

/// Drops a future after 0, 1, 2, … polls, twice each, until it is done; how many tries that took.
async fn at_every_poll_point<T>(
    setting: &mut Setting,
    future: impl AsyncFn(Producer<Counting>) -> T,
) -> usize {
    for polls in 0..TOO_MANY {
        for (tries, how) in (1..).zip([Drop::WhenWoken, Drop::AtOnce]) {
            setting.fill();
            let output = poll_then_drop(future(setting.producer.clone()), polls, how).await;
            let is_done = output.is_some();
            drop(output);
            setting.settle().await;
            if is_done {
                return 2 * polls + tries;
            }
        }
    }
    panic!("not done after {TOO_MANY} polls");
}

/// Runs `future` in an empty and a full queue, and checks how many records of it were sent: one for
/// each try, of which there are two with as many polls, but for those with fewer polls than
/// `unsent`, after which it has not been enqueued.
async fn sends<T>(future: impl AsyncFn(Producer<Counting>) -> T, unsent_if_full: usize) {
    for (is_full, unsent) in [(false, 1), (true, unsent_if_full)] {
        let mut setting = Setting::new(is_full);
        let tries = at_every_poll_point(&mut setting, &future).await;
        setting.finish(1..=tries - 2 * unsent).await;
    }
}

#[tokio::test]
async fn a_send_dropped_at_any_point_is_sent_whole_or_not_at_all() {
    sends(async |producer| producer.send(record(1)).await.unwrap(), 2).await;
}

#[tokio::test]
async fn an_enqueue_dropped_at_any_point_is_sent_whole_or_not_at_all() {
    sends(
        async |producer| producer.enqueue(record(1)).await.unwrap(),
        2,
    )
    .await;
}

#[tokio::test]
async fn a_detached_enqueue_dropped_at_any_point_is_sent_whole_or_not_at_all() {
    sends(
        async |producer| producer.enqueue_detached(record(1)).await.unwrap(),
        2,
    )
    .await;
}

#[tokio::test]
async fn a_timed_send_dropped_at_any_point_is_sent_whole_or_not_at_all() {
    sends(
        async |producer| producer.send_timeout(record(1), DEADLINE).await.unwrap(),
        2,
    )
    .await;
}

/// Runs `future`, which sends nothing, in an empty and a full queue.
async fn sends_nothing<T>(future: impl AsyncFn(Producer<Counting>) -> T) {
    for is_full in [false, true] {
        let mut setting = Setting::new(is_full);
        at_every_poll_point(&mut setting, &future).await;
        setting.finish(0..=0).await;
    }
}

#[tokio::test]
async fn a_reserve_dropped_at_any_point_releases_its_capacity() {
    sends_nothing(async |producer| drop(producer.reserve().await.unwrap())).await;
    sends_nothing(async |producer| drop(producer.reserve_owned().await.unwrap())).await;
    sends_nothing(async |producer| drop(producer.reserve_bytes(10).await.unwrap())).await;
    sends_nothing(async |mut producer| {
        drop(
            std::future::poll_fn(|cx| producer.poll_reserve(cx))
                .await
                .unwrap(),
        );
    })
    .await;
}

#[tokio::test]
async fn a_flush_dropped_at_any_point_loses_nothing() {
    sends_nothing(async |producer| producer.flush().await.unwrap()).await;
    sends_nothing(async |producer| producer.flush_timeout(DEADLINE).await.unwrap()).await;
}

#[tokio::test]
async fn those_behind_a_dropped_waiter_are_let_in() {
    let setting = Setting::new(true);
    for polls in 0..4 {
        let mut fillers = Vec::new();
        for _ in 0..CAPACITY {
            fillers.push(setting.producer.try_enqueue(record(0)).unwrap());
        }
        // The first is dropped while the others wait behind it, or after it was let in.
        let mut behind: Vec<_> = Vec::new();
        let mut first = Box::pin(poll_then_drop(
            setting.producer.send(record(1)),
            polls,
            Drop::WhenWoken,
        ));
        let first_polled = futures::poll!(&mut first);
        for _ in 0..2 * CAPACITY {
            behind.push(setting.producer.send(record(2)));
        }
        if first_polled.is_pending() {
            tokio::join!(first, async { deliver_all(behind).await });
        } else {
            deliver_all(behind).await;
        }
        for filler in fillers {
            filler.await.unwrap();
        }
        setting.settle().await;
    }
}

async fn deliver_all<F, T, E: std::fmt::Debug>(sends: Vec<F>)
where
    F: Future<Output = Result<T, E>>,
{
    for delivery in join_all(sends).await {
        delivery.unwrap();
    }
}

#[tokio::test]
async fn a_purge_dropped_at_any_point_resolves_all_the_same() {
    for polls in 0..TOO_MANY {
        let cluster = cluster("t", 1);
        cluster.broker_down(1).unwrap();
        let producer: Producer = config(&cluster).create().unwrap();
        let deliveries: Vec<_> = (0..10)
            .map(|_| producer.try_enqueue(ProducerRecord::to("t").payload("v")))
            .map(Result::unwrap)
            .collect();
        let everything = PurgeConfig::default().queue().inflight();
        let purged = poll_then_drop(producer.purge(everything), polls, Drop::AtOnce).await;
        if polls == 0 {
            // It was never begun.
            assert_eq!(producer.in_flight_count(), 10);
            producer.purge(everything).await;
        }
        for result in join_all(deliveries).await {
            result.unwrap_err();
        }
        if let Some(purged) = purged {
            assert_eq!(purged, 10);
            return;
        }
    }
    panic!("not done after {TOO_MANY} polls");
}

#[tokio::test]
async fn a_close_dropped_at_any_point_goes_on() {
    for is_full in [false, true] {
        for polls in 0..TOO_MANY {
            let mut setting = Setting::new(is_full);
            setting.fill();
            let delivery = setting.producer.clone();
            let delivery = delivery.enqueue(record(1)).await.unwrap();
            let closed = poll_then_drop(setting.producer.close(), polls, Drop::AtOnce).await;
            assert_eq!(setting.producer.is_closed(), polls > 0);
            delivery.await.unwrap();
            let is_done = closed.is_some();
            let report = match closed {
                Some(report) => report,
                None => setting.producer.close().await,
            };
            assert_eq!((report.failed, report.undelivered), (0, 0));
            let seen = setting.producer.context().seen().len();
            assert_eq!(seen, setting.fillers + 1);
            assert_eq!(setting.cluster.records("t").await.unwrap().len(), seen);
            if is_done {
                break;
            }
        }
    }
}
