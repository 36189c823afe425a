//! Declarations against a real database: types, apply, evolution, refusals, recorded versions, adoption.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

mod common;

use std::path::Path;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Schema;
use common::{TestServer, number, query_error, rows};
use pintail::catalog::{
    Breaking, Declaration, SchemaFile, TableName, adopt, declared_create, from_duckdb, parse_type,
    read_declarations, read_folder, render,
};
use pintail::engine::{
    Connection, Database, Options, actual_table, apply_declared, describe_rows, plain_schema, plan_declared,
    recorded_declarations, recorded_versions,
};
use pintail::error::Kind;
use pintail::server::Server;
use serde_json::json;

fn open(path: &Path) -> Arc<Database> {
    Database::open(Options {
        path: path.display().to_string(),
        memory_limit_bytes: 512 << 20,
        threads: 2,
        temp_directory: None,
        max_temp_bytes: 1 << 30,
        checkpoint_bytes: 1 << 30,
        checkpoint_hold: std::time::Duration::from_secs(300),
        result_buffer_bytes: 8 << 20,
        icu_extension: None,
    })
    .unwrap()
}

struct Fixture {
    folder: tempfile::TempDir,
    connection: Connection,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connection = open(&folder.path().join("test.duckdb")).connection().unwrap();
        Self { folder, connection }
    }

    /// Closes the file without a checkpoint and opens it again, so that everything comes back from the log.
    fn reopened(self) -> Self {
        let Self { folder, connection } = self;
        drop(connection);
        let connection = open(&folder.path().join("test.duckdb")).connection().unwrap();
        Self { folder, connection }
    }

    fn apply(&mut self, text: &str) -> Result<String, pintail::error::Error> {
        self.apply_with(text, Breaking::Refused)
    }

    fn apply_with(&mut self, text: &str, breaking: Breaking) -> Result<String, pintail::error::Error> {
        let plans = apply_declared(&mut self.connection, &declared(text), breaking, |_| ())?;
        // What was applied needs no more, whatever it was.
        let again = plan_declared(&self.connection, &declared(text), Breaking::Refused)?;
        assert!(again.iter().all(pintail::catalog::TablePlan::is_empty), "{}", render(&again));
        Ok(render(&plans))
    }

    fn run(&self, sql: &str) {
        self.connection.execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Runs `sql`, which fails unless the condition holds.
    fn holds(&self, condition: &str) {
        self.run(&format!("SELECT CASE WHEN {condition} THEN 1 ELSE error('not so') END"));
    }

    fn state(&self) -> String {
        format!("{:?}", actual_table(&self.connection, &TableName::from_text("t").unwrap()).unwrap())
    }
}

fn declared(text: &str) -> Vec<Declaration> {
    read_declarations(&[SchemaFile { name: "t.toml".into(), text: text.into() }]).unwrap()
}

