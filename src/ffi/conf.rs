//! Owner of `rd_kafka_conf_t`.

use std::ffi::{CString, c_int, c_void};
use std::ptr::{self, NonNull};

use rdkafka_sys::bindings as sys;

use super::convert::with_errstr;
use super::redeclared::{rd_kafka_conf_get, rd_kafka_conf_set};

/// The reason for which librdkafka refuses a property.
#[derive(Debug)]
pub(crate) enum ConfError {
    /// librdkafka has no such property.
    Unknown,
    /// The value is invalid. librdkafka's text may contain it.
    Invalid(String),
}

/// The C callback that chooses a partition.
pub(super) type Partitioner = unsafe extern "C" fn(
    *const sys::rd_kafka_topic_t,
    *const c_void,
    usize,
    i32,
    *mut c_void,
    *mut c_void,
) -> i32;

/// A configuration that no client has taken over yet.
#[derive(Debug)]
pub(crate) struct Conf(NonNull<sys::rd_kafka_conf_t>);

impl Conf {
    /// Creates a configuration with librdkafka's defaults.
    pub(crate) fn new() -> Self {
        // SAFETY: the call takes no arguments; the returned object is ours.
        let conf = unsafe { sys::rd_kafka_conf_new() };
        Self(NonNull::new(conf).expect("rd_kafka_conf_new aborts instead of returning NULL"))
    }

    /// Sets a property.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), ConfError> {
        let name = CString::new(name).map_err(|_| ConfError::Unknown)?;
        let value = CString::new(value)
            .map_err(|_| ConfError::Invalid("the value contains a NUL byte".to_owned()))?;
        let (result, text) = with_errstr(|errstr, size| {
            // SAFETY: the configuration is ours alone, both strings are C strings that live
            // during the call, and the buffer has the given size.
            unsafe { rd_kafka_conf_set(self.as_ptr(), name.as_ptr(), value.as_ptr(), errstr, size) }
        });
        const OK: c_int = sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK as c_int;
        const UNKNOWN: c_int = sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_UNKNOWN as c_int;
        match result {
            OK => Ok(()),
            UNKNOWN => Err(ConfError::Unknown),
            _ => Err(ConfError::Invalid(text)),
        }
    }

    /// Returns the value of a property, which may be its default. `None` if librdkafka has no such
    /// property, or if it has no value.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        // SAFETY: the configuration is valid.
        unsafe { property(self.as_ptr(), name) }
    }

    /// Returns librdkafka's table of all properties, as its CONFIGURATION.md has it. Empty on
    /// systems whose C library writes no stream into memory.
    pub(crate) fn properties_table() -> String {
        #[cfg(unix)]
        {
            written_to_memory(|file| {
                // SAFETY: the stream is open for writing.
                unsafe { super::redeclared::rd_kafka_conf_properties_show(file) }
            })
        }
        #[cfg(not(unix))]
        String::new()
    }

    /// Returns a copy. Callbacks and their opaque are copied as pointers.
    pub(super) fn duplicate(&self) -> Self {
        // SAFETY: the configuration is valid; the returned object is ours.
        let conf = unsafe { sys::rd_kafka_conf_dup(self.as_ptr()) };
        Self(NonNull::new(conf).expect("rd_kafka_conf_dup aborts instead of returning NULL"))
    }

    /// Returns true if librdkafka has a property of that name.
    pub(crate) fn knows(name: &str) -> bool {
        const UNKNOWN: c_int = sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_UNKNOWN as c_int;
        let Ok(name) = CString::new(name) else {
            return false;
        };
        // A separate configuration, because the call resets the property to its default.
        let scratch = Self::new();
        let (result, _) = with_errstr(|errstr, size| {
            // SAFETY: configuration and name are valid, NULL stands for the default value, and the
            // buffer has the given size.
            unsafe { rd_kafka_conf_set(scratch.as_ptr(), name.as_ptr(), ptr::null(), errstr, size) }
        });
        result != UNKNOWN
    }

    /// Returns true if librdkafka creates OAuth tokens itself: with built-in OIDC, and unsecured
    /// ones for tests.
    pub(super) fn creates_oauth_tokens(&self) -> bool {
        let is = |property: &str, value: &str| {
            let set = self.get(property).unwrap_or_default();
            set.eq_ignore_ascii_case(value)
        };
        let security = self.get("security.protocol").unwrap_or_default();
        security.starts_with("sasl")
            && is("sasl.mechanisms", "OAUTHBEARER")
            && (is("sasl.oauthbearer.method", "oidc")
                || is("enable.sasl.oauthbearer.unsecure.jwt", "true"))
    }

    /// Enables these kinds of events (`RD_KAFKA_EVENT_*`) on the main queue.
    pub(super) fn set_events(&mut self, events: c_int) {
        // SAFETY: the configuration is ours alone.
        unsafe { sys::rd_kafka_conf_set_events(self.as_ptr(), events) }
    }

    /// Gives SASL callbacks a queue of their own.
    pub(super) fn separate_sasl_queue(&mut self) {
        // SAFETY: the configuration is ours alone.
        unsafe { sys::rd_kafka_conf_enable_sasl_queue(self.as_ptr(), 1) }
    }

    /// Sets the callback that chooses the partitions of records without one.
    ///
    /// `opaque` is passed to the callback. It must live as long as the client that takes this
    /// configuration over.
    pub(super) fn set_partitioner(&mut self, partitioner: Partitioner, opaque: *mut c_void) {
        // SAFETY: the configuration is ours alone, and so is its topic configuration. It may have
        // none yet; then it takes a new one over.
        unsafe {
            let mut topics = sys::rd_kafka_conf_get_default_topic_conf(self.as_ptr());
            if topics.is_null() {
                topics = sys::rd_kafka_topic_conf_new();
                sys::rd_kafka_conf_set_default_topic_conf(self.as_ptr(), topics);
            }
            sys::rd_kafka_topic_conf_set_opaque(topics, opaque);
            sys::rd_kafka_topic_conf_set_partitioner_cb(topics, Some(partitioner));
        }
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_conf_t {
        self.0.as_ptr()
    }
}

