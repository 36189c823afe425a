//! What the surface says of texts, over the engine's own tokens and catalog.
//! Runs on: `cargo test`, an engine in memory. Never: calls what would have an effect; texts are only read.

use duckdb::Parameters;
use duckdb::connection::Connection as DuckDBConnection;
use duckdb::environment::{Environment, StorageLocation};
use duckdb::instance::Instance;

use super::{Reach, Surface, changing_body};
use crate::error::{Error, Kind};
use crate::sql::tokens;

fn open(made: &[&str]) -> (Instance, DuckDBConnection, Surface) {
    let instance = Environment::new().unwrap().open(StorageLocation::InMemory).unwrap();
    let connection = instance.connect().unwrap();
    for sql in made {
        connection.execute(*sql, Parameters::None).unwrap();
    }
    let surface = Surface::load(&connection).unwrap();
    (instance, connection, surface)
}

fn reach(connection: &DuckDBConnection, surface: &Surface, sql: &str) -> Result<Reach, Error> {
    surface.reach(connection, &tokens(connection, sql).unwrap())
}

#[test]
fn what_reads_is_told_from_what_may_change() {
    let made = [
        "CREATE SEQUENCE s",
        "CREATE TABLE t (a INTEGER, b VARCHAR)",
        "CREATE TABLE g (a INTEGER, b BIGINT GENERATED ALWAYS AS (nextval('s')))",
        "CREATE VIEW plain AS SELECT a FROM t",
        "CREATE VIEW bumps AS SELECT nextval('s') AS n",
        "CREATE VIEW behind AS SELECT n FROM bumps",
        "CREATE MACRO bump() AS nextval('s')",
        "CREATE MACRO rows_of(n) AS TABLE SELECT n FROM t",
        "CREATE VIEW unsure AS FROM query('FROM t')",
        "CREATE VIEW over_unsure AS FROM unsure, plain",
    ];
    let (_instance, connection, surface) = open(&made);
    // Text, whether it changes something, whether it is proven to read.
    for (sql, changes, is_proven) in [
        ("SELECT * FROM t WHERE a = 5 AND b IN ('x', 'nextval(''s'')')", false, true),
        ("SELECT count(*), max(a), coalesce(b, 'x') FROM t GROUP BY ALL", false, true),
        ("WITH d AS (SELECT 1 AS nextval) SELECT nextval FROM d", false, true),
        ("SELECT CAST(a AS INTEGER), CASE WHEN (a > 1) THEN 1 END FROM t", false, true),
        ("FROM plain", false, true),
        ("FROM over_unsure", false, false),
        ("SELECT unknown_function(a) FROM t", false, false),
        ("FROM rows_of(1)", false, true),
        ("FROM query('FROM t')", false, false),
        ("FROM query_table('t')", false, false),
        ("FROM query_table(['t', 'plain'])", false, false),
        ("SELECT nextval('s')", true, true),
        ("SELECT \"NextVal\" ('s')", true, true),
        ("SELECT 's'.nextval()", true, true),
        ("SELECT setval('s', 5)", true, true),
        ("FROM query('SELECT nextval(''s'')')", true, false),
        ("FROM query($a$SELECT nextval('s')$a$)", true, false),
        ("FROM query_table('behind')", true, false),
        ("FROM bumps", true, false),
        ("FROM \"BEHIND\"", true, false),
        ("SELECT bump()", true, false),
        ("FROM g", true, true),
    ] {
        let found = reach(&connection, &surface, sql).unwrap();
        assert_eq!((found.changes, found.is_proven), (changes, is_proven), "{sql}");
    }
    assert!(reach(&connection, &surface, "SELECT setseed(0.5)").unwrap().seeds);
    assert!(!surface.has_triggers());
}

