//! The bytes of a key, a payload or a header value, and what converts into them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// The longest array that a [`Payload`] holds without an allocation, in bytes.
///
/// It is what the largest variant of [`Repr`], `Bytes`, leaves: the enum takes 40 bytes in any
/// case.
const INLINE_LEN: usize = 38;

/// The bytes of a key, a payload or a header value: borrowed, owned or shared.
///
/// `Debug` shows the length only, so that a record can be logged without its content.
#[derive(Clone)]
pub struct Payload<'a>(Repr<'a>);

#[derive(Clone)]
enum Repr<'a> {
    Borrowed(&'a [u8]),
    Inline(u8, [u8; INLINE_LEN]),
    Vec(Vec<u8>),
    Shared(Arc<[u8]>),
    SharedVec(Arc<Vec<u8>>),
    Bytes(Bytes),
}

impl<'a> Payload<'a> {
    /// Returns the payload without its lifetime. Copies borrowed bytes; owned and shared ones are
    /// not copied.
    pub fn into_owned(self) -> Payload<'static> {
        Payload(match self.0 {
            Repr::Borrowed(bytes) => Repr::Vec(bytes.to_vec()),
            Repr::Inline(len, bytes) => Repr::Inline(len, bytes),
            Repr::Vec(bytes) => Repr::Vec(bytes),
            Repr::Shared(bytes) => Repr::Shared(bytes),
            Repr::SharedVec(bytes) => Repr::SharedVec(bytes),
            Repr::Bytes(bytes) => Repr::Bytes(bytes),
        })
    }

    #[inline]
    pub(crate) fn is_bytes(&self) -> bool {
        matches!(self.0, Repr::Bytes(_))
    }

    /// Returns true if it owns nothing that a drop would free.
    #[inline]
    pub(crate) fn owns_nothing(&self) -> bool {
        matches!(self.0, Repr::Borrowed(_) | Repr::Inline(..))
    }

    /// Returns the payload if its bytes are in an allocation that it owns or shares. They stay
    /// where they are then if the payload is moved. Otherwise returns it as the error.
    pub(crate) fn try_into_allocated(self) -> Result<Payload<'static>, Self> {
        match self.0 {
            Repr::Borrowed(_) | Repr::Inline(..) => Err(self),
            Repr::Vec(bytes) => Ok(Payload(Repr::Vec(bytes))),
            Repr::Shared(bytes) => Ok(Payload(Repr::Shared(bytes))),
            Repr::SharedVec(bytes) => Ok(Payload(Repr::SharedVec(bytes))),
            Repr::Bytes(bytes) => Ok(Payload(Repr::Bytes(bytes))),
        }
    }

    /// Converts into [`Bytes`]. Copies borrowed bytes and small arrays only.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Repr::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Repr::Inline(len, bytes) => Bytes::copy_from_slice(&bytes[..usize::from(len)]),
            Repr::Vec(bytes) => bytes.into(),
            Repr::Shared(bytes) => Bytes::from_owner(bytes),
            Repr::SharedVec(bytes) => Bytes::from_owner(SharedVec(bytes)),
            Repr::Bytes(bytes) => bytes,
        }
    }
}

/// `Arc<Vec<u8>>` itself is `AsRef<Vec<u8>>` only.
struct SharedVec(Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedVec {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Repr<'_> {
    #[inline]
    fn from_array<const N: usize>(array: [u8; N]) -> Self {
        if N > INLINE_LEN {
            return Repr::Vec(array.to_vec());
        }
        let mut bytes = [0; INLINE_LEN];
        bytes[..N].copy_from_slice(&array);
        Repr::Inline(N as u8, bytes)
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Borrowed(bytes) => bytes,
            owned => owned.as_bytes(),
        }
    }
}

