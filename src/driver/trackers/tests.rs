use super::*;

/// Trackers beside the two counts of the client.
#[derive(Default)]
struct Setting {
    trackers: Trackers,
    issued: u64,
    settled: u64,
}

impl Setting {
    fn issue(&mut self, count: u64) {
        self.issued += count;
    }

    fn complete(&mut self, numbers: impl IntoIterator<Item = u64>, outcome: Outcome) {
        let completed: Vec<_> = numbers.into_iter().map(|it| (it, outcome)).collect();
        self.settled += completed.len() as u64;
        let mut tally = Tally::default();
        completed
            .iter()
            .for_each(|&(_, outcome)| tally.count(outcome));
        let mut completions = Completions::default();
        self.trackers
            .account(tally, completed.into_iter(), &mut completions);
    }

    fn flush(&mut self) -> NewTracker {
        self.trackers.track_flush(self.issued, self.settled)
    }
}

fn report((_, receiver): &mut NewTracker) -> Option<(u64, u64)> {
    let tally = receiver.try_recv().ok()?;
    let FlushReport { delivered, failed } = tally.flush_report();
    Some((delivered, failed))
}

#[test]
fn a_flush_covers_what_was_in_flight_when_it_was_called() {
    let mut setting = Setting::default();
    setting.issue(3);
    setting.complete([1], Outcome::Delivered);
    let mut first = setting.flush();
    setting.issue(2);
    let mut second = setting.flush();
    setting.issue(1);

    setting.complete([4, 5], Outcome::Delivered);
    setting.complete([2], Outcome::Failed);
    assert_eq!(report(&mut first), None);
    setting.complete([0], Outcome::Delivered);
    assert_eq!(report(&mut first), Some((1, 1)));
    assert_eq!(report(&mut second), None);
    setting.complete([3], Outcome::Purged);
    assert_eq!(report(&mut second), Some((2, 2)));
    let mut nothing = setting.flush();
    assert_eq!(report(&mut nothing), Some((0, 0)));
    assert!(!setting.trackers.has_flushes());
}

#[test]
fn flushes_of_the_same_messages_count_from_their_own_begin() {
    let mut setting = Setting::default();
    setting.issue(4);
    let mut early = setting.flush();
    setting.complete([0, 1], Outcome::Delivered);
    let mut late = setting.flush();
    setting.complete([2], Outcome::Refused);
    setting.complete([3], Outcome::Failed);
    assert_eq!(report(&mut early), Some((2, 1)));
    assert_eq!(report(&mut late), Some((0, 1)));
}

#[test]
fn a_cancelled_flush_leaves_the_others_exact_and_nothing_behind() {
    let mut setting = Setting::default();
    setting.issue(2);
    let (first, _receiver) = setting.flush();
    setting.issue(2);
    let mut second = setting.flush();
    setting.issue(2);
    let (third, _receiver) = setting.flush();
    setting.complete([0], Outcome::Delivered);
    assert_eq!(setting.trackers.cancel(first), Some(1));
    assert_eq!(setting.trackers.cancel(third), Some(5));
    assert_eq!(setting.trackers.cancel(third), None);
    assert_eq!(setting.trackers.ranges.len(), 1);
    setting.complete([5, 1, 2], Outcome::Delivered);
    assert_eq!(report(&mut second), None);
    setting.complete([3], Outcome::Delivered);
    assert_eq!(report(&mut second), Some((4, 0)));
    assert!(setting.trackers.ranges.is_empty());
}

#[test]
fn many_flushes_between_many_messages_are_each_exact() {
    const COUNT: u64 = 2_000;
    let mut setting = Setting::default();
    let mut flushes = Vec::new();
    for _ in 0..COUNT {
        setting.issue(1);
        flushes.push(setting.flush());
    }
    setting.complete((0..COUNT).rev(), Outcome::Delivered);
    for (number, flush) in (1..).zip(&mut flushes) {
        assert_eq!(report(flush), Some((number, 0)));
    }
}

