//! What SQL may reach: a change is made once and known as one however it is written, the server's own tables and settings
//! are out of reach, texts too deep for a stack are refused, and a slow reader of a RETURNING holds nothing.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{FlightDescriptor, Ticket};
use futures::TryStreamExt;
use pintail::client::{Authorized, Client};
use pintail::config::Bytes;
use pintail::error::Kind;
use tonic::Code;

use crate::support::batches::wells;
use crate::support::calls::{number, put, put_with, query_error, rows};
use crate::support::database::{file, open};
use crate::support::server::TestServer;

/// The ticket of a statement; a change has been made then.
async fn asked(client: &mut Client, sql: &str) -> Ticket {
    let info = client.inner().get_flight_info(FlightDescriptor::new_cmd(sql.to_owned())).await;
    info.unwrap_or_else(|status| panic!("{sql}: {status}")).into_inner().endpoint[0].ticket.clone().unwrap()
}

async fn fetch(client: &mut Client, ticket: Ticket) -> Result<Vec<RecordBatch>, tonic::Status> {
    let messages = client.inner().do_get(ticket).await?.into_inner().map_err(Into::into);
    let batches = arrow_flight::decode::FlightRecordBatchStream::new_from_flight_data(messages);
    batches.try_collect().await.map_err(Into::into)
}

/// A change is made in GetFlightInfo, once, however it is written and however often its ticket is fetched; GetSchema and
/// CreatePreparedStatement make none.
#[tokio::test]
async fn a_change_is_made_once_however_it_is_written() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut sql_client = sql_client(&server).await;
    for sql in [
        "CREATE TABLE t (a BIGINT)",
        "CREATE SEQUENCE s",
        "CREATE VIEW bumps AS SELECT nextval('s') AS a",
        "CREATE VIEW behind AS FROM bumps",
        "CREATE MACRO bump() AS nextval('s')",
    ] {
        rows(&mut client, sql).await.unwrap();
    }
    let insert = "INSERT INTO t VALUES (1)";
    let in_table = "SELECT count(*) FROM t";
    // nextval itself would count.
    let in_sequence = "SELECT coalesce(max(last_value), 0) FROM duckdb_sequences()";
    for (sql, counted) in [
        (format!("WITH d AS ({insert} RETURNING a) SELECT * FROM d"), in_table),
        (format!("WITH d AS MATERIALIZED ({insert} RETURNING a) FROM d, (SELECT 1)"), in_table),
        (format!("(WITH d AS ({insert} RETURNING a) FROM d)"), in_table),
        (format!("EXPLAIN ANALYZE {insert}"), in_table),
        (format!("EXPLAIN (ANALYZE, FORMAT json) {insert}"), in_table),
        (format!("EXPLAIN ANALYZE WITH d AS ({insert} RETURNING a) FROM d"), in_table),
        (format!("{insert} RETURNING a"), in_table),
        (insert.to_owned(), in_table),
        ("SELECT nextval('s')".to_owned(), in_sequence),
        ("FROM bumps".to_owned(), in_sequence),
        ("SELECT a FROM behind".to_owned(), in_sequence),
        ("SELECT bump()".to_owned(), in_sequence),
        ("FROM query('SELECT nextval(''s'')')".to_owned(), in_sequence),
        ("EXPLAIN ANALYZE SELECT nextval('s')".to_owned(), in_sequence),
    ] {
        let before = number(&mut client, counted).await;
        let descriptor = FlightDescriptor::new_cmd(sql.clone());
        client.inner().get_schema(descriptor).await.unwrap_or_else(|status| panic!("{sql}: {status}"));
        let mut prepared = sql_client.prepare(sql.clone(), None).await.unwrap();
        assert_eq!(number(&mut client, counted).await, before, "{sql}: described");
        let ticket = asked(&mut client, &sql).await;
        assert_eq!(number(&mut client, counted).await, before + 1, "{sql}: asked for");
        let first = fetch(&mut client, ticket.clone()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(fetch(&mut client, ticket.clone()).await.unwrap(), first, "{sql}");
        }
        assert_eq!(number(&mut client, counted).await, before + 1, "{sql}: fetched");
        let info = prepared.execute().await.unwrap();
        for _ in 0..2 {
            fetch(&mut client, info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
        }
        assert_eq!(number(&mut client, counted).await, before + 2, "{sql}: prepared");
        // Its own bytes as a ticket: once per call.
        fetch(&mut client, Ticket::new(sql.clone())).await.unwrap();
        assert_eq!(number(&mut client, counted).await, before + 3, "{sql}: sent as a ticket");
    }
    // EXPLAIN alone plans.
    let before = number(&mut client, in_table).await;
    rows(&mut client, &format!("EXPLAIN {insert}")).await.unwrap();
    assert_eq!(number(&mut client, in_table).await, before);
}

