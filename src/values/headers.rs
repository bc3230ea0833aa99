//! The headers of a record.

use std::fmt;
use std::iter::FusedIterator;
use std::slice;

use bytes::Bytes;

use super::payload::IntoPayload;

/// The headers of a record: an ordered list of names with values.
///
/// Names may repeat. A value is bytes or null.
///
/// | | adds a header at the end | replaces the headers of a name |
/// |---|---|---|
/// | by value, to chain while building | [`append`](Self::append) | [`insert`](Self::insert) |
/// | in place, through `&mut` | [`push`](Self::push) | [`set`](Self::set) |
///
/// `append` and `insert` mean what they mean in `http::HeaderMap`. They take the headers by value,
/// as `OwnedHeaders::insert` of the crate `rdkafka` does, so that an expression can build them:
///
/// ```
/// use tokio_rdkafka::Headers;
///
/// let headers = Headers::new()
///     .append("trace", "4bf92f35")
///     .append("trace", [0xff, 0x00])
///     .append("flag", None::<&str>);
/// assert_eq!(headers.len(), 3);
/// assert_eq!(headers.get("trace"), Some(Some(&[0xff, 0x00][..])));
/// assert_eq!(headers.get("flag"), Some(None));
/// assert_eq!(headers.get("none"), None);
///
/// // Both values of "trace" give way to the new one.
/// let headers = headers.insert("trace", "00f067aa");
/// assert_eq!(headers.len(), 2);
/// ```
///
/// [`ProducerRecord::header`](crate::ProducerRecord::header) appends one to a record, and
/// [`ProducerRecord::headers_mut`](crate::ProducerRecord::headers_mut) changes those of a record in
/// place. An iterator over pairs of a name and a value collects into `Headers`:
///
/// ```
/// # use tokio_rdkafka::Headers;
/// let headers: Headers = [("tenant", "7"), ("source", "shop")].into_iter().collect();
/// for header in &headers {
///     println!("{}: {:?}", header.name, header.value);
/// }
/// ```
///
/// A name with a NUL byte makes the send of the record fail, because librdkafka returns names as C
/// strings.
///
/// `Debug` shows the names and the lengths of the values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Box<str>, Option<Bytes>)>);

/// One header: its name and its value.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header<'a> {
    /// The name, in UTF-8.
    pub name: &'a str,
    /// The value: bytes, or `None` for null.
    pub value: Option<&'a [u8]>,
}

impl Headers {
    /// Returns true if it owns nothing that a drop would free.
    #[inline]
    pub(crate) fn owns_nothing(&self) -> bool {
        self.0.capacity() == 0
    }