/// Returns what `write` writes to a stream of the C library.
#[cfg(unix)]
fn written_to_memory(write: impl FnOnce(*mut c_void)) -> String {
    use std::ffi::c_char;

    unsafe extern "C" {
        // POSIX.1-2008. A `FILE` is opaque to us.
        fn open_memstream(text: *mut *mut c_char, size: *mut usize) -> *mut c_void;
        fn fclose(file: *mut c_void) -> c_int;
        fn free(memory: *mut c_void);
    }
    let (mut text, mut size) = (ptr::null_mut(), 0);
    // SAFETY: both pointers are to variables that live until the stream is closed.
    let file = unsafe { open_memstream(&mut text, &mut size) };
    if file.is_null() {
        return String::new();
    }
    write(file);
    // SAFETY: the stream is open, and not used after this.
    unsafe { fclose(file) };
    // SAFETY: closing the stream has set the buffer and its size; NULL becomes an empty string.
    let shown = unsafe { super::convert::slice(text.cast(), size) };
    let shown = String::from_utf8_lossy(shown.unwrap_or_default()).into_owned();
    // SAFETY: the buffer was allocated by `open_memstream`, and the caller must free it.
    unsafe { free(text.cast()) };
    shown
}

/// Returns the value of a property of a configuration.
///
/// # Safety
///
/// The configuration is valid, and nobody changes it during the call.
unsafe fn property(conf: *const sys::rd_kafka_conf_t, name: &str) -> Option<String> {
    const OK: c_int = sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK as c_int;
    let name = CString::new(name).ok()?;
    let mut size = 0;
    // SAFETY: the configuration and the name are valid. With NULL for the buffer librdkafka only
    // returns the size that it needs.
    let result = unsafe { rd_kafka_conf_get(conf, name.as_ptr(), ptr::null_mut(), &mut size) };
    if result != OK {
        return None;
    }
    let mut buffer = vec![0_u8; size];
    // SAFETY: the configuration and the name are valid; the buffer has the given size.
    let result =
        unsafe { rd_kafka_conf_get(conf, name.as_ptr(), buffer.as_mut_ptr().cast(), &mut size) };
    if result != OK {
        return None;
    }
    let end = buffer.iter().position(|&byte| byte == 0);
    buffer.truncate(end.unwrap_or(buffer.len()));
    String::from_utf8(buffer).ok()
}

/// Returns the value of a property of a client of the crate `rdkafka`. It must be one that
/// librdkafka does not change while the client lives: no login and no name.
#[cfg(feature = "rdkafka")]
pub(crate) fn property_of_client<C: rdkafka::ClientContext>(
    client: &rdkafka::client::Client<C>,
    name: &str,
) -> Option<String> {
    // SAFETY: the client is borrowed, so its handle is valid, and with it the configuration, which
    // is a part of it. Both crates use the same `rdkafka-sys`, and so the same librdkafka.
    unsafe { property(sys::rd_kafka_conf(client.native_ptr()), name) }
}

impl Drop for Conf {
    fn drop(&mut self) {
        // SAFETY: it is ours. A configuration that a client has taken over is forgotten, not
        // dropped.
        unsafe { sys::rd_kafka_conf_destroy(self.as_ptr()) }
    }
}
