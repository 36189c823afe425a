//! The library's error -> gRPC status, and back: the only mapping.
//! Runs on: async tasks. Never: sends a source chain to a client.

use tonic::{Code, Status};

use crate::error::{Error, Kind, shorten};

/// Longest text in a status; clients limit headers to 8 KiB, and some escape every byte.
const TEXT_BYTES_MAX: usize = 2000;

/// The gRPC code of each kind. No wildcard: a new kind does not compile until someone decides.
pub fn code(kind: Kind) -> Code {
    match kind {
        Kind::Invalid => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::Exists => Code::AlreadyExists,
        Kind::Conflict => Code::FailedPrecondition,
        Kind::Exhausted => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::Aborted => Code::Aborted,
        Kind::Cancelled => Code::Cancelled,
        Kind::Deadline => Code::DeadlineExceeded,
        Kind::Unsupported => Code::Unimplemented,
        Kind::Denied => Code::PermissionDenied,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Internal => Code::Internal,
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Status::new(code(error.kind()), shorten(error.message(), TEXT_BYTES_MAX))
    }
}

/// A server's status as the library's error.
pub fn from_status(status: Status) -> Error {
    // A status that the client's own side made out of a broken connection carries where it comes from; one of the
    // server's does not. So does the client's own deadline, which is no broken connection.
    let is_cut = matches!(status.code(), Code::Unknown | Code::Unavailable | Code::Internal);
    if is_cut && std::error::Error::source(&status).is_some() {
        return Error::new(
            Kind::Unavailable,
            format!("the connection to the server broke: {}", status.message()),
        );
    }
    let kind = match status.code() {
        Code::InvalidArgument | Code::OutOfRange => Kind::Invalid,
        Code::NotFound => Kind::NotFound,
        Code::AlreadyExists => Kind::Exists,
        Code::FailedPrecondition => Kind::Conflict,
        Code::ResourceExhausted => Kind::Exhausted,
        Code::Unavailable => Kind::Unavailable,
        Code::Aborted => Kind::Aborted,
        Code::Cancelled => Kind::Cancelled,
        Code::DeadlineExceeded => Kind::Deadline,
        Code::Unimplemented => Kind::Unsupported,
        Code::PermissionDenied => Kind::Denied,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Kind::Internal,
    };
    Error::new(kind, status.message())
}

/// A code's name as the gRPC specification spells it, for logs and metrics.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_code_of_its_own() {
        let mut codes: Vec<i32> = Kind::ALL.iter().map(|kind| code(*kind) as i32).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Kind::ALL.len());
        assert!(!codes.contains(&(Code::Ok as i32)) && !codes.contains(&(Code::Unknown as i32)));
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let status = Status::from(Error::invalid("ü".repeat(5000)));
        assert!(status.message().len() <= TEXT_BYTES_MAX && status.message().ends_with('…'));
    }
}
