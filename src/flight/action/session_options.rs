//! Session options: what a client sets once for all calls of its session.
//! Runs on: the task of the call.
//! Never: keeps a value that a later call would have to refuse.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::messages::{
    GetSessionOptionsResult, OptionError, OptionErrorValue, OptionValue, SessionOptionValue,
    SetSessionOptionsRequest, SetSessionOptionsResult,
};
use crate::engine::{INTERNAL_SCHEMA, SchemaPath};
use crate::error::{Error, Kind, Result};
use crate::flight::names::{TEMPORARY, own_or_refused};
use crate::flight::request::{OPTIONS, check_option};
use crate::session::ClientSession;

/// Sets options one by one; those that cannot be set are named in the answer, with the kind of reason.
pub(super) async fn set(session: &Arc<ClientSession>, body: Bytes) -> Result<Bytes> {
    let request = SetSessionOptionsRequest::decode(body)
        .map_err(|error| Error::invalid(format!("SetSessionOptions: the request cannot be read: {error}")))?;
    session.begin_anew();
    let mut errors = HashMap::new();
    // The catalog first: a schema that comes along is looked up in it.
    let mut options: Vec<_> = request.session_options.into_iter().collect();
    options.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (name, value) in options {
        let set = set_option(session, &name, value).await;
        if let Err(error) = set {
            tracing::debug!(option = %name, %error, "session option refused");
            let value = match error.kind() {
                Kind::Unsupported if !OPTIONS.contains(&name.as_str()) => OptionErrorValue::InvalidName,
                Kind::Invalid | Kind::NotFound | Kind::Unsupported => OptionErrorValue::InvalidValue,
                _ => OptionErrorValue::Error,
            };
            errors.insert(name, OptionError { value: value.into() });
        }
    }
    Ok(SetSessionOptionsResult { errors }.encode_to_vec().into())
}

async fn set_option(session: &Arc<ClientSession>, name: &str, value: SessionOptionValue) -> Result<()> {
    let text = match value.option_value {
        None => None,
        Some(OptionValue::Text(text)) => Some(text),
        Some(OptionValue::Bool(value)) => Some(value.to_string()),
        Some(OptionValue::Int(value)) => Some(value.to_string()),
        Some(OptionValue::Double(_) | OptionValue::List(_)) => {
            return Err(Error::invalid(format!("option {name}: expected a text or a whole number")));
        }
    };
    match name {
        "catalog" => {
            let catalog = text.unwrap_or_else(|| session.catalog().to_owned());
            if catalog.eq_ignore_ascii_case(TEMPORARY) {
                return Err(Error::invalid(
                    "temporary tables are found without their catalog; it cannot be the session's",
                ));
            }
            let catalog = own_or_refused(&catalog, session)?;
            session.set_path(SchemaPath { catalog, schema: "main".into() }).await
        }
        "schema" => {
            let schema = text.unwrap_or_else(|| "main".into());
            if schema.eq_ignore_ascii_case(INTERNAL_SCHEMA) {
                return Err(Error::invalid(format!("schema {schema} is the server's own")));
            }
            session.set_path(SchemaPath { schema, ..session.path() }).await
        }
        _ => {
            let Some(known) = OPTIONS.into_iter().find(|known| *known == name) else {
                return Err(Error::unsupported(format!(
                    "unknown session option \"{name}\"; this server has catalog, schema, {}",
                    OPTIONS.join(", ")
                )));
            };
            if let Some(text) = &text {
                check_option(known, text)?;
            }
            session.set_option(known, text);
            Ok(())
        }
    }
}

/// Every option that is set, catalog and schema always among them.
pub(super) fn all(session: &ClientSession) -> Bytes {
    let path = session.path();
    let mut options = session.options();
    options.insert("catalog".into(), path.catalog);
    options.insert("schema".into(), path.schema);
    let session_options = options
        .into_iter()
        .map(|(name, value)| (name, SessionOptionValue { option_value: Some(OptionValue::Text(value)) }))
        .collect();
    GetSessionOptionsResult { session_options }.encode_to_vec().into()
}
