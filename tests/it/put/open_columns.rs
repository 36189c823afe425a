//! Columns without a type yet, and nanoseconds, over a real socket: what a table becomes, and what is refused.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Date32Array, Int64Array, ListArray, NullArray, RecordBatch, StringArray, StructArray,
    TimestampNanosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use pintail::client::Client;
use pintail::error::Kind;

use crate::support::batches::{batch, ids};
use crate::support::calls::{number, put, rows};
use crate::support::server::TestServer;

/// Two lists: of `values`, and an empty one.
fn lists(values: ArrayRef) -> ArrayRef {
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([values.len(), 0]);
    Arc::new(ListArray::new(field, offsets, values, None))
}

/// Two structs of `a` and `b`.
fn structs(b: ArrayRef) -> ArrayRef {
    let fields = vec![
        Arc::new(Field::new("a", DataType::Int64, true)),
        Arc::new(Field::new("b", b.data_type().clone(), true)),
    ];
    Arc::new(StructArray::new(fields.into(), vec![ids(&[1, 2]), b], None))
}

fn open(first: i64) -> RecordBatch {
    batch(vec![
        ("id", ids(&[first, first + 1])),
        ("plain", Arc::new(NullArray::new(2))),
        ("list", lists(Arc::new(NullArray::new(0)))),
        ("pair", structs(Arc::new(NullArray::new(2)))),
    ])
}

fn typed(first: i64) -> RecordBatch {
    batch(vec![
        ("id", ids(&[first, first + 1])),
        ("plain", lists(Arc::new(StringArray::from(vec!["a", "b"])))),
        ("list", lists(Arc::new(StringArray::from(vec!["c"])))),
        ("pair", structs(Arc::new(Date32Array::from(vec![Some(1), None])))),
    ])
}

async fn types(client: &mut Client, table: &str) -> String {
    let sql = format!(
        "SELECT string_agg(data_type, '; ' ORDER BY column_index) FROM duckdb_columns() WHERE table_name = '{table}'"
    );
    let batches = rows(client, &sql).await.unwrap();
    arrow::array::AsArray::as_string::<i32>(batches[0].column(0)).value(0).to_owned()
}

const OPEN: &str = "BIGINT; \"NULL\"; \"NULL\"[]; STRUCT(a BIGINT, b \"NULL\")";
const TYPED: &str = "BIGINT; VARCHAR[]; VARCHAR[]; STRUCT(a BIGINT, b DATE)";

#[tokio::test]
async fn a_type_is_decided_by_the_first_value_and_not_before() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for mode in ["create", "create_append"] {
        let table = format!("open_{mode}");
        put(&mut client, &table, &[open(0)], mode).await.unwrap();
        put(&mut client, &table, &[open(2)], "append").await.unwrap();
        assert_eq!(types(&mut client, &table).await, OPEN);
        put(&mut client, &table, &[typed(4)], "append").await.unwrap();
        assert_eq!(types(&mut client, &table).await, TYPED);
        put(&mut client, &table, &[open(6)], "append").await.unwrap();
        put(&mut client, &table, &[typed(8)], "append").await.unwrap();
        assert_eq!(types(&mut client, &table).await, TYPED);
        let count = format!(
            "SELECT count(*) FROM {table} WHERE list IS NOT NULL AND pair.a = id % 2 + 1 \
             AND (plain IS NULL) = (id NOT IN (4, 5, 8, 9)) AND (list = ['c']) = (id IN (4, 8))"
        );
        assert_eq!(number(&mut client, &count).await, 10);
    }
    // What no value has decided is still open after a restart, from the log as well as from the file.
    put(&mut client, "later", &[open(0)], "create").await.unwrap();
    let server = TestServer::start_in(server.stop().await, |_| {}).await;
    let mut client = server.client().await;
    assert_eq!(types(&mut client, "later").await, OPEN);
    put(&mut client, "later", &[typed(2)], "append").await.unwrap();
    assert_eq!(types(&mut client, "later").await, TYPED);
    assert_eq!(number(&mut client, "SELECT count(*) FROM later").await, 4);
    server.stop().await;
}

