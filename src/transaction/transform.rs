//! Consume, transform, produce: a loop in which each record of an input counts exactly once.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use futures_util::future::{Either, select};
use futures_util::stream::StreamExt;
use rdkafka::Message;
use rdkafka::consumer::stream_consumer::MessageStream;
use rdkafka::consumer::{Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::KafkaError as ConsumerError;
use rdkafka::message::BorrowedMessage;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::consumed_batch::ConsumedBatch;
use super::consumed_offsets::ConsumedOffsets;
use super::consumer_call::{consumer_error, is_lasting, on_thread};
use super::positions::Positions;
use super::producer::TransactionalProducer;
use super::retries::RetryPolicy;
use super::rewind::rewind_to;
use super::transaction::Transaction;
use super::transform_options::TransformOptions;
use crate::client::ProducerContext;
use crate::error::{Class, KafkaError, RDKafkaErrorCode};
use crate::ffi::property_of_client;
use crate::producer::Producer;
use crate::sync::{coop, log};
use crate::values::{ConsumerGroupMetadata, TopicPartitionOffset};

/// Consumes records, transforms them and produces the results, each exactly once.
///
/// It takes a batch of records and runs the function in a transaction. Then it adds the consumed
/// offsets to the transaction and commits it. So the results of a batch and its offsets become
/// visible together or not at all. It goes on until it is [stopped](#stop) or fails, and returns
/// the number of records whose commit was confirmed. Available with the feature `rdkafka`.
///
/// Create the consumer with `enable.auto.commit=false`, and with `isolation.level=read_committed`,
/// which is the default, and subscribe it. [Initialize](TransactionalProducer::init) the producer.
/// Both belong to the same cluster: a transaction with offsets of another cluster would not move the
/// consumer's group. To share the work, run more instances in the same group, each with its own
/// `transactional.id`.
///
/// Nothing else may poll or seek the consumer, or commit its offsets, while the loop runs. A record
/// that another task takes from it is skipped: the next commit covers it.
///
/// The error of the function is any type that a [`KafkaError`] converts into: `KafkaError` itself,
/// [`BoxError`](crate::BoxError), or an enum of yours.
///
/// ```no_run
/// use std::sync::Arc;
/// use rdkafka::Message;
/// use rdkafka::consumer::StreamConsumer;
/// use tokio_rdkafka::{
///     KafkaError, ProducerRecord, TransactionalProducer, TransformOptions,
///     consume_transform_produce,
/// };
/// use tokio_util::sync::CancellationToken;
///
/// async fn copy(
///     consumer: Arc<StreamConsumer>,
///     producer: &mut TransactionalProducer,
///     stop: CancellationToken,
/// ) -> Result<u64, KafkaError> {
///     let options = TransformOptions::new().cancellation_token(stop);
///     consume_transform_produce(&consumer, producer, options, async |batch, transaction| {
///         for message in batch {
///             let record = ProducerRecord::to("copy").payload(message.payload());
///             transaction.enqueue_detached(record).await?;
///         }
///         Ok(())
///     })
///     .await
/// }
/// ```
///
/// # Where it begins
///
/// At the committed offsets of the group. A consumer that has returned messages before is taken
/// back to them first, as by [`rewind`](crate::rewind). So after an error, a stop or the drop of
/// its future the loop can be run again with the same consumer and producer.
///
/// After each rebalance it compares the first record of each partition with the committed offset,
/// and takes the consumer back there if they differ: librdkafka may begin at `auto.offset.reset`
/// instead, if the group rebalances while a transaction of another instance is being committed. With
/// `latest` it finds out when the next record of the partition comes. A consumer that goes back behind
/// what the loop has committed is taken back as well, once: if the log is shorter than it was,
/// `auto.offset.reset` decides.
///
/// A group without committed offsets begins as `auto.offset.reset` of the consumer says. Its default
/// is `latest`: the first start then skips what the topic has already. Set it to `earliest`.
///
/// # Errors and retries
///
/// After a failure the transaction is aborted, the consumer goes back to its committed offsets, and
/// the loop goes on, after a pause, if
///
/// - the group has rebalanced, so that the coordinator refused the offsets;
/// - a record failed for a [retriable](KafkaError::is_retriable) reason, whatever error the
///   function has returned;
/// - the transaction [requires an abort](KafkaError::requires_abort) for another reason than a
///   record that was refused, or a call timed out;
/// - a fatal error occurred that a [renewal](TransactionalProducer#renewal) cures. If the outcome
///   of a commit is not known then, the committed offsets tell it;
/// - [`retry_if`](TransformOptions::retry_if) says so.
///
/// The number of tries in a row has a [bound](TransformOptions::retries). All other errors end the
/// loop at once, after an abort:
///
/// - the error of the function;
/// - the error of a commit with a record that a broker refused. Its [source](std::error::Error::source)
///   is the record's error;
/// - [fencing](KafkaError::is_fenced), whatever the function has returned;
/// - an error of the consumer that is [fatal](KafkaError::is_fatal), or that does not go away: a
///   missing authorization, a part of the log that cannot be read, or no offset to begin at. Its
///   text begins with "consumer". Other errors of the consumer are logged as warnings;
/// - `enable.auto.commit` or `isolation.level` of the consumer is not as above, or the consumer has
///   no `group.id`: [`field`](KafkaError::field) names the property;
/// - [`State`](RDKafkaErrorCode::State): the consumer is not subscribed and has no partitions, or the
///   producer is not initialized;
/// - the system has no thread for a call of the consumer, or the runtime has no timers
///   (`enable_time`).
///
/// A batch that fails each time is for the function to decide about, by its error, `retry_if` and
/// [`attempt`](ConsumedBatch::attempt). For instance it can send a record that was refused to a
/// topic for such records in the next try: see [the page](crate::docs::transactions).
///
/// # Stop
///
/// Once the token is cancelled, no batch begins. If the function is running, it is dropped, and the
/// transaction is aborted. If it has returned `Ok`, the batch is committed first. So a function
/// stops the loop after its own batch if it cancels the token at its end. A batch whose commit fails
/// after that is not tried again: the number that the loop returns does not count it, and the next
/// start reads it. Nothing is left open. If the cluster answers, this takes milliseconds, otherwise
/// up to `transaction.timeout.ms`, and an error says what could not be completed.
///
/// The consumer stays in its group. Its drop leaves the group and blocks: drop the last `Arc` on a
/// thread that may block, for instance in `tokio::task::spawn_blocking`.
///
/// # Time
///
/// The consumer is not polled while a batch is worked on, and in pauses. Function and commit must
/// take less than `max.poll.interval.ms` of the consumer (5 minutes). Otherwise it loses its
/// partitions, and the batch is worked on again.
///
/// From the first record that the function sends to the commit, it must take less than
/// `transaction.timeout.ms` of the producer (60 s). Otherwise the coordinator aborts the
/// transaction, and the loop ends with an error that is [fenced](KafkaError::is_fenced). Nothing is
/// lost: create and initialize another producer, and run the loop again. Set
/// [`max_records`](TransformOptions::max_records) lower, or the time-out higher.
///
/// Calls of the consumer that block run on threads named `rdkafka-block`.
///
/// # Cancel safety
///
/// If the future is dropped, the transaction is aborted, unless its commit has begun: see
/// [`Transaction::commit`].
///
/// # Spawning it
///
/// `tokio::spawn` needs a `Send` future. Write `async move |batch, transaction|` for that. The
/// compiler does not find the future `Send` if the function borrows what it captures, or changes
/// it. Use an `Arc`, and an atomic or a mutex.
pub async fn consume_transform_produce<C, K, R, E>(
    consumer: &Arc<StreamConsumer<K, R>>,
    producer: &mut TransactionalProducer<C>,
    options: TransformOptions<E>,
    mut function: impl AsyncFnMut(&ConsumedBatch<'_>, &Transaction<'_, C>) -> Result<(), E>,
) -> Result<u64, E>
where
    C: ProducerContext,
    K: ConsumerContext + 'static,
    R: Send + Sync + 'static,
    E: From<KafkaError>,
{
    check_consumer(&**consumer)?;
    producer.check_initialized().await?;
    check_input(consumer).await?;
    let stop = options.stop.clone();
    let timers = producer.producer.clone();
    let mut messages = consumer.stream();
    let mut retries = options.retries;
    let mut attempt: u32 = 1;
    let mut committed = 0;
    // The offsets of the first records that were consumed and not committed. Not known before the
    // consumer has been taken back once.
    let mut firsts = None;
    let mut positions = Positions::default();
    let mut must_rewind = true;
    loop {
        let failed = 'failed: {
            if must_rewind {
                // Before the offsets are asked for: they tell what became of the last transaction.
                if let Err(error) = producer.settle_and_renew().await {
                    break 'failed Some(judge(producer, &options, error.into()));
                }
                if let Err(failed) = rewind_unless_stopped(consumer, &firsts, &options).await {
                    break 'failed Some(failed);
                }
            }
            must_rewind = true;
            let firsts = firsts.get_or_insert_default();
            let filled = fill(consumer, &mut messages, firsts, &timers, &options).await;
            let mut batch = match filled {
                Ok(Some(batch)) => batch,
                // Stopped; no transaction has begun.
                Ok(None) => return Ok(committed),
                Err(failed) => break 'failed Some(failed),
            };
            let checked = positions.check(consumer, &batch, options.rewind_timeout);
            match unless_stopped(&stop, checked).await {
                Some(Ok(true)) => {}
                Some(Ok(false)) => {
                    let client = producer.client_name();
                    log(|| {
                        tracing::debug!(
                            client,
                            "the consumer is not at its committed offsets; it is taken back"
                        )
                    });
                    break 'failed None;
                }
                // It stops.
                None => break 'failed None,
                Some(Err(error)) => break 'failed Some(of_consumer(error)),
            }
            batch.attempt = attempt;
            match transact(producer, &mut retries, &options, &batch, &mut function).await {
                Ok(true) => {
                    positions.committed(&batch);
                    committed += batch.len() as u64;
                    retries = options.retries;
                    attempt = 1;
                    firsts.clear();
                    must_rewind = false;
                    None
                }
                // Stopped; the transaction was aborted.
                Ok(false) => return Ok(committed),
                Err(failure) => Some(judge(producer, &options, failure)),
            }
        };
        let error = match failed {
            None => continue,
            Some(Failed::Again(error)) => error,
            Some(Failed::Ends(error)) => return Err(error),
        };
        let Some(pause) = retries.next() else {
            return Err(error);
        };
        attempt = attempt.saturating_add(1);
        let client = producer.client_name();
        log(|| {
            tracing::debug!(
                client,
                attempt,
                ?pause,
                "a batch failed; its records are read again"
            )
        });
        match unless_stopped(&stop, timers.pause(pause)).await {
            Some(Ok(())) => {}
            Some(Err(_)) => return Err(error),
            None => {
                // A commit or an abort may have timed out.
                producer.settle().await?;
                return Ok(committed);
            }
        }
    }
}

