//! Rooms of the load command.
#![allow(dead_code, reason = "joined by the load command")]

mod input;
#[cfg(feature = "object-store")]
mod store;
mod text;
