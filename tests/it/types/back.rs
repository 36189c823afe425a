//! What leaves goes back in: for every type that a column can have, the result of a SELECT is put into a table of
//! the same definition, in each of its forms and by each way in, and is equal there.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow_flight::FlightDescriptor;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandStatementIngest, TableExistsOption};
use futures::{TryStreamExt, stream};
use pintail::client::Client;
use serde_json::json;
use tonic::Request;

use crate::support::batches::joined;
use crate::support::calls::{number, put, put_with, query_error, rows, table};
use crate::support::server::TestServer;
use crate::support::session::ingest_into;

/// Every type of `duckdb_types()`, with the values of a column; NULL goes along with each.
const TYPES: &[(&str, &[&str])] = &[
    ("BOOLEAN", &["true", "false"]),
    ("TINYINT", &["-128", "127"]),
    ("SMALLINT", &["-32768"]),
    ("INTEGER", &["-2147483648"]),
    ("BIGINT", &["-9223372036854775808", "9223372036854775807"]),
    ("HUGEINT", &["-99999999999999999999999999999999999999", "99999999999999999999999999999999999999", "0"]),
    ("UTINYINT", &["255"]),
    ("USMALLINT", &["65535"]),
    ("UINTEGER", &["4294967295"]),
    ("UBIGINT", &["18446744073709551615"]),
    ("UHUGEINT", &["340282366920938463463374607431768211455", "0"]),
    ("BIGNUM", &["'-123456789012345678901234567890123456789012345678901234567890'", "0", "1"]),
    ("FLOAT", &["'nan'", "'-inf'", "1.5"]),
    ("DOUBLE", &["'nan'", "'inf'", "-0.0", "1e300"]),
    ("DECIMAL(4,1)", &["999.9", "-999.9"]),
    ("DECIMAL(18,3)", &["1.5"]),
    ("DECIMAL(38,0)", &["99999999999999999999999999999999999999"]),
    ("VARCHAR", &["''", "'ü 世界'", "'a text that is longer than twelve bytes'"]),
    ("BLOB", &["''", "'\\x00\\xFF'"]),
    ("BIT", &["'1'", "'10101'", "'111100001111000011110000111100001111000011110000111100001111'"]),
    ("UUID", &["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'00000000-0000-0000-0000-000000000000'"]),
    ("JSON", &["'{\"a\": [1, null]}'", "'\"x\"'", "'null'"]),
    ("DATE", &["'infinity'", "'-infinity'", "'5877642-06-25 (BC)'", "'5881580-07-10'"]),
    ("TIME", &["'00:00:00'", "'24:00:00'", "'12:34:56.789012'"]),
    ("TIME_NS", &["'24:00:00'", "'12:34:56.789012345'"]),
    ("TIME WITH TIME ZONE", &["'00:00:00-15:59:59'", "'24:00:00+15:59:59'", "'12:34:56.789012+01'"]),
    ("TIMESTAMP_S", &["'infinity'", "'-infinity'", "'2020-01-01 12:34:56'"]),
    ("TIMESTAMP_MS", &["'infinity'", "'2020-01-01 12:34:56.789'"]),
    (
        "TIMESTAMP",
        &["'infinity'", "'-infinity'", "'290309-12-22 (BC) 00:00:00'", "'294247-01-10 04:00:54.775806'"],
    ),
    ("TIMESTAMP_NS", &["'infinity'", "'1677-09-22'", "'2262-04-11 23:47:16.854775806'"]),
    ("TIMESTAMP WITH TIME ZONE", &["'infinity'", "'-infinity'", "'2020-01-01 00:00:00+02'"]),
    ("TIMESTAMPTZ_NS", &["'2020-01-01 00:00:00.123456789+00'"]),
    ("INTERVAL", &["'-3 months 4 days 5 microseconds'", "'2562047 hours'"]),
    ("ENUM('sad', 'it''s \"ok\"', '')", &["'sad'", "''", "'it''s \"ok\"'"]),
    ("INTEGER[]", &["[]", "[1, NULL]"]),
    ("INTEGER[3]", &["[1, NULL, 3]"]),
    ("STRUCT(a INTEGER, \"b c\" VARCHAR)", &["{'a': 1, 'b c': NULL}", "{'a': NULL, 'b c': 'x'}"]),
    ("TUPLE(INTEGER, VARCHAR)", &["row(1, 'x')", "row(NULL, 'y')"]),
    ("MAP(VARCHAR, INTEGER)", &["MAP {}", "MAP {'a': 1, 'b': NULL}"]),
    ("UNION(num INTEGER, str VARCHAR)", &["union_value(num := 5)", "union_value(str := 'x')"]),
    ("VARIANT", &["1", "'x'", "{'a': [1, 2], 'b': NULL}", "DATE '2020-01-01'", "1.25::DECIMAL(9,2)", "true"]),
    ("GEOMETRY", &["'POINT (1 2)'", "'MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))'", "'GEOMETRYCOLLECTION EMPTY'"]),
    ("GEOMETRY('OGC:CRS84')", &["'LINESTRING (0 0, 1 1)'"]),
    // Those that leave in another form, within others.
    ("UUID[]", &["['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', NULL]", "[]"]),
    ("HUGEINT[2]", &["[1, -99999999999999999999999999999999999999]"]),
    (
        "STRUCT(t TIME WITH TIME ZONE, u UUID, f BOOLEAN[], j JSON)[]",
        &[
            "[{'t': '12:00:00+01', 'u': 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'f': [true, NULL, false], 'j': '{}'}, NULL]",
        ],
    ),
    (
        "MAP(UUID, UHUGEINT)",
        &["MAP {'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11': 340282366920938463463374607431768211455}"],
    ),
    (
        "UNION(u UUID, h HUGEINT, b BIT)",
        &[
            "union_value(u := 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID)::UNION(u UUID, h HUGEINT, b BIT)",
            "union_value(h := 5::HUGEINT)::UNION(u UUID, h HUGEINT, b BIT)",
            "union_value(b := '101'::BIT)::UNION(u UUID, h HUGEINT, b BIT)",
        ],
    ),
    (
        "TUPLE(ENUM('x', 'y'), TUPLE(UUID, BIGNUM)[])",
        &["row('y', [row('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 5)])"],
    ),
    (
        "STRUCT(v VARIANT, g GEOMETRY[], n BIGNUM, i INTERVAL)",
        &["{'v': 1::VARIANT, 'g': ['POINT (1 2)'::GEOMETRY], 'n': 5, 'i': INTERVAL 3 DAY}"],
    ),
];

