//! Owner of `rd_kafka_mock_cluster_t`.
//!
//! The mock runs on a thread of librdkafka inside this process. A request or an argument that makes
//! it dereference NULL is undefined behaviour of this process. The methods refuse such arguments,
//! and [`Cluster::new`] switches off the request versions whose handlers dereference NULL.

use std::ffi::{CString, c_int};
use std::fmt;
use std::ops::RangeInclusive;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka_sys::bindings as sys;

use super::arguments::{MAX_PARTITIONS, check, check_partition, invalid, topic_name};
use super::redeclared::{
    rd_kafka_mock_broker_decommission, rd_kafka_mock_broker_push_request_error_rtts,
    rd_kafka_mock_broker_set_down, rd_kafka_mock_broker_set_rack, rd_kafka_mock_broker_set_rtt,
    rd_kafka_mock_broker_set_up, rd_kafka_mock_coordinator_set,
    rd_kafka_mock_partition_set_follower, rd_kafka_mock_partition_set_leader,
    rd_kafka_mock_push_request_errors_array, rd_kafka_mock_set_apiversion,
    rd_kafka_mock_topic_create, rd_kafka_mock_topic_set_error,
};
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::client::Client;
use crate::ffi::conf::Conf;
use crate::ffi::convert::{millis, to_string};
use crate::ffi::opaque::Carried;
use crate::sync::lock;

/// The maximal number of brokers, well below the usual limit of open files: librdkafka aborts the
/// process if it gets no socket for a broker.
const MAX_BROKERS: i32 = 100;

/// The request versions that the mock offers, if not all that it implements.
///
/// In higher versions the answer "not the leader" names the leader (KIP-951). The handler does not
/// check whether the partition has one (rdkafka_mock_handlers.c, `changed_leaders`).
const API_VERSIONS: [(i16, RangeInclusive<i16>); 2] = [(PRODUCE, 0..=9), (FETCH, 0..=11)];
const PRODUCE: i16 = 0;
const FETCH: i16 = 1;

/// The least time between two operations.
///
/// The mock's thread wakes up, executes the operations in its queue, and only then empties its
/// wake-up pipe. An operation that arrives in between loses its wake-up, and waits for up to a
/// second (rdkafka_mock.c, `rd_kafka_mock_cluster_io_poll`).
const PAUSE: Duration = Duration::from_millis(1);

/// The broker id that means all brokers.
const ALL_BROKERS: i32 = -1;

/// A mock cluster, on a client of its own.
///
/// Dropping it blocks: `rd_kafka_mock_cluster_destroy` and `rd_kafka_destroy` join threads.
pub(crate) struct Cluster {
    ptr: NonNull<sys::rd_kafka_mock_cluster_t>,
    /// The number of brokers that were created. They have the ids 1, 2 and so on.
    brokers: i32,
    /// The ids of removed brokers.
    ///
    /// Locked while an operation needs a broker to exist, and while librdkafka's list of brokers is
    /// read or changed.
    removed: Mutex<Vec<i32>>,
    bootstrap: String,
    /// The time of the last operation.
    last_operation: Mutex<Instant>,
    /// Dropped after `drop` has destroyed the cluster; otherwise librdkafka aborts.
    client: Arc<Client>,
}

// SAFETY: a mock cluster is bound to no thread except its own, which is librdkafka's.
unsafe impl Send for Cluster {}
// SAFETY: a function that is called through `&Cluster` does one of two things (rdkafka_mock.c, all
// functions used here). It holds the cluster's lock while it accesses state that the mock's thread
// accesses too (error stacks, request tracking). Or it puts an operation into the cluster's queue,
// which has a lock, and waits for the reply on a queue of its own. `push_request_error_rtts` reads
// the list of brokers on its caller's thread; `removed` is locked there and where the list changes.
unsafe impl Sync for Cluster {}

/// A request that the cluster received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) broker: i32,
    pub(crate) api_key: i16,
    /// The time of its arrival by librdkafka's monotonic clock.
    pub(crate) micros: i64,
}

