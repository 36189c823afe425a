//! Flight SQL with arrow-flight's own client: statements, prepared statements, transactions, metadata.

mod metadata;
mod statements;
mod transactions;
mod wide_catalogs;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow_flight::FlightInfo;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use pintail::client::Authorized;

use crate::support::batches::joined;
use crate::support::server::TestServer;

type Sql = FlightSqlServiceClient<Authorized>;

async fn sql(server: &TestServer) -> Sql {
    FlightSqlServiceClient::new_from_inner(server.client().await.inner().clone())
}

async fn fetch(client: &mut Sql, info: FlightInfo) -> Vec<RecordBatch> {
    let described = info.clone().try_decode_schema().unwrap();
    let mut batches = Vec::new();
    for endpoint in info.endpoint {
        let found: Vec<RecordBatch> =
            client.do_get(endpoint.ticket.unwrap()).await.unwrap().try_collect().await.unwrap();
        batches.extend(found);
    }
    for batch in &batches {
        assert_eq!(*batch.schema(), described, "DoGet's schema is FlightInfo's");
    }
    batches
}

async fn ask(client: &mut Sql, text: &str) -> Vec<RecordBatch> {
    let info = client.execute(text.into(), None).await.unwrap();
    fetch(client, info).await
}

async fn count(client: &mut Sql, table: &str) -> i64 {
    joined(&ask(client, &format!("SELECT count(*) AS n FROM {table}")).await)
        .column(0)
        .as_primitive::<Int64Type>()
        .value(0)
}

fn parameters(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let column = batch.column_by_name(column).unwrap();
    column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}