#[test]
fn what_no_client_may_call_is_refused_on_every_way() {
    // As another program may have left them in the file.
    let made = [
        "CREATE VIEW stops AS FROM checkpoint()",
        "CREATE VIEW hidden AS SELECT * FROM stops",
        "CREATE MACRO listens() AS TABLE FROM enable_logging()",
        "CREATE MACRO sows() AS setseed(0.5)",
    ];
    let (_instance, connection, surface) = open(&made);
    for (sql, kind, part) in [
        ("CALL enable_logging()", Kind::Denied, "enable_logging"),
        ("CALL disable_logging()", Kind::Denied, "disable_logging"),
        ("CALL truncate_duckdb_logs()", Kind::Denied, "[log]"),
        ("SELECT * FROM \"Enable_Profiling\" ()", Kind::Denied, "EXPLAIN ANALYZE"),
        ("CALL disable_profiling()", Kind::Denied, "profiling"),
        ("CALL checkpoint()", Kind::Unsupported, "pintail.checkpoint"),
        ("INSERT INTO t FROM force_checkpoint()", Kind::Unsupported, "pintail.checkpoint"),
        ("FROM system.main.checkpoint()", Kind::Unsupported, "pintail.checkpoint"),
        ("FROM stops", Kind::Unsupported, "stops"),
        ("FROM hidden", Kind::Unsupported, "hidden"),
        ("SELECT sows()", Kind::Unsupported, "setseed"),
        ("FROM listens()", Kind::Denied, "listens"),
        ("FROM query('FROM listens()')", Kind::Denied, "listens"),
        ("FROM query_table('hidden')", Kind::Unsupported, "hidden"),
        ("FROM query_table('duckdb_databases')", Kind::Denied, "schemata"),
        ("FROM histogram('pragma_database_list', file)", Kind::Denied, "pragma_database_list"),
        ("FROM query('FROM query(''CALL enable_logging()'')')", Kind::Denied, "enable_logging"),
        ("FROM query('FROM duckdb_' || 'logs')", Kind::Unsupported, "plain text"),
        ("FROM query(getvariable('x'))", Kind::Unsupported, "plain text"),
        ("FROM query_table('duckdb_' || 'logs')", Kind::Unsupported, "plain text"),
        ("CREATE MACRO m(q) AS TABLE FROM query(q)", Kind::Unsupported, "plain text"),
        ("FROM json_execute_serialized_sql('{}')", Kind::Denied, "statement of its own"),
        ("FROM duckdb_secrets()", Kind::Denied, "duckdb_secrets"),
        ("FROM which_secret('s3://x', 's3')", Kind::Denied, "which_secret"),
        ("FROM duckdb_logs", Kind::Denied, "duckdb_logs"),
        ("FROM duckdb_logs_parsed('QueryLog')", Kind::Denied, "duckdb_logs_parsed"),
        ("FROM duckdb_log_contexts()", Kind::Denied, "duckdb_log_contexts"),
        ("FROM duckdb_settings()", Kind::Denied, "pintail config print"),
        ("FROM duckdb_prepared_statements()", Kind::Denied, "duckdb_prepared_statements"),
        ("FROM pg_catalog.pg_prepared_statements", Kind::Denied, "pg_prepared_statements"),
        ("FROM duckdb_databases()", Kind::Denied, "schemata"),
        ("FROM pragma_database_list", Kind::Denied, "schemata"),
        ("FROM duckdb_temporary_files()", Kind::Denied, "duckdb_temporary_files"),
        ("FROM duckdb_extensions()", Kind::Denied, "duckdb_extensions"),
        ("FROM arrow_scan(1, 2, 3)", Kind::Denied, "arrow_scan"),
        ("FROM summary((SELECT 1))", Kind::Denied, "SUMMARIZE"),
        ("CALL register_external_resource_type('x')", Kind::Denied, "register_external_resource_type"),
        ("SELECT write_log('x')", Kind::Denied, "write_log"),
        ("SELECT sleep_ms(1000)", Kind::Denied, "sleep_ms"),
        ("SELECT current_setting('temp_directory')", Kind::Denied, "temp_directory"),
        ("SELECT current_setting('pintail_connection')", Kind::Denied, "pintail_connection"),
        ("SELECT current_setting('temp_' || 'directory')", Kind::Unsupported, "plain text"),
        ("FROM pintail_segment('x')", Kind::Invalid, "DoPut"),
        ("FROM pintail_rows('x')", Kind::Invalid, "DoPut"),
        ("SELECT * FROM \"pintail_Describe\"('x')", Kind::Invalid, "internal"),
    ] {
        let error = reach(&connection, &surface, sql).expect_err(sql);
        assert_eq!(error.kind(), kind, "{sql}: {error}");
        assert!(error.message().contains(part), "{sql}: {error}");
    }
    for sql in [
        "SELECT 'enable_logging()', \"checkpoint\", glob, sleep_ms FROM t -- checkpoint()",
        "SELECT current_setting('TimeZone'), current_setting('threads')",
        "CALL pragma_table_info('t')",
        "FROM range(3), generate_series(1, 2), unnest([1])",
        "FROM duckdb_tables() WHERE comment LIKE '%duckdb_logs%'",
    ] {
        reach(&connection, &surface, sql).unwrap();
    }
}

