//! Results over every way to ask: one schema, the same rows, batches of bounded size, and errors that say what is wrong.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, Schema};
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{FlightDescriptor, Ticket};
use futures::{StreamExt, TryStreamExt};
use pintail::error::Kind;
use prost::Message;
use tonic::Code;

use crate::support::batches::{joined, well_batches, wells};
use crate::support::calls::{number, put, query_error, rows};
use crate::support::server::TestServer;

/// SQL text, a Flight SQL command and a path all give the schema that DoGet then has, by ticket or by command.
#[tokio::test]
async fn every_way_to_ask_gives_one_schema_and_the_same_rows() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    put(&mut client, "wells", &[wells(0, 1000)], "create").await.unwrap();
    let sql = "SELECT * FROM wells";
    let command = CommandStatementQuery { query: sql.into(), transaction_id: None }.as_any().encode_to_vec();
    let expected = rows(&mut client, sql).await.unwrap();
    for descriptor in [
        FlightDescriptor::new_cmd(sql),
        FlightDescriptor::new_cmd(command.clone()),
        FlightDescriptor::new_path(vec!["wells".into()]),
        FlightDescriptor::new_path(vec!["main".into(), "wells".into()]),
    ] {
        let info = client.inner().get_flight_info(descriptor.clone()).await.unwrap().into_inner();
        let schema: Schema = info.clone().try_decode_schema().unwrap();
        let answer = client.inner().get_schema(descriptor).await.unwrap().into_inner();
        assert_eq!(Schema::try_from(&answer).unwrap(), schema);
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        assert!(!ticket.ticket.windows(6).any(|part| part == b"SELECT"), "tickets carry no SQL");
        for _ in 0..2 {
            let found = fetch(&mut client, ticket.clone()).await.unwrap();
            assert_eq!(*found[0].schema(), schema);
            assert_eq!(found, expected);
        }
    }
    assert_eq!(fetch(&mut client, Ticket::new(command)).await.unwrap(), expected);
}

async fn fetch(
    client: &mut pintail::client::Client,
    ticket: Ticket,
) -> Result<Vec<RecordBatch>, arrow_flight::error::FlightError> {
    let messages = client.inner().do_get(ticket).await?.into_inner().map_err(Into::into);
    arrow_flight::decode::FlightRecordBatchStream::new_from_flight_data(messages).try_collect().await
}

/// GetFlightInfo binds a query and does not run it: one that would take for ever is described at once. GetSchema
/// runs nothing. A change runs in GetFlightInfo, once, however often its result is fetched.
#[tokio::test]
async fn describing_does_not_run_queries_and_changes_run_once() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let endless =
        "SELECT count(*) AS n FROM range(100000000000) a, range(1000) b WHERE a.range + b.range = -1";
    let info = client.inner().get_flight_info(FlightDescriptor::new_cmd(endless)).await.unwrap().into_inner();
    assert_eq!(info.try_decode_schema().unwrap().field(0).name(), "n");
    rows(&mut client, "CREATE TABLE t (a INTEGER)").await.unwrap();
    let insert = FlightDescriptor::new_cmd("INSERT INTO t VALUES (1), (2)");
    client.inner().get_schema(insert.clone()).await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 0);
    let info = client.inner().get_flight_info(insert).await.unwrap().into_inner();
    assert_eq!(info.total_records, 2);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 2);
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    for _ in 0..2 {
        let answer = fetch(&mut client, ticket.clone()).await.unwrap();
        assert_eq!(answer[0].column(0).as_primitive::<Int64Type>().value(0), 2);
    }
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 2);
}

/// The schema in FlightInfo is the one the running result has, for every type the engine can send.
#[tokio::test]
async fn described_types_are_the_types_that_arrive() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let sql = "SELECT true AS b, 1::TINYINT AS i8, 2::UBIGINT AS u64, 3::HUGEINT AS h, 1.5::FLOAT AS f, 2.5 AS dec, \
               'x' AS s, 'y'::BLOB AS blob, DATE '2020-01-01' AS d, TIME '12:00:00' AS t, \
               TIMESTAMP '2020-01-01 00:00:00' AS ts, TIMESTAMP_NS '2020-01-01 00:00:00' AS tsns, \
               TIMESTAMPTZ '2020-01-01 00:00:00+00' AS tstz, INTERVAL 3 DAY AS iv, uuid() AS u, \
               [1, 2] AS l, {'a': 1, 'b': 'z'} AS st, MAP {'k': 1} AS m, 'a'::ENUM ('a', 'b') AS e, NULL AS n, \
               array_value(1, 2, 3) AS arr, '101'::BIT AS bit, 1 AS dup, 2 AS dup";
    let info = client.inner().get_flight_info(FlightDescriptor::new_cmd(sql)).await.unwrap().into_inner();
    let described = info.try_decode_schema().unwrap();
    let found = rows(&mut client, sql).await.unwrap();
    assert_eq!(*found[0].schema(), described);
    assert_eq!(found[0].num_rows(), 1);
}

