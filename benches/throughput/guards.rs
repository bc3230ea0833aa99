//! The guards: what must not get lost between measurements, checked by short runs.
//!
//! Counts of instructions are nearly exact. Everything else is a ratio with a wide margin, as machines
//! that run checks are busy.

use super::contender::{Kind, Runtime};
use super::goals::{Bound, Goal, Peer, SIZE, When, goal};
use super::sample::Metric;
use super::work::Work;

use Bound::AtMost;
use Kind::{
    CLoop, Future, FutureSend, Ours, OursDetached, OursSend, OursSendAll, OursSink, OursStream,
    Threaded,
};
use Metric::{AllocationsPerMessage, CpuPerMillion, Instructions};
use Peer::{ItselfAt, Nobody, Of};
use Runtime::{Ct, Mt};
use When::Tasks;

/// One for every 32 messages that are in flight at once, where a short run never has a second time as
/// many; a little is for what grows now and then.
const SEGMENTS: Bound = AtMost(0.05);

/// All guards, under the rows of the goals that they guard.
#[rustfmt::skip]
pub(crate) const GUARDS: [Goal; 13] = [
    goal(1, Work::Instructions, SIZE, Ours, Instructions, Of(CLoop), AtMost(1.35)),
    goal(1, Work::Instructions, SIZE, Ours, Instructions, Of(Future), AtMost(0.85)),
    goal(1, Work::Instructions, SIZE, OursSend, Instructions, Of(FutureSend), AtMost(0.90)),
    goal(2, Work::Window, SIZE, Ours, CpuPerMillion, Of(Future), AtMost(1.0)).on(Ct),
    goal(2, Work::Window, SIZE, Ours, CpuPerMillion, Of(Future), AtMost(1.0)).on(Mt),
    goal(3, Work::Detached, SIZE, OursDetached, CpuPerMillion, Of(Threaded), AtMost(1.5)).on(Ct),
    goal(3, Work::Instructions, SIZE, OursDetached, Instructions, Of(CLoop), AtMost(1.30)),
    goal(4, Work::Window, SIZE, Ours, AllocationsPerMessage, Nobody, SEGMENTS),
    goal(4, Work::Detached, SIZE, OursDetached, AllocationsPerMessage, Nobody, SEGMENTS).on(Ct),
    goal(6, Work::Full, SIZE, OursSend, CpuPerMillion, ItselfAt(Tasks(1_000)), AtMost(4.0)).when(Tasks(20_000)).on(Mt),
    goal(14, Work::Instructions, SIZE, OursSink, Instructions, Of(Ours), AtMost(1.10)),
    goal(14, Work::Instructions, SIZE, OursStream, Instructions, Of(Ours), AtMost(1.10)),
    goal(14, Work::Instructions, SIZE, OursSendAll, Instructions, Of(Ours), AtMost(1.02)),
];