/// The one table of types says what the engine's own importer says, for every type a declaration can have.
#[test]
fn every_type_is_what_the_engine_makes_of_it() {
    let fixture = Fixture::new();
    let texts = [
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "halffloat",
        "float",
        "double",
        "string",
        "large_string",
        "string_view",
        "binary",
        "large_binary",
        "binary_view",
        "fixed_size_binary[7]",
        "date32[day]",
        "date64[ms]",
        "time32[s]",
        "time32[ms]",
        "time64[us]",
        "time64[ns]",
        "timestamp[s]",
        "timestamp[ms]",
        "timestamp[us]",
        "timestamp[ns]",
        "timestamp[s, tz=UTC]",
        "timestamp[ms, tz=Europe/Berlin]",
        "timestamp[us, tz=+02:00]",
        "timestamp[ns, tz=UTC]",
        "duration[s]",
        "duration[ms]",
        "duration[us]",
        "duration[ns]",
        "month_interval",
        "day_time_interval",
        "month_day_nano_interval",
        "decimal128(4, 0)",
        "decimal128(38, 38)",
        "decimal32(9, 2)",
        "decimal64(18, 2)",
        "decimal256(38, 2)",
        "list<item: int32>",
        "large_list<item: string>",
        "list_view<item: int32>",
        "large_list_view<item: int32>",
        "fixed_size_list<item: float>[3]",
        "struct<a b: int64, select: string not null, date: bool, A1: int8, ü: int8, \"q\"\"r\": int8>",
        "map<string, int32>",
        "map<string, list<item: int32>, keys_sorted>",
        "dictionary<values=string, indices=int8, ordered=0>",
        "dictionary<values=int64, indices=uint32, ordered=1>",
        "run_end_encoded<run_ends: int32, values: string>",
        "extension<arrow.uuid>",
        "extension<arrow.json>",
        "list<item: extension<arrow.uuid>>",
        "list<item: struct<a: list<item: timestamp[us, tz=UTC]>>>",
        "struct<m: map<int8, struct<x: decimal128(9, 3)>>, l: fixed_size_list<item: list<item: date32[day]>>[2]>",
    ];
    let types: Vec<_> = texts.iter().map(|text| parse_type(text).unwrap()).collect();
    let fields: Vec<_> =
        types.iter().enumerate().map(|(index, one)| one.field(&format!("c{index}"), true)).collect();
    let described =
        describe_rows(&fixture.connection, &plain_schema(&Arc::new(Schema::new(fields)))).unwrap();
    let columns: Vec<String> =
        types.iter().enumerate().map(|(index, one)| format!("c{index} {}", one.duckdb)).collect();
    // And the catalog prints the type of a column in the same words.
    fixture.run(&format!("CREATE TABLE t ({})", columns.join(", ")));
    let actual = actual_table(&fixture.connection, &TableName::from_text("t").unwrap()).unwrap().unwrap();
    for ((one, (_, imported)), column) in types.iter().zip(&described).zip(&actual.columns) {
        assert_eq!(&one.duckdb, imported, "{}", one.text);
        assert_eq!(one.duckdb, column.duckdb_type, "{}", one.text);
        assert_eq!(from_duckdb(&column.duckdb_type).unwrap().duckdb, one.duckdb, "{}", one.text);
    }
}

