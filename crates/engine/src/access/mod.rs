//! What somebody who is no admin may do, and how every statement of theirs is held to it.
//!
//! The engine has no users. So a statement is planned by the engine before it runs, and the *bound plan*, not the text, says
//! what it reads, changes and defines ([`facts`]): views, macros, CTEs and subqueries are resolved in it. What is not known
//! in a plan is refused ([`verdict`]). Where a table is granted in part, its name in the parse tree is replaced ([`tree`]) by
//! that of a *window* ([`window`]): one of the engine's own secure views, which no condition of the client's is evaluated
//! below. The plan of what came out is checked again: a table that is granted in part may stand in it only under its
//! window.
//! Runs on: the thread of the connection; blocks for a plan.
//! Never: looks at a statement of an admin, or of the server itself.

#[allow(clippy::module_inception, reason = "the folder is about this one type")]
mod access;
mod check;
mod facts;
mod guard;
mod listing;
mod planner;
mod refusal;
mod resolver;
mod store;
mod tree;
mod unplanned;
mod verdict;
mod window;

#[cfg(test)]
mod tests;

pub use access::{Access, Grant, Level, Right, Tables};
pub use check::check_grant;
pub(crate) use guard::{Admitted, Asked, admit};
pub use store::{StoredGrant, create_grants, forget_grant, keep_grant, read_grants};
pub(crate) use window::{DATABASE, Windows};
