//! Records of any content, in every owned and borrowed form, through both producers: to a mock
//! cluster, which delivers them, and to no broker at all, where they are purged.
//!
//! What must hold: nothing panics; a refusal names the field that is wrong and gives the record
//! back; each record that was taken is reported once, with the content that it was given; and
//! nothing stays in flight.
#![no_main]

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;
use tokio_rdkafka::{
    BaseProducer, ClientConfig, ClientContext, DeliveryResult, Headers, IntoPayload, KafkaError,
    MockCluster, OwnedMessage, Payload, Producer, ProducerContext, ProducerRecord, PurgeConfig,
    RDKafkaErrorCode, Topic,
};

/// Low enough for a single input to reach it.
const MAX_MESSAGE_BYTES: usize = 1000;
const MAX_QUEUED: usize = 8;

/// A topic handle lives as long as its producer, so producers are made anew after so many.
const MAX_TOPICS: usize = 128;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Those of the mock cluster. It makes others as they are asked for, but not at once.
const TOPICS: [&str; 2] = ["one", "two"];
const PARTITIONS: i32 = 3;

#[derive(Arbitrary, Debug)]
struct Input {
    route: Route,
    records: Vec<Record>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Route {
    BasePurged,
    BaseDelivered,
    AsyncPurged,
    AsyncDelivered,
}

#[derive(Arbitrary, Debug)]
struct Record {
    topic: TopicText,
    topic_form: TopicForm,
    partition: Partition,
    key: Option<Part>,
    payload: Option<Part>,
    /// Repeats the payload, for lengths that an input alone does not have.
    repeat: u8,
    timestamp: Option<i64>,
    headers: Vec<(String, Option<Part>)>,
    is_owned: bool,
}

#[derive(Arbitrary, Debug)]
enum TopicText {
    Known(bool),
    Any(String),
    /// Long names, legal and not.
    Repeated(char, u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum TopicForm {
    Borrowed,
    BorrowedString,
    Owned,
    Cow,
    Shared,
    Handle,
    HandleRef,
    /// Of another producer, where it counts as its name.
    ForeignHandle,
}

/// Bytes, and the form in which they are given.
type Part = (Vec<u8>, Form);

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Partition {
    Unset,
    Near(i8),
    Any(i32),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Form {
    Slice,
    VecRef,
    Vec,
    Boxed,
    Array,
    Shared,
    SharedVec,
    Bytes,
    BytesRef,
    BytesMut,
    CowBorrowed,
    CowOwned,
    Str,
    StringRef,
    String,
    BoxedStr,
    SharedStr,
    CowStr,
}

/// The bytes in the containers that borrowed forms need.
struct Source {
    form: Form,
    vec: Vec<u8>,
    bytes: Bytes,
    /// Only where the bytes are a text; forms of a text are those of bytes elsewhere.
    text: Option<String>,
}

impl Source {
    fn new(bytes: &[u8], form: Form) -> Self {
        Self {
            form,
            vec: bytes.to_vec(),
            bytes: Bytes::copy_from_slice(bytes),
            text: String::from_utf8(bytes.to_vec()).ok(),
        }
    }

    fn payload(&self) -> Option<Payload<'_>> {
        let vec = &self.vec;
        match (self.form, &self.text) {
            (Form::Str, Some(text)) => text.as_str().into_payload(),
            (Form::StringRef, Some(text)) => text.into_payload(),
            (Form::String, Some(text)) => text.clone().into_payload(),
            (Form::BoxedStr, Some(text)) => text.clone().into_boxed_str().into_payload(),
            (Form::SharedStr, Some(text)) => Arc::<str>::from(text.as_str()).into_payload(),
            (Form::CowStr, Some(text)) => Cow::Borrowed(text.as_str()).into_payload(),
            (Form::VecRef, _) => vec.into_payload(),
            (Form::Vec, _) => vec.clone().into_payload(),
            (Form::Boxed, _) => vec.clone().into_boxed_slice().into_payload(),
            (Form::Shared, _) => Arc::<[u8]>::from(vec.as_slice()).into_payload(),
            (Form::SharedVec, _) => Arc::new(vec.clone()).into_payload(),
            (Form::Array, _) => match <[u8; 4]>::try_from(vec.as_slice()) {
                Ok(array) => array.into_payload(),
                Err(_) => vec.as_slice().into_payload(),
            },
            (Form::Bytes, _) => self.bytes.clone().into_payload(),
            (Form::BytesRef, _) => (&self.bytes).into_payload(),
            (Form::BytesMut, _) => BytesMut::from(vec.as_slice()).into_payload(),
            (Form::CowBorrowed, _) => Cow::Borrowed(vec.as_slice()).into_payload(),
            (Form::CowOwned, _) => Cow::<[u8]>::Owned(vec.clone()).into_payload(),
            _ => vec.as_slice().into_payload(),
        }
    }
}

/// What a record has, kept apart from it.
#[derive(Debug)]
struct Expected {
    topic: String,
    partition: i32,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    timestamp: Option<i64>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    is_owned: bool,
    reports: AtomicUsize,
}

impl Expected {
    fn new(record: &Record, route: Route) -> Self {
        let topic = match &record.topic {
            TopicText::Known(which) => TOPICS[usize::from(*which)].to_owned(),
            TopicText::Any(text) => text.clone(),
            TopicText::Repeated(c, times) => c.to_string().repeat(usize::from(*times)),
        };
        let is_delivered = matches!(route, Route::BaseDelivered | Route::AsyncDelivered);
        let is_legal = wrong_name(&topic).is_none();
        let topic = if is_delivered && is_legal && !TOPICS.contains(&topic.as_str()) {
            TOPICS[0].to_owned()
        } else {
            topic
        };
        let bytes = |value: &Option<Part>| value.as_ref().map(|(bytes, _)| bytes.clone());
        Self {
            topic,
            partition: match record.partition {
                Partition::Unset => -1,
                Partition::Near(partition) => partition.into(),
                Partition::Any(partition) => partition,
            },
            key: bytes(&record.key),
            payload: bytes(&record.payload)
                .map(|bytes| bytes.repeat(usize::from(record.repeat % 8) + 1)),
            timestamp: record.timestamp,
            headers: record
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), bytes(value)))
                .collect(),
            is_owned: record.is_owned,
            reports: AtomicUsize::new(0),
        }
    }

