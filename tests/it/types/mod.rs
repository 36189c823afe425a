//! Types: in by every way, out again, and back in.

mod back;
mod cases;
mod decimals;
mod paths;
mod timezones;
