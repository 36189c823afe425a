//! Principal, role and scope: who makes a call, and the most that they may do.
//! Runs on: any thread; pure values.
//! Never: holds a secret.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// Name of who makes calls without credentials; no user may have it.
pub const ANONYMOUS: &str = "anonymous";

/// What somebody may do at most; each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads what it is granted.
    Reader,
    /// Reads, and stores rows.
    Writer,
    /// Everything, users and grants included.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Role; 3] = [Role::Reader, Role::Writer, Role::Admin];

    /// The role's name as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Writer => "writer",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            Error::invalid(format!("expected a role (reader, writer or admin), found \"{text}\""))
        })
    }
}

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
fn quoted(name: &str) -> std::borrow::Cow<'_, str> {
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

/// What an API token narrows its user to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The token's name.
    pub token: Arc<str>,
    /// The role it gives at most.
    pub role: Role,
    /// The tables it reaches; none named means all that the user reaches.
    pub tables: Vec<TablePattern>,
}

impl Scope {
    /// Whether the scope lets its holder come near the table.
    pub fn reaches(&self, schema: &str, table: &str) -> bool {
        self.tables.is_empty() || self.tables.iter().any(|pattern| pattern.matches(schema, table))
    }
}

/// Who makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user's name; grants go by it.
    pub name: Arc<str>,
    /// The role in force: that of the user, or the lower one of the token.
    pub role: Role,
    /// What an API token narrows to.
    pub scope: Option<Scope>,
    // A user whom the server keeps, and not one that an issuer of JSON web tokens speaks for.
    has_account: bool,
}

impl Principal {
    /// A user without a scope.
    pub fn new(name: impl Into<Arc<str>>, role: Role) -> Self {
        Self { name: name.into(), role, scope: None, has_account: true }
    }

    /// Somebody that an issuer of JSON web tokens speaks for. Grants go by the name, as for a user with an account; what
    /// belongs to that account, its password and tokens, does not belong to them.
    pub fn issued(name: impl Into<Arc<str>>, role: Role) -> Self {
        Self { has_account: false, ..Self::new(name, role) }
    }

    /// Whoever comes without credentials.
    pub fn anonymous(role: Role) -> Self {
        Self::issued(ANONYMOUS, role)
    }

    /// This user through an API token: never more than the user, never more than the token.
    pub fn narrowed(self, scope: Scope) -> Self {
        Self { role: self.role.min(scope.role), scope: Some(scope), ..self }
    }

    /// Whether it is somebody, and not whoever comes without credentials.
    pub fn is_known(&self) -> bool {
        *self.name != *ANONYMOUS
    }

    /// Whether the server keeps this user's account, and they come in person, not by an API token.
    pub fn is_account_in_person(&self) -> bool {
        self.has_account && self.scope.is_none()
    }

    /// Whether it stands for everybody without credentials.
    pub fn is_anonymous(&self) -> bool {
        &*self.name == ANONYMOUS
    }

    /// Whether both are the same user, by the same token where there is one. What one has begun, the other may go on
    /// with; the role may have changed since.
    pub fn is_same(&self, other: &Principal) -> bool {
        self.name == other.name && self.scope == other.scope && self.has_account == other.has_account
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.scope {
            Some(scope) => write!(f, " (token {})", scope.token),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_and_read_back_what_they_print() {
        assert!(Role::Reader < Role::Writer && Role::Writer < Role::Admin);
        for role in Role::ALL {
            assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
        assert!("Admin".parse::<Role>().unwrap_err().message().contains("reader, writer or admin"));
    }

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

    #[test]
    fn a_token_never_gives_more_than_its_user_has() {
        let scope = |role| Scope { token: "ci".into(), role, tables: vec!["a.*".parse().unwrap()] };
        let narrowed = Principal::new("ada", Role::Reader).narrowed(scope(Role::Admin));
        assert_eq!(narrowed.role, Role::Reader);
        let narrowed = Principal::new("ada", Role::Admin).narrowed(scope(Role::Reader));
        assert_eq!(narrowed.role, Role::Reader);
        assert!(!narrowed.is_same(&Principal::new("ada", Role::Admin)));
        assert!(!Principal::issued("ada", Role::Admin).is_same(&Principal::new("ada", Role::Admin)));
        assert!(Principal::new("ada", Role::Reader).is_same(&Principal::new("ada", Role::Admin)));
        assert!(narrowed.scope.is_some_and(|scope| scope.reaches("a", "t") && !scope.reaches("b", "t")));
    }
}
