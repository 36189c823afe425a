//! DoGet and DoExchange: results on their way to the socket.
//! Runs on: the task of the call.
//! Never: ends a broken result as if it were complete.

mod exchange;
mod frames;
mod ticket;

pub(super) use exchange::exchange;
pub(super) use frames::FrameStream;
pub(super) use ticket::get;
