//! The outcome of a transaction.

/// The outcome of a transaction: [`TransactionalProducer::outcome`].
///
/// [`TransactionalProducer::outcome`]: crate::TransactionalProducer::outcome
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransactionOutcome {
    /// The transaction was committed.
    Committed,
    /// The transaction was aborted. Consumers with `isolation.level=read_committed` never see its
    /// records.
    Aborted,
    /// Not known, or not known yet. A commit was begun and its outcome is not known, or the
    /// producer had a fatal error during the transaction.
    Unknown,
}
