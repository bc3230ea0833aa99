//! The runtimes that contenders run on.

use tokio::runtime::Builder;

use crate::jobs::contender_name::Runtime;
use crate::measure::sample::Sample;

/// Runs `work` to its end on a runtime, or without one on this thread.
pub(crate) fn block_on(
    runtime: Option<Runtime>,
    work: impl Future<Output = Sample> + Send + 'static,
) -> Sample {
    let multi_thread = || {
        Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime starts")
    };
    match runtime {
        None => futures::executor::block_on(work),
        Some(Runtime::Ct) => Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts")
            .block_on(work),
        Some(Runtime::Mt) => {
            multi_thread().block_on(async { tokio::spawn(work).await.expect("no panic") })
        }
        Some(Runtime::MtBlockOn) => multi_thread().block_on(work),
    }
}
