//! A type as pyarrow prints it -> its Arrow and DuckDB forms.
//! Runs on: any thread; pure.
//! Never: takes a type that DuckDB has no form for, or recurses deeper than its bound.

use std::str::FromStr;

use arrow::datatypes::TimeUnit;

use super::meant::{TypeError, closest, meant};
use super::nested::SPECIAL;
use super::shape::within;
use super::{
    Child, DeclaredType, by_spelling, decimal, dictionary, enumeration, fixed_size_binary, fixed_size_list,
    list, map, run_end_encoded, structure, tuple, union, zoned,
};
use crate::error::shorten;

/// Types within types; what lies deeper is no table any more.
const DEPTH_MAX: usize = 32;

/// Longest text of an error, which quotes what was found.
const WHAT_BYTES_MAX: usize = 500;

/// Reads a type as pyarrow prints it: `timestamp[us, tz=UTC]`, `list<item: int32>`.
///
/// A field name with one of `:,<>[]()"` in it, which pyarrow prints bare, is written in double quotes.
pub fn parse(text: &str) -> Result<DeclaredType, TypeError> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let read = reader.data_type().and_then(|found| match reader.rest().trim() {
        "" => Ok(found),
        rest => Err(error(format!("\"{}\" is left over after {}", shorten(rest, 60), found.text))),
    });
    read.map_err(|mut wrong| {
        if wrong.meant.is_none() {
            wrong.meant = meant(text.trim());
        }
        if !wrong.what.contains(text.trim()) {
            wrong.what = format!("\"{}\" is no type: {}", shorten(text, 120), wrong.what);
        }
        wrong.what = shorten(&wrong.what, WHAT_BYTES_MAX);
        wrong
    })
}

