//! Every type, in through DoPut, ingest and parameters, and out again equal: values, nulls, units, scale.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema};
use arrow_flight::FlightDescriptor;
use arrow_flight::sql::TableExistsOption;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::{TryStreamExt, stream};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::cases::{Case, cases};
use crate::support::batches::joined;
use crate::support::calls::{rows, table};
use crate::support::server::TestServer;
use crate::support::session::ingest_into;

fn batch(cases: &[Case], arrays: Vec<ArrayRef>) -> RecordBatch {
    let fields: Vec<Field> = cases
        .iter()
        .zip(&arrays)
        .map(|(case, array)| Field::new(case.name, array.data_type().clone(), true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// Values as text, so that field names inside nested types do not matter.
fn shown(array: &dyn Array) -> Vec<String> {
    let options = arrow::util::display::FormatOptions::new().with_null("NULL");
    let formatter = arrow::util::display::ArrayFormatter::try_new(array, &options).unwrap();
    (0..array.len()).map(|row| formatter.value(row).to_string()).collect()
}

fn same(case: &Case, found: &dyn Array, expected: &dyn Array) {
    let nested = matches!(case.back, DataType::Map(..) | DataType::List(_) | DataType::Struct(_));
    if !nested {
        assert_eq!(found.data_type(), &case.back, "{}", case.name);
    }
    let expected = if nested {
        arrow::array::make_array(expected.to_data())
    } else {
        cast(expected, &case.back).unwrap()
    };
    assert_eq!(shown(found), shown(&expected), "{}", case.name);
}

/// Every type through DoPut, Flight SQL ingest and statement parameters.
#[tokio::test]
async fn every_type_comes_back_equal_on_every_path() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut sql = FlightSqlServiceClient::new_from_inner(client.inner().clone());
    let cases = cases();
    let sent = batch(&cases, cases.iter().map(|case| Arc::clone(&case.sent)).collect());
    let items = stream::iter([Ok(sent.clone())]);
    client.put(&table("put"), sent.schema(), items, &[]).await.unwrap();
    let ingest = ingest_into("ingested", TableExistsOption::Fail);
    assert_eq!(sql.execute_ingest(ingest, stream::iter([Ok(sent.clone())])).await.unwrap(), 5);
    rows(&mut client, "CREATE TABLE bound AS FROM put LIMIT 0").await.unwrap();
    let places: Vec<String> = (1..=cases.len()).map(|number| format!("${number}")).collect();
    let insert = format!("INSERT INTO bound VALUES ({})", places.join(", "));
    // Five rows go one by one, as values; a hundred as a bulk load.
    for repeats in [1, 20] {
        let many: Vec<RecordBatch> = vec![sent.clone(); repeats];
        let many = joined(&many);
        let mut prepared = sql.prepare(insert.clone(), None).await.unwrap();
        prepared.set_parameters(many.clone()).unwrap();
        assert_eq!(prepared.execute_update().await.unwrap(), many.num_rows() as i64);
        prepared.close().await.unwrap();
        let found = joined(&rows(&mut client, "FROM bound").await.unwrap());
        for (index, case) in cases.iter().enumerate() {
            same(case, found.column(index), many.column(index));
        }
        rows(&mut client, "DELETE FROM bound").await.unwrap();
    }
    for name in ["put", "ingested"] {
        let found = joined(&rows(&mut client, &format!("FROM {name}")).await.unwrap());
        for (index, case) in cases.iter().enumerate() {
            same(case, found.column(index), &case.sent);
        }
    }
    // And as a parameter of a SELECT, whose result has the parameter's own type.
    for case in &cases {
        let mut prepared = sql.prepare("SELECT ? AS x".into(), None).await.unwrap();
        prepared
            .set_parameters(RecordBatch::try_from_iter([("0", Arc::clone(&case.sent))]).unwrap())
            .unwrap();
        let info = prepared.execute().await.unwrap();
        let described = info.clone().try_decode_schema().unwrap();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let found: Vec<RecordBatch> = sql.do_get(ticket).await.unwrap().try_collect().await.unwrap();
        assert_eq!(*found[0].schema(), described, "{}", case.name);
        same(case, joined(&found).column(0), &case.sent);
        prepared.close().await.unwrap();
    }
}

/// Slices with offsets, empty batches and batches of any cut arrive as if they were sent whole.
#[tokio::test]
async fn any_cut_of_the_rows_arrives_whole() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let cases = cases();
    let mut runner = TestRunner::new(Config::with_cases(1));
    let cuts = prop::collection::vec((0_usize..5, 0_usize..6), 1..40);
    for round in 0..24 {
        let cut = cuts.new_tree(&mut runner).unwrap().current();
        let whole = batch(&cases, cases.iter().map(|case| Arc::clone(&case.sent)).collect());
        let parts: Vec<RecordBatch> =
            cut.iter().map(|(from, len)| whole.slice(*from, (*len).min(5 - from))).collect();
        let name = format!("t{round}");
        let items: Vec<pintail::error::Result<RecordBatch>> = parts.iter().cloned().map(Ok).collect();
        client.put(&table(&name), whole.schema(), stream::iter(items), &[]).await.unwrap();
        let found = rows(&mut client, &format!("FROM {name}")).await.unwrap();
        let total: usize = parts.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), total, "{cut:?}");
        if total == 0 {
            continue;
        }
        let found = joined(&found);
        for (index, case) in cases.iter().enumerate() {
            // Run-end arrays do not concatenate; their plain form does.
            let pieces: Vec<ArrayRef> = parts
                .iter()
                .map(|part| match part.column(index).data_type() {
                    DataType::RunEndEncoded(..) => cast(part.column(index), &DataType::Utf8).unwrap(),
                    _ => Arc::clone(part.column(index)),
                })
                .collect();
            let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            same(case, found.column(index), &concat(&pieces).unwrap());
        }
    }
}