async fn sql_client(server: &TestServer) -> FlightSqlServiceClient<Authorized> {
    FlightSqlServiceClient::new_from_inner(server.client().await.inner().clone())
}

/// A query whose view is exchanged for one that changes something is refused with its old ticket, and nothing is changed.
#[tokio::test]
async fn a_ticket_of_a_query_never_makes_a_change() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE SEQUENCE s").await.unwrap();
    rows(&mut client, "CREATE VIEW v AS SELECT 1::BIGINT AS a").await.unwrap();
    let ticket = asked(&mut client, "FROM v").await;
    let mut prepared = sql_client(&server).await.prepare("FROM v".into(), None).await.unwrap();
    let info = prepared.execute().await.unwrap();
    assert_eq!(fetch(&mut client, ticket.clone()).await.unwrap()[0].num_rows(), 1);
    rows(&mut client, "CREATE OR REPLACE VIEW v AS SELECT nextval('s') AS a").await.unwrap();
    for ticket in [ticket, info.endpoint[0].ticket.clone().unwrap()] {
        let status = fetch(&mut client, ticket).await.unwrap_err();
        assert_eq!(status.code(), Code::Aborted, "{status}");
        assert!(status.message().contains("nothing was changed"), "{status}");
    }
    let last = "SELECT coalesce(max(last_value), 0) FROM duckdb_sequences()";
    assert_eq!(number(&mut client, last).await, 0);
    assert_eq!(number(&mut client, "SELECT a FROM v").await, 1);
}

/// The server's own tables cannot be changed, by whatever way: a key is still known afterwards.
#[tokio::test]
async fn nobody_changes_the_ledger() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let headers = [("pintail-idempotency-key", "k")];
    put_with(&mut client, "t", &[wells(0, 5)], &headers).await.unwrap();
    let ledger = "pintail_internal.ingest_ledger";
    for sql in [
        format!("DELETE FROM {ledger}"),
        format!("TRUNCATE {ledger}"),
        format!("UPDATE {ledger} SET key = 'x'"),
        format!("WITH d AS (DELETE FROM {ledger} RETURNING key) FROM d"),
        format!("WITH d AS (WITH e AS (SELECT 1) DELETE FROM {ledger} RETURNING key) FROM d"),
        format!("WITH d AS (TRUNCATE {ledger}) FROM d"),
        "WITH d AS (DELETE FROM \"Pintail_Internal\" . \"ingest_ledger\" RETURNING key) FROM d".to_owned(),
        format!("EXPLAIN ANALYZE DELETE FROM {ledger}"),
        format!("EXPLAIN (FORMAT json, ANALYZE) DELETE FROM {ledger}"),
        format!("CREATE TABLE x AS WITH d AS (DELETE FROM {ledger} RETURNING *) FROM d"),
        format!("CREATE TRIGGER x AFTER INSERT ON t FOR EACH STATEMENT DELETE FROM {ledger}"),
        format!("CREATE TRIGGER x AFTER INSERT ON {ledger} FOR EACH STATEMENT DELETE FROM t"),
        format!("CREATE VIEW x AS FROM {ledger}"),
        format!("MERGE INTO {ledger} USING t ON false WHEN NOT MATCHED BY SOURCE THEN DELETE"),
        format!("ALTER TABLE {ledger} RENAME TO gone"),
        format!("DROP TABLE {ledger}"),
        "DROP SCHEMA pintail_internal CASCADE".to_owned(),
        "DROP SCHEMA 'pintail_internal' CASCADE".to_owned(),
        "DROP SCHEMA IF EXISTS $$pintail_internal$$ CASCADE".to_owned(),
        format!("INSERT INTO {ledger} (key) VALUES ('z') RETURNING key"),
    ] {
        let error = query_error(&mut client, &sql).await;
        assert!(matches!(error.kind(), Kind::Denied | Kind::Invalid), "{sql}: {error}");
        let status = client.inner().do_get(Ticket::new(sql.clone())).await.err();
        assert!(status.is_some(), "{sql}: sent as a ticket");
    }
    assert_eq!(number(&mut client, &format!("SELECT count(*) FROM {ledger}")).await, 1);
    let again = put_with(&mut client, "t", &[wells(0, 5)], &headers).await.unwrap();
    assert!(again.duplicate);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 5);
}

