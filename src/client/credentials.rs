//! Changes of a running client: its password and its log level.

use std::sync::atomic::Ordering;

use super::core::{Core, INFO};
use super::login::login_value;
use crate::error::KafkaError;
use crate::ffi::Opaque;
use crate::sync::{lock, write};
use crate::values::RDKafkaLogLevel;

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
            .map_err(|error| self.call_error("set_sasl_credentials", error))?;
        lock(&self.changes).credentials = Some((username.to_owned(), password.to_owned()));
        Ok(())
    }

    /// Sets the lowest level of librdkafka's logs. Without a client it does nothing.
    pub(crate) fn set_log_level(&self, level: RDKafkaLogLevel) {
        let Some(client) = self.client() else {
            return;
        };
        lock(&self.changes).log_level = Some(level);
        let shown = level.to_syslog() as i32;
        self.shown_level.store(shown, Ordering::Relaxed);
        // A transactional client goes on logging broken connections, see `prepare_logs`.
        if self.is_transactional && shown < INFO {
            client.set_log_level(RDKafkaLogLevel::Info);
        } else {
            client.set_log_level(level);
        }
    }

    /// Makes the changes of a client that this one replaces.
    pub(crate) fn adopt_changes(&self, replaced: &Self) {
        let changes = lock(&replaced.changes).clone();
        if let Some((username, password)) = changes.credentials {
            // They were valid for a client of the same configuration.
            let _ = self.set_sasl_credentials(&username, &password);
        }
        if let Some(level) = changes.log_level {
            self.set_log_level(level);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientConfig;
    use crate::ffi::Carried;

    fn core() -> Core<Carried<()>> {
        let mut config = ClientConfig::new();
        config
            .set("security.protocol", "sasl_plaintext")
            .set("sasl.mechanism", "PLAIN")
            .set("sasl.username", "before")
            .set("sasl.password", "password-before");
        Core::without_brokers(config)
    }

    #[test]
    fn a_client_that_replaces_another_has_its_password_and_its_log_level() {
        let (old, new) = (core(), core());
        old.set_sasl_credentials("after", "password-after").unwrap();
        old.set_log_level(RDKafkaLogLevel::Error);
        new.adopt_changes(&old);
        let adopted = lock(&new.changes).clone();
        let credentials = ("after".to_owned(), "password-after".to_owned());
        assert_eq!(adopted.credentials, Some(credentials));
        assert_eq!(new.shown("password-after"), "[redacted]");
        assert_eq!(new.shown_level.load(Ordering::Relaxed), 3);
        assert!(!format!("{adopted:?}").contains("password-after"));
        for core in [old, new] {
            core.close();
            core.destroy();
        }
    }
}