    /// The first field that is wrong, if one is.
    fn wrong_field(&self, has_handle: bool) -> Option<&'static str> {
        if !has_handle && wrong_name(&self.topic).is_some() {
            Some("topic")
        } else if self.partition < -1 {
            Some("partition")
        } else if self.timestamp.is_some_and(|millis| millis <= 0) {
            Some("timestamp")
        } else if self.headers.iter().any(|(name, _)| name.contains('\0')) {
            Some("headers")
        } else {
            None
        }
    }

    /// An estimate that is never below what librdkafka counts.
    fn size(&self) -> usize {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = self.headers.iter();
        let headers: usize = headers
            .map(|(name, value)| name.len() + len(value) + 20)
            .sum();
        len(&self.key) + len(&self.payload) + headers + 100
    }

    fn is_in<D>(&self, record: &ProducerRecord<'_, D>) {
        assert_eq!(record.get_topic(), self.topic);
        assert_eq!(record.get_partition().unwrap_or(-1), self.partition);
        assert_eq!(record.get_key(), self.key.as_deref());
        assert_eq!(record.get_payload(), self.payload.as_deref());
        assert_eq!(record.get_timestamp(), self.timestamp);
        self.are_headers(record.get_headers());
        assert!(format!("{record:?}").starts_with("ProducerRecord"));
    }

    fn are_headers(&self, headers: &Headers) {
        assert_eq!(headers.len(), self.headers.len());
        for (header, (name, value)) in headers.iter().zip(&self.headers) {
            assert_eq!(
                (header.name, header.value),
                (name.as_str(), value.as_deref())
            );
            let last = self.headers.iter().rfind(|(other, _)| other == name);
            assert_eq!(headers.get(name), last.map(|(_, value)| value.as_deref()));
        }
    }

    fn is_message(&self, message: &OwnedMessage) {
        assert_eq!(message.topic(), self.topic);
        assert_eq!(message.key(), self.key.as_deref());
        assert_eq!(message.payload(), self.payload.as_deref());
        self.are_headers(message.headers());
        assert!(self.partition == -1 || message.partition() == self.partition);
    }

    /// Whether librdkafka may refuse the record with that code.
    fn may_be(&self, error: &KafkaError) {
        assert_eq!(error.field(), None, "{error}");
        match error.code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                assert!(self.size() > MAX_MESSAGE_BYTES, "{error}");
            }
            Some(RDKafkaErrorCode::UnknownPartition) => assert!(self.partition >= PARTITIONS),
            Some(RDKafkaErrorCode::QueueFull) => {}
            _ => panic!("an unexpected refusal: {error}"),
        }
    }
}