/// Names inside a type are quoted by the list of words that the engine itself has.
#[test]
fn words_are_quoted_as_the_engine_quotes_them() {
    let fixture = Fixture::new();
    fixture.run("CREATE TABLE words AS SELECT DISTINCT keyword_name AS word FROM duckdb_keywords()");
    let mut cursor = Vec::new();
    for batch in collect(&fixture.connection, "SELECT word FROM words ORDER BY 1") {
        cursor.extend(batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    assert!(cursor.len() > 400, "{}", cursor.len());
    let text =
        cursor.iter().map(|word| format!("{word}: int8, _{word}: int8")).collect::<Vec<_>>().join(", ");
    let one = parse_type(&format!("struct<{text}>")).unwrap();
    fixture.run(&format!("CREATE TABLE t (a {})", one.duckdb));
    let actual = actual_table(&fixture.connection, &TableName::from_text("t").unwrap()).unwrap().unwrap();
    assert_eq!(actual.columns[0].duckdb_type, one.duckdb);
}

fn collect(connection: &Connection, sql: &str) -> Vec<arrow::array::RecordBatch> {
    let parsed = pintail::engine::parse(connection, sql).unwrap();
    let schema = parsed.describe(connection).unwrap().schema;
    let size = pintail::engine::ArraySize { bytes: 1 << 20, rows_max: None };
    let mut cursor = pintail::engine::Cursor::open(connection, &parsed, &schema, size).unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = cursor.next_batch().unwrap() {
        batches.push(batch);
    }
    batches
}

const BASE: &str = r#"
description = "it's a table"
primary_key = ["id"]
[[field]]
name = "id"
type = "int32"
[[field]]
name = "size"
type = "int16"
nullable = false
default = 7
is_indexed = true
[[field]]
name = "price"
type = "decimal128(5, 2)"
default = "1.50"
description = "in \"euros\""
[[field]]
name = "select me"
type = "struct<at: timestamp[us, tz=UTC], date: list<item: string>>"
"#;

#[test]
fn a_declared_table_is_made_with_everything_it_says() {
    let mut fixture = Fixture::new();
    let report = fixture.apply(BASE).unwrap();
    assert!(report.contains("t: create, version 1") && report.contains("+ index on size"), "{report}");
    let fixture = fixture.reopened();
    fixture.run("INSERT INTO t (id) VALUES (1)");
    fixture.holds("(SELECT size = 7 AND price = 1.5 AND \"select me\" IS NULL FROM t)");
    fixture.holds("(SELECT comment = 'it''s a table' FROM duckdb_tables() WHERE table_name = 't')");
    fixture.holds("(SELECT comment = 'in \"euros\"' FROM duckdb_columns() WHERE table_name = 't' AND column_name = 'price')");
    fixture.holds("(SELECT index_name = 't_size_index' FROM duckdb_indexes() WHERE table_name = 't')");
    assert_eq!(
        fixture.connection.execute("INSERT INTO t (id) VALUES (1)").unwrap_err().kind(),
        Kind::Conflict
    );
    assert_eq!(
        fixture.connection.execute("INSERT INTO t (id, size) VALUES (2, NULL)").unwrap_err().kind(),
        Kind::Conflict
    );
    let plan = plan_declared(&fixture.connection, &declared(BASE), Breaking::Refused).unwrap();
    assert!(plan[0].is_empty(), "{}", render(&plan));
}

/// Every change that is made without asking, one after the other on a table with rows, a key and an index.
#[test]
fn a_table_with_rows_follows_its_declaration() {
    let mut fixture = Fixture::new();
    let mut text = BASE.to_owned();
    fixture.apply(&text).unwrap();
    fixture.run("INSERT INTO t SELECT i, i % 100, i / 100.0, NULL FROM range(5000) r(i)");
    for (from, to) in [
        ("\"it's a table\"", "\"another\""),
        ("int16", "int64"),
        ("int32", "int64"),
        ("(5, 2)", "(9, 2)"),
        ("\"1.50\"", "\"2.50\""),
        ("nullable = false\ndefault = 7", "default = 8"),
        ("name = \"price\"", "name = \"price\"\nis_indexed = true"),
        ("default = 8\nis_indexed = true", "default = 8"),
        ("in \\\"euros\\\"", "in dollars"),
    ] {
        let changed = text.replace(from, to);
        fixture.apply(&changed).unwrap_or_else(|error| panic!("{from} -> {to}: {error}"));
        text = changed;
    }
    text.push_str("[[field]]\nname = \"new\"\ntype = \"string\"\nnullable = false\ndefault = \"x\"\nis_indexed = true\n");
    text.push_str("[[field]]\nname = \"newer\"\ntype = \"list<item: int8>\"\ndescription = \"n\"\n");
    fixture.apply(&text).unwrap();
    let mut fixture = fixture.reopened();
    fixture.holds("(SELECT count(*) = 5000 AND sum(id) = 12497500 AND count(DISTINCT size) = 100 FROM t)");
    fixture.holds("(SELECT count(*) = 5000 FROM t WHERE new = 'x')");
    fixture.holds("(SELECT count(*) = 1 FROM t WHERE price = 12.34)");
    // An older producer, who knows nothing of the new columns, and a size that used to be required.
    fixture.run("INSERT INTO t (id, size, price) VALUES (5000, NULL, 1.0)");
    assert!(fixture.connection.execute("INSERT INTO t (id) VALUES (5000)").is_err());
    fixture.holds(
        "(SELECT list_sort(list(index_name)) = ['t_new_index', 't_price_index'] FROM duckdb_indexes())",
    );
    let versions = recorded_versions(&fixture.connection).unwrap();
    assert_eq!((versions.len(), versions[0].version), (1, 11));
    assert_eq!(versions[0].fingerprint, declared(&text)[0].fingerprint());
    assert!(versions[0].applied_at_ms > 1_700_000_000_000);
    assert_eq!(recorded_declarations(&fixture.connection).unwrap(), declared(&text));
    // Applying again does nothing and records nothing.
    fixture.apply(&text).unwrap();
    assert_eq!(recorded_versions(&fixture.connection).unwrap()[0].version, 11);
}

/// Indexes that nobody declared survive what has to be done around them.
#[test]
fn foreign_indexes_and_added_columns_survive_a_rebuild() {
    let mut fixture = Fixture::new();
    let text = format!("on_new_column = \"add\"\n{BASE}");
    fixture.apply(&text).unwrap();
    fixture.run("ALTER TABLE t ADD COLUMN \"by producer\" VARCHAR DEFAULT 'p'");
    fixture.run("COMMENT ON COLUMN t.\"by producer\" IS 'theirs'");
    fixture.run("CREATE UNIQUE INDEX pair ON t (\"by producer\", id)");
    fixture.run("CREATE INDEX computed ON t ((price * 2))");
    fixture.run("INSERT INTO t (id) SELECT * FROM range(100)");
    fixture.apply(&text).unwrap();
    let wider = text.replace("int32", "int64").replace("nullable = false\n", "");
    let report = fixture.apply(&wider).unwrap();
    assert!(report.contains("rebuild the table: make it anew, copy 100 rows"), "{report}");
    let mut fixture = fixture.reopened();
    fixture.holds("(SELECT count(*) = 100 FROM t WHERE \"by producer\" = 'p')");
    fixture.holds(
        "(SELECT list_sort(list(index_name)) = ['computed', 'pair', 't_size_index'] FROM duckdb_indexes())",
    );
    fixture.holds("(SELECT comment = 'theirs' FROM duckdb_columns() WHERE column_name = 'by producer')");
    // Without a rebuild as well.
    let stricter = wider.replace("default = 7", "nullable = false\ndefault = 7");
    fixture.apply_with(&stricter, Breaking::Allowed).unwrap();
    fixture.holds("(SELECT count(*) = 3 FROM duckdb_indexes())");
    // A rule that no declaration says would be lost with the table.
    fixture.run("CREATE TABLE u (id BIGINT REFERENCES t (id))");
    let narrower = stricter.replace("int64", "int32");
    let refused = fixture.apply_with(&narrower, Breaking::Allowed).unwrap_err();
    assert!(refused.message().contains("the foreign key of table u"), "{refused}");
}

/// A put that is under way while its table is rebuilt is not acknowledged: its rows would be lost with the old table.
#[test]
fn a_rebuild_loses_no_acknowledged_row() {
    let mut fixture = Fixture::new();
    fixture.apply(BASE).unwrap();
    fixture.run("INSERT INTO t (id) SELECT * FROM range(1000)");
    let mut other = fixture.connection.database().connection().unwrap();
    other.begin().unwrap();
    other.execute("INSERT INTO t (id) VALUES (5000)").unwrap();
    let report = fixture.apply(&BASE.replace("int32", "int64")).unwrap();
    assert!(report.contains("rebuild the table"), "{report}");
    assert!(other.commit().is_err());
    fixture.holds("(SELECT count(*) = 1000 AND max(id) = 999 FROM t)");
    fixture.holds("(SELECT count(*) = 4 FROM duckdb_columns() WHERE table_name = 't')");
}

/// Breaking changes change nothing; allowed, they are made, and fail as a whole where a value does not fit.
#[test]
fn breaking_changes_are_refused_whole_and_made_when_allowed() {
    let mut fixture = Fixture::new();
    fixture.apply(BASE).unwrap();
    fixture.run("INSERT INTO t SELECT i, i % 10, 1, NULL FROM range(40000) r(i)");
    let before = fixture.state();
    let breaking = [
        (BASE.replace("int32", "int16"), "narrows"),
        (BASE.replace("[\"id\"]", "[\"id\", \"size\"]"), "key change"),
        (BASE.replace("decimal128(5, 2)", "decimal128(5, 1)").replace("1.50", "1.5"), "scale"),
        (BASE.replace("name = \"price\"", "name = \"cost\""), "a rename is a drop and an add"),
        (BASE.replace("name = \"price\"", "name = \"price\"\nnullable = false"), "may send NULL"),
    ];
    for (text, reason) in &breaking {
        let refused = fixture.apply(text).unwrap_err();
        assert_eq!(refused.kind(), Kind::Conflict);
        assert!(refused.message().contains(reason), "{refused}");
        assert!(refused.message().contains("--allow-breaking"), "{refused}");
        assert_eq!(fixture.state(), before);
    }
    // 40,000 ids do not fit into int16, and the transaction says so after the table was made anew.
    let failed = fixture.apply_with(&breaking[0].0, Breaking::Allowed).unwrap_err();
    assert!(
        failed.message().contains("table t") && failed.message().contains("nothing was changed"),
        "{failed}"
    );
    assert_eq!(fixture.state(), before);
    for (text, _) in &breaking[1..] {
        fixture.apply_with(text, Breaking::Allowed).unwrap();
        fixture.holds("(SELECT count(*) = 40000 FROM t)");
    }
    assert_eq!(recorded_versions(&fixture.connection).unwrap()[0].version, 5);
}

#[test]
fn a_view_or_a_required_column_in_the_way_is_refused_before_anything_is_done() {
    let mut fixture = Fixture::new();
    fixture.run("CREATE VIEW t AS SELECT 1 AS id");
    let refused = fixture.apply_with(BASE, Breaking::Allowed).unwrap_err();
    assert!(refused.message().contains("a view of that name"), "{refused}");
    fixture.run("DROP VIEW t");
    fixture.run("CREATE TABLE t AS SELECT 1::INTEGER AS id");
    let refused = fixture.apply_with(
        "[[field]]\nname = 'id'\ntype = 'int32'\n[[field]]\nname = 'x'\ntype = 'int8'\nnullable = false",
        Breaking::Allowed,
    );
    assert!(
        refused.unwrap_err().message().contains("the 1 row that are there have no value"),
        "count and reason"
    );
    assert_eq!(recorded_versions(&fixture.connection).unwrap(), []);
}

/// A table as it is, shown as a declaration, is a declaration that the table fits; and so is every example.
#[test]
fn tables_are_adopted_and_the_shipped_examples_apply() {
    let mut fixture = Fixture::new();
    fixture.run("CREATE SCHEMA s");
    fixture.run(
        "CREATE TABLE s.\"odd.name\" (a BIGINT PRIMARY KEY, b VARCHAR DEFAULT 'x''y', \
         c DOUBLE DEFAULT 1.5, d BOOLEAN DEFAULT true, e DATE DEFAULT DATE '2026-01-31', \
         f STRUCT(\"x y\" INTEGER, m MAP(VARCHAR, DECIMAL(9,3)[])), g UUID, h JSON, i TIMESTAMPTZ, j FLOAT[3])",
    );
    fixture.run("CREATE INDEX by_b ON s.\"odd.name\" (b)");
    fixture.run("COMMENT ON TABLE s.\"odd.name\" IS 'odd'");
    let name = TableName::from_text("S.\"ODD.NAME\"").unwrap();
    let actual = actual_table(&fixture.connection, &name).unwrap().unwrap();
    let (adopted, notes) = adopt(&actual, None);
    assert_eq!(notes, Vec::<String>::new());
    let report = fixture.apply(&adopted.to_toml()).unwrap();
    assert!(report.contains("s.odd.name: as declared, version 1"), "{report}");
    let examples = read_declarations(&read_folder(Path::new("schemas")).unwrap()).unwrap();
    assert_eq!(
        examples.iter().map(Declaration::listed_name).collect::<Vec<_>>(),
        ["well_production", "well_test"]
    );
    apply_declared(&mut fixture.connection, &examples, Breaking::Refused, |_| ()).unwrap();
    for example in &examples {
        let actual = actual_table(&fixture.connection, &example.name).unwrap().unwrap();
        let (shown, notes) = adopt(&actual, Some(example));
        assert_eq!((&shown, notes.len()), (example, 0));
        // And the statements alone make the same table.
        let copy = TableName { table: format!("{}_copy", example.name.table), ..example.name.clone() };
        for sql in declared_create(example, &copy) {
            fixture.run(&sql);
        }
        let copied = actual_table(&fixture.connection, &copy).unwrap().unwrap();
        assert_eq!((copied.columns, copied.primary_key), (actual.columns, actual.primary_key));
    }
}

/// A default is a value of its column, whatever the type: the engine takes every literal.
#[test]
fn the_engine_takes_every_default() {
    let mut fixture = Fixture::new();
    let fields: Vec<String> = [
        ("bool", "true"),
        ("int8", "-128"),
        ("uint64", "9223372036854775807"),
        ("halffloat", "0.5"),
        ("double", "nan"),
        ("float", "-inf"),
        ("string", "\"it's\\n\""),
        ("binary", "'a\\xFF'"),
        ("fixed_size_binary[2]", "'ab'"),
        ("date32[day]", "2026-01-31"),
        ("time32[ms]", "\"10:30:00.125\""),
        ("time64[ns]", "\"10:30:00.123456789\""),
        ("timestamp[s]", "2026-01-31T10:00:00"),
        ("timestamp[ns]", "\"2026-01-31T10:00:00.123456789\""),
        ("timestamp[us, tz=UTC]", "2026-01-31T10:00:00+02:00"),
        ("timestamp[ns, tz=UTC]", "2026-01-31T10:00:00Z"),
        ("decimal128(38, 2)", "\"-999999999999999999999999999999999999.99\""),
        ("uuid", "\"6BA7B810-9dad-11d1-80b4-00c04fd430c8\""),
        ("json", "'{\"a\": [1]}'"),
        ("dictionary<values=string, indices=int8>", "\"d\""),
    ]
    .iter()
    .enumerate()
    .map(|(index, (data_type, value))| {
        format!("[[field]]\nname = \"c{index}\"\ntype = \"{data_type}\"\ndefault = {value}\n")
    })
    .collect();
    let text = format!("[[field]]\nname = \"id\"\ntype = \"int8\"\n{}", fields.join(""));
    fixture.apply(&text).unwrap();
    fixture.run("INSERT INTO t (id) VALUES (1)");
    fixture.holds("(SELECT c1 = -128 AND c6 = E'it''s\\n' AND c7 = 'a\\xFF'::BLOB AND isnan(c4) FROM t)");
    fixture.holds("(SELECT c14 = TIMESTAMPTZ '2026-01-31 08:00:00+00' FROM t)");
    let actual = actual_table(&fixture.connection, &TableName::from_text("t").unwrap()).unwrap().unwrap();
    assert_eq!(adopt(&actual, Some(&declared(&text)[0])).0, declared(&text)[0]);
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(name), text).unwrap();
}

#[tokio::test]
async fn the_server_applies_its_folder_and_hides_its_own_schema() {
    let directory = tempfile::tempdir().unwrap();
    let schemas = directory.path().join("declared");
    write(&schemas, "t.toml", BASE);
    let folder = schemas.clone();
    let server = TestServer::start_in(directory, |config| config.schemas.dir = Some(folder)).await;
    let mut client = server.client().await;
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 0);
    assert_eq!(number(&mut client, "SELECT count(*) FROM pintail_internal.schema_versions").await, 1);
    let listed = client.list().await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    let answer = client.action("pintail.schemas").await.unwrap();
    let table = &answer["tables"][0];
    assert_eq!(
        (&table["name"], &table["version"], &table["difference"]),
        (&json!("t"), &json!(1), &json!(null))
    );
    assert_eq!(table["fingerprint"], table["recorded_fingerprint"]);
    // Drift is seen, and a table that is gone as well.
    rows(&mut client, "ALTER TABLE t ALTER COLUMN price SET DEFAULT 3").await.unwrap();
    let answer = client.action("pintail.schemas").await.unwrap();
    assert!(answer["tables"][0]["difference"][0].as_str().unwrap().contains("default of price"), "{answer}");
    let answer = client.action_with("pintail.schemas", json!({ "table": "T" }).to_string()).await.unwrap();
    let shown = answer["actual"]["declaration"].as_str().unwrap();
    assert_eq!(declared(shown)[0].fields[2].default.as_deref(), Some("CAST('3.00' AS DECIMAL(5, 2))"));
    // Started again, the server finds its tables as they were declared.
    let directory = server.stop().await;
    let server = TestServer::start_in(directory, |config| config.schemas.dir = Some(schemas)).await;
    let answer = server.client().await.action("pintail.schemas").await.unwrap();
    assert_eq!(answer["tables"][0]["difference"], json!(null));
    server.stop().await;
}

