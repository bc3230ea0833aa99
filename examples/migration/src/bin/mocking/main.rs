//! The mock clusters of both crates, which are the same one of librdkafka.

mod ours;
mod theirs;

use tokio_rdkafka::BoxError;
use tokio_rdkafka_migration::{expect, same};

const COUNT: usize = 50;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut theirs = theirs::roundtrips(COUNT).await;
    let mut ours = ours::roundtrips(COUNT).await?;
    // By partition; the consumer returns them in any order of these.
    theirs.sort();
    ours.sort();
    same("messages", &theirs, &ours)?;
    expect("messages", COUNT, ours.len())
}
