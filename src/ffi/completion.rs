//! Completions: what a message carries through C, and the place where its result is left.
//!
//! ```text
//! Completers ── pair(value) ─┬─→ Completer   goes through librdkafka as the message's opaque
//!                            └─→ Receiver    stays with whoever awaits the result
//! ```
//!
//! A pair shares one slot of a segment. A segment is one allocation for [`SLOTS`] slots. It is spare,
//! and used again, once all completers and receivers of it have gone, and those that are still to be
//! created. So a message needs neither an allocation nor a lock when it ends, nor a count to be raised:
//! a segment starts with the count of all that can ever look at it.
//!
//! A completer that is dropped without a result completes all the same: its receiver gets `None`.

use std::ffi::c_void;
use std::fmt;
use std::mem::{self, ManuallyDrop, offset_of};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::task::{Context, Poll, Waker};

use super::opaque::{Opaque, PayloadGuard};
use crate::sync::{Arc, AtomicU8, AtomicUsize, Mutex, UnsafeCell, drop_foreign, fence, lock, wake};

/// How many pairs one allocation is for.
pub(crate) const SLOTS: usize = 32;

/// A slot has one completer and one receiver.
const REFERENCES_PER_SLOT: usize = 2;

/// How many spare segments are kept: enough for some 16 000 messages in flight.
const SPARE: usize = 512;

/// The states of a slot. The contents are the receiver's from `DONE` on, the waker is while it is
/// `EMPTY`; in all other states both are the completer's.
mod state {
    /// There is no result, and nobody to wake.
    pub(super) const EMPTY: u8 = 0;
    /// There is no result; the completer is to wake the waker.
    pub(super) const WAITING: u8 = 1;
    /// The message is complete.
    pub(super) const DONE: u8 = 2;
    /// The receiver has returned the result.
    pub(super) const TAKEN: u8 = 3;
    /// The receiver has gone before it.
    pub(super) const GONE: u8 = 4;
    /// There never was a receiver; the completer has its reference.
    pub(super) const DETACHED: u8 = 5;
}

/// Where completers come from: of results `R`, with a value `T` each.
pub(crate) struct Completers<T, R> {
    unused: Mutex<Unused<T, R>>,
    spare: Arc<Spare<T, R>>,
}

/// The slots of a segment that have not been given out, with their references.
struct Unused<T, R> {
    /// Dangling where `left` is 0.
    next: NonNull<Slot<T, R>>,
    left: usize,
}

/// Segments that nobody looks at, to be used again.
struct Spare<T, R> {
    segments: Mutex<Vec<Box<Segment<T, R>>>>,
}

struct Segment<T, R> {
    references: AtomicUsize,
    /// Where it goes when it is not used any more; `None` while it is there.
    spare: Option<Arc<Spare<T, R>>>,
    /// Whoever has something in a slot takes it out: nothing is left when nobody looks any more.
    slots: ManuallyDrop<[Slot<T, R>; SLOTS]>,
}

/// For the usual types one line of the processor's cache.
#[repr(align(64))]
struct Slot<T, R> {
    state: AtomicU8,
    /// Its place in the segment.
    index: u8,
    /// Of the message that carries the completer, where somebody wants to know it.
    payload_len: AtomicU32,
    waker: UnsafeCell<Option<Waker>>,
    contents: UnsafeCell<Contents<T, R>>,
}

enum Contents<T, R> {
    Nothing,
    Carried(T, Option<PayloadGuard>),
    Result(R),
}

/// Leaves a result for the receiver. There is one of it, so what belongs to it in the slot is
/// exclusively its.
pub(crate) struct Completer<T, R> {
    slot: NonNull<Slot<T, R>>,
}

/// Gets the result that the completer leaves.
pub(crate) struct Receiver<T, R> {
    slot: NonNull<Slot<T, R>>,
}

// SAFETY: moving a half to another thread moves access to the values in the slot, which are `Send`
// (as a waker and a payload guard are); the state orders the accesses of the halves.
unsafe impl<T: Send, R: Send> Send for Completer<T, R> {}
// SAFETY: as above.
unsafe impl<T: Send, R: Send> Send for Receiver<T, R> {}
// SAFETY: a shared completer gives out nothing but its atomic state.
unsafe impl<T: Send, R: Send> Sync for Completer<T, R> {}
// SAFETY: a shared receiver gives out nothing but its atomic state.
unsafe impl<T: Send, R: Send> Sync for Receiver<T, R> {}
// SAFETY: the slots have nothing in them yet, and moving them moves access to what comes.
unsafe impl<T: Send, R: Send> Send for Unused<T, R> {}

