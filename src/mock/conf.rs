//! Configurations of the mock's own clients.

use crate::error::KafkaError;
use crate::ffi::{Conf, ConfError};

pub(super) fn conf<'a>(
    properties: impl IntoIterator<Item = &'a (&'a str, &'a str)>,
) -> Result<Conf, KafkaError> {
    let mut conf = Conf::new();
    for &(name, value) in properties {
        conf.set(name, value).map_err(|error| match error {
            ConfError::Unknown => KafkaError::config(Some(name), "no such property"),
            ConfError::Invalid(text) => KafkaError::config(Some(name), text),
        })?;
    }
    Ok(conf)
}