/// What nobody stores in a column, or is another name of one that is listed.
const NO_COLUMNS: &[&str] = &["null", "type"];

async fn select(client: &mut Client, sql: &str, form: &str) -> (SchemaRef, RecordBatch) {
    let headers = [("pintail-extension-types", form.to_owned())];
    let found = client.query(sql, &headers).await.unwrap();
    let schema = Arc::clone(&found.schema);
    let batches: Vec<RecordBatch> = found.batches.try_collect().await.unwrap();
    (schema, joined(&batches))
}

fn ingest(name: &str) -> CommandStatementIngest {
    ingest_into(name, TableExistsOption::Append)
}

/// Rows of a table, in order, that are not those of `s` as often as it was put.
async fn different(client: &mut Client, t: &str) -> i64 {
    // As texts: some types have no comparison.
    number(
        client,
        &format!(
        "SELECT count(*) FROM (SELECT row_number() OVER () AS n, x::VARCHAR AS x FROM s) AS s \
         FULL JOIN (SELECT (row_number() OVER () - 1) % (SELECT count(*) FROM s) + 1 AS n, x::VARCHAR AS x FROM {t}) AS t \
         USING (n) WHERE s.x IS DISTINCT FROM t.x"
        ),
    )
    .await
}

#[tokio::test]
async fn every_type_goes_back_where_it_came_from() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut sql = FlightSqlServiceClient::new_from_inner(client.inner().clone());
    // All types are listed above.
    let known: Vec<String> = TYPES.iter().map(|(name, _)| name.to_lowercase()).collect();
    let listed =
        joined(&rows(&mut client, "SELECT DISTINCT logical_type FROM duckdb_types()").await.unwrap());
    for name in listed.column(0).as_string::<i32>().iter().flatten() {
        let name = name.to_lowercase();
        let is_known = known.iter().any(|one| one.starts_with(&name)) || name == "list" || name == "array";
        assert!(is_known || NO_COLUMNS.contains(&name.as_str()), "the engine has a type {name}");
    }
    let mut wrong = Vec::new();
    for (index, (name, values)) in TYPES.iter().enumerate() {
        rows(&mut client, &format!("CREATE TABLE s (x {name})")).await.unwrap();
        for value in values.iter().chain(&["NULL"]) {
            let insert = format!("INSERT INTO s VALUES ({value})");
            rows(&mut client, &insert).await.unwrap_or_else(|error| panic!("{insert}: {error}"));
        }
        let count = values.len() as i64 + 1;
        for is_strict in [false, true] {
            for form in ["off", "on"] {
                let case = format!("{name}, declared: {is_strict}, extension types {form}");
                // A declaration stays in force when its table is dropped, so each has a name of its own.
                let t = format!("t{index}_{}_{form}", i32::from(is_strict));
                rows(&mut client, &format!("CREATE TABLE {t} (x {name})")).await.unwrap();
                if is_strict {
                    // What is written down for the table is a declaration of it.
                    let shown =
                        client.action_with("pintail.schemas", json!({ "table": t }).to_string()).await;
                    let shown = shown.unwrap();
                    let text = shown["actual"]["declaration"].as_str().unwrap().to_owned();
                    if !text.contains("name = \"x\"") {
                        wrong.push(format!("{case}: no spelling: {}", shown["actual"]["notes"]));
                        continue;
                    }
                    let body = json!({ "files": [{ "name": format!("{t}.toml"), "text": text }] });
                    let applied = client.action_with("pintail.schema_apply", body.to_string()).await;
                    applied.unwrap_or_else(|error| panic!("{case}: {error}\n{text}"));
                }
                let (_, found) = select(&mut client, "FROM s", form).await;
                let mut done = 0;
                let answer =
                    put_with(&mut client, &t, std::slice::from_ref(&found), &[("pintail-mode", "append")])
                        .await;
                match answer {
                    Ok(_) => done += 1,
                    Err(error) => wrong.push(format!("{case}: put: {error}")),
                }
                match sql.execute_ingest(ingest(&t), stream::iter([Ok(found.clone())])).await {
                    Ok(_) => done += 1,
                    Err(error) => wrong.push(format!("{case}: ingest: {error}")),
                }
                // A few rows run one by one, many as a bulk load.
                for repeats in [1, 20_i64] {
                    let many = joined(&vec![found.clone(); usize::try_from(repeats).unwrap()]);
                    let mut prepared =
                        sql.prepare(format!("INSERT INTO {t} VALUES (?)"), None).await.unwrap();
                    prepared.set_parameters(many).unwrap();
                    match prepared.execute_update().await {
                        Ok(_) => done += repeats,
                        Err(error) => wrong.push(format!("{case}: {repeats} bound: {error}")),
                    }
                    prepared.close().await.unwrap();
                }
                let stored = number(&mut client, &format!("SELECT count(*) FROM {t}")).await;
                if stored != done * count {
                    wrong.push(format!("{case}: {stored} rows of {}", done * count));
                } else if different(&mut client, &t).await != 0 {
                    wrong.push(format!("{case}: values differ"));
                }
                rows(&mut client, &format!("DROP TABLE {t}")).await.unwrap();
            }
        }
        rows(&mut client, "DROP TABLE s").await.unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// FlightInfo, GetSchema and DoGet say the same, by the header of a call.
#[tokio::test]
async fn extension_types_are_announced_as_they_arrive() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let query = "SELECT uuid() AS u, '{}'::JSON AS j, true AS b, 5::HUGEINT AS h, '101'::BIT AS bits, 1 AS i, [uuid()] AS l, \
                 '12:00:00+01'::TIMETZ AS t";
    let asked = |form: Option<&str>| {
        let mut request = Request::new(FlightDescriptor::new_cmd(query));
        if let Some(form) = form {
            request.metadata_mut().insert("pintail-extension-types", form.parse().unwrap());
        }
        request
    };
    let extension = |schema: &Schema, name: &str| {
        schema.field_with_name(name).unwrap().metadata().get("ARROW:extension:name").cloned()
    };
    for form in [None, Some("off"), Some("on")] {
        let info = client.inner().get_flight_info(asked(form)).await.unwrap().into_inner();
        let schema = client.inner().get_schema(asked(form)).await.unwrap().into_inner();
        let (arrived, batch) = select(&mut client, query, form.unwrap_or("off")).await;
        assert_eq!(info.try_decode_schema().unwrap(), *arrived, "{form:?}");
        assert_eq!(Schema::try_from(&schema).unwrap(), *arrived, "{form:?}");
        assert_eq!(batch.schema(), arrived);
        assert_eq!(extension(&arrived, "t").unwrap(), "arrow.opaque", "there is no other form of it");
        let is_on = form == Some("on");
        for field in arrived.fields() {
            // Plain bytes of a BIT say what they are; nothing else of the server's own leaves.
            let is_marked = field.metadata().contains_key("pintail:stands_for");
            assert_eq!(is_marked, !is_on && field.name() == "bits", "{form:?} {}", field.name());
        }
        for (name, expected, plain, stored) in [
            ("u", "arrow.uuid", DataType::Utf8, DataType::FixedSizeBinary(16)),
            ("j", "arrow.json", DataType::Utf8, DataType::Utf8),
            ("b", "arrow.bool8", DataType::Boolean, DataType::Int8),
            ("h", "arrow.opaque", DataType::Decimal128(38, 0), DataType::FixedSizeBinary(16)),
            ("bits", "arrow.opaque", DataType::Binary, DataType::Binary),
        ] {
            assert_eq!(extension(&arrived, name), is_on.then(|| expected.to_owned()), "{form:?} {name}");
            let found = arrived.field_with_name(name).unwrap().data_type();
            assert_eq!(*found, if is_on { stored } else { plain }, "{form:?} {name}");
        }
    }
    let refused = client.inner().get_flight_info(asked(Some("maybe"))).await.unwrap_err();
    assert!(refused.message().contains("pintail-extension-types: expected on or off"), "{refused}");
    let refused = client.inner().get_schema(asked(Some("maybe"))).await.unwrap_err();
    assert!(refused.message().contains("expected on or off"), "{refused}");
}

