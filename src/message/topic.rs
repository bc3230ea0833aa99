//! The topic of a record: a name or a handle.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Weak};

use crate::ffi::TopicHandle;

/// A handle of a topic, which saves the look-up by name for each record.
///
/// [`Producer::topic`](crate::Producer::topic) returns it. It holds the topic's name and a weak
/// reference to librdkafka's handle, so it keeps neither that handle nor the producer alive.
/// Another producer, or its own after it has closed, uses the name only.
#[derive(Clone)]
pub struct Topic {
    name: Arc<str>,
    handle: Weak<TopicHandle>,
}

impl Topic {
    pub(crate) fn new(name: Arc<str>, handle: &Arc<TopicHandle>) -> Self {
        Self {
            name,
            handle: Arc::downgrade(handle),
        }
    }

    /// Returns the topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    #[inline]
    pub(crate) fn upgrade(&self) -> Option<Arc<TopicHandle>> {
        self.handle.upgrade()
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&self.name).finish()
    }
}

/// The topic of a record: a borrowed, owned or shared name, or a [`Topic`] handle.
///
/// [`ProducerRecord::to`](crate::ProducerRecord::to) takes whatever converts into it: `&str`,
/// `&String`, `String`, `Cow<str>`, `Arc<str>`, `&Topic` or `Topic`.
#[derive(Clone)]
pub struct TopicName<'a>(Name<'a>);

#[derive(Clone)]
enum Name<'a> {
    Borrowed(&'a str),
    Owned(String),
    Shared(Arc<str>),
    HandleRef(&'a Topic),
    Handle(Topic),
}

impl TopicName<'_> {
    /// Returns true if it owns nothing that a drop would free.
    #[inline]
    pub(super) fn owns_nothing(&self) -> bool {
        matches!(self.0, Name::Borrowed(_) | Name::HandleRef(_))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Borrowed(name) => name,
            Name::Owned(name) => name,
            Name::Shared(name) => name,
            Name::HandleRef(topic) => topic.name(),
            Name::Handle(topic) => topic.name(),
        }
    }

    /// Returns true if the names are equal.
    #[inline]
    pub(crate) fn is_same(&self, other: &TopicName<'_>) -> bool {
        let (name, other) = (self.as_str(), other.as_str());
        std::ptr::eq(name, other) || name == other
    }

    #[inline]
    pub(crate) fn handle(&self) -> Option<&Topic> {
        match &self.0 {
            Name::HandleRef(topic) => Some(topic),
            Name::Handle(topic) => Some(topic),
            Name::Borrowed(_) | Name::Owned(_) | Name::Shared(_) => None,
        }
    }

    pub(super) fn into_owned(self) -> TopicName<'static> {
        TopicName(match self.0 {
            Name::Borrowed(name) => Name::Owned(name.to_owned()),
            Name::Owned(name) => Name::Owned(name),
            Name::Shared(name) => Name::Shared(name),
            Name::HandleRef(topic) => Name::Handle(topic.clone()),
            Name::Handle(topic) => Name::Handle(topic),
        })
    }
}

impl fmt::Debug for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl<'a> From<&'a str> for TopicName<'a> {
    #[inline]
    fn from(name: &'a str) -> Self {
        Self(Name::Borrowed(name))
    }
}

impl<'a> From<&'a String> for TopicName<'a> {
    #[inline]
    fn from(name: &'a String) -> Self {
        Self(Name::Borrowed(name))
    }
}

impl From<String> for TopicName<'_> {
    fn from(name: String) -> Self {
        Self(Name::Owned(name))
    }
}

impl<'a> From<Cow<'a, str>> for TopicName<'a> {
    fn from(name: Cow<'a, str>) -> Self {
        match name {
            Cow::Borrowed(name) => name.into(),
            Cow::Owned(name) => name.into(),
        }
    }
}

impl From<Arc<str>> for TopicName<'_> {
    fn from(name: Arc<str>) -> Self {
        Self(Name::Shared(name))
    }
}

impl<'a> From<&'a Topic> for TopicName<'a> {
    #[inline]
    fn from(topic: &'a Topic) -> Self {
        Self(Name::HandleRef(topic))
    }
}

impl From<Topic> for TopicName<'_> {
    fn from(topic: Topic) -> Self {
        Self(Name::Handle(topic))
    }
}
