//! Streams into declared tables: what is taken, what is refused and in which words, what goes to the rejected rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::stream;
use pintail::client::{Client, PutAnswer};
use pintail::error::{Error, Kind, Result};

use crate::support::batches::{batch, joined};
use crate::support::calls::{number, put_with, rows};
use crate::support::declarations::{again, serve, serve_with};
use crate::support::session::ingest_into;

fn ints(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

async fn put(client: &mut Client, name: &str, batches: &[RecordBatch]) -> Result<PutAnswer> {
    put_with(client, name, batches, &[]).await
}

fn says(error: &Error, parts: &[&str]) {
    for part in parts {
        assert!(error.message().contains(part), "{error:?} lacks {part:?}");
    }
}

const STRICT: &str = r#"
primary_key = ["id"]
[[field]]
name = "id"
type = "int64"
[[field]]
name = "name"
type = "string"
nullable = false
[[field]]
name = "score"
type = "double"
"#;

/// Strict: the declared columns and types in any order; anything else is refused with what to fix, nothing stored.
#[tokio::test]
async fn strict_tables_take_their_shape_and_nothing_else() {
    let server = serve(&[("t", STRICT)]).await;
    let mut client = server.client().await;
    let good = |from: i64| {
        batch(vec![
            ("score", Arc::new(Float64Array::from(vec![Some(0.5), None]))),
            ("name", texts(&[Some("a"), Some("b")])),
            ("id", ints(&[Some(from), Some(from + 1)])),
        ])
    };
    for mode in ["append", "create_append"] {
        let from = number(&mut client, "SELECT count(*) FROM t").await;
        put_with(&mut client, "t", &[good(from)], &[("pintail-mode", mode)]).await.unwrap();
    }
    let with_id = |column: (&'static str, ArrayRef)| {
        batch(vec![("id", ints(&[Some(9)])), ("score", Arc::new(Float64Array::from(vec![1.0]))), column])
    };
    for (offered, kind, parts) in [
        (
            with_id(("name", ints(&[Some(1)]))),
            Kind::Invalid,
            &["table t", "\"name\" is string", "offers int64", "strict"][..],
        ),
        (
            batch(vec![("id", ints(&[Some(9)]))]),
            Kind::Invalid,
            &["lacks columns \"name\", \"score\"", "strict"],
        ),
        (
            with_id(("nam", texts(&[Some("x")]))),
            Kind::Invalid,
            &["no column \"nam\"", "did you mean \"name\""],
        ),
        (
            batch(vec![
                ("id", ints(&[Some(8), Some(9)])),
                ("score", Arc::new(Float64Array::from(vec![1.0, 2.0]))),
                ("name", texts(&[Some("x"), None])),
            ]),
            Kind::Conflict,
            &["table t", "row 2 of the stream", "\"name\" is required", "NULL"],
        ),
        (good(1), Kind::Conflict, &["table t", "row 1 of the stream", "(\"id\") = (1)", "in the table"]),
    ] {
        let refused = put(&mut client, "t", &[offered]).await.unwrap_err();
        assert_eq!(refused.kind(), kind, "{refused}");
        says(&refused, parts);
    }
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 4);
    // Replacing the rows of a declared table keeps its shape.
    let wrong = batch(vec![("other", ints(&[Some(1)]))]);
    put_with(&mut client, "t", &[wrong], &[("pintail-mode", "replace")]).await.unwrap_err();
    put_with(&mut client, "t", &[good(0)], &[("pintail-mode", "replace")]).await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 2);
    put(&mut client, "t", &[good(0)]).await.unwrap_err();
    // A declared table that was dropped comes back as it was declared.
    rows(&mut client, "DROP TABLE t").await.unwrap();
    put(&mut client, "t", &[good(0)]).await.unwrap();
    put(&mut client, "t", &[good(0)]).await.unwrap_err();
}

/// The row that breaks a rule is named however far into the stream it is, across batches and row groups.
#[tokio::test]
async fn the_row_is_counted_through_the_whole_stream() {
    let server = serve(&[("t", STRICT)]).await;
    let mut client = server.client().await;
    let many = |from: i64, count: i64, name: &dyn Fn(i64) -> Option<&'static str>| {
        let numbers: Vec<Option<i64>> = (from..from + count).map(Some).collect();
        let names: Vec<Option<&str>> = (from..from + count).map(name).collect();
        batch(vec![
            ("id", ints(&numbers)),
            ("score", Arc::new(Float64Array::from(vec![1.0; count as usize]))),
            ("name", texts(&names)),
        ])
    };
    let good = |from: i64, count: i64| many(from, count, &|_| Some("x"));
    let null = many(300_000, 1000, &|id| (id != 300_499).then_some("x"));
    let refused = put(&mut client, "t", &[good(0, 300_000), null]).await.unwrap_err();
    says(&refused, &["row 300500 of the stream", "\"name\" is required"]);
    let refused = put(&mut client, "t", &[good(0, 300_000), good(299_990, 10)]).await.unwrap_err();
    says(&refused, &["row 300001 of the stream", "(\"id\") = (299990)"]);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 0);
}

