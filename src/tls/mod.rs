//! TLS: certificates in files -> what the ports accept connections with, renewed while they serve.
//! Runs on: the start of the server, the task that watches files, and a task for each handshake.
//! Never: serves a half-written certificate; falls back to plain text.

mod accepted;
mod acceptor;
mod material;
mod peer;
mod self_signed;

pub use accepted::{Accepted, Door, Incoming, Places, Socket, accept};
pub use acceptor::{Protocol, Tls};
pub use self_signed::{SelfSigned, self_signed};
