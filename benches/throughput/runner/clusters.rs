//! The clusters of one work.

use crate::brokers::cluster::{Cluster, ClusterOptions};
use crate::jobs::case::Case;
use crate::jobs::entrant::Entrant;
use crate::jobs::work::Work;

/// A cluster for each round trip.
pub(crate) struct Clusters(Vec<(u64, Cluster)>);

impl Clusters {
    /// Opens the clusters that the entrants need.
    pub(crate) fn open(options: &ClusterOptions, work: Work, entrants: &[Entrant]) -> Self {
        let topics = entrants.iter().map(|entrant| entrant.case.topics).max();
        let topics = topics.unwrap_or(1);
        let mut round_trips: Vec<_> = entrants
            .iter()
            .map(|entrant| entrant.case.round_trip_ms)
            .collect();
        round_trips.dedup();
        let open = |round_trip| {
            let cluster = Cluster::open(options, work, topics, round_trip);
            (round_trip, cluster)
        };
        Self(round_trips.into_iter().map(open).collect())
    }

    /// Returns the cluster for `case`.
    pub(crate) fn of(&mut self, case: &Case) -> &mut Cluster {
        let mut all = self.0.iter_mut();
        let found = all.find(|(round_trip, _)| *round_trip == case.round_trip_ms);
        &mut found.expect("each round trip has a cluster").1
    }
}
