//! A call that has ended -> whether it has to be accounted for, and as what.
//! Runs on: any thread; pure, but for the line that is written.
//! Never: leaves a refusal out.

use std::sync::Arc;
use std::time::SystemTime;

use super::entry::{Ended, Who};
use super::words::{Subject, Words};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Somebody came in, or tried to.
    Login,
    /// Rows were read.
    Read,
    /// Rows were stored or changed.
    Write,
    /// A table or another object was made, changed or dropped.
    Define,
    /// Grants, users or tokens were changed or listed.
    Access,
    /// Something else that is worth telling: an action of the server.
    Action,
}

impl Deed {
    /// Its name in the table and in lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Deed::Login => "login",
            Deed::Read => "read",
            Deed::Write => "write",
            Deed::Define => "define",
            Deed::Access => "access",
            Deed::Action => "action",
        }
    }
}

/// Something that was done, or refused.
#[derive(Debug)]
pub(super) struct Accounted {
    pub(super) call: u64,
    pub(super) at: SystemTime,
    pub(super) who: Who,
    pub(super) method: &'static str,
    pub(super) deed: Deed,
    pub(super) words: Arc<Words>,
    pub(super) rows: u64,
    pub(super) status: &'static str,
    pub(super) error: String,
    pub(super) trace: Option<String>,
}

/// `ok`, `refused`, `cancelled` or `failed`.
pub(super) fn outcome(status: &str) -> &'static str {
    match status {
        "OK" => "ok",
        "PERMISSION_DENIED" | "UNAUTHENTICATED" => "refused",
        "CANCELLED" | "DEADLINE_EXCEEDED" => "cancelled",
        _ => "failed",
    }
}

/// What a statement does, by the words that it begins with and has.
fn deed_of_statement(words: &Words) -> Deed {
    let has = |word: &str| words.has(word);
    let begins = |list: &[&str]| list.iter().any(|word| words.begins_with(word));
    if begins(&["create", "alter", "drop", "comment", "analyze", "vacuum"]) {
        return Deed::Define;
    }
    let writes = ["insert", "update", "delete", "merge", "truncate", "copy"];
    if begins(&writes) || (begins(&["with", "explain"]) && writes.iter().any(|word| has(word))) {
        return Deed::Write;
    }
    Deed::Read
}

/// What is accounted for of a call; `None` for what only looks at the catalog or prepares something else.
fn deed_of(ended: &Ended) -> Option<Deed> {
    let failed = ended.status != "OK";
    if ended.status == "UNAUTHENTICATED" {
        return Some(Deed::Login);
    }
    match &ended.subject {
        Subject::Put(_) => Some(Deed::Write),
        Subject::Statement(_) => {
            let deed = deed_of_statement(&ended.words);
            // Describing and preparing a statement does not run it, but for changes that a FlightInfo makes.
            let only_describes = match ended.method {
                "GetFlightInfo" => deed == Deed::Read,
                "GetSchema" | "PollFlightInfo" | "DoAction" => true,
                _ => false,
            };
            (!only_describes || failed).then_some(deed)
        }
        Subject::Named(name) => match name.split(' ').next().unwrap_or_default() {
            "pintail.grant" | "pintail.revoke" | "pintail.grants" => Some(Deed::Access),
            action if action.starts_with("pintail.user") || action.starts_with("pintail.token") => {
                Some(Deed::Access)
            }
            "pintail.schema_apply" => Some(Deed::Define),
            "pintail.checkpoint"
            | "pintail.backup"
            | "pintail.forget_loads"
            | "pintail.load"
            | "EndTransaction" => Some(Deed::Action),
            _ => (outcome(ended.status) == "refused").then_some(Deed::Action),
        },
        Subject::Nothing => (outcome(ended.status) == "refused").then_some(Deed::Action),
    }
}

