//! The brokers that fail while others may answer, each until it answers again.

use std::time::{Duration, Instant};

use crate::error::KafkaError;
use crate::values::{Broker, BrokerFailure};

/// How long a broker whose connection has broken may take to answer again. Brokers close idle
/// connections.
const PATIENCE: Duration = Duration::from_millis(400);

/// How long a broker counts that the cluster does not list any more: it may be started again, or it
/// may have been removed for good.
const UNLISTED: Duration = Duration::from_secs(300);

/// The largest number of brokers that are kept.
const MAX_DOWN: usize = 128;

/// The brokers that fail. A failure of one is not disproved by an answer of another.
#[derive(Debug, Default)]
pub(crate) struct DownBrokers(Vec<Down>);

#[derive(Debug)]
struct Down {
    /// `None` for a bootstrap server of which no broker is known.
    id: Option<i32>,
    /// `host:port`, as in librdkafka's texts.
    address: String,
    error: KafkaError,
    /// From when on it is taken for down.
    down_at: Instant,
    /// Since when the cluster does not list it.
    unlisted: Option<Instant>,
}

impl DownBrokers {
    /// Records a failure; `address` is that in librdkafka's text.
    pub(super) fn failed(&mut self, text: &str, address: &str, error: &KafkaError, at: Instant) {
        let mut id = broker_id_of(text);
        // Others are coordinators, which have another connection to a broker.
        let is_broker = id.is_some() || text.contains("/bootstrap: ");
        if !is_broker {
            return;
        }
        let is_idle_close = text.contains("in state UP");
        let mut down_at = if is_idle_close { at + PATIENCE } else { at };
        // If all brokers are down, librdkafka tries the bootstrap servers again: the same addresses.
        let is_it = |it: &Down| it.address == address || (id.is_some() && it.id == id);
        let place = self.0.iter().position(is_it);
        let mut unlisted = None;
        match place {
            Some(place) => {
                let before = self.0.swap_remove(place);
                down_at = down_at.min(before.down_at);
                unlisted = before.unlisted;
                id = id.or(before.id);
            }
            None if self.0.len() == MAX_DOWN => return,
            None => {}
        }
        self.0.push(Down {
            id,
            address: address.to_owned(),
            error: error.clone(),
            down_at,
            unlisted,
        });
    }

    /// A broker has answered.
    pub(super) fn answered(&mut self, id: i32) {
        self.0.retain(|it| it.id != Some(id));
    }

    /// The cluster lists these brokers. One that it lists again is up. Bootstrap servers are known by
    /// their address, and are forgotten if they are none of them.
    pub(super) fn listed(&mut self, brokers: &[Broker], now: Instant) {
        let known: Vec<_> = self.0.iter().filter_map(|it| it.id).collect();
        self.0.retain_mut(|it| {
            let Some(id) = it.id else {
                let is_it =
                    |broker: &&Broker| format!("{}:{}", broker.host, broker.port) == it.address;
                it.id = brokers.iter().find(is_it).map(|broker| broker.id);
                return it.id.is_some_and(|id| !known.contains(&id));
            };
            if brokers.iter().any(|broker| broker.id == id) {
                return it.unlisted.is_none();
            }
            now.duration_since(*it.unlisted.get_or_insert(now)) < UNLISTED
        });
    }

    /// Gives all of them the time to answer.
    pub(super) fn doubt(&mut self, now: Instant) {
        for it in &mut self.0 {
            it.down_at = now + PATIENCE;
        }
    }

