//! The partitioner of a context, as librdkafka calls it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::context::ProducerContext;
use super::partitioner::PartitionRequest;
use crate::ffi::Chooser;
use crate::sync::{catch_panic, log};

/// What has the context choose, if it has a partitioner; its panics are counted in `panics`.
pub(crate) fn chooser<C: ProducerContext>(
    context: &Arc<C>,
    panics: &Arc<AtomicU64>,
) -> Option<Box<Chooser>> {
    context.partitioner()?;
    let (context, panics) = (Arc::clone(context), Arc::clone(panics));
    Some(Box::new(move |choice| {
        let request = PartitionRequest::new(choice);
        let chosen = catch_panic(|| context.partitioner().map(|own| own.partition(&request)));
        chosen
            .map(|chosen| chosen.unwrap_or(-1))
            .unwrap_or_else(|panic| {
                panics.fetch_add(1, Ordering::Relaxed);
                log(|| {
                    tracing::error!(
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
