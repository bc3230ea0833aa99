//! The loop that consumes, transforms and produces, on the mock cluster. It keeps no offsets of
//! transactions, so a consumer goes back to the first record that was not committed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{join, pending};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, StreamConsumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Message};
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::task::{spawn, spawn_blocking};
use tokio_rdkafka::{
    ApiKey, ConsumedBatch, ConsumerGroupMetadata, KafkaError, MockCluster, Producer,
    ProducerRecord, RDKafkaErrorCode as Code, RetryPolicy, SendError, Transaction,
    TransactionOutcome, TransactionalProducer, TransformOptions, consume_transform_produce,
};
use tokio_util::sync::CancellationToken;
use tracing::Level;

use crate::support::logs::captured;
use crate::support::mock::{DEADLINE, cluster, config, payloads, until, until_records};

/// An error of the function, or of the loop.
#[derive(Debug)]
enum Failed {
    Own(&'static str),
    Kafka(KafkaError),
}

impl Failed {
    fn kafka(self) -> KafkaError {
        match self {
            Self::Kafka(error) => error,
            Self::Own(text) => panic!("{text}"),
        }
    }
}

impl From<KafkaError> for Failed {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error)
    }
}

impl From<SendError> for Failed {
    fn from(error: SendError) -> Self {
        Self::Kafka(error.into())
    }
}

/// A topic "in" with records, a topic "out", a consumer and a producer.
struct Setting {
    cluster: MockCluster,
    consumer: Arc<StreamConsumer>,
    producer: TransactionalProducer,
    stop: CancellationToken,
}

fn consumer_config(cluster: &MockCluster) -> rdkafka::ClientConfig {
    let mut config = rdkafka::ClientConfig::new();
    config
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "group")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("log_level", "3");
    config
}

impl Setting {
    async fn new(records: usize) -> Self {
        let cluster = cluster("in", 1);
        cluster.create_topic("out", 1, 1).unwrap();
        let sender: Producer = config(&cluster).create().unwrap();
        for number in 0..records {
            let record = ProducerRecord::to("in").payload(number.to_string());
            sender.send(record).await.unwrap();
        }
        sender.close().await;
        let consumer: StreamConsumer = consumer_config(&cluster).create().unwrap();
        consumer.subscribe(&["in"]).unwrap();
        let mut producer: TransactionalProducer = config(&cluster)
            .set("transactional.id", "tests")
            .create()
            .unwrap();
        producer.init(DEADLINE).await.unwrap();
        Self {
            cluster,
            consumer: Arc::new(consumer),
            producer,
            stop: CancellationToken::new(),
        }
    }

    /// Batches of up to five, and retries at once.
    fn options(&self) -> TransformOptions<Failed> {
        TransformOptions::new()
            .max_records(5)
            .retries(at_once(3))
            .cancellation_token(self.stop.clone())
    }

    /// Copies until `last` was copied, at that attempt.
    async fn copy_until(&mut self, last: &str, attempt: u32) -> Result<u64, Failed> {
        let options = self.options();
        let stop = self.stop.clone();
        self.run(options, async |batch, transaction| {
            copy(batch, transaction).await?;
            if is_last(batch, last) && batch.attempt() == attempt {
                stop.cancel();
            }
            Ok(())
        })
        .await
    }

    async fn run(
        &mut self,
        options: TransformOptions<Failed>,
        function: impl AsyncFnMut(&ConsumedBatch<'_>, &Transaction<'_>) -> Result<(), Failed>,
    ) -> Result<u64, Failed> {
        let run = consume_transform_produce(&self.consumer, &mut self.producer, options, function);
        tokio::time::timeout(DEADLINE, run).await.expect("an end")
    }

    /// No transaction is open.
    async fn assert_settled(&self, outcome: TransactionOutcome) {
        assert_eq!(self.producer.outcome().await, Some(outcome));
    }

    async fn end(mut self) {
        self.producer.close().await;
        // Leaving the group blocks.
        spawn_blocking(move || drop(self.consumer)).await.unwrap();
    }
}

