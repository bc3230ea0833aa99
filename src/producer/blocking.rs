//! Calls for code that cannot await: they block the thread.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use super::access::Access;
use super::producer::Producer;
use crate::client::ProducerContext;
use crate::driver::{CloseReport, FlushError, FlushReport, PATIENCE, SLICE, StandIn};
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::message::{Delivery, DeliveryFuture, ProducerRecord, SendError};
use crate::sync::log;

impl<C: ProducerContext, A: Access> Producer<C, A> {
    /// Sends a record and blocks the thread until its delivery report has arrived.
    ///
    /// It does what [`send`](Self::send) does, for code that cannot await:
    ///
    /// ```no_run
    /// # use tokio_rdkafka::{Producer, ProducerRecord, SendError};
    /// fn audit(producer: &Producer, line: &str) -> Result<(), SendError> {
    ///     producer.blocking_send(ProducerRecord::to("audit").payload(line))?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Threads
    ///
    /// Call the `blocking_` methods on a thread outside of the runtime, or in
    /// [`spawn_blocking`](tokio::task::spawn_blocking). They also work on a thread that runs tasks,
    /// unlike those of tokio, which panic there. No other task of that thread runs meanwhile. If
    /// the runtime has no other thread, the producer's task does not run either. The call then
    /// serves the queue itself, after 100 ms, and the context's callbacks run on the calling
    /// thread. See [`docs::blocking`](crate::docs::blocking).
    ///
    /// In a callback of the context no call can wait for the producer, which does not go on before
    /// the callback returns. This also holds for a waker that the producer calls, and for the drop
    /// of a payload. Use [`try_enqueue`](Self::try_enqueue) there.
    ///
    /// # Errors
    ///
    /// Same as [`send`](Self::send), and [`State`](RDKafkaErrorCode::State) in a callback of this
    /// producer.
    pub fn blocking_send(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> Result<Delivery, SendError<C::DeliveryOpaque>> {
        if self.shared().is_served_here() {
            let error = self.record_failure(in_callback("blocking_send"));
            self.shared().count_refused(&error);
            return Err(SendError::refused(error, record));
        }
        self.block_on(self.send(record))
    }

    /// Enqueues a record, and blocks the thread while the queue is full.
    ///
    /// It does what [`enqueue`](Self::enqueue) does. The future that it returns needs no runtime:
    /// await it in a task, or block on it with any executor on a thread outside of the runtime.
    /// For the threads that may call it, see [`blocking_send`](Self::blocking_send).
    ///
    /// # Errors
    ///
    /// Same as [`enqueue`](Self::enqueue). In a callback of this producer it does not wait for
    /// capacity: it fails as [`try_enqueue`](Self::try_enqueue) does.
    pub fn blocking_enqueue(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> Result<DeliveryFuture<C::DeliveryOpaque>, SendError<C::DeliveryOpaque>> {
        if self.shared().is_served_here() {
            return Ok(self.try_enqueue(record)?);
        }
        self.block_on(self.enqueue(record))
    }

    /// Enqueues a record without a future of its delivery, and blocks the thread while the queue is
    /// full.
    ///
    /// It does what [`enqueue_detached`](Self::enqueue_detached) does. For the threads that may
    /// call it, see [`blocking_send`](Self::blocking_send).
    ///
    /// # Errors
    ///
    /// Same as [`blocking_enqueue`](Self::blocking_enqueue).
    pub fn blocking_enqueue_detached(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> Result<(), SendError<C::DeliveryOpaque>> {
        if self.shared().is_served_here() {
            return Ok(self.try_enqueue_detached(record)?);
        }
        self.block_on(self.enqueue_detached(record))
    }

    /// As [`block_on`](Self::block_on). In a callback of the producer it polls the future once.
    ///
    /// # Errors
    ///
    /// The future waits for the callback from which this is called. It has been dropped.
    fn block_on_unless_in_callback<F: Future>(
        &self,
        name: &str,
        future: F,
    ) -> Result<F::Output, KafkaError> {
        if !self.shared().is_served_here() {
            return Ok(self.block_on(future));
        }
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Ok(output),
            Poll::Pending => Err(in_callback(name)),
        }
    }

    /// Blocks the thread until the future is ready. Serves the queue meanwhile if nobody else does.
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let parked = Arc::new(Parked {
            thread: thread::current(),
            is_woken: AtomicBool::new(false),
        });
        let waker = Waker::from(Arc::clone(&parked));
        let mut stand_in = StandIn::new(self.shared());
        loop {
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            if let Poll::Ready(output) = polled {
                return output;
            }
            while !parked.is_woken.swap(false, Ordering::SeqCst) {
                if !stand_in.look(self.shared(), SLICE) {
                    thread::park_timeout(PATIENCE / 2);
                }
            }
        }
    }
}

impl<C: ProducerContext> Producer<C> {
    /// Sends queued messages at once, and blocks the thread until those that are in flight at the
    /// call are delivered or have failed.
    ///
    /// It does what [`flush`](Self::flush) does. For the threads that may call it, see
    /// [`blocking_send`](Self::blocking_send).
    ///
    /// # Errors
    ///
    /// Same as [`flush`](Self::flush), and [`State`](RDKafkaErrorCode::State) in a callback of this
    /// producer.
    pub fn blocking_flush(&self) -> Result<FlushReport, FlushError> {
        let flushed = self.block_on_unless_in_callback("blocking_flush", self.flush());
        flushed.unwrap_or_else(|error| Err(self.not_flushed(error)))
    }

