//! The cases in which each work is measured: sizes, numbers of tasks and of topics, round trips.

use super::cli::Options;
use super::goals::SIZE;
use super::job::Case;
use super::work::Work;

const KIB: usize = 1024;

impl Options {
    /// All cases of `work`; those of one size are neighbours.
    pub(crate) fn cases(&self, work: Work) -> Vec<Case> {
        let case = Case {
            work,
            messages: 1,
            size: SIZE,
            window: 10_000,
            tasks: 1,
            topics: 1,
            linger: 0,
            round_trip_ms: 0,
            duration_ms: 0,
            no_copy: false,
        };
        let sized = |size, messages| Case {
            size,
            messages: self.scaled(messages),
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
                // As many messages wait as there are: what is measured is how fast they get in.
                let case = all_in_flight(sized(SIZE, [1_000_000, 200_000, 1_000]));
                let many = self.scaled([1_000, 1_000, 10]) as usize;
                [1, many].map(|topics| Case { topics, ..case }).into()
            }
            Work::Full => self.full(case),
            Work::Tasks => {
                let case = sized(SIZE, [1_000_000, 200_000, 1_000]);
                let tasks: &[u64] = if self.smoke { &[2] } else { &[1, 2, 4, 8] };
                tasks.iter().map(|&tasks| Case { tasks, ..case }).collect()
            }
            Work::Latency => vec![sized(SIZE, [5_000, 1_000, 100])],
            Work::Flush => vec![Case {
                // The first message lingers too.
                linger: self.scaled([1_000, 1_000, 100]) as u32,
                ..sized(SIZE, [30, 10, 2])
            }],
            Work::Idle => vec![Case {
                duration_ms: self.scaled([20_000, 5_000, 200]),
                ..case
            }],
            Work::Memory => self.memory(case),
            Work::Instructions => vec![sized(SIZE, [80_000, 40_000, 4_000])],
            // Two hundred of them.
            Work::Transactions => vec![Case {
                linger: 5,
                window: 100,
                ..sized(SIZE, [20_000, 5_000, 1_000])
            }],
            Work::Kafka => {
                let kafka = |size, messages| Case {
                    linger: 5,
                    no_copy: size > SIZE,
                    ..sized(size, messages)
                };
                vec![
                    kafka(SIZE, [1_000_000, 200_000, 1_000]),
                    kafka(KIB, [300_000, 100_000, 1_000]),
                ]
            }
        };
        let mut cases: Vec<_> = cases
            .into_iter()
            .map(|case| self.overridden(case))
            .collect();
        cases.dedup();
        if self.smoke && !work.compares_cases() {
            cases.truncate(1);
        }
        cases
    }

    /// The window is the queue's limit, all of it in flight when a broker answers after the round trip.
    fn full(&self, case: Case) -> Vec<Case> {
        let window = self.window.unwrap_or(self.scaled([1_000, 1_000, 10]));
        let duration_ms = self.scaled([2_000, 1_000, 100]);
        let (tasks, round_trips): (&[u64], &[u64]) = if self.smoke {
            (&[20], &[2])
        } else {
            (&[1_000, 5_000, 20_000], &[2, 20])
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

    /// The round trip is long enough for the whole window to be in flight.
    fn memory(&self, case: Case) -> Vec<Case> {
        let in_flight = |size, messages, round_trip_ms| {
            all_in_flight(Case {
                size,
                messages: self.scaled(messages),
                round_trip_ms: self.scaled(round_trip_ms),
                ..case
            })
        };
        // 100 to 200 MB of payloads, which a contender may hold twice.
        vec![
            in_flight(SIZE, [100_000, 100_000, 1_000], [500, 500, 20]),
            in_flight(KIB, [100_000, 100_000, 1_000], [1_000, 1_000, 20]),
            in_flight(10 * KIB, [20_000, 20_000, 100], [1_000, 1_000, 20]),
            in_flight(100 * KIB, [2_000, 2_000, 10], [1_000, 1_000, 20]),
        ]
    }

    /// What the command line says in place of a work's own numbers.
    fn overridden(&self, case: Case) -> Case {
        let messages = self.messages.unwrap_or(case.messages);
        let all_in_flight = case.window == case.messages;
        Case {
            messages,
            window: self
                .window
                .unwrap_or(if all_in_flight { messages } else { case.window }),
            size: self.size.unwrap_or(case.size),
            linger: self.linger.unwrap_or(case.linger),
            ..case
        }
    }

    /// The value for a full run, a short one, and a smoke test.
    fn scaled(&self, [full, short, smoke]: [u64; 3]) -> u64 {
        match self {
            Self { smoke: true, .. } => smoke,
            Self { short: true, .. } => short,
            _ => full,
        }
    }
}

fn all_in_flight(case: Case) -> Case {
    Case {
        window: case.messages,
        ..case
    }
}
