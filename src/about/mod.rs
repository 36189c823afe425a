//! What the server knows of its own work: calls under way and those that have ended, puts, and what must be accounted for. Log
//! lines and the tables `pintail.queries`, `pintail.ingest`, `pintail.audit` and their kin are made of it.
//! Runs on: any thread; a lock for a moment.
//! Never: grows beyond its bounds; shows a literal of a statement, unless `log.statements` is `full`.

mod audit;
mod entry;
mod plan;
mod recorder;
mod ring;
mod slow;
mod tables;
mod words;

pub use audit::Deed;
pub use entry::{Ended, Live, ProducerLine, Stages, Who};
pub use plan::{Node, draw, read_plan};
pub use recorder::{Recorder, Sources};
pub use words::{Subject, Words};
