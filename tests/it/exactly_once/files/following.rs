//! What files a table holds goes with the table, whatever it is called.

use pintail::error::Kind;

use super::{count, load, remembered, says};
use crate::support::calls::rows;
use crate::support::server::TestServer;
use crate::support::session::{COMMIT, ROLLBACK, begin, end};

/// A new name takes it along, in the transaction of the new name, and a name is free for another table then.
#[tokio::test]
async fn a_renamed_table_keeps_its_files() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    load(&mut client, "a", "once", ("f", 1), (0, 10)).await.unwrap();
    load(&mut client, "b", "once", ("f", 2), (0, 20)).await.unwrap();
    rows(&mut client, "ALTER TABLE a RENAME TO \"C.d\"").await.unwrap();
    let there = remembered(&mut client, "main.\"c.d\"").await;
    assert_eq!((there, remembered(&mut client, "main.a").await), (1, 0));
    rows(&mut client, "ALTER TABLE \"C.d\" RENAME TO a").await.unwrap();
    let swap = ["ALTER TABLE a RENAME TO x", "ALTER TABLE b RENAME TO a", "ALTER TABLE x RENAME TO b"];
    for (action, first) in [(ROLLBACK, 1), (COMMIT, 2)] {
        let transaction = begin(&mut client).await;
        for sql in swap {
            rows(&mut client, sql).await.unwrap();
        }
        end(&mut client, &transaction, action).await.unwrap();
        let refused = load(&mut client, "a", "once", ("f", first), (0, 10)).await.unwrap_err();
        says(&refused, Kind::Aborted, &["of these pieces of file f"]);
        assert_eq!(count(&mut client, "a").await, first as i64 * 10);
    }
    // A column, or a view, is no table.
    for sql in
        ["ALTER TABLE a RENAME COLUMN id TO number", "CREATE VIEW v AS FROM a", "ALTER VIEW v RENAME TO w"]
    {
        rows(&mut client, sql).await.unwrap();
    }
    assert_eq!(remembered(&mut client, "main.a").await, 1);
}

/// Whatever ends a table ends what is remembered of it, and a transaction that is rolled back ends nothing.
#[tokio::test]
async fn a_table_that_is_gone_takes_its_files_away() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE SCHEMA s").await.unwrap();
    for sql in ["DROP TABLE t", "CREATE OR REPLACE TABLE t AS SELECT 1 AS n"] {
        load(&mut client, "t", "once", ("f", 1), (0, 10)).await.unwrap();
        load(&mut client, "s.t", "again", ("f", 1), (0, 10)).await.unwrap();
        for (action, left) in [(ROLLBACK, 1), (COMMIT, 0)] {
            let transaction = begin(&mut client).await;
            rows(&mut client, sql).await.unwrap();
            end(&mut client, &transaction, action).await.unwrap();
            assert_eq!(remembered(&mut client, "main.t").await, left, "{sql}");
        }
        assert!(remembered(&mut client, "s.t").await > 0);
    }
    rows(&mut client, "DROP SCHEMA s CASCADE").await.unwrap();
    assert_eq!(remembered(&mut client, "s.t").await, 0);
}