#[test]
fn definitions_are_remembered_by_name() {
    let (_instance, connection, surface) = open(&["CREATE SEQUENCE s", "CREATE TABLE t (a INTEGER)"]);
    let define = |sql: &str| {
        let tokens = tokens(&connection, sql).unwrap();
        surface.reach(&connection, &tokens).and_then(|reach| surface.define(&tokens, reach))
    };
    let found = |sql: &str| {
        let reach = reach(&connection, &surface, sql).unwrap();
        (reach.changes, reach.is_proven)
    };
    assert_eq!(found("FROM v, w"), (false, true));
    define("CREATE VIEW early AS FROM v").unwrap();
    define("CREATE VIEW earlier AS FROM early").unwrap();
    assert_eq!(found("FROM earlier"), (false, true));
    define("CREATE OR REPLACE TEMP VIEW IF NOT EXISTS main.\"V\" AS SELECT nextval('s') FROM t").unwrap();
    define("CREATE VIEW w AS FROM t").unwrap();
    define("CREATE MACRO main.m(x) AS x + 1, (x, y) AS nextval('s')").unwrap();
    assert_eq!(found("FROM v"), (true, false));
    // Made when their name was still that of a table.
    assert_eq!(found("FROM early"), (true, false));
    assert_eq!(found("FROM earlier"), (true, false));
    assert_eq!(found("FROM w"), (false, true));
    assert_eq!(found("SELECT m(1)"), (true, false));
    assert_eq!(found("FROM t"), (false, true));
    define("ALTER VIEW v RENAME TO z").unwrap();
    assert_eq!(found("FROM z"), (true, false));
    define("ALTER VIEW w RENAME TO w2").unwrap();
    assert_eq!(found("FROM w2"), (false, true));
    define("ALTER TABLE t RENAME TO t2").unwrap();
    assert_eq!(found("FROM t2"), (false, true));
    define("CREATE TABLE d (a BIGINT DEFAULT nextval('s'), b BIGINT AS (a + 1))").unwrap();
    define("CREATE TABLE c AS SELECT nextval('s') AS a").unwrap();
    assert!(!surface.has_triggers());
    define("CREATE TRIGGER x AFTER INSERT ON t FOR EACH STATEMENT DELETE FROM d").unwrap();
    assert!(surface.has_triggers());
    for (sql, kind) in [
        ("CREATE TABLE g (a BIGINT AS (nextval('s')))", Kind::Invalid),
        ("CREATE TABLE g (a INTEGER, b BIGINT GENERATED ALWAYS AS (1 + (nextval('s'))))", Kind::Invalid),
        ("DROP SCHEMA 'pintail_internal' CASCADE", Kind::Invalid),
        ("CREATE SECRET x (TYPE http)", Kind::Denied),
        ("CREATE OR REPLACE PERSISTENT SECRET x (TYPE http)", Kind::Denied),
        ("DROP SECRET x", Kind::Denied),
        ("CREATE MACRO duckdb_tables() AS TABLE SELECT 1", Kind::Denied),
        ("CREATE OR REPLACE MACRO \"Count\"(x) AS 1", Kind::Denied),
    ] {
        assert_eq!(define(sql).expect_err(sql).kind(), kind, "{sql}");
    }
}

