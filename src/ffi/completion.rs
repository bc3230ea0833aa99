//! Oneshot channels from a message's report to its future, pooled: completers and receivers.
//!
//! ```text
//! Completers ── pair(value) ─┬─→ Completer   travels through librdkafka as the message's opaque
//!                            └─→ Receiver    belongs to the future that awaits the result
//! ```
//!
//! A completer carries a value until it completes, and then leaves a result in the value's place.
//! If it is dropped before, its receiver gets the result that [`Abandoned`] makes. A result that no
//! receiver has taken goes to the function that the pool was created with.
//!
//! A pair shares one slot. A segment is one allocation with [`SLOTS`] slots and one reference
//! count. The count starts at two references for each slot: one for its completer, one for its
//! receiver. It includes pairs that have not been created yet, so creating a pair never increments
//! it. When it reaches zero the segment becomes spare and is used again. In the steady state a
//! message needs no allocation, and neither its creation nor its completion takes a lock.

use std::ffi::c_void;
use std::fmt;
use std::mem::{self, ManuallyDrop, MaybeUninit, offset_of};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::task::{Context, Poll, Waker, ready};

use super::opaque::{Opaque, PayloadGuard};
use crate::sync::{
    Arc, AtomicPtr, AtomicU8, AtomicUsize, Mutex, UnsafeCell, drop_foreign, fence, lock, wake,
};

/// The number of slots in a segment.
pub(crate) const SLOTS: usize = 32;

/// One for the completer and one for the receiver.
const REFERENCES_PER_SLOT: usize = 2;

/// The maximal number of spare segments: enough for about 16 000 messages in flight.
const SPARE: usize = 512;

/// The states of a slot. They say which half may access its cells:
///
/// - the waker is the receiver's in `EMPTY`, and the completer's in `WAITING`;
/// - the contents are the completer's until `DONE` or `PASSED`, and the receiver's after it.
///
/// In `GONE` the receiver has dropped the waker. In `DETACHED` everything is the completer's.
mod state {
    /// No result yet, and no waker.
    pub(super) const EMPTY: u8 = 0;
    /// No result yet. The receiver has stored a waker.
    pub(super) const WAITING: u8 = 1;
    /// The completer has completed, with a result or without one.
    pub(super) const DONE: u8 = 2;
    /// As `DONE`, and the completer's reference has passed to the receiver.
    pub(super) const PASSED: u8 = 3;
    /// The receiver has taken the result.
    pub(super) const TAKEN: u8 = 4;
    /// As `TAKEN`, after `PASSED`.
    pub(super) const TAKEN_PASSED: u8 = 5;
    /// The receiver was dropped without taking the result.
    pub(super) const GONE: u8 = 6;
    /// The pair was created without a receiver, so the completer owns both references.
    pub(super) const DETACHED: u8 = 7;

    pub(super) const fn is_done(state: u8) -> bool {
        matches!(state, DONE | PASSED)
    }

    pub(super) const fn is_taken(state: u8) -> bool {
        matches!(state, TAKEN | TAKEN_PASSED)
    }

    /// The state of a done slot whose result has been taken.
    pub(super) const fn taken(done: u8) -> u8 {
        done + (TAKEN - DONE)
    }

    /// The number of references that the receiver owns.
    pub(super) const fn references(state: u8) -> usize {
        if matches!(state, PASSED | TAKEN_PASSED) {
            2
        } else {
            1
        }
    }
}

/// A pool of completers that carry a value `T` and leave a result `R`.
pub(crate) struct Completers<T, R> {
    unused: Unused<T, R>,
    /// Held by the one who starts the next segment.
    refill: Mutex<()>,
    spare: Arc<Spare<T, R>>,
}

/// The slots of the current segment that have not been used yet. Owns their references.
///
/// The pointer is that of the next slot, plus the number of slots that are left. A slot is aligned
/// to more than that number, so the sum says both. Whoever replaces the pointer to one slot by that
/// to the next owns the first one. It does not matter if the segment has been used up and started
/// again in between: the same pointer then stands for the same slot, which is unused again.
struct Unused<T, R>(AtomicPtr<Slot<T, R>>);