/// Functions with effects, and those that show what is not the client's, are refused on every way there is.
#[tokio::test]
async fn functions_with_effects_are_not_for_clients() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for call in [
        "enable_logging()",
        "enable_profiling()",
        "disable_logging()",
        "duckdb_secrets()",
        "duckdb_settings()",
    ] {
        for sql in [
            format!("CALL {call}"),
            format!("SELECT * FROM {call}"),
            format!("EXPLAIN ANALYZE CALL {call}"),
            format!("EXPLAIN ANALYZE SELECT * FROM {call}"),
            format!("FROM query('FROM {call}')"),
            format!("CREATE VIEW v AS FROM {call}"),
            format!("CREATE MACRO m() AS TABLE FROM {call}"),
            format!("CREATE TABLE made AS FROM {call}"),
            format!("WITH d AS (FROM {call}) FROM d"),
        ] {
            assert_eq!(query_error(&mut client, &sql).await.kind(), Kind::Denied, "{sql}");
        }
    }
    for (sql, kind) in [
        ("EXPLAIN ANALYZE SET threads = 1", Kind::Denied),
        ("EXPLAIN ANALYZE BEGIN", Kind::Unsupported),
        ("EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/x.csv'", Kind::Denied),
        ("WITH d AS (COPY (SELECT 1) TO '/tmp/x.csv') FROM d", Kind::Denied),
        ("EXPLAIN ANALYZE CHECKPOINT", Kind::Unsupported),
        ("EXPLAIN ANALYZE CREATE TABLE x (a INTEGER)", Kind::Unsupported),
        ("EXPLAIN ANALYZE LOAD json", Kind::Denied),
        ("EXPLAIN ANALYZE PREPARE p AS SELECT 1", Kind::Unsupported),
        ("CREATE PERSISTENT SECRET x (TYPE http)", Kind::Denied),
        ("CREATE MACRO pintail_segment(token) AS TABLE SELECT 1", Kind::Invalid),
        ("CREATE MACRO count(x) AS 0", Kind::Denied),
    ] {
        assert_eq!(query_error(&mut client, sql).await.kind(), kind, "{sql}");
    }
    // What reads still does.
    for sql in [
        "CALL pragma_version()",
        "SELECT current_setting('TimeZone')",
        "FROM duckdb_tables()",
        "SHOW DATABASES",
        "FROM information_schema.schemata",
        "FROM query('SELECT 1')",
        "EXPLAIN ANALYZE SELECT 1",
        "SUMMARIZE SELECT 1 AS a",
        "PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)",
    ] {
        rows(&mut client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// Views, macros and triggers that were in the file before the server started are known for what they do.
#[tokio::test]
async fn what_was_made_earlier_is_known() {
    let directory = TestServer::start().await.stop().await;
    {
        let database = open(file(directory.path()));
        let connection = database.connection().unwrap();
        for sql in [
            "CREATE SEQUENCE s",
            "CREATE VIEW bumps AS SELECT nextval('s') AS a",
            "CREATE VIEW stops AS FROM checkpoint()",
            "CREATE MACRO looks() AS TABLE FROM duckdb_secrets()",
            "CREATE TABLE t (a BIGINT)",
            "CREATE TABLE gone AS SELECT 1 AS a",
            "CREATE TRIGGER x AFTER INSERT ON t FOR EACH STATEMENT DELETE FROM gone",
        ] {
            connection.execute(sql).unwrap();
        }
    }
    let server = TestServer::start_in(directory, |_| {}).await;
    let mut client = server.client().await;
    assert_eq!(query_error(&mut client, "FROM stops").await.kind(), Kind::Unsupported);
    assert_eq!(query_error(&mut client, "FROM looks()").await.kind(), Kind::Denied);
    let ticket = asked(&mut client, "FROM bumps").await;
    for _ in 0..2 {
        let found = fetch(&mut client, ticket.clone()).await.unwrap();
        assert_eq!(found[0].column(0).as_primitive::<Int64Type>().value(0), 1);
    }
    // Puts and INSERTs into a table with a trigger are statements that may delete, and go on.
    put(&mut client, "u", &[wells(0, 10)], "create").await.unwrap();
    rows(&mut client, "INSERT INTO t VALUES (1)").await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM gone").await, 0);
    client.action("pintail.checkpoint").await.unwrap();
}

/// Each kind of nesting is refused beyond its limit, with depth and limit in the text, and the server goes on.
#[tokio::test]
async fn deep_texts_are_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE t (a INTEGER)").await.unwrap();
    let nested =
        |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(300), close.repeat(300));
    for (sql, part) in [
        (format!("SELECT {}", nested("(", "1", ")")), "300 levels"),
        (format!("SELECT {}", nested("[", "1", "]")), "300 levels"),
        (format!("SELECT {}", nested("{'a': ", "1", "}")), "300 levels"),
        (format!("SELECT {}", nested("abs(", "1", ")")), "300 levels"),
        (format!("SELECT {}", nested("CASE WHEN true THEN ", "1", " END")), "300 levels"),
        (nested("SELECT * FROM (", "SELECT 1", ")"), "300 levels"),
        (format!("SELECT 1 UNION {}", nested("(SELECT 1 UNION ", "SELECT 1", ")")), "300 levels"),
        (format!("SELECT {}", "(".repeat(100_000)), "100000 levels"),
        (format!("INSERT INTO t VALUES {}", nested("(", "1", ")")), "300 levels"),
        (format!("SELECT 1 WHERE true{}", " AND true".repeat(20_000)), "20001 terms"),
        (format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(6000)), "6001 terms"),
        (format!("SELECT a{} FROM t", ".a".repeat(1000)), "1001 parts"),
        // The engine's own limit, with advice that works here.
        (format!("SELECT 1{}", " + 1".repeat(1100)), "1000"),
        (format!("SELECT {} true", "NOT ".repeat(1100)), "1000"),
        (format!("FROM query('SELECT {}')", nested("(", "1", ")")), "300 levels"),
    ] {
        let start = &sql[..40];
        let error = query_error(&mut client, &sql).await;
        assert_eq!(error.kind(), Kind::Invalid, "{start}: {error}");
        assert!(error.message().contains(part), "{start}: {error}");
        assert!(!error.message().contains("SET "), "{start}: {error}");
        let status = client.inner().do_get(Ticket::new(sql.clone())).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{start}");
        assert_eq!(number(&mut client, "SELECT 1").await, 1);
    }
    // What is allowed runs.
    for sql in [
        format!("SELECT {}1{}", "(".repeat(200), ")".repeat(200)),
        format!("SELECT 1 WHERE true{}", " OR true".repeat(4000)),
        format!("SELECT sum(a) FROM (SELECT 1 AS a{})", " UNION ALL SELECT 1".repeat(1000)),
        format!("INSERT INTO t VALUES (1){}", ", (2)".repeat(10_000)),
    ] {
        rows(&mut client, &sql).await.unwrap_or_else(|error| panic!("{}: {error}", &sql[..40]));
    }
}

