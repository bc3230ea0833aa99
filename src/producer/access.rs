//! What a producer's handle may do: everything, or send alone.

/// What a [`Producer`](crate::Producer) handle may do. Sealed: it is [`FullAccess`] or
/// [`SendOnly`].
///
/// A function that sends with either kind of handle is generic over it:
///
/// ```no_run
/// use tokio_rdkafka::{Access, Producer, ProducerContext, ProducerRecord, SendError};
///
/// async fn greet<C: ProducerContext<DeliveryOpaque = ()>, A: Access>(
///     producer: &Producer<C, A>,
/// ) -> Result<(), SendError> {
///     producer.send(ProducerRecord::to("greetings").payload("hello")).await?;
///     Ok(())
/// }
/// ```
///
/// A function that takes a `&Producer` does not accept a transaction's handle.
pub trait Access: sealed::Sealed + Send + Sync + 'static {}

/// The access of a [`Producer`](crate::Producer) that was created: it can send, flush, purge,
/// describe the cluster and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullAccess {}

/// The access of a [`Producer`](crate::Producer) handle that a
/// [`Transaction`](crate::Transaction) hands out: it can send, and read the producer's state.
///
/// `Producer<C, SendOnly>` has all sends, permits, sinks and streams. It has no method that affects
/// others: no `close`, `flush`, `purge`, `ready`, `cluster`, `partitions_for`, `topics`,
/// `downgrade`, `blocking_flush` or `blocking_close`.
///
/// ```no_run
/// use tokio_rdkafka::{BoxError, DefaultProducerContext, OwnedPermit};
/// use tokio_rdkafka::{Producer, ProducerRecord, SendOnly, Transaction};
///
/// async fn send(transaction: &Transaction<'_>) -> Result<(), BoxError> {
///     let handle: Producer<DefaultProducerContext, SendOnly> = transaction.handle();
///     let permit: OwnedPermit<_, SendOnly> = handle.reserve_owned().await?;
///     permit.send(ProducerRecord::to("t").payload("v")).await?;
///     transaction.flush().await?;
///     Ok(())
/// }
/// ```
///
/// These do not compile:
///
/// ```compile_fail,E0599
/// async fn close(transaction: &tokio_rdkafka::Transaction<'_>) {
///     transaction.close().await;
/// }
/// ```
///
/// ```compile_fail,E0599
/// async fn close(transaction: &tokio_rdkafka::Transaction<'_>) {
///     transaction.close_timeout(std::time::Duration::ZERO).await;
/// }
/// ```
///
/// ```compile_fail,E0599
/// async fn flush_others(transaction: &tokio_rdkafka::Transaction<'_>) {
///     transaction.handle().flush().await.unwrap();
/// }
/// ```
///
/// ```compile_fail,E0599
/// async fn purge(transaction: &tokio_rdkafka::Transaction<'_>) {
///     transaction.purge(tokio_rdkafka::PurgeConfig::default().queue()).await;
/// }
/// ```
///
/// ```compile_fail,E0599
/// async fn ready(transaction: &tokio_rdkafka::Transaction<'_>) {
///     transaction.ready(std::time::Duration::ZERO).await.unwrap();
/// }
/// ```
///
/// ```compile_fail,E0599
/// async fn cluster(transaction: &tokio_rdkafka::Transaction<'_>) {
///     transaction.cluster(std::time::Duration::ZERO).await.unwrap();
/// }
/// ```
///
/// ```compile_fail,E0599
/// async fn topics(transaction: &tokio_rdkafka::Transaction<'_>) {
///     transaction.topics(std::time::Duration::ZERO).await.unwrap();
/// }
/// ```
///
/// ```compile_fail,E0599
/// async fn partitions_for(transaction: &tokio_rdkafka::Transaction<'_>) {
///     transaction.partitions_for("t", std::time::Duration::ZERO).await.unwrap();
/// }
/// ```
///
/// ```compile_fail,E0599
/// fn downgrade(transaction: &tokio_rdkafka::Transaction<'_>) {
///     transaction.downgrade();
/// }
/// ```
///
/// ```compile_fail,E0599
/// async fn close(transaction: &tokio_rdkafka::Transaction<'_>) {
///     transaction.sink().producer().close().await;
/// }
/// ```
///
/// ```compile_fail,E0599
/// async fn close(transaction: &tokio_rdkafka::Transaction<'_>) {
///     transaction.reserve_owned().await.unwrap().producer().close().await;
/// }
/// ```
///
/// ```compile_fail,E0308
/// use tokio_rdkafka::{Producer, Transaction};
///
/// fn full(transaction: &Transaction<'_>) -> Producer {
///     transaction.handle()
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOnly {}

impl Access for FullAccess {}
impl Access for SendOnly {}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for FullAccess {}
impl sealed::Sealed for SendOnly {}