/// Why a batch was not committed.
enum Failed<E> {
    /// Another try may succeed.
    Again(E),
    /// It ends the loop.
    Ends(E),
}

impl<E: From<KafkaError>> From<KafkaError> for Failed<E> {
    fn from(error: KafkaError) -> Self {
        Self::Ends(error.into())
    }
}

/// The error of a transaction that has ended, or did not begin.
struct Failure<E> {
    error: E,
    /// This library's error behind it.
    cause: Option<KafkaError>,
    may_retry: bool,
}

impl<E: From<KafkaError>> From<KafkaError> for Failure<E> {
    fn from(error: KafkaError) -> Self {
        Self {
            error: error.clone().into(),
            cause: Some(error),
            may_retry: true,
        }
    }
}

fn judge<C: ProducerContext, E: From<KafkaError>>(
    producer: &TransactionalProducer<C>,
    options: &TransformOptions<E>,
    failure: Failure<E>,
) -> Failed<E> {
    if let Some(fenced) = producer.fatal_error().filter(KafkaError::is_fenced) {
        return Failed::Ends(fenced.into());
    }
    let Failure { error, cause, .. } = failure;
    let may_go_away = |cause: KafkaError| producer.may_go_away(&cause) && !is_lasting(&cause);
    let retries = || options.retry_if.as_ref().is_some_and(|retry| retry(&error));
    if failure.may_retry && (cause.is_some_and(may_go_away) || retries()) {
        Failed::Again(error)
    } else {
        Failed::Ends(error)
    }
}

