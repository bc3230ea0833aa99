//! Configurations of the mock's own clients.

use crate::error::KafkaError;
use crate::ffi::{Conf, ConfError};

/// Creates a configuration from trusted properties, without the checks of `ClientConfig`.
pub(super) fn conf<'a>(
    properties: impl IntoIterator<Item = &'a (&'a str, &'a str)>,
) -> Result<Conf, KafkaError> {
    let mut conf = Conf::new();
    for &(name, value) in properties {
        conf.set(name, value).map_err(|error| match error {
            ConfError::Unknown => KafkaError::config(Some(name), "unknown configuration property"),
            ConfError::Invalid(text) => KafkaError::config(Some(name), text),
        })?;
    }
    Ok(conf)
}
