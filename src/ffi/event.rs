//! Owner of `rd_kafka_event_t`.

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka_sys::bindings as sys;

use super::answer::Answer;
use super::client::Client;
use super::convert::to_string;
use super::message::{Batch, BorrowedMessage};
use super::opaque::{Opaque, PayloadGuard};
use super::redeclared::rd_kafka_event_error;
use crate::sync::drop_payloads;

/// An event of the main queue.
#[derive(Debug)]
pub(crate) enum Event<O: Opaque> {
    /// Delivery reports.
    Delivery(DeliveryEvent<O>),
    /// A log line. `level` is a syslog level.
    Log {
        level: i32,
        facility: String,
        text: String,
    },
    /// A client-level error. A fatal one has the actual code, not `_FATAL`.
    Error {
        code: i32,
        text: String,
        is_fatal: bool,
    },
    /// Statistics, as JSON.
    Stats(String),
    /// librdkafka needs an OAuth token. Has the value of `sasl.oauthbearer.config`, if that is set.
    OAuthTokenRefresh(Option<String>),
    /// The answer to an admin request.
    Answer(Answer),
    /// An event of another kind.
    Other,
}

impl<O: Opaque> Event<O> {
    /// Returns true if no event overtakes it, nor it another such event. librdkafka gives the other
    /// kinds a priority (`rd_kafka_op_set_prio`), and so puts them before those that wait.
    pub(crate) fn is_ordered(&self) -> bool {
        match self {
            Event::Delivery(_) | Event::Error { .. } | Event::Answer(_) => true,
            Event::Log { .. } | Event::Stats(_) | Event::OAuthTokenRefresh(_) | Event::Other => {
                false
            }
        }
    }

    /// Takes the event over. Copies and destroys it at once, unless it has delivery reports.
    pub(super) fn new(ptr: NonNull<sys::rd_kafka_event_t>, client: Arc<Client>) -> Self {
        let event = RawEvent { ptr, client };
        // SAFETY: the event is valid.
        match unsafe { sys::rd_kafka_event_type(ptr.as_ptr()) } {
            sys::RD_KAFKA_EVENT_DR => Event::Delivery(DeliveryEvent {
                event,
                payload_guards: PayloadGuards::default(),
                batch: Batch {
                    has_offsets: false,
                    failed: 0,
                    now: None,
                },
                is_begun: false,
                is_chunk_begun: false,
                opaque: PhantomData,
            }),
            sys::RD_KAFKA_EVENT_LOG => {
                let (mut facility, mut text, mut level) = (ptr::null(), ptr::null(), 0);
                // SAFETY: the event is valid and a log event. The strings are C strings that live
                // as long as it does.
                unsafe {
                    sys::rd_kafka_event_log(ptr.as_ptr(), &mut facility, &mut text, &mut level);
                    Event::Log {
                        level,
                        facility: to_string(facility),
                        text: to_string(text),
                    }
                }
            }
            sys::RD_KAFKA_EVENT_ERROR => event.into_error(),
            sys::RD_KAFKA_EVENT_STATS => {
                // SAFETY: the event is valid; the string lives as long as it does.
                Event::Stats(unsafe { to_string(sys::rd_kafka_event_stats(ptr.as_ptr())) })
            }
            sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH => {
                // SAFETY: the event is valid. The string is NULL or a C string that lives as long
                // as the client, which the event holds.
                let config = unsafe {
                    let config = sys::rd_kafka_event_config_string(ptr.as_ptr());
                    (!config.is_null()).then(|| to_string(config))
                };
                Event::OAuthTokenRefresh(config)
            }
            sys::RD_KAFKA_EVENT_DESCRIBECLUSTER_RESULT
            | sys::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT => {
                // SAFETY: the event is valid and has one of these types.
                Event::Answer(unsafe { Answer::new(ptr.as_ptr()) })
            }
            _ => Event::Other,
        }
    }
}

/// Owner of the C event.
#[derive(Debug)]
struct RawEvent {
    ptr: NonNull<sys::rd_kafka_event_t>,
    /// Keeps the client alive as long as the event.
    client: Arc<Client>,
}

// SAFETY: librdkafka lets any thread use an event, not only the one that polled it.
unsafe impl Send for RawEvent {}

impl RawEvent {
    /// Converts an error event.
    ///
    /// librdkafka has already replaced `_FATAL` by the actual code and reason
    /// (`rd_kafka_event_setup`), so only the flag says that an error is fatal.
    fn into_error<O: Opaque>(self) -> Event<O> {
        let event = self.ptr.as_ptr();
        // SAFETY: the event is valid and an error event. The string lives as long as it does.
        unsafe {
            Event::Error {
                code: rd_kafka_event_error(event.cast()),
                text: to_string(sys::rd_kafka_event_error_string(event)),
                is_fatal: sys::rd_kafka_event_error_is_fatal(event) != 0,
            }
        }
    }
}

