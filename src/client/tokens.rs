//! Answering librdkafka's requests for an OAuth token.

use std::sync::atomic::Ordering;

use super::core::Core;
use super::oauth_token::OAuthToken;
use super::secrets::without_claims;
use crate::error::KafkaError;
use crate::ffi::Opaque;

impl<O: Opaque> Core<O> {
    /// Answers a token request with a token.
    ///
    /// # Errors
    ///
    /// Returns an error that says what is wrong with the token, without showing it. The request
    /// stays unanswered.
    pub(crate) fn set_oauth_token(&self, token: &OAuthToken) -> Result<(), KafkaError> {
        let token = token.to_raw()?;
        let client = self.client().ok_or_else(|| self.closed_error())?;
        client.set_oauth_token(&token).map_err(|(code, text)| {
            // `to_raw` has checked the token. If librdkafka still refuses it, its text may show
            // the token.
            KafkaError::with_text(code, without_claims(&self.redact(&text)))
        })?;
        self.token_failures.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Answers a token request with a failure. librdkafka raises an error with the reason.
    pub(crate) fn set_oauth_token_failure(&self, reason: &str) -> Result<(), KafkaError> {
        let client = self.client().ok_or_else(|| self.closed_error())?;
        let reason = match self.redact(reason) {
            // It would be empty as a C string, which librdkafka refuses.
            reason if reason.bytes().all(|byte| byte == 0) => "no reason given".into(),
            reason => reason,
        };
        let failures = self.token_failures.fetch_add(1, Ordering::Relaxed) + 1;
        // librdkafka does not raise an error that has the text of the one before: number them.
        let answered = match failures {
            1 => client.set_oauth_token_failure(&reason),
            _ => client.set_oauth_token_failure(&format!("{reason} (failure {failures} in a row)")),
        };
        answered.map_err(|code| self.error_of(&client, code))
    }
}
