//! Whether a producer can reach its brokers.

use tokio::sync::watch;

use super::access::Access;
use super::producer::Producer;
use crate::client::ProducerContext;
use crate::values::Health;

impl<C: ProducerContext, A: Access> Producer<C, A> {
    /// Returns a receiver of the producer's [`Health`]: whether its brokers answer, and if not, why.
    ///
    /// The value changes within a second of what this client notices: a connection that breaks or
    /// is refused, a login or a certificate that is refused, a broker that answers again. It is
    /// [`Up`](Health::Up) again after an outage, also if no record is sent. A receiver does not keep
    /// the producer open. After [`Terminated`](Health::Terminated), `changed` returns an error.
    ///
    /// A readiness probe:
    ///
    /// ```no_run
    /// # fn run(producer: tokio_rdkafka::Producer) {
    /// let health = producer.health();
    /// let is_ready = move || health.borrow().is_ready();
    /// # let _ = is_ready();
    /// # }
    /// ```
    ///
    /// A log of all changes:
    ///
    /// ```no_run
    /// # async fn run(producer: tokio_rdkafka::Producer) {
    /// let mut health = producer.health();
    /// tokio::spawn(async move {
    ///     while health.changed().await.is_ok() {
    ///         let health = health.borrow_and_update().clone();
    ///         println!("{health}");
    ///     }
    /// });
    /// # }
    /// ```
    ///
    /// Clone the value out of a receiver, and do not hold its `borrow` across an `.await`: changes
    /// wait for the end of a borrow, and block a thread of the runtime meanwhile.
    ///
    /// Call it once, and keep the receiver. One that is created while nobody holds another starts with
    /// what is known: [`Up`](Health::Up) if a broker has answered or taken a record and none has
    /// failed since, otherwise [`Connecting`](Health::Connecting). It knows more after half a second.
    ///
    /// # What it notices
    ///
    /// It knows what librdkafka knows. A broker that hangs, or whose host is cut off, is noticed
    /// when a request to it times out ([`socket.timeout.ms`]); an idle producer has no such request.
    /// A broker that closes an idle connection is not taken for down: it is asked again at once.
    /// With a [log level](Producer::set_log_level) below `Info`, failures that appear only in the
    /// log go unnoticed.
    ///
    /// A [degraded](Health::Degraded) producer is up again as soon as the missing brokers answer.
    /// librdkafka reconnects after at most `reconnect.backoff.max.ms`, 500 ms by
    /// [default](crate::ClientConfig#changed-defaults). A broker that the cluster stops to list is up
    /// as soon as it is listed again. If that does not happen for 5 minutes, it was removed, and
    /// counts no more.
    ///
    /// # Cost
    ///
    /// While anybody holds a receiver, one task of the producer's runtime watches. While all brokers
    /// are up it does nothing. Otherwise it asks each broker that is down every 400 ms; while none
    /// is up, the thread of [`ready`](Producer::ready) asks.
    ///
    /// [`socket.timeout.ms`]: Producer#a-broker-that-does-not-answer
    pub fn health(&self) -> watch::Receiver<Health> {
        let (receiver, watch) = self.shared().health();
        watch.into_iter().for_each(|watch| self.spawn(watch));
        receiver
    }
}
