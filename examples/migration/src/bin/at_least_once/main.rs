//! Messages of a consumer, copied to two topics. Their offsets are stored after that.

mod ours;
mod theirs;

use tokio_rdkafka::BoxError;
use tokio_rdkafka_migration::{Cluster, expect};

const COUNT: usize = 100;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let cluster = Cluster::from_arguments()?;
    let input = cluster.filled_topic("input", COUNT).await?;
    let theirs = [
        cluster.topic("theirs").await?,
        cluster.topic("theirs").await?,
    ];
    let ours = [cluster.topic("ours").await?, cluster.topic("ours").await?];
    let groups = (cluster.unique("group"), cluster.unique("group"));
    let brokers = cluster.brokers();
    theirs::run(brokers, &groups.0, &input, &theirs, COUNT).await;
    ours::run(brokers, &groups.1, &input, &ours, COUNT).await?;
    for (theirs, ours) in theirs.iter().zip(&ours) {
        expect("records", COUNT, cluster.same_logs(theirs, ours)?)?;
    }
    Ok(())
}
