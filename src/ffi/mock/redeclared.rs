//! The mock's functions that take or return an enum, declared again with `c_int` for the reason
//! that `ffi::redeclared` gives.

use std::ffi::{c_char, c_int};

use rdkafka_sys::bindings as sys;

#[allow(clashing_extern_declarations)]
unsafe extern "C" {
    pub(super) fn rd_kafka_mock_broker_push_request_error_rtts(
        mcluster: *mut sys::rd_kafka_mock_cluster_t,
        broker_id: i32,
        api_key: i16,
        cnt: usize,
        ...
    ) -> c_int;

    pub(super) fn rd_kafka_mock_broker_decommission(
        mcluster: *mut sys::rd_kafka_mock_cluster_t,
        broker_id: i32,
    ) -> c_int;

    pub(super) fn rd_kafka_mock_broker_set_down(
        mcluster: *mut sys::rd_kafka_mock_cluster_t,
        broker_id: i32,
    ) -> c_int;

    pub(super) fn rd_kafka_mock_broker_set_rack(
        mcluster: *mut sys::rd_kafka_mock_cluster_t,
        broker_id: i32,
        rack: *const c_char,
    ) -> c_int;

    pub(super) fn rd_kafka_mock_broker_set_rtt(
        mcluster: *mut sys::rd_kafka_mock_cluster_t,
        broker_id: i32,
        rtt_ms: c_int,
    ) -> c_int;

    pub(super) fn rd_kafka_mock_broker_set_up(
        mcluster: *mut sys::rd_kafka_mock_cluster_t,
        broker_id: i32,
    ) -> c_int;

    pub(super) fn rd_kafka_mock_coordinator_set(
        mcluster: *mut sys::rd_kafka_mock_cluster_t,
        key_type: *const c_char,
        key: *const c_char,
        broker_id: i32,
    ) -> c_int;

    pub(super) fn rd_kafka_mock_partition_set_follower(
        mcluster: *mut sys::rd_kafka_mock_cluster_t,
        topic: *const c_char,
        partition: i32,
        broker_id: i32,
    ) -> c_int;

    pub(super) fn rd_kafka_mock_partition_set_leader(
        mcluster: *mut sys::rd_kafka_mock_cluster_t,
        topic: *const c_char,
        partition: i32,
        broker_id: i32,
    ) -> c_int;

    pub(super) fn rd_kafka_mock_push_request_errors_array(
        mcluster: *mut sys::rd_kafka_mock_cluster_t,
        api_key: i16,
        cnt: usize,
        errors: *const c_int,
    );

    pub(super) fn rd_kafka_mock_set_apiversion(
        mcluster: *mut sys::rd_kafka_mock_cluster_t,
        api_key: i16,
        min_version: i16,
        max_version: i16,
    ) -> c_int;

    pub(super) fn rd_kafka_mock_topic_create(
        mcluster: *mut sys::rd_kafka_mock_cluster_t,
        topic: *const c_char,
        partition_cnt: c_int,
        replication_factor: c_int,
    ) -> c_int;

    pub(super) fn rd_kafka_mock_topic_set_error(
        mcluster: *mut sys::rd_kafka_mock_cluster_t,
        topic: *const c_char,
        err: c_int,
    );
}