fn at_once(retries: u32) -> RetryPolicy {
    RetryPolicy::new(retries).backoff(Duration::ZERO, Duration::ZERO)
}

fn texts(batch: &ConsumedBatch<'_>) -> Vec<String> {
    let text = |message: &rdkafka::message::BorrowedMessage<'_>| {
        String::from_utf8(message.payload().unwrap().to_vec()).unwrap()
    };
    batch.iter().map(text).collect()
}

fn is_last(batch: &ConsumedBatch<'_>, last: &str) -> bool {
    batch.last().unwrap().payload() == Some(last.as_bytes())
}

async fn copy(batch: &ConsumedBatch<'_>, transaction: &Transaction<'_>) -> Result<(), Failed> {
    for message in batch {
        let record = ProducerRecord::to("out").payload(message.payload());
        transaction.enqueue_detached(record).await?;
    }
    Ok(())
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn batches_have_up_to_max_records_and_commit_with_their_offsets() {
    let mut setting = Setting::new(12).await;
    setting.cluster.start_request_tracking();
    let sizes = Mutex::new(Vec::new());
    let (options, stop) = (setting.options(), setting.stop.clone());
    let copied = setting.run(options, async |batch, transaction| {
        assert_eq!(batch.attempt(), 1);
        sizes.lock().unwrap().push(batch.len());
        copy(batch, transaction).await?;
        if is_last(batch, "11") {
            stop.cancel();
        }
        Ok(())
    });
    assert_eq!(copied.await.unwrap(), 12);
    let sizes = sizes.into_inner().unwrap();
    assert!(sizes.iter().all(|&size| size <= 5), "{sizes:?}");
    assert_eq!(payloads(&setting.cluster, "out").await, numbers(0..12));
    let requests = setting.cluster.requests();
    let commits = requests
        .iter()
        .filter(|request| request.api_key() == ApiKey::TxnOffsetCommit);
    assert_eq!(commits.count(), sizes.len());
    setting.assert_settled(TransactionOutcome::Committed).await;
    setting.end().await;
}

#[tokio::test]
async fn a_batch_waits_for_max_wait_and_not_longer() {
    let mut setting = Setting::new(3).await;
    // The last one comes while the first batch waits for more.
    let sender: Producer = config(&setting.cluster).create().unwrap();
    let options = setting.options().max_wait(Duration::from_secs(10));
    let stop = setting.stop.clone();
    let late = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let record = ProducerRecord::to("in").payload("late");
        sender.send(record).await.unwrap();
    };
    let batches = Mutex::new(Vec::new());
    let run = setting.run(options, async |batch, _| {
        batches.lock().unwrap().push(texts(batch));
        stop.cancel();
        Ok(())
    });
    let (copied, ()) = join(run, late).await;
    assert_eq!(copied.unwrap(), 4);
    assert_eq!(batches.into_inner().unwrap(), [["0", "1", "2", "late"]]);
    setting.end().await;
}

/// What the loop of `Producer::run` says: the error is the user's, and nothing is committed.
#[tokio::test]
async fn the_functions_own_error_ends_the_loop_with_it() {
    let mut setting = Setting::new(5).await;
    let options = setting.options();
    let tries = AtomicUsize::new(0);
    let run = setting.run(options, async |batch, transaction| {
        tries.fetch_add(1, Ordering::Relaxed);
        copy(batch, transaction).await?;
        transaction.flush().await.unwrap();
        Err(Failed::Own("no"))
    });
    assert!(matches!(run.await, Err(Failed::Own("no"))));
    assert_eq!(tries.into_inner(), 1);
    setting.assert_settled(TransactionOutcome::Aborted).await;
    // Again, with the same consumer: from the first record on.
    assert_eq!(setting.copy_until("4", 1).await.unwrap(), 5);
    setting.end().await;
}

