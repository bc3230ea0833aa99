//! A histogram with a fixed amount of memory, as HdrHistogram has it.

use std::fmt;
use std::ops::RangeInclusive;

/// The logarithm of the number of buckets for each power of two.
const PRECISION: u32 = 5;

/// Buckets for each power of two, and for the values below it.
const PER_OCTAVE: usize = 1 << PRECISION;

/// Larger values count in the last bucket. In microseconds they are 19 hours.
const MOST: u64 = (1 << 36) - 1;

const BUCKETS: usize = index(MOST) + 1;

/// A distribution of whole numbers, with a fixed amount of memory (8 KiB).
///
/// Values below 64 are exact. A larger value is known to be in a bucket whose ends differ by at most
/// 3.2 %. Values of 2³⁶ and more, in microseconds 19 hours, count in the last bucket;
/// [`max`](Self::max) and [`sum`](Self::sum) are exact for them, too.
///
/// Histograms of several producers can be [merged](Self::merge). The values since an earlier
/// snapshot are [`since`](Self::since) it.
///
/// ```
/// use tokio_rdkafka::Histogram;
///
/// let histogram: Histogram = (1..=1000).collect();
/// assert_eq!(histogram.count(), 1000);
/// assert_eq!(histogram.max(), 1000);
/// let p99 = histogram.value_at_quantile(0.99);
/// assert!((990..1023).contains(&p99));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    count: u64,
    sum: u64,
    max: u64,
}

/// Returns the bucket of a value.
#[inline]
const fn index(value: u64) -> usize {
    let value = if value > MOST { MOST } else { value };
    // The place of the highest bit, in octaves above the exact values.
    let octave = (u64::BITS - 1 - (value | (PER_OCTAVE as u64)).leading_zeros()) - PRECISION;
    octave as usize * PER_OCTAVE + (value >> octave) as usize
}

/// Returns the values of a bucket.
fn values(index: usize) -> RangeInclusive<u64> {
    let octave = (index / PER_OCTAVE).saturating_sub(1);
    let first = ((index - octave * PER_OCTAVE) as u64) << octave;
    if index == BUCKETS - 1 {
        return first..=u64::MAX;
    }
    first..=first + (1 << octave) - 1
}

impl Histogram {
    /// Counts a value.
    ///
    /// It takes about ten instructions and no memory.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.record_many(value, 1);
    }

    /// Counts a value `count` times.
    #[inline]
    pub fn record_many(&mut self, value: u64, count: u64) {
        // The mask changes nothing, and spares a check.
        self.counts[index(value) & (BUCKETS - 1)] += count;
        self.count += count;
        self.sum = self.sum.wrapping_add(value.wrapping_mul(count));
        if value > self.max {
            self.max = value;
        }
    }

    /// Returns the number of values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the sum of the values.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Returns the largest value, or 0 if there is none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Returns the average, or 0 if there is no value.
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        self.sum as f64 / self.count as f64
    }

    /// Returns the value that the fraction `quantile` of the values does not exceed: 0.5 for the
    /// median, 0.99 for the 99th percentile.
    ///
    /// It is the last value of its bucket, and never more than [`max`](Self::max). It is 0 if there
    /// is no value. A `quantile` below 0 counts as 0, one above 1 as 1.
    pub fn value_at_quantile(&self, quantile: f64) -> u64 {
        let rank = (quantile.clamp(0.0, 1.0) * self.count as f64).ceil() as u64;
        let rank = rank.clamp(1, self.count.max(1));
        let mut seen = 0;
        for (values, count) in self.buckets() {
            seen += count;
            if seen >= rank {
                return self.max.min(*values.end());
            }
        }
        0
    }

    /// Returns the buckets that have values, in ascending order: their ranges, and the number of
    /// values in each.
    pub fn buckets(&self) -> impl Iterator<Item = (RangeInclusive<u64>, u64)> + '_ {
        let counts = self.counts.iter().enumerate();
        counts
            .filter(|&(_, &count)| count > 0)
            .map(|(index, &count)| (values(index), count))
    }

    /// Adds the values of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&*other.counts) {
            *count += more;
        }
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// Returns the values that were counted since `earlier`, an earlier clone of this histogram.
    ///
    /// Its [`max`](Self::max) is the end of a bucket, unless the largest value of all is new.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut new = self.clone();
        for (count, before) in new.counts.iter_mut().zip(&*earlier.counts) {
            *count = count.saturating_sub(*before);
        }
        new.count = new.counts.iter().sum();
        new.sum = self.sum.wrapping_sub(earlier.sum);
        let last = new.buckets().last().map_or(0, |(values, _)| *values.end());
        new.max = self.max.min(last);
        new
    }
}

