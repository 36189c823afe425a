//! What lasts between the calls of one client, and for how long.

mod idle;
mod lifetime;
mod temporary;
