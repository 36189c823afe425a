//! A real server on free ports over a database in a temporary folder, and batches to send it.
#![allow(unreachable_pub, reason = "included by each test program as a module")]
#![allow(dead_code, reason = "each test program uses its own part")]

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::{FlightData, FlightDescriptor};
use futures::{StreamExt, TryStreamExt, stream};
use pintail::catalog::TableName;
use pintail::client::{Client, PutAnswer, from_status};
use pintail::config::{Bytes, Config};
use pintail::error::{Error, Result};
use pintail::server::Server;

/// A server, stopped when the test ends.
pub struct TestServer {
    pub directory: tempfile::TempDir,
    pub uri: String,
    pub http: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    done: Option<tokio::task::JoinHandle<Result<()>>>,
}

/// Small limits, so that tests reach them.
pub fn config(directory: &std::path::Path) -> Config {
    let mut config = Config::default();
    config.server.listen = ([127, 0, 0, 1], 0).into();
    config.server.http = ([127, 0, 0, 1], 0).into();
    config.database.path = directory.join("test.duckdb").display().to_string();
    config.database.memory_limit = Some(Bytes::mib(1024));
    config.database.threads = Some(2);
    config
}

impl TestServer {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    pub async fn start_in(directory: tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(directory.path());
        change(&mut config);
        let server = Server::start(&config).await.unwrap();
        let uri = format!("grpc://{}", server.flight_addr());
        let http = format!("http://{}", server.http_addr());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let done = tokio::spawn(server.run_until(
            async {
                let _ = stopped.await;
            },
            std::future::pending(),
        ));
        Self { directory, uri, http, stop: Some(stop), done: Some(done) }
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.uri).await.unwrap()
    }

    /// Drains, and gives the folder on.
    pub async fn stop(mut self) -> tempfile::TempDir {
        drop(self.stop.take());
        self.done.take().unwrap().await.unwrap().unwrap();
        self.directory
    }
}

pub fn table(name: &str) -> TableName {
    TableName::from_text(name).unwrap()
}