impl<T, R> Completers<T, R> {
    /// What a completer and its receiver take in memory.
    #[cfg(test)]
    pub(crate) const BYTES: usize = size_of::<Slot<T, R>>();

    pub(crate) fn new() -> Self {
        Self {
            unused: Mutex::new(Unused {
                next: NonNull::dangling(),
                left: 0,
            }),
            spare: Arc::new(Spare {
                segments: Mutex::new(Vec::new()),
            }),
        }
    }

    /// A completer with its value, and what expects its result.
    #[inline]
    pub(crate) fn pair(&self, value: T) -> (Completer<T, R>, Receiver<T, R>) {
        let slot = self.take();
        let completer = Completer::new(slot, value, state::EMPTY);
        (completer, Receiver { slot })
    }

    /// A completer whose result nobody expects.
    #[inline]
    pub(crate) fn detached(&self, value: T) -> Completer<T, R> {
        Completer::new(self.take(), value, state::DETACHED)
    }

    /// A slot with both its references.
    #[inline]
    fn take(&self) -> NonNull<Slot<T, R>> {
        let mut unused = lock(&self.unused);
        if unused.left == 0 {
            *unused = self.another_segment();
        }
        let slot = unused.next;
        unused.left -= 1;
        if unused.left > 0 {
            // SAFETY: at least one slot of the segment follows this one.
            unused.next = unsafe { slot.add(1) };
        }
        slot
    }

    #[cold]
    fn another_segment(&self) -> Unused<T, R> {
        let spare = lock(&self.spare.segments).pop();
        let mut segment = spare.unwrap_or_else(Segment::allocate);
        segment.references = AtomicUsize::new(SLOTS * REFERENCES_PER_SLOT);
        segment.spare = Some(Arc::clone(&self.spare));
        let segment = NonNull::from(Box::leak(segment));
        // SAFETY: the segment is live. The pointer to the first slot is made from that to the
        // segment, without a reference in between, so it may reach all of the segment.
        let next = unsafe { segment.byte_add(offset_of!(Segment<T, R>, slots)).cast() };
        Unused { next, left: SLOTS }
    }
}

impl<T, R> Drop for Unused<T, R> {
    fn drop(&mut self) {
        if self.left > 0 {
            // SAFETY: the slots that are left, with their references, are `self`'s, and end here.
            unsafe { Segment::release(self.next, self.left * REFERENCES_PER_SLOT) }
        }
    }
}

impl<T, R> Segment<T, R> {
    fn allocate() -> Box<Self> {
        Box::new(Self {
            references: AtomicUsize::new(0),
            spare: None,
            slots: ManuallyDrop::new(std::array::from_fn(|index| Slot {
                state: AtomicU8::new(state::EMPTY),
                index: index as u8,
                payload_len: AtomicU32::new(0),
                waker: UnsafeCell::new(None),
                contents: UnsafeCell::new(Contents::Nothing),
            })),
        })
    }

    /// Gives references up, with the last ones the segment.
    ///
    /// # Safety
    ///
    /// The slot is of a live segment of this type that was given out; so many of its references are
    /// the caller's, and it does not use the slot by them afterwards.
    #[inline]
    unsafe fn release(slot: NonNull<Slot<T, R>>, references: usize) {
        // SAFETY: the slot is live, as the caller's references keep the segment. Its index leads to
        // the first one, and that to the segment; the pointer may reach it, see
        // `another_segment`.
        let segment = unsafe {
            let first = slot.sub(usize::from(slot.as_ref().index));
            first.byte_sub(offset_of!(Self, slots)).cast::<Self>()
        };
        // SAFETY: as above, it is live.
        let before = unsafe { segment.as_ref() }
            .references
            .fetch_sub(references, Release);
        if before == references {
            // What others did before they gave up theirs comes before this.
            fence(Acquire);
            // SAFETY: it is from `Box::leak`, and these were the last references.
            unsafe { Box::from_raw(segment.as_ptr()) }.retire();
        }
    }

    #[cold]
    fn retire(mut self: Box<Self>) {
        let Some(spare) = self.spare.take() else {
            return;
        };
        let mut segments = lock(&spare.segments);
        if segments.len() < SPARE {
            segments.push(self);
        }
        drop(segments);
    }
}

