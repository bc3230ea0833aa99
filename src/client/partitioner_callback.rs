//! Calling the context's partitioner from librdkafka.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::context::ProducerContext;
use super::partitioner::PartitionRequest;
use super::thinned_log::ThinnedLog;
use crate::ffi::PartitionerFn;
use crate::sync::{catch_panic, log};

/// Returns a function that calls the context's partitioner, if the context has one. The function
/// counts the partitioner's panics in `panics`. Its log lines name the client of `lines`.
pub(crate) fn partitioner_callback<C: ProducerContext>(
    context: &Arc<C>,
    panics: &Arc<AtomicU64>,
    lines: &Arc<ThinnedLog>,
) -> Option<Box<PartitionerFn>> {
    context.partitioner()?;
    let (context, panics) = (Arc::clone(context), Arc::clone(panics));
    let lines = Arc::clone(lines);
    Some(Box::new(move |args| {
        let request = PartitionRequest::new(args);
        let chosen = catch_panic(|| context.partitioner().map(|own| own.partition(&request)));
        chosen
            .map(|chosen| chosen.unwrap_or(-1))
            .unwrap_or_else(|panic| {
                panics.fetch_add(1, Ordering::Relaxed);
                log(|| {
                    tracing::error!(
                        client = lines.client(),
                        callback = "partitioner",
                        panic,
                        topic = request.topic(),
                        "a callback of the producer's context panicked"
                    );
                });
                -1
            })
    }))
}
