//! Where files cannot be declared, and who may not change what is remembered of them.

use arrow_flight::{FlightData, FlightDescriptor};
use futures::stream;
use pintail::client::from_status;
use pintail::error::Kind;
use serde_json::json;
use tonic::Request;

use super::{LEDGER, count, load, load_with, piece, remembered, says, send, sources};
use crate::support::batches::wells;
use crate::support::calls::{put_with, query_error};
use crate::support::database::open;
use crate::support::put_stream::messages;
use crate::support::server::{TestServer, config};
use crate::support::session::{COMMIT, act, begin, end, exchange, ingest_command, set};

/// Where sources cannot be declared, the header is refused, and nothing is stored.
#[tokio::test]
async fn where_sources_are_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    put_with(&mut client, "t", &[wells(0, 1)], &[]).await.unwrap();
    let batch = || [(wells(0, 10), sources(&[piece("a", 1, 10)]))];
    for (header, value, part) in [
        ("pintail-idempotency-key", "k", "pintail-idempotency-key"),
        ("pintail-producer", "p", "pintail-producer"),
        ("pintail-commit", "progress", "pintail-commit"),
        ("pintail-sources", "twice", "expected once, again or anew, found \"twice\""),
    ] {
        let headers = [("pintail-sources", "once"), (header, value)];
        let refused = load_with(&mut client, "t", &headers, &batch()).await.unwrap_err();
        says(&refused, Kind::Invalid, &["pintail-sources", part]);
    }
    let transaction = begin(&mut client).await;
    let refused = load(&mut client, "t", "once", ("a", 1), (0, 10)).await.unwrap_err();
    says(&refused, Kind::Invalid, &["pintail-sources", "transaction"]);
    end(&mut client, &transaction, COMMIT).await.unwrap();
    let refused = load(&mut client, "temp.main.t", "once", ("a", 1), (0, 10)).await.unwrap_err();
    says(&refused, Kind::Invalid, &["pintail-sources", "temporary table"]);
    let refused = load(&mut client, LEDGER, "once", ("a", 1), (0, 10)).await.unwrap_err();
    says(&refused, Kind::Denied, &["the server's own"]);
    // Flight SQL: ingest, statements, rows for parameters.
    use arrow_flight::sql::{CommandStatementUpdate, ProstMessageExt};
    use prost::Message;
    let update =
        CommandStatementUpdate { query: "INSERT INTO t SELECT * FROM t".into(), transaction_id: None };
    for command in
        [ingest_command("t", None, false).as_any().encode_to_vec(), update.as_any().encode_to_vec()]
    {
        let mut messages = messages("t", &batch()).await;
        messages[0].flight_descriptor = Some(FlightDescriptor::new_cmd(command));
        let refused =
            send(&mut client, stream::iter(messages), &[("pintail-sources", "once")]).await.unwrap_err();
        says(&refused, Kind::Invalid, &["pintail-sources", "path"]);
    }
    let refused = set(&mut client, "pintail-sources", Some("once")).await;
    assert_eq!(refused.len(), 1);
    let mut request =
        Request::new(stream::iter(
            [FlightData::new().with_descriptor(FlightDescriptor::new_cmd("SELECT 1"))],
        ));
    request.metadata_mut().insert("pintail-sources", "once".parse().unwrap());
    let refused = from_status(client.inner().do_exchange(request).await.unwrap_err());
    says(&refused, Kind::Invalid, &["pintail-sources", "DoExchange"]);
    assert_eq!(count(&mut client, "t").await, 1);
    assert_eq!(exchange(&mut client, "SELECT 1 AS a", Vec::new()).await.unwrap()[0].num_rows(), 1);
    // Without the header app_metadata means nothing, as before.
    load_with(&mut client, "t", &[], &batch()).await.unwrap();
    assert_eq!(count(&mut client, "t").await, 11);
    assert_eq!(count(&mut client, LEDGER).await, 0);
}

/// What is remembered is the server's own: clients read it, backups hold it, and other columns stop a start.
#[tokio::test]
async fn the_load_ledger_is_the_servers_own() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    load(&mut client, "t", "once", ("a", 1), (0, 10)).await.unwrap();
    for sql in [
        format!("DELETE FROM {LEDGER}"),
        format!("UPDATE {LEDGER} SET file = ''"),
        format!("DROP TABLE {LEDGER}"),
    ] {
        assert_eq!(query_error(&mut client, &sql).await.kind(), Kind::Denied, "{sql}");
    }
    let to = json!({ "to": "copy.duckdb" }).to_string();
    act(&mut client, "pintail.backup", to.into_bytes()).await.unwrap();
    load(&mut client, "t", "once", ("a", 2), (0, 10)).await.unwrap();
    let directory = server.stop().await;
    let copy = directory.path().join("copy.duckdb").display().to_string();
    let opened = copy.clone();
    let server = TestServer::start_in(directory, |config| config.database.path = opened).await;
    let mut client = server.client().await;
    load(&mut client, "t", "once", ("a", 1), (0, 10)).await.unwrap_err();
    load(&mut client, "t", "once", ("a", 2), (0, 10)).await.unwrap();
    assert_eq!((count(&mut client, "t").await, remembered(&mut client, "main.t").await), (20, 2));
    let directory = server.stop().await;
    let mut config = config(directory.path());
    config.database.path = copy;
    {
        let database = open(&config.database.path);
        database
            .connection()
            .unwrap()
            .execute(&format!("ALTER TABLE {LEDGER} DROP COLUMN row_count"))
            .unwrap();
    }
    let refused = pintail::server::Server::start(&config).await.err().unwrap();
    says(&refused, Kind::Invalid, &["load_ledger", "changed by hand"]);
}