/// Segments without references, to be used again.
struct Spare<T, R> {
    segments: Mutex<Vec<Box<Segment<T, R>>>>,
    /// Gets the results that no receiver has taken.
    unseen: Box<dyn Fn(R) + Send + Sync>,
}

struct Segment<T, R> {
    references: AtomicUsize,
    /// Where to put the segment when its last reference ends; `None` while it is there.
    spare: Option<Arc<Spare<T, R>>>,
    /// The guards of payloads that librdkafka borrows, by the slot's index. Their memory stays with
    /// the segment, so that a guard needs no allocation in the steady state.
    guards: OnceLock<Box<Guards>>,
    /// Not dropped: when the last reference ends, every slot's waker and contents have been taken
    /// out.
    slots: ManuallyDrop<[Slot<T, R>; SLOTS]>,
}

/// A guard is there while the slot's contents say so. It is the completer's.
type Guards = [UnsafeCell<MaybeUninit<PayloadGuard>>; SLOTS];

/// Fits one cache line for the usual types.
#[repr(align(64))]
struct Slot<T, R> {
    state: AtomicU8,
    /// Its index in the segment.
    index: u8,
    /// The length of the message's payload, if there is a partitioner to read it.
    payload_len: AtomicU32,
    waker: UnsafeCell<Option<Waker>>,
    contents: UnsafeCell<Contents<T, R>>,
}

enum Contents<T, R> {
    Nothing,
    Carried {
        value: T,
        /// The segment has a payload guard for the slot.
        is_guarded: bool,
    },
    Result(R),
}

/// A result that can stand for one that was never set.
pub(crate) trait Abandoned {
    /// The result of a completer that was dropped without one.
    fn abandoned() -> Self;
}

/// Leaves a result for the receiver. A slot has only one, so it has exclusive access to the cells
/// that are the completer's.
pub(crate) struct Completer<T, R> {
    slot: NonNull<Slot<T, R>>,
}

/// Gets the result that the completer leaves. A slot has at most one.
pub(crate) struct Receiver<T, R> {
    slot: NonNull<Slot<T, R>>,
}

// SAFETY: moving a completer or receiver moves its access to the values in the slot. They are
// `Send`, as are a waker and a payload guard. The state orders the accesses of the two.
unsafe impl<T: Send, R: Send> Send for Completer<T, R> {}
// SAFETY: as above.
unsafe impl<T: Send, R: Send> Send for Receiver<T, R> {}
// SAFETY: through `&Completer` only the atomic state can be accessed.
unsafe impl<T: Send, R: Send> Sync for Completer<T, R> {}
// SAFETY: through `&Receiver` only the atomic state can be accessed.
unsafe impl<T: Send, R: Send> Sync for Receiver<T, R> {}
// SAFETY: only the completer of a slot accesses its guard, and only the completer and the receiver
// access the rest of the slot, as above. Guards are `Send`.
unsafe impl<T: Send, R: Send> Send for Segment<T, R> {}

impl<T, R> Completers<T, R> {
    /// The size of a slot.
    #[cfg(test)]
    pub(crate) const BYTES: usize = size_of::<Slot<T, R>>();

    /// `unseen` gets each result whose receiver was dropped without taking it. It runs wherever the
    /// receiver or the completer is dropped.
    pub(crate) fn new(unseen: impl Fn(R) + Send + Sync + 'static) -> Self {
        Self {
            unused: Unused(AtomicPtr::new(std::ptr::null_mut())),
            refill: Mutex::new(()),
            spare: Arc::new(Spare {
                segments: Mutex::new(Vec::new()),
                unseen: Box::new(unseen),
            }),
        }
    }

