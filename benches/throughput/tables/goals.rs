//! The goals: what our contenders should reach, and beside which peer.

use crate::jobs::case::{KIB, SIZE};
use crate::jobs::contender_name::{Kind, Runtime};
use crate::jobs::work::Work;
use crate::measure::metric::Metric;
use crate::tables::goal::{Bound, Goal, Peer, When, goal};

use Bound::{AtLeast, AtMost};
use Kind::{
    CLoop, Future, FutureSend, Ours, OursBytes, OursDetached, OursDetachedByName, OursSend,
    OursSendAll, OursSink, OursStream, Threaded,
};
use Metric::{
    AllocationsPerMessage, CopiesAboveCLoop, CpuPerMillion, IdleCpuOther, Instructions, P50, P99,
    Rate, RssAboveCLoop, ShareOfAllowed, SwitchesOther, ThreadsOther,
};
use Peer::{ItselfAt, Nobody, Of};
use Runtime::{Ct, Mt, MtBlockOn};
use When::{Idempotent, Tasks, Topics};

/// No allocation, except when a buffer grows now and then.
const NO_ALLOCATION: Bound = AtMost(0.001);

/// One copy of the payloads in flight less than the C loop. A tenth of a copy is for the rest of a
/// message.
const ONE_COPY_LESS: Bound = AtMost(-0.9);

