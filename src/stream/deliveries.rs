//! What the records of one item of a stream came to.

use std::error::Error;
use std::fmt;
use std::ops::Deref;

use smallvec::SmallVec;

use crate::message::{Delivery, SendError};

/// What one record came to.
type Outcome<D> = Result<Delivery, SendError<D>>;

/// The deliveries of an item's records, in their order; none where it has no record. A slice in all
/// but name, which does not allocate for one record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deliveries(SmallVec<[Delivery; 1]>);

/// At least one record of an item was not delivered. The others may have been: it has the result of
/// each.
///
/// Its `Display` and `source` are those of the first failure.
pub struct ProduceError<D = ()>(Box<Outcomes<D>>);

struct Outcomes<D> {
    first: usize,
    results: Vec<Outcome<D>>,
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

/// The iterator of [`Deliveries`].
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
    /// The first failure.
    pub fn error(&self) -> &SendError<D> {
        match &self.0.results[self.0.first] {
            Err(error) => error,
            Ok(_) => unreachable!("the first failure is one"),
        }
    }

    /// The first failure, with its record.
    pub fn into_error(self) -> SendError<D> {
        let Outcomes { first, mut results } = *self.0;
        match results.swap_remove(first) {
            Err(error) => error,
            Ok(_) => unreachable!("the first failure is one"),
        }
    }

    /// The result of each record of the item, in their order.
    pub fn results(&self) -> &[Result<Delivery, SendError<D>>] {
        &self.0.results
    }

    /// The result of each record of the item, in their order.
    pub fn into_results(self) -> Vec<Result<Delivery, SendError<D>>> {
        self.0.results
    }
}

/// Results that come one by one.
pub(crate) struct Collected<D> {
    delivered: Deliveries,
    /// From the first failure on.
    failed: Option<ProduceError<D>>,
}

impl<D> Collected<D> {
    pub(crate) fn new() -> Self {
        Self {
            delivered: Deliveries::default(),
            failed: None,
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, result: Outcome<D>) {
        match (&mut self.failed, result) {
            (None, Ok(delivery)) => self.delivered.0.push(delivery),
            (None, Err(error)) => {
                let mut results: Vec<_> = self.delivered.0.drain(..).map(Ok).collect();
                let first = results.len();
                results.push(Err(error));
                self.failed = Some(ProduceError(Box::new(Outcomes { first, results })));
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
