//! Why a tunnel has ended.

/// Why a tunnel has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TunnelEnd {
    /// Both sides have said all, and the client was the first.
    Client,
    /// Both sides have said all, and the instance was the first.
    Instance,
    /// One of the two has said all. Pingora does not tell which.
    Either,
    /// Its instance had left.
    Departed,
    /// A side was silent for too long.
    Idle,
    /// A connection broke. The error says whose.
    Error,
}

impl TunnelEnd {
    /// Its name in the log and in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Instance => "instance",
            Self::Either => "either",
            Self::Departed => "departed",
            Self::Idle => "idle",
            Self::Error => "error",
        }
    }
}
