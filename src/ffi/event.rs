//! Owner of `rd_kafka_event_t`.

use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka_sys::bindings as sys;

use super::answer::Answer;
use super::client::Client;
use super::convert::to_string;
use super::message::BorrowedMessage;
use super::opaque::{Opaque, PayloadGuard};
use super::redeclared::rd_kafka_event_error;
use crate::sync::drop_payloads;

/// What came in on the main queue.
#[derive(Debug)]
pub(crate) enum Event<O: Opaque> {
    /// Delivery reports.
    Delivery(DeliveryEvent<O>),
    /// A log line, with a syslog level.
    Log {
        level: i32,
        facility: String,
        text: String,
    },
    /// An error of the client, not of one message; a fatal one has the code that lies behind
    /// `_FATAL`.
    Error {
        code: i32,
        text: String,
        is_fatal: bool,
    },
    /// Statistics, as JSON.
    Stats(String),
    /// A token is wanted; with `sasl.oauthbearer.config`, where it is set.
    OAuthTokenRefresh(Option<String>),
    /// The answer to a request of metadata.
    Answer(Answer),
    /// Of a kind that was not asked for.
    Other,
}

impl<O: Opaque> Event<O> {
    /// Takes the event over; all but delivery reports are copied and destroyed at once.
    pub(super) fn new(ptr: NonNull<sys::rd_kafka_event_t>, client: Arc<Client>) -> Self {
        let event = RawEvent {
            ptr,
            _client: client,
        };
        // SAFETY: the event is valid.
        match unsafe { sys::rd_kafka_event_type(ptr.as_ptr()) } {
            sys::RD_KAFKA_EVENT_DR => Event::Delivery(DeliveryEvent {
                event,
                loans: PayloadGuards::default(),
                has_offsets: None,
                opaque: PhantomData,
            }),
            sys::RD_KAFKA_EVENT_LOG => {
                let (mut facility, mut text, mut level) = (ptr::null(), ptr::null(), 0);
                // SAFETY: the event is valid and a log event, so the strings are C strings that
                // live as long as it does.
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
                // SAFETY: the event is valid; the string is NULL or a C string that lives as long
                // as the client, which the event holds.
                let config = unsafe {
                    let config = sys::rd_kafka_event_config_string(ptr.as_ptr());
                    (!config.is_null()).then(|| to_string(config))
                };
                Event::OAuthTokenRefresh(config)
            }
            sys::RD_KAFKA_EVENT_DESCRIBECLUSTER_RESULT
            | sys::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT => {
                // SAFETY: the event is valid, and of one of these types.
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
    /// Keeps the client alive for as long as the event.
    _client: Arc<Client>,
}

// SAFETY: an event is not bound to the thread that polled it.
unsafe impl Send for RawEvent {}

impl RawEvent {
    /// librdkafka has already put the code and the reason behind `_FATAL` into the event
    /// (`rd_kafka_event_setup`): only the flag tells a fatal error.
    fn into_error<O: Opaque>(self) -> Event<O> {
        let event = self.ptr.as_ptr();
        // SAFETY: the event is valid and an error event; the string lives as long as it does.
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
        // SAFETY: the event is ours, and the client, which `self` still holds, is alive.
        unsafe { sys::rd_kafka_event_destroy(self.ptr.as_ptr()) }
    }
}

/// An event with delivery reports. Its messages live until it is dropped, and so do the payloads
/// that were lent for them; librdkafka's own count of what is outstanding falls only then.
pub(crate) struct DeliveryEvent<O: Opaque> {
    event: RawEvent,
    // Declared, and so dropped, after the event, whose messages point to them.
    loans: PayloadGuards,
    /// Whether the broker told offsets; known from the first message on.
    has_offsets: Option<bool>,
    opaque: PhantomData<O>,
}

impl<O: Opaque> DeliveryEvent<O> {
    /// The next message, with its opaque.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<(BorrowedMessage<'_>, O)> {
        // SAFETY: the event is valid and ours alone. A message comes out once, and lives until
        // the event is destroyed, which the borrow of `self` delays.
        let ptr = unsafe { sys::rd_kafka_event_message_next(self.event.ptr.as_ptr()) };
        let ptr = NonNull::new(ptr.cast_mut())?;
        let has_offsets = *self.has_offsets.get_or_insert_with(|| {
            // librdkafka counts up from the base offset of the response, and from −1001 where
            // there was none (acks=0): the first message tells which.
            // SAFETY: the message is valid for as long as the event.
            unsafe { BorrowedMessage::new(ptr, false) }.raw_offset() >= 0
        });
        // SAFETY: as above. The opaque is from `O::into_raw` of the produce call: the client
        // carries no other type (`Queue::poll` checked), and each message comes out once.
        let (message, mut opaque) = unsafe {
            let opaque = O::from_raw((*ptr.as_ptr())._private);
            (BorrowedMessage::new(ptr, has_offsets), opaque)
        };
        // The opaque may go before the event; the payload must not.
        if let Some(loan) = opaque.payload_guard().and_then(Option::take) {
            self.loans.0.push(loan);
        }
        Some((message, opaque))
    }
}

/// Payloads of an event's messages.
#[derive(Default)]
struct PayloadGuards(Vec<PayloadGuard>);

impl Drop for PayloadGuards {
    fn drop(&mut self) {
        for loan in self.0.drain(..) {
            drop_payloads(|| drop(loan));
        }
    }
}

/// Frees the opaques of messages that nobody took.
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
