//! A partitioner of one's own.

mod ours;
mod theirs;

use tokio_rdkafka::BoxError;
use tokio_rdkafka_migration::{Cluster, expect};

const KEYS: &[Option<&str>] = &[
    Some("a"),
    Some("b"),
    Some("c"),
    Some("another"),
    Some(""),
    None,
];

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let cluster = Cluster::from_arguments()?;
    let topics = (cluster.topic("theirs").await?, cluster.topic("ours").await?);
    tokio::task::block_in_place(|| theirs::produce(cluster.brokers(), &topics.0, KEYS));
    ours::produce(cluster.brokers(), &topics.1, KEYS).await?;
    expect(
        "records",
        KEYS.len(),
        cluster.same_logs(&topics.0, &topics.1)?,
    )
}