/// Refuses a consumer with which records would be lost or counted twice.
fn check_consumer<K: ConsumerContext>(consumer: &impl Consumer<K>) -> Result<(), KafkaError> {
    let needed = [
        ("enable.auto.commit", "false"),
        ("isolation.level", "read_committed"),
    ];
    for (property, value) in needed {
        if property_of_client(consumer.client(), property).as_deref() != Some(value) {
            let text = format!("{property} of the consumer must be {value}");
            return Err(KafkaError::config(Some(property), text));
        }
    }
    let group = property_of_client(consumer.client(), "group.id");
    if group.is_none_or(|group| group.is_empty()) {
        let text = "the consumer has no group.id";
        return Err(KafkaError::config(Some("group.id"), text));
    }
    Ok(())
}

/// Refuses a consumer that would never return a record.
async fn check_input<K, R>(consumer: &Arc<StreamConsumer<K, R>>) -> Result<(), KafkaError>
where
    K: ConsumerContext + 'static,
    R: Send + Sync + 'static,
{
    let has_input = on_thread("consumer", consumer, |consumer| {
        Ok(consumer.subscription()?.count() + consumer.assignment()?.count() > 0)
    });
    match has_input.await? {
        Ok(true) => Ok(()),
        Ok(false) => {
            let text =
                "consumer: it has no input; subscribe it, or assign partitions to it, before";
            Err(KafkaError::with_text(RDKafkaErrorCode::State, text))
        }
        Err(error) => Err(consumer_error("consumer", &error)),
    }
}