    /// Creates an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty list with space for `capacity` headers.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Adds a header at the end and keeps the others of that name.
    ///
    /// [`push`](Self::push) does the same in place.
    #[must_use = "returns the headers; `push` adds a header in place"]
    pub fn append<'v>(mut self, name: impl Into<String>, value: impl IntoPayload<'v>) -> Self {
        self.push(name, value);
        self
    }

    /// Replaces all headers of that name by one.
    ///
    /// It takes the place of the first of them, or the end if there was none. [`set`](Self::set)
    /// does the same in place.
    #[must_use = "returns the headers; `set` replaces them in place"]
    pub fn insert<'v>(mut self, name: impl Into<String>, value: impl IntoPayload<'v>) -> Self {
        self.set(name, value);
        self
    }

    /// Adds a header at the end, in place, and keeps the others of that name.
    pub fn push<'v>(&mut self, name: impl Into<String>, value: impl IntoPayload<'v>) {
        self.0.push((name.into().into_boxed_str(), to_bytes(value)));
    }

    /// Replaces all headers of that name by one, in place.
    ///
    /// It takes the place of the first of them, or the end if there was none.
    ///
    /// ```
    /// use tokio_rdkafka::Headers;
    ///
    /// let mut headers = Headers::new().append("a", "1").append("b", "2").append("a", "3");
    /// headers.set("a", "4");
    /// assert_eq!(headers, Headers::new().append("a", "4").append("b", "2"));
    /// ```
    pub fn set<'v>(&mut self, name: impl Into<String>, value: impl IntoPayload<'v>) {
        let name = name.into().into_boxed_str();
        let mut value = Some(to_bytes(value));
        self.0.retain_mut(|header| {
            if header.0 != name {
                return true;
            }
            match value.take() {
                Some(value) => {
                    header.1 = value;
                    true
                }
                None => false,
            }
        });
        if let Some(value) = value {
            self.0.push((name, value));
        }
    }

    /// Removes all headers of that name. Returns true if there was at least one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.len();
        self.retain(|header| header.name != name);
        self.len() < before
    }

    /// Keeps the headers for which `keep` returns true, in their order, and removes the others.
    pub fn retain(&mut self, mut keep: impl FnMut(Header<'_>) -> bool) {
        self.0.retain(|header| keep(view(header)));
    }

    /// Removes all headers.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the number of headers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there are no headers.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the value of the *last* header of that name, `Some(None)` if that value is null.
    ///
    /// `Headers.lastHeader` of Kafka's Java client returns the same one.
    pub fn get(&self, name: &str) -> Option<Option<&[u8]>> {
        let mut headers = self.iter().rev();
        headers
            .find(|header| header.name == name)
            .map(|header| header.value)
    }

    /// Returns the value of the *last* header of that name as text.
    ///
    /// It is `None` if there is no such header, or if its value is null or not UTF-8. It is the
    /// `get` callback that propagators of trace context ask for.
    ///
    /// ```
    /// use tokio_rdkafka::Headers;
    ///
    /// let headers = Headers::new().append("tries", "2").append("raw", [0xff]);
    /// assert_eq!(headers.get_str("tries"), Some("2"));
    /// assert_eq!(headers.get_str("raw"), None);
    /// ```
    pub fn get_str(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)??).ok()
    }

    /// Returns the values of all headers of that name, in their order.
    pub fn get_all<'h>(
        &'h self,
        name: &'h str,
    ) -> impl DoubleEndedIterator<Item = Option<&'h [u8]>> + Clone {
        self.iter()
            .filter(move |header| header.name == name)
            .map(|header| header.value)
    }

    /// Returns the headers in their order.
    #[inline]
    pub fn iter(&self) -> HeadersIter<'_> {
        HeadersIter(self.0.iter())
    }
}

fn to_bytes<'v>(value: impl IntoPayload<'v>) -> Option<Bytes> {
    value.into_payload().map(|value| value.into_bytes())
}

#[inline]
fn view((name, value): &(Box<str>, Option<Bytes>)) -> Header<'_> {
    Header {
        name,
        value: value.as_deref(),
    }
}

/// An iterator over the headers of a record, in their order: [`Headers::iter`].
#[derive(Clone)]
pub struct HeadersIter<'a>(slice::Iter<'a, (Box<str>, Option<Bytes>)>);

impl<'a> Iterator for HeadersIter<'a> {
    type Item = Header<'a>;

    #[inline]
    fn next(&mut self) -> Option<Header<'a>> {
        self.0.next().map(view)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for HeadersIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(view)
    }
}

impl ExactSizeIterator for HeadersIter<'_> {}

impl FusedIterator for HeadersIter<'_> {}

impl fmt::Debug for HeadersIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'h> IntoIterator for &'h Headers {
    type Item = Header<'h>;
    type IntoIter = HeadersIter<'h>;

    fn into_iter(self) -> HeadersIter<'h> {
        self.iter()
    }
}

/// Copies the headers.
impl<'h> FromIterator<Header<'h>> for Headers {
    fn from_iter<I: IntoIterator<Item = Header<'h>>>(headers: I) -> Self {
        let mut collected = Self::new();
        collected.extend(headers);
        collected
    }
}

/// Appends copies of the headers.
impl<'h> Extend<Header<'h>> for Headers {
    fn extend<I: IntoIterator<Item = Header<'h>>>(&mut self, headers: I) {
        self.extend(
            headers
                .into_iter()
                .map(|header| (header.name, header.value)),
        );
    }
}

