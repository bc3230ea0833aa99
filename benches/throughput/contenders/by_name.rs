//! The table of contenders, by their names.

use crate::contenders::address::{Borrowed, ByHandle, ByName};
use crate::contenders::c_loop::CLoop;
use crate::contenders::future::Future;
use crate::contenders::ours::Ours;
use crate::contenders::ours_detached::OursDetached;
use crate::contenders::ours_send_all::OursSendAll;
use crate::contenders::ours_sink::OursSink;
use crate::contenders::ours_stream::OursStream;
use crate::contenders::ours_transactions::OursTransactions;
use crate::contenders::rdkafka_transactions::{FutureTransactions, ThreadedTransactions};
use crate::contenders::threaded::Threaded;
use crate::jobs::contender::Contender;
use crate::jobs::contender_name::Kind;
use crate::jobs::work::Work;
use crate::works::awaited::Style;

/// Returns the contender of that name for `work`.
pub(crate) fn contender(kind: Kind, work: Work) -> Box<dyn Contender> {
    if work == Work::Transactions {
        return transactional(kind);
    }
    match kind {
        Kind::CLoop => Box::new(CLoop),
        Kind::Threaded => Box::new(Threaded),
        Kind::Future => Box::new(Future(Style::InOrder)),
        Kind::FutureSend => Box::new(Future(Style::Unordered)),
        Kind::Ours => Box::new(Ours::<ByHandle>::new(Style::InOrder)),
        Kind::OursByName => Box::new(Ours::<ByName>::new(Style::InOrder)),
        Kind::OursBytes => Box::new(Ours::<Borrowed>::new(Style::InOrder)),
        Kind::OursSend => Box::new(Ours::<ByHandle>::new(Style::Unordered)),
        Kind::OursDetached => Box::new(OursDetached::<ByHandle>::new()),
        Kind::OursDetachedByName => Box::new(OursDetached::<ByName>::new()),
        Kind::OursSink => Box::new(OursSink),
        Kind::OursStream => Box::new(OursStream),
        Kind::OursSendAll => Box::new(OursSendAll),
    }
}

fn transactional(kind: Kind) -> Box<dyn Contender> {
    match kind {
        Kind::Threaded => Box::new(ThreadedTransactions),
        Kind::Future => Box::new(FutureTransactions),
        Kind::Ours => Box::new(OursTransactions),
        kind => panic!("{kind} has no transactions"),
    }
}
