//! Gets tokens for SASL/OAUTHBEARER from the user's context, in a task of their own.

use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::AbortHandle;

use super::shared::Shared;
use crate::client::{OAuthToken, ProducerContext};
use crate::error::BoxError;
use crate::sync::{catch_panic, drop_foreign, log};

/// The task that gets a token, while one is wanted. It is aborted when this is dropped.
///
/// librdkafka asks for a token once, and again only after an answer.
#[derive(Debug, Default)]
pub(crate) struct TokenRefresh(Option<AbortHandle>);

impl TokenRefresh {
    /// Starts the task. Call it on a runtime.
    pub(crate) fn start<C: ProducerContext>(
        &mut self,
        shared: &Arc<Shared<C>>,
        config: Option<String>,
    ) {
        self.stop();
        let task = tokio::spawn(refresh(Arc::clone(shared), config));
        self.0 = Some(task.abort_handle());
    }

    fn stop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

impl Drop for TokenRefresh {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn refresh<C: ProducerContext>(shared: Arc<Shared<C>>, config: Option<String>) {
    let context = &*shared.context;
    // The call is in the block, because it may panic too.
    let mut token = pin!(async { context.refresh_oauth_token(config.as_deref()).await });
    let result = poll_fn(|cx| match catch_panic(|| token.as_mut().poll(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await;
    answer(&shared, result);
}

/// Answers librdkafka in any case: without an answer it would not ask again.
fn answer<C: ProducerContext>(
    shared: &Shared<C>,
    result: Result<Result<OAuthToken, BoxError>, String>,
) {
    let core = &shared.core;
    let failure = match result {
        Ok(Ok(token)) => match core.set_oauth_token(&token) {
            Ok(()) => return,
            Err(error) => error.to_string(),
        },
        Ok(Err(error)) => text_of(error),
        Err(panic) => {
            core.callback_panicked("refresh_oauth_token", &panic);
            format!("refresh_oauth_token panicked: {panic}")
        }
    };
    match core.set_oauth_token_failure(&failure) {
        Ok(()) => {}
        // Nobody waits for the token any more.
        Err(error) if error.is_closed() => {}
        Err(error) => log(|| {
            tracing::error!(
                client = core.client_name(),
                error = error.to_string(),
                "librdkafka did not take the failure of a token refresh"
            );
        }),
    }
}

/// The text of a user's error. Its `Display` and its drop are the user's code.
fn text_of(error: BoxError) -> String {
    let text = catch_panic(|| with_causes(&*error));
    drop_foreign(error);
    text.unwrap_or_else(|_| "an error whose text panicked".to_owned())
}

/// The error's text and those of its causes.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::panic::resume_unwind;

    use super::*;

    /// Panics in its drop, and perhaps in its text.
    #[derive(Debug)]
    struct Panicking {
        has_text: bool,
    }

    impl fmt::Display for Panicking {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            if !self.has_text {
                resume_unwind(Box::new("as asked"));
            }
            f.write_str("no token")
        }
    }

    impl Error for Panicking {}

    impl Drop for Panicking {
        fn drop(&mut self) {
            resume_unwind(Box::new("as asked"));
        }
    }

    /// A panic would leave librdkafka without an answer, and it would not ask for a token again.
    #[test]
    fn an_error_that_panics_has_a_text() {
        assert_eq!(text_of(Box::new(Panicking { has_text: true })), "no token");
        let text = text_of(Box::new(Panicking { has_text: false }));
        assert_eq!(text, "an error whose text panicked");
    }
}
