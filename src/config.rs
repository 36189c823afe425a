//! Config: what an operator can set, where it may be set, and what a wrong value says.
//! Sources, strongest first: command-line flag, `PINTAIL_` environment, TOML file, default.
//! Runs on: any thread.
//! Never: reads the environment after start.

mod auth;
mod check;
mod in_force;
mod load;
mod machine;
mod problems;
mod units;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use auth::{Anonymous, Jwt, Secret, User};
pub use load::Flags;
pub use machine::Machine;
pub use units::{Bytes, Span};

use units::MIB;

use crate::auth::Role;

/// Everything an operator can set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Sockets and the wire.
    pub server: Server,
    /// The DuckDB database behind the server.
    pub database: Database,
    /// Declared tables.
    pub schemas: Schemas,
    /// Bounds of the write path.
    pub ingest: Ingest,
    /// Bounds of the read path.
    pub query: Query,
    /// Bounds of what lasts between calls.
    pub session: Session,
    /// Who may come in.
    pub auth: Auth,
    /// What is logged, and how.
    pub log: Log,
}

impl Config {
    /// The role of callers without credentials; `None` where there are to be none.
    pub fn anonymous(&self) -> Option<Role> {
        let default = if self.server.listen.ip().is_loopback() { Anonymous::Admin } else { Anonymous::Off };
        self.auth.anonymous.unwrap_or(default).role()
    }
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address of the Flight port. Port 0 picks a free one. Default `127.0.0.1:8815`.
    #[serde(deserialize_with = "units::address")]
    pub listen: SocketAddr,
    /// Address of the HTTP port (`/`, `/query`, `/ingest`, `/livez`, `/readyz`, `/metrics`). Default `127.0.0.1:8816`.
    #[serde(deserialize_with = "units::address")]
    pub http: SocketAddr,
    /// Names that the HTTP port answers to, beside addresses and `localhost`: a name that leads here because somebody else says
    /// so is refused. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_hosts: Vec<String>,
    /// Certificate chain (PEM) that the ports serve TLS with; read again when it changes. Default: none, so no TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of `tls_cert`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Certificates (PEM) of who signs those of clients: with them, a client has to have one. The common name in it is
    /// the user, where a call says nothing else. Default: none, clients need no certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// Listen beyond loopback without TLS, or without users. Default false.
    pub insecure: bool,
    /// Open Flight connections; further ones are closed at once. Default 1024.
    pub max_connections: usize,
    /// How long a new connection may take to begin with HTTP/2 and, where nobody comes in without credentials, to log in.
    /// Default 10 s.
    pub handshake_timeout: Span,
    /// Largest gRPC message taken from a client. Default 256 MiB; too small refuses wide batches.
    pub max_message_bytes: Bytes,
    /// Memory that the process may take. Above it, the statement that has worked for longest without giving a batch is stopped
    /// with RESOURCE_EXHAUSTED, until it is below. Default: nine tenths of the cgroup's limit, or of the machine's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Bytes>,
    /// How long SIGTERM waits for calls in flight before it interrupts them. Default 30 s.
    pub drain_timeout: Span,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8815)),
            http: SocketAddr::from(([127, 0, 0, 1], 8816)),
            http_hosts: Vec::new(),
            tls_cert: None,
            tls_key: None,
            client_ca: None,
            insecure: false,
            max_connections: 1024,
            handshake_timeout: Span(Duration::from_secs(10)),
            max_message_bytes: Bytes::mib(256),
            memory_limit: None,
            drain_timeout: Span(Duration::from_secs(30)),
        }
    }
}