/// HUGEINT has 39 digits, a decimal 38.
#[tokio::test]
async fn a_hugeint_of_39_digits_is_refused_by_row_or_leaves_whole() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let sql = "SELECT unnest([1, 170141183460469231731687303715884105727]) AS big";
    let refused = query_error(&mut client, sql).await.to_string();
    for part in
        ["column \"big\"", "row 2 of the result", "17014118346046923173168730371588410572", "extension-types"]
    {
        assert!(refused.contains(part), "{refused}");
    }
    let (_, found) = select(&mut client, sql, "on").await;
    rows(&mut client, "CREATE TABLE t (big HUGEINT)").await.unwrap();
    put(&mut client, "t", &[found], "append").await.unwrap();
    let same = "SELECT count(*) FROM t WHERE big = 170141183460469231731687303715884105727";
    assert_eq!(number(&mut client, same).await, 1);
    // What Arrow has no form for at all is refused by name, before anything runs.
    let refused = query_error(&mut client, "SELECT 1 AS a, get_type(1) AS kind").await.to_string();
    assert!(refused.contains("column \"kind\" is TYPE, which has no form in Arrow"), "{refused}");
    let refused = query_error(&mut client, "SELECT to_hours(10000000) AS long").await.to_string();
    assert!(refused.contains("column \"long\"") && refused.contains("292 years"), "{refused}");
}

