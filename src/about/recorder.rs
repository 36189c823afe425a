//! Takes note of calls as they begin and end, and tells of them.
//! Runs on: any thread; locks for a moment.
//! Never: keeps the database open: the database has the recorder, which has it weakly where it matters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::SystemTime;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::audit::Accounted;
use super::entry::{Ended, Live, ProducerLine, Who};
use super::ring::Ring;
use super::slow::Explaining;
use super::tables;
use super::words::{Masking, Subject, Words};
use crate::config::{Config, Statements};
use crate::engine::{Access, Database, SchemaPath, Teller};
use crate::error::{Error, Kind, Result};

/// What the recorder asks others for when somebody looks.
pub struct Sources {
    /// Producers that are remembered.
    pub producers: Box<dyn Fn() -> Vec<ProducerLine> + Send + Sync>,
    /// Metrics in the text format of Prometheus.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
}

/// What the server knows of its own work.
pub struct Recorder {
    masking: Arc<Masking>,
    explaining: Arc<Explaining>,
    calls: AtomicU64,
    running: Mutex<BTreeMap<u64, Arc<Live>>>,
    queries: Ring<Ended>,
    puts: Ring<Ended>,
    audit: Ring<Accounted>,
    settings: Vec<(String, String)>,
    sources: OnceLock<Sources>,
}

/// Tells the engine's SELECTs.
struct Telling(Weak<Recorder>);

impl Recorder {
    /// A recorder of the work on `database`, whose tables can be read from now on.
    pub fn new(database: &Arc<Database>, config: &Config) -> Arc<Self> {
        let kept = config.log.recent;
        let recorder = Arc::new(Self {
            masking: Arc::new(Masking::new(Arc::clone(database), config.log.statements == Statements::Full)),
            explaining: Arc::new(Explaining::new(Arc::clone(database))),
            calls: AtomicU64::new(0),
            running: Mutex::default(),
            queries: Ring::new(kept),
            puts: Ring::new(kept),
            audit: Ring::new(kept.saturating_mul(10)),
            settings: tables::settings(&config.to_toml()),
            sources: OnceLock::new(),
        });
        database.told_by(Arc::new(Telling(Arc::downgrade(&recorder))));
        recorder
    }

    /// Takes those who know the rest. The first ones stay.
    pub fn asks(&self, sources: Sources) {
        let _ = self.sources.set(sources);
    }

    /// A number for a call that begins.
    pub fn number(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A statement of a call begins.
    pub fn begins(
        &self,
        id: u64,
        who: Who,
        (method, sql): (&'static str, Arc<str>),
        (started, memory_before): (SystemTime, u64),
        trace: Option<String>,
    ) -> Arc<Live> {
        let live = Arc::new(Live::new(id, who, method, sql, (started, memory_before), trace));
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&live));
        live
    }

    /// What may be shown of what a call is about.
    pub fn words(&self, subject: &Subject) -> Arc<Words> {
        self.masking.words(subject)
    }

    /// What may be shown of why it failed.
    pub fn error(&self, words: &Words, error: &str) -> String {
        self.masking.error(words, error)
    }

    /// A call has ended.
    pub fn ended(&self, ended: Ended) {
        if let Some(accounted) = Accounted::of(&ended) {
            self.account(accounted);
        }
        let (id, ended) = (ended.id, Arc::new(ended));
        match &ended.subject {
            Subject::Statement(_) => self.queries.add(ended),
            Subject::Put(_) => self.puts.add(ended),
            Subject::Nothing | Subject::Named(_) => {}
        }
        // After that, so that a statement is there at any time.
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    fn account(&self, accounted: Accounted) {
        accounted.log();
        self.audit.add(Arc::new(accounted));
    }

    /// Somebody has come in: a session of theirs begins.
    pub fn logged_in(&self, who: Who, trace: Option<String>) {
        self.account(Accounted::login(who, trace));
    }

    /// Logs the plan of a slow query, as it would be made now, with names looked up in `path`.
    pub fn explain_later(&self, call: u64, sql: Arc<str>, path: Option<SchemaPath>) {
        self.explaining.explain_later(&self.masking, call, sql, path);
    }

    /// Statements under way, the oldest first.
    fn running(&self) -> Vec<Arc<Live>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }
}

impl Teller for Telling {
    fn schema(&self, table: &str) -> Option<SchemaRef> {
        tables::schema(table)
    }

    fn rows(&self, table: &str, viewer: Option<&Access>) -> Result<RecordBatch> {
        let recorder = self.0.upgrade().ok_or_else(|| {
            Error::new(Kind::Unavailable, "the server is stopping, and tells no more of itself")
        })?;
        let is_for_admins = ["audit", "settings", "metrics"].contains(&table);
        if is_for_admins && viewer.is_some() {
            return Err(Error::new(Kind::Denied, format!("table pintail.{table} is for admins")));
        }
        let sees = |who: &Who| viewer.is_none_or(|viewer| viewer.is_of(&who.user, who.token.as_deref()));
        match table {
            "queries" => {
                let ended: Vec<_> =
                    recorder.queries.all().into_iter().filter(|ended| sees(&ended.who)).collect();
                let mut running = recorder.running();
                running.retain(|live| sees(&live.who) && ended.iter().all(|ended| ended.id != live.id));
                let running: Vec<_> = running
                    .into_iter()
                    .map(|live| {
                        let words = recorder.masking.words(&Subject::Statement(Arc::clone(&live.sql)));
                        (live, words)
                    })
                    .collect();
                tables::queries(&ended, &running)
            }
            "ingest" => {
                let puts: Vec<_> = recorder.puts.all().into_iter().filter(|put| sees(&put.who)).collect();
                tables::ingest(&puts)
            }
            "audit" => tables::audit(&recorder.audit.all()),
            "settings" => tables::pairs(&recorder.settings),
            "metrics" => tables::metrics(
                &recorder.sources.get().map(|sources| (sources.metrics)()).unwrap_or_default(),
            ),
            "producers" => {
                let mut lines =
                    recorder.sources.get().map(|sources| (sources.producers)()).unwrap_or_default();
                lines.retain(|line| {
                    let (schema, name) = line.table.split_once('.').unwrap_or(("main", &line.table));
                    viewer.is_none_or(|viewer| viewer.sees(schema, name))
                });
                tables::producers(&lines)
            }
            _ => Err(Error::not_found(format!("there is no table pintail.{table}"))),
        }
    }
}