const LENIENT: &str = r#"
mode = "lenient"
[[field]]
name = "id"
type = "int32"
nullable = false
[[field]]
name = "taken"
type = "timestamp[us]"
[[field]]
name = "price"
type = "decimal128(6, 2)"
default = 1.5
[[field]]
name = "u"
type = "uuid"
"#;

/// Lenient: missing columns are filled, types change where no value does; a value that would is refused by row.
#[tokio::test]
async fn lenient_tables_fill_and_cast_without_loss() {
    let server = serve(&[("t", LENIENT)]).await;
    let mut client = server.client().await;
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let nanoseconds =
        |value: i64| -> ArrayRef { Arc::new(TimestampNanosecondArray::from(vec![Some(value), None])) };
    let two = |id: i64, at: i64| {
        batch(vec![
            ("u", texts(&[Some(uuid), None])),
            ("taken", nanoseconds(at)),
            ("id", ints(&[Some(id), Some(2)])),
        ])
    };
    put(&mut client, "t", &[two(1, 5_000)]).await.unwrap();
    let check = format!(
        "SELECT count(*) FROM t WHERE id = 1 AND epoch_us(taken) = 5 AND price = 1.5 AND u = '{uuid}'"
    );
    assert_eq!(number(&mut client, &check).await, 1);
    for (offered, parts) in [
        (
            two(3_000_000_000, 0),
            &["row 1 of the stream", "\"id\"", "\"3000000000\"", "does not fit INTEGER"][..],
        ),
        (two(1, 5_001), &["row 1 of the stream", "\"taken\"", "does not fit TIMESTAMP"]),
        (
            batch(vec![("id", ints(&[Some(1)])), ("u", texts(&[Some("no uuid")]))]),
            &["row 1 of the stream", "\"u\"", "\"no uuid\"", "UUID"],
        ),
        (batch(vec![("taken", nanoseconds(0))]), &["lacks column \"id\"", "required"]),
        (
            batch(vec![("id", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef)]),
            &["\"id\" is int32", "offers double", "no lossless cast"],
        ),
        (batch(vec![("id", ints(&[Some(1), None]))]), &["row 2 of the stream", "\"id\" is required"]),
    ] {
        let refused = put(&mut client, "t", &[offered]).await.unwrap_err();
        says(&refused, parts);
    }
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 2);
}

/// `on_new_column = add`: the column is there with the rows that brought it, and older producers go on.
#[tokio::test]
async fn new_columns_are_added_with_their_rows() {
    let text = format!("on_new_column = \"add\"\n{LENIENT}");
    let server = serve(&[("t", &text)]).await;
    let mut client = server.client().await;
    let id = |id: i64| ("id", Arc::new(Int32Array::from(vec![id as i32])) as ArrayRef);
    put(&mut client, "t", &[batch(vec![id(1), ("depth", Arc::new(Float64Array::from(vec![2.5])))])])
        .await
        .unwrap();
    put(&mut client, "t", &[batch(vec![id(2)])]).await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t WHERE depth = 2.5").await, 1);
    // A stream that fails leaves no column behind.
    let bad = batch(vec![("id", ints(&[None])), ("width", ints(&[Some(1)]))]);
    put(&mut client, "t", &[bad]).await.unwrap_err();
    assert_eq!(
        number(
            &mut client,
            "SELECT count(*) FROM duckdb_columns() WHERE table_name = 't' AND column_name = 'width'"
        )
        .await,
        0
    );
    let server = again(server, &[("t", &text)]).await;
    assert_eq!(number(&mut server.client().await, "SELECT count(depth) FROM t").await, 1);
}

/// An additive or widening change of the declaration does not turn the producers of the older one away.
#[tokio::test]
async fn producers_of_an_older_version_go_on() {
    const OLD: &str = "[[field]]\nname = \"id\"\ntype = \"int32\"\n";
    const NEW: &str =
        "[[field]]\nname = \"id\"\ntype = \"int64\"\n[[field]]\nname = \"note\"\ntype = \"string\"\n";
    let server = serve(&[("t", OLD)]).await;
    let old = batch(vec![("id", Arc::new(Int32Array::from(vec![1])))]);
    put(&mut server.client().await, "t", std::slice::from_ref(&old)).await.unwrap();
    let server = again(server, &[("t", NEW)]).await;
    let mut client = server.client().await;
    put(&mut client, "t", &[old]).await.unwrap();
    put(&mut client, "t", &[batch(vec![("id", ints(&[Some(5)])), ("note", texts(&[Some("x")]))])])
        .await
        .unwrap();
    let refused = put(&mut client, "t", &[batch(vec![("note", texts(&[Some("x")]))])]).await.unwrap_err();
    says(&refused, &["lacks column \"id\"", "strict"]);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t WHERE note IS NULL").await, 2);
}