fn error(what: impl Into<String>) -> TypeError {
    TypeError { what: what.into(), meant: None }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

type Read<T> = Result<T, TypeError>;

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Takes `part` if it comes next.
    fn takes(&mut self, part: &str) -> bool {
        self.skip_spaces();
        let found = self.rest().starts_with(part);
        if found {
            self.at += part.len();
        }
        found
    }

    fn expect(&mut self, part: &str) -> Read<()> {
        if self.takes(part) {
            return Ok(());
        }
        let found = match self.rest() {
            "" => "the end".to_owned(),
            rest => format!("\"{}\"", shorten(rest, 40)),
        };
        Err(error(format!("expected \"{part}\" after \"{}\", found {found}", self.text[..self.at].trim())))
    }

    fn word(&mut self) -> &'a str {
        self.skip_spaces();
        let rest = self.rest();
        let end =
            rest.find(|letter: char| !(letter.is_alphanumeric() || letter == '_')).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// What stands before the next `end`, which is taken as well.
    fn until(&mut self, end: char) -> Read<&'a str> {
        let rest = self.rest();
        let Some(length) = rest.find(end) else {
            return Err(error(format!("expected \"{end}\" after \"{}\"", self.text.trim())));
        };
        self.at += length + end.len_utf8();
        Ok(rest[..length].trim())
    }

    fn number<T: FromStr>(&mut self, end: char) -> Read<T> {
        let found = self.until(end)?;
        found.parse().map_err(|_| error(format!("expected a number, found \"{}\"", shorten(found, 40))))
    }

    fn data_type(&mut self) -> Read<DeclaredType> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(error(format!("the type is nested deeper than {DEPTH_MAX} levels")));
        }
        let found = self.one_type();
        self.depth -= 1;
        found
    }

    fn one_type(&mut self) -> Read<DeclaredType> {
        self.skip_spaces();
        let start = self.at;
        let word = self.word();
        match word {
            "list" | "large_list" | "list_view" | "large_list_view" => {
                self.expect("<")?;
                let item = self.item()?;
                self.expect(">")?;
                Ok(list(word, &item))
            }
            "fixed_size_list" => {
                self.expect("<")?;
                let item = self.item()?;
                self.expect(">")?;
                self.expect("[")?;
                let length = self.number(']')?;
                fixed_size_list(&item, length).map_err(error)
            }
            "fixed_size_binary" => {
                self.expect("[")?;
                let length = self.number(']')?;
                fixed_size_binary(length).map_err(error)
            }
            "tuple" => {
                self.expect("<")?;
                let mut items = vec![self.data_type()?];
                while !self.takes(">") {
                    self.expect(",")?;
                    items.push(self.data_type()?);
                }
                tuple(items).map_err(error)
            }
            "struct" => self.structure(),
            "sparse_union" | "dense_union" => self.union(word),
            "enum" => self.enumeration(),
            "dictionary" => self.dictionary(),
            "run_end_encoded" => self.run_end_encoded(),
            "map" => self.map(),
            "decimal" | "decimal32" | "decimal64" | "decimal128" | "decimal256" => {
                self.expect("(")?;
                let precision = self.number(',')?;
                let scale = self.number(')')?;
                let bits = word.trim_start_matches("decimal").parse().unwrap_or(128);
                decimal(bits, precision, scale).map_err(error)
            }
            "timestamp" if self.rest().starts_with('[') => self.timestamp(start),
            "null" => Err(error("a column of type null can hold nothing; declare the type it will have")),
            _ => self.scalar(start, word),
        }
    }

    fn structure(&mut self) -> Read<DeclaredType> {
        self.expect("<")?;
        let mut children = Vec::new();
        while !self.takes(">") {
            if !children.is_empty() {
                self.expect(",")?;
            }
            let name = self.name()?.ok_or_else(|| {
                error(format!("expected \"name: type\" in a struct, found \"{}\"", self.rest()))
            })?;
            let data_type = self.data_type()?;
            children.push(Child { name, data_type, nullable: !self.takes("not null") });
        }
        structure(&children).map_err(error)
    }

    fn union(&mut self, word: &str) -> Read<DeclaredType> {
        self.expect("<")?;
        let mut members = Vec::new();
        while !self.takes(">") {
            if !members.is_empty() {
                self.expect(",")?;
            }
            let name = self.name()?.ok_or_else(|| {
                error(format!("expected \"name: type=code\" in a union, found \"{}\"", self.rest()))
            })?;
            let member = Child { name, data_type: self.data_type()?, nullable: !self.takes("not null") };
            self.expect("=")?;
            let code = self.word();
            let code = code
                .parse()
                .map_err(|_| error(format!("a union's code is a number from 0 to 127, found \"{code}\"")))?;
            members.push((code, member));
        }
        union(word, members).map_err(error)
    }

    fn enumeration(&mut self) -> Read<DeclaredType> {
        self.expect("<")?;
        let mut values = Vec::new();
        while !self.takes(">") {
            if !values.is_empty() {
                self.expect(",")?;
            }
            self.skip_spaces();
            let (value, rest) = within(self.rest(), '"').ok_or_else(|| {
                error(format!("expected a value in double quotes, found \"{}\"", shorten(self.rest(), 40)))
            })?;
            self.at = self.text.len() - rest.len();
            values.push(value);
        }
        enumeration(&values).map_err(error)
    }

    fn dictionary(&mut self) -> Read<DeclaredType> {
        self.expect("<")?;
        self.expect("values=")?;
        let values = self.data_type()?;
        self.expect(",")?;
        self.expect("indices=")?;
        let indices = self.data_type()?;
        let mut ordered = false;
        if self.takes(",") {
            self.expect("ordered=")?;
            ordered = self.takes("1");
            if !ordered {
                self.expect("0")?;
            }
        }
        self.expect(">")?;
        dictionary(&values, &indices, ordered).map_err(error)
    }

    fn run_end_encoded(&mut self) -> Read<DeclaredType> {
        self.expect("<")?;
        self.expect("run_ends:")?;
        let run_ends = self.data_type()?;
        self.expect(",")?;
        self.expect("values:")?;
        let values = self.data_type()?;
        self.expect(">")?;
        run_end_encoded(&run_ends, &values).map_err(error)
    }

    fn map(&mut self) -> Read<DeclaredType> {
        self.expect("<")?;
        let key = self.data_type()?;
        // Keys are never null, so saying it changes nothing.
        self.takes("not null");
        self.expect(",")?;
        let value = self.data_type()?;
        let nullable = !self.takes("not null");
        let sorted = self.takes(",");
        if sorted {
            self.expect("keys_sorted")?;
        }
        self.expect(">")?;
        Ok(map(key, value, nullable, sorted))
    }

    fn timestamp(&mut self, start: usize) -> Read<DeclaredType> {
        self.expect("[")?;
        let inside = self.until(']')?;
        let Some((unit, zone)) = inside.split_once(',') else {
            let text = format!("timestamp[{inside}]");
            return by_spelling(&text).ok_or_else(|| TypeError {
                what: format!("unknown type \"{}\"", shorten(&self.text[start..self.at], 60)),
                meant: meant(&text),
            });
        };
        let unit = match unit.trim() {
            "s" => TimeUnit::Second,
            "ms" => TimeUnit::Millisecond,
            "us" => TimeUnit::Microsecond,
            "ns" => TimeUnit::Nanosecond,
            other => {
                return Err(error(format!(
                    "expected the unit s, ms, us or ns, found \"{}\"",
                    shorten(other, 20)
                )));
            }
        };
        let zone = zone.trim();
        let zone = zone.strip_prefix("tz=").ok_or_else(|| {
            error(format!("expected tz=Zone after the unit, found \"{}\"", shorten(zone, 40)))
        })?;
        // The same reader that Arrow's kernels use: names of the IANA database and offsets.
        if zone.parse::<arrow::array::timezone::Tz>().is_err() {
            let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
            let near = closest(zone, names).map(|name| format!("timestamp[{}, tz={name}]", short(unit)));
            let what = format!(
                "unknown time zone \"{}\"; a zone is a name such as UTC or Europe/Berlin, or an offset such as \
                 +02:00",
                shorten(zone, 60)
            );
            return Err(TypeError { what, meant: near });
        }
        Ok(zoned(unit, zone))
    }

    /// A type without parts, whose spelling may have something in brackets.
    fn scalar(&mut self, start: usize, word: &str) -> Read<DeclaredType> {
        match (word, self.rest().chars().next()) {
            (_, Some('[')) => drop(self.until(']')?),
            ("extension", Some('<')) => drop(self.until('>')?),
            _ => {}
        }
        let text = self.text[start..self.at].trim();
        by_spelling(text).ok_or_else(|| match text {
            "" => error("expected a type, found nothing"),
            _ => TypeError { what: format!("unknown type \"{}\"", shorten(text, 60)), meant: meant(text) },
        })
    }

    /// The item of a list: `item: type`, or the type alone.
    fn item(&mut self) -> Read<Child> {
        let name = self.name()?.unwrap_or_else(|| "item".to_owned());
        let data_type = self.data_type()?;
        Ok(Child { name, data_type, nullable: !self.takes("not null") })
    }

    /// A name and the colon behind it, or nothing when no name comes next.
    fn name(&mut self) -> Read<Option<String>> {
        self.skip_spaces();
        let rest = self.rest();
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut letters = quoted.char_indices().peekable();
            while let Some((at, letter)) = letters.next() {
                if letter != '"' {
                    name.push(letter);
                } else if letters.next_if(|(_, next)| *next == '"').is_some() {
                    name.push('"');
                } else {
                    self.at += 1 + at + 1;
                    self.expect(":")?;
                    return Ok(Some(name));
                }
            }
            return Err(error(format!("expected a closing quote after {}", shorten(rest, 40))));
        }
        match rest.find(SPECIAL) {
            Some(end) if rest[end..].starts_with(':') => {
                self.at += end + 1;
                Ok(Some(rest[..end].trim_end().to_owned()))
            }
            _ => Ok(None),
        }
    }
}

fn short(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}