#[tokio::test]
async fn a_column_that_has_its_type_keeps_it() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    put(&mut client, "t", &[typed(0)], "create").await.unwrap();
    put(&mut client, "t", &[open(2)], "append").await.unwrap();
    assert_eq!(types(&mut client, "t").await, TYPED);
    let other = batch(vec![("id", ids(&[9])), ("plain", ids(&[9]))]);
    let refused = put(&mut client, "t", &[other], "append").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
    assert!(refused.message().contains("VARCHAR[]"), "{refused}");
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 4);
    server.stop().await;
}

#[tokio::test]
async fn an_index_stands_in_the_way_of_a_type_and_is_named() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    put(&mut client, "t", &[open(0)], "create").await.unwrap();
    rows(&mut client, "CREATE INDEX ids ON t (id)").await.unwrap();
    let refused = put(&mut client, "t", &[typed(2)], "append").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict, "{refused}");
    assert!(refused.message().contains("drop it"), "{refused}");
    put(&mut client, "t", &[open(4)], "append").await.unwrap();
    rows(&mut client, "DROP INDEX ids").await.unwrap();
    put(&mut client, "t", &[typed(2)], "append").await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 6);
    server.stop().await;
}

fn moments(nanos: Vec<Option<i64>>) -> RecordBatch {
    let count = nanos.len();
    let array = TimestampNanosecondArray::from(nanos).with_timezone("UTC");
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count as i64));
    batch(vec![("id", ids), ("moment", Arc::new(array))])
}

const MICRO: i64 = 1_700_000_000_123_456_000;

#[tokio::test]
async fn whole_microseconds_are_stored_as_such_and_nothing_is_cut_off() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for (mode, table) in [("create", "made"), ("create_append", "found")] {
        put(&mut client, table, &[moments(vec![Some(MICRO), None, Some(-1000)])], mode).await.unwrap();
        assert_eq!(types(&mut client, table).await, "BIGINT; TIMESTAMP WITH TIME ZONE");
        put(&mut client, table, &[moments(vec![Some(0)])], "append").await.unwrap();
        let refused =
            put(&mut client, table, &[moments(vec![Some(0), Some(MICRO + 1)])], "append").await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid, "{refused}");
        for part in ["moment", "row 2"] {
            assert!(refused.message().contains(part), "{refused}");
        }
        let sql = format!(
            "SELECT count(*) FROM {table} WHERE moment IS NULL OR epoch_us(moment) IN ({}, 0, -1)",
            MICRO / 1000
        );
        assert_eq!(number(&mut client, &sql).await, 4);
        assert_eq!(number(&mut client, &format!("SELECT count(*) FROM {table}")).await, 4);
    }
    server.stop().await;
}

#[tokio::test]
async fn nanoseconds_keep_their_type_and_their_digits() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    put(&mut client, "t", &[moments(vec![Some(MICRO + 1), Some(MICRO)])], "create").await.unwrap();
    assert_eq!(types(&mut client, "t").await, "BIGINT; TIMESTAMPTZ_NS");
    put(&mut client, "t", &[moments(vec![Some(7)])], "append").await.unwrap();
    let schema = Schema::new(vec![Field::new(
        "moment",
        DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())),
        true,
    )]);
    let micros = arrow::array::TimestampMicrosecondArray::from(vec![5]).with_timezone("UTC");
    let micros = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(micros)]).unwrap();
    put(&mut client, "t", &[micros], "append").await.unwrap();
    let sql = format!("SELECT count(*) FROM t WHERE epoch_ns(moment) IN ({}, {MICRO}, 7, 5000)", MICRO + 1);
    assert_eq!(number(&mut client, &sql).await, 4);
    server.stop().await;
}