/// Wrong values are refused at every way in, and nothing of them is stored; the server goes on.
#[tokio::test]
async fn values_without_a_place_in_duckdb_are_refused_at_every_way_in() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut sql = FlightSqlServiceClient::new_from_inner(client.inner().clone());
    let times = arrow::array::Time64MicrosecondArray::from(vec![Some(1), None, Some(86_400_000_001)]);
    let numbers = arrow::array::Int64Array::from(vec![1, 2, 3]);
    let late =
        Schema::new(vec![Field::new("x", DataType::Time64(arrow::datatypes::TimeUnit::Microsecond), true)]);
    let late = RecordBatch::try_new(Arc::new(late), vec![Arc::new(times)]).unwrap();
    let misnamed =
        Field::new("x", DataType::Int64, true).with_metadata([("ARROW:extension:name", "arrow.uuid")]);
    let misnamed =
        RecordBatch::try_new(Arc::new(Schema::new(vec![misnamed])), vec![Arc::new(numbers)]).unwrap();
    for (batch, column, parts) in [
        (late, "TIME", &["column \"x\"", "row 3 of the batch", "86400000001 us", "no time of day"][..]),
        (misnamed, "UUID", &["column \"x\"", "arrow.uuid", "fixed_size_binary[16]", "Int64"]),
    ] {
        let check = |refused: String, way: &str| {
            // The generated client shows its errors in a form for programmers.
            let refused = refused.replace("\\\"", "\"");
            for part in parts {
                assert!(refused.contains(part), "{way}: {refused}");
            }
        };
        rows(&mut client, &format!("CREATE OR REPLACE TABLE t (x {column})")).await.unwrap();
        for mode in ["append", "create_append", "replace"] {
            let name = if mode == "append" { "t" } else { "another" };
            let refused = put(&mut client, name, std::slice::from_ref(&batch), mode).await.unwrap_err();
            check(refused.to_string(), mode);
        }
        let keyed = [("pintail-mode", "append"), ("pintail-idempotency-key", "once")];
        check(
            put_with(&mut client, "t", std::slice::from_ref(&batch), &keyed).await.unwrap_err().to_string(),
            "key",
        );
        let items = stream::iter([Ok(batch.clone())]);
        check(sql.execute_ingest(ingest("t"), items).await.unwrap_err().to_string(), "ingest");
        for repeats in [1, 20] {
            let many = joined(&vec![batch.clone(); repeats]);
            let mut prepared = sql.prepare("INSERT INTO t VALUES (?)".to_owned(), None).await.unwrap();
            prepared.set_parameters(many.clone()).unwrap();
            check(prepared.execute_update().await.unwrap_err().to_string(), "insert");
            let mut prepared = sql.prepare("SELECT ?".to_owned(), None).await.unwrap();
            prepared.set_parameters(many).unwrap();
            check(prepared.execute().await.unwrap_err().to_string(), "select");
        }
        let messages = arrow_flight::encode::FlightDataEncoderBuilder::new()
            .with_flight_descriptor(Some(FlightDescriptor::new_cmd("FROM input")))
            .build(stream::iter([Ok(batch.clone())]));
        let messages = messages.map_ok(|message| message).try_collect::<Vec<_>>().await.unwrap();
        let exchanged = match client.inner().do_exchange(stream::iter(messages)).await {
            Err(refused) => refused.to_string(),
            Ok(answers) => answers.into_inner().try_collect::<Vec<_>>().await.unwrap_err().to_string(),
        };
        check(exchanged, "exchange");
        assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 0);
        let tables = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'another'";
        assert_eq!(number(&mut client, tables).await, 0);
    }
}

