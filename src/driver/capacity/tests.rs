use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::*;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A waiting future, and the count of its wake-ups.
struct Waiting<'r> {
    future: Pin<Box<Acquire<'r>>>,
    wakes: Arc<Wakes>,
}

impl<'r> Waiting<'r> {
    fn begin(capacity: &'r Capacity, bytes: usize) -> Self {
        let mut waiting = Self {
            future: Box::pin(capacity.acquire(bytes, Purpose::Produce)),
            wakes: Arc::default(),
        };
        assert_eq!(waiting.poll(), Poll::Pending);
        waiting
    }

    fn poll(&mut self) -> Poll<Result<(), CapacityError>> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        let polled = self.future.as_mut().poll(&mut Context::from_waker(&waker));
        polled.map_ok(drop)
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }
}

fn release(capacity: &Capacity, messages: usize, bytes: usize) {
    drop(capacity.release(messages, bytes));
}

fn capacity(messages: usize, bytes: usize) -> Capacity {
    Capacity::new(QueueLimits { messages, bytes }, || {})
}

fn acquired(capacity: &Capacity) -> (usize, usize) {
    let Amount { messages, bytes } = lock(&capacity.state).acquired;
    (messages, bytes)
}

#[test]
fn a_release_admits_as_many_waiters_as_fit_and_wakes_each_once() {
    let capacity = capacity(100, usize::MAX);
    for _ in 0..100 {
        capacity.try_acquire(1).unwrap();
    }
    let mut waiting: Vec<_> = (0..20_000).map(|_| Waiting::begin(&capacity, 1)).collect();
    for round in 0..200 {
        release(&capacity, 100, 100);
        let (admitted, others) = waiting.split_at_mut((round + 1) * 100);
        assert!(admitted.iter().all(|waiting| waiting.wakes() == 1));
        assert!(others.iter().all(|waiting| waiting.wakes() == 0));
        for waiting in &mut admitted[round * 100..] {
            assert_eq!(waiting.poll(), Poll::Ready(Ok(())));
        }
    }
    assert_eq!(acquired(&capacity), (100, 100));
    assert!(lock(&capacity.state).waiters.has_no_slots());
}

#[test]
fn the_first_waiter_calls_on_wait_once() {
    let calls = Arc::new(Wakes::default());
    let counted = Arc::clone(&calls);
    let limits = QueueLimits {
        messages: 1,
        bytes: 100,
    };
    let capacity = Capacity::new(limits, move || {
        counted.0.fetch_add(1, Ordering::SeqCst);
    });
    capacity.try_acquire(1).unwrap();
    let first = Waiting::begin(&capacity, 1);
    let second = Waiting::begin(&capacity, 1);
    assert_eq!(calls.0.load(Ordering::SeqCst), 1);
    drop((first, second));
    drop(Waiting::begin(&capacity, 1));
    assert_eq!(calls.0.load(Ordering::SeqCst), 2);
}

#[test]
fn overbooking_admits_as_much_as_is_held_and_ends_with_its_use() {
    let capacity = capacity(2, 100);
    let unused = capacity.try_acquire(40).unwrap();
    let other = capacity.try_acquire(60).unwrap();
    assert_eq!(capacity.moves_if_awaited(), None);
    let mut waiting: Vec<_> = (0..3).map(|_| Waiting::begin(&capacity, 10)).collect();
    let moves = capacity.moves_if_awaited().unwrap();

    let (held, wakeups) = capacity.relieve(moves);
    assert_eq!(held, Some(2));
    drop(wakeups);
    let wakes: Vec<_> = waiting.iter().map(Waiting::wakes).collect();
    assert_eq!(wakes, [1, 1, 0]);
    assert_eq!(waiting[0].poll(), Poll::Ready(Ok(())));
    assert_eq!(waiting[1].poll(), Poll::Ready(Ok(())));
    assert_eq!(acquired(&capacity), (4, 120));

    // Other messages are not slowed down.
    release(&capacity, 1, 10);
    assert_eq!(waiting[2].poll(), Poll::Ready(Ok(())));
    // The end of the overbooking admits nobody: what is in flight counts against the limits again.
    drop(capacity.release_unused(unused, 40));
    let mut fourth = Waiting::begin(&capacity, 10);
    drop(capacity.use_reserved(other, 60, 60));
    assert_eq!(acquired(&capacity), (3, 80));
    assert_eq!(fourth.poll(), Poll::Pending);
    release(&capacity, 1, 60);
    assert_eq!(fourth.poll(), Poll::Pending);
    release(&capacity, 1, 10);
    assert_eq!(fourth.poll(), Poll::Ready(Ok(())));
    assert_eq!(acquired(&capacity), (2, 20));
}

#[test]
fn the_queue_is_never_overbooked_above_twice_its_limits() {
    let capacity = capacity(2, 100);
    for _ in 0..2 {
        capacity.try_acquire(50).unwrap();
    }
    let mut waiting: Vec<_> = (0..3).map(|_| Waiting::begin(&capacity, 50)).collect();
    let moves = capacity.moves_if_awaited().unwrap();
    // Capacity was acquired or released since.
    assert_eq!(capacity.relieve(moves - 1).0, None);
    assert_eq!(capacity.relieve(moves).0, Some(2));
    assert_eq!(waiting[0].poll(), Poll::Ready(Ok(())));
    assert_eq!(waiting[1].poll(), Poll::Ready(Ok(())));
    let moves = capacity.moves_if_awaited().unwrap();
    assert_eq!(capacity.relieve(moves).0, None);
    assert_eq!(waiting[2].poll(), Poll::Pending);
    assert_eq!(acquired(&capacity), (4, 200));
}

