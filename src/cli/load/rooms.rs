//! Rooms of the load command.
#![allow(dead_code, unused_imports, reason = "joined by the load command")]

mod input;
mod store;
mod text;
