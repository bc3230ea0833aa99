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
use crate::message::{Delivery, DeliveryFuture, ProducerRecord, SendError};

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
    /// # Errors
    ///
    /// Same as [`send`](Self::send).
    pub fn blocking_send(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> Result<Delivery, SendError<C::DeliveryOpaque>> {
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
    /// Same as [`enqueue`](Self::enqueue).
    pub fn blocking_enqueue(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> Result<DeliveryFuture<C::DeliveryOpaque>, SendError<C::DeliveryOpaque>> {
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
    /// Same as [`enqueue`](Self::enqueue).
    pub fn blocking_enqueue_detached(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> Result<(), SendError<C::DeliveryOpaque>> {
        self.block_on(self.enqueue_detached(record))
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
    /// Same as [`flush`](Self::flush).
    pub fn blocking_flush(&self) -> Result<FlushReport, FlushError> {
        self.block_on(self.flush())
    }

    /// Flushes as [`blocking_flush`](Self::blocking_flush) does, for up to `timeout`.
    ///
    /// # Errors
    ///
    /// Same as [`flush_timeout`](Self::flush_timeout).
    pub fn blocking_flush_timeout(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        self.block_on(self.flush_timeout(timeout))
    }

    /// Closes the producer, and blocks the thread until everything that is in flight is delivered
    /// or has failed.
    ///
    /// It does what [`close`](Self::close) does: for up to `message.timeout.ms`, 5 minutes by
    /// default. For the threads that may call it, see
    /// [`blocking_send`](Self::blocking_send).
    pub fn blocking_close(&self) -> CloseReport {
        self.block_on(self.close())
    }

    /// Closes as [`blocking_close`](Self::blocking_close) does, and purges what has not been
    /// delivered after `timeout`.
    ///
    /// It does what [`close_timeout`](Self::close_timeout) does, and is the form for a `Drop`:
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
        self.block_on(self.close_timeout(timeout))
    }
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
