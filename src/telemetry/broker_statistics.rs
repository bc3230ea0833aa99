//! What librdkafka's statistics say of a broker.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::window_statistics::WindowStatistics;

/// Statistics of a broker: `brokers` in librdkafka's document.
///
/// librdkafka has an entry for each broker, and more: one for each server of `bootstrap.servers`,
/// and with `transactional.id` one named `TxnCoordinator`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct BrokerStatistics {
    /// Host, port and id: `example.com:9092/13`. `example.com:9092/bootstrap` for a server of
    /// `bootstrap.servers`.
    pub name: String,
    /// The broker's id; −1 for a server of `bootstrap.servers`.
    pub nodeid: i32,
    /// Host and port: `example.com:9092`.
    pub nodename: String,
    /// How librdkafka knows of the broker: `configured`, `learned`, `internal` or `logical`.
    pub source: String,
    /// The state of the connection: `UP` if requests can be sent. Others are `INIT`, `DOWN`,
    /// `TRY_CONNECT`, `CONNECT`, `SSL_HANDSHAKE`, `AUTH_LEGACY`, `APIVERSION_QUERY`,
    /// `AUTH_HANDSHAKE`, `AUTH_REQ` and `REAUTH`.
    pub state: String,
    /// The time since the state changed, in microseconds.
    pub stateage: i64,
    /// The number of requests that wait to be sent.
    pub outbuf_cnt: i64,
    /// The number of messages in the requests that wait to be sent.
    pub outbuf_msg_cnt: i64,
    /// The number of requests that wait for a response.
    pub waitresp_cnt: i64,
    /// The number of messages in the requests that wait for a response.
    pub waitresp_msg_cnt: i64,
    /// The number of requests that were sent, since the producer was created.
    pub tx: u64,
    /// The number of bytes that were sent, since the producer was created.
    pub txbytes: u64,
    /// The number of errors while sending, since the producer was created.
    pub txerrs: u64,
    /// The number of requests that were sent again, since the producer was created.
    pub txretries: u64,
    /// The time since the last send, in microseconds; −1 if nothing was sent, or if the broker is
    /// not up.
    pub txidle: i64,
    /// The number of requests that timed out, since the producer was created.
    pub req_timeouts: u64,
    /// The number of responses, since the producer was created.
    pub rx: u64,
    /// The number of bytes that were received, since the producer was created.
    pub rxbytes: u64,
    /// The number of errors while receiving, since the producer was created.
    pub rxerrs: u64,
    /// The number of responses to no known request, since the producer was created. The request
    /// has usually timed out.
    pub rxcorriderrs: u64,
    /// The number of incomplete message sets that were received, since the producer was created.
    /// Always 0 for a producer.
    pub rxpartial: u64,
    /// The time since something was received, in microseconds; −1 if nothing was, or if the broker
    /// is not up.
    pub rxidle: i64,
    /// How often a buffer for decompression grew, since the producer was created. Always 0 for a
    /// producer.
    pub zbuf_grow: u64,
    /// How often a buffer grew. librdkafka no longer counts it: always 0.
    pub buf_grow: u64,
    /// How often librdkafka's thread for this broker was woken, since the producer was created.
    pub wakeups: u64,
    /// The number of attempts to connect, also failed ones, since the producer was created.
    pub connects: i64,
    /// The number of disconnects, for whatever reason, since the producer was created.
    pub disconnects: i64,
    /// How long messages waited in the producer's queue, from the produce call to the request, in
    /// microseconds. It includes `linger.ms`.
    pub int_latency: WindowStatistics,
    /// How long requests waited to be written to the socket, in microseconds.
    pub outbuf_latency: WindowStatistics,
    /// How long the broker took to respond, in microseconds.
    pub rtt: WindowStatistics,
    /// How long the broker throttled this client, in milliseconds. Only responses with a delay
    /// count.
    pub throttle: WindowStatistics,
    /// The number of requests that were sent, by their names, since the producer was created:
    /// `Produce`, `Metadata`, `ApiVersion`.
    pub req: BTreeMap<String, i64>,
    /// The partitions that this broker leads, by topic and partition: `orders-0`.
    pub toppars: BTreeMap<String, TopparStatistics>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A partition that a broker leads: `toppars` in librdkafka's document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TopparStatistics {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
