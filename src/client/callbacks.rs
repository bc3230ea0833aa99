//! Serving the events of a client, and calling the context. A panic of the context is caught,
//! logged and counted.

use std::mem;
use std::sync::atomic::Ordering;

use super::context::{ClientContext, ProducerContext};
use super::core::Core;
use super::statistics::repaired;
use crate::error::KafkaError;
use crate::ffi::{Event, Opaque, RENEWAL};
use crate::message::{DeliveryResult, Fields, InterceptedRecord, SendSpan};
use crate::sync::{catch_panic, log};
use crate::values::{Persistence, RDKafkaLogLevel};

impl<O: Opaque> Core<O> {
    /// Serves an event other than delivery reports. Returns the number of callbacks that ran, not
    /// counting log lines.
    pub(crate) fn serve_client_event(
        &self,
        context: &impl ClientContext,
        event: Event<O>,
    ) -> usize {
        match event {
            Event::Log {
                level,
                facility,
                text,
            } => {
                // librdkafka calls a renewal of the epoch a failed transaction.
                let is_renewal = facility == "TXNERR" && text.contains(RENEWAL);
                if level > self.shown_level.load(Ordering::Relaxed) || is_renewal {
                    return 0;
                }
                let level = RDKafkaLogLevel::from_syslog(level);
                let text = self.redact(&text);
                self.guard("log", || {
                    self.log.during(|| context.log(level, &facility, &text));
                });
                0
            }
            Event::Error {
                code,
                text,
                is_fatal,
            } => {
                let error = if is_fatal {
                    self.set_fatal((code, text))
                } else {
                    self.client_error(code, &text)
                };
                self.guard("error", || self.log.during(|| context.error(&error)));
                1
            }
            Event::Stats(json) => {
                let json = repaired(&json);
                self.guard("stats", || context.stats(&json));
                1
            }
            Event::OAuthTokenRefresh(config) => {
                self.guard("oauth_token_requested", || {
                    self.log
                        .during(|| context.oauth_token_requested(config.as_deref()));
                });
                1
            }
            Event::Delivery(_) | Event::Answer(_) | Event::Other => 0,
        }
    }

    /// Lets the context change a record before it is produced, once. If that panics, the record
    /// stays as the caller passed it.
    #[inline]
    pub(crate) fn intercept<C: ProducerContext>(
        &self,
        context: &C,
        fields: &mut Fields<'_>,
        opaque: &mut C::DeliveryOpaque,
    ) {
        if mem::replace(&mut fields.is_intercepted, true) {
            return;
        }
        let span = SendSpan::begin(|| self.client_name(), &fields.topic);
        if span.is_enabled() {
            return self.intercept_within(span, context, fields, opaque);
        }
        self.call_hook(context, fields, opaque);
    }

    /// As [`intercept`](Self::intercept), in the record's span.
    #[cold]
    fn intercept_within<C: ProducerContext>(
        &self,
        span: SendSpan,
        context: &C,
        fields: &mut Fields<'_>,
        opaque: &mut C::DeliveryOpaque,
    ) {
        let mut has_run = false;
        // Entering a span is foreign code, too.
        let hook = || {
            span.in_scope(|| {
                has_run = true;
                self.call_hook(context, fields, opaque);
            });
        };
        if let Err(panic) = catch_panic(hook) {
            log(|| tracing::error!(client = self.client_name(), panic, "a span panicked"));
        }
        // A subscriber must not keep a record from its hook, which may sign or encrypt it.
        if !has_run {
            self.call_hook(context, fields, opaque);
        }
        fields.set_span(span);
    }

    #[inline]
    fn call_hook<C: ProducerContext>(
        &self,
        context: &C,
        fields: &mut Fields<'_>,
        opaque: &mut C::DeliveryOpaque,
    ) {
        let mut intercepted = InterceptedRecord::new(fields, opaque);
        if let Err(panic) = catch_panic(|| context.on_send(&mut intercepted)) {
            fields.restore();
            self.callback_panicked("on_send", &panic);
        }
    }

    /// Calls the context's delivery callback.
    pub(crate) fn report<C: ProducerContext>(
        &self,
        context: &C,
        result: &DeliveryResult<'_>,
        opaque: C::DeliveryOpaque,
    ) {
        self.guard("delivery", || context.delivery(result, opaque));
    }

    /// Logs that a record failed whose result nobody awaits, in the lines that are thinned out. The
    /// caller calls [`ThinnedLog::log_due`](super::thinned_log::ThinnedLog::log_due) soon after.
    ///
    /// Returns false, and logs nothing, if the commit of a transaction reports the failure.
    #[cold]
    pub(crate) fn failed_unawaited(
        &self,
        topic: &str,
        persistence: Persistence,
        error: &KafkaError,
    ) -> bool {
        let is_unawaited = self.reports_unawaited();
        if is_unawaited {
            self.log.failure(topic, persistence, error);
        }
        is_unawaited
    }

    /// Returns true if a failure without a future is unawaited. In a transaction it is not: the
    /// commit reports it.
    pub(crate) fn reports_unawaited(&self) -> bool {
        !self.is_transactional
    }

    fn guard(&self, callback: &str, body: impl FnOnce()) {
        if let Err(panic) = catch_panic(body) {
            self.callback_panicked(callback, &panic);
        }
    }

    /// Logs and counts the panic of a callback.
    pub(crate) fn callback_panicked(&self, callback: &str, panic: &str) {
        self.callback_panics.fetch_add(1, Ordering::Relaxed);
        log(|| {
            tracing::error!(
                client = self.client_name(),
                callback,
                panic,
                "a callback of the producer's context panicked"
            );
        });
    }

    /// Returns how many callbacks of the context have panicked.
    pub(crate) fn callback_panics(&self) -> u64 {
        self.callback_panics.load(Ordering::Relaxed)
    }
}