/// Collects pairs of a name and a value; names may repeat.
impl<'v, N: Into<String>, V: IntoPayload<'v>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut collected = Self::new();
        collected.extend(headers);
        collected
    }
}

/// Appends pairs of a name and a value.
impl<'v, N: Into<String>, V: IntoPayload<'v>> Extend<(N, V)> for Headers {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, headers: I) {
        let headers = headers.into_iter();
        self.0.reserve(headers.size_hint().0);
        for (name, value) in headers {
            self.push(name, value);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(headers: &Headers) -> Vec<(&str, Option<&[u8]>)> {
        headers.iter().map(|it| (it.name, it.value)).collect()
    }

    fn abac() -> Headers {
        Headers::new()
            .append("a", "1")
            .append("b", None::<&str>)
            .append("a", "2")
            .append("c", "")
    }

    #[test]
    fn append_keeps_order_duplicates_and_nulls() {
        let expected: [(&str, Option<&[u8]>); 4] = [
            ("a", Some(b"1")),
            ("b", None),
            ("a", Some(b"2")),
            ("c", Some(b"")),
        ];
        assert_eq!(pairs(&abac()), expected);
    }

    #[test]
    fn insert_replaces_all_headers_of_a_name_in_place_of_the_first() {
        let headers = abac().insert("a", "3");
        let expected: [(&str, Option<&[u8]>); 3] =
            [("a", Some(b"3")), ("b", None), ("c", Some(b""))];
        assert_eq!(pairs(&headers), expected);
        // A null replaces too, and a new name goes to the end.
        let headers = headers.insert("c", None::<&str>).insert("d", "4");
        let expected: [(&str, Option<&[u8]>); 4] = [
            ("a", Some(b"3")),
            ("b", None),
            ("c", None),
            ("d", Some(b"4")),
        ];
        assert_eq!(pairs(&headers), expected);
    }

    #[test]
    fn push_and_set_do_in_place_what_append_and_insert_do_by_value() {
        let mut headers = Headers::new();
        headers.push("a", "1");
        headers.push("a", "2");
        assert_eq!(headers, Headers::new().append("a", "1").append("a", "2"));
        headers.set("a", "3");
        headers.set("b", "4");
        assert_eq!(headers, Headers::new().insert("a", "3").insert("b", "4"));
    }

    #[test]
    fn headers_are_removed_by_name_and_by_predicate() {
        let mut headers = abac();
        assert!(headers.remove("a"));
        assert!(!headers.remove("a"));
        assert!(!headers.remove("none"));
        assert_eq!(headers.len(), 2);
        headers.retain(|header| header.value.is_some());
        assert_eq!(pairs(&headers), [("c", Some(&b""[..]))]);
        headers.clear();
        assert!(headers.is_empty());
    }

    #[test]
    fn get_returns_the_last_value_and_get_all_every_value() {
        let headers = abac();
        assert_eq!(headers.get("a"), Some(Some(&b"2"[..])));
        assert_eq!(headers.get("b"), Some(None));
        assert_eq!(headers.get("none"), None);
        assert_eq!(headers.get_str("a"), Some("2"));
        assert_eq!(headers.get_str("b"), None);
        assert_eq!(headers.get_str("none"), None);
        assert_eq!(abac().insert("a", [0xff]).get_str("a"), None);
        assert!(headers.get_all("a").eq([Some(&b"1"[..]), Some(b"2")]));
        assert!(headers.get_all("b").eq([None]));
        assert_eq!(headers.get_all("none").count(), 0);
    }

    #[test]
    fn headers_are_collected_from_headers_and_from_pairs() {
        let headers = abac();
        assert_eq!(headers.iter().collect::<Headers>(), headers);
        assert_eq!((&headers).into_iter().len(), 4);

        let mut from_pairs: Headers = [("a", Some("1")), ("b", None)].into_iter().collect();
        from_pairs.extend([(String::from("a"), vec![b'2'])]);
        from_pairs.extend(&Headers::new().append("c", ""));
        assert_eq!(from_pairs, headers);
    }
}
