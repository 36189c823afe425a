//! What statements may do, over an engine in memory: who, what, and what becomes of it.
//! Runs on: `cargo test`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;

use super::{Access, Grant, Level, Right, Tables};
use crate::connection::Connection;
use crate::database::{Database, Options};
use crate::error::{Kind, Result};
use crate::read::{ArraySize, Cursor, describe, parse};
use crate::sql::Class;

const MADE: &str = "CREATE SCHEMA s; CREATE SCHEMA other; CREATE SCHEMA pintail_internal;
    CREATE TABLE pintail_internal.users (name VARCHAR);
    CREATE TABLE wells (field_code INTEGER, name VARCHAR, oil DOUBLE);
    INSERT INTO wells SELECT i % 10, CASE i % 10 WHEN 7 THEN i::VARCHAR ELSE 'secret' || i END, i FROM range(1000) r(i);
    CREATE TABLE open_table (a INTEGER, b VARCHAR); INSERT INTO open_table VALUES (1, 'x'), (2, 'y');
    CREATE TABLE s.t (a INTEGER PRIMARY KEY, b VARCHAR); INSERT INTO s.t VALUES (1, 'one');
    CREATE TABLE other.secret (field_code INTEGER, token VARCHAR); INSERT INTO other.secret VALUES (7, 'hush');
    CREATE VIEW s.over_wells AS SELECT * FROM main.wells;
    CREATE VIEW s.shown AS SELECT token FROM other.secret;
    CREATE VIEW s.open_view AS SELECT a FROM main.open_table;
    CREATE MACRO most() AS (SELECT max(oil) FROM wells);
    CREATE MACRO all_of() AS TABLE SELECT * FROM other.secret;
    CREATE SEQUENCE ids";

fn tables(schema: Option<&str>, table: Option<&str>) -> Tables {
    Tables { schema: schema.map(Into::into), table: table.map(Into::into) }
}

fn grant(on: Tables, rights: &[Right]) -> Grant {
    Grant { tables: on, rights: rights.to_vec(), filter: None, hide: Vec::new() }
}

/// A customer: rows of one field, without names; a table, a schema, and a view by its name.
fn customer(level: Level) -> Arc<Access> {
    let grants = vec![
        Grant {
            filter: Some("field_code = 7".into()),
            hide: vec!["field_code".into()],
            ..grant(tables(Some("main"), Some("wells")), &[Right::Read, Right::Ingest])
        },
        grant(tables(Some("main"), Some("open_table")), &[Right::Read, Right::Ingest]),
        grant(tables(Some("s"), None), &[Right::Read, Right::Ingest, Right::Define]),
    ];
    let definable = vec![tables(Some("s"), None)];
    Arc::new(Access::new("ada", level, Some(grants), Vec::new(), definable))
}

fn plain(level: Level) -> Arc<Access> {
    Arc::new(Access::new("bob", level, None, Vec::new(), Vec::new()))
}

fn open() -> Arc<Database> {
    let database = Database::open(Options::in_memory()).unwrap();
    let connection = database.connection().unwrap();
    for sql in MADE.split(';') {
        connection.execute(sql).unwrap();
    }
    database
}

/// What became of a statement: its rows as text, or its error.
fn run(connection: &Connection, sql: &str) -> Result<String> {
    let statement = parse(connection, sql)?;
    let described = statement.describe(connection)?;
    if described.is_count {
        return connection.execute_parsed(&statement).map(|rows| rows.to_string());
    }
    let size = ArraySize { bytes: 1 << 20, rows_max: None };
    let mut cursor = Cursor::open(connection, &statement, &described.schema, size)?;
    let mut batches: Vec<RecordBatch> = Vec::new();
    while let Some(batch) = cursor.next_batch()? {
        batches.push(batch);
    }
    let names: Vec<&str> = described.schema.fields().iter().map(|field| field.name().as_str()).collect();
    Ok(format!("{}\n{}", names.join(","), pretty_format_batches(&batches).unwrap()))
}