#[tokio::test]
async fn retry_if_decides_about_the_functions_error_within_the_bound() {
    for (failures, expected) in [(3, Ok(12)), (4, Err(()))] {
        let mut setting = Setting::new(12).await;
        let options = setting
            .options()
            .retry_if(|error| matches!(error, Failed::Own("again")));
        let stop = setting.stop.clone();
        let seen = Mutex::new(Vec::new());
        let run = setting.run(options, async |batch, transaction| {
            let first = texts(batch).remove(0);
            seen.lock().unwrap().push((first.clone(), batch.attempt()));
            if first == "5" && batch.attempt() <= failures {
                return Err(Failed::Own("again"));
            }
            copy(batch, transaction).await?;
            if is_last(batch, "11") {
                stop.cancel();
            }
            Ok(())
        });
        assert_eq!(run.await.map_err(drop), expected);
        let seen = seen.into_inner().unwrap();
        let tries: Vec<_> = (1..=4).map(|attempt| ("5".to_owned(), attempt)).collect();
        assert_eq!(seen[0], ("0".to_owned(), 1));
        assert_eq!(seen[1..5], tries);
        // A commit starts the count anew.
        assert!(
            seen[5..].iter().all(|(_, attempt)| *attempt == 1),
            "{seen:?}"
        );
        if expected.is_ok() {
            assert_eq!(payloads(&setting.cluster, "out").await, numbers(0..12));
        }
        setting.end().await;
    }
}

/// As after a rebalance.
#[tokio::test]
async fn refused_offsets_abort_and_the_records_are_read_again() {
    for code in [
        Code::IllegalGeneration,
        Code::UnknownMemberId,
        Code::RebalanceInProgress,
        Code::FencedInstanceId,
    ] {
        let mut setting = Setting::new(5).await;
        setting
            .cluster
            .request_errors(ApiKey::TxnOffsetCommit, &[code]);
        let copied = setting.copy_until("4", 2).await;
        if code == Code::FencedInstanceId {
            // Nobody gets the partitions back by waiting.
            let error = copied.unwrap_err().kafka();
            assert_eq!(error.code(), Some(code));
            setting.assert_settled(TransactionOutcome::Aborted).await;
        } else {
            assert_eq!(copied.unwrap(), 5, "{code:?}");
            // The mock writes no markers: what was aborted may be there, too.
            let written = payloads(&setting.cluster, "out").await;
            assert!(written.ends_with(&numbers(0..5)), "{written:?}");
            setting.assert_settled(TransactionOutcome::Committed).await;
        }
        setting.end().await;
    }
}

/// A coordinator checks no offsets of somebody who is no member.
#[tokio::test]
async fn a_consumer_that_has_lost_its_membership_sends_no_offsets() {
    let mut setting = Setting::new(10).await;
    let consumer: StreamConsumer = consumer_config(&setting.cluster)
        .set("group.id", "other")
        .set("heartbeat.interval.ms", "50")
        .set("session.timeout.ms", "3000")
        .create()
        .unwrap();
    consumer.subscribe(&["in"]).unwrap();
    let before = std::mem::replace(&mut setting.consumer, Arc::new(consumer));
    spawn_blocking(move || drop(before)).await.unwrap();
    let is_member = |consumer: &StreamConsumer| {
        let group = ConsumerGroupMetadata::from_consumer(consumer).unwrap();
        group.generation_id() > 0
    };
    let was_lost = AtomicBool::new(false);
    let (options, stop) = (setting.options(), setting.stop.clone());
    let run = consume_transform_produce(
        &setting.consumer,
        &mut setting.producer,
        options,
        async |batch, _| {
            assert!(is_member(&setting.consumer), "{batch:?}");
            if is_last(batch, "9") {
                stop.cancel();
            } else if !was_lost.swap(true, Ordering::Relaxed) {
                // The rest of the records may be in the consumer's queue, before the rebalance.
                let lost = [Code::IllegalGeneration];
                setting.cluster.request_errors(ApiKey::Heartbeat, &lost);
                until(|| !is_member(&setting.consumer)).await;
            }
            Ok::<_, Failed>(())
        },
    );
    let run = tokio::time::timeout(DEADLINE, run).await;
    run.expect("an end").unwrap();
    assert!(was_lost.into_inner());
    setting.end().await;
}

/// Begins at that offset, whatever was committed.
struct Astray(i64);

