//! librdkafka's version.

use std::ffi::c_int;

use rdkafka_sys::bindings as sys;

use super::convert::to_string;

/// The version that rdkafka-sys bundles, as `rd_kafka_version` returns it.
pub(super) const BUNDLED: c_int = 0x020c_01ff;

/// Returns the version of the librdkafka that is loaded.
pub(super) fn version() -> c_int {
    // SAFETY: the call takes no arguments.
    unsafe { sys::rd_kafka_version() }
}

/// Checks that librdkafka is not older than the bundled one.
///
/// With `dynamic-linking` rdkafka-sys checks this while it builds. The system may load another
/// librdkafka later, because all versions since 0.9 have the same soname.
///
/// # Errors
///
/// Returns what is wrong and what to do.
pub(super) fn check() -> Result<(), String> {
    // SAFETY: the string is a constant of librdkafka.
    let name = unsafe { to_string(sys::rd_kafka_version_str()) };
    check_that(version(), &name)
}

fn check_that(version: c_int, name: &str) -> Result<(), String> {
    if version >= BUNDLED {
        return Ok(());
    }
    Err(format!(
        "the librdkafka that the system has loaded is {name}, but tokio-rdkafka needs 2.12.1 or \
         later: install a later one, or build without the feature `dynamic-linking`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_librdkafka_before_the_bundled_one_is_refused() {
        let error = check_that(0x020c_00ff, "2.12.0").expect_err("an old version");
        assert!(error.contains("is 2.12.0"), "{error}");
        assert!(error.contains("needs 2.12.1"), "{error}");
        assert_eq!(check_that(BUNDLED, "2.12.1"), Ok(()));
        assert_eq!(check_that(0x020f_01ff, "2.15.1"), Ok(()));
        assert_eq!(check(), Ok(()));
    }

    /// Where it differs, what depends on the version is to be looked at again.
    #[cfg(not(feature = "dynamic-linking"))]
    #[test]
    fn the_bundled_version_is_the_known_one() {
        assert_eq!(version(), BUNDLED);
    }
}
