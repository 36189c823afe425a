//! Arrays as the server has them built, beside those of the engine's own code: the same values, in bounded sizes.

use arrow::array::{Array, RecordBatch};
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use pintail::engine::{ArraySize, Connection, Cursor, Database, parse};
use pintail::size::batch_bytes;

use crate::support::database;

/// One of every type, and lists, structs and maps of them; the engine has no Arrow form for what is left out, or one that
/// is refused for these values.
const ALL_TYPES: &str = "SELECT t.* EXCLUDE (interval, timestamp_tz_ns, empty_struct), range AS row
    FROM range(5000), test_all_types(use_large_enum => true) t ORDER BY row, bigint";

fn database(engine_arrays: bool) -> std::sync::Arc<Database> {
    Database::open(pintail::engine::Options { engine_arrays, ..database::options(":memory:") }).unwrap()
}

fn read(connection: &Connection, sql: &str, size: ArraySize) -> Vec<RecordBatch> {
    let statement = parse(connection, sql).unwrap();
    let schema = statement.describe(connection).unwrap().schema;
    let mut cursor =
        Cursor::open(connection, &statement, &schema, size).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut batches = Vec::new();
    while let Some(batch) = cursor.next_batch().unwrap_or_else(|error| panic!("{sql}: {error}")) {
        for column in batch.columns() {
            column.to_data().validate_full().unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        batches.push(batch);
    }
    batches
}

fn whole(batches: &[RecordBatch]) -> RecordBatch {
    concat_batches(&batches[0].schema(), batches).unwrap()
}

/// The rows in the order of their first column, which parallel changes do not keep.
fn sorted(batch: &RecordBatch) -> RecordBatch {
    let order = sort_to_indices(batch.column(0), None, None).unwrap();
    take_record_batch(batch, &order).unwrap()
}

/// An upgrade of the engine that changes how it builds arrays fails here.
#[test]
fn arrays_hold_what_the_engine_s_own_hold() {
    let (ours, theirs) = (database(false), database(true));
    let connections = [ours.connection().unwrap(), theirs.connection().unwrap()];
    for connection in &connections {
        for sql in [
            "CREATE TYPE mood AS ENUM ('', 'sad', 'a mood of more than twelve bytes')",
            "CREATE TABLE t AS SELECT range AS n, 'row ' || range AS short,
                CASE WHEN range % 3 = 0 THEN repeat('ä', (range % 40)::INT) END AS text,
                CASE WHEN range % 7 > 0 THEN encode('blob ' || range * range) END AS blob,
                (range % 1000 - 500)::DECIMAL(4, 0) AS d4, (range - 9999)::DECIMAL(9, 2) AS d9, (-range * range)::DECIMAL(18, 3) AS d18,
                ['', 'sad', 'a mood of more than twelve bytes'][1 + range % 3]::mood AS mood,
                uuid() AS id, range % 2 = 0 AS yes, CASE WHEN range % 5 = 0 THEN NULL ELSE range::HUGEINT * 12345678901234567 END AS huge,
                [x::VARCHAR FOR x IN range(range % 5)] AS texts, {'a': range, 'b': ['', 'b' || range]} AS deep,
                MAP {'k' || range: range / 3} AS map, [range, NULL, 3]::BIGINT[3] AS fixed
             FROM range(300000)",
        ] {
            connection.execute(sql).unwrap();
        }
    }
    // The ids are random.
    let table = "SELECT * EXCLUDE (id) FROM t";
    let queries = [
        ALL_TYPES.to_owned(),
        table.to_owned(),
        // Vectors with a selection, few rows at a time, dictionaries and constants.
        format!("{table} WHERE n % 3 = 1"),
        format!("{table} WHERE n % 4099 = 17"),
        format!("{table} ORDER BY n % 1000, n LIMIT 5000"),
        "SELECT a.short, b.text FROM t a JOIN t b ON a.n = b.n * 2 ORDER BY a.n".to_owned(),
        "SELECT 'a constant of more than twelve bytes' AS c, NULL::VARCHAR AS nothing, 1.5::DECIMAL(18, 1) AS d, [NULL, 'x'] AS l FROM t".to_owned(),
        format!("{table} WHERE false"),
        // From narrow to wide and back.
        "SELECT n, repeat('w', CASE WHEN n BETWEEN 5000 AND 7000 THEN 20000 ELSE 3 END) AS s, [repeat('v', CASE WHEN n BETWEEN 150000 AND 150200 THEN 60000 ELSE 2 END)] AS l FROM t".to_owned(),
        // A statement whose result is kept by the engine before it is read.
        "CREATE OR REPLACE TABLE u AS FROM t; UPDATE u SET short = short || '!' WHERE n % 1000 = 3 RETURNING n, short".to_owned(),
    ];
    for sql in &queries {
        let (before, sql) =
            sql.rsplit_once("; ").map_or(("SELECT 1", sql.as_str()), |(before, sql)| (before, sql));
        for bytes in [20_000, 1 << 20, 8 << 20] {
            for rows_max in [None, Some(1000)] {
                let size = ArraySize { bytes, rows_max };
                let [found, wanted] = connections.each_ref().map(|connection| {
                    connection.execute(before).unwrap();
                    read(connection, sql, size)
                });
                assert_eq!(found.is_empty(), wanted.is_empty(), "{sql}");
                if found.is_empty() {
                    continue;
                }
                assert_eq!(found[0].schema(), wanted[0].schema(), "{sql}");
                let (found_rows, wanted_rows) = match sql.contains("RETURNING") {
                    true => (sorted(&whole(&found)), sorted(&whole(&wanted))),
                    false => (whole(&found), whole(&wanted)),
                };
                assert!(found_rows == wanted_rows, "{sql}, {size:?}");
                assert!(found.iter().all(|batch| batch.num_rows() <= rows_max.unwrap_or(122_880)), "{sql}");
            }
        }
    }
}

/// Rows of any width, also where it changes, come in arrays of about the size that was asked for.
#[test]
fn arrays_are_bounded_in_bytes() {
    let database = database(false);
    let connection = database.connection().unwrap();
    let target = 1 << 20;
    let wide = |value: &str| format!("SELECT range AS n, {value} AS v FROM range(20000)");
    for value in [
        "repeat('x', 8000)",
        "repeat('x', 17600)",
        "encode(repeat('x', 8000))",
        "['a', repeat('x', 8000)]",
        "{'a': 1, 'b': repeat('x', 8000)}",
        "MAP {'k': [repeat('x', 4000), repeat('y', 4000)]}",
        "repeat('x', CASE WHEN range % 3000 < 20 THEN 100000 ELSE 5 END)",
        "range",
        "[range, range]",
    ] {
        let batches = read(&connection, &wide(value), ArraySize { bytes: target, rows_max: None });
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 20_000, "{value}");
        for batch in &batches {
            let bytes = batch_bytes(batch);
            // Within a vector, rows are taken to be of one width.
            let bound = if value.contains("CASE") { target * 3 } else { target * 3 / 2 };
            assert!(
                bytes <= bound || batch.num_rows() == 1,
                "{value}: {bytes} bytes in {} rows",
                batch.num_rows()
            );
        }
        // Not one row at a time either: half of them have at least a third of it, where rows are alike.
        let large = batches.iter().filter(|batch| batch_bytes(batch) >= target / 3).count();
        let parts = if value.contains("CASE") { 4 } else { 2 };
        assert!(large * parts >= batches.len() || batches.len() < 3, "{value}: {large} of {}", batches.len());
    }
}
