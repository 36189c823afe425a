//! A call for a result: who asks, and how they want it.

use std::sync::Arc;

use tonic::metadata::MetadataMap;

use super::caller::Caller;
use super::options::CallOptions;
use crate::error::Result;
use crate::flight::wire::Form;
use crate::query::RunOptions;
use crate::session::ClientSession;

/// Who asks for a result, and how they want it.
#[derive(Clone)]
pub(in crate::flight) struct Ask {
    pub(in crate::flight) caller: Caller,
    pub(in crate::flight) run: RunOptions,
    pub(in crate::flight) form: Form,
    /// In how many parts the result is to be given at most.
    pub(in crate::flight) endpoints: usize,
}

impl Ask {
    /// Reads the headers of a call that runs a statement.
    pub(in crate::flight) fn new(caller: Caller, metadata: &MetadataMap) -> Result<Self> {
        let options = CallOptions::new(metadata, &caller.session);
        let (run, form, endpoints) = (options.run_options()?, options.form()?, options.endpoints()?);
        Ok(Self { caller, run, form, endpoints })
    }

    /// Reads the headers of a call that describes something and runs nothing.
    pub(in crate::flight) fn to_describe(caller: Caller, metadata: &MetadataMap) -> Result<Self> {
        let form = CallOptions::new(metadata, &caller.session).form()?;
        Ok(Self { caller, run: RunOptions::default(), form, endpoints: 1 })
    }

    /// The session of who asks.
    pub(in crate::flight) fn session(&self) -> &Arc<ClientSession> {
        &self.caller.session
    }
}
