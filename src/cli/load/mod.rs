//! Rooms of the load command.
//! Runs on: as they say. Never: anything by itself.
#![allow(dead_code, reason = "joined by the load command")]

mod find;
mod glob;
mod input;
mod lake;
mod partition;
mod sniff;
mod walk;