/// The kind of a coordinator.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CoordinatorKind {
    Transaction,
    Group,
}

impl Cluster {
    /// Starts a cluster with the brokers 1 to `brokers`. `conf` is the configuration of the client
    /// on which it runs, which has no brokers of its own.
    pub(crate) fn new(brokers: i32, conf: Conf) -> Result<Self, KafkaError> {
        if !(1..=MAX_BROKERS).contains(&brokers) {
            return Err(invalid(format!(
                "brokers: {brokers} is not between 1 and {MAX_BROKERS}"
            )));
        }
        let client = Client::new_producer::<Carried<()>>(conf, None)
            .map_err(|failure| KafkaError::with_text(RDKafkaErrorCode::Fail, failure.text))?;
        // SAFETY: the client is valid. It outlives the cluster, because `drop` destroys the cluster
        // and fields are dropped after that.
        let ptr = unsafe { sys::rd_kafka_mock_cluster_new(client.as_ptr(), brokers) };
        let ptr = NonNull::new(ptr).ok_or_else(|| {
            KafkaError::with_text(
                RDKafkaErrorCode::Fail,
                "librdkafka cannot start a mock cluster",
            )
        })?;
        // SAFETY: the cluster is valid. The string lives as long as the cluster and never changes.
        let bootstrap = unsafe { to_string(sys::rd_kafka_mock_cluster_bootstraps(ptr.as_ptr())) };
        let cluster = Self {
            ptr,
            brokers,
            removed: Mutex::default(),
            bootstrap,
            last_operation: Mutex::new(Instant::now()),
            client,
        };
        for (api_key, versions) in API_VERSIONS {
            let (min, max) = versions.into_inner();
            // SAFETY: the cluster is valid, and implements these versions. No client has connected
            // yet.
            check(cluster.operate(|| unsafe {
                rd_kafka_mock_set_apiversion(cluster.as_ptr(), api_key, min, max)
            }))?;
        }
        Ok(cluster)
    }

    fn as_ptr(&self) -> *mut sys::rd_kafka_mock_cluster_t {
        self.ptr.as_ptr()
    }

