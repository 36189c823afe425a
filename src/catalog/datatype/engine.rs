//! A type as DuckDB prints it -> the Arrow type that stands for it.
//! Runs on: any thread; pure.
//! Never: names a type that would come back as another one.

use arrow::datatypes::TimeUnit;

use super::{Child, DeclaredType, by_engine_name, decimal, fixed_size_list, list, map, structure, zoned};
use crate::error::shorten;

/// Types within types, as in declarations.
const DEPTH_MAX: usize = 32;

/// Reads a type as the engine prints it: `STRUCT(a BIGINT, "b c" VARCHAR[])`.
///
/// Errors: the part that no Arrow type stands for, such as HUGEINT, ENUM or UNION.
pub fn from_duckdb(text: &str) -> Result<DeclaredType, String> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let found = reader.data_type()?;
    match reader.rest() {
        "" => Ok(found),
        _ => Err(no_form(text)),
    }
}

fn no_form(text: &str) -> String {
    format!("no Arrow type stands for {}", shorten(text.trim(), 80))
}

/// Reads a name as SQL writes it, quoted where it has to be; gives what follows it.
pub(in crate::catalog) fn unquote(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        return (!name.is_empty()).then(|| (name.to_owned(), rest));
    };
    let mut name = String::new();
    let mut letters = quoted.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != '"' {
            name.push(letter);
        } else if letters.next_if(|(_, next)| *next == '"').is_some() {
            name.push('"');
        } else {
            return Some((name, &quoted[at + 1..]));
        }
    }
    None
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn takes(&mut self, part: &str) -> bool {
        let found = self.rest().starts_with(part);
        if found {
            self.at += part.len();
        }
        found
    }

    fn expect(&mut self, part: &str) -> Result<(), String> {
        if self.takes(part) { Ok(()) } else { Err(no_form(self.text)) }
    }

    fn number(&mut self) -> Option<i32> {
        let rest = self.rest();
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        self.at += end;
        rest[..end].parse().ok()
    }

    fn data_type(&mut self) -> Result<DeclaredType, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("the type is nested deeper than {DEPTH_MAX} levels"));
        }
        let mut found = self.without_brackets()?;
        while self.takes("[") {
            let length = self.number();
            self.expect("]")?;
            found = match length {
                Some(length) => fixed_size_list(&Child::item(found), length)?,
                None => list("list", &Child::item(found)),
            };
        }
        self.depth -= 1;
        Ok(found)
    }

    fn without_brackets(&mut self) -> Result<DeclaredType, String> {
        if self.takes("STRUCT(") {
            let mut children = Vec::new();
            loop {
                let (name, rest) = unquote(self.rest()).ok_or_else(|| no_form(self.text))?;
                self.at = self.text.len() - rest.len();
                self.expect(" ")?;
                children.push(Child { name, data_type: self.data_type()?, nullable: true });
                if self.takes(")") {
                    return structure(&children);
                }
                self.expect(", ")?;
            }
        }
        if self.takes("MAP(") {
            let key = self.data_type()?;
            self.expect(", ")?;
            let value = self.data_type()?;
            self.expect(")")?;
            return Ok(map(key, value, true, false));
        }
        if self.takes("DECIMAL(") {
            let precision = self.number().and_then(|digits| u8::try_from(digits).ok());
            self.expect(",")?;
            self.takes(" ");
            let scale = self.number().and_then(|digits| u8::try_from(digits).ok());
            self.expect(")")?;
            return match (precision, scale) {
                (Some(precision), Some(scale)) => decimal(128, precision, scale),
                _ => Err(no_form(self.text)),
            };
        }
        let rest = self.rest();
        let end = rest.find([',', ')', '[', '(', '\'']).unwrap_or(rest.len());
        let name = &rest[..end];
        self.at += end;
        match name {
            "TIMESTAMP WITH TIME ZONE" => Ok(zoned(TimeUnit::Microsecond, "UTC")),
            "TIMESTAMPTZ_NS" => Ok(zoned(TimeUnit::Nanosecond, "UTC")),
            _ => by_engine_name(name).ok_or_else(|| no_form(name)),
        }
    }
}