fn wrong_name(name: &str) -> Option<&'static str> {
    (name.is_empty() || name.len() > 249 || name.contains('\0')).then_some("topic")
}

/// Compares each report with what was sent.
struct Comparing;

impl ClientContext for Comparing {
    fn error(&self, error: &KafkaError) {
        // That no broker is there is as it should be.
        assert!(!error.is_fatal(), "{error}");
    }
}

impl ProducerContext for Comparing {
    type DeliveryOpaque = Arc<Expected>;

    fn delivery(&self, result: &DeliveryResult<'_>, expected: Arc<Expected>) {
        expected.reports.fetch_add(1, Ordering::SeqCst);
        match result {
            // Not the timestamp: the mock answers every request with an append time of its own.
            Ok(message) => expected.is_message(&message.detach()),
            Err(error) => {
                expected.is_message(&error.detach());
                may_fail(error.code(), &expected);
            }
        }
    }
}

/// How a record that was taken may end, other than by being delivered.
fn may_fail(code: RDKafkaErrorCode, expected: &Expected) {
    match code {
        RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight => {}
        // Where it was taken before the number of partitions was known.
        RDKafkaErrorCode::UnknownPartition => assert!(expected.partition >= PARTITIONS),
        _ => panic!("an unexpected failure: {code}"),
    }
}

/// Both producers with one configuration, and the names of the topics that they know.
struct Producers {
    runtime: Runtime,
    base: BaseProducer<Comparing>,
    asynchronous: Producer<Comparing>,
    topics: HashSet<String>,
}

impl Producers {
    fn new(bootstrap_servers: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap_servers)
            .set("linger.ms", "0")
            .set("message.max.bytes", MAX_MESSAGE_BYTES.to_string())
            .set("queue.buffering.max.messages", MAX_QUEUED.to_string())
            // Where nobody listens, not to try all the time.
            .set("reconnect.backoff.ms", "10000")
            .set("log_level", "0");
        let base = config.create_with_context(Comparing).expect("a producer");
        let guard = runtime.enter();
        let asynchronous = config.create_with_context(Comparing).expect("a producer");
        drop(guard);
        Self {
            runtime,
            base,
            asynchronous,
            topics: HashSet::new(),
        }
    }
}

struct World {
    delivering: Producers,
    purging: Producers,
    _cluster: MockCluster,
}

