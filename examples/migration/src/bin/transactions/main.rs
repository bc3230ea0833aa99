//! Consume, transform and produce in a transaction, and an aborted one.

mod ours;
mod theirs;

use tokio_rdkafka::BoxError;
use tokio_rdkafka_migration::{Cluster, expect, same};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let cluster = Cluster::from_arguments()?;
    let input = cluster.filled_topic("input", 30).await?;
    let topics = (cluster.topic("theirs").await?, cluster.topic("ours").await?);
    let groups = (cluster.unique("group"), cluster.unique("group"));
    let ids = (cluster.unique("id"), cluster.unique("id"));
    let brokers = cluster.brokers();
    tokio::task::block_in_place(|| {
        theirs::transform(brokers, (&groups.0, &ids.0), &input, &topics.0)
    })?;
    ours::transform(brokers, (&groups.1, &ids.1), &input, &topics.1).await?;

    let found = cluster.same_logs(&topics.0, &topics.1)?;
    if !cluster.has_transactions() {
        // Consumers of a mock cluster also see what was aborted.
        return expect("records, committed or not", 11, found);
    }
    expect("committed records", 10, found)?;
    let committed = cluster.committed(&groups.0, &input)?;
    same("offset", &committed, &cluster.committed(&groups.1, &input)?)?;
    same("offset", &rdkafka::Offset::Offset(10), &committed)
}
