//! librdkafka's log levels.

/// The level of a log line of librdkafka.
///
/// The levels are the eight of syslog (RFC 5424), so a `match` needs no wildcard. The most severe
/// one is the smallest: `Emerg < Debug`.
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
    /// Level 6, the default of librdkafka's property `log_level`.
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

    /// Returns the level of that number, or the nearest level if there is none.
    pub(crate) fn from_syslog(level: i32) -> Self {
        Self::ALL[usize::try_from(level).unwrap_or(0).min(Self::ALL.len() - 1)]
    }

    pub(crate) fn to_syslog(self) -> usize {
        self as usize
    }
}
