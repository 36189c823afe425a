//! Any texts in the place of declarations and types: read, or refused with the name of their file.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

#[path = "../../../tests/support/damaged.rs"]
mod damaged;

use pintail_catalog::{SchemaFile, from_duckdb, parse_type, read_declarations};
use proptest::prelude::*;

fn read(text: String) -> Result<Vec<pintail_catalog::Declaration>, String> {
    read_declarations(&[SchemaFile { name: "wells.toml".to_owned(), text }])
        .map_err(|wrong| wrong.to_string())
}

fn types() -> Vec<Vec<u8>> {
    [
        "int64",
        "decimal128(12, 3)",
        "timestamp[us, tz=Europe/Berlin]",
        "list<item: struct<a: int8, b: string not null>>",
        "fixed_size_list<item: float>[3]",
        "map<string, list<double>>",
        "dictionary<values=string, indices=int8>",
        "extension<arrow.uuid>",
        "sparse_union<a: int8=0, b: string=1>",
        "STRUCT(a INTEGER, \"b c\" DECIMAL(4, 2)[3])[]",
        "MAP(VARCHAR, ENUM('a', 'b'))",
    ]
    .map(Into::into)
    .to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// What is taken is written so that it reads back as itself.
    #[test]
    fn declarations_are_taken_or_refused(text in damaged::damaged_text(damaged::paragraphs("declarations.txt"))) {
        match read(text) {
            Ok(declarations) => {
                for declaration in declarations {
                    prop_assert_eq!(read(declaration.to_toml()), Ok(vec![declaration]));
                }
            }
            Err(wrong) => prop_assert!(wrong.contains("wells.toml"), "{wrong}"),
        }
    }

    #[test]
    fn types_are_taken_or_refused(text in damaged::damaged_text(types())) {
        let _ = parse_type(&text);
        let _ = from_duckdb(&text);
    }
}

/// The seeds themselves are declarations, so that what damages them begins at something.
#[test]
fn seeds_are_declarations() {
    for text in damaged::paragraphs("declarations.txt") {
        read(String::from_utf8(text).unwrap()).unwrap();
    }
}