#[test]
fn changes_in_ctes_are_found() {
    let (_instance, connection, _surface) = open(&[]);
    let body = |sql: &str| changing_body(&tokens(&connection, sql).unwrap()).map(str::to_lowercase);
    for (sql, expected) in [
        ("WITH d AS (INSERT INTO t VALUES (1) RETURNING a) FROM d", Some("insert")),
        ("WITH d(x) AS MATERIALIZED (delete FROM t RETURNING a) FROM d", Some("delete")),
        ("WITH d AS (WITH e AS (SELECT 1) UPDATE t SET a = 1 RETURNING a) FROM d", Some("update")),
        ("(WITH d AS (TRUNCATE t) FROM d)", Some("truncate")),
        ("WITH d AS (COPY t TO 'x') FROM d", Some("copy")),
        ("SELECT \"insert\", t.update FROM t AS delete", None),
        ("SELECT 'WITH d AS (INSERT INTO t VALUES (1))'", None),
    ] {
        assert_eq!(body(sql).as_deref(), expected, "{sql}");
    }
}

/// A function that an upgrade of the engine brings is refused until somebody has looked at it and it is listed.
#[test]
fn every_function_of_the_engine_is_listed() {
    let (_instance, connection, _surface) = open(&[]);
    let sql = "SELECT DISTINCT lower(function_name), function_type FROM duckdb_functions() \
               WHERE database_name = 'system' ORDER BY 1";
    let found = super::surface::pairs(&connection, sql).unwrap();
    assert!(found.len() > 800, "{}", found.len());
    let missing: Vec<&str> =
        found.iter().map(|(name, _)| name.as_str()).filter(|name| !super::lists::is_listed(name)).collect();
    assert!(missing.is_empty(), "look at what these do, and list them: {missing:?}");
    let table_functions: Vec<&str> = super::lists::TABLE_FUNCTIONS.to_vec();
    let gone: Vec<&&str> = table_functions
        .iter()
        // Those of the ICU extension are there where it is loaded.
        .filter(|name| !name.starts_with("icu_") && **name != "pg_timezone_names")
        .filter(|name| !found.iter().any(|(known, _)| known == **name))
        .collect();
    assert!(gone.is_empty(), "listed, and not there: {gone:?}");
    assert!(!super::lists::is_listed("a_function_of_tomorrow"));
}

/// Functions that read files are refused wherever they stand; GLOB between two values is an operator.
#[test]
fn files_are_out_of_reach() {
    let (_instance, connection, surface) = open(&["CREATE TABLE t (b VARCHAR)"]);
    for sql in [
        "FROM glob('*')",
        "FROM t, glob('*')",
        "FROM t JOIN glob('*') ON true",
        "CALL glob('*')",
        "PIVOT glob('*') ON file",
        "FROM main.\"GLOB\"('*')",
        "SELECT (FROM read_text('x'))",
        "FROM query('FROM parquet_scan(''x'')')",
        "FROM sniff_csv('x')",
    ] {
        assert_eq!(reach(&connection, &surface, sql).unwrap_err().kind(), Kind::Denied, "{sql}");
    }
    for sql in
        ["FROM t WHERE b GLOB ('a' || '*')", "FROM t WHERE lower(b) NOT GLOB ('a*')", "SELECT 'a' GLOB ('b')"]
    {
        assert!(reach(&connection, &surface, sql).is_ok(), "{sql}");
    }
}
