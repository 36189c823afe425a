//! DoExchange: rows that are uploaded to a statement.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow_flight::{FlightData, FlightDescriptor};
use futures::stream;
use tonic::Code;

use crate::support::batches::{joined, well_batches, wells};
use crate::support::calls::{number, put, rows};
use crate::support::server::TestServer;
use crate::support::session::exchange;

/// Uploaded rows are the table `input` of the statement; nothing of it stays behind.
#[tokio::test]
async fn exchange_joins_uploaded_rows_with_tables() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    put(&mut client, "t", &[wells(0, 1000)], "create").await.unwrap();
    let sql = "SELECT count(*) AS n, sum(i.kbd) AS kbd FROM input i JOIN t ON t.id = i.id";
    let found = joined(&exchange(&mut client, sql, well_batches(300_000, 10_000)).await.unwrap());
    assert_eq!(found.column(0).as_primitive::<Int64Type>().value(0), 1000);
    // A table of the same name on the server does not get in the way, nor do two exchanges at a time.
    rows(&mut client, "CREATE TABLE input (x INTEGER)").await.unwrap();
    let mut again = client.clone();
    let (one, two) = futures::join!(
        exchange(&mut client, "SELECT count(*) AS n FROM input", vec![wells(0, 10)]),
        exchange(&mut again, "SELECT count(*) AS n FROM input", vec![wells(0, 20)])
    );
    assert_eq!(joined(&one.unwrap()).column(0).as_primitive::<Int64Type>().value(0), 10);
    assert_eq!(joined(&two.unwrap()).column(0).as_primitive::<Int64Type>().value(0), 20);
    let none = exchange(&mut client, "SELECT 7::BIGINT AS n", Vec::new()).await.unwrap();
    assert_eq!(joined(&none).column(0).as_primitive::<Int64Type>().value(0), 7);
    let merged = "INSERT INTO t SELECT * REPLACE (id + 5000 AS id) FROM input";
    exchange(&mut client, merged, vec![wells(0, 10)]).await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 1010);
    let wrong = exchange(&mut client, "SELECT nothing FROM input", vec![wells(0, 1)]).await.unwrap_err();
    assert!(wrong.to_string().contains("nothing"), "{wrong}");
    let path = FlightDescriptor::new_path(vec!["t".into()]);
    let messages = stream::iter([FlightData::new().with_descriptor(path)]);
    assert_eq!(client.inner().do_exchange(messages).await.unwrap_err().code(), Code::InvalidArgument);
    let temporaries = "SELECT count(*) FROM duckdb_tables() WHERE temporary";
    assert_eq!(number(&mut client, temporaries).await, 0);
}
