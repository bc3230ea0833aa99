//! `ThreadedProducer` with a delivery callback beside `Producer` with one.

mod ours;
mod theirs;

use tokio_rdkafka::BoxError;
use tokio_rdkafka_migration::{Cluster, expect, same};

/// A record's number, and its partition and offset or why it failed.
type Delivered = (usize, Result<(i32, i64), String>);

const COUNT: usize = 10;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let cluster = Cluster::from_arguments()?;
    let topics = (cluster.topic("theirs").await?, cluster.topic("ours").await?);
    let mut theirs =
        tokio::task::block_in_place(|| theirs::produce(cluster.brokers(), &topics.0, COUNT));
    let mut ours = ours::produce(cluster.brokers(), &topics.1, COUNT).await?;
    // Each partition has reports of its own.
    theirs.sort();
    ours.sort();
    same("callbacks", &theirs, &ours)?;
    expect("callbacks", COUNT, ours.len())?;
    expect("records", COUNT, cluster.same_logs(&topics.0, &topics.1)?)
}