impl<T, R> Completer<T, R> {
    #[inline]
    fn new(slot: NonNull<Slot<T, R>>, value: T, state: u8) -> Self {
        let completer = Self { slot };
        let slot = completer.slot();
        // Nobody else looks at the slot yet.
        slot.state.store(state, Relaxed);
        let value = Contents::Carried(value, None);
        // SAFETY: the contents are the completer's; in an unused slot there is nothing to drop.
        slot.contents
            .with_mut(|place| unsafe { place.write(value) });
        completer
    }

    #[inline]
    fn slot(&self) -> &Slot<T, R> {
        // SAFETY: the completer's reference keeps the segment, and all of a slot that changes while
        // it is shared is in cells.
        unsafe { self.slot.as_ref() }
    }

    #[inline]
    fn contents(&mut self) -> &mut Contents<T, R> {
        let contents = self.slot().contents.with_mut(|contents| contents);
        // SAFETY: until it completes the contents are the completer's alone, and it is borrowed
        // mutably.
        unsafe { &mut *contents }
    }

    /// The value that it carries, until a result is [set](Self::set_result).
    #[inline]
    pub(crate) fn carried(&mut self) -> &mut T {
        match self.contents() {
            Contents::Carried(value, _) => value,
            _ => unreachable!("the value is there until the result is"),
        }
    }

    /// Whether somebody still awaits the result. Once false it stays so.
    #[inline]
    pub(crate) fn is_awaited(&self) -> bool {
        self.slot().state.load(Relaxed) < state::GONE
    }

    /// Leaves the result in place of the value; the receiver gets it once this is
    /// [complete](Self::complete).
    #[inline]
    pub(crate) fn set_result(&mut self, result: R) {
        *self.contents() = Contents::Result(result);
    }

    /// Completes: the result is the receiver's now. Returns whom to wake.
    #[inline]
    pub(crate) fn complete(self) -> Option<Waker> {
        if !self.is_awaited() {
            return None;
        }
        let this = ManuallyDrop::new(self);
        let slot = this.slot();
        let waker = match slot.state.swap(state::DONE, AcqRel) {
            // SAFETY: in this state the waker was the completer's, and whoever sees `DONE` does not
            // touch it.
            state::WAITING => slot.waker.with_mut(|waker| unsafe { (*waker).take() }),
            state::EMPTY => None,
            _gone => {
                drop(ManuallyDrop::into_inner(this));
                return None;
            }
        };
        // SAFETY: the completer's reference ends here, without its drop.
        unsafe { Segment::release(this.slot, 1) };
        waker
    }
}

impl<T, R> Drop for Completer<T, R> {
    #[inline]
    fn drop(&mut self) {
        if self.slot().state.load(Relaxed) == state::DETACHED {
            // Its own, and that of a receiver that never was.
            let _references = References {
                slot: self.slot,
                count: REFERENCES_PER_SLOT,
            };
            *self.contents() = Contents::Nothing;
        } else {
            self.complete_without_result();
        }
    }
}

impl<T, R> Completer<T, R> {
    #[cold]
    fn complete_without_result(&mut self) {
        let _reference = References {
            slot: self.slot,
            count: 1,
        };
        drop_foreign(mem::replace(self.contents(), Contents::Nothing));
        let slot = self.slot();
        if slot.state.swap(state::DONE, AcqRel) == state::WAITING {
            // SAFETY: in this state the waker was the completer's, and whoever sees `DONE` does not
            // touch it.
            let waker = slot.waker.with_mut(|waker| unsafe { (*waker).take() });
            waker.into_iter().for_each(wake);
        }
    }
}

/// References of half a slot that is being dropped, given up also where the drop of something in it
/// panics.
struct References<T, R> {
    slot: NonNull<Slot<T, R>>,
    count: usize,
}

impl<T, R> Drop for References<T, R> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the references are of the half that made this in its drop, as the last to end.
        unsafe { Segment::release(self.slot, self.count) }
    }
}

// SAFETY: `from_raw` makes the completer again that `into_raw` took apart; a `Completer` is `Send` for
// these types.
unsafe impl<T: Send + 'static, R: Send + 'static> Opaque for Completer<T, R> {
    #[inline]
    fn into_raw(self) -> *mut c_void {
        ManuallyDrop::new(self).slot.as_ptr().cast()
    }

    #[inline]
    unsafe fn from_raw(raw: *mut c_void) -> Self {
        // SAFETY: by contract it is from `into_raw`, so it points to a slot.
        let slot = unsafe { NonNull::new_unchecked(raw.cast()) };
        Self { slot }
    }

