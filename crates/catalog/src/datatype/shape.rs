//! A type as DuckDB prints it -> its parts.
//! Runs on: any thread; pure.
//! Never: knows what a name means; recurses deeper than its bound.

use crate::error::shorten;

/// Types within types, as in declarations.
const DEPTH_MAX: usize = 32;

/// The parts of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape<'a> {
    /// A type without parts, as it is printed: `TIMESTAMP WITH TIME ZONE`, `GEOMETRY('OGC:CRS84')`.
    Name(&'a str),
    Decimal(u8, u8),
    Enum(Vec<String>),
    List(Box<Shape<'a>>),
    Array(Box<Shape<'a>>, i32),
    Struct(Vec<(String, Shape<'a>)>),
    Union(Vec<(String, Shape<'a>)>),
    Tuple(Vec<Shape<'a>>),
    Map(Box<Shape<'a>>, Box<Shape<'a>>),
}

/// Reads a type as the engine prints it: `STRUCT(a BIGINT, "b c" VARCHAR[])`.
pub(crate) fn shape(text: &str) -> Result<Shape<'_>, String> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let found = reader.data_type()?;
    match reader.rest() {
        "" => Ok(found),
        _ => Err(no_form(text)),
    }
}

pub(super) fn no_form(text: &str) -> String {
    format!("no Arrow type stands for {}", shorten(text.trim(), 80))
}

/// Reads a name as SQL writes it, quoted where it has to be; gives what follows it.
pub(crate) fn unquote(text: &str) -> Option<(String, &str)> {
    if !text.starts_with('"') {
        let end = text.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        return (!name.is_empty()).then(|| (name.to_owned(), rest));
    }
    within(text, '"')
}

/// Reads what stands between two marks, where two of them are one of the text; gives what follows it.
pub(super) fn within(text: &str, mark: char) -> Option<(String, &str)> {
    let quoted = text.strip_prefix(mark)?;
    let mut name = String::new();
    let mut letters = quoted.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != mark {
            name.push(letter);
        } else if letters.next_if(|(_, next)| *next == mark).is_some() {
            name.push(mark);
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

type Read<T> = Result<T, String>;

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

    fn expect(&mut self, part: &str) -> Read<()> {
        if self.takes(part) { Ok(()) } else { Err(no_form(self.text)) }
    }

    fn number(&mut self) -> Option<i32> {
        let rest = self.rest();
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        self.at += end;
        rest[..end].parse().ok()
    }

    /// Goes on behind what a reader of names has left.
    fn after<T>(&mut self, read: Option<(T, &str)>) -> Read<T> {
        let (found, rest) = read.ok_or_else(|| no_form(self.text))?;
        self.at = self.text.len() - rest.len();
        Ok(found)
    }

    fn data_type(&mut self) -> Read<Shape<'a>> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("the type is nested deeper than {DEPTH_MAX} levels"));
        }
        let mut found = self.without_brackets()?;
        while self.takes("[") {
            let length = self.number();
            self.expect("]")?;
            found = match length {
                Some(length) => Shape::Array(Box::new(found), length),
                None => Shape::List(Box::new(found)),
            };
        }
        self.depth -= 1;
        Ok(found)
    }

    /// Parts up to the closing bracket, one at least.
    fn parts<T>(&mut self, part: impl Fn(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let mut parts = Vec::new();
        loop {
            parts.push(part(self)?);
            if self.takes(")") {
                return Ok(parts);
            }
            self.expect(", ")?;
        }
    }

    fn named(&mut self) -> Read<(String, Shape<'a>)> {
        let name = self.after(unquote(self.rest()))?;
        self.expect(" ")?;
        Ok((name, self.data_type()?))
    }

    fn without_brackets(&mut self) -> Read<Shape<'a>> {
        if self.takes("STRUCT(") {
            return self.parts(Self::named).map(Shape::Struct);
        }
        if self.takes("UNION(") {
            return self.parts(Self::named).map(Shape::Union);
        }
        if self.takes("TUPLE(") {
            return self.parts(Self::data_type).map(Shape::Tuple);
        }
        if self.takes("ENUM(") {
            return self.parts(|reader| reader.after(within(reader.rest(), '\''))).map(Shape::Enum);
        }
        if self.takes("MAP(") {
            let key = self.data_type()?;
            self.expect(", ")?;
            let value = self.data_type()?;
            self.expect(")")?;
            return Ok(Shape::Map(Box::new(key), Box::new(value)));
        }
        if self.takes("DECIMAL(") {
            let precision = self.number().and_then(|digits| u8::try_from(digits).ok());
            self.expect(",")?;
            self.takes(" ");
            let scale = self.number().and_then(|digits| u8::try_from(digits).ok());
            self.expect(")")?;
            return match (precision, scale) {
                (Some(precision), Some(scale)) => Ok(Shape::Decimal(precision, scale)),
                _ => Err(no_form(self.text)),
            };
        }
        let start = self.at;
        if self.takes("GEOMETRY(") {
            self.after(within(self.rest(), '\''))?;
            self.expect(")")?;
            return Ok(Shape::Name(&self.text[start..self.at]));
        }
        let rest = self.rest();
        let end = rest.find([',', ')', '[', '(', '\'']).unwrap_or(rest.len());
        self.at += end;
        Ok(Shape::Name(&rest[..end]))
    }
}

/// Whether what leaves the server for a column of the type `to` in the form that plain clients read comes back as
/// `from`: a cast makes the one of the other again, or refuses a value that is none.
pub(crate) fn comes_back(from: &str, to: &str) -> bool {
    match (shape(from), shape(to)) {
        (Ok(from), Ok(to)) => from.comes_back_as(&to),
        _ => false,
    }
}

/// Whether DuckDB itself writes a column of the type `of` to Parquet as one of the type `to`, where that has no type for
/// it. Values that come back from a cast unchanged are the ones that were written.
pub(crate) fn is_exported_as(of: &str, to: &str) -> bool {
    match (shape(of), shape(to)) {
        (Ok(of), Ok(to)) => of.is_exported_as(&to),
        _ => false,
    }
}

impl Shape<'_> {
    fn is_exported_as(&self, to: &Self) -> bool {
        use Shape as S;
        match (self, to) {
            (S::Name("HUGEINT" | "UHUGEINT"), S::Name("DOUBLE")) => true,
            (S::Name("BIT" | "BIGNUM"), S::Name("VARCHAR")) => true,
            (S::Name("TIMESTAMP_S"), S::Name("TIMESTAMP")) => true,
            (S::Array(of, _), S::List(to)) | (S::List(of), S::List(to)) => of.is_exported_as(to),
            (S::Struct(of), S::Struct(to)) => {
                let same =
                    |(of, to): (&(String, Self), &(String, Self))| of.0 == to.0 && of.1.is_exported_as(&to.1);
                of.len() == to.len() && of.iter().zip(to).all(same)
            }
            (S::Map(key, value), S::Map(to_key, to_value)) => {
                key.is_exported_as(to_key) && value.is_exported_as(to_value)
            }
            (of, to) => to.comes_back_as(of),
        }
    }

    fn comes_back_as(&self, to: &Self) -> bool {
        use Shape as S;
        let all = |from: &[(String, Self)], to: &[(String, Self)]| {
            from.len() == to.len()
                && from.iter().zip(to).all(|(from, to)| from.0 == to.0 && from.1.comes_back_as(&to.1))
        };
        match (self, to) {
            (from, to) if from == to => true,
            (S::Name("VARCHAR"), S::Name("UUID" | "JSON") | S::Enum(_)) => true,
            (S::Decimal(38, 0), S::Name("HUGEINT")) => true,
            (S::List(from), S::List(to)) => from.comes_back_as(to),
            (S::Array(from, length), S::Array(to, other)) => length == other && from.comes_back_as(to),
            (S::Struct(from), S::Struct(to)) | (S::Union(from), S::Union(to)) => all(from, to),
            // A tuple leaves as a struct of element1, element2, ...
            (S::Struct(from), S::Tuple(to)) => {
                from.len() == to.len()
                    && from.iter().zip(to).enumerate().all(|(index, ((name, from), to))| {
                        *name == format!("element{}", index + 1) && from.comes_back_as(to)
                    })
            }
            (S::Map(key, value), S::Map(to_key, to_value)) => {
                key.comes_back_as(to_key) && value.comes_back_as(to_value)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_exported_is_known() {
        for (of, to, is_exported) in [
            ("HUGEINT", "DOUBLE", true),
            ("HUGEINT[]", "DOUBLE[]", true),
            ("INTEGER[2]", "INTEGER[]", true),
            ("BIT[2][]", "VARCHAR[][]", true),
            ("STRUCT(a BIT, b UUID)", "STRUCT(a VARCHAR, b UUID)", true),
            ("MAP(VARCHAR, UHUGEINT)", "MAP(VARCHAR, DOUBLE)", true),
            ("TIMESTAMP_S", "TIMESTAMP", true),
            ("BIGINT", "DOUBLE", false),
            ("DOUBLE", "HUGEINT", false),
            ("INTEGER[]", "INTEGER[2]", false),
            ("INTEGER[2]", "BIGINT[]", false),
            ("STRUCT(a BIT)", "STRUCT(b VARCHAR)", false),
        ] {
            assert_eq!(is_exported_as(of, to), is_exported, "{of} as {to}");
        }
    }

    #[test]
    fn what_leaves_comes_back() {
        for (from, to) in [
            ("VARCHAR", "UUID"),
            ("VARCHAR", "ENUM('a', 'it''s')"),
            ("DECIMAL(38,0)", "HUGEINT"),
            ("VARCHAR[]", "UUID[]"),
            ("STRUCT(element1 INTEGER, element2 VARCHAR)", "TUPLE(INTEGER, JSON)"),
            ("STRUCT(a STRUCT(element1 VARCHAR)[2])", "STRUCT(a TUPLE(UUID)[2])"),
            ("MAP(VARCHAR, VARCHAR)", "MAP(UUID, JSON)"),
            ("UNION(a VARCHAR, b INTEGER)", "UNION(a UUID, b INTEGER)"),
            ("TIME WITH TIME ZONE[]", "TIME WITH TIME ZONE[]"),
        ] {
            assert!(comes_back(from, to), "{from} {to}");
        }
        for (from, to) in [
            ("VARCHAR", "INTEGER"),
            ("DECIMAL(37,0)", "HUGEINT"),
            ("VARCHAR[]", "UUID[3]"),
            ("STRUCT(a INTEGER)", "TUPLE(INTEGER)"),
            ("STRUCT(a VARCHAR)", "STRUCT(b UUID)"),
            ("BLOB", "BIT"),
            ("INTEGER[]", "BIGINT[]"),
        ] {
            assert!(!comes_back(from, to), "{from} {to}");
        }
    }
}