    /// Creates a completer with its value, and the receiver of its result.
    #[inline]
    pub(crate) fn pair(&self, value: T) -> (Completer<T, R>, Receiver<T, R>) {
        let slot = self.take_slot();
        let completer = Completer::new(slot, value, state::EMPTY);
        (completer, Receiver { slot })
    }

    /// Creates a completer without a receiver.
    #[inline]
    pub(crate) fn detached(&self, value: T) -> Completer<T, R> {
        Completer::new(self.take_slot(), value, state::DETACHED)
    }

    /// Takes an unused slot with both its references.
    #[inline]
    fn take_slot(&self) -> NonNull<Slot<T, R>> {
        match self.unused.take() {
            Some(slot) => slot,
            None => self.take_slot_of_next_segment(),
        }
    }

    #[cold]
    fn take_slot_of_next_segment(&self) -> NonNull<Slot<T, R>> {
        let _refill = lock(&self.refill);
        // Another thread may have been first.
        if let Some(slot) = self.unused.take() {
            return slot;
        }
        let spare = lock(&self.spare.segments).pop();
        let mut segment = spare.unwrap_or_else(Segment::allocate);
        segment.references = AtomicUsize::new(SLOTS * REFERENCES_PER_SLOT);
        segment.spare = Some(Arc::clone(&self.spare));
        let segment = NonNull::from(Box::leak(segment));
        // SAFETY: the segment is live. The pointer to the first slot is derived from the one to the
        // segment, without a reference in between. So it has provenance for the whole segment.
        let slot = unsafe { segment.byte_add(offset_of!(Segment<T, R>, slots)).cast() };
        self.unused.refill(slot);
        slot
    }
}

impl<T, R> Unused<T, R> {
    /// The bits of the pointer that are the number of slots left.
    const LEFT: usize = {
        assert!(align_of::<Slot<T, R>>() > SLOTS);
        align_of::<Slot<T, R>>() - 1
    };

    /// Takes a slot with both its references, if one is left.
    #[inline]
    fn take(&self) -> Option<NonNull<Slot<T, R>>> {
        let mut next = self.0.load(Acquire);
        while next.addr() & Self::LEFT != 0 {
            let behind = next.wrapping_add(1).wrapping_byte_sub(1);
            // Acquires what the one who started the segment has released.
            match self.0.compare_exchange(next, behind, Acquire, Acquire) {
                Ok(_) => return NonNull::new(Self::slot(next)),
                Err(changed) => next = changed,
            }
        }
        None
    }

    /// Puts the slots behind that one, which is the first of a segment, in place of none.
    fn refill(&self, first: NonNull<Slot<T, R>>) {
        let next = first.as_ptr().wrapping_add(1);
        // Nobody else replaces the pointer while no slot is left.
        self.0.store(next.wrapping_byte_add(SLOTS - 1), Release);
    }

    fn slot(next: *mut Slot<T, R>) -> *mut Slot<T, R> {
        next.map_addr(|addr| addr & !Self::LEFT)
    }
}

impl<T, R> Drop for Unused<T, R> {
    fn drop(&mut self) {
        let next = self.0.load(Acquire);
        let left = next.addr() & Self::LEFT;
        if let (1.., Some(slot)) = (left, NonNull::new(Self::slot(next))) {
            // SAFETY: `self` owns the references of the unused slots, and does not use them after
            // this.
            unsafe { Segment::release(slot, left * REFERENCES_PER_SLOT) }
        }
    }
}

impl<T, R> Segment<T, R> {
    fn allocate() -> Box<Self> {
        Box::new(Self {
            references: AtomicUsize::new(0),
            spare: None,
            guards: OnceLock::new(),
            slots: ManuallyDrop::new(std::array::from_fn(|index| Slot {
                state: AtomicU8::new(state::EMPTY),
                index: index as u8,
                payload_len: AtomicU32::new(0),
                waker: UnsafeCell::new(None),
                contents: UnsafeCell::new(Contents::Nothing),
            })),
        })
    }