    /// Returns the ids of those that should be asked whether they answer.
    pub(super) fn ids(&self) -> Vec<i32> {
        self.0.iter().filter_map(|it| it.id).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns those that are down now, and when the next one will be. Their addresses are those in
    /// librdkafka's texts.
    pub(super) fn failures(&self, now: Instant) -> (Vec<BrokerFailure>, Option<Duration>) {
        let (down, doubted): (Vec<_>, Vec<_>) = self.0.iter().partition(|it| it.down_at <= now);
        let failure = |it: &&Down| {
            Some(BrokerFailure {
                id: it.id?,
                address: it.address.clone(),
                error: it.error.clone(),
            })
        };
        let mut failures: Vec<_> = down.iter().filter_map(failure).collect();
        failures.sort_by_key(|it| it.id);
        let next = doubted.iter().map(|it| it.down_at).min();
        (failures, next.map(|at| at.saturating_duration_since(now)))
    }
}

/// Returns the id of the broker that a text is about. Those of `bootstrap.servers` and the
/// coordinators have none.
pub(super) fn broker_id_of(text: &str) -> Option<i32> {
    let name = text.split_once(": ").map_or("", |(name, _)| name);
    let id = name.rsplit_once('/').map_or("", |(_, id)| id);
    let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    id.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::RDKafkaErrorCode;

    const REFUSED: &str = "Connect to ipv4#127.0.0.1:1 failed: Connection refused";
    const CLOSED: &str = "Disconnected (after 600000ms in state UP)";

    fn fail(down: &mut DownBrokers, name: &str, text: &str, at: Instant) {
        let error = KafkaError::from_code(RDKafkaErrorCode::BrokerTransportFailure);
        let address = name.rsplit_once('/').unwrap().0;
        down.failed(&format!("{name}: {text}"), address, &error, at);
    }

    fn ids(down: &DownBrokers, now: Instant) -> Vec<i32> {
        let failures = down.failures(now).0;
        failures.iter().map(|it| it.id).collect()
    }

    fn broker(id: i32, port: u16) -> Broker {
        Broker {
            id,
            host: "a".to_owned(),
            port,
            rack: None,
        }
    }

    #[test]
    fn a_broken_connection_counts_after_a_while_and_a_refused_one_at_once() {
        let start = Instant::now();
        let mut down = DownBrokers::default();
        fail(&mut down, "a:1/1", CLOSED, start);
        fail(&mut down, "a:2/2", REFUSED, start);
        assert_eq!(ids(&down, start), [2]);
        assert_eq!(down.failures(start).1, Some(PATIENCE));
        assert_eq!(ids(&down, start + PATIENCE), [1, 2]);
        fail(&mut down, "a:1/1", REFUSED, start);
        assert_eq!(ids(&down, start), [1, 2]);
        // It is down, and stays so.
        fail(&mut down, "a:1/1", CLOSED, start + PATIENCE);
        assert_eq!(ids(&down, start + PATIENCE), [1, 2]);
        down.answered(1);
        assert_eq!(ids(&down, start + PATIENCE), [2]);
    }

    #[test]
    fn a_bootstrap_server_gets_its_brokers_id() {
        let now = Instant::now();
        let mut down = DownBrokers::default();
        for name in ["a:1/bootstrap", "a:2/bootstrap", "b:9/bootstrap", "a:1/1"] {
            fail(&mut down, name, REFUSED, now);
        }
        let error = KafkaError::from_code(RDKafkaErrorCode::BrokerTransportFailure);
        let text = format!("TxnCoordinator: a:1: {REFUSED}");
        down.failed(&text, "TxnCoordinator", &error, now);
        assert_eq!(down.ids(), [1]);
        down.listed(&[broker(1, 1), broker(2, 2)], now);
        assert_eq!(ids(&down, now), [1, 2]);
        fail(&mut down, "a:2/bootstrap", REFUSED, now);
        assert_eq!(ids(&down, now), [1, 2]);
        fail(&mut down, "moved:2/2", REFUSED, now);
        assert_eq!(ids(&down, now), [1, 2]);
    }

    #[test]
    fn a_broker_that_leaves_the_list_is_down_until_it_is_listed_again() {
        let now = Instant::now();
        let mut down = DownBrokers::default();
        fail(&mut down, "a:1/1", REFUSED, now);
        fail(&mut down, "a:2/2", REFUSED, now);
        down.listed(&[broker(1, 1)], now);
        assert_eq!(ids(&down, now), [1, 2]);
        fail(&mut down, "a:2/2", REFUSED, now);
        down.listed(&[broker(1, 1), broker(2, 2)], now);
        assert_eq!(ids(&down, now), [1]);
        // Or for good.
        down.listed(&[broker(3, 3)], now);
        down.listed(&[broker(3, 3)], now + UNLISTED / 2);
        assert_eq!(ids(&down, now), [1]);
        down.listed(&[broker(3, 3)], now + UNLISTED);
        assert!(down.is_empty());
    }
}
