//! Owner of `rd_kafka_queue_t`, and the callback that says that something has come in.

use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys::bindings as sys;

use super::client::Client;
use super::convert::timeout_millis;
use super::event::Event;
use super::opaque::Opaque;
use crate::sync::catch_panic;

type Waker = dyn Fn() + Send + Sync;

/// A reference to a client's queue.
pub(crate) struct Queue {
    ptr: NonNull<sys::rd_kafka_queue_t>,
    /// Boxed, and in an `Arc`: C keeps a thin pointer, which moves of this leave valid.
    waker: Option<Arc<Box<Waker>>>,
    client: Arc<Client>,
}

// SAFETY: librdkafka's queues have a lock of their own and may be used by several threads.
unsafe impl Send for Queue {}
// SAFETY: as above; the waker is Sync and never changes while the queue is shared.
unsafe impl Sync for Queue {}

impl Queue {
    /// The main queue of a client, where all its events come in.
    pub(crate) fn main(client: &Arc<Client>) -> Self {
        // SAFETY: the client is valid; the reference that is returned is the queue owner's.
        let queue = unsafe { sys::rd_kafka_queue_get_main(client.as_ptr()) };
        Self::new(queue, Arc::clone(client))
    }

    /// Takes the reference over.
    fn new(queue: *mut sys::rd_kafka_queue_t, client: Arc<Client>) -> Self {
        let ptr = NonNull::new(queue).expect("a client has a main queue");
        Self {
            ptr,
            waker: None,
            client,
        }
    }

    /// Has `waker` called each time the queue gets its first event after having been empty.
    ///
    /// It runs on the thread that put the event there, one of librdkafka's or one that calls into
    /// it, under librdkafka's locks: it must be quick and call neither librdkafka nor anything that
    /// waits. What is in the queue already calls nobody.
    pub(crate) fn wake_with(&mut self, waker: impl Fn() + Send + Sync + 'static) {
        self.disable_waker();
        let waker: Arc<Box<Waker>> = Arc::new(Box::new(waker));
        let opaque = Arc::as_ptr(&waker);
        self.waker = Some(waker);
        // SAFETY: the queue is valid. The opaque lives until `disable_waker`, which first takes
        // the queue's lock, under which the callback runs, to unset it.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(
                self.ptr.as_ptr(),
                Some(wake),
                opaque.cast_mut().cast(),
            );
        }
    }

    fn disable_waker(&mut self) {
        if let Some(waker) = self.waker.take() {
            // SAFETY: the queue is valid. After the call nobody uses the waker.
            unsafe {
                sys::rd_kafka_queue_cb_event_enable(self.ptr.as_ptr(), None, std::ptr::null_mut());
            }
            drop(waker);
        }
    }

    /// The next event, waiting up to `timeout` for it; [`Duration::MAX`] waits without an end.
    ///
    /// # Panics
    ///
    /// Where `O` is not the type that the client was made for.
    pub(crate) fn poll<O: Opaque>(&self, timeout: Duration) -> Option<Event<O>> {
        assert!(
            self.client.carries::<O>(),
            "the client's opaques are of another type"
        );
        // SAFETY: the queue is valid; the event is ours to destroy.
        let event = unsafe { sys::rd_kafka_queue_poll(self.ptr.as_ptr(), timeout_millis(timeout)) };
        NonNull::new(event).map(|event| Event::new(event, Arc::clone(&self.client)))
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.ptr.as_ptr()
    }

    /// Has the [`poll`](Self::poll) that waits, or the next one that would, return without an event;
    /// of several that wait, one.
    pub(crate) fn interrupt(&self) {
        // SAFETY: the queue is valid.
        unsafe { sys::rd_kafka_queue_yield(self.ptr.as_ptr()) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.disable_waker();
        // SAFETY: the reference is ours, and the client, which `self` still holds, is alive.
        unsafe { sys::rd_kafka_queue_destroy(self.ptr.as_ptr()) }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.ptr).finish()
    }
}

/// What librdkafka calls on the edge from empty to not empty.
unsafe extern "C" fn wake(_client: *mut sys::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: `wake_with` registered a `Box<Waker>` that lives until the callback is unset.
    let waker = unsafe { &*opaque.cast_const().cast::<Box<Waker>>() };
    // Nobody to tell of a panic here, on a thread of C; the guard keeps it out of C.
    let _ = catch_panic(waker);
}