/// All goals, by row.
///
/// Row 4 leaves out `ours-send`, because `buffer_unordered` itself allocates once per future.
#[rustfmt::skip]
pub(crate) const GOALS: [Goal; 58] = [
    goal(1, Work::Instructions, SIZE, Ours, Instructions, Of(CLoop), AtMost(1.15)),
    goal(1, Work::Instructions, SIZE, Ours, Instructions, Of(Future), AtMost(0.70)),
    goal(1, Work::Instructions, SIZE, OursSend, Instructions, Of(FutureSend), AtMost(0.66)),
    goal(2, Work::Window, SIZE, Ours, Rate, Of(Future), AtLeast(2.0)),
    goal(2, Work::Window, SIZE, Ours, Rate, Of(CLoop), AtLeast(0.95)),
    goal(2, Work::Window, SIZE, Ours, CpuPerMillion, Of(Future), AtMost(0.50)),
    goal(2, Work::Window, SIZE, Ours, CpuPerMillion, Of(CLoop), AtMost(1.20)),
    goal(2, Work::Window, KIB, OursBytes, Rate, Of(Future), AtLeast(1.6)),
    goal(2, Work::Window, KIB, OursBytes, Rate, Of(CLoop), AtLeast(0.95)),
    goal(2, Work::Window, KIB, OursBytes, CpuPerMillion, Of(Future), AtMost(0.50)),
    goal(3, Work::Detached, SIZE, OursDetached, Rate, Of(Threaded), AtLeast(1.1)),
    goal(3, Work::Detached, SIZE, OursDetached, Rate, Of(CLoop), AtLeast(0.97)),
    goal(3, Work::Instructions, SIZE, OursDetached, Instructions, Of(CLoop), AtMost(1.04)),
    goal(4, Work::Window, SIZE, Ours, AllocationsPerMessage, Nobody, AtMost(1.0)),
    goal(4, Work::Detached, SIZE, OursDetached, AllocationsPerMessage, Nobody, NO_ALLOCATION),
    goal(5, Work::Topics, SIZE, OursDetachedByName, Rate, ItselfAt(Topics(1)), AtLeast(0.9)).when(Topics(1_000)),
    goal(6, Work::Full, SIZE, OursSend, ShareOfAllowed, Nobody, AtLeast(0.9)),
    goal(6, Work::Full, SIZE, OursSend, P99, Of(FutureSend), AtMost(0.15)),
    goal(6, Work::Full, SIZE, OursSend, CpuPerMillion, ItselfAt(Tasks(1_000)), AtMost(2.0)).when(Tasks(20_000)),
    goal(7, Work::Latency, SIZE, Ours, P50, Of(Future), AtMost(0.92)).on(Ct),
    goal(7, Work::Latency, SIZE, Ours, P50, Of(CLoop), AtMost(1.10)).on(Ct),
    goal(7, Work::Latency, SIZE, Ours, P50, Of(Future), AtMost(1.0)).on(Mt),
    goal(7, Work::Latency, SIZE, Ours, P50, Of(Future), AtMost(1.05)).on(MtBlockOn),
    goal(8, Work::Idle, SIZE, Ours, ThreadsOther, Nobody, AtMost(0.0)),
    goal(8, Work::Idle, SIZE, Ours, SwitchesOther, Nobody, AtMost(0.0)),
    goal(8, Work::Idle, SIZE, Ours, IdleCpuOther, Nobody, AtMost(2.0)),
    goal(9, Work::Bytes, KIB, OursBytes, CpuPerMillion, Of(Future), AtMost(0.60)),
    goal(9, Work::Bytes, 10 * KIB, OursBytes, CpuPerMillion, Of(Future), AtMost(0.65)),
    goal(9, Work::Bytes, 100 * KIB, OursBytes, CpuPerMillion, Of(Future), AtMost(0.65)),
    goal(9, Work::Memory, KIB, OursBytes, CopiesAboveCLoop, Nobody, ONE_COPY_LESS),
    goal(9, Work::Memory, 10 * KIB, OursBytes, CopiesAboveCLoop, Nobody, ONE_COPY_LESS),
    goal(9, Work::Memory, 100 * KIB, OursBytes, CopiesAboveCLoop, Nobody, ONE_COPY_LESS),
    // In microseconds.
    goal(10, Work::Flush, SIZE, Ours, P50, Nobody, AtMost(10_000.0)),
    goal(11, Work::Memory, SIZE, Ours, RssAboveCLoop, Of(Future), AtMost(0.35)),
    goal(12, Work::Tasks, SIZE, Ours, Rate, Of(CLoop), AtLeast(0.9)),
    goal(12, Work::Tasks, SIZE, Ours, Rate, Of(Future), AtLeast(1.7)).when(Tasks(4)),
    goal(13, Work::Kafka, SIZE, Ours, CpuPerMillion, Of(Future), AtMost(0.38)),
    goal(13, Work::Kafka, SIZE, Ours, CpuPerMillion, Of(CLoop), AtMost(1.25)),
    goal(13, Work::Kafka, SIZE, Ours, Rate, Of(CLoop), AtLeast(0.97)),
    goal(13, Work::Kafka, SIZE, Ours, Rate, Of(Future), AtLeast(1.0)),
    goal(13, Work::Kafka, KIB, OursBytes, CpuPerMillion, Of(Future), AtMost(0.57)),
    goal(13, Work::Kafka, KIB, OursBytes, CpuPerMillion, Of(CLoop), AtMost(1.0)),
    goal(13, Work::Kafka, KIB, OursBytes, Rate, Of(CLoop), AtLeast(0.97)),
    goal(13, Work::Kafka, KIB, OursBytes, Rate, Of(Future), AtLeast(1.0)),
    goal(13, Work::Kafka, SIZE, OursSendAll, CpuPerMillion, Of(CLoop), AtMost(1.0)),
    goal(13, Work::Kafka, SIZE, OursSend, CpuPerMillion, Of(Ours), AtMost(1.15)),
    goal(13, Work::Kafka, SIZE, Ours, CpuPerMillion, ItselfAt(Idempotent(false)), AtMost(1.10)).when(Idempotent(true)),
    goal(14, Work::Instructions, SIZE, OursSendAll, Instructions, Of(CLoop), AtMost(1.03)),
    goal(14, Work::Instructions, SIZE, OursSink, Instructions, Of(CLoop), AtMost(1.08)),
    goal(14, Work::Window, SIZE, OursSink, Rate, Of(Ours), AtLeast(0.95)),
    goal(14, Work::Window, SIZE, OursStream, Rate, Of(Ours), AtLeast(0.9)),
    goal(14, Work::Window, SIZE, OursSink, AllocationsPerMessage, Nobody, NO_ALLOCATION),
    goal(14, Work::Window, SIZE, OursStream, AllocationsPerMessage, Nobody, NO_ALLOCATION),
    goal(14, Work::Window, SIZE, OursSendAll, AllocationsPerMessage, Nobody, NO_ALLOCATION),
    // P50 is that of commits.
    goal(15, Work::Transactions, SIZE, Ours, Rate, Of(Future), AtLeast(0.97)),
    goal(15, Work::Transactions, SIZE, Ours, Rate, Of(Threaded), AtLeast(0.97)),
    goal(15, Work::Transactions, SIZE, Ours, P50, Of(Future), AtMost(1.05)),
    goal(15, Work::Transactions, SIZE, Ours, P50, Of(Threaded), AtMost(1.05)),
];