#[tokio::test]
async fn declarations_applied_by_an_action_are_in_force_also_after_a_start_without_a_folder() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let body = |text: &str| json!({ "files": [{ "name": "t.toml", "text": text }] }).to_string();
    let plan = client.action_with("pintail.schema_plan", body(BASE)).await.unwrap();
    assert!(plan["text"].as_str().unwrap().contains("t: create, version 1"), "{plan}");
    assert!(query_error(&mut client, "FROM t").await.message().contains("does not exist"));
    client.action_with("pintail.schema_apply", body(BASE)).await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 0);
    let wrong = client.action_with("pintail.schema_plan", body("mode = 'x'\nfoo = 1")).await.unwrap();
    assert_eq!(wrong["problems"].as_array().unwrap().len(), 3, "{wrong}");
    let wrong = client.action_with("pintail.schema_apply", body("mode = 'x'")).await.unwrap_err();
    assert_eq!(wrong.kind(), Kind::Invalid);
    let refused = client.action_with("pintail.schema_apply", body(&BASE.replace("int32", "int8"))).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Conflict);
    let bad = client.action_with("pintail.schema_plan", "{\"fils\": []}".into()).await.unwrap_err();
    assert!(bad.message().contains("files"), "{bad}");
    let directory = server.stop().await;
    let server = TestServer::start_in(directory, |_| {}).await;
    let answer = server.client().await.action("pintail.schemas").await.unwrap();
    assert_eq!((&answer["tables"][0]["name"], &answer["tables"][0]["version"]), (&json!("t"), &json!(1)));
    server.stop().await;
}

