//! Bodies of Flight and Flight SQL actions: messages, some of them inside an `Any`.
//! Runs on: any thread; pure.

use arrow_flight::Action;
use arrow_flight::sql::{Any, ProstMessageExt};
use bytes::Bytes;
use prost::Message;

use crate::error::{Error, Result};

/// The message inside the `Any` of a Flight SQL action.
pub(super) fn unpack<M: ProstMessageExt + Default>(action: &Action) -> Result<M> {
    let name = &action.r#type;
    let any = Any::decode(&*action.body).map_err(|error| unreadable(name, &error))?;
    if any.type_url != M::type_url() {
        return Err(Error::invalid(format!(
            "{name}: expected a message of type {}, found \"{}\"",
            M::type_url(),
            crate::error::shorten(&any.type_url, 200)
        )));
    }
    M::decode(&*any.value).map_err(|error| unreadable(name, &error))
}

/// The body of a Flight action, which some clients put into an `Any` although the specification does not.
pub(super) fn unwrapped(body: &Bytes) -> Bytes {
    match Any::decode(body.clone()) {
        Ok(any) if any.type_url.starts_with("type.googleapis.com/arrow.flight.protocol.") => any.value,
        _ => body.clone(),
    }
}

/// A Flight SQL message inside its `Any`.
pub(super) fn packed(message: &impl ProstMessageExt) -> Bytes {
    message.as_any().encode_to_vec().into()
}

/// What a client hears of a body that is not the message it has to be.
pub(super) fn unreadable(name: &str, error: &prost::DecodeError) -> Error {
    Error::invalid(format!("{name}: the request cannot be read: {error}"))
}