impl Accounted {
    /// What has to be accounted for of a call that has ended.
    pub(super) fn of(ended: &Ended) -> Option<Self> {
        let deed = deed_of(ended)?;
        Some(Self {
            call: ended.id,
            at: SystemTime::now(),
            who: ended.who.clone(),
            method: ended.method,
            deed,
            words: Arc::clone(&ended.words),
            rows: ended.rows,
            status: ended.status,
            error: ended.error.clone(),
            trace: ended.trace.clone(),
        })
    }

    /// Somebody has come in.
    pub(super) fn login(who: Who, trace: Option<String>) -> Self {
        Self {
            call: 0,
            at: SystemTime::now(),
            who,
            method: "",
            deed: Deed::Login,
            words: Arc::default(),
            rows: 0,
            status: "OK",
            error: String::new(),
            trace,
        }
    }

    /// Writes the line.
    pub(super) fn log(&self) {
        tracing::info!(
            target: "pintail::audit",
            call = self.call,
            action = self.deed.as_str(),
            outcome = outcome(self.status),
            user = %self.who,
            role = self.who.role,
            peer = %self.who.peer(),
            method = self.method,
            what = %self.words.text,
            tables = %self.words.tables.join(","),
            rows = self.rows,
            status = self.status,
            error = %self.error,
            trace_id = self.trace.as_deref(),
            "audit"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::about::entry::Stages;

    fn call(method: &'static str, subject: Subject, words: Words, status: &'static str) -> Ended {
        Ended {
            id: 1,
            who: Who::default(),
            method,
            subject,
            words: Arc::new(words),
            started: SystemTime::UNIX_EPOCH,
            took: Duration::ZERO,
            stages: Stages::default(),
            rows: 0,
            bytes: 0,
            memory_before: 0,
            memory_after: 0,
            status,
            error: String::new(),
            trace: None,
            key: None,
            producer: None,
            is_duplicate: false,
        }
    }

    fn deed(method: &'static str, sql: &str, status: &'static str) -> Option<Deed> {
        let words = Words::of_text(sql);
        deed_of(&call(method, Subject::Statement(sql.into()), words, status))
    }

    #[test]
    fn what_runs_is_accounted_for_once() {
        assert_eq!(deed("DoGet", "SELECT a FROM t", "OK"), Some(Deed::Read));
        assert_eq!(deed("GetFlightInfo", "SELECT a FROM t", "OK"), None);
        assert_eq!(deed("GetFlightInfo", "SELECT a FROM t", "PERMISSION_DENIED"), Some(Deed::Read));
        assert_eq!(deed("GetFlightInfo", "insert INTO t VALUES (?)", "OK"), Some(Deed::Write));
        assert_eq!(deed("DoGet", "WITH x AS (DELETE FROM t) SELECT ?", "OK"), Some(Deed::Write));
        assert_eq!(deed("DoPut", "CREATE TABLE t (a INT)", "OK"), Some(Deed::Define));
        assert_eq!(deed("DoAction", "CREATE TABLE t (a INT)", "OK"), None);
        let named = |name: &str, status| {
            deed_of(&call("DoAction", Subject::Named(name.into()), Words::default(), status))
        };
        assert_eq!(named("pintail.grant user=ada", "OK"), Some(Deed::Access));
        assert_eq!(named("pintail.user_add name=ada", "PERMISSION_DENIED"), Some(Deed::Access));
        assert_eq!(named("pintail.status", "OK"), None);
        assert_eq!(named("pintail.status", "PERMISSION_DENIED"), Some(Deed::Action));
        assert_eq!(named("pintail.status", "UNAUTHENTICATED"), Some(Deed::Login));
    }

    #[test]
    fn outcomes_are_four() {
        for (status, expected) in [
            ("OK", "ok"),
            ("PERMISSION_DENIED", "refused"),
            ("UNAUTHENTICATED", "refused"),
            ("CANCELLED", "cancelled"),
            ("INVALID_ARGUMENT", "failed"),
        ] {
            assert_eq!(outcome(status), expected);
        }
    }
}