    /// Flushes as [`blocking_flush`](Self::blocking_flush) does, for up to `timeout`.
    ///
    /// # Errors
    ///
    /// Same as [`flush_timeout`](Self::flush_timeout), and [`State`](RDKafkaErrorCode::State) in a
    /// callback of this producer.
    pub fn blocking_flush_timeout(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        let flush = self.flush_timeout(timeout);
        let flushed = self.block_on_unless_in_callback("blocking_flush_timeout", flush);
        flushed.unwrap_or_else(|error| Err(self.not_flushed(error)))
    }

    #[cold]
    fn not_flushed(&self, why: KafkaError) -> FlushError {
        FlushError::new(why, self.in_flight_count())
    }

    /// Closes the producer, and blocks the thread until everything that is in flight is delivered
    /// or has failed.
    ///
    /// It does what [`close`](Self::close) does: for up to `message.timeout.ms`, 5 minutes by
    /// default. For the threads that may call it, see
    /// [`blocking_send`](Self::blocking_send).
    ///
    /// In a callback of this producer the call begins the close and returns at once, because the
    /// close waits for the callback. It logs an error, and the report is empty. A later call gets
    /// the report.
    pub fn blocking_close(&self) -> CloseReport {
        let closed = self.block_on_unless_in_callback("blocking_close", self.close());
        closed.unwrap_or_else(|error| not_closed(self.client_name(), error))
    }

    /// Closes as [`blocking_close`](Self::blocking_close) does, and purges what has not been
    /// delivered after `timeout`.
    ///
    /// It does what [`close_timeout`](Self::close_timeout) does, and is the form for a `Drop`.
    /// In a callback it returns at once, as [`blocking_close`](Self::blocking_close) does.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use tokio_rdkafka::Producer;
    /// struct Audit {
    ///     producer: Producer,
    /// }
    ///
    /// impl Drop for Audit {
    ///     fn drop(&mut self) {
    ///         let report = self.producer.blocking_close_timeout(Duration::from_secs(2));
    ///         if report.undelivered + report.failed > 0 {
    ///             eprintln!("not delivered: {report:?}");
    ///         }
    ///     }
    /// }
    /// ```
    pub fn blocking_close_timeout(&self, timeout: Duration) -> CloseReport {
        let close = self.close_timeout(timeout);
        let closed = self.block_on_unless_in_callback("blocking_close_timeout", close);
        closed.unwrap_or_else(|error| not_closed(self.client_name(), error))
    }
}

#[cold]
fn in_callback(name: &str) -> KafkaError {
    let text = format!(
        "{name}: called from a callback of the producer, which it would wait for; call it outside, \
         or use try_enqueue"
    );
    KafkaError::with_text(RDKafkaErrorCode::State, text)
}

#[cold]
fn not_closed(client: Option<&str>, error: KafkaError) -> CloseReport {
    let error = error.to_string();
    log(|| {
        tracing::error!(
            client,
            error,
            "the close of a producer goes on after the callback"
        );
    });
    CloseReport::default()
}

/// A thread that waits to be woken.
struct Parked {
    thread: Thread,
    is_woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}
