//! gRPC's status codes: <https://grpc.github.io/grpc/core/md_doc_statuscodes.html>.

use std::fmt;
use std::str::FromStr;

/// How a call has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Status {
    Ok,
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl Status {
    /// All there are, each at the place of its code, with its name.
    pub(crate) const ALL: [(Self, &'static str); 17] = [
        (Self::Ok, "OK"),
        (Self::Cancelled, "CANCELLED"),
        (Self::Unknown, "UNKNOWN"),
        (Self::InvalidArgument, "INVALID_ARGUMENT"),
        (Self::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (Self::NotFound, "NOT_FOUND"),
        (Self::AlreadyExists, "ALREADY_EXISTS"),
        (Self::PermissionDenied, "PERMISSION_DENIED"),
        (Self::ResourceExhausted, "RESOURCE_EXHAUSTED"),
        (Self::FailedPrecondition, "FAILED_PRECONDITION"),
        (Self::Aborted, "ABORTED"),
        (Self::OutOfRange, "OUT_OF_RANGE"),
        (Self::Unimplemented, "UNIMPLEMENTED"),
        (Self::Internal, "INTERNAL"),
        (Self::Unavailable, "UNAVAILABLE"),
        (Self::DataLoss, "DATA_LOSS"),
        (Self::Unauthenticated, "UNAUTHENTICATED"),
    ];

    /// 0 to 16.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// Its name in the specification, in configuration, logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL.get(usize::from(self.code())).map_or("UNKNOWN", |(_, name)| name)
    }

    /// What the value of `grpc-status` says; none: it is no code that there is.
    pub(crate) fn of_value(value: &[u8]) -> Option<Self> {
        let code: usize = match value {
            [digit] | [b'0', digit] if digit.is_ascii_digit() => (digit - b'0').into(),
            [b'1', digit] if digit.is_ascii_digit() => usize::from(digit - b'0') + 10,
            _ => return None,
        };
        Self::ALL.get(code).map(|(status, _)| *status)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text is the name of no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no status of gRPC: expected a name such as UNAVAILABLE")]
pub(crate) struct NoStatus;

impl FromStr for Status {
    type Err = NoStatus;

    fn from_str(name: &str) -> Result<Self, NoStatus> {
        Self::ALL.into_iter().find(|(_, known)| *known == name).map(|(status, _)| status).ok_or(NoStatus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_at_the_place_of_its_code_and_known_by_its_name() {
        for (code, (status, name)) in Status::ALL.into_iter().enumerate() {
            assert_eq!((usize::from(status.code()), status.as_str()), (code, name));
            assert_eq!(name.parse(), Ok(status));
            assert_eq!(Status::of_value(code.to_string().as_bytes()), Some(status));
        }
        assert_eq!("unavailable".parse::<Status>(), Err(NoStatus));
    }

    #[test]
    fn a_value_that_is_no_code_is_none() {
        assert_eq!(Status::of_value(b"07"), Some(Status::PermissionDenied));
        for value in ["", "17", "99", "-1", "1 ", "OK", "007", "20", "1a"] {
            assert_eq!(Status::of_value(value.as_bytes()), None, "{value}");
        }
    }
}
