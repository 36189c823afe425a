//! Grants -> what somebody may read, ingest and define.
//! Runs on: any thread; pure but for the memory of windows.
//! Never: says yes to what is not granted.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::catalog::{TableName, quote_text};
use crate::internal::INTERNAL_SCHEMA;

/// What a role lets do at most. Admins are not held to anything and have no [`Access`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Reads.
    Reader,
    /// Reads and changes.
    Writer,
}

/// What can be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Right {
    /// Read rows.
    Read,
    /// Put, insert, update and delete rows; a put may make its table.
    Ingest,
    /// Create, change and drop tables, views and indexes.
    Define,
}

impl Right {
    /// Every right.
    pub const ALL: [Right; 3] = [Right::Read, Right::Ingest, Right::Define];

    /// Its name, as grants spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Ingest => "ingest",
            Right::Define => "define",
        }
    }
}

/// Tables by name; names are compared without case, as the engine does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tables {
    /// The schema; `None` for every one.
    pub schema: Option<String>,
    /// The table; `None` for every one, also such as come later.
    pub table: Option<String>,
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

impl Tables {
    fn covers(&self, schema: &str, table: &str) -> bool {
        self.covers_schema_of(schema) && self.table.as_deref().is_none_or(|wanted| same(wanted, table))
    }

    fn covers_schema_of(&self, schema: &str) -> bool {
        self.schema.as_deref().is_none_or(|wanted| same(wanted, schema))
    }

    /// Whether a table is one of these, as a condition over a column that names it as the ledgers do.
    fn condition(&self, column: &str) -> String {
        let named = |table: &str| {
            let name = TableName { catalog: None, schema: self.schema.clone(), table: table.to_owned() };
            name.in_ledger()
        };
        match (&self.schema, &self.table) {
            (None, _) => "true".to_owned(),
            (Some(_), Some(table)) => format!("{column} = {}", quote_text(&named(table))),
            (Some(_), None) => format!("starts_with({column}, {})", quote_text(&named(""))),
        }
    }

    fn covers_all_of(&self, schema: &str) -> bool {
        self.covers_schema_of(schema) && self.table.is_none()
    }
}

/// One grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// On what.
    pub tables: Tables,
    /// To do what.
    pub rights: Vec<Right>,
    /// The rows that are there for its holder, as an SQL condition; all when there is none.
    pub filter: Option<String>,
    /// Columns that are not there for its holder.
    pub hide: Vec<String>,
}

/// The part of a table that is granted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Part {
    /// Conditions that all have to hold.
    pub(crate) filters: Vec<String>,
    pub(crate) hide: Vec<String>,
}

/// What somebody may do who is no admin.
#[derive(Debug)]
pub struct Access {
    pub(crate) user: String,
    token: Option<String>,
    pub(crate) level: Level,
    /// `None`: everything that the role allows.
    grants: Option<Vec<Grant>>,
    /// What a token narrows to; empty for all.
    scope: Vec<Tables>,
    /// What anybody but admins may define: a view there shows nobody more than they may see themselves.
    definable: Vec<Tables>,
    /// Windows that statements of theirs were given.
    windows: Mutex<HashSet<String>>,
}

impl Access {
    /// What `user` may do: within the role's `level`, the `grants` (all, if there are none), and a token's `scope`.
    /// `definable`: what is granted to anybody to define.
    pub fn new(
        user: impl Into<String>,
        level: Level,
        grants: Option<Vec<Grant>>,
        scope: Vec<Tables>,
        definable: Vec<Tables>,
    ) -> Self {
        Self { user: user.into(), token: None, level, grants, scope, definable, windows: Mutex::default() }
    }

    /// The same by an API token of this name.
    pub fn by_token(self, token: Option<String>) -> Self {
        Self { token, ..self }
    }

    /// Whether something that `user` did, by the API token of that name if by one, is theirs to see. Who comes by a token sees
    /// what was done by it alone.
    pub fn is_of(&self, user: &str, token: Option<&str>) -> bool {
        self.user == user && (self.token.is_none() || self.token.as_deref() == token)
    }

    /// Whether everything is there for them that is not the server's own.
    pub(crate) fn sees_all(&self) -> bool {
        self.grants.is_none() && self.scope.is_empty()
    }

    fn reaches(&self, schema: &str, table: &str) -> bool {
        let is_internal = same(schema, INTERNAL_SCHEMA);
        !is_internal && (self.scope.is_empty() || self.scope.iter().any(|one| one.covers(schema, table)))
    }

    fn role_allows(&self, right: Right) -> bool {
        right == Right::Read || self.level == Level::Writer
    }

    /// Whether they may do something with a table of the database.
    pub fn may(&self, right: Right, schema: &str, table: &str) -> bool {
        if !self.role_allows(right) || !self.reaches(schema, table) {
            return false;
        }
        match &self.grants {
            None => right != Right::Define,
            Some(grants) => {
                grants.iter().any(|grant| grant.rights.contains(&right) && grant.tables.covers(schema, table))
            }
        }
    }