/// An UPDATE whose RETURNING is read slowly has been committed, and holds neither a checkpoint nor other changes; its rows
/// wait in memory and then on disk, and are all there.
#[tokio::test]
async fn a_slow_reader_of_a_change_holds_nothing() {
    let server = TestServer::start_with(|config| config.query.buffer_bytes = Bytes::mib(2)).await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE t AS SELECT range AS id, repeat('x', 100) AS s FROM range(300000)")
        .await
        .unwrap();
    rows(&mut client, "CREATE UNIQUE INDEX i ON t (id)").await.unwrap();
    let sql = "UPDATE t SET s = upper(s) RETURNING id, s";
    let messages = client.inner().do_get(Ticket::new(sql)).await.unwrap().into_inner().map_err(Into::into);
    let mut batches = arrow_flight::decode::FlightRecordBatchStream::new_from_flight_data(messages);
    let first = batches.try_next().await.unwrap().unwrap();
    let mut found: u64 =
        first.column(0).as_primitive::<Int64Type>().values().iter().map(|id| *id as u64).sum();
    let mut other = server.client().await;
    other.action("pintail.checkpoint").await.unwrap();
    assert_eq!(number(&mut other, "SELECT count(*) FROM t WHERE s LIKE 'X%'").await, 300_000);
    rows(&mut other, "UPDATE t SET s = 'y'").await.unwrap();
    let mut count = first.num_rows();
    while let Some(batch) = batches.try_next().await.unwrap() {
        count += batch.num_rows();
        found +=
            batch.column(0).as_primitive::<Int64Type>().values().iter().map(|id| *id as u64).sum::<u64>();
        assert!(batch.column(1).as_string::<i32>().iter().all(|s| s.unwrap().starts_with("XXX")));
    }
    assert_eq!((count, found), (300_000, 300_000 * 299_999 / 2));
}