/// Result messages stay in their band whatever the row width: narrow rows are merged, wide ones sliced.
#[tokio::test]
async fn batches_keep_their_size_whatever_the_row_width() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for (sql, total) in [
        ("SELECT range AS n FROM range(3000000)", 3_000_000),
        ("SELECT repeat('x', 5000) AS s FROM range(3000)", 3_000),
        ("SELECT repeat('x', 700000) AS s FROM range(20)", 20),
        ("SELECT range AS n, 'w' || range AS s FROM range(2000000) WHERE range % 3 = 0", 666_667),
    ] {
        let mut sizes = Vec::new();
        let mut found = 0;
        let mut messages = client.inner().do_get(Ticket::new(sql)).await.unwrap().into_inner();
        let mut decoder = pintail::flight::Decoder::default();
        while let Some(message) = messages.message().await.unwrap() {
            let bytes = message.data_body.len();
            if let pintail::flight::Decoded::Batch(batch, _) = decoder.decode(message).unwrap() {
                found += batch.num_rows();
                sizes.push(bytes);
            }
        }
        assert_eq!(found, total, "{sql}");
        assert!(sizes.iter().all(|bytes| *bytes <= 2 << 20), "{sql}: {:?}", sizes.iter().max());
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!(mean >= 512 << 10 || sizes.len() <= 2, "{sql}: mean of {} messages is {mean}", sizes.len());
    }
}

/// A selective filter leaves a few rows per row group; they arrive together, in order, and the count is right.
#[tokio::test]
async fn tiny_arrays_are_merged_in_order() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    put(&mut client, "wells", &well_batches(600_000, 65_536), "create").await.unwrap();
    let found = rows(&mut client, "SELECT id FROM wells WHERE id % 1000 = 7").await.unwrap();
    let ids: Vec<i64> = found
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect();
    assert!(ids.iter().copied().eq((0..600).map(|n| n * 1000 + 7)));
    assert!(found.len() <= 3, "{} batches for 600 rows", found.len());
}

#[tokio::test]
async fn rows_per_batch_can_be_bounded() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let headers = [("pintail-batch-rows", "1000".to_owned())];
    let result = client.query("FROM range(10500)", &headers).await.unwrap();
    let batches: Vec<RecordBatch> = result.batches.try_collect().await.unwrap();
    assert!(batches.iter().all(|batch| batch.num_rows() <= 1000));
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 10_500);
}

/// Wrong statements get the code that says what to do, and the engine's text with the position.
#[tokio::test]
async fn wrong_statements_are_told_apart() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for (sql, kind, part) in [
        ("SELEC 1", Kind::Invalid, "SELEC"),
        ("SELECT nothing FROM range(3)", Kind::Invalid, "nothing"),
        ("SELECT * FROM nowhere", Kind::NotFound, "nowhere"),
        ("SELECT 1; SELECT 2", Kind::Invalid, "several"),
        ("", Kind::Invalid, "found none"),
        ("-- only a comment", Kind::Invalid, "found none"),
        ("SELECT $1", Kind::Invalid, "parameters"),
        ("SELECT 'x'::INTEGER", Kind::Invalid, "x"),
        ("COPY (SELECT 1) TO 'file.csv'", Kind::Denied, "COPY"),
        ("ATTACH 'other.duckdb'", Kind::Denied, "attaching"),
        ("SET threads = 1", Kind::Denied, "SET"),
        ("INSTALL httpfs", Kind::Denied, "extension"),
        ("SELECT * FROM read_csv('/etc/passwd')", Kind::Denied, "no way to files"),
        ("SELECT * FROM pintail_segment('guess')", Kind::Invalid, "internal"),
        ("BEGIN", Kind::Unsupported, "transaction"),
        ("CHECKPOINT", Kind::Unsupported, "pintail.checkpoint"),
        ("force checkpoint", Kind::Unsupported, "pintail.checkpoint"),
        ("EXPLAIN (ANALYZE) CHECKPOINT", Kind::Unsupported, "pintail.checkpoint"),
        ("CALL force_checkpoint()", Kind::Unsupported, "pintail.checkpoint"),
        ("FROM query('FROM checkpoint()')", Kind::Unsupported, "pintail.checkpoint"),
    ] {
        let error = query_error(&mut client, sql).await;
        assert_eq!(error.kind(), kind, "{sql}: {error}");
        assert!(error.message().to_lowercase().contains(&part.to_lowercase()), "{sql}: {error}");
    }
    assert_eq!(number(&mut client, "SELECT 1").await, 1);
    // The word alone is nothing to refuse.
    assert_eq!(number(&mut client, "SELECT length('checkpoint') AS checkpoint").await, 10);
}

