//! What is missing -> an error that says how an admin gives it, and not whether there is such a table.
//! Runs on: any thread; pure.
//! Never: says more of a name than the statement says itself.

use super::access::{Access, Level, Right};
use crate::error::{Error, Kind, Result};
use crate::internal::INTERNAL_SCHEMA;
use crate::sql::Class;

pub(super) fn denied(text: impl Into<String>) -> Error {
    Error::new(Kind::Denied, text)
}

/// A right on a table is missing, or there is no such table: both have the same words.
pub(super) fn lacks(access: &Access, right: Right, schema: &str, table: &str) -> Error {
    if schema.eq_ignore_ascii_case(INTERNAL_SCHEMA) {
        return denied(format!("schema {INTERNAL_SCHEMA} is the server's own; only admins read it"));
    }
    let (user, right) = (&access.user, right.as_str());
    let name = format!("{schema}.{table}");
    if access.sees_all() {
        let role = match access.level {
            Level::Reader => "reader",
            Level::Writer => "writer",
        };
        return denied(format!(
            "table {name}: the role {role} does not give {user} the right to {right} it; an admin gives it with \
             `pintail grant {right} --on {name} --to {user}` (and read on what else {user} needs: with grants, nothing else \
             is there)"
        ));
    }
    denied(format!(
        "table {name} is not there, or {user} may not {right} it; an admin gives the right with `pintail grant {right} --on \
         {name} --to {user}`"
    ))
}

/// What a view or macro is over is missing, which whoever uses it need not know.
pub(super) fn behind(access: &Access) -> Error {
    denied(format!(
        "a view, macro or key of the statement is over a table that {} may not read; an admin gives the right to read the tables \
         behind it, or the view by its own name",
        access.user
    ))
}

/// A type is missing, or its schema is not granted: both have the same words.
pub(super) fn no_type(access: &Access) -> Error {
    denied(format!(
        "a type of the statement is not there, or {} may not see it; an admin gives types with the right to their whole schema, \
         as in `pintail grant read --on schema.* --to {}`",
        access.user, access.user
    ))
}

/// A table that is granted in part stands where only whole ones do.
pub(super) fn only_in_part(schema: &str, table: &str, why: &str) -> Error {
    denied(format!("table {schema}.{table} is granted in part (some rows or columns are left out): {why}"))
}

/// A function that says something of tables without reading their rows.
pub(super) fn tells(name: &str) -> Error {
    denied(format!("{name} tells more of tables than their rows; it takes a user without grants"))
}

/// A kind of statement that takes another role.
pub(super) fn for_role(access: &Access, what: &str, role: &str) -> Error {
    denied(format!("{what} takes the role {role}, which {} has not; an admin gives roles", access.user))
}

/// A statement that does not bind, of somebody who must not learn why.
pub(super) fn unbound(access: &Access) -> Error {
    denied(format!(
        "the statement does not bind: it names a table, column or function that is not there, or that {} may not see; an admin \
         gives rights with `pintail grant`",
        access.user
    ))
}

impl Access {
    /// Refuses a put of rows into a table: whether it is there or not makes no difference.
    ///
    /// Errors: `Denied`, saying what is missing.
    pub fn check_put(&self, schema: &str, table: &str, replaces: bool, updates: bool) -> Result<()> {
        if self.level < Level::Writer {
            return Err(for_role(self, "storing rows", "writer"));
        }
        let rights = if replaces { [Right::Ingest, Right::Define].as_slice() } else { &[Right::Ingest] };
        if let Some(missing) = rights.iter().find(|right| !self.may(**right, schema, table)) {
            return Err(lacks(self, *missing, schema, table));
        }
        if (replaces || updates) && self.is_in_part(schema, table) {
            return Err(only_in_part(
                schema,
                table,
                "rows can be added to it, with pintail-on-conflict error, and not replaced or compared with what is there",
            ));
        }
        Ok(())
    }

    /// Refuses a put of rows into a temporary table to those who store nothing.
    ///
    /// Errors: `Denied`.
    pub fn check_temporary_put(&self) -> Result<()> {
        if self.level < Level::Writer { Err(for_role(self, "storing rows", "writer")) } else { Ok(()) }
    }

    /// Refuses what is for admins alone.
    ///
    /// Errors: `Denied`.
    pub fn only_admins(&self, what: &str) -> Error {
        for_role(self, what, "admin")
    }

    /// Refuses to change anything for those who only read.
    pub(crate) fn check_class(&self, class: Class) -> Result<()> {
        if class != Class::Query && self.level < Level::Writer {
            return Err(for_role(self, "changing what is stored", "writer"));
        }
        Ok(())
    }

    /// Refuses definitions whose names everybody meets, before they are noted: verb and kind, such as `create` and `view`.
    /// `place`: the schema and name of a view.
    pub(crate) fn check_noted(&self, [verb, kind]: &[String; 2], [schema, name]: [&str; 2]) -> Result<()> {
        match (verb.as_str(), kind.as_str()) {
            ("create", "macro" | "function" | "trigger") => {
                Err(for_role(self, &format!("CREATE {}", kind.to_uppercase()), "admin"))
            }
            ("create", "view") if !self.defines_something() => Err(lacks(self, Right::Define, schema, name)),
            _ => Ok(()),
        }
    }
}
