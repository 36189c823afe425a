//! Checkpoints: one of them, and the thread that sees to it that there are some.

mod maintenance;
mod run;

pub use maintenance::Maintenance;
