//! A span for each record, from the call that sends it until its delivery is known (feature
//! `tracing-spans`). Without the feature it is nothing.

use std::time::Duration;

use crate::error::KafkaError;
use crate::values::Persistence;

#[cfg(not(feature = "tracing-spans"))]
pub(crate) use off::SendSpan;
#[cfg(feature = "tracing-spans")]
pub(crate) use on::SendSpan;

/// What a span shows at its end.
#[cfg_attr(not(feature = "tracing-spans"), expect(dead_code))]
#[derive(Debug)]
pub(crate) struct Ending {
    /// −1 if none was assigned.
    pub(super) partition: i32,
    pub(super) offset: Option<i64>,
    pub(super) latency: Duration,
    pub(super) persistence: Persistence,
    pub(super) error: Option<KafkaError>,
}

#[cfg(feature = "tracing-spans")]
mod on {
    use std::time::{Duration, Instant};

    use tracing::field::Empty;
    use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
    use tracing::{Span, info_span};

    use crate::error::{KafkaError, RDKafkaErrorCode};
    use crate::message::send_span::Ending;
    use crate::message::topic::TopicName;
    use crate::sync::{catch_panic, drop_foreign, log};

    /// The span of a record. It is boxed, because each record without one passes its place on.
    #[derive(Debug, Default)]
    pub(crate) struct SendSpan(Option<Box<Live>>);

    #[derive(Debug)]
    struct Live {
        span: Span,
        began: Instant,
        /// From the beginning until the record was enqueued.
        waited: Duration,
        /// Why the record was not delivered.
        error: Option<KafkaError>,
        is_finished: bool,
    }

    impl SendSpan {
        /// Begins the span as a child of the current one. It is cheap if no subscriber wants it.
        #[inline]
        pub(crate) fn begin<'c>(
            client: impl FnOnce() -> Option<&'c str>,
            topic: &TopicName<'_>,
        ) -> Self {
            if LevelFilter::INFO > STATIC_MAX_LEVEL || LevelFilter::INFO > LevelFilter::current() {
                return Self(None);
            }
            Self(Live::begin(client(), topic.as_str()))
        }

        #[inline]
        pub(crate) fn is_enabled(&self) -> bool {
            self.0.is_some()
        }

        /// Calls the context's hook in the span.
        #[inline]
        pub(crate) fn in_scope<T>(&self, call: impl FnOnce() -> T) -> T {
            match &self.0 {
                Some(live) => live.span.in_scope(call),
                None => call(),
            }
        }

        /// Records what the context's hook may have changed, and the topic if it has.
        pub(crate) fn record_fields(
            &self,
            new_topic: Option<&str>,
            key_len: Option<usize>,
            payload_len: Option<usize>,
        ) {
            let Some(Live { span, .. }) = self.0.as_deref() else {
                return;
            };
            log(|| {
                if let Some(topic) = new_topic {
                    span.record("otel.name", name(topic));
                    span.record("messaging.destination.name", topic);
                }
                if let Some(len) = key_len {
                    span.record("tokio_rdkafka.key.size", len as u64);
                }
                let len = payload_len.unwrap_or(0);
                span.record("messaging.message.body.size", len as u64);
                if payload_len.is_none() {
                    span.record("messaging.kafka.message.tombstone", true);
                }
            });
        }

        /// The wait for capacity is over. It calls no foreign code.
        #[inline]
        pub(crate) fn enqueued(&mut self) {
            if let Some(live) = &mut self.0 {
                live.waited = live.began.elapsed();
            }
        }

        /// Keeps why the record was not delivered. It calls no foreign code.
        #[inline]
        pub(crate) fn set_error(&mut self, error: &KafkaError) {
            if let Some(live) = &mut self.0 {
                live.error = Some(error.clone());
            }
        }

        /// Ends the span of a record that was refused.
        #[inline]
        pub(crate) fn refused(&mut self, error: &KafkaError) {
            if let Some(mut live) = self.0.take() {
                live.waited = live.began.elapsed();
                log(|| live.record_error(error));
                live.end();
            }
        }