impl ClientContext for Astray {}

impl ConsumerContext for Astray {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            partitions.set_all_offsets(Offset::Offset(self.0)).unwrap();
            consumer.assign(partitions)
        } else {
            consumer.unassign()
        };
        done.unwrap();
    }
}

/// As librdkafka may do by itself: see tests/kafka.
#[tokio::test]
async fn a_consumer_that_goes_elsewhere_is_taken_back_to_the_committed_offset() {
    for begin in [0, 8] {
        let mut setting = Setting::new(20).await;
        let consumer: StreamConsumer<Astray> = consumer_config(&setting.cluster)
            .set("group.id", "other")
            .create_with_context(Astray(begin))
            .unwrap();
        let mut offsets = TopicPartitionList::new();
        offsets
            .add_partition_offset("in", 0, Offset::Offset(5))
            .unwrap();
        consumer.commit(&offsets, CommitMode::Sync).unwrap();
        consumer.subscribe(&["in"]).unwrap();
        let consumer = Arc::new(consumer);

        let (options, stop) = (setting.options(), setting.stop.clone());
        let seen = Mutex::new(Vec::new());
        let run = consume_transform_produce(
            &consumer,
            &mut setting.producer,
            options,
            async |batch, _| {
                let offsets = batch.iter().map(|message| message.offset());
                let is_first = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(offsets.collect::<Vec<_>>());
                    seen.len() == 1
                };
                if is_first {
                    let consumer = Arc::clone(&consumer);
                    let back = move || consumer.seek("in", 0, Offset::Offset(2), DEADLINE);
                    spawn_blocking(back).await.unwrap().unwrap();
                } else {
                    stop.cancel();
                }
                Ok::<_, Failed>(())
            },
        );
        let run = tokio::time::timeout(DEADLINE, run).await;
        assert_eq!(run.expect("an end").unwrap(), 10);
        // The mock keeps what the consumer commits, not what a transaction does.
        let expected: Vec<i64> = (5..10).collect();
        assert_eq!(seen.into_inner().unwrap(), vec![expected; 2], "{begin}");
        spawn_blocking(move || drop(consumer)).await.unwrap();
        setting.end().await;
    }
}

#[tokio::test]
async fn missing_rights_end_the_loop_at_once() {
    let mut setting = Setting::new(5).await;
    let code = Code::GroupAuthorizationFailed;
    setting
        .cluster
        .request_errors(ApiKey::TxnOffsetCommit, &[code; 9]);
    let error = setting.copy_until("4", 1).await.unwrap_err().kafka();
    assert_eq!(error.code(), Some(code));
    setting.end().await;

    let mut setting = Setting::new(0).await;
    setting
        .cluster
        .topic_error("in", Code::TopicAuthorizationFailed)
        .unwrap();
    let consumer: StreamConsumer = consumer_config(&setting.cluster).create().unwrap();
    consumer.subscribe(&["in"]).unwrap();
    let before = std::mem::replace(&mut setting.consumer, Arc::new(consumer));
    spawn_blocking(move || drop(before)).await.unwrap();
    let error = setting.copy_until("4", 1).await.unwrap_err().kafka();
    assert_eq!(error.code(), Some(Code::TopicAuthorizationFailed));
    assert!(error.to_string().starts_with("consumer: "), "{error}");
    setting.end().await;
}

#[tokio::test]
async fn a_failure_that_may_go_away_is_tried_again_whatever_the_function_returns() {
    let mut setting = Setting::new(5).await;
    let code = Code::KafkaStorageError;
    setting
        .cluster
        .request_errors(ApiKey::AddPartitionsToTxn, &[code; 2]);
    let (options, stop) = (setting.options(), setting.stop.clone());
    let tries = AtomicUsize::new(0);
    let run = setting.run(options, async |batch, transaction| {
        tries.fetch_add(1, Ordering::Relaxed);
        for message in batch {
            let record = ProducerRecord::to("out").payload(message.payload());
            let sent = transaction.send(record).await;
            sent.map_err(|_| Failed::Own("could not be sent"))?;
        }
        stop.cancel();
        Ok(())
    });
    assert_eq!(run.await.unwrap(), 5);
    assert_eq!(tries.into_inner(), 3);
    assert_eq!(payloads(&setting.cluster, "out").await, numbers(0..5));
    setting.end().await;
}