/// Rows of a RETURNING that GetFlightInfo would have to keep are bounded: beyond that nothing is changed.
#[tokio::test]
async fn a_change_that_returns_too_much_is_rolled_back() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE t AS SELECT range AS id FROM range(100000)").await.unwrap();
    let sql = "UPDATE t SET id = id + 1000000 RETURNING id, repeat('x', 1000) AS s";
    let status = client.inner().get_flight_info(FlightDescriptor::new_cmd(sql)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("rolled back"), "{status}");
    assert_eq!(number(&mut client, "SELECT max(id) FROM t").await, 99_999);
}

/// Whoever sets the seed of random numbers sets nobody else's.
#[tokio::test]
async fn a_seed_stays_with_its_statement() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut found = std::collections::HashSet::new();
    for _ in 0..4 {
        rows(&mut client, "SELECT setseed(0.25)").await.unwrap();
        found.insert(number(&mut client, "SELECT (random() * 1e15)::BIGINT").await);
    }
    assert_eq!(found.len(), 4);
}

/// The engine keeps its own file, its log and its folder for temporary files open to SQL, whatever it is told of external
/// access. Nobody reads them: neither by a function, nor by a name that no table has, nor through what looks names up.
#[tokio::test]
async fn what_the_engine_has_open_is_no_file_for_sql() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE \"kept.csv\" AS SELECT 7 AS a").await.unwrap();
    let database = file(server.directory.path()).display().to_string();
    let spilled = format!("{database}.tmp");
    std::fs::create_dir_all(&spilled).unwrap();
    std::fs::write(format!("{spilled}/x.csv"), "a,b\n1,spilled\n").unwrap();
    std::fs::write(format!("{spilled}/x.json"), "{\"b\": \"spilled\"}").unwrap();
    let mut all = vec![
        format!("FROM glob('{spilled}/*')"),
        "FROM missing.csv".to_owned(),
        "FROM 'nothing.parquet'".to_owned(),
    ];
    for file in
        [database.clone(), format!("{database}.wal"), format!("{spilled}/x.csv"), format!("{spilled}/x.json")]
    {
        for reader in [
            "read_blob",
            "read_text",
            "read_csv",
            "read_json",
            "read_duckdb",
            "read_parquet",
            "parquet_metadata",
            "sniff_csv",
        ] {
            all.push(format!("FROM {reader}('{file}')"));
        }
        all.push(format!("FROM query('FROM read_text(''{file}'')')"));
        if !file.ends_with(".wal") {
            all.push(format!("FROM '{file}'"));
            all.push(format!("FROM query_table('\"{file}\"')"));
            all.push(format!("CREATE VIEW v AS FROM \"{file}\""));
            all.push(format!("SELECT (SELECT count(*) FROM \"{file}\" f)"));
        }
    }
    for sql in all {
        let error = query_error(&mut client, &sql).await;
        assert_eq!(error.kind(), Kind::Denied, "{sql}: {error}");
        assert!(!error.message().contains("spilled"), "{sql}: {error}");
    }
    // A table may be called as it likes.
    assert_eq!(number(&mut client, "SELECT sum(a)::BIGINT FROM \"kept.csv\"").await, 7);
}