/// `[database]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// Database file, or `:memory:`. Default `pintail.duckdb`.
    pub path: String,
    /// DuckDB's buffer memory. Default: half of the cgroup's limit, or of the machine's memory, or of `server.memory_limit`
    /// where that is set. Too small makes large sorts spill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Bytes>,
    /// DuckDB's worker threads. Default: the number of cores, or the cgroup's quota of them, rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Where DuckDB spills. Default: the database's path with `.tmp` appended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temp_directory: Option<PathBuf>,
    /// Disk that spilling may use. Default 64 GiB.
    pub max_temp_size: Bytes,
    /// WAL size at which the background checkpoint runs. Default 32 MiB: commits wait for a checkpoint, and a start after
    /// a crash replays this much. Larger checkpoints less often, and for longer.
    pub checkpoint_bytes: Bytes,
    /// How long a transaction that deletes, replaces or updates rows may keep checkpoints off once the log is twice
    /// `checkpoint_bytes`; then it is rolled back. Default 5 min. `pintail status` names those that do.
    pub checkpoint_hold: Span,
    /// DuckDB's ICU extension, a file built for this engine's version. Default: none; the time zone functions
    /// that are built in are used. The file is loaded whether it is signed or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icu_extension: Option<PathBuf>,
    /// Folder that `pintail backup` may write into; names are resolved there, and none leads out of it.
    /// Default: the folder of the database file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_directory: Option<PathBuf>,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            path: "pintail.duckdb".into(),
            memory_limit: None,
            threads: None,
            temp_directory: None,
            max_temp_size: Bytes(64 * 1024 * MIB),
            checkpoint_bytes: Bytes::mib(32),
            checkpoint_hold: Span(Duration::from_secs(300)),
            icu_extension: None,
            backup_directory: None,
        }
    }
}

impl Database {
    /// The folder for backups: the setting, or that of the database file; `None` for a database in memory.
    pub fn backup_folder(&self) -> Option<PathBuf> {
        if let Some(folder) = &self.backup_directory {
            return Some(folder.clone());
        }
        let folder = Path::new(&self.path).parent().filter(|_| self.path != ":memory:")?;
        Some(if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() })
    }
}

/// `[schemas]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schemas {
    /// Folder of declarations, one table in each `*.toml`. Default: `pintail serve` takes `./schemas` if it is
    /// there; without a folder, the declarations recorded in the database are in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Whether the start brings the database to its declarations. Default true; with false, differences are logged.
    pub apply_at_start: bool,
}

impl Default for Schemas {
    fn default() -> Self {
        Self { dir: None, apply_at_start: true }
    }
}

/// `[ingest]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// Bytes of batches in flight over all put streams, in their plain form. Default 512 MiB.
    pub memory_limit: Bytes,
    /// Bytes of batches in flight of one put stream, and what one message may unpack to. Default 256 MiB.
    pub stream_memory_limit: Bytes,
    /// Bytes of messages being received, or waiting for room, over all put streams; larger ones pass alone. Default 256 MiB.
    pub receive_memory_limit: Bytes,
    /// Put streams at one time. Default 256.
    pub max_streams: usize,
    /// Whether a put may create its table when no mode is given. Default true.
    pub auto_create: bool,
    /// A put stream that sends nothing for this long is rolled back. Default 5 min.
    pub idle_timeout: Span,
    /// How long small puts into one table wait for others to share their commit, in milliseconds. Default 2; 0
    /// gives each its own commit. Puts that come one after the other do not wait.
    pub group_commit_ms: u64,
    /// Idempotency keys remembered; the oldest are forgotten first. Default 100000, some 200 bytes each.
    pub ledger_keys: usize,
    /// Producers remembered, each per table; those unused for longest are forgotten first. Default 10000.
    pub ledger_producers: usize,
    /// Directories on the server's machine that the action `pintail.load` may load files from, for whoever may put rows into the
    /// table. Relative names are below the first one. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub load_directories: Vec<PathBuf>,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            memory_limit: Bytes::mib(512),
            stream_memory_limit: Bytes::mib(256),
            receive_memory_limit: Bytes::mib(256),
            max_streams: 256,
            auto_create: true,
            idle_timeout: Span(Duration::from_secs(300)),
            group_commit_ms: 2,
            ledger_keys: 100_000,
            ledger_producers: 10_000,
            load_directories: Vec::new(),
        }
    }
}

