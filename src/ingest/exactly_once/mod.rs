//! Exactly once: a stream with a key, a batch with a number and a piece of a file are stored one time, whatever is
//! sent again.
//! Runs on: async tasks claim; the thread that commits records, in the transaction of the rows.
//! Never: acknowledges what is not written down in the transaction of its rows.

mod checksum;
mod claim;
mod entry;
mod image;
mod ledger;
mod loads;
mod own_table;
mod sources;
mod stream_checksum;

pub(super) use checksum::Checksum;
pub(super) use claim::ClaimKind;
pub use claim::{Claim, Keyed};
pub(super) use entry::Entry;
pub use entry::{KeyEntry, sequence};
pub use image::{LineStatus, ProducerStatus};
pub(super) use ledger::{Ledger, tail};
pub(super) use loads::{Loads, StreamLoad};
pub(super) use sources::Declared;
pub use stream_checksum::StreamChecksum;
