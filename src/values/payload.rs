//! The bytes of a key, a payload or a header value.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// The bytes of a key, a payload or a header value: borrowed, or owned without a copy.
///
/// `Debug` shows the length only, so that a record can be logged without its content.
#[derive(Clone)]
pub struct Payload<'a>(Repr<'a>);

#[derive(Clone)]
enum Repr<'a> {
    Borrowed(&'a [u8]),
    Vec(Vec<u8>),
    Shared(Arc<[u8]>),
    Bytes(Bytes),
}

impl<'a> Payload<'a> {
    /// Copies what is borrowed; what is owned stays as it is.
    pub fn into_owned(self) -> Payload<'static> {
        Payload(match self.0 {
            Repr::Borrowed(bytes) => Repr::Vec(bytes.to_vec()),
            Repr::Vec(bytes) => Repr::Vec(bytes),
            Repr::Shared(bytes) => Repr::Shared(bytes),
            Repr::Bytes(bytes) => Repr::Bytes(bytes),
        })
    }

    #[inline]
    pub(crate) fn is_bytes(&self) -> bool {
        matches!(self.0, Repr::Bytes(_))
    }

    /// What is owned, as it is; what is borrowed comes back.
    pub(crate) fn try_into_owned(self) -> Result<Payload<'static>, Self> {
        match self.0 {
            Repr::Borrowed(_) => Err(self),
            Repr::Vec(bytes) => Ok(Payload(Repr::Vec(bytes))),
            Repr::Shared(bytes) => Ok(Payload(Repr::Shared(bytes))),
            Repr::Bytes(bytes) => Ok(Payload(Repr::Bytes(bytes))),
        }
    }

    /// The bytes as [`Bytes`]; copies only what is borrowed or an `Arc<[u8]>`.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Repr::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Repr::Vec(bytes) => bytes.into(),
            Repr::Shared(bytes) => Bytes::copy_from_slice(&bytes),
            Repr::Bytes(bytes) => bytes,
        }
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Borrowed(bytes) => bytes,
            Repr::Vec(bytes) => bytes,
            Repr::Shared(bytes) => bytes,
            Repr::Bytes(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Payload<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Payload<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload<'_> {}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// What can be a key, a payload or a header value.
///
/// `None` is null (as a payload: a tombstone); empty bytes are an empty value.
///
/// ```
/// use tokio_rdkafka::{IntoPayload, ProducerRecord};
///
/// let tombstone = ProducerRecord::to("users").key("42").payload(None::<&str>);
/// assert_eq!(tombstone.get_payload(), None);
///
/// let empty = ProducerRecord::to("users").key("42").payload("");
/// assert_eq!(empty.get_payload(), Some(&b""[..]));
/// ```
pub trait IntoPayload<'a> {
    /// Converts; never copies what is owned.
    fn into_payload(self) -> Option<Payload<'a>>;
}

impl<'a, T: IntoPayload<'a>> IntoPayload<'a> for Option<T> {
    fn into_payload(self) -> Option<Payload<'a>> {
        self.and_then(T::into_payload)
    }
}

macro_rules! into_payload {
    ($(($($generics:tt)*) $from:ty => |$value:ident| $repr:expr;)*) => {
        $(impl<'a, $($generics)*> IntoPayload<'a> for $from {
            #[inline]
            fn into_payload(self) -> Option<Payload<'a>> {
                let $value = self;
                Some(Payload($repr))
            }
        })*
    };
}

into_payload! {
    () &'a [u8] => |bytes| Repr::Borrowed(bytes);
    (const N: usize) &'a [u8; N] => |bytes| Repr::Borrowed(bytes);
    () &'a Vec<u8> => |bytes| Repr::Borrowed(bytes);
    () &'a Bytes => |bytes| Repr::Borrowed(bytes);
    () &'a str => |text| Repr::Borrowed(text.as_bytes());
    () &'a String => |text| Repr::Borrowed(text.as_bytes());
    () Vec<u8> => |bytes| Repr::Vec(bytes);
    () String => |text| Repr::Vec(text.into_bytes());
    () Box<[u8]> => |bytes| Repr::Vec(bytes.into_vec());
    () Box<str> => |text| Repr::Vec(text.into_string().into_bytes());
    () Arc<[u8]> => |bytes| Repr::Shared(bytes);
    () Arc<str> => |text| Repr::Shared(text.into());
    () Bytes => |bytes| Repr::Bytes(bytes);
    () BytesMut => |bytes| Repr::Bytes(bytes.freeze());
    () Payload<'a> => |payload| payload.0;
    () &'a Payload<'_> => |payload| Repr::Borrowed(payload);
    () Cow<'a, [u8]> => |bytes| match bytes {
        Cow::Borrowed(bytes) => Repr::Borrowed(bytes),
        Cow::Owned(bytes) => Repr::Vec(bytes),
    };
    () Cow<'a, str> => |text| match text {
        Cow::Borrowed(text) => Repr::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Repr::Vec(text.into_bytes()),
    };
}
