//! The cases in which each work is measured: sizes, numbers of tasks and of topics, round trips.

use crate::jobs::case::{CONCURRENT_SIZE, Case, KIB, SIZE};
use crate::jobs::work::Work;
use crate::tables::overrides::Overrides;
use crate::tables::scale::Scale;

/// Returns all cases of `work`. Those of one size follow each other.
pub(crate) fn cases(work: Work, scale: Scale, overrides: &Overrides) -> Vec<Case> {
    let case = Case {
        work,
        messages: 1,
        size: SIZE,
        window: 10_000,
        tasks: 1,
        topics: 1,
        linger: 0.0,
        pace: 0,
        round_trip_ms: 0,
        duration_ms: 0,
        no_copy: false,
        idempotent: false,
    };
    let sized = |size, messages| Case {
        size,
        messages: scale.pick(messages),
        ..case
    };
    let cases = match work {
        Work::Window => vec![
            sized(SIZE, [1_000_000, 200_000, 1_000]),
            sized(KIB, [400_000, 100_000, 1_000]),
        ],
        Work::Detached => vec![all_in_flight(sized(SIZE, [1_000_000, 200_000, 1_000]))],
        // 10 to 100 MB in flight.
        Work::Bytes => vec![
            sized(KIB, [400_000, 100_000, 1_000]),
            Case {
                window: 5_000,
                ..sized(10 * KIB, [100_000, 20_000, 500])
            },
            Case {
                window: 1_000,
                ..sized(100 * KIB, [10_000, 3_000, 100])
            },
        ],
        Work::Topics => {
            // The queue takes all messages at once, so that the rate is that of the calls.
            let case = all_in_flight(sized(SIZE, [1_000_000, 200_000, 1_000]));
            let many = scale.pick([1_000, 1_000, 10]) as usize;
            [1, many].map(|topics| Case { topics, ..case }).into()
        }
        Work::Full => full(case, scale, overrides.window),
        Work::Tasks => {
            let case = sized(SIZE, [1_000_000, 200_000, 1_000]);
            let tasks: &[u64] = match scale {
                Scale::Smoke => &[2],
                _ => &[1, 2, 4, 8],
            };
            tasks.iter().map(|&tasks| Case { tasks, ..case }).collect()
        }
        Work::Latency => vec![sized(SIZE, [5_000, 1_000, 100])],
        Work::Flush => vec![Case {
            // The message that connects lingers as well.
            linger: scale.pick([1_000, 1_000, 100]) as f64,
            ..sized(SIZE, [30, 10, 2])
        }],
        Work::Idle => vec![Case {
            duration_ms: scale.pick([20_000, 5_000, 200]),
            ..case
        }],
        Work::Memory => memory(case, scale),
        Work::Instructions => vec![sized(SIZE, [80_000, 40_000, 4_000])],
        // 200 transactions.
        Work::Transactions => vec![Case {
            linger: 5.0,
            window: 100,
            ..sized(SIZE, [20_000, 5_000, 1_000])
        }],
        Work::Concurrent => {
            let tasks: &[u64] = match scale {
                Scale::Smoke => &[2],
                _ => &[1, 16, 256, 4_096],
            };
            let case = Case {
                size: CONCURRENT_SIZE,
                duration_ms: scale.pick([2_000, 1_000, 100]),
                ..case
            };
            let cases = tasks.iter().map(|&tasks| Case { tasks, ..case });
            cases.flat_map(lingering).collect()
        }
        Work::Paced => {
            let paces: &[u64] = match scale {
                Scale::Smoke => &[1_000],
                _ => &[1_000, 10_000, 100_000],
            };
            let seconds = |pace| scale.pick([3 * pace, pace, pace / 10]);
            let cases = paces.iter().map(|&pace| Case {
                pace,
                ..sized(CONCURRENT_SIZE, [seconds(pace); 3])
            });
            cases.flat_map(lingering).collect()
        }
        Work::Kafka => {
            let kafka = |size, messages| Case {
                linger: 5.0,
                no_copy: size > SIZE,
                ..sized(size, messages)
            };
            let usual = kafka(SIZE, [1_000_000, 200_000, 1_000]);
            let at_once = Case {
                linger: 0.0,
                ..usual
            };
            let idempotent = |case| Case {
                idempotent: true,
                ..case
            };
            vec![
                usual,
                idempotent(usual),
                at_once,
                idempotent(at_once),
                kafka(KIB, [300_000, 100_000, 1_000]),
            ]
        }
    };
    let mut cases: Vec<_> = cases
        .into_iter()
        .map(|case| overrides.applied_to(case))
        .collect();
    cases.dedup();
    if scale == Scale::Smoke && !work.compares_cases() {
        cases.truncate(1);
    }
    cases
}

/// Returns cases whose window is the queue's limit: when a broker answers, all of it is in flight.
fn full(case: Case, scale: Scale, window: Option<u64>) -> Vec<Case> {
    let window = window.unwrap_or(scale.pick([1_000, 1_000, 10]));
    let duration_ms = scale.pick([2_000, 1_000, 100]);
    let (tasks, round_trips): (&[u64], &[u64]) = match scale {
        Scale::Smoke => (&[20], &[2]),
        _ => (&[1_000, 5_000, 20_000], &[2, 20]),
    };
    let cases = round_trips.iter().flat_map(|&round_trip_ms| {
        tasks.iter().map(move |&tasks| Case {
            tasks,
            round_trip_ms,
            window,
            duration_ms,
            // What the round trip allows in that time; for contenders without tasks.
            messages: window * duration_ms / round_trip_ms,
            ..case
        })
    });
    cases.collect()
}

/// Returns cases whose round trip is long enough for the whole window to be in flight.
fn memory(case: Case, scale: Scale) -> Vec<Case> {
    let in_flight = |size, messages, round_trip_ms| {
        all_in_flight(Case {
            size,
            messages: scale.pick(messages),
            round_trip_ms: scale.pick(round_trip_ms),
            ..case
        })
    };
    // 10 to 200 MB of payloads, which a contender may hold twice.
    vec![
        in_flight(SIZE, [100_000, 100_000, 1_000], [500, 500, 20]),
        in_flight(KIB, [100_000, 100_000, 1_000], [1_000, 1_000, 20]),
        in_flight(10 * KIB, [20_000, 20_000, 100], [1_000, 1_000, 20]),
        in_flight(100 * KIB, [2_000, 2_000, 10], [1_000, 1_000, 20]),
    ]
}

/// Returns the case with each linger that a service may set, the default of the crate among them.
fn lingering(case: Case) -> impl Iterator<Item = Case> {
    [0.0, 0.5, 1.0, 2.0, 5.0]
        .into_iter()
        .map(move |linger| Case { linger, ..case })
}

fn all_in_flight(case: Case) -> Case {
    Case {
        window: case.messages,
        ..case
    }
}