impl World {
    fn new() -> Self {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        for topic in TOPICS {
            cluster.create_topic(topic, PARTITIONS, 1).expect("a topic");
        }
        Self {
            delivering: Producers::new(&cluster.bootstrap_servers()),
            purging: Producers::new("127.0.0.1:1"),
            _cluster: cluster,
        }
    }
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

/// Handles of a record's topic; none where the name is wrong.
struct Handles {
    own: Option<Topic>,
    foreign: Option<Topic>,
}

/// Makes the record in the forms that are asked for, and gives it to `send`, with whether it has
/// the topic by a handle.
fn with_record<T>(
    input: &Record,
    expected: &Arc<Expected>,
    handles: &Handles,
    send: impl FnOnce(ProducerRecord<'_, Arc<Expected>>, bool) -> T,
) -> T {
    let source = |part: &Option<Vec<u8>>, form: &Option<Part>| {
        let form = form.as_ref().map_or(Form::Slice, |(_, form)| *form);
        part.as_ref().map(|bytes| Source::new(bytes, form))
    };
    let key = source(&expected.key, &input.key);
    let payload = source(&expected.payload, &input.payload);
    let mut headers = Headers::new();
    for (name, value) in &input.headers {
        let value = value
            .as_ref()
            .map(|(bytes, form)| Source::new(bytes, *form));
        headers.push(name.as_str(), value.as_ref().and_then(Source::payload));
    }
    let opaque = Arc::clone(expected);
    let topic = &expected.topic;
    let (record, has_handle) = match (input.topic_form, &handles.own, &handles.foreign) {
        (TopicForm::Owned, ..) => (ProducerRecord::with_opaque_to(topic.clone(), opaque), false),
        (TopicForm::BorrowedString, ..) => (ProducerRecord::with_opaque_to(topic, opaque), false),
        (TopicForm::Cow, ..) => {
            let topic = Cow::Borrowed(topic.as_str());
            (ProducerRecord::with_opaque_to(topic, opaque), false)
        }
        (TopicForm::Shared, ..) => {
            let topic = Arc::<str>::from(topic.as_str());
            (ProducerRecord::with_opaque_to(topic, opaque), false)
        }
        (TopicForm::Handle, Some(topic), _) | (TopicForm::ForeignHandle, _, Some(topic)) => {
            (ProducerRecord::with_opaque_to(topic.clone(), opaque), true)
        }
        (TopicForm::HandleRef, Some(topic), _) => {
            (ProducerRecord::with_opaque_to(topic, opaque), true)
        }
        _ => (
            ProducerRecord::with_opaque_to(topic.as_str(), opaque),
            false,
        ),
    };
    let mut record = record
        .partition(expected.partition)
        .key(key.as_ref().and_then(Source::payload))
        .payload(payload.as_ref().and_then(Source::payload))
        .headers(headers);
    if let Some(millis) = expected.timestamp {
        record = record.timestamp(millis);
    }
    expected.is_in(&record);
    if expected.is_owned {
        record = record.into_owned();
        expected.is_in(&record);
    }
    send(record, has_handle)
}

/// Checks a refusal; returns whether the record was taken.
fn check_refusal<D>(
    expected: &Expected,
    wrong: Option<&str>,
    error: &KafkaError,
    record: &ProducerRecord<'_, D>,
) {
    match wrong {
        Some(field) => {
            assert_eq!(error.field(), Some(field), "{error}");
            assert!(error.to_string().contains(field));
        }
        None => expected.may_be(error),
    }
    expected.is_in(record);
}

fn handles(
    producers: &Producers,
    other: &Producers,
    expected: &Expected,
    form: TopicForm,
) -> Handles {
    let check = |topic: Result<Topic, KafkaError>| match topic {
        Ok(topic) => {
            assert_eq!(topic.name(), expected.topic);
            Some(topic)
        }
        Err(error) => {
            assert_eq!(error.field(), wrong_name(&expected.topic), "{error}");
            None
        }
    };
    let mut handles = Handles {
        own: None,
        foreign: None,
    };
    match form {
        TopicForm::Handle | TopicForm::HandleRef => {
            // Of one of the two, so that either meets its own and another's.
            handles.own = check(producers.base.topic(&expected.topic));
        }
        TopicForm::ForeignHandle if TOPICS.contains(&expected.topic.as_str()) => {
            handles.foreign = check(other.asynchronous.topic(&expected.topic));
        }
        _ => {}
    }
    handles
}

fn through_base(
    producer: &BaseProducer<Comparing>,
    records: &[(&Record, Arc<Expected>, Handles)],
    is_delivered: bool,
) {
    let mut taken = Vec::new();
    for (input, expected, handles) in records {
        with_record(input, expected, handles, |record, has_handle| {
            let wrong = expected.wrong_field(has_handle);
            match producer.send(record) {
                Ok(()) => {
                    assert_eq!(wrong, None);
                    taken.push(Arc::clone(expected));
                }
                Err(error) => {
                    check_refusal(expected, wrong, error.error(), error.record());
                    assert!(Arc::ptr_eq(error.record().get_opaque(), expected));
                    expected.is_in(error.into_owned().record());
                    assert_eq!(expected.reports.load(Ordering::SeqCst), 0);
                }
            }
        });
    }
    assert!(producer.in_flight_count() <= taken.len());
    if is_delivered {
        producer.flush(TIMEOUT).expect("all to be delivered");
    } else {
        let started = Instant::now();
        producer.purge(PurgeConfig::default().queue().inflight().non_blocking());
        while producer.in_flight_count() > 0 {
            producer.poll(Duration::from_millis(10));
            assert!(started.elapsed() < TIMEOUT, "messages stay in flight");
            producer.purge(PurgeConfig::default().queue().inflight().non_blocking());
        }
    }
    assert_eq!(producer.in_flight_count(), 0);
    assert_eq!(producer.callback_panics(), 0);
    for expected in taken {
        assert_eq!(expected.reports.load(Ordering::SeqCst), 1);
    }
}

async fn through_async(
    producer: &Producer<Comparing>,
    records: &[(&Record, Arc<Expected>, Handles)],
    is_delivered: bool,
) {
    let mut futures = Vec::new();
    for (input, expected, handles) in records {
        with_record(input, expected, handles, |record, has_handle| {
            let wrong = expected.wrong_field(has_handle);
            match producer.try_enqueue(record) {
                Ok(future) => {
                    assert_eq!(wrong, None);
                    futures.push((Arc::clone(expected), future));
                }
                Err(error) => {
                    check_refusal(expected, wrong, error.error(), error.record());
                    assert!(Arc::ptr_eq(error.record().get_opaque(), expected));
                    assert_eq!(expected.reports.load(Ordering::SeqCst), 0);
                }
            }
        });
    }
    if !is_delivered {
        producer
            .purge(PurgeConfig::default().queue().inflight())
            .await;
    }
    for (expected, future) in futures {
        match future.await {
            Ok(delivery) => {
                assert!(is_delivered);
                assert!(expected.partition == -1 || delivery.partition() == expected.partition);
            }
            Err(error) => {
                may_fail(error.code().expect("a code"), &expected);
                expected.is_in(error.record());
            }
        }
        assert_eq!(expected.reports.load(Ordering::SeqCst), 1);
    }
    assert_eq!(producer.in_flight_count(), 0);
}

fuzz_target!(|input: Input| {
    WORLD.with_borrow_mut(|world| {
        let is_delivered = matches!(input.route, Route::BaseDelivered | Route::AsyncDelivered);
        if world.purging.topics.len() > MAX_TOPICS {
            world.purging = Producers::new("127.0.0.1:1");
        }
        let (producers, other) = if is_delivered {
            (&mut world.delivering, &world.purging)
        } else {
            (&mut world.purging, &world.delivering)
        };
        let records = input.records.iter().take(2 * MAX_QUEUED);
        let records: Vec<_> = records
            .map(|record| {
                let expected = Arc::new(Expected::new(record, input.route));
                if wrong_name(&expected.topic).is_none() {
                    producers.topics.insert(expected.topic.clone());
                }
                let handles = handles(producers, other, &expected, record.topic_form);
                (record, expected, handles)
            })
            .collect();
        match input.route {
            Route::BasePurged | Route::BaseDelivered => {
                through_base(&producers.base, &records, is_delivered);
            }
            Route::AsyncPurged | Route::AsyncDelivered => producers.runtime.block_on(
                through_async(&producers.asynchronous, &records, is_delivered),
            ),
        }
    });
});
