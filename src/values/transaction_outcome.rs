//! What became of a transaction.

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionOutcome {
    /// It has been committed.
    Committed,
    /// It has been aborted: consumers with `isolation.level=read_committed` never see its records.
    Aborted,
    /// Nobody knows (yet): a commit was begun whose end is not known, or the producer had a fatal
    /// error in it.
    Unknown,
}