impl Repr<'_> {
    // Out of line: callers need a comparison only, in place of a jump table each.
    #[inline(never)]
    fn as_bytes(&self) -> &[u8] {
        match self {
            Repr::Borrowed(bytes) => bytes,
            Repr::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Repr::Vec(bytes) => bytes,
            Repr::Shared(bytes) => bytes,
            Repr::SharedVec(bytes) => bytes,
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

/// A type that can be a key, a payload or a header value.
///
/// | type | the bytes are |
/// |---|---|
/// | `&str`, `&[u8]`, `&[u8; N]`, and references to the types below | borrowed |
/// | `String`, `Vec<u8>`, `Box<str>`, `Box<[u8]>`, `BytesMut` | taken over without a copy |
/// | `Bytes`, `Arc<str>`, `Arc<[u8]>`, `Arc<Vec<u8>>` | shared without a copy |
/// | `Cow<str>`, `Cow<[u8]>` | borrowed, or taken over without a copy |
/// | `[u8; N]` by value, for instance `id.to_be_bytes()` | copied: up to 38 bytes into the [`Payload`], more into an allocation |
/// | `Option` of any of these | null if it is `None` |
///
/// Pass a long array by reference. `clippy::needless_borrows_for_generic_args` suggests the array
/// itself, which copies it.
///
/// `None` is null: as a payload it is a tombstone, which is what compaction deletes a key by. Empty
/// bytes are an empty value.
///
/// ```
/// use tokio_rdkafka::{IntoPayload, ProducerRecord};
///
/// let tombstone = ProducerRecord::to("users").key(42_u64.to_be_bytes()).payload(None::<&str>);
/// assert_eq!(tombstone.get_payload(), None);
///
/// let empty = ProducerRecord::to("users").key("42").payload("");
/// assert_eq!(empty.get_payload(), Some(&b""[..]));
/// ```
///
/// Implement it for a type of your own by converting into one of these types:
///
/// ```
/// use tokio_rdkafka::{IntoPayload, Payload, ProducerRecord};
///
/// struct Order {
///     id: u32,
/// }
///
/// impl<'a> IntoPayload<'a> for &Order {
///     fn into_payload(self) -> Option<Payload<'a>> {
///         format!("order {}", self.id).into_payload()
///     }
/// }
///
/// let record = ProducerRecord::to("orders").payload(&Order { id: 7 });
/// assert_eq!(record.get_payload(), Some(&b"order 7"[..]));
/// ```
/// # A serializer that can fail
///
/// The conversion cannot fail. Serialize first, into an error that keeps the item, so that nothing
/// is lost:
///
/// ```
/// use tokio_rdkafka::ProducerRecord;
///
/// # struct Order { id: u32, note: String }
/// # fn serialize(order: &Order) -> Result<Vec<u8>, std::fmt::Error> { Err(std::fmt::Error) }
/// #[derive(Debug)]
/// struct NotSerialized<T, E> {
///     item: T,
///     error: E,
/// }
///
/// fn record(order: Order) -> Result<ProducerRecord<'static>, NotSerialized<Order, std::fmt::Error>> {
///     match serialize(&order) {
///         Ok(bytes) => Ok(ProducerRecord::to("orders").key(order.id.to_be_bytes()).payload(bytes)),
///         Err(error) => Err(NotSerialized { item: order, error }),
///     }
/// }
///
/// let error = record(Order { id: 7, note: String::new() }).unwrap_err();
/// assert_eq!(error.item.id, 7);
/// ```
///
/// A stream passes such an error on as the value of an item without records, in its place in the
/// order:
///
/// ```no_run
/// use futures::{Stream, StreamExt};
/// use tokio_rdkafka::{ProduceExt, Producer, ProducerRecord};
/// # struct Order { id: u32 }
/// # struct NotSerialized { item: Order }
/// # fn record(order: Order) -> Result<ProducerRecord<'static>, NotSerialized> {
/// #     Err(NotSerialized { item: order })
/// # }
///
/// async fn write(producer: Producer, orders: impl Stream<Item = Order> + Unpin) {
///     let mut results = orders
///         .map(|order| match record(order) {
///             Ok(record) => (None, Some(record)),
///             Err(error) => (Some(error), None),
///         })
///         .produce(&producer);
///     while let Some((not_serialized, result)) = results.next().await {
///         match (not_serialized, result) {
///             (Some(error), _) => eprintln!("order {} is invalid", error.item.id),
///             (None, Ok(_)) => {}
///             (None, Err(error)) => eprintln!("not delivered: {error}"),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a Kafka key, payload or header value",
    label = "neither bytes nor text",
    note = "pass text (`&str`, `String`, …), bytes (`&[u8]`, `Vec<u8>`, `Bytes`, `[u8; N]`, …) or \
            an `Option` of these",
    note = "turn other values into text or bytes first: `&value.to_string()`, \
            `value.to_be_bytes()` or `serde_json::to_vec(&value)?`",
    note = "or implement `IntoPayload` for a type of your own"
)]
pub trait IntoPayload<'a> {
    /// Converts into the bytes, or into `None` for null.
    fn into_payload(self) -> Option<Payload<'a>>;
}

impl<'a, T: IntoPayload<'a>> IntoPayload<'a> for Option<T> {
    #[inline]
    fn into_payload(self) -> Option<Payload<'a>> {
        self.and_then(T::into_payload)
    }
}

/// Borrows what is in the option.
impl<'a, T> IntoPayload<'a> for &'a Option<T>
where
    &'a T: IntoPayload<'a>,
{
    #[inline]
    fn into_payload(self) -> Option<Payload<'a>> {
        self.as_ref().and_then(<&T>::into_payload)
    }
}

