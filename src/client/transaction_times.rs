//! The least time for the calls that complete a transaction, and how an abort divides its time.

use std::time::Duration;

/// The least timeout of a commit or abort call.
///
/// Both calls first wait for an answer of librdkafka's main thread. If that wait times out, the
/// late answer is taken for that of the next call (rdkafka_txnmgr.c, `rd_kafka_txn_op_req0`).
pub(crate) const MIN_TRANSACTION_CALL_TIME: Duration = Duration::from_millis(100);

/// How long an abort first continues to deliver, if a message of the transaction was delivered.
///
/// A purge of a partition while one of its batches is being built may leave a gap in the sequence
/// numbers (`rd_kafka_toppar_purge_queues`). Then the next transaction must be aborted too.
const DELIVERY_BEFORE_ABORT: Duration = Duration::from_secs(1);

/// How long an abort first continues to deliver, if no message of the transaction was delivered:
/// this fraction of its time, up to the maximum.
///
/// The coordinator may not have added the transaction's partitions yet, because it is still
/// completing the transaction before. It waits for partition leaders to write that one's markers,
/// and a leader election may delay those. An abort in that state fails fatally (librdkafka's issue
/// 4849).
const UNDELIVERED_BEFORE_ABORT: (u32, Duration) = (4, Duration::from_secs(15));

/// Returns how long an abort with this timeout first continues to deliver.
pub(crate) fn delivery_before_abort(timeout: Duration, is_any_delivered: bool) -> Duration {
    let least = DELIVERY_BEFORE_ABORT.min(timeout);
    if is_any_delivered {
        return least;
    }
    let (divisor, most) = UNDELIVERED_BEFORE_ABORT;
    least.max(most.min(timeout / divisor))
}