/// Dead letters: rows that break a rule are written down with the reason, the others are stored, all are counted.
#[tokio::test]
async fn rows_that_break_a_rule_are_kept_aside() {
    let text = format!("mode = \"lenient\"\ndead_letters = true\n{STRICT}");
    for group_commit_ms in [0, 2] {
        let server =
            serve_with(&[("t", &text)], |config| config.ingest.group_commit_ms = group_commit_ms).await;
        let mut client = server.client().await;
        let some =
            |id: &[Option<i64>], name: &[Option<&str>]| batch(vec![("id", ints(id)), ("name", texts(name))]);
        let answer =
            put(&mut client, "t", &[some(&[Some(1), Some(2)], &[Some("a"), Some("b")])]).await.unwrap();
        assert_eq!((answer.rows, answer.inserted, answer.rejected), (2, Some(2), Some(0)));
        let first = some(&[Some(3), Some(2), None], &[Some("c"), Some("again"), Some("d")]);
        let second = some(&[Some(4), Some(4), Some(5)], &[None, Some("e"), Some("f")]);
        let third = some(&[Some(5)], &[Some("twice")]);
        let answer = put(&mut client, "t", &[first, second, third]).await.unwrap();
        assert_eq!((answer.rows, answer.inserted, answer.rejected), (7, Some(3), Some(4)));
        let rejected = rows(
            &mut client,
            "SELECT row_number, reason, CAST(\"row\" AS VARCHAR) FROM t__rejected ORDER BY ALL",
        )
        .await
        .unwrap();
        let rejected = joined(&rejected);
        let text =
            |column: usize, row: usize| rejected.column(column).as_string::<i32>().value(row).to_owned();
        let numbers = rejected.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
        assert_eq!(numbers.values().as_ref(), [2, 3, 4, 7]);
        for (row, part) in [
            (0, "in the table already"),
            (1, "\"id\" is required"),
            (2, "\"name\" is required"),
            (3, "earlier row"),
        ] {
            assert!(text(1, row).contains(part), "{}", text(1, row));
        }
        assert_eq!(text(2, 0), "{\"id\":2,\"name\":\"again\"}");
        assert_eq!(
            number(&mut client, "SELECT count(*) FROM t__rejected WHERE rejected_at IS NULL").await,
            0
        );
        // Values that do not fit, with the one that says which.
        let offered = batch(vec![("id", texts(&[Some("7")])), ("name", texts(&[Some("x")]))]);
        put(&mut client, "t", &[offered]).await.unwrap_err();
        let choice = [("pintail-on-conflict", "replace")];
        let again = some(&[Some(1), Some(1), None], &[Some("one"), Some("uno"), Some("none")]);
        let answer = put_with(&mut client, "t", &[again], &choice).await.unwrap();
        assert_eq!((answer.inserted, answer.replaced, answer.rejected), (Some(0), Some(2), Some(1)));
        assert_eq!(number(&mut client, "SELECT count(*) FROM t WHERE id = 1 AND name = 'uno'").await, 1);
    }
}

/// Flight SQL ingest and bound INSERTs are held to the declaration as well.
#[tokio::test]
async fn flight_sql_is_held_to_the_declaration() {
    use arrow_flight::sql::TableExistsOption;
    const TEXT: &str = "[[field]]\nname = \"id\"\ntype = \"int32\"\nnullable = false\n";
    let server = serve(&[("t", TEXT)]).await;
    let mut client = server.client().await;
    let mut sql = FlightSqlServiceClient::new_from_inner(client.inner().clone());
    let ingest = |exists: TableExistsOption| ingest_into("t", exists);
    let narrow =
        |count: i32| batch(vec![("id", Arc::new(Int32Array::from_iter_values(0..count)) as ArrayRef)]);
    let wide = |count: i64| batch(vec![("id", Arc::new(Int64Array::from_iter_values(0..count)) as ArrayRef)]);
    for exists in [TableExistsOption::Append, TableExistsOption::Replace] {
        let refused = sql.execute_ingest(ingest(exists), stream::iter([Ok(wide(3))])).await.unwrap_err();
        assert!(refused.to_string().contains("declared strict"), "{refused}");
        assert_eq!(sql.execute_ingest(ingest(exists), stream::iter([Ok(narrow(3))])).await.unwrap(), 3);
    }
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 3);
    for count in [3, 40] {
        for insert in ["INSERT INTO t VALUES (?)", "INSERT INTO t (id) VALUES ($1)"] {
            let mut prepared = sql.prepare(insert.into(), None).await.unwrap();
            prepared.set_parameters(narrow(count)).unwrap();
            assert_eq!(prepared.execute_update().await.unwrap(), i64::from(count));
            let mut prepared = sql.prepare(insert.into(), None).await.unwrap();
            let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Float64, true)]));
            let floats = Float64Array::from_iter_values((0..count).map(|n| f64::from(n) + 0.4));
            prepared.set_parameters(RecordBatch::try_new(schema, vec![Arc::new(floats)]).unwrap()).unwrap();
            let refused = prepared.execute_update().await.unwrap_err();
            assert!(refused.to_string().contains("is int32 and the stream offers double"), "{refused}");
        }
    }
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 3 + 2 * 43);
}
