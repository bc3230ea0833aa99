//! Messages of a consumer, processed at the same time, and their results produced.

mod ours;
mod theirs;

use tokio_rdkafka::BoxError;
use tokio_rdkafka_migration::{Cluster, expect};

const COUNT: usize = 100;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let cluster = Cluster::from_arguments()?;
    let input = cluster.filled_topic("input", COUNT).await?;
    let topics = (cluster.topic("theirs").await?, cluster.topic("ours").await?);
    let groups = (cluster.unique("group"), cluster.unique("group"));
    let brokers = cluster.brokers();
    theirs::run_async_processor(brokers, &groups.0, &input, &topics.0, COUNT).await;
    ours::run_async_processor(brokers, &groups.1, &input, &topics.1, COUNT).await?;
    expect(
        "records",
        COUNT,
        cluster.same_records(&topics.0, &topics.1)?,
    )
}