/// It can be sent elsewhere in the next try.
#[tokio::test]
async fn a_refused_record_ends_the_loop_unless_retry_if_says_otherwise() {
    let mut setting = Setting::new(5).await;
    let refused = [Code::InvalidRecord];
    setting.cluster.request_errors(ApiKey::Produce, &refused);
    let error = setting.copy_until("4", 1).await.unwrap_err().kafka();
    let source = std::error::Error::source(&error).expect("the record's error");
    let source: &KafkaError = source.downcast_ref().unwrap();
    assert_eq!(source.code(), Some(Code::InvalidRecord));
    setting.assert_settled(TransactionOutcome::Aborted).await;

    setting.stop = CancellationToken::new();
    setting.cluster.create_topic("dead", 1, 1).unwrap();
    let (options, stop) = (setting.options(), setting.stop.clone());
    let options = options.retry_if(
        |error| matches!(error, Failed::Kafka(error) if error.code() == Some(Code::InvalidRecord)),
    );
    setting.cluster.request_errors(ApiKey::Produce, &refused);
    let dead = Mutex::new(Vec::new());
    let run = setting.run(options, async |batch, transaction| {
        for message in batch {
            let is_dead = dead.lock().unwrap().contains(&message.offset());
            let topic = if is_dead { "dead" } else { "out" };
            let record = ProducerRecord::to(topic).payload(message.payload());
            let sent = transaction.send(record).await;
            sent.inspect_err(|_| dead.lock().unwrap().push(message.offset()))?;
        }
        if batch.attempt() == 2 {
            stop.cancel();
        }
        Ok(())
    });
    assert_eq!(run.await.unwrap(), 5);
    assert_eq!(payloads(&setting.cluster, "dead").await, ["0"]);
    assert_eq!(payloads(&setting.cluster, "out").await, numbers(1..5));
    setting.end().await;
}

/// Whichever call finds it.
#[tokio::test]
async fn a_refused_record_that_the_offsets_find_ends_the_loop_as_well() {
    let mut setting = Setting::new(5).await;
    let refused = [Code::InvalidRecord];
    setting.cluster.request_errors(ApiKey::Produce, &refused);
    let options = setting.options();
    let tries = AtomicUsize::new(0);
    let run = setting.run(options, async |_, transaction| {
        tries.fetch_add(1, Ordering::Relaxed);
        let record = ProducerRecord::to("out").payload("refused");
        let _ignored = transaction.send(record).await.unwrap_err();
        Ok(())
    });
    let error = run.await.unwrap_err().kafka();
    let source = std::error::Error::source(&error).expect("the record's error");
    let source: &KafkaError = source.downcast_ref().unwrap();
    assert_eq!(source.code(), Some(Code::InvalidRecord), "{error:?}");
    assert_eq!(tries.into_inner(), 1);
    setting.assert_settled(TransactionOutcome::Aborted).await;
    setting.end().await;
}

#[tokio::test]
async fn fencing_ends_the_loop_whatever_the_function_returns() {
    for in_function in [false, true] {
        let mut setting = Setting::new(5).await;
        let call = if in_function {
            ApiKey::AddPartitionsToTxn
        } else {
            ApiKey::EndTxn
        };
        setting
            .cluster
            .request_errors(call, &[Code::ProducerFenced]);
        // Not even a retry finds it.
        let options = setting.options().retries(at_once(0));
        let tries = AtomicUsize::new(0);
        let run = setting.run(options, async |batch, transaction| {
            tries.fetch_add(1, Ordering::Relaxed);
            let copied = copy(batch, transaction).await;
            if in_function {
                copied.map_err(|_| Failed::Own("could not be sent"))?;
                let record = ProducerRecord::to("out").payload("last");
                let sent = transaction.send(record).await;
                sent.map_err(|_| Failed::Own("could not be sent"))?;
            }
            Ok(())
        });
        let error = run.await.unwrap_err().kafka();
        assert!(error.is_fenced() && error.is_fatal(), "{error:?}");
        assert_eq!(tries.into_inner(), 1);
        setting.end().await;
    }
}

