//! An error -> a response: a status of HTTP, and a JSON object with gRPC's code.
//! Runs on: the task of the call; pure.
//! Never: sends more of an error than Flight does.

use ::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use ::http::{HeaderValue, Response, StatusCode};
use axum::body::Body;
use pintail_protocol::status::{code, code_name, from_status};
use serde_json::json;
use tonic::Status;

use crate::error::{Error, Kind};

/// Why a request is not answered as it wants.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    error: Error,
    // What was stored before it.
    acknowledged: Option<serde_json::Value>,
}

impl Refused {
    /// A request of a form that is not taken.
    pub(super) fn with(status: StatusCode, error: Error) -> Self {
        Self { status, error, acknowledged: None }
    }

    /// Rows were committed before.
    pub(super) fn after(self, acknowledged: serde_json::Value) -> Self {
        Self { acknowledged: Some(acknowledged), ..self }
    }

    /// Why.
    pub(super) fn error(&self) -> &Error {
        &self.error
    }

    /// A body of a kind that is not taken.
    pub(super) fn media_type(text: impl Into<String>) -> Self {
        Self::with(StatusCode::UNSUPPORTED_MEDIA_TYPE, Error::invalid(text))
    }

    /// The response. A browser asks for a password by itself only where nobody else does.
    pub(super) fn into_response(self, asks_for_password: bool) -> Response<Body> {
        let mut text = body(&self.error);
        if let Some(acknowledged) = self.acknowledged {
            text["acknowledged"] = acknowledged;
        }
        let mut response = Response::new(Body::from(format!("{text}\n")));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.status {
            StatusCode::UNAUTHORIZED if asks_for_password => {
                let scheme = HeaderValue::from_static("Basic realm=\"pintail\", charset=\"UTF-8\"");
                headers.insert(WWW_AUTHENTICATE, scheme);
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            _ => {}
        }
        response
    }
}

/// What stands in the place of an answer, and in the last line of a result of JSON lines that broke.
pub(super) fn body(error: &Error) -> serde_json::Value {
    json!({ "error": { "code": code_name(code(error.kind())), "message": error.message() } })
}

/// The status of each kind. No wildcard: a new kind does not compile until someone decides.
fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Exists | Kind::Conflict | Kind::Aborted => StatusCode::CONFLICT,
        Kind::Exhausted => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        // Client Closed Request, as proxies write it; http knows no name for it.
        Kind::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Kind::Deadline => StatusCode::GATEWAY_TIMEOUT,
        Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        Kind::Denied => StatusCode::FORBIDDEN,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { status: status(error.kind()), error, acknowledged: None }
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        from_status(status).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_an_error_of_http() {
        for kind in Kind::ALL {
            let response = Refused::from(Error::new(kind, "why")).into_response(true);
            assert!(response.status().as_u16() >= 400, "{kind:?}");
            let asks = response.headers().contains_key(WWW_AUTHENTICATE);
            assert_eq!(asks, kind == Kind::Unauthenticated);
        }
        let text = body(&Error::invalid("no \"such\" thing")).to_string();
        assert_eq!(text, r#"{"error":{"code":"INVALID_ARGUMENT","message":"no \"such\" thing"}}"#);
    }
}
