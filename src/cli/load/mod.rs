//! Rooms of the load command.
#![allow(dead_code)]
mod input;
mod schema;
