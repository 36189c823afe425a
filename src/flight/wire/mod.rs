//! Bytes of the network <-> messages, batches and frames; nothing here knows what a call asks for.
//! Runs on: the task of the call, tonic's connection tasks.
//! Never: decides what a call means.

mod body;
mod connection;
mod corked;
mod encode;
mod form;
mod incoming;
mod parts;
mod pieces;

pub use connection::{Connection, Link, Welcome, connections};
pub use encode::Encoder;

pub(in crate::flight) use body::{Aligned, Arrived, Pool, Room};
pub(in crate::flight) use form::Form;
pub(in crate::flight) use incoming::{BodyMessages, Incoming, is_unreadable};
pub(in crate::flight) use parts::Parts;
pub(in crate::flight) use pieces::Pieces;