/// Runs statements as somebody; `None` is an admin. Each is to give a text with the part named, or an error of the kind
/// with it; nothing ever shows what is left out.
fn check(who: Option<&Arc<Access>>, cases: &[(&str, std::result::Result<&str, Kind>, &str)]) {
    let database = open();
    let mut wrong = Vec::new();
    for (sql, expected, part) in cases {
        let mut connection = database.connection().unwrap();
        connection.hold_to(who.cloned());
        // What one of them changes is not there for the next, but for the table that some are about.
        let stays = sql.contains("TABLE s.n ");
        if !stays {
            connection.begin().unwrap();
        }
        let found = run(&connection, sql);
        if !stays {
            connection.rollback().unwrap();
        }
        let (is_right, text) = match (&found, expected) {
            (Ok(text), Ok(wanted)) => (text.contains(wanted) && text.contains(part), text.clone()),
            (Err(error), Err(kind)) => {
                (error.kind() == *kind && error.message().contains(part), error.to_string())
            }
            (Ok(text), Err(_)) => (false, text.clone()),
            (Err(error), Ok(_)) => (false, format!("{:?} {error}", error.kind())),
        };
        let leaks = ["secret1", "secret2", "hush", "token"]
            .iter()
            .any(|word| text.contains(word) && !sql.contains(word));
        if !is_right || leaks {
            wrong.push(format!(
                "{sql}\n    wanted {expected:?} with \"{part}\"\n    found  {}",
                crate::error::shorten(&text, 400)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn a_customer_sees_the_granted_part_and_nothing_else() {
    let denied = Err(Kind::Denied);
    check(
        Some(&customer(Level::Reader)),
        &[
            ("SELECT count(*) AS n FROM wells", Ok("100"), "n"),
            ("FROM wells ORDER BY oil LIMIT 1", Ok("name,oil"), "| 7    | 7.0 |"),
            ("SELECT main.wells.name FROM main.wells WHERE oil = 17", Ok("17"), ""),
            ("SELECT w.name FROM memory.main.wells w WHERE w.oil = 17", Ok("17"), ""),
            (
                "SELECT memory.main.wells.name FROM memory.main.wells WHERE memory.main.wells.oil = 17",
                Ok("17"),
                "",
            ),
            ("SELECT \"WELLS\".\"Name\" FROM \"Main\".\"WELLS\" WHERE oil = 17", Ok("17"), ""),
            ("WITH wells AS (SELECT 1 AS x) SELECT * FROM wells", Ok("x"), "1"),
            (
                "WITH w AS (SELECT * FROM wells) SELECT count(*) FROM w JOIN open_table o ON o.a = 1",
                Ok("100"),
                "",
            ),
            (
                "WITH w AS (SELECT * FROM wells), wells AS (FROM w LIMIT 3) SELECT count(*) FROM wells",
                Ok("3"),
                "",
            ),
            (
                "SELECT (SELECT count(*) FROM wells x WHERE x.oil < y.oil) FROM wells y WHERE oil = 17",
                Ok("1"),
                "",
            ),
            ("SELECT a FROM open_table WHERE a IN (SELECT oil FROM wells)", Ok("a"), ""),
            ("PIVOT wells ON name IN ('7', '17') USING sum(oil)", Ok("17"), ""),
            ("SELECT * FROM wells TABLESAMPLE 100% ORDER BY oil LIMIT 1", Ok("| 7    | 7.0 |"), ""),
            ("SELECT min(oil) AS low, max(oil) AS high FROM wells", Ok("997"), "7.0"),
            // No condition is evaluated for rows that are left out.
            ("SELECT count(*) FROM wells WHERE name::INTEGER = 17", Ok("1"), ""),
            (
                "SELECT count(*) FROM wells WHERE CASE WHEN name LIKE 'secret%' THEN error(name) ELSE true END",
                Ok("100"),
                "",
            ),
            ("SELECT count(*) FROM wells w JOIN open_table o ON w.name::INTEGER = o.a + 6", Ok("1"), ""),
            ("SELECT count(*) FROM wells WHERE 1 // (length(name) - 7) > 5", Ok("0"), ""),
            ("FROM wells WHERE error(name)", Err(Kind::Invalid), ""),
            ("SELECT stats(oil) FROM wells LIMIT 1", denied, "stats"),
            // What is left out is not there.
            ("SELECT field_code FROM wells", Err(Kind::Invalid), "field_code"),
            ("SELECT * FROM wells WHERE field_code = 3", Err(Kind::Invalid), "field_code"),
            ("SELECT rowid FROM wells", Err(Kind::Invalid), "rowid"),
            ("DESCRIBE wells", Ok("oil"), "name"),
            ("DESCRIBE SELECT * FROM wells", Ok("oil"), ""),
            ("SUMMARIZE wells", Ok("997"), ""),
            // Ways round.
            ("FROM s.over_wells", denied, "in part"),
            ("FROM query('FROM wells')", denied, "query"),
            ("FROM query_table('wells')", denied, "query_table"),
            ("FROM histogram(wells, name)", denied, "histogram"),
            ("SELECT most()", denied, "in part"),
            ("FROM all_of()", denied, "other.secret"),
            ("EXPLAIN SELECT * FROM wells", denied, "EXPLAIN"),
            ("EXPLAIN ANALYZE SELECT * FROM wells", denied, "EXPLAIN"),
            ("EXPLAIN SELECT * FROM open_table", Ok("explain_value"), ""),
            ("EXPLAIN SELECT * FROM other.secret", denied, "other.secret"),
            ("SELECT json_serialize_plan('FROM other.secret')", denied, "json_serialize_plan"),
            ("FROM duckdb_table_sample('wells')", denied, "duckdb_table_sample"),
            ("FROM pragma_storage_info('wells')", denied, "pragma_storage_info"),
            ("CALL pragma_table_info('other.secret')", denied, "pragma_table_info"),
            // A view of the schema s shows its own, and what is behind it only where that is granted.
            ("FROM s.open_view", Ok("a"), ""),
            ("FROM s.shown", denied, "other.secret"),
            // What is not granted, there or not, has the same words.
            ("FROM other.secret", denied, "table other.secret is not there, or ada may not read it"),
            ("FROM other.nothing", denied, "table other.nothing is not there, or ada may not read it"),
            ("SELECT nothing FROM other.secret", denied, "table other.secret is not there, or"),
            ("FROM s.nothing", Err(Kind::NotFound), "nothing"),
            ("DESCRIBE other.secret", denied, "other.secret"),
            ("SELECT 1 WHERE EXISTS (FROM other.secret)", denied, "other.secret"),
            ("SELECT a, (SELECT token FROM other.secret LIMIT 1) FROM open_table", denied, "other.secret"),
            ("FROM pintail_internal.users", denied, "server's own"),
            ("FROM query('FROM pintail_internal.users')", denied, ""),
            ("FROM pintail_access.w.w0", denied, ""),
            // Listings.
            ("SELECT table_name FROM information_schema.tables ORDER BY 1", Ok("wells"), "over_wells"),
            (
                "SELECT count(*) AS n FROM information_schema.tables WHERE table_name IN ('secret', 'users')",
                Ok("| 0 |"),
                "",
            ),
            ("SELECT column_name FROM information_schema.columns WHERE table_name = 'wells'", Ok("oil"), ""),
            (
                "SELECT count(*) AS n FROM duckdb_columns() WHERE table_name = 'wells' AND column_name = 'field_code'",
                Ok("| 0 |"),
                "",
            ),
            ("SELECT schema_name FROM information_schema.schemata", Ok("main"), ""),
            ("SELECT count(*) FROM duckdb_schemas() WHERE schema_name = 'other'", Ok("| 0"), ""),
            ("SELECT view_name, sql FROM duckdb_views() d", Ok("open_view"), ""),
            ("SELECT d.table_name FROM duckdb_tables d WHERE estimated_size > 0", Ok("table_name"), ""),
            ("FROM duckdb_constraints()", Ok("constraint"), ""),
            ("FROM duckdb_indexes()", Ok("index_name"), ""),
            ("SHOW TABLES", denied, "information_schema"),
            ("SHOW ALL TABLES", denied, "information_schema"),
            ("FROM duckdb_sequences()", denied, "duckdb_sequences"),
            ("FROM duckdb_functions()", denied, "duckdb_functions"),
            ("FROM pg_catalog.pg_class", denied, ""),
            ("FROM sqlite_master", denied, ""),
            ("SELECT nextval('ids')", denied, ""),
            ("SELECT currval('ids')", denied, ""),
            // Plain work.
            ("SELECT sum(range) FROM range(10)", Ok("45"), ""),
            ("FROM (VALUES (1, 'a'), (2, 'b')) v(x, y)", Ok("x,y"), ""),
            ("SELECT unnest([1, 2, 3]) AS u", Ok("u"), ""),
            ("SELECT a, row_number() OVER (ORDER BY a) FROM open_table QUALIFY a = 1", Ok("1"), ""),
            (
                "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE a < 5) SELECT sum(a) FROM r",
                Ok("15"),
                "",
            ),
            ("SELECT * FROM open_table POSITIONAL JOIN s.t", Ok("one"), ""),
            ("SELECT * FROM open_table, LATERAL (SELECT open_table.a + 1 AS l)", Ok("l"), ""),
            ("SELECT json_extract('{\"a\": 1}', '$.a')", Ok("1"), ""),
            ("SELECT a FROM open_table UNION ALL SELECT a FROM s.t", Ok("a"), ""),
            // A reader changes nothing.
            ("INSERT INTO open_table VALUES (3, 'z')", denied, "writer"),
            ("WITH d AS (DELETE FROM open_table RETURNING a) FROM d", denied, "writer"),
            ("EXPLAIN ANALYZE DELETE FROM open_table", denied, "writer"),
            ("CREATE TABLE s.n (a INTEGER)", denied, "writer"),
            ("CREATE TEMP TABLE n (a INTEGER)", denied, "writer"),
            ("DROP TABLE s.t", denied, "writer"),
        ],
    );
}

#[test]
fn a_writer_with_grants_changes_what_is_granted() {
    let denied = Err(Kind::Denied);
    check(
        Some(&customer(Level::Writer)),
        &[
            ("INSERT INTO open_table VALUES (3, 'z')", Ok("1"), ""),
            ("INSERT INTO open_table SELECT a, b FROM s.t", Ok("1"), ""),
            ("UPDATE open_table SET b = 'q' WHERE a = 1", Ok("1"), ""),
            ("DELETE FROM open_table WHERE a = 3 RETURNING a", Ok("a"), ""),
            ("INSERT INTO s.t VALUES (1, 'x') ON CONFLICT DO UPDATE SET b = excluded.b", Ok("1"), ""),
            (
                "MERGE INTO s.t USING open_table o ON s.t.a = o.a WHEN MATCHED THEN UPDATE SET b = o.b",
                Ok("1"),
                "",
            ),
            ("WITH d AS (DELETE FROM open_table WHERE a = 1 RETURNING a) FROM d", Ok("a"), ""),
            // A table that is granted in part takes rows, and nothing else.
            ("INSERT INTO wells VALUES (7, 'mine', 1.0)", Ok("1"), ""),
            ("INSERT INTO wells VALUES (7, 'mine', 1.0) RETURNING *", denied, "in part"),
            ("UPDATE wells SET oil = 0", denied, "in part"),
            ("DELETE FROM wells", denied, "in part"),
            ("TRUNCATE wells", denied, "in part"),
            ("INSERT INTO open_table SELECT field_code, name FROM wells", denied, "in part"),
            ("CREATE TABLE s.copy AS SELECT * FROM wells", denied, "in part"),
            ("CREATE TEMP TABLE copy AS SELECT * FROM wells", denied, "in part"),
            (
                "WITH i AS (INSERT INTO open_table SELECT field_code, name FROM wells RETURNING *) FROM i",
                Err(Kind::Invalid),
                "",
            ),
            ("WITH d AS (DELETE FROM wells RETURNING name) FROM d", Err(Kind::Invalid), ""),
            ("ALTER TABLE wells RENAME TO mine", denied, ""),
            ("CREATE VIEW s.v AS SELECT * FROM wells", denied, "in part"),
            ("CREATE VIEW s.v AS SELECT * FROM main.open_table", Ok("0"), ""),
            ("CREATE VIEW s.v2 AS SELECT * FROM other.secret", denied, "other.secret"),
            ("CREATE VIEW s.v3 AS SELECT * FROM open_table", denied, "schemas"),
            ("CREATE VIEW s.v4 AS SELECT * FROM information_schema.tables", denied, "catalog"),
            ("CREATE VIEW main.v AS SELECT 1", denied, "main.v"),
            // Others.
            ("INSERT INTO other.secret VALUES (1, 'x')", denied, ""),
            ("INSERT INTO other.nothing VALUES (1, 'x')", denied, ""),
            ("UPDATE other.secret SET nothing = 1", denied, "does not bind"),
            ("UPDATE other.nothing SET nothing = 1", denied, "does not bind"),
            ("UPDATE open_table SET nothing = 1", Err(Kind::Invalid), "nothing"),
            ("INSERT INTO s.over_wells VALUES (1)", Err(Kind::NotFound), ""),
            ("INSERT INTO open_table SELECT 1, token FROM other.secret", denied, ""),
            ("UPDATE open_table SET b = (SELECT token FROM other.secret LIMIT 1)", denied, ""),
            ("DELETE FROM open_table USING other.secret WHERE a = field_code", denied, ""),
            ("INSERT INTO pintail_internal.users VALUES ('me')", denied, "server's own"),
            ("CREATE TABLE s.n (a INTEGER)", Ok("0"), ""),
            ("CREATE TABLE s.fk (a INTEGER REFERENCES s.t (a))", Ok("0"), ""),
            ("CREATE TABLE main.n (a INTEGER)", denied, "define"),
            ("CREATE TABLE s.c AS SELECT * FROM main.open_table", Ok(""), ""),
            ("CREATE TEMP TABLE scratch (a INTEGER)", Ok("0"), ""),
            ("CREATE INDEX i ON s.t (b)", Ok("0"), ""),
            ("CREATE INDEX j ON open_table (a)", denied, "define"),
            ("ALTER TABLE s.n ADD COLUMN b INTEGER", Ok("0"), ""),
            ("ALTER TABLE open_table ADD COLUMN c INTEGER", denied, "define"),
            ("ALTER TABLE s.n RENAME TO m", Ok("0"), ""),
            ("COMMENT ON TABLE s.t IS 'x'", Ok("0"), ""),
            ("DROP TABLE IF EXISTS s.nothing", Ok("0"), ""),
            ("DROP TABLE IF EXISTS other.nothing", denied, "define"),
            ("DROP TABLE other.secret", denied, "define"),
            ("DROP TABLE open_table", denied, "define"),
            ("DROP SCHEMA other CASCADE", denied, "define"),
            ("CREATE SCHEMA mine", denied, "define"),
            ("CREATE MACRO mine() AS 1", denied, "admin"),
            ("CREATE TEMP MACRO mine() AS 1", denied, "admin"),
            ("CREATE OR REPLACE MACRO most() AS 1", denied, "admin"),
            (
                "CREATE TRIGGER x AFTER INSERT ON s.t FOR EACH STATEMENT DELETE FROM main.open_table",
                denied,
                "admin",
            ),
            ("CREATE SEQUENCE s.q", denied, "admin"),
            ("CREATE TYPE s.e AS ENUM ('a')", denied, "admin"),
            ("DROP SEQUENCE ids", denied, "admin"),
            ("DROP MACRO most", denied, "admin"),
            ("VACUUM", denied, ""),
            ("ANALYZE", denied, ""),
        ],
    );
}

#[test]
fn without_grants_a_role_means_what_it_says() {
    let denied = Err(Kind::Denied);
    check(
        Some(&plain(Level::Reader)),
        &[
            ("SELECT count(*) FROM wells", Ok("1000"), ""),
            ("SELECT count(*) FROM s.over_wells", Ok("1000"), ""),
            ("SELECT most()", Ok("999"), ""),
            ("SELECT count(*) FROM query('FROM wells')", Ok("1000"), ""),
            ("SHOW TABLES", Ok("wells"), ""),
            ("EXPLAIN SELECT * FROM open_table", Ok("explain"), ""),
            ("DESCRIBE wells", Ok("field_code"), ""),
            ("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'wells'", Ok("1"), ""),
            ("SELECT nothing FROM wells", Err(Kind::Invalid), "not found"),
            ("FROM nothing", Err(Kind::NotFound), "nothing"),
            ("FROM pintail_internal.users", denied, "server's own"),
            ("FROM query('FROM pintail_internal.users')", denied, "server's own"),
            ("FROM query_table('pintail_internal.users')", denied, "server's own"),
            ("SELECT count(*) FROM \"PINTAIL_internal\".users", denied, "server's own"),
            ("INSERT INTO open_table VALUES (3, 'z')", denied, "writer"),
            ("SELECT nextval('ids')", denied, "writer"),
            ("CREATE TEMP TABLE n (a INTEGER)", denied, "writer"),
            ("PIVOT open_table ON b USING sum(a)", denied, "IN ("),
        ],
    );
    check(
        Some(&plain(Level::Writer)),
        &[
            ("INSERT INTO open_table VALUES (3, 'z')", Ok("1"), ""),
            ("UPDATE wells SET oil = 0 WHERE oil = 1", Ok("1"), ""),
            ("CREATE TEMP TABLE n (a INTEGER)", Ok("0"), ""),
            ("CREATE TABLE n (a INTEGER)", denied, "define"),
            ("DROP TABLE wells", denied, "define"),
            ("CREATE VIEW n AS SELECT 1", denied, "define"),
            ("CREATE MACRO n() AS 1", denied, "admin"),
            ("INSERT INTO pintail_internal.users VALUES ('me')", denied, "server's own"),
        ],
    );
    check(
        None,
        &[
            ("FROM pintail_internal.users", Ok("name"), ""),
            ("CREATE MACRO n() AS 1", Ok("0"), ""),
            ("PIVOT open_table ON b USING sum(a)", Ok("x"), ""),
        ],
    );
}

/// A view that is granted by its own name shows what it shows, unless somebody but an admin can have made it.
#[test]
fn a_view_by_its_name_is_a_window() {
    let view = grant(tables(Some("s"), Some("shown")), &[Right::Read]);
    let ada = |definable: Vec<Tables>| {
        Arc::new(Access::new("ada", Level::Reader, Some(vec![view.clone()]), Vec::new(), definable))
    };
    let shown = [("SELECT count(*) AS n FROM s.shown", Ok("| 1 |"), "")];
    check(Some(&ada(Vec::new())), &shown);
    let hidden = [("SELECT count(*) AS n FROM s.shown", Err(Kind::Denied), "other.secret")];
    check(Some(&ada(vec![tables(Some("s"), None)])), &hidden);
}

#[test]
fn a_token_narrows_what_its_user_has() {
    let scope = vec![tables(Some("s"), None)];
    let narrowed = Arc::new(Access::new("bob", Level::Writer, None, scope, Vec::new()));
    check(
        Some(&narrowed),
        &[
            ("FROM s.t", Ok("one"), ""),
            ("FROM wells", Err(Kind::Denied), "main.wells"),
            (
                "SELECT count(*) AS n FROM information_schema.tables WHERE table_schema = 'main'",
                Ok("| 0 |"),
                "",
            ),
            ("INSERT INTO s.t VALUES (9, 'x')", Ok("1"), ""),
            ("INSERT INTO wells VALUES (1, 'x', 1)", Err(Kind::Denied), ""),
        ],
    );
}

/// What one of them has prepared is not run for another one; a change of grants holds from the next statement.
#[test]
fn nothing_prepared_outlives_whom_it_was_for() {
    let database = open();
    let sql = "SELECT count(*) AS n FROM wells";
    let mut connection = database.connection().unwrap();
    for (who, rows) in [(None, "1000"), (Some(customer(Level::Reader)), "100"), (None, "1000")] {
        connection.hold_to(who);
        let bound = crate::bound::Bound::new(sql.into(), Vec::new(), None).unwrap();
        bound.keep(&mut connection).unwrap();
        let described = describe(&connection, sql).unwrap();
        let size = ArraySize { bytes: 1 << 20, rows_max: None };
        bound
            .each(&connection, |row| {
                let mut cursor = bound.open(&connection, row, &described.schema, size)?;
                let batch = cursor.next_batch()?.unwrap();
                let text = pretty_format_batches(&[batch]).unwrap().to_string();
                assert!(text.contains(&format!("| {rows}")), "{text}");
                Ok(())
            })
            .unwrap();
    }
    connection.hold_to(Some(plain(Level::Reader)));
    assert!(describe(&connection, sql).is_ok());
    connection.hold_to(Some(Arc::new(Access::new(
        "ada",
        Level::Reader,
        Some(Vec::new()),
        Vec::new(),
        Vec::new(),
    ))));
    assert_eq!(describe(&connection, sql).unwrap_err().kind(), Kind::Denied);
    assert_eq!(describe(&connection, "SELECT 1").unwrap().class, Class::Query);
}
