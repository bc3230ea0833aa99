//! Our producer, whose deliveries are awaited: `ours` (`enqueue`, by a topic handle), `ours-by-name`,
//! `ours-bytes` and `ours-send` (`send`).

use std::marker::PhantomData;

use bytes::Bytes;
use tokio_rdkafka::{Delivery, DeliveryFuture, Producer, SendError};

use crate::contenders::address::Address;
use crate::contenders::config;
use crate::jobs::contender::Contender;
use crate::jobs::job::Job;
use crate::measure::sample::Sample;
use crate::works::awaited::{self, Style};
use crate::works::awaited_producer::{AwaitedProducer, Outcome};
use crate::works::runtime::block_on;

/// Our producer.
pub(crate) struct Ours<A> {
    style: Style,
    address: PhantomData<A>,
}

impl<A> Ours<A> {
    /// Creates the contender that keeps its window in that style.
    pub(crate) fn new(style: Style) -> Self {
        Self {
            style,
            address: PhantomData,
        }
    }
}

impl<A: Address> Contender for Ours<A> {
    fn run(&self, job: &Job) -> Sample {
        let (style, job) = (self.style, job.clone());
        block_on(job.contender.runtime, async move {
            awaited::run(ToTopic::<A>::new(&job), style, job).await
        })
    }
}

/// The producer and the topic it sends to.
struct ToTopic<A> {
    producer: Producer,
    topic: A,
}

impl<A: Address> ToTopic<A> {
    /// Needs a runtime around it.
    fn new(job: &Job) -> Self {
        let producer = config::ours(job)
            .create()
            .expect("the configuration is valid");
        Self {
            topic: A::new(&producer, &job.topic()),
            producer,
        }
    }
}

impl<A: Address> AwaitedProducer for ToTopic<A> {
    type Delivery = DeliveryFuture;
    type Sent = Result<Delivery, SendError>;

    async fn enqueue(&self, payload: &Bytes) -> DeliveryFuture {
        self.producer
            .enqueue(self.topic.record(payload))
            .await
            .expect("the producer is open")
    }

    async fn send(&self, payload: &Bytes) -> Result<Delivery, SendError> {
        self.producer.send(self.topic.record(payload)).await
    }

    async fn flush(&self) {
        self.producer
            .flush()
            .await
            .expect("the system has a thread");
    }
}

impl Outcome for Result<Delivery, SendError> {
    fn failures(&self) -> u64 {
        self.is_err().into()
    }
}
