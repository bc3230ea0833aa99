//! The predicates of a [`KafkaError`](crate::KafkaError) on the errors that contain one.

/// Implements the predicates and [`Error`](std::error::Error) for a type with a method `error`.
macro_rules! error_predicates {
    (($($generics:tt)*) $error:ty) => {
        impl<$($generics)*> $error {
            /// Returns the code of librdkafka or of the broker if there is one.
            pub fn code(&self) -> Option<$crate::error::RDKafkaErrorCode> {
                self.error().code()
            }

            /// Returns true if the queue had no capacity; see
            /// [`KafkaError::is_queue_full`](crate::KafkaError::is_queue_full).
            pub fn is_queue_full(&self) -> bool {
                self.error().is_queue_full()
            }

            /// Returns true if a time limit has passed; see
            /// [`KafkaError::is_timed_out`](crate::KafkaError::is_timed_out).
            pub fn is_timed_out(&self) -> bool {
                self.error().is_timed_out()
            }

            /// Returns true if the producer is closed.
            pub fn is_closed(&self) -> bool {
                self.error().is_closed()
            }

            /// Returns true if the producer can send no more records; see
            /// [`KafkaError::is_fatal`](crate::KafkaError::is_fatal).
            pub fn is_fatal(&self) -> bool {
                self.error().is_fatal()
            }

            /// Returns true if another producer has taken over or the transaction has timed out;
            /// see [`KafkaError::is_fenced`](crate::KafkaError::is_fenced).
            pub fn is_fenced(&self) -> bool {
                self.error().is_fenced()
            }

            /// Returns true if the transaction must be aborted; see
            /// [`KafkaError::requires_abort`](crate::KafkaError::requires_abort).
            pub fn requires_abort(&self) -> bool {
                self.error().requires_abort()
            }

            /// Returns true if a broker refused the whole batch of the record, so that this record
            /// may be innocent; see
            /// [`KafkaError::is_batch_refused`](crate::KafkaError::is_batch_refused).
            pub fn is_batch_refused(&self) -> bool {
                self.error().is_batch_refused()
            }

            /// Returns true if sending the record again may succeed; see
            /// [`KafkaError::is_retriable`](crate::KafkaError::is_retriable).
            pub fn is_retriable(&self) -> bool {
                self.error().is_retriable()
            }
        }

        /// `Display` shows the error that `error` returns, so the source is that error's source.
        impl<$($generics)*> std::error::Error for $error {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                std::error::Error::source(self.error())
            }
        }
    };
}

pub(super) use error_predicates;