/// Puts batches with request headers.
pub async fn put_with(
    client: &mut Client,
    name: &str,
    batches: &[RecordBatch],
    headers: &[(&'static str, &str)],
) -> Result<PutAnswer> {
    let items: Vec<Result<RecordBatch>> = batches.iter().cloned().map(Ok).collect();
    let headers: Vec<(&'static str, String)> =
        headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    client.put(&table(name), batches[0].schema(), stream::iter(items), &headers).await
}

/// Puts numbered batches of [`wells`] for a producer, and gives the last answer.
pub async fn put_numbered(
    client: &mut Client,
    name: &str,
    producer: &str,
    batches: &[(RecordBatch, u64)],
) -> Result<PutAnswer> {
    put_numbered_with(client, name, &[("pintail-producer", producer)], batches).await
}

/// Puts numbered batches with request headers, and gives the last answer.
pub async fn put_numbered_with(
    client: &mut Client,
    name: &str,
    headers: &[(&'static str, &str)],
    batches: &[(RecordBatch, u64)],
) -> Result<PutAnswer> {
    let items: Vec<_> = batches.iter().map(|(batch, _)| Ok(batch.clone())).collect();
    let mut messages: Vec<FlightData> = FlightDataEncoderBuilder::new()
        .with_schema(well_schema())
        .with_flight_descriptor(Some(FlightDescriptor::new_path(vec![name.to_owned()])))
        .with_max_flight_data_size(usize::MAX)
        .build(stream::iter(items))
        .try_collect()
        .await
        .unwrap();
    for (message, (_, seq)) in messages[1..].iter_mut().zip(batches) {
        message.app_metadata = format!("{{\"seq\": {seq}}}").into();
    }
    let mut request = tonic::Request::new(stream::iter(messages));
    for (header, value) in headers {
        request.metadata_mut().insert(*header, value.parse().unwrap());
    }
    let answers = client.inner().do_put(request).await.map_err(from_status)?.into_inner();
    let answers: Vec<_> = answers.map_err(from_status).try_collect().await?;
    Ok(serde_json::from_slice(&answers.last().unwrap().app_metadata).unwrap())
}

/// Puts batches with a mode.
pub async fn put(client: &mut Client, name: &str, batches: &[RecordBatch], mode: &str) -> Result<PutAnswer> {
    put_with(client, name, batches, &[("pintail-mode", mode)]).await
}

/// All rows of a query.
pub async fn rows(client: &mut Client, sql: &str) -> Result<Vec<RecordBatch>> {
    client.query(sql, &[]).await?.batches.try_collect().await
}

/// The one number a query gives.
pub async fn number(client: &mut Client, sql: &str) -> i64 {
    let batches = rows(client, &format!("SELECT ({sql})::BIGINT")).await.unwrap();
    batches[0].column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0)
}

/// The error of a query, wherever it comes.
pub async fn query_error(client: &mut Client, sql: &str) -> Error {
    match rows(client, sql).await {
        Ok(_) => panic!("{sql} succeeded"),
        Err(error) => error,
    }
}

pub fn well_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("well", DataType::Utf8, true),
        Field::new("kbd", DataType::Float64, true),
        Field::new("price", DataType::Decimal128(15, 2), true),
        Field::new("day", DataType::Date32, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]))
}

/// Rows `first..first + count`, with nulls and empty texts among them.
pub fn wells(first: i64, count: usize) -> RecordBatch {
    let numbers = || first..first + count as i64;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(numbers())),
        Arc::new(StringArray::from_iter(numbers().map(|n| match n % 7 {
            0 => None,
            1 => Some(String::new()),
            _ => Some(format!("well {n} ü")),
        }))),
        Arc::new(Float64Array::from_iter(numbers().map(|n| (n % 5 != 0).then_some(n as f64 * 0.5)))),
        Arc::new(
            Decimal128Array::from_iter(numbers().map(|n| (n % 3 != 0).then_some(i128::from(n) * 101)))
                .with_precision_and_scale(15, 2)
                .unwrap(),
        ),
        Arc::new(Date32Array::from_iter_values(numbers().map(|n| (n % 20_000) as i32))),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(numbers().map(|n| n * 1_000_003))
                .with_timezone("UTC"),
        ),
    ];
    RecordBatch::try_new(well_schema(), columns).unwrap()
}

/// `total` rows in batches of `rows`.
pub fn well_batches(total: usize, rows: usize) -> Vec<RecordBatch> {
    (0..total).step_by(rows).map(|first| wells(first as i64, rows.min(total - first))).collect()
}

/// One batch with all rows, for comparisons.
pub fn joined(batches: &[RecordBatch]) -> RecordBatch {
    arrow::compute::concat_batches(&batches[0].schema(), batches).unwrap()
}

/// Column by column equality, schema metadata and nullability aside.
pub fn assert_same(found: &RecordBatch, expected: &RecordBatch) {
    assert_eq!(found.num_rows(), expected.num_rows());
    for (index, field) in expected.schema().fields().iter().enumerate() {
        let column = found.column_by_name(field.name()).unwrap();
        assert_eq!(column.data_type(), expected.column(index).data_type(), "{}", field.name());
        assert_eq!(column.to_data(), expected.column(index).to_data(), "{}", field.name());
    }
}

/// A GET over the side port: status line and body.
pub async fn http_get(http: &str, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = http.trim_start_matches("http://");
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
}

/// The batches of a stream, slowly.
pub async fn drain_slowly(
    mut batches: stream::BoxStream<'static, Result<RecordBatch>>,
    pause: std::time::Duration,
) -> Result<u64> {
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        rows += batch?.num_rows() as u64;
        tokio::time::sleep(pause).await;
    }
    Ok(rows)
}
