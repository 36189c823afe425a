//! The server while it is sent what is damaged: it lives, a well-behaved client is answered, and memory stays where it is.

use std::collections::BTreeMap;
use std::time::Instant;

use pintail::client::Client;
use tonic::{Code, Status};

use crate::support::batches::wells;
use crate::support::calls::{number, put, rows};
use crate::support::process::{Process, free_port};

/// What memory may grow by from a run's first third to its last, in MiB.
const GROWTH_MAX: i64 = 64;
/// Rows of the table that nobody writes to, and their checksum.
const KEPT: &str = "SELECT sum(hash(k))::VARCHAR::HUGEINT % 1000000007 + count(*) FROM kept k";

/// A server, its well-behaved client, and what was seen.
pub struct Watch {
    _directory: tempfile::TempDir,
    process: Process,
    client: Client,
    kept: i64,
    healthy: u64,
    memory: Vec<i64>,
    outcomes: BTreeMap<String, u64>,
    started: Instant,
}

impl Watch {
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = [
            ("DATABASE__MEMORY_LIMIT", "512 MiB"),
            ("INGEST__STREAM_MEMORY_LIMIT", "64 MiB"),
            ("INGEST__MEMORY_LIMIT", "128 MiB"),
            ("AUTH__ANONYMOUS", "admin"),
        ];
        let process = Process::start(directory.path(), free_port(), &settings);
        let mut client = Client::connect(&process.uri()).await.unwrap();
        let made = "CREATE TABLE kept AS SELECT range AS n, 'text ' || range AS t, [range, NULL] AS l FROM range(20000)";
        rows(&mut client, made).await.unwrap();
        let kept = number(&mut client, KEPT).await;
        Self {
            _directory: directory,
            process,
            client,
            kept,
            healthy: 0,
            memory: Vec::new(),
            outcomes: BTreeMap::new(),
            started: Instant::now(),
        }
    }

    pub fn uri(&self) -> String {
        self.process.uri()
    }

    /// Takes an outcome in, which is to be rows or a status that blames the bytes.
    pub fn note(&mut self, outcome: Result<usize, Status>, what: &dyn Fn() -> String) {
        let code = outcome.as_ref().err().map_or(Code::Ok, Status::code);
        let blames_the_server =
            matches!(code, Code::Unknown | Code::Internal | Code::DataLoss | Code::Unavailable);
        assert!(!blames_the_server, "{outcome:?}\n  of {}\n{}", what(), self.process.last_words());
        *self.outcomes.entry(format!("{code:?}")).or_default() += 1;
    }

    /// Looks whether all is well.
    pub async fn look(&mut self) {
        let batch = wells(self.healthy as i64 * 10, 10);
        self.healthy += 1;
        put(&mut self.client, "healthy", &[batch], "create_append").await.unwrap();
        let stored = number(&mut self.client, "SELECT count(*) FROM healthy").await;
        assert_eq!(stored as u64, self.healthy * 10, "what a well-behaved client puts is stored");
        assert_eq!(number(&mut self.client, KEPT).await, self.kept, "rows of a table that nobody writes to");
        self.memory.push(self.process.memory_mib() as i64);
    }

    /// Prints the figures of the run, and compares memory of its first third with that of its last.
    pub fn end(self, messages: u64, what: &str) {
        let third = self.memory.len().div_ceil(3);
        let most = |part: &[i64]| part.iter().copied().max().unwrap_or_default();
        let (first, last) = (most(&self.memory[..third]), most(&self.memory[self.memory.len() - third..]));
        println!(
            "  {messages} {what} in {:.1} s: {:?}; resident {first} MiB in the first third, {last} MiB in the last, peak {} MiB; \
             {} panics caught",
            self.started.elapsed().as_secs_f64(),
            self.outcomes,
            self.process.peak_memory_mib(),
            self.process.log().matches("panicked").count(),
        );
        assert!(last - first <= GROWTH_MAX, "memory grows: {:?}", self.memory);
    }
}
