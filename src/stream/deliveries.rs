//! The results of the records of one item.

use std::error::Error;
use std::fmt;
use std::ops::Deref;

use smallvec::SmallVec;

use crate::message::{Delivery, SendError};

/// The result of one record.
type SendResult<D> = Result<Delivery, SendError<D>>;

/// The deliveries of an item's records, in the order of the records.
///
/// It dereferences to a slice of [`Delivery`], which is empty if the item had no record. It does
/// not allocate for one record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deliveries(SmallVec<[Delivery; 1]>);

/// The error of an item of which at least one record was not delivered.
///
/// Its other records may have been delivered: [`results`](Self::results) has the result of each.
/// `Display` and `source` are those of the first failure.
pub struct ProduceError<D = ()>(Box<Results<D>>);

struct Results<D> {
    first_failure: usize,
    results: Vec<SendResult<D>>,
}

impl Deref for Deliveries {
    type Target = [Delivery];

    fn deref(&self) -> &[Delivery] {
        &self.0
    }
}

impl IntoIterator for Deliveries {
    type Item = Delivery;
    type IntoIter = DeliveriesIter;

    fn into_iter(self) -> DeliveriesIter {
        DeliveriesIter(self.0.into_iter())
    }
}

/// An iterator over the [`Deliveries`] of an item, by value.
#[derive(Debug)]
pub struct DeliveriesIter(smallvec::IntoIter<[Delivery; 1]>);

impl Iterator for DeliveriesIter {
    type Item = Delivery;

    fn next(&mut self) -> Option<Delivery> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for DeliveriesIter {}

impl<D> ProduceError<D> {
    /// Returns the first failure.
    pub fn error(&self) -> &SendError<D> {
        match &self.0.results[self.0.first_failure] {
            Err(error) => error,
            Ok(_) => unreachable!("the index is that of a failure"),
        }
    }

    /// Returns the first failure by value, with its record.
    ///
    /// Drops the other results: [`into_results`](Self::into_results) returns all.
    pub fn into_error(self) -> SendError<D> {
        let Results {
            first_failure,
            mut results,
        } = *self.0;
        match results.swap_remove(first_failure) {
            Err(error) => error,
            Ok(_) => unreachable!("the index is that of a failure"),
        }
    }

    /// Returns the result of each record of the item, in the order of the records.
    pub fn results(&self) -> &[Result<Delivery, SendError<D>>] {
        &self.0.results
    }

    /// Returns the result of each record of the item by value, in the order of the records.
    pub fn into_results(self) -> Vec<Result<Delivery, SendError<D>>> {
        self.0.results
    }
}

/// Collects the results of an item's records.
pub(crate) struct ResultCollector<D> {
    /// The results before the first failure.
    delivered: Deliveries,
    /// All results, once one is a failure.
    failed: Option<ProduceError<D>>,
}

impl<D> ResultCollector<D> {
    pub(crate) fn new() -> Self {
        Self {
            delivered: Deliveries::default(),
            failed: None,
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, result: SendResult<D>) {
        match (&mut self.failed, result) {
            (None, Ok(delivery)) => self.delivered.0.push(delivery),
            (None, Err(error)) => {
                let mut results: Vec<_> = self.delivered.0.drain(..).map(Ok).collect();
                let first_failure = results.len();
                results.push(Err(error));
                self.failed = Some(ProduceError(Box::new(Results {
                    first_failure,
                    results,
                })));
            }
            (Some(failed), result) => failed.0.results.push(result),
        }
    }

    pub(crate) fn into_result(self) -> Result<Deliveries, ProduceError<D>> {
        match self.failed {
            None => Ok(self.delivered),
            Some(error) => Err(error),
        }
    }
}

impl<D> fmt::Debug for ProduceError<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProduceError")
            .field("results", &self.0.results)
            .finish()
    }
}

impl<D> fmt::Display for ProduceError<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl<D> Error for ProduceError<D> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error().source()
    }
}