    /// Releases references. With the last ones, makes the segment spare.
    ///
    /// # Safety
    ///
    /// `slot` points into a live segment of this type, with provenance for the whole segment. The
    /// caller owns that many of the segment's references, and does not use them afterwards.
    #[inline]
    unsafe fn release(slot: NonNull<Slot<T, R>>, references: usize) {
        // SAFETY: by contract the caller's references keep the segment alive.
        let segment = unsafe { Self::of(slot) };
        // SAFETY: as above, the segment is live.
        let before = unsafe { segment.as_ref() }
            .references
            .fetch_sub(references, Release);
        if before == references {
            // Pairs with the `Release` of those who released the other references.
            fence(Acquire);
            // SAFETY: the segment comes from `Box::leak`, and these were the last references.
            unsafe { Box::from_raw(segment.as_ptr()) }.retire();
        }
    }

    /// Returns the segment of a slot.
    ///
    /// # Safety
    ///
    /// `slot` points into a live segment of this type, with provenance for the whole segment.
    #[inline]
    unsafe fn of(slot: NonNull<Slot<T, R>>) -> NonNull<Self> {
        // SAFETY: by contract the slot is live. Its index leads to the first slot, and that slot's
        // offset to the segment. The pointer has provenance for both, see `next_segment`.
        unsafe {
            let first = slot.sub(usize::from(slot.as_ref().index));
            first.byte_sub(offset_of!(Self, slots)).cast()
        }
    }

    /// Passes on a result that no receiver has taken.
    ///
    /// # Safety
    ///
    /// As for [`of`](Self::of), and the caller owns one of the segment's references.
    #[cold]
    unsafe fn unseen(slot: NonNull<Slot<T, R>>, result: R) {
        // SAFETY: by contract the segment is live. `spare` changes only while there is no
        // reference.
        let spare = unsafe { &Self::of(slot).as_ref().spare };
        if let Some(spare) = spare {
            (spare.unseen)(result);
        }
    }