        /// Ends the span of a message.
        #[inline]
        pub(crate) fn finish(&mut self, ending: impl FnOnce() -> Ending) {
            if let Some(live) = self.0.take() {
                live.finish(ending());
            }
        }
    }

    fn name(topic: &str) -> String {
        format!("send {topic}")
    }

    impl Live {
        #[cold]
        fn begin(client: Option<&str>, topic: &str) -> Option<Box<Self>> {
            // Names of OpenTelemetry's semantic conventions for messaging, and those that
            // `tracing-opentelemetry` reads.
            let span = catch_panic(|| {
                info_span!(
                    target: "tokio_rdkafka::send",
                    "send",
                    otel.name = name(topic),
                    otel.kind = "producer",
                    otel.status_code = Empty,
                    otel.status_description = Empty,
                    messaging.system = "kafka",
                    messaging.operation.name = "send",
                    messaging.operation.type = "send",
                    messaging.client.id = client,
                    messaging.destination.name = topic,
                    messaging.destination.partition.id = Empty,
                    messaging.kafka.offset = Empty,
                    messaging.kafka.message.tombstone = Empty,
                    messaging.message.body.size = Empty,
                    error.type = Empty,
                    tokio_rdkafka.key.size = Empty,
                    tokio_rdkafka.wait.duration = Empty,
                    tokio_rdkafka.delivery.duration = Empty,
                    tokio_rdkafka.persistence = Empty,
                )
            });
            let span = span.ok().filter(|span| !span.is_disabled())?;
            Some(Box::new(Self {
                span,
                began: Instant::now(),
                waited: Duration::ZERO,
                error: None,
                is_finished: false,
            }))
        }

        #[cold]
        fn finish(self, ending: Ending) {
            let span = &self.span;
            let Ending {
                partition,
                offset,
                latency,
                persistence,
                error,
            } = ending;
            log(|| {
                if partition >= 0 {
                    let partition = partition.to_string();
                    span.record("messaging.destination.partition.id", partition);
                }
                if let Some(offset) = offset {
                    span.record("messaging.kafka.offset", offset);
                }
                span.record("tokio_rdkafka.delivery.duration", latency.as_secs_f64());
                span.record("tokio_rdkafka.persistence", persistence.to_string());
                match self.error.as_ref().or(error.as_ref()) {
                    Some(error) => self.record_error(error),
                    None => self.record_wait(),
                }
            });
            self.end();
        }

        fn record_wait(&self) {
            let waited = self.waited.as_secs_f64();
            self.span.record("tokio_rdkafka.wait.duration", waited);
        }

        fn record_error(&self, error: &KafkaError) {
            self.record_wait();
            let code = error.code().map(RDKafkaErrorCode::name);
            let code = code.as_deref().unwrap_or("_OTHER");
            self.span.record("error.type", code);
            self.span.record("otel.status_code", "ERROR");
            let text = error.to_string();
            self.span.record("otel.status_description", text);
        }

        fn end(mut self) {
            self.is_finished = true;
            drop_foreign(self);
        }
    }

    impl Drop for Live {
        fn drop(&mut self) {
            if !self.is_finished {
                // The record was dropped before it was enqueued.
                log(|| {
                    self.record_wait();
                    self.span.record("error.type", "cancelled");
                });
                drop_foreign(std::mem::replace(&mut self.span, Span::none()));
            }
        }
    }
}

#[cfg(not(feature = "tracing-spans"))]
mod off {
    use crate::error::KafkaError;
    use crate::message::send_span::Ending;
    use crate::message::topic::TopicName;

    #[derive(Debug, Default)]
    pub(crate) struct SendSpan;

    impl SendSpan {
        #[inline]
        pub(crate) fn begin<'c>(_: impl FnOnce() -> Option<&'c str>, _: &TopicName<'_>) -> Self {
            Self
        }

        #[inline]
        pub(crate) fn is_enabled(&self) -> bool {
            false
        }

        #[inline]
        pub(crate) fn in_scope<T>(&self, call: impl FnOnce() -> T) -> T {
            call()
        }

        #[inline]
        pub(crate) fn record_fields(&self, _: Option<&str>, _: Option<usize>, _: Option<usize>) {}

        #[inline]
        pub(crate) fn enqueued(&mut self) {}

        #[inline]
        pub(crate) fn set_error(&mut self, _: &KafkaError) {}

        #[inline]
        pub(crate) fn refused(&mut self, _: &KafkaError) {}

        #[inline]
        pub(crate) fn finish(&mut self, _: impl FnOnce() -> Ending) {}
    }
}
