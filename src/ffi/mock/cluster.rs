//! Owner of `rd_kafka_mock_cluster_t`, and a consumer to read what is in it.
//!
//! The mock runs on a thread of librdkafka's inside this process, so what makes it dereference NULL
//! is undefined behaviour here. The methods refuse such arguments, and [`Cluster::new`] switches
//! off the versions of requests whose handlers do it.

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

/// librdkafka aborts the process where it gets no socket for a broker; this is well below the usual
/// limit of open files.
const MAX_BROKERS: i32 = 100;

/// Versions that the mock offers, where they are not all that it implements. Above these, the
/// answer "not the leader" names the leader (KIP-951), which is NULL for a partition without one
/// and read all the same (rdkafka_mock_handlers.c, `changed_leaders`).
const API_VERSIONS: [(i16, RangeInclusive<i16>); 2] = [(PRODUCE, 0..=9), (FETCH, 0..=11)];
const PRODUCE: i16 = 0;
const FETCH: i16 = 1;

/// The time between two operations. The mock's thread wakes up, carries out what is in its queue, and
/// only then takes the wake-ups out of their pipe: an operation that comes in between has lost its
/// own, and waits for up to a second (rdkafka_mock.c, `rd_kafka_mock_cluster_io_poll`).
const PAUSE: Duration = Duration::from_millis(1);

/// The broker id that stands for all brokers.
const ALL_BROKERS: i32 = -1;

/// A mock cluster, on a client of its own.
///
/// Dropping it blocks: `rd_kafka_mock_cluster_destroy` and `rd_kafka_destroy` join threads.
pub(crate) struct Cluster {
    ptr: NonNull<sys::rd_kafka_mock_cluster_t>,
    /// They have the ids 1 to this, less those that were removed.
    brokers: i32,
    /// Those that were removed. Held where one has to be there, and where the list of them all is
    /// walked, or changed.
    removed: Mutex<Vec<i32>>,
    bootstrap: String,
    /// When the last operation was done.
    last_operation: Mutex<Instant>,
    /// Dropped after the cluster has been destroyed in `drop`: librdkafka aborts otherwise.
    _client: Arc<Client>,
}

// SAFETY: nothing of a mock cluster is bound to a thread but its own one, which is not ours.
unsafe impl Send for Cluster {}
// SAFETY: each function that is called through `&Cluster` either holds the cluster's lock while it
// touches what the mock's thread touches too (error stacks, request tracking), or puts an operation
// into the cluster's queue, which has a lock, and waits for the mock's thread to carry it out and
// reply to a queue of that call's own (rdkafka_mock.c, all functions used here). The list of brokers,
// which `push_request_error_rtts` walks on its caller's thread, changes under the same lock of ours.
unsafe impl Sync for Cluster {}

/// A request that the cluster got.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) broker: i32,
    pub(crate) api_key: i16,
    /// By librdkafka's monotonic clock.
    pub(crate) micros: i64,
}

/// What a coordinator coordinates.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CoordinatorKind {
    Transaction,
    Group,
}

impl Cluster {
    /// Makes a cluster with brokers 1 to `brokers`. `conf` is of the client that it runs on, which
    /// has no brokers of its own.
    pub(crate) fn new(brokers: i32, conf: Conf) -> Result<Self, KafkaError> {
        if !(1..=MAX_BROKERS).contains(&brokers) {
            return Err(invalid(format!(
                "brokers: {brokers} is not between 1 and {MAX_BROKERS}"
            )));
        }
        let client = Client::new_producer::<Carried<()>>(conf, None)
            .map_err(|text| KafkaError::with_text(RDKafkaErrorCode::Fail, text))?;
        // SAFETY: the client is valid, and outlives the cluster, as `drop` and the field's place
        // after it see to.
        let ptr = unsafe { sys::rd_kafka_mock_cluster_new(client.as_ptr(), brokers) };
        let ptr = NonNull::new(ptr).ok_or_else(|| {
            KafkaError::with_text(
                RDKafkaErrorCode::Fail,
                "librdkafka cannot start a mock cluster",
            )
        })?;
        // SAFETY: the cluster is valid; the string lives as long as it does and never changes.
        let bootstrap = unsafe { to_string(sys::rd_kafka_mock_cluster_bootstraps(ptr.as_ptr())) };
        let cluster = Self {
            ptr,
            brokers,
            removed: Mutex::default(),
            bootstrap,
            last_operation: Mutex::new(Instant::now()),
            _client: client,
        };
        for (api_key, versions) in API_VERSIONS {
            let (min, max) = versions.into_inner();
            // SAFETY: the cluster is valid; the versions are ones that it implements. Nobody has
            // connected yet.
            check(cluster.operate(|| unsafe {
                rd_kafka_mock_set_apiversion(cluster.as_ptr(), api_key, min, max)
            }))?;
        }
        Ok(cluster)
    }

    fn as_ptr(&self) -> *mut sys::rd_kafka_mock_cluster_t {
        self.ptr.as_ptr()
    }