    /// Which of the tables that a column names as the ledgers do (`schema.table` in lower case) they may put rows into, as a
    /// condition over that column; `None` for a reader.
    pub(super) fn puts_into(&self, column: &str) -> Option<String> {
        let any_of = |tables: &mut dyn Iterator<Item = &Tables>| {
            let each: Vec<String> = tables.map(|tables| tables.condition(column)).collect();
            if each.is_empty() { "false".to_owned() } else { format!("({})", each.join(" OR ")) }
        };
        if !self.role_allows(Right::Ingest) {
            return None;
        }
        let mut conditions = Vec::new();
        if let Some(grants) = &self.grants {
            let granted = grants.iter().filter(|grant| grant.rights.contains(&Right::Ingest));
            conditions.push(any_of(&mut granted.map(|grant| &grant.tables)));
        }
        if !self.scope.is_empty() {
            conditions.push(any_of(&mut self.scope.iter()));
        }
        Some(if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") })
    }

    /// Whether they may put rows into every table that is not the server's own.
    pub(super) fn puts_into_all(&self) -> bool {
        self.role_allows(Right::Ingest) && self.sees_all()
    }

    /// Whether they may define whatever they like in a schema, and the schema itself.
    pub(crate) fn may_define_all_of(&self, schema: &str) -> bool {
        let in_scope = self.scope.is_empty() || self.scope.iter().any(|tables| tables.covers_all_of(schema));
        let granted =
            |grant: &Grant| grant.rights.contains(&Right::Define) && grant.tables.covers_all_of(schema);
        self.role_allows(Right::Define)
            && !same(schema, INTERNAL_SCHEMA)
            && in_scope
            && self.grants.as_ref().is_some_and(|grants| grants.iter().any(granted))
    }

    /// Whether all of a schema is there for them, whatever comes into it.
    pub(crate) fn sees_all_of(&self, schema: &str) -> bool {
        let in_scope = self.scope.is_empty() || self.scope.iter().any(|tables| tables.covers_all_of(schema));
        let is_granted = |grants: &Vec<Grant>| grants.iter().any(|grant| grant.tables.covers_all_of(schema));
        !same(schema, INTERNAL_SCHEMA) && in_scope && self.grants.as_ref().is_none_or(is_granted)
    }

    /// Whether a table is there for them at all.
    pub fn sees(&self, schema: &str, table: &str) -> bool {
        Right::ALL.into_iter().any(|right| self.may(right, schema, table))
    }

    /// Whether all rows and columns of a table are there for them.
    pub fn sees_whole(&self, schema: &str, table: &str) -> bool {
        self.sees(schema, table) && !self.is_in_part(schema, table)
    }

    /// Whether a schema is there for them: some table in it may be.
    pub fn sees_schema(&self, schema: &str) -> bool {
        let reaches = |tables: &Tables| tables.covers_schema_of(schema);
        !same(schema, INTERNAL_SCHEMA)
            && (self.scope.is_empty() || self.scope.iter().any(reaches))
            && self.grants.as_ref().is_none_or(|grants| grants.iter().any(|grant| reaches(&grant.tables)))
    }

    /// The part of a table that is there for them; `None` when it is all of it. What several grants leave out is left out.
    pub(crate) fn part(&self, schema: &str, table: &str) -> Option<Part> {
        let grants = self.grants.iter().flatten().filter(|grant| grant.tables.covers(schema, table));
        let mut part = Part::default();
        for grant in grants {
            part.filters.extend(grant.filter.clone());
            part.hide.extend(grant.hide.iter().cloned());
        }
        part.hide.sort_unstable();
        part.hide.dedup();
        (part != Part::default()).then_some(part)
    }

    /// Whether some rows or columns of a table are left out for them.
    pub(crate) fn is_in_part(&self, schema: &str, table: &str) -> bool {
        self.part(schema, table).is_some()
    }

    /// Whether a column is left out for them.
    pub(crate) fn hides(&self, schema: &str, table: &str, column: &str) -> bool {
        self.part(schema, table).is_some_and(|part| part.hide.iter().any(|hidden| same(hidden, column)))
    }

    /// Whether a view is granted by its own name, and nobody but admins can have made it: it shows what it shows,
    /// whatever its reader may see of the tables behind it.
    pub(crate) fn is_shown_view(&self, schema: &str, view: &str) -> bool {
        let named = |grant: &Grant| {
            grant.tables.table.is_some()
                && grant.rights.contains(&Right::Read)
                && grant.tables.covers(schema, view)
        };
        self.grants.iter().flatten().any(named)
            && !self.definable.iter().any(|tables| tables.covers(schema, view))
    }

    /// Every grant's tables and scope, as conditions for listings: schema and table names in lower case, `None` for any.
    pub(crate) fn listed(&self) -> (Option<Vec<&Tables>>, &[Tables]) {
        let granted = self.grants.as_ref().map(|grants| grants.iter().map(|grant| &grant.tables).collect());
        (granted, &self.scope)
    }

    /// Tables with columns that are left out: their names and the columns.
    pub(crate) fn hidden_columns(&self) -> impl Iterator<Item = (&Tables, &[String])> {
        let grants = self.grants.iter().flatten().filter(|grant| !grant.hide.is_empty());
        grants.map(|grant| (&grant.tables, grant.hide.as_slice()))
    }

    /// Tables of which a part is granted.
    pub(crate) fn in_part(&self) -> impl Iterator<Item = &Tables> {
        let in_part = |grant: &&Grant| grant.filter.is_some() || !grant.hide.is_empty();
        self.grants.iter().flatten().filter(in_part).map(|grant| &grant.tables)
    }

    /// Whether they may define anything that lasts.
    pub(super) fn defines_something(&self) -> bool {
        self.grants.iter().flatten().any(|grant| grant.rights.contains(&Right::Define))
    }

    /// Remembers that a window is theirs.
    pub(crate) fn give_window(&self, name: &str) {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    pub(crate) fn has_window(&self, name: &str) -> bool {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }
}
