//! Values that can be read and cannot work.
//! Runs on: any thread.

use std::collections::HashSet;

use super::problems::Problem;
use super::units::{Bytes, MIB};
use super::{Auth, Config};
use crate::auth::{check_hash, check_name};
use crate::error::{Error, Result};

impl Config {
    /// Checks values that parse but cannot work.
    ///
    /// Errors: `Invalid` naming every such setting and what was expected.
    pub fn validate(&self) -> Result<()> {
        let problems = self.problems();
        if problems.is_empty() {
            return Ok(());
        }
        let texts: Vec<String> =
            problems.iter().map(|problem| format!("setting {}: {}", problem.key, problem.expected)).collect();
        Err(Error::invalid(texts.join("; ")))
    }

    /// Every setting that is wrong.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut refuse = |key: &str, expected: &str| problems.push(Problem::new(key, expected));
        for (key, address) in [("server.listen", self.server.listen), ("server.http", self.server.http)] {
            if !self.server.insecure && !address.ip().is_loopback() && !self.is_safe_in_public() {
                refuse(
                    key,
                    "refusing to listen beyond loopback without TLS and users: set server.tls_cert and server.tls_key \
                     (or pass --tls-self-signed), and leave auth.anonymous at \"off\"; or pass --insecure to do so anyway",
                );
            }
        }
        if self.server.tls_cert.is_some() != self.server.tls_key.is_some() {
            let (missing, given) = match self.server.tls_cert {
                Some(_) => ("server.tls_key", "server.tls_cert"),
                None => ("server.tls_cert", "server.tls_key"),
            };
            refuse(missing, &format!("missing; {given} needs it"));
        }
        if self.server.client_ca.is_some() && self.server.tls_cert.is_none() {
            refuse("server.client_ca", "needs server.tls_cert and server.tls_key");
        }
        self.auth.problems(&mut refuse);
        if self.server.max_message_bytes.0 < MIB {
            refuse("server.max_message_bytes", "must be at least 1 MiB");
        }
        if self.server.max_connections == 0 {
            refuse("server.max_connections", "must be at least 1");
        }
        if self.server.memory_limit.is_some_and(|limit| limit < Bytes::mib(128)) {
            refuse("server.memory_limit", "must be at least 128 MiB");
        }
        if self.server.memory_limit.is_some_and(|limit| limit.0 < self.engine_memory_bytes()) {
            refuse("server.memory_limit", "must not be below database.memory_limit");
        }
        if self.database.path.is_empty() {
            refuse("database.path", "must be a file or \":memory:\"");
        }
        if let Some(folder) = self.database.backup_directory.as_ref().filter(|folder| !folder.is_dir()) {
            let why = format!("expected a folder, found none at {}; make it first", folder.display());
            refuse("database.backup_directory", &why);
        }
        if self.database.threads == Some(0) {
            refuse("database.threads", "must be at least 1");
        }
        if self.database.memory_limit.is_some_and(|limit| limit < Bytes::mib(64)) {
            refuse("database.memory_limit", "must be at least 64 MiB");
        }
        if self.ingest.stream_memory_limit < Bytes::mib(8) {
            refuse("ingest.stream_memory_limit", "must be at least 8 MiB");
        }
        if self.ingest.memory_limit < self.ingest.stream_memory_limit {
            refuse("ingest.memory_limit", "must not be below ingest.stream_memory_limit");
        }
        if self.ingest.max_streams == 0 {
            refuse("ingest.max_streams", "must be at least 1");
        }
        if self.ingest.group_commit_ms > 10_000 {
            refuse("ingest.group_commit_ms", "must be at most 10000");
        }
        for (key, limit) in [
            ("ingest.ledger_keys", self.ingest.ledger_keys),
            ("ingest.ledger_producers", self.ingest.ledger_producers),
        ] {
            if limit == 0 {
                refuse(key, "must be at least 1");
            }
        }
        for folder in
            self.ingest.load_directories.iter().filter(|folder| !folder.is_absolute() || !folder.is_dir())
        {
            let why = format!("expected folders by their absolute paths, found {}", folder.display());
            refuse("ingest.load_directories", &why);
        }
        if self.query.max_concurrent == 0 {
            refuse("query.max_concurrent", "must be at least 1");
        }
        if self.server.handshake_timeout.0.is_zero() {
            refuse("server.handshake_timeout", "must be longer than 0 s");
        }
        if self.ingest.receive_memory_limit < Bytes::mib(8) {
            refuse("ingest.receive_memory_limit", "must be at least 8 MiB");
        }
        if self.query.stall_timeout.0.is_zero() {
            refuse("query.stall_timeout", "must be longer than 0 s");
        }
        if self.query.busy_stall_timeout.0.is_zero() {
            refuse("query.busy_stall_timeout", "must be longer than 0 s");
        }
        if self.query.batch_bytes < Bytes(64 * 1024) || self.query.batch_bytes > Bytes::mib(64) {
            refuse("query.batch_bytes", "must be between 64 KiB and 64 MiB");
        }
        for (key, limit) in [
            ("session.max_sessions", self.session.max_sessions),
            ("session.max_queries", self.session.max_queries),
            ("session.max_transactions", self.session.max_transactions),
            ("session.max_prepared", self.session.max_prepared),
            ("session.max_tickets", self.session.max_tickets),
        ] {
            if limit == 0 {
                refuse(key, "must be at least 1");
            }
        }
        if self.session.login_lifetime.0.is_zero() {
            refuse("session.login_lifetime", "must be longer than 0 s");
        }
        if self.log.recent > 1_000_000 {
            refuse("log.recent", "must be at most 1000000");
        }
        if self.query.buffer_bytes < self.query.batch_bytes {
            refuse("query.buffer_bytes", "must not be below query.batch_bytes");
        }
        problems
    }
}

impl Config {
    /// Whether what is said on the wire is secret, and everybody has to say who they are.
    fn is_safe_in_public(&self) -> bool {
        self.server.tls_cert.is_some() && self.server.tls_key.is_some() && self.anonymous().is_none()
    }
}

impl Auth {
    fn problems(&self, refuse: &mut impl FnMut(&str, &str)) {
        let mut names = HashSet::new();
        for user in &self.users {
            if let Err(error) = check_name("user", &user.name) {
                refuse("auth.users", error.message());
            }
            if !names.insert(&user.name) {
                refuse("auth.users", &format!("user \"{}\" stands there twice", user.name));
            }
            if let Err(expected) = check_hash(user.password_hash.expose()) {
                refuse("auth.users", &format!("user \"{}\", password_hash: {expected}", user.name));
            }
        }
        let Some(jwt) = &self.jwt else { return };
        if jwt.algorithms.is_empty() {
            refuse("auth.jwt.algorithms", "must name at least one, such as \"RS256\"");
        }
        for (key, text) in [("auth.jwt.issuer", &jwt.issuer), ("auth.jwt.audience", &jwt.audience)] {
            if text.is_empty() {
                refuse(key, "must not be empty");
            }
        }
    }
}
