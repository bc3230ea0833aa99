//! What a record carries through the producer beside its fields.

use std::fmt;
use std::mem;

use super::send_span::SendSpan;
use super::topic::TopicName;
use crate::sync::drop_foreign;
use crate::values::{Headers, Payload};

/// What a record carries from the call that sends it until its delivery is known.
///
/// It is boxed, because few producers need it. A record that a caller holds has none.
#[derive(Debug, Default)]
pub(crate) struct Attachment {
    pub(crate) original: Original,
    pub(crate) span: SendSpan,
    /// The timestamp that the message was produced with, or 0 for none.
    pub(super) timestamp: i64,
}

impl Attachment {
    /// Returns true if the context's hook has set the topic.
    pub(crate) fn has_new_topic(&self) -> bool {
        self.original.topic.is_some()
    }
}

/// The fields that [`on_send`](crate::ProducerContext::on_send) has changed, as the caller passed
/// them.
///
/// They are owned. A hook that replaces a borrowed payload makes one anyway.
#[derive(Default)]
pub(crate) struct Original {
    pub(super) topic: Option<TopicName<'static>>,
    pub(super) partition: Option<i32>,
    pub(super) key: Option<Option<Payload<'static>>>,
    pub(super) payload: Option<Option<Payload<'static>>>,
    pub(super) timestamp: Option<Option<i64>>,
    pub(super) headers: Option<Headers>,
}

/// The place of an [`Attachment`] in a record or a message. A clone of the record is a record of its
/// own, and has none.
#[derive(Debug, Default)]
pub(crate) struct Attached(Option<Box<Attachment>>);

impl Attached {
    #[inline]
    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    #[inline]
    pub(crate) fn as_ref(&self) -> Option<&Attachment> {
        self.0.as_deref()
    }

    #[inline]
    pub(crate) fn as_mut(&mut self) -> Option<&mut Attachment> {
        self.0.as_deref_mut()
    }

    /// Takes the span out.
    #[inline]
    pub(crate) fn take_span(&mut self) -> SendSpan {
        let attachment = self.0.as_mut();
        attachment.map_or_else(SendSpan::default, |it| mem::take(&mut it.span))
    }

    /// Puts the span back.
    #[inline]
    pub(crate) fn put_span(&mut self, span: SendSpan) {
        if span.is_enabled() {
            self.get_or_create().span = span;
        }
    }

    pub(crate) fn get_or_create(&mut self) -> &mut Attachment {
        self.0.get_or_insert_default()
    }
}

/// Out of line, because few messages have one.
impl Drop for Attached {
    #[inline]
    fn drop(&mut self) {
        #[cold]
        #[inline(never)]
        fn drop_attachment(attachment: Box<Attachment>) {
            // A payload may be `Bytes` with an owner of the user's.
            drop_foreign(attachment);
        }
        if let Some(attachment) = self.0.take() {
            drop_attachment(attachment);
        }
    }
}

impl Clone for Attached {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl fmt::Debug for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Original").finish_non_exhaustive()
    }
}