#[tokio::test]
async fn a_fatal_error_that_a_renewal_cures_is_survived() {
    let mut setting = Setting::new(5).await;
    setting
        .cluster
        .request_errors(ApiKey::EndTxn, &[Code::InvalidTransactionalState]);
    assert_eq!(setting.copy_until("4", 2).await.unwrap(), 5);
    assert_eq!(setting.producer.renewals(), 1);
    setting.end().await;
}

#[tokio::test]
async fn a_stop_drops_the_function_and_aborts() {
    struct Guard<'a>(&'a AtomicBool);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let mut setting = Setting::new(10).await;
    let (options, stop) = (setting.options(), setting.stop.clone());
    let is_dropped = AtomicBool::new(false);
    let run = setting.run(options, async |batch, transaction| {
        copy(batch, transaction).await?;
        if is_last(batch, "9") {
            let _guard = Guard(&is_dropped);
            stop.cancel();
            pending::<()>().await;
        }
        Ok(())
    });
    assert_eq!(run.await.unwrap(), 5);
    assert!(is_dropped.into_inner());
    setting.assert_settled(TransactionOutcome::Aborted).await;
    // Nothing begins any more.
    let options = setting.options();
    let run = setting.run(options, async |_, _| panic!("a batch"));
    assert_eq!(run.await.unwrap(), 0);
    setting.end().await;
}

/// The number tells that it is missing.
#[tokio::test]
async fn a_batch_whose_commit_fails_after_the_stop_is_left_for_the_next_start() {
    let mut setting = Setting::new(5).await;
    setting
        .cluster
        .request_errors(ApiKey::TxnOffsetCommit, &[Code::RebalanceInProgress]);
    assert_eq!(setting.copy_until("4", 1).await.unwrap(), 0);
    setting.assert_settled(TransactionOutcome::Aborted).await;
    setting.stop = CancellationToken::new();
    assert_eq!(setting.copy_until("4", 1).await.unwrap(), 5);
    setting.end().await;
}

#[tokio::test]
async fn a_stop_ends_the_wait_for_records_and_pauses() {
    let mut setting = Setting::new(0).await;
    let (options, stop) = (setting.options(), setting.stop.clone());
    let run = setting.run(options, async |_, _| Ok(()));
    let (copied, ()) = join(run, async { stop.cancel() }).await;
    assert_eq!(copied.unwrap(), 0);
    assert_eq!(setting.producer.outcome().await, None);
    setting.end().await;

    let mut setting = Setting::new(1).await;
    let day = Duration::from_secs(86_400);
    let options = setting
        .options()
        .retries(RetryPolicy::new(1).backoff(day, day))
        .retry_if(|_| true);
    let stop = setting.stop.clone();
    let run = setting.run(options, async |_, _| {
        let stop = stop.clone();
        // While the loop pauses.
        spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            stop.cancel();
        });
        Err(Failed::Own("no"))
    });
    assert_eq!(run.await.unwrap(), 0);
    setting.assert_settled(TransactionOutcome::Aborted).await;
    setting.end().await;
}

/// At any await: what was not committed is read again.
#[tokio::test]
async fn a_loop_that_is_dropped_can_be_run_again() {
    let mut setting = Setting::new(5).await;
    for _ in 0..2 {
        let began = Notify::new();
        let options = setting.options();
        let run = setting.run(options, async |batch, transaction| {
            copy(batch, transaction).await?;
            assert_eq!(texts(batch)[0], "0");
            began.notify_one();
            pending().await
        });
        tokio::select! {
            run = run => panic!("{run:?}"),
            () = began.notified() => {}
        }
        setting.assert_settled(TransactionOutcome::Aborted).await;
    }
    assert_eq!(setting.copy_until("4", 1).await.unwrap(), 5);
    setting.end().await;
}