/// `[query]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    /// Queries running at one time. Default 32.
    pub max_concurrent: usize,
    /// Queries waiting for a place. Default 256.
    pub max_queued: usize,
    /// How long a query waits for a place. Default 30 s.
    pub queue_timeout: Span,
    /// Longest run of one query, its stream included. `0 s` means no limit, the default.
    pub timeout: Span,
    /// A reader that takes no batch for this long is cut, because it pins a snapshot. Default 5 min.
    pub stall_timeout: Span,
    /// The same while another query waits for a place. Default 10 s.
    pub busy_stall_timeout: Span,
    /// Size that result batches are brought to. Default 1792 KiB: messages of 1-2 MiB, below clients' 4 MiB.
    pub batch_bytes: Bytes,
    /// Result bytes buffered per query, by DuckDB and again behind it. Default 8 MiB.
    pub buffer_bytes: Bytes,
    /// Gather results with the engine's own code instead of the server's, which is faster and bounds arrays in bytes.
    /// Default false; for when an array is in doubt.
    pub engine_arrays: bool,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            max_concurrent: 32,
            max_queued: 256,
            queue_timeout: Span(Duration::from_secs(30)),
            timeout: Span(Duration::ZERO),
            stall_timeout: Span(Duration::from_secs(300)),
            busy_stall_timeout: Span(Duration::from_secs(10)),
            batch_bytes: Bytes(1792 * 1024),
            buffer_bytes: Bytes::mib(8),
            engine_arrays: false,
        }
    }
}

/// `[session]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Session {
    /// Sessions known by cookie, and as many by bearer token. Default 1024.
    pub max_sessions: usize,
    /// A session that makes no call for this long loses its temporary tables, transactions, prepared
    /// statements and options. Default 30 min.
    pub idle_timeout: Span,
    /// A bearer token that stands for a password is taken for this long after the log in, however often it is used.
    /// Default 12 h.
    pub login_lifetime: Span,
    /// Queries of one session running at one time; more of them wait, whatever place is free. Default 16.
    pub max_queries: usize,
    /// Transactions open at one time. Default 64; each holds a connection and pins a snapshot.
    pub max_transactions: usize,
    /// A transaction that is not used for this long is rolled back. Default 5 min.
    pub transaction_idle_timeout: Span,
    /// Prepared statements of one session. Default 256.
    pub max_prepared: usize,
    /// Bytes of rows bound to prepared statements, over all sessions. Default 256 MiB.
    pub bound_memory_limit: Bytes,
    /// Tickets that can be fetched at one time, half of them by one session. Default 10000.
    pub max_tickets: usize,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            max_sessions: 1024,
            idle_timeout: Span(Duration::from_secs(1800)),
            login_lifetime: Span(Duration::from_secs(12 * 3600)),
            max_queries: 16,
            max_transactions: 64,
            transaction_idle_timeout: Span(Duration::from_secs(300)),
            max_prepared: 256,
            bound_memory_limit: Bytes::mib(256),
            max_tickets: 10_000,
        }
    }
}

/// `[auth]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// What callers without credentials are: `admin`, `writer`, `reader`, or `off`. Default: `admin` on loopback, `off`
    /// elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Anonymous>,
    /// Users of the configuration, beside those of `pintail user`. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<User>,
    /// File of API tokens (TOML: `[[token]]` with `name`, `user`, `role`, `tables`, `hash`, `expires`), beside those of
    /// `pintail token`; read again when it changes. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_file: Option<PathBuf>,
    /// JSON web tokens: `jwks_file`, `issuer`, `audience`, `algorithms`, `user_claim`, `role_claim`. Default: none are
    /// taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// What the log and the tables `pintail.*` show of statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statements {
    /// Words and names; `?` in the place of each literal, and of what errors quote.
    #[default]
    Masked,
    /// All of it.
    Full,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `human` or `json`. Default: `human` on a terminal, else `json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<LogFormat>,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `pintail=debug`. Default `info`.
    pub level: String,
    /// Queries slower than this are logged as warnings, with their plans. Default 1000.
    pub slow_query_ms: u64,
    /// What is shown of statements, in lines and in the tables `pintail.*`: `masked`, with `?` in the place of literals and of
    /// what errors quote, or `full`. Default `masked`.
    pub statements: Statements,
    /// Calls that `pintail.queries` and `pintail.ingest` remember, each; `pintail.audit` remembers ten times as much. Some 2 KiB
    /// each. Default 1000.
    pub recent: usize,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: None,
            level: "info".into(),
            slow_query_ms: 1000,
            statements: Statements::Masked,
            recent: 1000,
        }
    }
}

#[cfg(test)]
mod tests;