/// What GetFlightInfo says and what DoGet sends is one schema, for every type that DuckDB can return.
#[tokio::test]
async fn every_result_type_is_described_as_it_arrives() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TYPE mood AS ENUM ('sad', 'ok')").await.unwrap();
    for expression in [
        "NULL",
        "true",
        "1::TINYINT",
        "1::SMALLINT",
        "1::INTEGER",
        "1::BIGINT",
        "1::HUGEINT",
        "1::UTINYINT",
        "1::USMALLINT",
        "1::UINTEGER",
        "1::UBIGINT",
        "1::UHUGEINT",
        "1.5::FLOAT",
        "1.5::DOUBLE",
        "1.5::DECIMAL(4,1)",
        "1.5::DECIMAL(9,2)",
        "1.5::DECIMAL(18,3)",
        "1.5::DECIMAL(38,4)",
        "'x'",
        "'x'::BLOB",
        "uuid()",
        "DATE '2020-01-01'",
        "TIME '12:00:00'",
        "'12:00:00+02'::TIMETZ",
        "'2020-01-01'::TIMESTAMP_S",
        "'2020-01-01'::TIMESTAMP_MS",
        "'2020-01-01'::TIMESTAMP",
        "'2020-01-01'::TIMESTAMP_NS",
        "'2020-01-01 00:00:00+00'::TIMESTAMPTZ",
        "INTERVAL 3 MONTH",
        "'ok'::mood",
        "'101'::BIT",
        "123456789012345678901234567890::BIGNUM",
        "[1, 2]",
        "[[1], NULL]",
        "array_value(1, 2)",
        "{'a': 1, 'b': [DATE '2020-01-01']}",
        "MAP {'k': [1]}",
        "union_value(a := 1)",
        "'{\"a\": 1}'::JSON",
        "1::VARIANT",
        "row(1, 'x')",
        "TIME_NS '12:00:00.123456789'",
        "[{'e': 'ok'::mood, 'u': uuid()}]",
        "[{'a': 1::UHUGEINT}]",
        "'POINT (1 2)'::GEOMETRY",
    ] {
        let sql = format!("SELECT {expression} AS x");
        let info = client.inner().get_flight_info(FlightDescriptor::new_cmd(sql.clone())).await;
        let info = info.unwrap_or_else(|refused| panic!("{expression}: {refused}")).into_inner();
        let described = info.try_decode_schema().unwrap();
        let found = rows(&mut client, &sql).await.unwrap();
        assert_eq!(*found[0].schema(), described, "{expression}");
        assert_eq!(found[0].num_rows(), 1, "{expression}");
    }
    let month = DataType::Interval(IntervalUnit::MonthDayNano);
    let found = rows(&mut client, "SELECT INTERVAL 1 MONTH AS i").await.unwrap();
    assert_eq!(found[0].schema().field(0).data_type(), &month);
}
