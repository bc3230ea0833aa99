//! Headers of a record.

use std::fmt;

use bytes::Bytes;

use super::payload::IntoPayload;

/// The headers of a record: names with values, in order; names may repeat, a value may be null.
///
/// ```
/// use tokio_rdkafka::Headers;
///
/// let headers = Headers::new()
///     .insert("trace", Some("4bf92f35"))
///     .insert("trace", Some(&[0xff, 0x00]))
///     .insert("flag", None::<&str>);
/// assert_eq!(headers.len(), 3);
/// assert_eq!(headers.get("flag"), Some(None));
/// assert_eq!(headers.get("none"), None);
/// ```
///
/// `Debug` shows names and the lengths of values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Box<str>, Option<Bytes>)>);

/// One header: its name, and its value, which may be null.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name; Kafka wants UTF-8.
    pub name: &'a str,
    /// The value: any bytes, or null.
    pub value: Option<&'a [u8]>,
}

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// No headers, with room for `capacity`.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Adds a header at the end; one of the same name stays too.
    ///
    /// A name with a NUL byte is refused when the record is sent: librdkafka hands names out as C
    /// strings.
    #[must_use]
    pub fn insert<'v>(mut self, name: impl Into<String>, value: impl IntoPayload<'v>) -> Self {
        self.push(name, value);
        self
    }

    /// Adds a header at the end, like [`insert`](Self::insert), in place.
    pub fn push<'v>(&mut self, name: impl Into<String>, value: impl IntoPayload<'v>) {
        let value = value.into_payload().map(|value| value.into_bytes());
        self.0.push((name.into().into_boxed_str(), value));
    }

    /// The number of headers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the *last* header of that name, as Kafka's Java client's `lastHeader` has it;
    /// `Some(None)` where it is null.
    pub fn get(&self, name: &str) -> Option<Option<&[u8]>> {
        self.iter()
            .filter(|header| header.name == name)
            .last()
            .map(|header| header.value)
    }

    /// The headers in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Header<'_>> + Clone {
        self.0.iter().map(|(name, value)| Header {
            name,
            value: value.as_deref(),
        })
    }
}

impl<'h> FromIterator<Header<'h>> for Headers {
    fn from_iter<I: IntoIterator<Item = Header<'h>>>(headers: I) -> Self {
        let mut collected = Self::new();
        collected.extend(headers);
        collected
    }
}

impl<'h> Extend<Header<'h>> for Headers {
    fn extend<I: IntoIterator<Item = Header<'h>>>(&mut self, headers: I) {
        for header in headers {
            self.push(header.name, header.value);
        }
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Some(value) => write!(f, "{:?}: {} bytes", self.name, value.len()),
            None => write!(f, "{:?}: null", self.name),
        }
    }
}
