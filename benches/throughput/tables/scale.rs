//! How much is measured.

/// How much is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scale {
    /// Everything, against the goals.
    Full,
    /// Fewer messages and rounds, against the guards.
    Short,
    /// A handful of messages, against nothing: does everything still run?
    Smoke,
}

impl Scale {
    /// Returns the number for this scale, of `[full, short, smoke]`.
    pub(crate) fn pick(self, [full, short, smoke]: [u64; 3]) -> u64 {
        match self {
            Self::Full => full,
            Self::Short => short,
            Self::Smoke => smoke,
        }
    }
}