    /// Returns where the guard of the slot's payload is, or is to be put.
    ///
    /// # Safety
    ///
    /// As for [`of`](Self::of), and the caller is the slot's completer.
    unsafe fn guard<'a>(slot: NonNull<Slot<T, R>>) -> &'a UnsafeCell<MaybeUninit<PayloadGuard>> {
        // SAFETY: by contract the completer's reference keeps the segment, and so this memory,
        // alive. The `OnceLock` may be used by several completers at once.
        unsafe {
            let guards = &(*Self::of(slot).as_ptr()).guards;
            let guards = guards.get_or_init(|| {
                let unused = |_| UnsafeCell::new(MaybeUninit::uninit());
                Box::new(std::array::from_fn(unused))
            });
            &guards[usize::from(slot.as_ref().index)]
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
        // No receiver accesses the slot yet.
        slot.state.store(state, Relaxed);
        let value = Contents::Carried {
            value,
            is_guarded: false,
        };
        // SAFETY: the contents are the completer's. An unused slot has nothing to drop.
        slot.contents
            .with_mut(|contents| unsafe { contents.write(value) });
        completer
    }

    #[inline]
    fn slot(&self) -> &Slot<T, R> {
        // SAFETY: the completer's reference keeps the segment alive. All fields that change while
        // the slot is shared are cells or atomics.
        unsafe { self.slot.as_ref() }
    }

    #[inline]
    fn contents(&mut self) -> &mut Contents<T, R> {
        let contents = self.slot().contents.with_mut(|contents| contents);
        // SAFETY: until the completer completes, the contents are its own, and it is borrowed
        // mutably.
        unsafe { &mut *contents }
    }

    /// Returns the carried value.
    ///
    /// # Panics
    ///
    /// Panics if a result has been [set](Self::set_result).
    #[inline]
    pub(crate) fn carried(&mut self) -> &mut T {
        match self.contents() {
            Contents::Carried { value, .. } => value,
            _ => unreachable!("a result has replaced the value"),
        }
    }

    /// Returns true if there is a receiver. Once false, it stays false.
    #[inline]
    pub(crate) fn is_tracked(&self) -> bool {
        self.slot().state.load(Relaxed) < state::GONE
    }

    /// Replaces the value by the result. The receiver gets it after [`complete`](Self::complete).
    #[inline]
    pub(crate) fn set_result(&mut self, result: R) {
        match mem::replace(self.contents(), Contents::Result(result)) {
            // In place, because it is the usual case and mostly has nothing to drop.
            Contents::Carried {
                value,
                is_guarded: false,
            } => drop(value),
            other => self.drop_contents(other),
        }
    }

    /// Drops what was in the slot, and the guard of its payload.
    #[cold]
    fn drop_contents(&mut self, contents: Contents<T, R>) {
        if let Contents::Carried {
            is_guarded: true, ..
        } = &contents
        {
            // SAFETY: this is the completer, and its reference keeps the segment alive. The guard
            // was there, and the contents that said so are dropped here.
            let guard =
                unsafe { Segment::guard(self.slot).with_mut(|it| (*it).assume_init_read()) };
            drop_foreign(guard);
        }
        drop_foreign(contents);
    }

    /// Returns the result that has been [set](Self::set_result).
    pub(crate) fn result(&mut self) -> Option<&mut R> {
        match self.contents() {
            Contents::Result(result) => Some(result),
            _ => None,
        }
    }

    /// Hands the result over to the receiver. Returns the waker to wake.
    #[inline]
    pub(crate) fn complete(self) -> Option<Waker> {
        let this = ManuallyDrop::new(self);
        let state = &this.slot().state;
        // The receiver releases both references. After this it may do so at any time.
        match exchange(state, state::EMPTY, state::PASSED) {
            state::PASSED => None,
            _ => ManuallyDrop::into_inner(this).complete_awaited(),
        }
    }

    /// Completes if the receiver has stored a waker, or is gone.
    fn complete_awaited(self) -> Option<Waker> {
        if !self.is_tracked() {
            return None;
        }
        let this = ManuallyDrop::new(self);
        let slot = this.slot();
        let waker = match slot.state.swap(state::DONE, AcqRel) {
            // SAFETY: in this state the waker is the completer's, and a receiver that sees `DONE`
            // does not touch it.
            state::WAITING => slot.waker.with_mut(|waker| unsafe { (*waker).take() }),
            state::EMPTY => None,
            gone => {
                // Nobody else looks at it. The drop passes the result on.
                slot.state.store(gone, Relaxed);
                drop(ManuallyDrop::into_inner(this));
                return None;
            }
        };
        // SAFETY: the completer's reference is released here, and its drop does not run.
        unsafe { Segment::release(this.slot, 1) };
        waker
    }
}

impl<T, R> Drop for Completer<T, R> {
    #[inline]
    fn drop(&mut self) {
        if self.slot().state.load(Relaxed) == state::DETACHED {
            // Its own, and that of the receiver that was never created.
            let _references = References {
                slot: self.slot,
                count: REFERENCES_PER_SLOT,
            };
            match mem::replace(self.contents(), Contents::Nothing) {
                Contents::Carried {
                    value,
                    is_guarded: false,
                } => drop(value),
                other => self.drop_contents(other),
            }
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
        let contents = mem::replace(self.contents(), Contents::Nothing);
        let slot = self.slot();
        match (slot.state.swap(state::DONE, AcqRel), contents) {
            // SAFETY: the completer's reference is released after this.
            (state::GONE, Contents::Result(result)) => unsafe {
                Segment::unseen(self.slot, result);
            },
            (before, contents) => {
                self.drop_contents(contents);
                let slot = self.slot();
                if before == state::WAITING {
                    // SAFETY: in this state the waker is the completer's, and a receiver that sees
                    // `DONE` does not touch it.
                    let waker = slot.waker.with_mut(|waker| unsafe { (*waker).take() });
                    waker.into_iter().for_each(wake);
                }
            }
        }
    }
}

/// The references of a completer or receiver that is being dropped. Releases them even if the drop
/// of a value in the slot panics.
struct References<T, R> {
    slot: NonNull<Slot<T, R>>,
    count: usize,
}

impl<T, R> Drop for References<T, R> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the references belong to the completer or receiver that is being dropped. This is
        // the last thing that its drop does.
        unsafe { Segment::release(self.slot, self.count) }
    }
}