/// A start with wrong declarations, or with declarations the database does not fit, says everything and does nothing.
#[tokio::test]
async fn a_start_is_refused_with_every_problem_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let schemas = directory.path().join("declared");
    write(&schemas, "a.toml", "[[field]]\nname = 'x'\ntype = 'int46'");
    write(&schemas, "b.toml", "primary_key = ['y']\n[[field]]\nname = 'x'\ntype = 'int8'\ndefault = 'q'");
    let mut config = common::config(directory.path());
    config.schemas.dir = Some(schemas.clone());
    let refusal = |error: pintail::error::Error| {
        assert_eq!(error.kind(), Kind::Invalid);
        error.message().to_owned()
    };
    let message = refusal(Server::start(&config).await.err().unwrap());
    for part in ["3 problems", "a.toml:3", "b.toml:1", "b.toml:5"] {
        assert!(message.contains(part), "{message} lacks {part}");
    }
    assert!(!Path::new(&config.database.path).exists(), "the database was made");
    // A first version of two tables, and then two contradictions, beside a table that would be fine.
    write(&schemas, "a.toml", "[[field]]\nname = 'x'\ntype = 'int64'");
    write(&schemas, "b.toml", "[[field]]\nname = 'x'\ntype = 'string'");
    Server::start(&config).await.unwrap().stop().await.unwrap();
    write(&schemas, "a.toml", "[[field]]\nname = 'x'\ntype = 'int32'");
    write(&schemas, "b.toml", "[[field]]\nname = 'y'\ntype = 'string'");
    write(&schemas, "c.toml", "[[field]]\nname = 'x'\ntype = 'int64'");
    let message = refusal(Server::start(&config).await.err().unwrap());
    for part in ["a: refused", "narrows", "b: refused", "drop column x", "c: create"] {
        assert!(message.contains(part), "{message} lacks {part}");
    }
    // Differences are only told when the start is not to apply anything.
    config.schemas.apply_at_start = false;
    let server = Server::start(&config).await.unwrap();
    let uri = format!("grpc://{}", server.flight_addr());
    let running = tokio::spawn(
        server.run_until(tokio::time::sleep(std::time::Duration::from_secs(2)), std::future::pending()),
    );
    let mut client = pintail::client::Client::connect(&uri).await.unwrap();
    let answer = client.action("pintail.schemas").await.unwrap();
    let exists: Vec<bool> =
        answer["tables"].as_array().unwrap().iter().map(|one| one["exists"] == json!(true)).collect();
    assert_eq!(exists, [true, true, false]);
    drop(client);
    running.await.unwrap().unwrap();
}
