//! The table behind it is the server's own: clients read it, and changes by hand are noticed.

use pintail::error::Kind;

use super::{produce, seq, status};
use crate::support::batches::wells;
use crate::support::calls::{number, put_with, query_error, rows};
use crate::support::database::{file, open};
use crate::support::server::{TestServer, config};

/// What the server remembers cannot be changed through it, and is not shown among the tables.
#[tokio::test]
async fn the_ledger_is_the_servers_own() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    put_with(&mut client, "t", &[wells(0, 5)], &[("pintail-idempotency-key", "k")]).await.unwrap();
    for sql in [
        "DELETE FROM pintail_internal.ingest_ledger",
        "DROP TABLE \"PINTAIL_INTERNAL\".ingest_ledger",
        "INSERT INTO t SELECT * FROM pintail_internal.ingest_ledger",
    ] {
        assert_eq!(query_error(&mut client, sql).await.kind(), Kind::Denied, "{sql}");
    }
    let refused = put_with(&mut client, "pintail_internal.x", &[wells(0, 1)], &[]).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Denied);
    assert_eq!(number(&mut client, "SELECT count(*) FROM pintail_internal.ingest_ledger").await, 1);
    rows(&mut client, "CREATE TABLE notes AS SELECT 'pintail_internal' AS t").await.unwrap();
}

/// A ledger that was changed while the server was away: other columns stop the start, odd rows are left out.
#[tokio::test]
async fn a_ledger_changed_by_hand_is_noticed() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    produce(&mut client, "t", "p", 1, &[(wells(0, 10), seq(0))], &[]).await.unwrap();
    let directory = server.stop().await;
    {
        let database = open(file(directory.path()));
        let connection = database.connection().unwrap();
        connection
            .execute("INSERT INTO pintail_internal.ingest_ledger (producer, seq) VALUES ('p', 99)")
            .unwrap();
        connection
            .execute(
                "INSERT INTO pintail_internal.ingest_ledger (table_name, key, row_count, checksum, answer) \
                 VALUES ('main.t', 'k', 1, 1, 'no json')",
            )
            .unwrap();
    }
    let server = TestServer::start_in(directory, |_| {}).await;
    let mut client = server.client().await;
    assert_eq!(status(&mut client, "p").await["seq"], 0);
    let directory = server.stop().await;
    {
        let database = open(file(directory.path()));
        database
            .connection()
            .unwrap()
            .execute("ALTER TABLE pintail_internal.ingest_ledger DROP COLUMN seq")
            .unwrap();
    }
    let refused = pintail::server::Server::start(&config(directory.path())).await.err().unwrap();
    assert_eq!(refused.kind(), Kind::Invalid);
    assert!(refused.message().contains("changed by hand"), "{refused}");
}