impl Drop for RawEvent {
    fn drop(&mut self) {
        // SAFETY: the event is ours. The client is alive, as `self` still holds it.
        unsafe { sys::rd_kafka_event_destroy(self.ptr.as_ptr()) }
    }
}

/// An event with delivery reports.
///
/// Its messages and their borrowed payloads live until it is dropped. librdkafka's own count of
/// outstanding messages falls only then.
///
/// Dropping it frees the opaques of messages that have not been taken.
pub(crate) struct DeliveryEvent<O: Opaque> {
    event: RawEvent,
    // Declared after the event, and so dropped after it: its messages point to the payloads.
    payload_guards: PayloadGuards,
    /// What the messages have in common. Set by the first one.
    batch: Batch,
    is_begun: bool,
    is_chunk_begun: bool,
    opaque: PhantomData<O>,
}

impl<O: Opaque> DeliveryEvent<O> {
    /// Uses the memory that an earlier event has left. Call it before the first message is taken.
    pub(crate) fn reuse(&mut self, memory: &mut PayloadGuards) {
        mem::swap(&mut self.payload_guards, memory);
    }

    /// Destroys the event, drops the borrowed payloads, and leaves their memory.
    pub(crate) fn finish(mut self) -> PayloadGuards {
        let mut guards = mem::take(&mut self.payload_guards);
        // The messages point to the payloads, so the event goes first.
        drop(self);
        guards.drop_all();
        guards
    }

    /// Makes the next message read the clock, up to which latencies are measured.
    pub(crate) fn begin_chunk(&mut self) {
        self.is_chunk_begun = false;
    }

    /// Takes the next message and its opaque.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<(BorrowedMessage<'_>, O)> {
        // SAFETY: the event is valid and ours alone. It returns each message once. The message
        // lives until the event is destroyed, which the borrow of `self` prevents.
        let ptr = unsafe { sys::rd_kafka_event_message_next(self.event.ptr.as_ptr()) };
        let ptr = NonNull::new(ptr.cast_mut())?;
        if !self.is_chunk_begun {
            self.look_at_first(ptr);
        }
        // SAFETY: as above, and it was produced. The opaque comes from `O::into_raw` in the produce
        // call: the client carries no other type, as `Queue::poll` has checked, and returns each
        // message once.
        let (message, mut opaque) = unsafe {
            let opaque = O::from_raw((*ptr.as_ptr())._private);
            (BorrowedMessage::new(ptr, &self.batch), opaque)
        };
        // The caller may drop the opaque before the event, but the message points to the payload.
        if let Some(guard) = opaque.take_payload_guard() {
            self.payload_guards.push(guard, &self.event.client);
        }
        Some((message, opaque))
    }

    /// Looks at the first message of the event, or of a chunk.
    #[cold]
    fn look_at_first(&mut self, ptr: NonNull<sys::rd_kafka_message_t>) {
        // SAFETY: the message is valid as long as the event. The batch has no time.
        let first = unsafe { BorrowedMessage::new(ptr, Batch::WITH_OFFSETS) };
        if !self.is_begun {
            self.is_begun = true;
            // librdkafka counts up from the base offset of the response, or from −1001 if there was
            // no response (acks=0). The first message shows which.
            self.batch.has_offsets = first.raw_offset() >= 0;
            if first.code() != 0 {
                // SAFETY: the event is valid. It no longer counts the first message.
                let others = unsafe { sys::rd_kafka_event_message_count(self.event.ptr.as_ptr()) };
                self.batch.failed = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
            }
        }
        self.is_chunk_begun = true;
        self.batch.now = first.now();
    }
}

/// The borrowed payloads of an event's messages. Empty, it is memory for those of the next event.
#[derive(Default)]
pub(crate) struct PayloadGuards {
    guards: Vec<PayloadGuard>,
    /// Set by the first guard.
    client: Option<Arc<Client>>,
}

impl PayloadGuards {
    fn push(&mut self, guard: PayloadGuard, client: &Arc<Client>) {
        self.client.get_or_insert_with(|| Arc::clone(client));
        self.guards.push(guard);
    }

    fn drop_all(&mut self) {
        let client = self.client.take();
        let client = client.as_ref().and_then(|client| client.shown_name());
        // One guard against panics for all of them. After a panic the rest follows.
        let mut guards = self.guards.drain(..);
        while guards.len() > 0 {
            drop_payloads(client, || guards.by_ref().for_each(drop));
        }
    }
}

impl Drop for PayloadGuards {
    fn drop(&mut self) {
        self.drop_all();
    }
}

impl<O: Opaque> Drop for DeliveryEvent<O> {
    fn drop(&mut self) {
        while self.next().is_some() {}
    }
}

impl<O: Opaque> fmt::Debug for DeliveryEvent<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.event.fmt(f)
    }
}
