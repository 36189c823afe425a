//! Texts that come again, word for word or with other literals: their results have the columns that they have now, whatever
//! they had before.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use futures::TryStreamExt;
use pintail::client::Client;
use pintail::error::Kind;

use crate::support::calls::{number, query_error, rows};
use crate::support::server::TestServer;
use crate::support::session::{COMMIT, act, begin, end, set};

/// Columns of one name with the same text in each, as far as that goes.
const COLUMNS: [&str; 20] = [
    "1::INTEGER",
    "1::BIGINT",
    "1::HUGEINT",
    "1::UHUGEINT",
    "1::DECIMAL(38, 0)",
    "1::DECIMAL(9, 2)",
    "1::DOUBLE",
    "true",
    "'1'::VARCHAR",
    "'1'::JSON",
    "'1'::BIT",
    "'1'::BLOB",
    "'1'::ENUM('1')",
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID",
    "DATE '2020-01-01'",
    "TIMETZ '12:00:00+01'",
    "TIMESTAMP '2020-01-01'",
    "INTERVAL 1 DAY",
    "[1]",
    "NULL",
];

async fn asked(client: &mut Client, sql: &str, form: &str) -> (SchemaRef, Vec<RecordBatch>) {
    let result = client.query(sql, &[("pintail-extension-types", form.to_owned())]).await.unwrap();
    (result.schema.clone(), result.batches.try_collect().await.unwrap())
}

/// `sql` gives what a text gives that was never asked before.
async fn assert_as_new(client: &mut Client, sql: &str, column: &str) {
    for form in ["off", "on"] {
        let other = format!("FROM ({sql}) AS \"{:032x}\"", rand::random::<u128>());
        let expected = asked(client, &other, form).await;
        for round in 0..3 {
            assert_eq!(asked(client, sql, form).await, expected, "{sql}, {column}, {form}, {round}");
        }
    }
}

#[tokio::test]
async fn a_text_has_the_columns_of_its_own_run() {
    let server = TestServer::start().await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    for column in COLUMNS {
        rows(&mut other, &format!("CREATE OR REPLACE TABLE t AS SELECT {column} AS v")).await.unwrap();
        assert_as_new(&mut client, "SELECT v FROM t", column).await;
        rows(&mut other, "ALTER TABLE t ADD COLUMN w INTEGER").await.unwrap();
        assert_as_new(&mut client, "SELECT * FROM t", column).await;
        // The words are the same, the literals are not.
        assert_as_new(&mut client, &format!("SELECT {column} AS v"), column).await;
    }
    for literal in ["5", "5000000000", "1.5", "1e300", "'x'", "99999999999999999999999999999999999999"] {
        assert_as_new(&mut client, &format!("SELECT {literal} AS v"), literal).await;
    }
    for view in ["SELECT 1 AS v", "SELECT 'x' AS v", "SELECT uuid() AS v LIMIT 0", "SELECT 1::HUGEINT AS v"] {
        rows(&mut other, &format!("CREATE OR REPLACE VIEW seen AS {view}")).await.unwrap();
        assert_as_new(&mut client, "SELECT v FROM seen", view).await;
    }
}