// SAFETY: `from_raw` recreates the completer that `into_raw` took. A `Completer` is `Send` for
// these types. The payload guard stays in the slot until it is taken or the value is dropped.
unsafe impl<T: Send + 'static, R: Send + 'static> Opaque for Completer<T, R> {
    #[inline]
    fn into_raw(self) -> *mut c_void {
        ManuallyDrop::new(self).slot.as_ptr().cast()
    }

    #[inline]
    unsafe fn from_raw(raw: *mut c_void) -> Self {
        // SAFETY: by contract it comes from `into_raw`, so it points to a slot.
        let slot = unsafe { NonNull::new_unchecked(raw.cast()) };
        Self { slot }
    }

    fn guard_payload(&mut self, guard: PayloadGuard) -> Result<(), PayloadGuard> {
        match self.contents() {
            Contents::Carried { is_guarded, .. } if !*is_guarded => *is_guarded = true,
            _ => return Err(guard),
        }
        // SAFETY: this is the completer, and its reference keeps the segment alive. There was no
        // guard.
        unsafe { Segment::guard(self.slot).with_mut(|it| (*it).write(guard)) };
        Ok(())
    }

    #[inline]
    fn guarded_payload(&mut self) -> Option<&[u8]> {
        match self.contents() {
            Contents::Carried { is_guarded, .. } if *is_guarded => {}
            _ => return None,
        }
        // SAFETY: this is the completer, and its reference keeps the segment alive. The guard is
        // there, and the borrow of `self` keeps it there.
        let guard = unsafe {
            Segment::guard(self.slot).with_mut(|it| (*it.cast_const()).assume_init_ref())
        };
        Some(guard.bytes())
    }

    #[inline]
    fn take_payload_guard(&mut self) -> Option<PayloadGuard> {
        match self.contents() {
            Contents::Carried { is_guarded, .. } if *is_guarded => *is_guarded = false,
            _ => return None,
        }
        // SAFETY: this is the completer, and its reference keeps the segment alive. The guard was
        // there, and is not again.
        Some(unsafe { Segment::guard(self.slot).with_mut(|it| (*it).assume_init_read()) })
    }

    fn set_payload_len(&mut self, len: usize) {
        // librdkafka refuses a payload whose length does not fit an i32 (`rd_kafka_msg_new0`).
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.slot().payload_len.store(len, Relaxed);
    }

    unsafe fn payload_len(raw: *mut c_void) -> usize {
        // SAFETY: by contract it comes from `into_raw`, so it points to a slot, which the
        // completer's reference keeps alive. All fields that change are cells or atomics.
        let slot: &Slot<T, R> = unsafe { &*raw.cast_const().cast() };
        slot.payload_len.load(Relaxed) as usize
    }
}

impl<T, R: Abandoned> Receiver<T, R> {
    /// Returns the result; until there is one, stores the task's waker and returns `Pending`.
    ///
    /// If there is one at once, it asks `may_return` first, and returns `Pending` if that does.
    ///
    /// # Panics
    ///
    /// Panics if it has returned the result before.
    #[inline]
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        may_return: impl FnOnce(&mut Context<'_>) -> Poll<()>,
    ) -> Poll<R> {
        let done = match self.slot().state.load(Acquire) {
            now if state::is_done(now) => {
                ready!(may_return(cx));
                now
            }
            _ => ready!(self.register(cx)),
        };
        let slot = self.slot();
        slot.state.store(state::taken(done), Relaxed);
        // SAFETY: once it is done the contents are the receiver's. From here on nobody reads them.
        let result = slot.contents.with_mut(|contents| unsafe {
            match &*contents {
                Contents::Result(result) => std::ptr::read(result),
                Contents::Carried { .. } | Contents::Nothing => abandoned(contents.read()),
            }
        });
        Poll::Ready(result)
    }
}

