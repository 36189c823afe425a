//! Tables and columns by name, as grants and tokens write them.
//! Runs on: any thread; pure values.
//! Never: takes a name that is written in another way for none.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// Tables by name: `schema.table`, `schema.*`, or `*` for all; a name without a schema is one of `main`. A name with dots, stars,
/// blanks, commas or quotes in it stands in double quotes, as in SQL: `main."a.b"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TablePattern {
    schema: Option<String>,
    table: Option<String>,
}

impl TablePattern {
    /// Whether the table is one of those. Names are compared as the engine does, whatever their case.
    pub fn matches(&self, schema: &str, table: &str) -> bool {
        let fits = |wanted: &Option<String>, name: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.to_lowercase() == name.to_lowercase())
        };
        fits(&self.schema, schema) && fits(&self.table, table)
    }

    /// The schema, unless it is any.
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The table, unless it is any.
    pub fn table(&self) -> Option<&str> {
        self.table.as_deref()
    }
}

impl FromStr for TablePattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid(format!(
                "expected tables as \"schema.table\", \"schema.*\", \"table\" or \"*\", with names of other letters in double \
                 quotes, found \"{text}\""
            ))
        };
        let parts = split_names(text, '.').ok_or_else(wrong)?;
        let pattern = match parts.as_slice() {
            [Name::Bare(star)] if star == "*" => Self { schema: None, table: None },
            [table] => Self { schema: Some("main".to_owned()), table: table.pattern().ok_or_else(wrong)? },
            [schema, table] => Self {
                schema: schema.pattern().ok_or_else(wrong)?,
                table: table.pattern().ok_or_else(wrong)?,
            },
            _ => return Err(wrong()),
        };
        // All schemas, but one table of each: nobody means that, and it would cover schemas that come later.
        if pattern.schema.is_none() && pattern.table.is_some() { Err(wrong()) } else { Ok(pattern) }
    }
}

impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.schema, &self.table) {
            (None, _) => f.write_str("*"),
            (Some(schema), None) => write!(f, "{}.*", quoted(schema)),
            (Some(schema), Some(table)) => write!(f, "{}.{}", quoted(schema), quoted(table)),
        }
    }
}

/// A name as it is written, alone or in double quotes.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    Bare(String),
    Quoted(String),
}

impl Name {
    /// What it stands for in a pattern: `Some(None)` for a star, which is any; `None` for no name.
    fn pattern(&self) -> Option<Option<String>> {
        match self {
            Self::Bare(star) if star == "*" => Some(None),
            Self::Bare(name) if name.is_empty() || name.contains('*') => None,
            Self::Quoted(name) if name.is_empty() => None,
            Self::Bare(name) | Self::Quoted(name) => Some(Some(name.clone())),
        }
    }
}

/// The names of a text with signs between them; `None` when a quote is not closed, or stands inside of a name.
fn split_names(text: &str, sign: char) -> Option<Vec<Name>> {
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (mut name, mut letters) = (String::new(), quoted.char_indices().peekable());
                let end = loop {
                    match letters.next()? {
                        (at, '"') if letters.next_if(|(_, next)| *next == '"').is_none() => break at + 1,
                        (_, letter) => name.push(letter),
                    }
                };
                (Name::Quoted(name), &quoted[end..])
            }
            None => {
                let end = rest.find(sign).unwrap_or(rest.len());
                (Name::Bare(rest[..end].to_owned()), &rest[end..])
            }
        };
        if matches!(&name, Name::Bare(name) if name.contains('"')) {
            return None;
        }
        names.push(name);
        match after.strip_prefix(sign) {
            Some(more) => rest = more,
            None if after.is_empty() => return Some(names),
            None => return None,
        }
    }
}

/// The names of columns in a text with commas between them; such as have commas or quotes stand in double quotes.
///
/// Errors: `Invalid` for an empty name, or a quote that is not closed.
pub fn column_names(text: &str) -> Result<Vec<String>> {
    let names = split_names(text, ',').into_iter().flatten();
    let names: Vec<String> = names
        .map(|name| match name {
            Name::Bare(name) => name.trim().to_owned(),
            Name::Quoted(name) => name,
        })
        .collect();
    if names.is_empty() || names.iter().any(|name| name.trim().is_empty()) {
        return Err(Error::invalid(format!(
            "expected names of columns with commas between them, those of other letters in double quotes, found \"{text}\""
        )));
    }
    Ok(names)
}

/// A name as a pattern has it.
fn quoted(name: &str) -> Cow<'_, str> {
    let is_plain =
        !name.contains(|letter: char| matches!(letter, '.' | '*' | '"' | ',') || letter.is_whitespace());
    if is_plain { name.into() } else { format!("\"{}\"", name.replace('"', "\"\"")).into() }
}

/// The patterns of a text with blanks between them.
pub(super) fn patterns(text: &str) -> Result<Vec<TablePattern>> {
    let mut in_quotes = false;
    let split = text.split(|letter: char| {
        in_quotes ^= letter == '"';
        letter.is_whitespace() && !in_quotes
    });
    split.filter(|pattern| !pattern.is_empty()).map(str::parse).collect()
}

impl Serialize for TablePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TablePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_of_any_case_and_nothing_else() {
        let matches = |pattern: &str, schema: &str, table: &str| {
            pattern.parse::<TablePattern>().unwrap().matches(schema, table)
        };
        assert!(matches("*", "a", "b") && matches("a.*", "A", "b") && matches("a.b", "a", "B"));
        assert!(matches("b", "main", "b") && !matches("b", "a", "b") && !matches("a.b", "a", "bc"));
        assert!(
            matches("\"a\".b", "a", "b") && matches("\"a.b\"", "main", "a.b") && matches("s.\"*\"", "s", "*")
        );
        assert!(!matches("s.\"*\"", "s", "b") && matches("s.\"a \"\"b\"", "s", "a \"b"));
        for wrong in
            ["", ".", "a.", ".b", "a.b.c", "*.b", "a*", "a.b*", "\"a", "\"\"", "a\"b", "\"a\"b", "\"*\".*.b"]
        {
            assert!(wrong.parse::<TablePattern>().is_err(), "{wrong}");
        }
        for text in ["*", "a.*", "a.b", "s.\"a.b\"", "s.\"a \"\"b\"", "\"a,b\".\"*\"", "\"*\".*"] {
            assert_eq!(text.parse::<TablePattern>().unwrap().to_string(), text);
        }
        assert_eq!("b".parse::<TablePattern>().unwrap().to_string(), "main.b");
        let read = patterns("a.* main.\"b c\"  d").unwrap();
        assert_eq!(
            read.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["a.*", "main.\"b c\"", "main.d"]
        );
    }

    #[test]
    fn columns_are_named_with_commas_between() {
        assert_eq!(column_names("a, B,\"c,d\"").unwrap(), ["a", "B", "c,d"]);
        for wrong in ["", "a,", ",", "\"a", "a\"b\"", " "] {
            assert!(column_names(wrong).is_err(), "{wrong}");
        }
    }
}
