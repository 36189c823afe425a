//! What a put stream says of the files its rows are from: the JSON of a message's `app_metadata`.
//! Runs on: any thread; pure.
//! Never: checks what a value means.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A message of a stream with the header `pintail-sources`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcesMessage<'a> {
    /// The pieces whose last row the stream holds by now.
    #[serde(borrow)]
    pub sources: Vec<Source<'a>>,
}

/// A piece of a file whose rows are in a put with header `pintail-sources`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source<'a> {
    /// What the file is remembered by.
    #[serde(borrow)]
    pub file: Cow<'a, str>,
    /// Checksum of the piece, 16 hex digits.
    #[serde(borrow)]
    pub piece: Cow<'a, str>,
    /// Its rows.
    pub rows: u64,
    /// How often it is known to be stored already; `once` refuses what is stored more often.
    #[serde(default)]
    pub stored: u64,
    /// How many pieces of the file are known to be stored already; `once` refuses when there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_file: Option<u64>,
}
