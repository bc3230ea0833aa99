//! The order in which the entrants of a round run.

use crate::jobs::entrant::Entrant;
use crate::jobs::work::Work;

/// Returns the indexes of the entrants, in groups that are compared and should follow each other.
///
/// A group has the entrants of one case. If the work compares cases, one group has all entrants, by
/// contender.
pub(crate) fn neighbours(work: Work, entrants: &[Entrant]) -> Vec<Vec<usize>> {
    let indexes = || (0..entrants.len()).collect::<Vec<_>>();
    if work.compares_cases() {
        let first = |entrant: &Entrant| {
            entrants
                .iter()
                .position(|other| other.contender == entrant.contender)
        };
        let mut all = indexes();
        all.sort_by_key(|&index| first(&entrants[index]));
        vec![all]
    } else {
        indexes()
            .chunk_by(|&a, &b| entrants[a].case == entrants[b].case)
            .map(<[_]>::to_vec)
            .collect()
    }
}

/// Returns the order of a round. Each round starts one later, and every second one goes backwards.
pub(crate) fn rotated(mut order: Vec<usize>, round: usize) -> Vec<usize> {
    let start = round % order.len();
    order.rotate_left(start);
    if round % 2 == 1 {
        order.reverse();
    }
    order
}
