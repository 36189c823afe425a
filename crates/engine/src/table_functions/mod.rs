//! Table functions of the server's own, by which rows and types cross into the engine, and what the server tells of itself.

mod about;
mod descriptions;
mod segments;

pub(crate) use about::About;
pub use about::Teller;
pub(crate) use descriptions::Descriptions;
pub(crate) use segments::{OWNER, Published, Segments, random_token, register_owner};
pub use segments::{Segment, UNIT_ROWS, Unit};