impl Default for Histogram {
    fn default() -> Self {
        // On the heap at once: 8 KiB.
        let counts = vec![0; BUCKETS].into_boxed_slice();
        Self {
            counts: counts.try_into().expect("it has as many"),
            count: 0,
            sum: 0,
            max: 0,
        }
    }
}

impl Extend<u64> for Histogram {
    #[inline]
    fn extend<I: IntoIterator<Item = u64>>(&mut self, values: I) {
        let (mut count, mut sum, mut max) = (0, 0u64, 0);
        for value in values {
            // The mask changes nothing, and spares a check.
            self.counts[index(value) & (BUCKETS - 1)] += 1;
            count += 1;
            sum = sum.wrapping_add(value);
            max = value.max(max);
        }
        self.count += count;
        self.sum = self.sum.wrapping_add(sum);
        self.max = self.max.max(max);
    }
}

impl FromIterator<u64> for Histogram {
    fn from_iter<I: IntoIterator<Item = u64>>(values: I) -> Self {
        let mut histogram = Self::default();
        histogram.extend(values);
        histogram
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count)
            .field("mean", &self.mean())
            .field("p50", &self.value_at_quantile(0.5))
            .field("p99", &self.value_at_quantile(0.99))
            .field("max", &self.max)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        assert_eq!(BUCKETS, 1024);
        let mut next = 0;
        for bucket in 0..BUCKETS {
            let range = values(bucket);
            assert_eq!(*range.start(), next, "{bucket}");
            assert_eq!(
                (index(*range.start()), index(*range.end())),
                (bucket, bucket)
            );
            let (first, last) = (*range.start() as f64, *range.end() as f64);
            assert!(first == last || bucket == BUCKETS - 1 || last / first < 1.032);
            next = range.end().wrapping_add(1);
        }
        assert_eq!(next, 0);
    }

    #[test]
    fn an_empty_one_has_only_zeros() {
        let empty = Histogram::default();
        assert_eq!((empty.count(), empty.sum(), empty.max()), (0, 0, 0));
        assert_eq!((empty.value_at_quantile(0.99), empty.mean()), (0, 0.0));
        assert_eq!(empty.since(&Histogram::default()), empty);
    }

    #[test]
    fn values_beyond_the_last_bucket_are_counted() {
        let huge: Histogram = [u64::MAX / 4, 1].into_iter().collect();
        assert_eq!((huge.count(), huge.max()), (2, u64::MAX / 4));
        assert_eq!(huge.value_at_quantile(1.0), u64::MAX / 4);
        assert_eq!(huge.value_at_quantile(0.0), 1);
    }

    fn histogram(values: &[u64]) -> Histogram {
        values.iter().copied().collect()
    }

    proptest! {
        /// Against the sorted values themselves.
        #[test]
        fn quantiles_are_within_a_bucket(
            mut values in prop::collection::vec(0..MOST, 1..200),
            quantile in 0.0..=1.0f64,
        ) {
            let histogram = histogram(&values);
            values.sort_unstable();
            let rank = (quantile * values.len() as f64).ceil().max(1.0) as usize;
            let exact = values[rank - 1];
            let found = histogram.value_at_quantile(quantile);
            prop_assert!(exact <= found && found as f64 <= exact as f64 * 1.032);
        }

        #[test]
        fn merging_and_since_are_inverse(
            first in prop::collection::vec(0..MOST, 0..100),
            second in prop::collection::vec(0..MOST, 0..100),
        ) {
            let (earlier, new) = (histogram(&first), histogram(&second));
            let mut merged = earlier.clone();
            merged.merge(&new);
            prop_assert_eq!(&merged, &histogram(&[&first[..], &second].concat()));
            let since = merged.since(&earlier);
            prop_assert_eq!(since.buckets().collect::<Vec<_>>(), new.buckets().collect::<Vec<_>>());
            prop_assert_eq!((since.count(), since.sum()), (new.count(), new.sum()));
        }
    }
}
