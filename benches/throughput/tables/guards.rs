//! The guards: limits that short runs check, so that nothing gets lost between measurements.
//!
//! Instruction counts are nearly exact. All other guards are ratios with wide margins, because the
//! machines that run checks are busy.

use crate::jobs::case::SIZE;
use crate::jobs::contender_name::{Kind, Runtime};
use crate::jobs::work::Work;
use crate::measure::metric::Metric;
use crate::tables::goal::{Bound, Goal, Peer, When, goal};

use Bound::AtMost;
use Kind::{
    CLoop, Future, FutureSend, Ours, OursDetached, OursSend, OursSendAll, OursSink, OursStream,
    Threaded,
};
use Metric::{AllocationsPerMessage, CpuPerMillion, Instructions};
use Peer::{ItselfAt, Nobody, Of};
use Runtime::{Ct, Mt};
use When::Tasks;

/// One allocation for every 32 messages in flight: a short run is too short to use that memory
/// again. The rest of the limit is for buffers that grow now and then.
const SEGMENTS: Bound = AtMost(0.05);

/// All guards, by the rows of the goals that they guard.
#[rustfmt::skip]
pub(crate) const GUARDS: [Goal; 13] = [
    goal(1, Work::Instructions, SIZE, Ours, Instructions, Of(CLoop), AtMost(1.30)),
    goal(1, Work::Instructions, SIZE, Ours, Instructions, Of(Future), AtMost(0.79)),
    goal(1, Work::Instructions, SIZE, OursSend, Instructions, Of(FutureSend), AtMost(0.78)),
    goal(2, Work::Window, SIZE, Ours, CpuPerMillion, Of(Future), AtMost(1.0)).on(Ct),
    goal(2, Work::Window, SIZE, Ours, CpuPerMillion, Of(Future), AtMost(1.0)).on(Mt),
    goal(3, Work::Detached, SIZE, OursDetached, CpuPerMillion, Of(Threaded), AtMost(1.5)).on(Ct),
    goal(3, Work::Instructions, SIZE, OursDetached, Instructions, Of(CLoop), AtMost(1.26)),
    goal(4, Work::Window, SIZE, Ours, AllocationsPerMessage, Nobody, SEGMENTS),
    goal(4, Work::Detached, SIZE, OursDetached, AllocationsPerMessage, Nobody, SEGMENTS).on(Ct),
    goal(6, Work::Full, SIZE, OursSend, CpuPerMillion, ItselfAt(Tasks(1_000)), AtMost(4.0)).when(Tasks(20_000)).on(Mt),
    goal(14, Work::Instructions, SIZE, OursSink, Instructions, Of(Ours), AtMost(1.10)),
    goal(14, Work::Instructions, SIZE, OursStream, Instructions, Of(Ours), AtMost(1.10)),
    goal(14, Work::Instructions, SIZE, OursSendAll, Instructions, Of(Ours), AtMost(1.02)),
];
