//! New passwords of a running client.

use super::core::Core;
use super::login::login_value;
use crate::error::KafkaError;
use crate::ffi::Opaque;
use crate::sync::write;

impl<O: Opaque> Core<O> {
    /// Sets the user and the password of new connections.
    ///
    /// # Errors
    ///
    /// The core is closed, the client does not log in with a password, or a value is invalid.
    pub(crate) fn set_sasl_credentials(
        &self,
        username: &str,
        password: &str,
    ) -> Result<(), KafkaError> {
        let client = self.client().ok_or_else(|| self.closed_error())?;
        self.login.check_password()?;
        let raw_username = login_value("sasl.username", username)?;
        let raw_password = login_value("sasl.password", password)?;
        {
            // Before librdkafka can show them.
            let mut secrets = write(&self.secrets);
            secrets.add(username);
            secrets.add(password);
        }
        client
            .set_sasl_credentials(&raw_username, &raw_password)
            .map_err(|error| self.call_error("set_sasl_credentials", error))
    }
}