#[tokio::test]
async fn a_text_means_what_its_session_means_by_it() {
    let server = TestServer::start().await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    for sql in [
        "CREATE TABLE t AS SELECT 1 AS v",
        "CREATE SCHEMA s",
        "CREATE TABLE s.t AS SELECT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID AS v",
    ] {
        rows(&mut client, sql).await.unwrap();
    }
    let sql = "SELECT v FROM t";
    let assert_type = async |client: &mut Client, expected: &DataType| {
        for _ in 0..2 {
            let (schema, found) = asked(client, sql, "off").await;
            assert_eq!(schema.field(0).data_type(), expected);
            assert_eq!(found[0].schema(), schema);
        }
        assert_as_new(client, sql, "a session's").await;
    };
    assert_type(&mut client, &DataType::Int32).await;
    assert!(set(&mut client, "schema", Some("s")).await.is_empty());
    assert_type(&mut client, &DataType::Utf8).await;
    assert_type(&mut other, &DataType::Int32).await;
    assert!(set(&mut client, "schema", Some("main")).await.is_empty());
    rows(&mut client, "CREATE TEMP TABLE t AS SELECT DATE '2020-01-01' AS v").await.unwrap();
    assert_type(&mut client, &DataType::Date32).await;
    assert_type(&mut other, &DataType::Int32).await;
    act(&mut client, "CloseSession", Vec::new()).await.unwrap();
    assert_type(&mut client, &DataType::Int32).await;
    // What a transaction has altered is seen in it, and by nobody else before its commit.
    let id = begin(&mut client).await;
    rows(&mut client, "ALTER TABLE t ALTER v TYPE DOUBLE").await.unwrap();
    assert_type(&mut client, &DataType::Float64).await;
    assert_type(&mut other, &DataType::Int32).await;
    // A text that is not understood leaves the transaction as it is.
    assert_eq!(query_error(&mut client, "SELECT w FROM t").await.kind(), Kind::Invalid);
    assert_type(&mut client, &DataType::Float64).await;
    end(&mut client, &id, COMMIT).await.unwrap();
    assert_type(&mut other, &DataType::Float64).await;
}

/// A text that read only and changes something since is seen to.
#[tokio::test]
async fn a_text_is_judged_each_time() {
    let server = TestServer::start().await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    rows(&mut other, "CREATE SEQUENCE s").await.unwrap();
    rows(&mut other, "CREATE VIEW v AS SELECT 5 AS n").await.unwrap();
    for _ in 0..3 {
        assert_eq!(number(&mut client, "SELECT n FROM v").await, 5);
        assert_eq!(rows(&mut client, "SELECT n FROM v").await.unwrap()[0].num_rows(), 1);
    }
    rows(&mut other, "CREATE OR REPLACE VIEW v AS SELECT nextval('s') AS n").await.unwrap();
    for expected in 1..4 {
        let found = rows(&mut client, "SELECT n FROM v").await.unwrap();
        assert_eq!(found[0].column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0), expected);
    }
    rows(&mut other, "DROP VIEW v").await.unwrap();
    let gone = query_error(&mut client, "SELECT n FROM v").await;
    assert!(gone.kind() == Kind::NotFound && gone.message().contains("name v does not exist"), "{gone}");
    let wrong = query_error(&mut client, "SELECT n FROM v WHERE ?").await;
    assert_ne!(wrong.kind(), Kind::Internal, "{wrong}");
}

/// While the table is replaced again and again, a result's values are of the type that its schema says.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_result_is_of_one_table_while_others_replace_it() {
    let server = TestServer::start().await;
    let types = [
        ("INTEGER", "1", DataType::Int32),
        ("VARCHAR", "'x'", DataType::Utf8),
        ("DATE", "DATE '2020-01-01'", DataType::Date32),
        ("DOUBLE", "0.5::DOUBLE", DataType::Float64),
    ];
    let mut writer = server.client().await;
    let replace = |(name, value, _): &(&str, &str, DataType)| {
        format!("CREATE OR REPLACE TABLE t AS SELECT {value} AS v, '{name}' AS k")
    };
    rows(&mut writer, &replace(&types[0])).await.unwrap();
    let (until, is_over) = (Instant::now() + Duration::from_secs(2), AtomicBool::new(false));
    let writing = async {
        let mut turns = 0;
        while Instant::now() < until {
            rows(&mut writer, &replace(&types[turns % types.len()])).await.unwrap();
            turns += 1;
        }
        is_over.store(true, Ordering::Relaxed);
        turns
    };
    let reading = async {
        let mut client = server.client().await;
        let mut seen = [0; 4];
        while !is_over.load(Ordering::Relaxed) {
            // A change between planning and running is an error of its own, and may be.
            let Ok(found) = rows(&mut client, "SELECT v, k FROM t").await else { continue };
            let name = found[0].column(1).as_string::<i32>().value(0);
            let index = types.iter().position(|(known, ..)| *known == name).unwrap();
            assert_eq!(found[0].schema().field(0).data_type(), &types[index].2);
            seen[index] += 1;
        }
        seen
    };
    let (turns, seen) = futures::join!(writing, reading);
    assert!(turns > 20 && seen.iter().all(|seen| *seen > 0), "{turns} turns, seen {seen:?}");
}
