//! Any texts in the place of names and of the JSON beside rows: read or refused, and never more.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

#[path = "../../../tests/support/damaged.rs"]
mod damaged;

use pintail_protocol::error::{Kind, shorten};
use pintail_protocol::header::{Mode, OnConflict, Sources};
use pintail_protocol::names::{TableName, quote_name, split_name};
use pintail_protocol::source::SourcesMessage;
use proptest::prelude::*;

fn names() -> Vec<Vec<u8>> {
    ["wells", "main.wells", "\"odd.name\".\"a\"\"b\"", "a.b.c", "ü.\u{1f986}"].map(Into::into).to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A name that is taken is written so that it reads back as itself.
    #[test]
    fn names_are_taken_or_refused(text in damaged::damaged_text(names())) {
        match TableName::from_text(&text) {
            Ok(name) => prop_assert_eq!(TableName::from_text(&name.to_sql()), Ok(name)),
            Err(error) => prop_assert_eq!(error.kind(), Kind::Invalid),
        }
        let _ = TableName::from_path(std::slice::from_ref(&text));
        prop_assert_eq!(split_name(&quote_name(&text)), [text.clone()]);
        prop_assert!(shorten(&text, 10).len() <= 10);
        let _ = (Mode::from_name(&text), OnConflict::from_name(&text), Sources::from_name(&text));
    }

    /// What is taken is written so that it reads back as itself.
    #[test]
    fn what_is_said_of_files_is_taken_or_refused(bytes in damaged::damaged(damaged::lines("metadata.txt"))) {
        if let Ok(message) = serde_json::from_slice::<SourcesMessage<'_>>(&bytes) {
            let written = serde_json::to_vec(&message).unwrap();
            prop_assert_eq!(serde_json::from_slice::<SourcesMessage<'_>>(&written).unwrap(), message);
        }
    }
}