    #[inline]
    fn payload_guard(&mut self) -> Option<&mut Option<PayloadGuard>> {
        match self.contents() {
            Contents::Carried(_, guard) => Some(guard),
            _ => None,
        }
    }

    fn set_payload_len(&mut self, len: usize) {
        // No message is longer than an i32 says.
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.slot().payload_len.store(len, Relaxed);
    }

    unsafe fn payload_len(raw: *mut c_void) -> usize {
        // SAFETY: by contract it is from `into_raw`, so it points to a slot, which the completer that
        // it was keeps. All of it that changes is in cells.
        let slot: &Slot<T, R> = unsafe { &*raw.cast_const().cast() };
        slot.payload_len.load(Relaxed) as usize
    }
}

impl<T, R> Receiver<T, R> {
    #[inline]
    fn slot(&self) -> &Slot<T, R> {
        // SAFETY: the receiver's reference keeps the segment, and all of a slot that changes
        // while it is shared is in cells.
        unsafe { self.slot.as_ref() }
    }

    /// Whether [`poll`](Self::poll) would return the result.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.slot().state.load(Relaxed) == state::DONE
    }

    /// Whether [`poll`](Self::poll) has returned the result.
    #[inline]
    pub(crate) fn is_taken(&self) -> bool {
        self.slot().state.load(Relaxed) == state::TAKEN
    }

    /// The result, once it is there; `None` if the completer was dropped without one. Until then the
    /// task is registered to be woken.
    ///
    /// # Panics
    ///
    /// If it has returned the result.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<R>> {
        if self.slot().state.load(Acquire) == state::DONE || self.register(cx) {
            Poll::Ready(self.take())
        } else {
            Poll::Pending
        }
    }

    /// Takes the result; the state must have been seen to be `DONE`, with `Acquire`.
    #[inline]
    fn take(&mut self) -> Option<R> {
        debug_assert!(self.is_ready());
        let slot = self.slot();
        // SAFETY: from `DONE` on the contents are the receiver's.
        let contents = slot
            .contents
            .with_mut(|contents| unsafe { contents.replace(Contents::Nothing) });
        slot.state.store(state::TAKEN, Relaxed);
        match contents {
            Contents::Result(result) => Some(result),
            Contents::Carried(..) | Contents::Nothing => None,
        }
    }

    /// Registers the task to be woken; or says that there is nothing to wait for any more.
    #[inline(never)]
    fn register(&mut self, cx: &mut Context<'_>) -> bool {
        // First, because it is foreign code, and may panic.
        let waker = cx.waker().clone();
        let slot = self.slot();
        let mut now = slot.state.load(Acquire);
        if now == state::WAITING {
            // To touch the waker it must be the receiver's.
            now = exchange(&slot.state, state::WAITING, state::EMPTY);
        }
        if now == state::EMPTY {
            // SAFETY: in this state the waker is the receiver's.
            let outdated = slot
                .waker
                .with_mut(|place| unsafe { (*place).replace(waker) });
            now = exchange(&slot.state, state::EMPTY, state::WAITING);
            if now == state::WAITING {
                // Dropping a waker may run foreign code: after everything else.
                drop(outdated);
                return false;
            }
            // SAFETY: the completer saw `EMPTY` when it completed, and left the waker alone.
            drop(slot.waker.with_mut(|waker| unsafe { (*waker).take() }));
        }
        assert!(now == state::DONE, "polled after it had resolved");
        true
    }
}

/// Changes the state if it is `from`; returns what it is then.
fn exchange(now: &AtomicU8, from: u8, to: u8) -> u8 {
    match now.compare_exchange(from, to, AcqRel, Acquire) {
        Ok(_) => to,
        Err(other) => other,
    }
}

impl<T, R> Drop for Receiver<T, R> {
    #[inline]
    fn drop(&mut self) {
        let _reference = References {
            slot: self.slot,
            count: 1,
        };
        let slot = self.slot();
        if !self.is_taken() {
            match slot.state.swap(state::GONE, AcqRel) {
                // SAFETY: whoever sees `GONE` touches the waker no more.
                state::WAITING => drop(slot.waker.with_mut(|waker| unsafe { (*waker).take() })),
                // SAFETY: from `DONE` on the contents are the receiver's.
                state::DONE => slot
                    .contents
                    .with_mut(|contents| unsafe { *contents = Contents::Nothing }),
                _ => {}
            }
        }
    }
}

impl<T, R> fmt::Debug for Completer<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completer")
            .field("is_awaited", &self.is_awaited())
            .finish_non_exhaustive()
    }
}