#[test]
fn overbooking_because_of_a_batch_ends_with_the_batch() {
    let capacity = capacity(4, 100);
    let batch = capacity.try_acquire_many(2, 50).unwrap();
    let mut large = Waiting::begin(&capacity, 80);
    let moves = capacity.moves_if_awaited().unwrap();
    assert_eq!(capacity.relieve(moves).0, Some(2));
    assert_eq!(large.poll(), Poll::Ready(Ok(())));
    // One of its messages is in flight.
    drop(capacity.release_batch(batch, 1, 40));
    release(&capacity, 1, 10);
    release(&capacity, 1, 80);
    assert_eq!(acquired(&capacity), (0, 0));
    capacity.try_acquire(100).unwrap();
    assert_eq!(capacity.try_acquire(1), Err(CapacityError::Full));
}

#[test]
fn admitted_waiters_that_are_not_polled_lose_their_turn() {
    let capacity = capacity(1, 100);
    capacity.try_acquire(1).unwrap();
    let mut late = Waiting::begin(&capacity, 5);
    let never = Waiting::begin(&capacity, 1);
    let mut looks = Waiting::begin(&capacity, 7);
    release(&capacity, 1, 1);
    assert_eq!(acquired(&capacity), (1, 5));

    let moves = capacity.moves_if_awaited().unwrap();
    assert_eq!(capacity.relieve(moves).0, None);
    assert_eq!(acquired(&capacity), (0, 0));
    assert_eq!((late.wakes(), never.wakes(), looks.wakes()), (1, 1, 1));
    // They do not stop a waiter that is polled.
    assert_eq!(looks.poll(), Poll::Ready(Ok(())));
    assert_eq!(late.poll(), Poll::Pending);
    assert_eq!(acquired(&capacity), (1, 7));
    release(&capacity, 1, 7);
    assert_eq!((late.wakes(), late.poll()), (2, Poll::Ready(Ok(()))));
    drop(never);
    assert_eq!(acquired(&capacity), (1, 5));
}

#[test]
fn nothing_of_a_waker_runs_under_the_lock() {
    /// A waker whose wake and drop look at the capacity.
    struct Looks(Arc<Capacity>);

    impl Drop for Looks {
        fn drop(&mut self) {
            self.0.moves_if_awaited();
        }
    }

    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            self.0.moves_if_awaited();
        }
    }

    let capacity = Arc::new(capacity(1, 100));
    capacity.try_acquire(1).unwrap();
    let waker = || Waker::from(Arc::new(Looks(Arc::clone(&capacity))));
    let mut first = Box::pin(capacity.acquire(1, Purpose::Produce));
    let mut second = Box::pin(capacity.acquire(1, Purpose::Reserve));
    for _ in 0..2 {
        let (first_waker, second_waker) = (waker(), waker());
        let mut cx = Context::from_waker(&first_waker);
        assert!(first.as_mut().poll(&mut cx).is_pending());
        let mut cx = Context::from_waker(&second_waker);
        assert!(second.as_mut().poll(&mut cx).is_pending());
    }
    drop(capacity.release(1, 1));
    drop(first);
    drop(second);
    assert_eq!(acquired(&capacity), (0, 0));
    drop(capacity.close());
}

#[test]
fn bytes_count_too_and_a_small_message_does_not_overtake() {
    let capacity = capacity(10, 100);
    capacity.try_acquire(60).unwrap();
    let mut large = Waiting::begin(&capacity, 50);
    let mut small = Waiting::begin(&capacity, 1);
    assert_eq!(capacity.try_acquire(1), Err(CapacityError::Full));
    release(&capacity, 1, 60);
    assert_eq!(
        (large.poll(), small.poll()),
        (Poll::Ready(Ok(())), Poll::Ready(Ok(())))
    );
    assert_eq!(acquired(&capacity), (2, 51));
}

#[test]
fn a_waiter_that_leaves_passes_its_capacity_on() {
    let capacity = capacity(1, 100);
    capacity.try_acquire(1).unwrap();
    let granted = Waiting::begin(&capacity, 1);
    let leaves = Waiting::begin(&capacity, 1);
    let mut last = Waiting::begin(&capacity, 1);
    release(&capacity, 1, 1);
    drop(leaves);
    assert_eq!(last.wakes(), 0);
    // It was admitted and never polled.
    drop(granted);
    assert_eq!((last.wakes(), last.poll()), (1, Poll::Ready(Ok(()))));
    assert_eq!(acquired(&capacity), (1, 1));
}

#[test]
fn if_a_large_waiter_leaves_those_behind_it_are_admitted() {
    let capacity = capacity(10, 100);
    capacity.try_acquire(60).unwrap();
    let large = Waiting::begin(&capacity, 100);
    let mut small = Waiting::begin(&capacity, 40);
    drop(large);
    assert_eq!((small.wakes(), small.poll()), (1, Poll::Ready(Ok(()))));
}

#[test]
fn a_close_refuses_waiters_but_not_admitted_ones() {
    let capacity = capacity(1, 100);
    capacity.try_acquire(0).unwrap();
    let mut admitted = Waiting::begin(&capacity, 0);
    let mut waits = Waiting::begin(&capacity, 0);
    release(&capacity, 1, 0);
    drop(capacity.close());
    assert_eq!(admitted.poll(), Poll::Ready(Ok(())));
    assert_eq!(waits.poll(), Poll::Ready(Err(CapacityError::Closed)));
    assert_eq!(capacity.try_acquire(0), Err(CapacityError::Closed));
    assert_eq!(acquired(&capacity), (1, 0));
}
