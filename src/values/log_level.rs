//! librdkafka's log levels.

/// The level of a log line of librdkafka: those of syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RDKafkaLogLevel {
    /// Level 0.
    Emerg,
    /// Level 1.
    Alert,
    /// Level 2.
    Critical,
    /// Level 3.
    Error,
    /// Level 4.
    Warning,
    /// Level 5.
    Notice,
    /// Level 6, librdkafka's default.
    Info,
    /// Level 7.
    Debug,
}

impl RDKafkaLogLevel {
    const ALL: [Self; 8] = [
        Self::Emerg,
        Self::Alert,
        Self::Critical,
        Self::Error,
        Self::Warning,
        Self::Notice,
        Self::Info,
        Self::Debug,
    ];

    /// Numbers beyond the known ones are taken for the nearest.
    pub(crate) fn from_syslog(level: i32) -> Self {
        Self::ALL[usize::try_from(level).unwrap_or(0).min(Self::ALL.len() - 1)]
    }

    pub(crate) fn to_syslog(self) -> usize {
        self as usize
    }
}