/// Awaits a future. Returns `None` if the token is cancelled first.
async fn unless_stopped<T>(stop: &CancellationToken, future: impl Future<Output = T>) -> Option<T> {
    // The future first: what has completed counts.
    match select(pin!(future), pin!(stop.cancelled())).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// Takes the consumer back. If the token is cancelled meanwhile, the next call does that.
async fn rewind_unless_stopped<K, R, E>(
    consumer: &Arc<StreamConsumer<K, R>>,
    firsts: &Option<Vec<TopicPartitionOffset>>,
    options: &TransformOptions<E>,
) -> Result<(), Failed<E>>
where
    K: ConsumerContext + 'static,
    R: Send + Sync + 'static,
    E: From<KafkaError>,
{
    let rewind = rewind_to(consumer, firsts.clone(), options.rewind_timeout);
    match unless_stopped(&options.stop, rewind).await {
        None | Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(of_consumer(error)),
    }
}

/// Most errors of a consumer's calls go away: a coordinator moves, or the group rebalances.
fn of_consumer<E: From<KafkaError>>(error: KafkaError) -> Failed<E> {
    if error.is_fatal() || error.code().is_none() || is_lasting(&error) {
        Failed::Ends(error.into())
    } else {
        Failed::Again(error.into())
    }
}

enum Next<'c> {
    Message(BorrowedMessage<'c>),
    Failed(ConsumerError),
    IsFull,
    LacksTimers(KafkaError),
    Stopped,
}

/// Takes the next batch. Adds the first offset of each partition to `firsts`. Returns `None` if the
/// token was cancelled.
async fn fill<'c, C, K, R, E>(
    consumer: &'c Arc<StreamConsumer<K, R>>,
    messages: &mut MessageStream<'c, K>,
    firsts: &mut Vec<TopicPartitionOffset>,
    timers: &Producer<C>,
    options: &TransformOptions<E>,
) -> Result<Option<ConsumedBatch<'c>>, Failed<E>>
where
    C: ProducerContext,
    K: ConsumerContext + 'static,
    R: Send + Sync + 'static,
    E: From<KafkaError>,
{
    let mut batch = ConsumedBatch {
        messages: Vec::new(),
        consumed: ConsumedOffsets::new(),
        attempt: 1,
    };
    let mut stopped = pin!(options.stop.cancelled());
    let mut is_full = pin!(timers.pause(options.max_wait));
    let mut began = None;
    while batch.messages.len() < options.max_records {
        let is_empty = batch.messages.is_empty();
        let next = poll_fn(|cx| {
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Next::Stopped);
            }
            ready!(coop::poll_delivery(cx));
            match messages.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(message))) => return Poll::Ready(Next::Message(message)),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Next::Failed(error)),
                // The stream of a consumer never ends.
                Poll::Ready(None) | Poll::Pending => {}
            }
            if is_empty {
                return Poll::Pending;
            }
            Poll::Ready(match ready!(is_full.as_mut().poll(cx)) {
                Ok(()) => Next::IsFull,
                Err(error) => Next::LacksTimers(error),
            })
        });
        match next.await {
            Next::Message(message) => {
                note_first(firsts, &message);
                if is_empty {
                    // The consumer is not polled meanwhile. So the group cannot go on to a
                    // generation in which the message belongs to another member.
                    batch.consumed = ConsumedOffsets::of_group(membership(consumer).await?);
                }
                batch
                    .consumed
                    .add_message(&message)
                    .map_err(of_consumer::<E>)?;
                batch.messages.push(message);
                // The timer is asked only if no message is there.
                let began = *began.get_or_insert_with(Instant::now);
                if !options.max_wait.is_zero() && began.elapsed() >= options.max_wait {
                    break;
                }
            }
            Next::IsFull => break,
            Next::Stopped => return Ok(None),
            Next::LacksTimers(error) => return Err(error.into()),
            Next::Failed(ConsumerError::PartitionEOF(_)) => {}
            Next::Failed(error) => {
                let error = consumer_error("consumer", &error);
                if error.is_fatal() || is_lasting(&error) {
                    return Err(error.into());
                }
                let (client, error) = (timers.client_name(), error.to_string());
                log(|| tracing::warn!(client, error, "the consumer goes on after an error"));
            }
        }
    }
    Ok(Some(batch))
}

