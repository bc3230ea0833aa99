//! Owner of `rd_kafka_queue_t`, and the callback that announces events.

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
    /// Boxed inside the `Arc`, because C needs a thin pointer. Moving `self` leaves it valid.
    waker: Option<Arc<Box<Waker>>>,
    client: Arc<Client>,
}

// SAFETY: a queue of librdkafka has its own lock, and any number of threads may use it.
unsafe impl Send for Queue {}
// SAFETY: as above. The waker is `Sync`, and changes only through `&mut self`.
unsafe impl Sync for Queue {}

impl Queue {
    /// Returns the main queue of a client, on which all its events arrive.
    pub(crate) fn main(client: &Arc<Client>) -> Self {
        // SAFETY: the client is valid. `Self` owns the returned reference.
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

    /// Sets a function that is called each time the queue changes from empty to not empty.
    ///
    /// It runs on the thread that enqueues the event, under librdkafka's locks. That thread may be
    /// one of librdkafka's, or one that calls librdkafka. The function must be quick, must not
    /// block, and must not call librdkafka. It is not called for events that are already in the
    /// queue.
    pub(crate) fn wake_with(&mut self, waker: impl Fn() + Send + Sync + 'static) {
        self.disable_waker();
        let waker: Arc<Box<Waker>> = Arc::new(Box::new(waker));
        let opaque = Arc::as_ptr(&waker);
        self.waker = Some(waker);
        // SAFETY: the queue is valid. The opaque lives until `disable_waker` has unset the
        // callback. That takes the queue's lock, under which the callback runs, so the callback has
        // returned.
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
            // SAFETY: the queue is valid. After the call librdkafka no longer uses the waker.
            unsafe {
                sys::rd_kafka_queue_cb_event_enable(self.ptr.as_ptr(), None, std::ptr::null_mut());
            }
            drop(waker);
        }
    }

    /// Returns the next event, or `None` after `timeout`. [`Duration::MAX`] means no limit.
    ///
    /// # Panics
    ///
    /// Panics if the client was not created for opaques of type `O`.
    pub(crate) fn poll<O: Opaque>(&self, timeout: Duration) -> Option<Event<O>> {
        assert!(
            self.client.carries::<O>(),
            "the client was created for opaques of another type"
        );
        // SAFETY: the queue is valid; the event is ours to destroy.
        let event = unsafe { sys::rd_kafka_queue_poll(self.ptr.as_ptr(), timeout_millis(timeout)) };
        NonNull::new(event).map(|event| Event::new(event, Arc::clone(&self.client)))
    }

    /// Returns the number of events in the queue.
    pub(crate) fn len(&self) -> u64 {
        // SAFETY: the queue is valid.
        unsafe { sys::rd_kafka_queue_length(self.ptr.as_ptr()) as u64 }
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.ptr.as_ptr()
    }

    /// Makes one [`poll`](Self::poll) that waits return without an event. If none waits, makes the
    /// next one that would wait return.
    pub(crate) fn interrupt(&self) {
        // SAFETY: the queue is valid.
        unsafe { sys::rd_kafka_queue_yield(self.ptr.as_ptr()) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.disable_waker();
        // SAFETY: the reference is ours. The client is alive, as `self` still holds it.
        unsafe { sys::rd_kafka_queue_destroy(self.ptr.as_ptr()) }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.ptr).finish()
    }
}

/// The C callback for a change from empty to not empty.
unsafe extern "C" fn wake(_client: *mut sys::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: `wake_with` registered a `Box<Waker>` that lives until the callback is unset.
    let waker = unsafe { &*opaque.cast_const().cast::<Box<Waker>>() };
    // A panic must not unwind into C, and on this thread there is nobody to report it to.
    let _ = catch_panic(waker);
}