/// The completer has left no result.
#[cold]
fn abandoned<T, R: Abandoned>(contents: Contents<T, R>) -> R {
    drop_foreign(contents);
    R::abandoned()
}

impl<T, R> Receiver<T, R> {
    #[inline]
    fn slot(&self) -> &Slot<T, R> {
        // SAFETY: the receiver's reference keeps the segment alive. All fields that change while
        // the slot is shared are cells or atomics.
        unsafe { self.slot.as_ref() }
    }

    /// Returns true if [`poll`](Self::poll) would return the result.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        state::is_done(self.slot().state.load(Relaxed))
    }

    /// Stores the task's waker. Returns the state if the completer has completed meanwhile.
    #[inline(never)]
    fn register(&mut self, cx: &mut Context<'_>) -> Poll<u8> {
        // First, because it is foreign code and may panic.
        let waker = cx.waker().clone();
        let slot = self.slot();
        let mut now = slot.state.load(Acquire);
        if now == state::WAITING {
            // Takes the waker back from the completer, to replace it.
            now = exchange(&slot.state, state::WAITING, state::EMPTY);
        }
        if now == state::EMPTY {
            // SAFETY: in this state the waker is the receiver's.
            let outdated = slot
                .waker
                .with_mut(|place| unsafe { (*place).replace(waker) });
            now = exchange(&slot.state, state::EMPTY, state::WAITING);
            if now == state::WAITING {
                // Last, because dropping a waker may run foreign code.
                drop(outdated);
                return Poll::Pending;
            }
            // SAFETY: the completer saw `EMPTY` when it completed, so it does not touch the waker.
            drop(slot.waker.with_mut(|waker| unsafe { (*waker).take() }));
        }
        assert!(
            state::is_done(now),
            "a delivery future was polled after it had resolved"
        );
        Poll::Ready(now)
    }
}

/// Changes the state if it is `from`. Returns the new state.
#[inline]
fn exchange(now: &AtomicU8, from: u8, to: u8) -> u8 {
    match now.compare_exchange(from, to, AcqRel, Acquire) {
        Ok(_) => to,
        Err(other) => other,
    }
}

impl<T, R> Drop for Receiver<T, R> {
    #[inline]
    fn drop(&mut self) {
        let now = self.slot().state.load(Relaxed);
        if state::is_taken(now) {
            // SAFETY: the references belong to the receiver, whose drop does nothing after this.
            unsafe { Segment::release(self.slot, state::references(now)) }
        } else {
            self.leave();
        }
    }
}

impl<T, R> Receiver<T, R> {
    /// The drop of one that has not taken the result.
    fn leave(&mut self) {
        let slot = self.slot();
        let before = slot.state.swap(state::GONE, AcqRel);
        let _references = References {
            slot: self.slot,
            count: state::references(before),
        };
        match before {
            // SAFETY: a completer that sees `GONE` does not touch the waker.
            state::WAITING => drop(slot.waker.with_mut(|waker| unsafe { (*waker).take() })),
            state::DONE | state::PASSED => {
                // SAFETY: once it is done the contents are the receiver's.
                let contents = slot
                    .contents
                    .with_mut(|contents| unsafe { contents.replace(Contents::Nothing) });
                if let Contents::Result(result) = contents {
                    // SAFETY: the receiver's reference is released after this.
                    unsafe { Segment::unseen(self.slot, result) }
                }
            }
            _ => {}
        }
    }
}

impl<T, R> fmt::Debug for Completer<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completer")
            .field("is_tracked", &self.is_tracked())
            .finish_non_exhaustive()
    }
}