/// A reference to a reference, for instance an item of the iterator over a `Vec<&str>`.
impl<'a, T: ?Sized> IntoPayload<'a> for &&'a T
where
    &'a T: IntoPayload<'a>,
{
    #[inline]
    fn into_payload(self) -> Option<Payload<'a>> {
        (*self).into_payload()
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
    () &'a str => |text| Repr::Borrowed(text.as_bytes());
    (const N: usize) &'a [u8; N] => |bytes| Repr::Borrowed(bytes);
    (const N: usize) [u8; N] => |bytes| Repr::from_array(bytes);

    () Vec<u8> => |bytes| Repr::Vec(bytes);
    () String => |text| Repr::Vec(text.into_bytes());
    () Box<[u8]> => |bytes| Repr::Vec(bytes.into_vec());
    () Box<str> => |text| Repr::Vec(text.into_string().into_bytes());
    () BytesMut => |bytes| Repr::Bytes(bytes.freeze());
    () &'a Vec<u8> => |bytes| Repr::Borrowed(bytes);
    () &'a String => |text| Repr::Borrowed(text.as_bytes());
    () &'a Box<[u8]> => |bytes| Repr::Borrowed(bytes);
    () &'a Box<str> => |text| Repr::Borrowed(text.as_bytes());
    () &'a BytesMut => |bytes| Repr::Borrowed(bytes);

    () Bytes => |bytes| Repr::Bytes(bytes);
    () Arc<[u8]> => |bytes| Repr::Shared(bytes);
    () Arc<str> => |text| Repr::Shared(text.into());
    () Arc<Vec<u8>> => |bytes| Repr::SharedVec(bytes);
    () &'a Bytes => |bytes| Repr::Borrowed(bytes);
    () &'a Arc<[u8]> => |bytes| Repr::Borrowed(bytes);
    () &'a Arc<str> => |text| Repr::Borrowed(text.as_bytes());
    () &'a Arc<Vec<u8>> => |bytes| Repr::Borrowed(bytes);

    () Cow<'a, [u8]> => |bytes| match bytes {
        Cow::Borrowed(bytes) => Repr::Borrowed(bytes),
        Cow::Owned(bytes) => Repr::Vec(bytes),
    };
    () Cow<'a, str> => |text| match text {
        Cow::Borrowed(text) => Repr::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Repr::Vec(text.into_bytes()),
    };
    () &'a Cow<'_, [u8]> => |bytes| Repr::Borrowed(bytes);
    () &'a Cow<'_, str> => |text| Repr::Borrowed(text.as_bytes());

    () Payload<'a> => |payload| payload.0;
    () &'a Payload<'_> => |payload| Repr::Borrowed(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload<'a>(value: impl IntoPayload<'a>) -> Payload<'a> {
        value.into_payload().expect("it is not null")
    }

    #[test]
    fn a_payload_takes_40_bytes() {
        assert_eq!(size_of::<Payload<'_>>(), 40);
        assert_eq!(size_of::<Option<Payload<'_>>>(), 40);
    }

    #[test]
    #[allow(clippy::needless_borrows_for_generic_args)]
    fn references_of_every_kind_are_borrowed() {
        let text = "abc";
        let cow_text = Cow::Borrowed("abc");
        let cow_bytes = Cow::Borrowed(&b"abc"[..]);
        let of = |payload: Payload<'_>| {
            assert_eq!(&*payload, b"abc");
            assert!(matches!(payload.0, Repr::Borrowed(_)));
        };
        of(payload(text));
        of(payload(&text));
        of(payload(&&text));
        of(payload(&&b"abc"[..]));
        of(payload(&cow_text));
        of(payload(&cow_bytes));
        of(payload(cow_text.clone()));
        of(payload(&Box::<str>::from("abc")));
        of(payload(&Box::<[u8]>::from(&b"abc"[..])));
        of(payload(&Arc::<str>::from("abc")));
        of(payload(&Arc::<[u8]>::from(&b"abc"[..])));
        of(payload(&Arc::new(b"abc".to_vec())));
        of(payload(&BytesMut::from("abc")));
        of(payload(&Some(String::from("abc"))));
        assert!((&None::<String>).into_payload().is_none());
    }

    #[test]
    fn shared_and_boxed_bytes_are_not_copied() {
        let text: Arc<str> = "abc".into();
        let bytes: Arc<[u8]> = b"abc"[..].into();
        let vec = Arc::new(b"abc".to_vec());
        let boxed: Box<str> = "abc".into();
        for (expected, payload) in [
            (text.as_ptr(), payload(Arc::clone(&text))),
            (bytes.as_ptr(), payload(Arc::clone(&bytes))),
            (vec.as_ptr(), payload(Arc::clone(&vec))),
            (boxed.as_ptr(), payload(boxed)),
        ] {
            assert_eq!(payload.as_ptr(), expected);
            let payload = payload.into_owned();
            assert_eq!(payload.as_ptr(), expected);
            let Ok(payload) = payload.try_into_allocated() else {
                panic!("the bytes are in an allocation");
            };
            assert_eq!(payload.as_ptr(), expected);
            assert_eq!(payload.into_bytes().as_ptr(), expected);
        }
    }

    #[test]
    fn short_arrays_are_in_the_payload_itself_and_long_ones_in_an_allocation() {
        let short = payload([7; INLINE_LEN]);
        assert_eq!(*short, [7; INLINE_LEN]);
        assert_eq!(*short.clone().into_owned(), [7; INLINE_LEN]);
        assert_eq!(*short.clone().into_bytes(), [7; INLINE_LEN]);
        assert!(short.try_into_allocated().is_err());

        let long = payload([7; INLINE_LEN + 1]);
        assert_eq!(*long, [7; INLINE_LEN + 1]);
        assert!(long.try_into_allocated().is_ok());

        assert_eq!(*payload([0; 0]), [0; 0]);
    }
}