/// As after the offsets of the group have expired, or were deleted.
#[tokio::test]
async fn a_failure_leaves_a_partition_where_it_is_if_all_of_it_was_committed() {
    let mut setting = Setting::new(0).await;
    setting.cluster.create_topic("two", 2, 1).unwrap();
    let consumer: StreamConsumer = consumer_config(&setting.cluster).create().unwrap();
    let mut assignment = rdkafka::TopicPartitionList::new();
    for partition in [0, 1] {
        let offset = rdkafka::Offset::Beginning;
        assignment
            .add_partition_offset("two", partition, offset)
            .unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let subscribed = std::mem::replace(&mut setting.consumer, Arc::new(consumer));
    spawn_blocking(move || drop(subscribed)).await.unwrap();
    let sender: Producer = config(&setting.cluster).create().unwrap();
    let send = async |partition, text| {
        let record = ProducerRecord::to("two").partition(partition);
        sender.send(record.payload(text)).await.unwrap();
    };
    send(0, "first").await;
    let (options, stop) = (setting.options(), setting.stop.clone());
    let options = options.retry_if(|error| matches!(error, Failed::Own("again")));
    let seen = Mutex::new(Vec::new());
    let run = setting.run(options, async |batch, _| {
        let texts = texts(batch);
        seen.lock().unwrap().extend(texts.clone());
        match (texts[0].as_str(), batch.attempt()) {
            ("first", 1) => send(1, "fails").await,
            ("fails", 1) => return Err(Failed::Own("again")),
            ("fails", _) => send(0, "last").await,
            _ => stop.cancel(),
        }
        Ok(())
    });
    run.await.unwrap();
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen, ["first", "fails", "fails", "last"]);
    setting.end().await;
}

/// Where nothing is committed, a partition goes back to where it was, not to its beginning.
#[tokio::test]
async fn with_auto_offset_reset_latest_a_failure_goes_back_to_its_own_first_record() {
    let mut setting = Setting::new(5).await;
    let consumer: StreamConsumer = consumer_config(&setting.cluster)
        .set("auto.offset.reset", "latest")
        .create()
        .unwrap();
    let mut assignment = rdkafka::TopicPartitionList::new();
    let offset = rdkafka::Offset::Offset(3);
    assignment.add_partition_offset("in", 0, offset).unwrap();
    consumer.assign(&assignment).unwrap();
    let subscribed = std::mem::replace(&mut setting.consumer, Arc::new(consumer));
    spawn_blocking(move || drop(subscribed)).await.unwrap();
    let options = setting.options().retry_if(|_| true);
    let stop = setting.stop.clone();
    let seen = Mutex::new(Vec::new());
    let run = setting.run(options, async |batch, _| {
        seen.lock().unwrap().push(texts(batch)[0].clone());
        if batch.attempt() < 3 {
            return Err(Failed::Own("again"));
        }
        stop.cancel();
        Ok(())
    });
    run.await.unwrap();
    assert_eq!(seen.into_inner().unwrap(), ["3", "3", "3"]);
    setting.end().await;
}

#[tokio::test]
async fn a_consumer_that_would_lose_or_double_records_is_refused() {
    let mut setting = Setting::new(0).await;
    // Otherwise it would wait for records.
    setting.stop.cancel();
    for (property, value) in [
        ("enable.auto.commit", "true"),
        ("isolation.level", "read_uncommitted"),
        ("group.id", ""),
    ] {
        let mut config = consumer_config(&setting.cluster);
        if value.is_empty() {
            config.remove(property);
        } else {
            config.set(property, value);
        }
        let consumer: Arc<StreamConsumer> = Arc::new(config.create().unwrap());
        let options = setting.options();
        let producer = &mut setting.producer;
        let run = consume_transform_produce(&consumer, producer, options, async |_, _| Ok(()));
        let error = run.await.unwrap_err().kafka();
        assert_eq!(error.field(), Some(property), "{error}");
        spawn_blocking(move || drop(consumer)).await.unwrap();
    }
    setting.end().await;
}

