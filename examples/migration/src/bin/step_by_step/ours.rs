//! The first step: the producer is another one, and the modules around it stay. The feature
//! `rdkafka` has the conversions.

use rdkafka::error::RDKafkaErrorCode;
use tokio_rdkafka::{BoxError, ClientConfig, Producer};

use crate::theirs::{config, is_too_large, record};

/// Sends orders, and returns how many were too large.
pub async fn produce(
    brokers: &str,
    topic: &str,
    orders: &[(String, Vec<u8>)],
) -> Result<usize, BoxError> {
    let producer: Producer = ClientConfig::from(config(brokers)).create()?;
    let mut too_large = 0;
    for order in orders {
        if let Err(error) = producer.send(record(topic, order).into()).await {
            let code = error.code().map(RDKafkaErrorCode::from);
            too_large += usize::from(is_too_large(code));
        }
    }
    producer.close().await;
    Ok(too_large)
}
