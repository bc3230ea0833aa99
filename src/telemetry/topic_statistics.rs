//! What librdkafka's statistics say of a topic and its partitions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::window_statistics::WindowStatistics;

/// Statistics of a topic that the producer has used: `topics` in librdkafka's document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TopicStatistics {
    /// The topic's name.
    pub topic: String,
    /// The time since the producer used the topic first, in milliseconds.
    pub age: i64,
    /// The time since a broker has described the topic, in milliseconds; 0 if none has.
    pub metadata_age: i64,
    /// The sizes of batches, in bytes.
    pub batchsize: WindowStatistics,
    /// The numbers of messages in batches.
    pub batchcnt: WindowStatistics,
    /// The partitions, by their numbers. Number −1 has the messages that have no partition yet.
    pub partitions: BTreeMap<i32, PartitionStatistics>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Statistics of a partition: `partitions` in librdkafka's document.
///
/// librdkafka writes the fields of consumers for producers, too. They say nothing then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PartitionStatistics {
    /// The partition's number; −1 for the messages that have no partition yet.
    pub partition: i32,
    /// The id of the broker to which librdkafka sends; −1 if there is none.
    pub broker: i32,
    /// The id of the leader; −1 if there is none.
    pub leader: i32,
    /// Whether a record named this partition while it was not known.
    pub desired: bool,
    /// Whether the topic's metadata lacks this partition.
    pub unknown: bool,
    /// The number of messages that wait in the first queue.
    pub msgq_cnt: i64,
    /// The size of the messages in the first queue, in bytes.
    pub msgq_bytes: u64,
    /// The number of messages that wait in the second queue. librdkafka does not fill it in: 0.
    pub xmit_msgq_cnt: i64,
    /// The size of the messages in the second queue, in bytes. librdkafka does not fill it in: 0.
    pub xmit_msgq_bytes: u64,
    /// Of consumers: the number of messages that were fetched and wait.
    pub fetchq_cnt: i64,
    /// Of consumers: the size of the messages that were fetched and wait, in bytes.
    pub fetchq_size: u64,
    /// Of consumers: the state of fetching, such as `active`. `none` for a producer.
    pub fetch_state: String,
    /// Of consumers: the logical offset that was asked for.
    pub query_offset: i64,
    /// Of consumers: the offset to be fetched next.
    pub next_offset: i64,
    /// Of consumers: the offset behind the last message that the application got.
    pub app_offset: i64,
    /// Of consumers: the offset that is to be committed.
    pub stored_offset: i64,
    /// Of consumers: the leader's epoch of the offset that is to be committed.
    pub stored_leader_epoch: i32,
    /// [`committed_offset`](Self::committed_offset) as librdkafka spelled it once, and still does.
    pub commited_offset: i64,
    /// Of consumers: the offset that was committed last.
    pub committed_offset: i64,
    /// Of consumers: the leader's epoch of the offset that was committed last.
    pub committed_leader_epoch: i32,
    /// Of consumers: the offset of the last end of the partition.
    pub eof_offset: i64,
    /// Of consumers: the lowest offset on the broker.
    pub lo_offset: i64,
    /// Of consumers: the high watermark on the broker.
    pub hi_offset: i64,
    /// Of consumers: the last stable offset on the broker.
    pub ls_offset: i64,
    /// Of consumers: the number of messages behind the committed offset; −1 if it is not known.
    pub consumer_lag: i64,
    /// Of consumers: the number of messages behind the stored offset; −1 if it is not known.
    pub consumer_lag_stored: i64,
    /// The leader's epoch; −1 if it is not known.
    pub leader_epoch: i32,
    /// The number of messages that were sent, since the producer was created. One that is sent
    /// again counts again.
    pub txmsgs: u64,
    /// The size of keys and payloads that were sent, in bytes, since the producer was created.
    pub txbytes: u64,
    /// Of consumers: the number of messages that were received.
    pub rxmsgs: u64,
    /// Of consumers: the size of the messages that were received, in bytes.
    pub rxbytes: u64,
    /// The number of messages that were enqueued, since the producer was created.
    pub msgs: u64,
    /// Of consumers: the number of messages that were dropped as outdated.
    pub rx_ver_drops: u64,
    /// The number of messages that are in flight to the broker.
    pub msgs_inflight: i64,
    /// With `enable.idempotence`: the next sequence number that the broker is to acknowledge.
    pub next_ack_seq: i64,
    /// With `enable.idempotence`: the next sequence number that the broker is to refuse.
    pub next_err_seq: i64,
    /// With `enable.idempotence`: librdkafka's number of the last message that was acknowledged.
    pub acked_msgid: u64,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