/// It would wait for ever.
#[tokio::test]
async fn a_consumer_without_input_is_refused() {
    let setting = Setting::new(0).await;
    let consumer: Arc<StreamConsumer> =
        Arc::new(consumer_config(&setting.cluster).create().unwrap());
    let mut producer = setting.producer;
    let options = TransformOptions::new();
    let run = consume_transform_produce(&consumer, &mut producer, options, async |_, _| Ok(()));
    let run = tokio::time::timeout(DEADLINE, run).await;
    let error: KafkaError = run.expect("an end").unwrap_err();
    assert_eq!(error.code(), Some(Code::State));
    assert!(error.to_string().contains("subscribe"), "{error}");
    producer.close().await;
    spawn_blocking(move || drop((consumer, setting.consumer)))
        .await
        .unwrap();
}

#[tokio::test]
async fn without_init_it_says_so_before_it_consumes() {
    let mut setting = Setting::new(0).await;
    setting.producer = config(&setting.cluster)
        .set("transactional.id", "other")
        .create()
        .unwrap();
    let error = setting.copy_until("0", 1).await.unwrap_err().kafka();
    assert_eq!(error.code(), Some(Code::State));
    assert!(error.to_string().contains("call init"), "{error}");
    setting.end().await;
}

#[tokio::test]
async fn errors_of_the_consumer_that_go_away_are_logged() {
    let (_guard, log) = captured(Level::WARN);
    let mut setting = Setting::new(5).await;
    let unknown = Code::UnknownTopicOrPartition;
    setting.cluster.request_errors(ApiKey::Fetch, &[unknown]);
    // Sent once the first fetch has failed, or before.
    assert_eq!(setting.copy_until("4", 1).await.unwrap(), 5);
    drop(log);
    setting.end().await;
}

/// Brokers that take their time do not hold a thread of the runtime.
#[test]
fn calls_of_the_consumer_leave_the_runtime_its_thread() {
    const ROUND_TRIP: Duration = Duration::from_secs(6);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut setting = Setting::new(5).await;
        let options = setting.options().retry_if(|_| true);
        let (stop, cluster) = (setting.stop.clone(), &setting.cluster);
        let is_slow = Notify::new();
        let run = consume_transform_produce(
            &setting.consumer,
            &mut setting.producer,
            options,
            async |batch, transaction| {
                if batch.attempt() == 1 {
                    // The committed offsets are asked for over a slow connection.
                    cluster.broker_round_trip_time(1, ROUND_TRIP).unwrap();
                    is_slow.notify_one();
                    return Err(Failed::Own("again"));
                }
                copy(batch, transaction).await?;
                if is_last(batch, "4") {
                    stop.cancel();
                }
                Ok(())
            },
        );
        let others = async {
            is_slow.notified().await;
            let mut longest = Duration::ZERO;
            for _ in 0..400 {
                let before = std::time::Instant::now();
                tokio::time::sleep(Duration::from_millis(5)).await;
                longest = longest.max(before.elapsed());
            }
            cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
            longest
        };
        let (copied, longest) = join(run, others).await;
        assert_eq!(copied.unwrap(), 5);
        // A call that held the thread would do so for a round trip.
        assert!(longest < ROUND_TRIP - Duration::from_secs(1), "{longest:?}");
        setting.end().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_can_be_spawned() {
    let Setting {
        cluster,
        consumer,
        mut producer,
        stop,
    } = Setting::new(5).await;
    let options = TransformOptions::new().cancellation_token(stop.clone());
    let task = {
        let (consumer, output) = (Arc::clone(&consumer), "out".to_owned());
        spawn(async move {
            let run = consume_transform_produce(
                &consumer,
                &mut producer,
                options,
                async move |batch, transaction| {
                    for message in batch {
                        let record = ProducerRecord::to(&output).payload(message.payload());
                        transaction.send(record).await?;
                    }
                    Ok::<_, KafkaError>(())
                },
            );
            let copied = run.await;
            producer.close().await;
            copied
        })
    };
    until_records(&cluster, "out", 5).await;
    stop.cancel();
    task.await.unwrap().unwrap();
    spawn_blocking(move || drop(consumer)).await.unwrap();
}
