//! How long the calls that end a transaction take at the least, and how an abort divides its time.

use std::time::Duration;

/// What commit and abort have at the least. They begin with a word with librdkafka's main thread;
/// where already that times out, librdkafka takes the answer, when it comes, for the one to the next
/// call (rdkafka_txnmgr.c, `rd_kafka_txn_op_req0`).
pub(crate) const LEAST_TRANSACTION_TIME: Duration = Duration::from_millis(100);

/// How long an abort goes on delivering first: where it purges a partition while a batch of that is
/// being made, the sequence numbers of the next transaction may not fit, which must then be aborted too
/// (`rd_kafka_toppar_purge_queues`).
const DELIVERY_BEFORE_ABORT: Duration = Duration::from_secs(1);

/// The same where nothing of the transaction has been delivered, as a part of its time, and at the most.
/// The coordinator may not have taken a partition of it yet, because it is not done with the transaction
/// before: it has to wait for leaders to take the markers of that, and they may be in an election. Then
/// the abort would come out of turn, which is a fatal error (librdkafka's issue 4849).
const TAKEN_BEFORE_ABORT: (u32, Duration) = (4, Duration::from_secs(15));

/// How long an abort that has so much time goes on delivering first.
pub(crate) fn delivery_before_abort(timeout: Duration, is_any_delivered: bool) -> Duration {
    let least = DELIVERY_BEFORE_ABORT.min(timeout);
    if is_any_delivered {
        return least;
    }
    let (part, most) = TAKEN_BEFORE_ABORT;
    least.max(most.min(timeout / part))
}