    /// Runs an operation that goes through the mock's queue, at least [`PAUSE`] after the last one.
    fn operate<T>(&self, operation: impl FnOnce() -> T) -> T {
        // A poisoned lock does no harm, as it only spaces operations out.
        let mut last = self
            .last_operation
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        thread::sleep(PAUSE.saturating_sub(last.elapsed()));
        let result = operation();
        *last = Instant::now();
        result
    }

    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    pub(crate) fn create_topic(
        &self,
        topic: &str,
        partitions: i32,
        replication_factor: i32,
    ) -> Result<(), KafkaError> {
        let topic = topic_name(topic)?;
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            return Err(invalid(format!(
                "partitions: {partitions} is not between 1 and {MAX_PARTITIONS}"
            )));
        }
        if replication_factor < 1 {
            return Err(invalid(format!(
                "replication_factor: {replication_factor} is less than 1"
            )));
        }
        // librdkafka does the same, but only after a multiplication that may overflow.
        let replicas = replication_factor.min(self.brokers);
        // SAFETY: cluster and name are valid. The counts are positive and bounded, so librdkafka
        // can allocate the arrays.
        check(self.operate(|| unsafe {
            rd_kafka_mock_topic_create(self.as_ptr(), topic.as_ptr(), partitions, replicas)
        }))
    }

    /// Creates the topic if it does not exist. 0 means no error.
    pub(crate) fn set_topic_error(&self, topic: &str, code: i32) -> Result<(), KafkaError> {
        let topic = topic_name(topic)?;
        // SAFETY: cluster and name are valid.
        self.operate(|| unsafe {
            rd_kafka_mock_topic_set_error(self.as_ptr(), topic.as_ptr(), code);
        });
        Ok(())
    }

    pub(crate) fn push_request_errors(&self, api_key: i16, codes: &[c_int]) {
        // SAFETY: the cluster is valid. The array has the given length and lives during the call.
        unsafe {
            rd_kafka_mock_push_request_errors_array(
                self.as_ptr(),
                api_key,
                codes.len(),
                codes.as_ptr(),
            );
        }
    }

    pub(crate) fn clear_request_errors(&self, api_key: i16) {
        // SAFETY: the cluster is valid.
        unsafe { sys::rd_kafka_mock_clear_request_errors(self.as_ptr(), api_key) }
    }

    /// Pushes errors, each with the delay of its response. A request may arrive between two of
    /// them.
    pub(crate) fn push_broker_request_errors(
        &self,
        broker: i32,
        api_key: i16,
        errors: impl IntoIterator<Item = (c_int, Duration)>,
    ) -> Result<(), KafkaError> {
        let _exists = self.check_broker(broker)?;
        errors.into_iter().try_for_each(|(code, rtt)| {
            // SAFETY: the cluster is valid. The count is that of the pairs of ints that follow it.
            check(unsafe {
                rd_kafka_mock_broker_push_request_error_rtts(
                    self.as_ptr(),
                    broker,
                    api_key,
                    1_usize,
                    code,
                    millis(rtt),
                )
            })
        })
    }

    /// Creates the topic if it does not exist.
    pub(crate) fn set_partition_leader(
        &self,
        topic: &str,
        partition: i32,
        broker: Option<i32>,
    ) -> Result<(), KafkaError> {
        const NONE: i32 = -1;
        let topic = topic_name(topic)?;
        check_partition(partition)?;
        let _exists = broker.map(|broker| self.check_broker(broker)).transpose()?;
        // SAFETY: cluster and name are valid. The partition is not negative, so librdkafka may
        // index an array with it.
        check(self.operate(|| unsafe {
            rd_kafka_mock_partition_set_leader(
                self.as_ptr(),
                topic.as_ptr(),
                partition,
                broker.unwrap_or(NONE),
            )
        }))
    }

    /// Creates the topic if it does not exist.
    pub(crate) fn set_partition_follower(
        &self,
        topic: &str,
        partition: i32,
        broker: i32,
    ) -> Result<(), KafkaError> {
        let topic = topic_name(topic)?;
        check_partition(partition)?;
        // SAFETY: as for the leader. Any number is valid for the follower.
        check(self.operate(|| unsafe {
            rd_kafka_mock_partition_set_follower(self.as_ptr(), topic.as_ptr(), partition, broker)
        }))
    }

    pub(crate) fn set_broker_up(&self, broker: i32, is_up: bool) -> Result<(), KafkaError> {
        let _exists = self.check_broker_or_all(broker)?;
        // SAFETY: the cluster is valid.
        check(self.operate(|| unsafe {
            if is_up {
                rd_kafka_mock_broker_set_up(self.as_ptr(), broker)
            } else {
                rd_kafka_mock_broker_set_down(self.as_ptr(), broker)
            }
        }))
    }

    pub(crate) fn remove_broker(&self, broker: i32) -> Result<(), KafkaError> {
        let mut all_removed = self.check_broker(broker)?;
        if all_removed.len() + 1 == self.brokers as usize {
            return Err(invalid(
                "brokers: the last broker cannot be removed".to_owned(),
            ));
        }
        let removed = self.operate(|| {
            // SAFETY: the cluster is valid. `removed` is locked, so no other call reads its list of
            // brokers meanwhile.
            unsafe { rd_kafka_mock_broker_decommission(self.as_ptr(), broker) }
        });
        check(removed)?;
        all_removed.push(broker);
        Ok(())
    }

    pub(crate) fn set_broker_rtt(&self, broker: i32, rtt: Duration) -> Result<(), KafkaError> {
        let _exists = self.check_broker_or_all(broker)?;
        // SAFETY: the cluster is valid.
        check(self.operate(|| unsafe {
            rd_kafka_mock_broker_set_rtt(self.as_ptr(), broker, millis(rtt))
        }))
    }

    pub(crate) fn set_broker_rack(&self, broker: i32, rack: &str) -> Result<(), KafkaError> {
        let rack = CString::new(rack)
            .map_err(|_| invalid("rack: the text contains a NUL byte".to_owned()))?;
        let _exists = self.check_broker_or_all(broker)?;
        // SAFETY: cluster and rack are valid.
        check(self.operate(|| unsafe {
            rd_kafka_mock_broker_set_rack(self.as_ptr(), broker, rack.as_ptr())
        }))
    }

    pub(crate) fn set_coordinator(
        &self,
        kind: CoordinatorKind,
        key: &str,
        broker: i32,
    ) -> Result<(), KafkaError> {
        let kind = match kind {
            CoordinatorKind::Transaction => c"transaction",
            CoordinatorKind::Group => c"group",
        };
        let key = CString::new(key)
            .map_err(|_| invalid("coordinator: the name contains a NUL byte".to_owned()))?;
        // rdkafka_mock.h allows any broker, but the handler of FindCoordinator aborts for an
        // unknown one.
        let _exists = self.check_broker(broker)?;
        // SAFETY: the cluster and both strings are valid.
        check(self.operate(|| unsafe {
            rd_kafka_mock_coordinator_set(self.as_ptr(), kind.as_ptr(), key.as_ptr(), broker)
        }))
    }

    pub(crate) fn start_request_tracking(&self) {
        // SAFETY: the cluster is valid.
        unsafe { sys::rd_kafka_mock_start_request_tracking(self.as_ptr()) }
    }

    pub(crate) fn stop_request_tracking(&self) {
        // SAFETY: the cluster is valid.
        unsafe { sys::rd_kafka_mock_stop_request_tracking(self.as_ptr()) }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        let mut count = 0;
        // SAFETY: the cluster is valid. The array is a copy that is ours, or NULL if it is empty.
        let array = unsafe { sys::rd_kafka_mock_get_requests(self.as_ptr(), &mut count) };
        let requests = (0..count)
            .map(|index| {
                // SAFETY: the array has `count` pointers to requests, which live until it is
                // destroyed below.
                unsafe {
                    let request = *array.add(index);
                    Request {
                        broker: sys::rd_kafka_mock_request_id(request),
                        api_key: sys::rd_kafka_mock_request_api_key(request),
                        micros: sys::rd_kafka_mock_request_timestamp(request),
                    }
                }
            })
            .collect();
        // SAFETY: the array is ours, has that many requests, and is not used after this.
        unsafe { sys::rd_kafka_mock_request_destroy_array(array, count) };
        requests
    }

    /// Checks that a broker exists. It exists at least until the guard is dropped.
    fn check_broker(&self, broker: i32) -> Result<MutexGuard<'_, Vec<i32>>, KafkaError> {
        let removed = lock(&self.removed);
        if (1..=self.brokers).contains(&broker) && !removed.contains(&broker) {
            return Ok(removed);
        }
        Err(KafkaError::with_text(
            RDKafkaErrorCode::BrokerNotAvailable,
            format!(
                "the mock cluster has no broker {broker}; it was created with the brokers 1 to {}",
                self.brokers
            ),
        ))
    }

    fn check_broker_or_all(
        &self,
        broker: i32,
    ) -> Result<Option<MutexGuard<'_, Vec<i32>>>, KafkaError> {
        if broker == ALL_BROKERS {
            Ok(None)
        } else {
            self.check_broker(broker).map(Some)
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A forked child does not have the thread that the call joins.
        if !self.client.process().is_current() {
            return;
        }
        // SAFETY: the cluster is ours, and `&mut self` shows that no call is in progress. Its
        // client is alive, as the field is dropped after this. This is not the mock's thread, on
        // which no code of ours runs.
        self.operate(|| unsafe { sys::rd_kafka_mock_cluster_destroy(self.as_ptr()) });
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.ptr).finish()
    }
}
