//! Types: in by every way, out again, and back in.

mod back;
mod cases;
mod paths;
mod timezones;
