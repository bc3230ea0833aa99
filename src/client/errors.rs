//! The errors of a client, of its calls and of its messages, and the fatal error after which
//! nothing can be sent.

use std::borrow::Cow;

use super::connection_diagnosis::client_error;
use super::core::Core;
use crate::error::{KafkaError, RDKafkaErrorCode, is_fencing, is_purge};
use crate::ffi::{CallError, Client, Opaque, PARTITION_UNASSIGNED};
use crate::sync::read;

impl<O: Opaque> Core<O> {
    /// Returns the error for a code. If the fatal error is its cause, returns the fatal error.
    pub(crate) fn error(&self, code: i32) -> KafkaError {
        match self.client() {
            Some(client) => self.error_of(&client, code),
            None => KafkaError::from_code(code),
        }
    }

    /// As [`error`](Self::error), of a client that the caller already holds.
    pub(super) fn error_of(&self, client: &Client, code: i32) -> KafkaError {
        match client.fatal_error() {
            Some(fatal) if is_caused_by(code.into(), fatal.0.into()) => self.set_fatal(fatal),
            _ => KafkaError::from_code(code),
        }
    }

    /// Returns the error of a message that was sent to `partition`, which may be unassigned.
    pub(crate) fn message_error(&self, code: i32, partition: i32) -> KafkaError {
        let error = self.error(code);
        if error.code().is_some_and(is_purge) {
            // librdkafka purges its queue after a fatal error.
            return match self.fatal_error() {
                Some(fatal) => error.after_fatal(fatal),
                None => error,
            };
        }
        let is_unknown = error.code() == Some(RDKafkaErrorCode::UnknownPartition);
        if is_unknown && self.has_partitioner && partition == PARTITION_UNASSIGNED {
            return KafkaError::with_text(
                code,
                "the partitioner chose none of the topic's partitions",
            );
        }
        error
    }

    /// Returns an error with librdkafka's text, without secrets.
    pub(crate) fn error_with_text(&self, code: RDKafkaErrorCode, text: &str) -> KafkaError {
        KafkaError::with_text(code, self.redact(text))
    }

    /// Returns a text without secrets.
    pub(super) fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        read(&self.secrets).redact(text)
    }

    /// As [`redact`](Self::redact), as a text of its own.
    pub(crate) fn shown(&self, text: &str) -> String {
        self.redact(text).into_owned()
    }

    /// Returns the error of a transactional call.
    pub(crate) fn call_error(&self, call: &str, error: CallError) -> KafkaError {
        // librdkafka's advice to poll the queue would mislead: the queue is served during the
        // call, which only had too little time.
        const ADVICE: &str = ": the event queue must be polled";
        let reason = match error.text.split_once(ADVICE) {
            Some((reason, _)) => format!("{reason}, retry call to resume"),
            None => error.text,
        };
        let text = format!("{call}: {}", self.redact(&reason));
        KafkaError::of_call(error.class, error.code, explain(error.code.into(), text))
    }

    /// Returns a client-level error, with a diagnosis if it is about a connection.
    pub(crate) fn client_error(&self, code: i32, text: &str) -> KafkaError {
        let shown = self.redact(text);
        client_error(code, text, &shown, |broker| {
            self.certificates.failure_of(broker)
        })
    }

    pub(super) fn set_fatal(&self, (code, text): (i32, String)) -> KafkaError {
        self.fatal
            .get_or_init(|| KafkaError::fatal(code, explain(code.into(), self.shown(&text))))
            .clone()
    }

    /// Returns true if a fatal error has been recorded. Does not ask librdkafka for one.
    pub(crate) fn has_fatal_error(&self) -> bool {
        self.fatal.get().is_some()
    }

    /// Returns the fatal error as an error if one has been recorded. Does not ask librdkafka.
    #[inline]
    pub(crate) fn check_fatal(&self) -> Result<(), KafkaError> {
        self.fatal.get().cloned().map_or(Ok(()), Err)
    }

    /// Returns the fatal error, if one has been recorded or librdkafka has one.
    pub(crate) fn fatal_error(&self) -> Option<KafkaError> {
        let recorded = self.fatal.get().cloned();
        recorded.or_else(|| Some(self.set_fatal(self.client()?.fatal_error()?)))
    }
}

/// Adds to the text what fencing may mean: librdkafka names only one of the two.
fn explain(code: RDKafkaErrorCode, text: String) -> String {
    if is_fencing(code) {
        text + "; another producer with this transactional.id has taken over, or a transaction \
                exceeded transaction.timeout.ms"
    } else {
        text
    }
}

/// Returns true if the code of a message or a call comes from the fatal error. It is `_FATAL` then,
/// or both say that another producer has taken over.
fn is_caused_by(code: RDKafkaErrorCode, fatal: RDKafkaErrorCode) -> bool {
    code == RDKafkaErrorCode::Fatal || (is_fencing(code) && is_fencing(fatal))
}