#[test]
fn a_purge_ends_when_its_reports_have_been_served() {
    let mut setting = Setting::default();
    setting.issue(2);
    let queue = PurgeConfig::default().queue();
    let inflight = PurgeConfig::default().inflight();
    let (_, mut first) = setting.trackers.track_purge(queue);
    let (cancelled, _receiver) = setting.trackers.track_purge(inflight);
    setting.trackers.cancel(cancelled);
    assert_eq!(setting.trackers.uncalled.len(), 1);
    let (config, last) = setting.trackers.take_asked().unwrap();
    assert_eq!(config, queue.inflight());
    assert!(!setting.trackers.has_asked());
    // This one comes while they are called.
    let (_, mut second) = setting.trackers.track_purge(queue);
    setting.trackers.purge_called(last, 1, 0);
    setting.complete([0], Outcome::Purged);
    setting
        .trackers
        .queue_was_empty(0, &mut Completions::default());
    assert!(first.try_recv().is_err());
    setting
        .trackers
        .queue_was_empty(1, &mut Completions::default());
    assert_eq!(first.try_recv().unwrap().purged, 1);
    assert!(second.try_recv().is_err());
    let asked = setting.trackers.take_asked();
    assert_eq!(asked.map(|(config, _)| config), Some(queue));

    setting.trackers.begin_close(None);
    setting.complete([1], Outcome::Delivered);
    let mut completions = Completions::default();
    let close = setting.trackers.terminate(&mut completions);
    drop(completions);
    assert_eq!(
        (close.delivered, close.undelivered, close.failed),
        (1, 0, 0)
    );
    assert_eq!(second.try_recv().unwrap().purged, 1);
    let (_, mut late) = setting.trackers.track_purge(queue);
    assert_eq!(late.try_recv().unwrap(), Tally::default());
}

#[test]
fn a_purge_ends_after_the_events_that_were_queued_when_it_was_called() {
    let mut setting = Setting::default();
    setting.issue(2);
    let queue = PurgeConfig::default().queue();
    let served = |setting: &mut Setting| {
        setting.trackers.event_served(&mut Completions::default());
    };
    served(&mut setting);
    let (_, mut early) = setting.trackers.track_purge(queue);
    let (_, last) = setting.trackers.take_asked().unwrap();
    // Two events are queued, and one may be being served.
    setting.trackers.purge_called(last, 1, 2);
    let (_, mut late) = setting.trackers.track_purge(queue);
    let (_, last) = setting.trackers.take_asked().unwrap();
    setting.trackers.purge_called(last, 2, 3);
    let (_, mut uncalled) = setting.trackers.track_purge(queue);
    served(&mut setting);
    served(&mut setting);
    assert!(early.try_recv().is_err());
    setting.complete([0], Outcome::Purged);
    served(&mut setting);
    assert_eq!(early.try_recv().unwrap().purged, 1);
    assert!(late.try_recv().is_err());
    served(&mut setting);
    assert!(late.try_recv().is_ok());
    served(&mut setting);
    assert!(uncalled.try_recv().is_err());
}

#[test]
fn a_purge_that_another_thread_calls_meanwhile_does_not_count_as_this_one() {
    let mut setting = Setting::default();
    let queue = PurgeConfig::default().queue();
    let mut completions = Completions::default();
    let (_, mut first) = setting.trackers.track_purge(queue);
    let (_, first_ids) = setting.trackers.take_asked().unwrap();
    let (_, mut second) = setting.trackers.track_purge(queue);
    let (_, second_ids) = setting.trackers.take_asked().unwrap();
    setting.trackers.purge_called(second_ids, 1, 0);
    setting.trackers.queue_was_empty(1, &mut completions);
    completions.resolve_all();
    assert!(first.try_recv().is_err());
    assert!(second.try_recv().is_ok());
    setting.trackers.purge_called(first_ids, 2, 0);
    setting.trackers.queue_was_empty(2, &mut completions);
    completions.resolve_all();
    assert!(first.try_recv().is_ok());
}

#[test]
fn a_close_tells_apart_the_failures_whose_records_it_has() {
    let mut setting = Setting::default();
    setting.issue(3);
    let failed = |count| {
        let mut tally = Tally::default();
        (0..count).for_each(|_| tally.count(Outcome::Failed));
        tally
    };
    // No close has begun.
    setting.complete([0], Outcome::Failed);
    setting.trackers.fell_before_close(failed(1), true);
    setting.trackers.begin_close(None);
    // One of these failed before, and is accounted for now.
    setting.complete([1, 2], Outcome::Failed);
    setting.trackers.fell_before_close(failed(1), true);
    let close = setting.trackers.terminate(&mut Completions::default());
    assert_eq!((close.failed, close.failed_before), (3, 2));
}

#[test]
fn a_close_does_not_count_failures_that_a_commit_returns() {
    let mut setting = Setting::default();
    setting.issue(1);
    let mut failed = Tally::default();
    failed.count(Outcome::Failed);
    setting.complete([0], Outcome::Failed);
    setting.trackers.fell_before_close(failed, false);
    setting.trackers.begin_close(None);
    let close = setting.trackers.terminate(&mut Completions::default());
    assert_eq!((close.failed, close.failed_before), (0, 0));
}