fn note_first(firsts: &mut Vec<TopicPartitionOffset>, message: &BorrowedMessage<'_>) {
    let (topic, partition) = (message.topic(), message.partition());
    let mut known = firsts.iter();
    if !known.any(|it| (it.topic(), it.partition()) == (topic, partition)) {
        firsts.push(TopicPartitionOffset::new(
            topic,
            partition,
            message.offset(),
        ));
    }
}

/// Returns the consumer's membership in its group.
async fn membership<K, R, E>(
    consumer: &Arc<StreamConsumer<K, R>>,
) -> Result<ConsumerGroupMetadata, Failed<E>>
where
    K: ConsumerContext + 'static,
    R: Send + Sync + 'static,
    E: From<KafkaError>,
{
    let asked = on_thread("consumer", consumer, |consumer| {
        let group = ConsumerGroupMetadata::from_consumer(consumer)?;
        let subscription = consumer
            .subscription()
            .map_err(|error| consumer_error("consumer", &error))?;
        Ok((group, subscription.count() > 0))
    });
    let (group, is_subscribed) = asked.await?.map_err(of_consumer::<E>)?;
    // The coordinator refuses them, or checks no offsets of somebody who is no member.
    if is_subscribed && (group.generation_id() < 0 || group.member_id().is_empty()) {
        let text = "the consumer has lost its partitions, because the group rebalanced without it";
        let code = RDKafkaErrorCode::AssignmentLost;
        let error = KafkaError::of_call(Class::RequiresAbort, code, text);
        return Err(Failed::Again(error.into()));
    }
    Ok(group)
}

/// Runs the function in a transaction, and commits it with the offsets of the batch. Returns false
/// if the token was cancelled, and the transaction aborted.
async fn transact<C, E>(
    producer: &mut TransactionalProducer<C>,
    retries: &mut RetryPolicy,
    options: &TransformOptions<E>,
    batch: &ConsumedBatch<'_>,
    function: &mut impl AsyncFnMut(&ConsumedBatch<'_>, &Transaction<'_, C>) -> Result<(), E>,
) -> Result<bool, Failure<E>>
where
    C: ProducerContext,
    E: From<KafkaError>,
{
    let timers = producer.producer.clone();
    let mut transaction = producer.begin().await?;
    match unless_stopped(&options.stop, function(batch, &transaction)).await {
        None => {
            transaction.abort().await.map_err(not_to_be_retried)?;
            return Ok(false);
        }
        Some(Ok(())) => {}
        Some(Err(error)) => {
            let cause = transaction.failure();
            transaction.abort_or_log().await;
            return Err(Failure {
                error,
                cause,
                may_retry: true,
            });
        }
    }
    if let Err(error) = transaction.send_consumed(&batch.consumed).await {
        return Err(failed_call(transaction.abort_after(error).await));
    }
    loop {
        let (same, error) = match transaction.commit().await {
            Ok(()) => return Ok(true),
            Err(failed) => failed.into_parts(),
        };
        transaction = match same {
            // The commit goes on.
            Some(same) if error.is_retriable() => {
                let pause = retries.next().filter(|_| !options.stop.is_cancelled());
                let Some(pause) = pause else {
                    return Err(not_to_be_retried(error));
                };
                if timers.pause(pause).await.is_err() {
                    return Err(not_to_be_retried(error));
                }
                same
            }
            Some(same) => {
                return Err(failed_call(same.abort_after(error).await));
            }
            None => return Err(error.into()),
        };
    }
}

fn failed_call<E: From<KafkaError>>((error, cause): (KafkaError, KafkaError)) -> Failure<E> {
    Failure {
        cause: Some(cause),
        ..error.into()
    }
}

fn not_to_be_retried<E: From<KafkaError>>(error: KafkaError) -> Failure<E> {
    Failure {
        may_retry: false,
        ..error.into()
    }
}
