//! Bytes of the network <-> messages, batches and frames; nothing here knows what a call asks for.
//! Runs on: the task of the call, tonic's connection tasks.
//! Never: decides what a call means.

mod body;
mod connection;
mod encode;
mod form;
mod incoming;
mod pieces;

pub use connection::{Connection, accept};
pub use encode::Encoder;

pub(in crate::flight) use body::{Aligned, Arrived, Pool};
pub(in crate::flight) use connection::Link;
pub(in crate::flight) use form::Form;
pub(in crate::flight) use incoming::Incoming;
pub(in crate::flight) use pieces::Pieces;