/// A stream without rows makes the table that its schema says, by both ways that make tables.
#[tokio::test]
async fn a_schema_without_rows_makes_the_table() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut sql = FlightSqlServiceClient::new_from_inner(client.inner().clone());
    let schema = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::new_list(DataType::Utf8, true), true),
    ]));
    let answer = client.put(&table("put"), Arc::clone(&schema), stream::iter([]), &[]).await.unwrap();
    assert_eq!(answer.rows, 0);
    let create = ingest_into("ingested", TableExistsOption::Fail);
    let messages = arrow_flight::encode::FlightDataEncoderBuilder::new()
        .with_schema(Arc::clone(&schema))
        .with_flight_descriptor(Some(FlightDescriptor::new_cmd(prost::Message::encode_to_vec(
            &arrow_flight::sql::ProstMessageExt::as_any(&create),
        ))))
        .build(stream::iter([]));
    let messages = messages.try_collect::<Vec<_>>().await.unwrap();
    client
        .inner()
        .do_put(stream::iter(messages))
        .await
        .unwrap()
        .into_inner()
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    drop(sql.close().await);
    for name in ["put", "ingested"] {
        let listed = format!(
            "SELECT column_name || ' ' || data_type FROM duckdb_columns() WHERE table_name = '{name}'"
        );
        let columns = joined(&rows(&mut client, &listed).await.unwrap());
        let columns: Vec<&str> = columns.column(0).as_string::<i32>().iter().flatten().collect();
        assert_eq!(columns, ["a BIGINT", "b VARCHAR[]"], "{name}");
        let count = joined(&rows(&mut client, &format!("SELECT count(*) FROM {name}")).await.unwrap());
        assert_eq!(count.column(0).as_primitive::<Int64Type>().value(0), 0);
        assert!(count.column(0).is_valid(0));
    }
}