    /// Has an operation go through the queue of the mock's thread.
    fn operate<T>(&self, operation: impl FnOnce() -> T) -> T {
        // It protects nothing but the pace.
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
                "replication_factor: {replication_factor} is not positive"
            )));
        }
        // As librdkafka does, but before it multiplies with it.
        let replicas = replication_factor.min(self.brokers);
        // SAFETY: cluster and name are valid; the counts are in the range that is allocated for.
        check(self.operate(|| unsafe {
            rd_kafka_mock_topic_create(self.as_ptr(), topic.as_ptr(), partitions, replicas)
        }))
    }

    /// Creates the topic where there is none. 0 is no error.
    pub(crate) fn set_topic_error(&self, topic: &str, code: i32) -> Result<(), KafkaError> {
        let topic = topic_name(topic)?;
        // SAFETY: cluster and name are valid.
        self.operate(|| unsafe {
            rd_kafka_mock_topic_set_error(self.as_ptr(), topic.as_ptr(), code);
        });
        Ok(())
    }

    pub(crate) fn push_request_errors(&self, api_key: i16, codes: &[c_int]) {
        // SAFETY: the cluster is valid; that many codes are read during the call.
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

    /// Each code with the time until the response. They are pushed one after another: a request may
    /// come in between.
    pub(crate) fn push_broker_request_errors(
        &self,
        broker: i32,
        api_key: i16,
        errors: impl IntoIterator<Item = (c_int, Duration)>,
    ) -> Result<(), KafkaError> {
        let _there = self.check_broker(broker)?;
        errors.into_iter().try_for_each(|(code, rtt)| {
            // SAFETY: the cluster is valid; the count is that of the pairs of ints that follow.
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

    /// Creates the topic where there is none.
    pub(crate) fn set_partition_leader(
        &self,
        topic: &str,
        partition: i32,
        broker: Option<i32>,
    ) -> Result<(), KafkaError> {
        const NONE: i32 = -1;
        let topic = topic_name(topic)?;
        check_partition(partition)?;
        let _there = broker.map(|broker| self.check_broker(broker)).transpose()?;
        // SAFETY: cluster and name are valid. The partition is not negative, which librdkafka would
        // index an array with.
        check(self.operate(|| unsafe {
            rd_kafka_mock_partition_set_leader(
                self.as_ptr(),
                topic.as_ptr(),
                partition,
                broker.unwrap_or(NONE),
            )
        }))
    }

    /// Creates the topic where there is none.
    pub(crate) fn set_partition_follower(
        &self,
        topic: &str,
        partition: i32,
        broker: i32,
    ) -> Result<(), KafkaError> {
        let topic = topic_name(topic)?;
        check_partition(partition)?;
        // SAFETY: as for the leader; any number will do for the follower.
        check(self.operate(|| unsafe {
            rd_kafka_mock_partition_set_follower(self.as_ptr(), topic.as_ptr(), partition, broker)
        }))
    }

    pub(crate) fn set_broker_up(&self, broker: i32, is_up: bool) -> Result<(), KafkaError> {
        let _there = self.check_broker_or_all(broker)?;
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
            return Err(invalid("brokers: the last one has to stay".to_owned()));
        }
        let removed = self.operate(|| {
            // SAFETY: the cluster is valid, and nobody else walks its list of brokers meanwhile.
            unsafe { rd_kafka_mock_broker_decommission(self.as_ptr(), broker) }
        });
        check(removed)?;
        all_removed.push(broker);
        Ok(())
    }

    pub(crate) fn set_broker_rtt(&self, broker: i32, rtt: Duration) -> Result<(), KafkaError> {
        let _there = self.check_broker_or_all(broker)?;
        // SAFETY: the cluster is valid.
        check(self.operate(|| unsafe {
            rd_kafka_mock_broker_set_rtt(self.as_ptr(), broker, millis(rtt))
        }))
    }

    pub(crate) fn set_broker_rack(&self, broker: i32, rack: &str) -> Result<(), KafkaError> {
        let rack =
            CString::new(rack).map_err(|_| invalid("rack: contains a NUL byte".to_owned()))?;
        let _there = self.check_broker_or_all(broker)?;
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
            .map_err(|_| invalid("coordinator: contains a NUL byte".to_owned()))?;
        // Against the header: with another broker the handler of FindCoordinator aborts.
        let _there = self.check_broker(broker)?;
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
        // SAFETY: the cluster is valid. The array is a copy that is ours; NULL where it is empty.
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
        // SAFETY: the array is ours, with that many requests; nobody uses it from here on.
        unsafe { sys::rd_kafka_mock_request_destroy_array(array, count) };
        requests
    }

    /// Checks that there is such a broker; there is until the guard is dropped.
    fn check_broker(&self, broker: i32) -> Result<MutexGuard<'_, Vec<i32>>, KafkaError> {
        let removed = lock(&self.removed);
        if (1..=self.brokers).contains(&broker) && !removed.contains(&broker) {
            return Ok(removed);
        }
        Err(KafkaError::with_text(
            RDKafkaErrorCode::BrokerNotAvailable,
            format!(
                "there is no broker {broker} in a mock cluster of {}",
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
        // SAFETY: the cluster is ours, `&mut self` says that no call is under way, and its client,
        // a field that is dropped after this, is alive. It is not the mock's thread that drops it:
        // no callback of ours runs there.
        self.operate(|| unsafe { sys::rd_kafka_mock_cluster_destroy(self.as_ptr()) });
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.ptr).finish()
    }
}
