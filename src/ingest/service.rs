//! The write side of the server: puts begin here, and claims, statistics and upkeep of what puts remember.
//! Runs on: async tasks; what blocks goes to a thread of its own.
//! Never: takes more streams than `ingest.max_streams`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pintail_protocol::header::{COMMIT, IDEMPOTENCY_KEY, PRODUCER, PROGRESS, SOURCES};

use super::admission::{Budget, Intake, StreamBudget};
use super::exactly_once::{Claim, Keyed, Ledger, LineStatus, Loads, ProducerStatus};
use super::group_commit::{self, GroupCommit};
use super::put::Put;
use super::request::PutRequest;
use super::shared::Shared;
use crate::catalog::{Declarations, TableName};
use crate::config;
use crate::engine::Database;
use crate::error::{Error, Kind, Result};
use crate::session::Share;

/// The write side of the server.
pub struct Ingest {
    shared: Arc<Shared>,
    budget: Arc<Budget>,
    group_commit: Option<Arc<GroupCommit>>,
}

impl Ingest {
    /// A write side over `database` within the bounds of `config`, held to `declarations`.
    ///
    /// Errors: `Invalid` when the database's ledger cannot be read.
    pub fn new(
        database: Arc<Database>,
        config: &config::Ingest,
        declarations: Arc<Declarations>,
    ) -> Result<Self> {
        let ledger = Ledger::open(&database, config.ledger_keys, config.ledger_producers)?;
        let loads = Loads::open(&database)?;
        let shared = Arc::new(Shared {
            database,
            declarations,
            ledger,
            loads,
            tables: Arc::default(),
            creating: Mutex::new(()),
            idle_timeout: config.idle_timeout.0,
        });
        let group_commit = (config.group_commit_ms > 0).then(|| {
            let wait = Duration::from_millis(config.group_commit_ms);
            shared.database.group_small_inserts(wait);
            group_commit::start(&shared, wait)
        });
        Ok(Self {
            shared,
            budget: Budget::new(
                config.memory_limit.as_usize(),
                config.stream_memory_limit.as_usize(),
                config.max_streams,
            ),
            group_commit,
        })
    }

    /// The right to apply a stream under an idempotency key, or what it did the first time.
    pub async fn claim_key(&self, key: &str, table: &TableName) -> Result<Keyed> {
        self.shared.ledger.claim_key(key, table).await
    }

    /// The right to send batches for a producer into `table`. A new epoch is durable when this returns.
    pub async fn claim_producer(&self, producer: &str, epoch: u64, table: &TableName) -> Result<Claim> {
        let claim = self.shared.ledger.claim_producer(producer, epoch, table).await?;
        if !claim.has_new_epoch() {
            return Ok(claim);
        }
        let shared = Arc::clone(&self.shared);
        #[expect(clippy::disallowed_methods, reason = "this is the bridge: the engine blocks")]
        let written = tokio::task::spawn_blocking(move || {
            shared.ledger.record_epoch(&shared.database, &claim).map(|()| claim)
        });
        written.await.map_err(|error| Error::internal(format!("an epoch was not written down: {error}")))?
    }

    /// Where a producer stands; `None` when nothing of it is known.
    pub fn producer_status(&self, producer: &str) -> Option<ProducerStatus> {
        self.shared.ledger.status(producer)
    }

    /// Every producer that is remembered, its newest epoch, and where it stands with each table.
    pub fn producers(&self) -> Vec<(String, u64, LineStatus)> {
        self.shared.ledger.producers()
    }

    /// Reads again what the database remembers, after it was opened anew. Blocks.
    pub fn recover(&self) -> Result<()> {
        self.shared.ledger.reload(&self.shared.database)?;
        self.shared.loads.reload(&self.shared.database)
    }

    /// Forgets what files were stored in `table`, and gives the table's name as it is remembered and the number of their
    /// pieces.
    ///
    /// Errors: `Aborted` while the table is being replaced, or takes files.
    pub async fn forget_loads(&self, table: TableName) -> Result<(String, u64)> {
        let shared = Arc::clone(&self.shared);
        #[expect(clippy::disallowed_methods, reason = "this is the bridge: the engine blocks")]
        let forgotten = tokio::task::spawn_blocking(move || {
            let _turn = shared.tables.turn(&table, &table)?;
            let forgotten = shared.loads.forget(&shared.database, &table)?;
            Ok((table.in_ledger(), forgotten))
        });
        forgotten.await.map_err(|error| Error::internal(format!("loads were not forgotten: {error}")))?
    }

    /// Cuts the ledger back when it has grown, on a thread of its own.
    pub fn tidy(self: Arc<Self>) {
        if !self.shared.ledger.has_grown() {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "this is the bridge: the engine blocks")]
        tokio::task::spawn_blocking(move || {
            if let Err(error) = self.shared.ledger.compact(&self.shared.database) {
                // The next round tries again; what is remembered does not depend on it.
                tracing::warn!(%error, "the ingest ledger could not be cut back");
            }
        });
    }

    /// Starts a put. What is wrong with the table or the schema comes out of the first `send` or `finish`.
    ///
    /// Errors: `Exhausted` when `ingest.max_streams` puts are open; `Conflict` for a claim inside a transaction of
    /// the client, whose commit nobody could record.
    pub fn begin(&self, request: PutRequest) -> Result<Put> {
        check_commits_by_itself(&request)?;
        let budget = StreamBudget::open(&self.budget, request.lease.share())?;
        Ok(Put::begin(request, &self.shared, budget, self.group_commit.as_ref()))
    }

    /// A place for a stream whose rows are looked at and not stored.
    ///
    /// Errors: `Exhausted` when `ingest.max_streams` puts are open.
    pub fn intake(&self, share: Option<&Arc<Share>>) -> Result<Intake> {
        Ok(Intake::new(Arc::new(StreamBudget::open(&self.budget, share)?)))
    }

    /// Bytes that a message of a stream may unpack to.
    pub fn stream_bytes(&self) -> usize {
        self.budget.stream_bytes()
    }

    /// Whether the table with this full name is declared.
    pub fn is_declared(&self, table: &TableName) -> bool {
        self.shared.declared(table).is_some()
    }

    /// What declared tables are held to.
    pub fn declarations(&self) -> &Arc<Declarations> {
        &self.shared.declarations
    }

    /// Bytes of batches between the wire and the commit.
    pub fn inflight_bytes(&self) -> u64 {
        self.budget.inflight_bytes()
    }

    /// Bytes of messages that wait for room.
    pub fn waiting_bytes(&self) -> u64 {
        self.budget.waiting_bytes()
    }

    /// Put streams open.
    pub fn streams_open(&self) -> u64 {
        self.budget.streams_open()
    }
}

/// Refuses what commits by itself inside of a client's transaction, whose commit nobody could record.
fn check_commits_by_itself(request: &PutRequest) -> Result<()> {
    let PutRequest { lease, terms, .. } = request;
    if lease.is_pooled() {
        return Ok(());
    }
    let refused = |kind, headers: String| {
        let text = format!(
            "a put with {headers} commits by itself, so it cannot be part of a transaction; end that first"
        );
        Err(Error::new(kind, text))
    };
    if terms.claim.is_some() {
        return refused(Kind::Conflict, format!("{IDEMPOTENCY_KEY} or {PRODUCER}"));
    }
    if terms.commit.is_progress() {
        return refused(Kind::Conflict, format!("{COMMIT} {PROGRESS}"));
    }
    if terms.sources.is_some() {
        return refused(Kind::Invalid, SOURCES.to_owned());
    }
    Ok(())
}