#[tokio::test]
async fn unknown_tickets_and_commands_are_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let unknown = [b"\0pintail\x01".as_slice(), &[7; 16]].concat();
    let status = client.inner().do_get(Ticket::new(unknown)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let status = client.inner().do_get(Ticket::new(vec![0xff, 0xfe, 0x00])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let nowhere = FlightDescriptor::new_path(vec!["nowhere".into()]);
    let status = client.inner().get_flight_info(nowhere).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let status = client.inner().get_flight_info(FlightDescriptor::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

/// An error after the first batch is the status of the stream, never a result that ends early and looks whole.
#[tokio::test]
async fn an_error_in_mid_stream_is_the_streams_status() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let sql = "SELECT CASE WHEN range = 5000000 THEN error('row five million') ELSE range END AS n FROM range(6000000)";
    let mut result = client.query(sql, &[]).await.unwrap();
    let mut rows = 0;
    let error = loop {
        match result.batches.next().await {
            Some(Ok(batch)) => rows += batch.num_rows(),
            Some(Err(error)) => break error,
            None => panic!("the result ended after {rows} rows as if it were complete"),
        }
    };
    assert!(rows > 0 && error.message().contains("row five million"), "{rows} rows, {error}");
    assert!(result.batches.next().await.is_none());
}

#[tokio::test]
async fn tables_are_listed_with_schema_rows_and_a_ticket() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    put(&mut client, "wells", &[wells(0, 1234)], "create").await.unwrap();
    rows(&mut client, "CREATE VIEW shallow AS SELECT id FROM wells").await.unwrap();
    let flights = client.list().await.unwrap();
    assert_eq!(flights.len(), 2);
    let flight = flights.iter().find(|flight| flight.total_records == 1234).unwrap().clone();
    assert_eq!(flight.flight_descriptor.as_ref().unwrap().path.last().unwrap(), "wells");
    let found = fetch(&mut client, flight.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 1234);
    assert_eq!(flight.try_decode_schema().unwrap(), *found[0].schema());
}

/// Results compress on request and hold the same rows.
#[tokio::test]
async fn results_compress_on_request() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let sql = "SELECT range AS n, 'text ' || (range % 10) AS s FROM range(100000)";
    let plain = rows(&mut client, sql).await.unwrap();
    for codec in ["lz4", "zstd"] {
        let result = client.query(sql, &[("pintail-compression", codec.into())]).await.unwrap();
        let found: Vec<RecordBatch> = result.batches.try_collect().await.unwrap();
        assert_eq!(joined(&found), joined(&plain), "{codec}");
    }
    let refused = client.query(sql, &[("pintail-compression", "brotli".into())]).await.err().unwrap();
    assert!(refused.message().contains("pintail-compression"), "{refused}");
}

/// A spill that cannot be written is told by the name of its file, without the server's folders; what a statement says
/// itself stays as it is.
#[tokio::test]
async fn errors_show_no_folder_of_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let occupied = directory.path().join("occupied");
    std::fs::write(&occupied, "a file where a folder is expected").unwrap();
    let folder = directory.path().display().to_string();
    let server = TestServer::start_in(directory, |config| {
        config.database.temp_directory = Some(occupied.join("spill"));
        config.database.memory_limit = Some(pintail::config::Bytes::mib(64));
    })
    .await;
    let mut client = server.client().await;
    let sort = "SELECT * FROM (SELECT md5(i::VARCHAR) AS a, i FROM range(5000000) r(i)) ORDER BY a";
    let error = query_error(&mut client, sort).await;
    assert!(error.message().contains("spill") && !error.message().contains(&folder), "{error}");
    let error = query_error(&mut client, "SELECT error('my own /path/to/x')").await;
    assert!(error.message().contains("my own /path/to/x"), "{error}");
}
