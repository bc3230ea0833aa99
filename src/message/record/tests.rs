use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;

fn timestamp(timestamp: impl Into<Timestamp>) -> Option<i64> {
    ProducerRecord::to("t").timestamp(timestamp).get_timestamp()
}

#[test]
fn a_timestamp_is_a_number_a_system_time_or_a_timestamp() {
    assert_eq!(timestamp(7), Some(7));
    assert_eq!(timestamp(UNIX_EPOCH + Duration::from_millis(7)), Some(7));
    assert_eq!(timestamp(Timestamp::CreateTime(7)), Some(7));
    assert_eq!(timestamp(Timestamp::LogAppendTime(7)), Some(7));
    assert_eq!(timestamp(Timestamp::NotAvailable), None);
    assert!(timestamp(SystemTime::now()).is_some());
}

#[test]
fn a_timestamp_that_is_not_after_the_epoch_is_an_error_that_names_the_field() {
    for timestamp in [
        Timestamp::from(0),
        Timestamp::from(i64::MIN),
        Timestamp::from(UNIX_EPOCH),
        Timestamp::from(UNIX_EPOCH - Duration::from_nanos(1_000)),
    ] {
        let record = ProducerRecord::to("t").timestamp(timestamp);
        let error = record.fields.check().unwrap_err();
        assert_eq!(error.field(), Some("timestamp"), "{error}");
        assert!(error.to_string().contains("leave it out"), "{error}");
    }
}

#[test]
fn headers_are_appended_and_changed_in_place() {
    let mut record = ProducerRecord::to("t").header("a", "1").header("a", "2");
    assert_eq!(record.get_headers().len(), 2);
    record.headers_mut().set("a", "3");
    assert_eq!(*record.get_headers(), Headers::new().append("a", "3"));
    assert!(record.headers_mut().remove("a"));
    assert!(record.get_headers().is_empty());
}

#[test]
fn a_payload_without_an_allocation_stays_in_the_record() {
    let mut record = ProducerRecord::to("t").payload([1, 2, 3]);
    assert!(record.fields.take_payload_guard().is_none());
    assert_eq!(record.get_payload(), Some(&[1, 2, 3][..]));

    let mut record = ProducerRecord::to("t").payload(vec![1, 2, 3]);
    assert!(record.fields.take_payload_guard().is_some());
    assert_eq!(record.get_payload(), None);
}
