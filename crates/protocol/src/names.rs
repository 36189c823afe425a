//! The name of a table as clients, statements and the ledgers spell it, and how names and texts are quoted in SQL.
//! Runs on: any thread; pure.
//! Never: asks whether a table exists.

use std::fmt;

use crate::error::{Error, Result};

/// A table's name as a client gives it: one to three parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    /// Database; the server's own when absent.
    pub catalog: Option<String>,
    /// Schema; `main` when absent.
    pub schema: Option<String>,
    /// Table.
    pub table: String,
}

/// Longest part of a name, in bytes.
const NAME_BYTES_MAX: usize = 255;

impl TableName {
    /// `schema.table` in lower case, as the ledgers spell it. A part with a dot in it is quoted: it could be another table.
    pub fn in_ledger(&self) -> String {
        let part = |name: &str| if name.contains(['.', '"']) { quote_name(name) } else { name.to_owned() };
        format!("{}.{}", part(self.schema.as_deref().unwrap_or("main")), part(&self.table)).to_lowercase()
    }

    /// A name from a FlightDescriptor path: `[table]`, `[schema, table]` or `[catalog, schema, table]`.
    pub fn from_path(path: &[String]) -> Result<Self> {
        let name = match path {
            [table] => Self { catalog: None, schema: None, table: table.clone() },
            [schema, table] => Self { catalog: None, schema: Some(schema.clone()), table: table.clone() },
            [catalog, schema, table] => {
                Self { catalog: Some(catalog.clone()), schema: Some(schema.clone()), table: table.clone() }
            }
            _ => {
                let nested = if path.len() > 3 {
                    "; a table of a nested schema takes rows by INSERT alone"
                } else {
                    ""
                };
                return Err(Error::invalid(format!(
                    "expected a path of [table], [schema, table] or [catalog, schema, table], found {} parts{nested}",
                    path.len()
                )));
            }
        };
        name.checked()
    }

    /// A name from `table`, `schema.table` or `catalog.schema.table`, as the command line takes it.
    /// A part in double quotes may contain dots, and a quote that is doubled.
    pub fn from_text(text: &str) -> Result<Self> {
        Self::from_path(&split_name(text))
    }

    /// Refuses parts that are empty, too long, or hold a NUL.
    pub fn checked(self) -> Result<Self> {
        for part in self.parts() {
            if part.is_empty() {
                return Err(Error::invalid("a part of the table's name is empty"));
            }
            if part.len() > NAME_BYTES_MAX || part.contains('\0') {
                return Err(Error::invalid(format!(
                    "a part of the table's name is longer than {NAME_BYTES_MAX} bytes or holds a NUL"
                )));
            }
        }
        Ok(self)
    }

    /// The parts that are present, outermost first.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        [self.catalog.as_deref(), self.schema.as_deref(), Some(self.table.as_str())].into_iter().flatten()
    }

    /// The name as SQL, every part quoted.
    pub fn to_sql(&self) -> String {
        self.parts().map(quote_name).collect::<Vec<_>>().join(".")
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts().collect::<Vec<_>>().join("."))
    }
}

/// The parts of a name with dots between them. A part in double quotes may contain dots, and a quote that is doubled.
pub fn split_name(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.next_if_eq(&'"').is_some() => {
                parts.last_mut().expect("starts with one part").push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            _ => parts.last_mut().expect("starts with one part").push(letter),
        }
    }
    parts
}

/// `text` as an SQL literal.
pub fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `name` as a quoted SQL identifier.
pub fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_from_paths_and_texts_and_are_quoted() {
        let path =
            |parts: &[&str]| TableName::from_path(&parts.iter().map(|p| (*p).into()).collect::<Vec<_>>());
        assert_eq!(path(&["t"]).unwrap().to_sql(), "\"t\"");
        assert_eq!(path(&["s", "t"]).unwrap().to_sql(), "\"s\".\"t\"");
        assert_eq!(path(&["c", "s", "a\"b"]).unwrap().to_sql(), "\"c\".\"s\".\"a\"\"b\"");
        assert_eq!(TableName::from_text("main.\"odd.name\"").unwrap().table, "odd.name");
        assert_eq!(TableName::from_text("\"a\"\"b\"").unwrap().table, "a\"b");
        for bad in [&[][..], &[""], &["a", "", "b"], &["a", "b", "c", "d"], &["nul\0"]] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
    }
}
