//! The library's error -> gRPC status, and back: the only mapping.
//! An error that goes by itself says so as `google.rpc.RetryInfo`, which clients of every language find.
//! Runs on: async tasks. Never: sends a source chain to a client.

use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};

use crate::error::{Error, Kind, shorten};

/// Longest text in a status; clients limit headers to 8 KiB, and some escape every byte.
const TEXT_BYTES_MAX: usize = 2000;
/// The same where the text is sent twice, the second time in the details.
const TEXT_WITH_DETAILS_BYTES_MAX: usize = 1000;
/// A server that is not available may be in a second: it starts again, or opens its database anew.
const UNAVAILABLE: Duration = Duration::from_secs(1);

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// `google.rpc.Status`, of which only details are read back. Go's client takes code and message from here.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

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
        let code = code(error.kind());
        let default = (error.kind() == Kind::Unavailable).then_some(UNAVAILABLE);
        let Some(pause) = error.retry_after().or(default) else {
            return Status::new(code, shorten(error.message(), TEXT_BYTES_MAX));
        };
        let message = shorten(error.message(), TEXT_WITH_DETAILS_BYTES_MAX);
        let info = RetryInfo { retry_delay: prost_types::Duration::try_from(pause).ok() };
        let info = prost_types::Any { type_url: RETRY_INFO.to_owned(), value: info.encode_to_vec() };
        let details = Details { code: code as i32, message: message.clone(), details: vec![info] };
        Status::with_details(code, message, details.encode_to_vec().into())
    }
}

/// How long a status asks to wait before another try.
fn retry_after(status: &Status) -> Option<Duration> {
    let details = Details::decode(status.details()).ok()?.details;
    let info = details.into_iter().find(|detail| detail.type_url == RETRY_INFO)?;
    Duration::try_from(RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay?).ok()
}

/// A server's status as the library's error.
pub fn from_status(status: Status) -> Error {
    // A status that the client's own side made out of a broken connection carries where it comes from; one of the
    // server's does not. So does the client's own deadline, which is no broken connection.
    let is_cut = matches!(status.code(), Code::Unknown | Code::Unavailable | Code::Internal);
    if is_cut && std::error::Error::source(&status).is_some() {
        // tonic's own words, which say nothing.
        let why = match status.message() {
            "transport error" => "it was closed (a server with TLS is reached as grpc+tls://)",
            why => why,
        };
        return Error::new(Kind::Unavailable, format!("the connection to the server broke: {why}"));
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
    let error = Error::new(kind, status.message());
    match retry_after(&status) {
        Some(pause) => error.again_after(pause),
        None => error,
    }
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
    fn what_goes_by_itself_says_when() {
        let pause = Duration::from_millis(1250);
        for error in [
            Error::busy("query.max_queued", "too many"),
            Error::collided("another was first"),
            Error::exhausted("query.timeout", "x").again_after(pause),
        ] {
            let back = from_status(Status::from(error.clone()));
            assert_eq!(back, error);
            assert!(back.retry_after().is_some());
        }
        let closed = from_status(Status::from(Error::new(Kind::Unavailable, "stops")));
        assert_eq!(closed.retry_after(), Some(UNAVAILABLE));
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Unavailable) {
            assert!(Status::from(Error::new(kind, "x")).details().is_empty());
        }
        let foreign = Status::with_details(Code::Aborted, "x", vec![1, 2, 3].into());
        assert_eq!(from_status(foreign).retry_after(), None);
        let long = Status::from(Error::busy("a.b", "ü".repeat(5000)));
        assert!(long.message().len() <= TEXT_WITH_DETAILS_BYTES_MAX && long.details().len() < 1100);
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let status = Status::from(Error::invalid("ü".repeat(5000)));
        assert!(status.message().len() <= TEXT_BYTES_MAX && status.message().ends_with('…'));
    }
}
