//! Headers, descriptors and commands -> who asks for what, and how; every call passes here first.
//! Runs on: async tasks; pure, except for a look-up of the session.
//! Never: runs anything.

mod answers;
mod ask;
mod call;
mod caller;
mod descriptor;
mod options;

pub(super) use answers::{Answers, Reply, answers};
pub(super) use ask::Ask;
pub(super) use call::Call;
pub(super) use caller::{Caller, claimed, handshake};
pub(super) use descriptor::{
    Read, Write, checked_sql, exchange_statement, handle_bytes, on, read, read_command, statement_handle,
    transaction_handle, write,
};
pub(super) use options::{CallOptions, OPTIONS, PutOptions, check_option, grpc_timeout};
