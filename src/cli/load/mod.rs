//! Rooms of the load command.
#![allow(dead_code)]
mod arrow;
mod input;
mod schema;
