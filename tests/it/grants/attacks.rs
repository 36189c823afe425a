//! The table of attacks: statements, who sends them, and what becomes of them, on every way in.

use tonic::Code;

use super::ways::{Way, run};
use super::{client, granted};

/// Who sends each statement, in the order of the letters.
const WHO: [&str; 5] = ["root", "wanda", "rita", "walter", "ada"];

/// Statements with a letter for each of [`WHO`]: `y` runs, `n` is denied, `e` fails with another error (it names what is not
/// there for them), `.` is not tried. Statements that run leave the tables as they were.
const ATTACKS: &[(&str, &str)] = &[
    // What is granted.
    ("SELECT count(*) FROM wells", "yyyyy"),
    ("SELECT w.name, oil FROM main.wells w ORDER BY oil LIMIT 3", "yyyyy"),
    ("SELECT main.wells.name FROM main.wells LIMIT 1", "yyyyy"),
    ("FROM open_table", "yyyyy"),
    ("FROM s.t", "yyyyy"),
    ("WITH wells AS (SELECT 1 AS x) FROM wells", "yyyyy"),
    ("WITH w AS (FROM wells) SELECT count(*) FROM w JOIN w AS v USING (oil)", "yyyyy"),
    ("SELECT (SELECT count(*) FROM wells x WHERE x.oil < y.oil) FROM wells y LIMIT 1", "yyyyy"),
    ("PIVOT open_table ON b IN ('x', 'y') USING sum(a)", "yyyyy"),
    ("UNPIVOT (SELECT a, a + 1 AS c FROM open_table) ON a, c", "yyyyy"),
    ("SELECT * FROM wells TABLESAMPLE 50%", "yyyyy"),
    ("DESCRIBE wells", "yyyyy"),
    ("SUMMARIZE wells", "yyyyy"),
    ("SELECT sum(range) FROM range(10)", "yyyyy"),
    ("SELECT * FROM (VALUES (1), (2)) v(x)", "yyyyy"),
    ("WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE a < 5) FROM r", "yyyyy"),
    ("EXPLAIN FROM open_table", "yyyyy"),
    // Columns that are left out.
    ("SELECT column_count FROM duckdb_tables() WHERE table_name = 'wells'", "yyyyy"),
    ("SELECT ordinal_position FROM information_schema.columns WHERE table_name = 'wells'", "yyyyy"),
    ("SELECT 1 + (SELECT count(*) FROM wells)", "yyyyy"),
    ("SELECT field_code FROM wells", "yyyee"),
    ("SELECT name FROM wells WHERE field_code = 3", "yyyee"),
    ("SELECT name FROM wells ORDER BY field_code", "yyyee"),
    ("SELECT COLUMNS('field.*') FROM wells", "yyyee"),
    ("SELECT rowid FROM wells", "yyyee"),
    ("SELECT max(w.field_code) FROM wells w", "yyyee"),
    ("SELECT o.a FROM open_table o JOIN wells USING (field_code)", "eeeee"),
    ("SELECT o.a FROM open_table o JOIN wells w ON w.field_code = o.a", "yyyee"),
    // Errors about rows that are left out.
    ("SELECT count(*) FROM wells WHERE name::BIGINT > 0", "eeeyy"),
    ("SELECT count(*) FROM wells WHERE error(name)::BOOLEAN", "eeeee"),
    (
        "SELECT count(*) FROM wells WHERE CASE WHEN name LIKE 'sec%' THEN error(name)::BOOLEAN ELSE true END",
        "eeeyy",
    ),
    ("SELECT count(*) FROM wells w JOIN open_table o ON w.name::BIGINT = o.a", "eeeyy"),
    ("SELECT sum(name::BIGINT) FROM wells", "eeeyy"),
    ("SELECT count(*) FROM wells WHERE name IN (SELECT name::BIGINT::VARCHAR FROM wells)", "eeeyy"),
    ("SELECT count(*) FROM wells GROUP BY name::BIGINT HAVING count(*) > 1", "eeeyy"),
    ("SELECT stats(oil) FROM wells", "yyynn"),
    ("SELECT oil.stats() FROM wells", "yyynn"),
    ("EXPLAIN FROM wells", "yyynn"),
    ("EXPLAIN ANALYZE FROM wells", "yyynn"),
    ("EXPLAIN (FORMAT json) FROM wells", "yyynn"),
    ("EXPLAIN (FORMAT json, ANALYZE) FROM wells", "yyynn"),
    // Views and macros over it.
    ("FROM s.over_wells", "yyynn"),
    ("SELECT count(*) FROM s.over_wells", "yyynn"),
    ("SELECT most()", "yyynn"),
    ("FROM all_of()", "yyynn"),
    ("FROM s.shown", "yyynn"),
    ("SELECT * FROM open_table, LATERAL (SELECT most())", "yyynn"),
    // Text put together at run time.
    ("FROM query('FROM wells')", "yyynn"),
    ("FROM query('FROM other.secret')", "yyynn"),
    ("FROM query_table('wells')", "yyynn"),
    ("FROM query_table(['wells'])", "yyynn"),
    ("FROM query_table('other.secret')", "yyynn"),
    ("FROM query('FROM ' || 'wells')", "eeeee"),
    ("FROM histogram(wells, name)", "yyynn"),
    ("FROM histogram_values(wells, name)", "yyynn"),
    ("FROM query('FROM query(''FROM other.secret'')')", "yyynn"),
    ("SELECT json_serialize_plan('FROM other.secret')", "yyynn"),
    ("FROM json_execute_serialized_sql(json_serialize_sql('FROM other.secret'))", "nnnnn"),
    // What is not granted, there or not.
    ("FROM other.secret", "yyynn"),
    ("FROM other.nothing", "eeenn"),
    ("SELECT token FROM other.secret", "yyynn"),
    ("SELECT nothing FROM other.secret", "eeenn"),
    ("SELECT count(*) FROM other.secret", "yyynn"),
    ("SELECT 1 WHERE EXISTS (FROM other.secret)", "yyynn"),
    ("SELECT a, (SELECT token FROM other.secret) FROM open_table", "yyynn"),
    ("SELECT a FROM open_table WHERE a IN (SELECT field_code FROM other.secret)", "yyynn"),
    ("SELECT a FROM open_table UNION ALL SELECT field_code FROM other.secret", "yyynn"),
    ("SELECT a FROM open_table EXCEPT SELECT field_code FROM other.secret", "yyynn"),
    ("WITH x AS (FROM other.secret) SELECT 1", "yyynn"),
    ("WITH x AS MATERIALIZED (FROM other.secret) SELECT 1", "yyynn"),
    ("WITH secret AS (SELECT 1 AS x) FROM other.secret", "yyynn"),
    ("WITH open_table AS (FROM other.secret) FROM open_table", "yyynn"),
    ("FROM open_table ASOF JOIN other.secret ON a >= field_code", "yyynn"),
    ("FROM open_table POSITIONAL JOIN other.secret", "yyynn"),
    ("FROM open_table SEMI JOIN other.secret ON a = field_code", "yyynn"),
    ("FROM open_table ORDER BY (SELECT max(field_code) FROM other.secret)", "yyynn"),
    ("FROM open_table LIMIT (SELECT max(field_code) FROM other.secret)", "yyynn"),
    ("SELECT unnest((SELECT list(token) FROM other.secret))", "yyynn"),
    ("FROM range((SELECT max(field_code)::BIGINT FROM other.secret))", "yyynn"),
    ("SELECT list_transform([1], lambda x: x + (SELECT max(field_code) FROM other.secret))", "eeenn"),
    ("PIVOT other.secret ON token IN ('a') USING sum(field_code)", "yyynn"),
    ("UNPIVOT other.secret ON field_code", "yyynn"),
    ("DESCRIBE other.secret", "yyynn"),
    ("DESCRIBE FROM other.secret", "yyynn"),
    ("DESCRIBE other.nothing", "eeenn"),
    ("SUMMARIZE other.secret", "yyynn"),
    ("EXPLAIN FROM other.secret", "yyynn"),
    ("SELECT * FROM other.secret TABLESAMPLE 1%", "yyynn"),
    ("SELECT \"token\" FROM \"Other\".\"SECRET\"", "yyynn"),
    ("FROM 'other'.'secret'", "eeeee"),
    ("SELECT x.token FROM other.secret AS x(f, token)", "yyynn"),
    // The server's own.
    ("FROM pintail_internal.grants g", "ynnnn"),
    ("SELECT count(*) FROM pintail_internal.grants", "ynnnn"),
    ("FROM \"PINTAIL_INTERNAL\".grants", "ynnnn"),
    ("FROM query('FROM pintail_internal.grants')", "ynnnn"),
    ("FROM query_table('pintail_internal.grants')", "ynnnn"),
    ("DESCRIBE pintail_internal.grants", "y..nn"),
    ("SELECT (SELECT count(*) FROM pintail_internal.grants)", "ynnnn"),
    ("FROM pintail_access.w.w0", "eeenn"),
    ("SELECT * FROM pintail_segment('x')", "eeeee"),
    // Listings and what tells of others.
    ("SELECT table_name FROM information_schema.tables", "yyyyy"),
    ("SELECT column_name FROM information_schema.columns", "yyyyy"),
    ("SELECT schema_name FROM information_schema.schemata", "yyyyy"),
    ("SELECT table_name, sql FROM duckdb_tables()", "yyyyy"),
    ("SELECT view_name, sql FROM duckdb_views()", "yyyyy"),
    ("SELECT column_name, comment FROM duckdb_columns()", "yyyyy"),
    ("SELECT schema_name FROM duckdb_schemas()", "yyyyy"),
    ("FROM duckdb_constraints()", "yyyyy"),
    ("FROM duckdb_indexes()", "yyyyy"),
    ("SELECT t.table_name FROM duckdb_tables AS t", "yyyyy"),
    ("SHOW TABLES", "yyynn"),
    ("SHOW ALL TABLES", "yyynn"),
    ("SHOW SCHEMAS", "...nn"),
    ("SELECT * FROM pg_catalog.pg_tables", "yyynn"),
    ("FROM sqlite_master", "yyynn"),
    ("FROM duckdb_functions()", "yyynn"),
    ("FROM duckdb_sequences()", "yyynn"),
    ("FROM duckdb_dependencies()", "yyynn"),
    ("FROM duckdb_triggers()", "yyynn"),
    ("FROM duckdb_memory()", "yyynn"),
    ("FROM duckdb_table_sample('wells')", "yyynn"),
    ("CALL pragma_table_info('other.secret')", "yyynn"),
    ("FROM pragma_storage_info('wells')", "yyynn"),
    ("FROM pragma_show('other.secret')", "yyynn"),
    ("FROM duckdb_settings()", "nnnnn"),
    ("FROM duckdb_secrets()", "nnnnn"),
    ("FROM duckdb_databases()", "nnnnn"),
    ("FROM duckdb_logs()", "nnnnn"),
    ("FROM duckdb_prepared_statements()", "nnnnn"),
    ("SELECT current_setting('temp_directory')", "nnnnn"),
    ("SELECT getenv('HOME')", "nnnnn"),
    ("SELECT index_key({'table': 'other.secret'}, 1)", "eeenn"),
    // Files, other databases, settings.
    ("FROM read_csv('/etc/passwd')", "nnnnn"),
    ("FROM '/etc/passwd'", "eeenn"),
    ("SELECT * FROM read_blob('*')", "nnnnn"),
    ("FROM glob('/*')", "nnnnn"),
    ("FROM read_duckdb('test.duckdb')", "nnnnn"),
    ("FROM read_text('test.duckdb.tmp/x')", "nnnnn"),
    ("FROM 'test.duckdb'", "nnnnn"),
    ("FROM \"x.csv\"", "nnnnn"),
    ("FROM x.csv", "nnnnn"),
    ("FROM query_table('test.duckdb')", "nnnnn"),
    ("SELECT (SELECT count(*) FROM 'test.duckdb')", "nnnnn"),
    ("COPY open_table TO '/tmp/x'", "nnnnn"),
    ("COPY (FROM other.secret) TO '/tmp/x'", "nnnnn"),
    ("COPY open_table FROM '/etc/passwd'", "nnnnn"),
    ("EXPORT DATABASE '/tmp/x'", "nnnnn"),
    ("ATTACH ':memory:' AS mine", "nnnnn"),
    ("DETACH pintail", "nnnnn"),
    ("INSTALL httpfs", "nnnnn"),
    ("LOAD httpfs", "nnnnn"),
    ("SET threads = 1", "nnnnn"),
    ("RESET threads", "nnnnn"),
    ("SET VARIABLE x = 1", "nnnnn"),
    ("PRAGMA enable_profiling", "nnnnn"),
    ("USE other", "nnnnn"),
    ("CALL enable_logging()", "nnnnn"),
    ("CREATE SECRET x (TYPE http)", "nnnnn"),
    ("BEGIN", "eeeee"),
    ("PREPARE x AS SELECT 1", "eeeee"),
    ("CHECKPOINT", "eeeee"),
    // Changes.
    ("UPDATE open_table SET b = b WHERE a = 1", "yynyn"),
    ("DELETE FROM open_table WHERE a = 99", "yynyn"),
    ("INSERT INTO open_table SELECT a, b FROM open_table WHERE a = 99", "yynyn"),
    ("INSERT INTO s.t VALUES (1, 'one') ON CONFLICT DO UPDATE SET b = excluded.b", "yynyn"),
    ("MERGE INTO s.t USING open_table o ON s.t.a = o.a + 99 WHEN MATCHED THEN UPDATE SET b = o.b", "yynyn"),
    // The engine gives no plan of it.
    ("MERGE INTO s.t USING open_table o ON s.t.a = o.a + 99 WHEN MATCHED THEN DELETE", "ynnnn"),
    ("WITH d AS (DELETE FROM open_table WHERE a = 99 RETURNING a) FROM d", "yynyn"),
    ("EXPLAIN ANALYZE DELETE FROM open_table WHERE a = 99", "yynyn"),
    ("UPDATE wells SET oil = oil WHERE oil = -1", "yynnn"),
    ("DELETE FROM wells WHERE field_code = 99", "yynnn"),
    ("TRUNCATE wells", "..nnn"),
    ("INSERT INTO wells SELECT 7, 'x', 1.0 WHERE false RETURNING *", "yynnn"),
    ("INSERT INTO open_table SELECT field_code, name FROM wells WHERE false", "yynnn"),
    ("CREATE TEMP TABLE mine AS FROM wells", "...nn"),
    ("INSERT INTO open_table SELECT field_code, token FROM other.secret WHERE false", "yynnn"),
    ("UPDATE open_table SET b = (SELECT max(token) FROM other.secret) WHERE a = 99", "yynnn"),
    ("DELETE FROM open_table USING other.secret WHERE a = 99", "yynnn"),
    ("INSERT INTO other.secret SELECT 1, 'x' WHERE false", "yynnn"),
    ("INSERT INTO other.nothing VALUES (1)", "een.n"),
    ("UPDATE other.secret SET token = token", "yynnn"),
    ("UPDATE other.secret SET nothing = 1", "eennn"),
    ("DELETE FROM other.secret WHERE false", "yynnn"),
    ("INSERT INTO pintail_internal.grants (user_name) VALUES ('ada')", "nnnnn"),
    ("DELETE FROM pintail_internal.grants", "nnnnn"),
    ("DROP TABLE pintail_internal.grants", "nnnnn"),
    ("SELECT nextval('ids')", "yynnn"),
    ("SELECT setval('ids', 5)", "yynnn"),
    // Definitions.
    ("CREATE OR REPLACE TABLE s.made AS FROM main.open_table", "ynnyn"),
    ("CREATE OR REPLACE VIEW s.v AS FROM main.open_table", "ynnyn"),
    ("CREATE OR REPLACE VIEW s.v AS FROM main.wells", "...nn"),
    ("CREATE OR REPLACE VIEW s.v AS FROM other.secret", "...nn"),
    ("CREATE OR REPLACE VIEW s.v AS FROM duckdb_tables()", "...nn"),
    ("CREATE OR REPLACE SECURE VIEW s.v AS FROM main.open_table", "...yn"),
    ("CREATE TABLE IF NOT EXISTS main.open_table (a BIGINT)", "ynnnn"),
    ("CREATE OR REPLACE TABLE open_table AS FROM open_table", ".nnnn"),
    ("CREATE TABLE s.fk (a BIGINT REFERENCES other.secret (field_code))", "...nn"),
    ("ALTER TABLE wells RENAME TO mine", ".nnnn"),
    ("ALTER TABLE wells ADD COLUMN x BIGINT", ".nnnn"),
    ("ALTER TABLE other.secret RENAME TO mine", ".nnnn"),
    ("CREATE INDEX i ON wells (oil)", ".nnnn"),
    ("COMMENT ON TABLE wells IS 'x'", ".nnnn"),
    ("DROP TABLE other.secret", ".nnnn"),
    ("DROP TABLE IF EXISTS other.nothing", "ynnnn"),
    ("DROP VIEW main.over_wells", "eennn"),
    ("DROP SCHEMA other CASCADE", ".nnnn"),
    ("CREATE SCHEMA IF NOT EXISTS other", "ynnnn"),
    ("CREATE OR REPLACE MACRO mine() AS 1", "ynnnn"),
    ("CREATE OR REPLACE MACRO most() AS 1", ".nnnn"),
    ("CREATE OR REPLACE TEMP MACRO mine() AS 1", "...nn"),
    ("CREATE MACRO count(x) AS 1", "nnnnn"),
    ("CREATE TRIGGER x AFTER INSERT ON open_table FOR EACH STATEMENT DELETE FROM s.t", ".nnnn"),
    ("CREATE SEQUENCE IF NOT EXISTS ids", "ynnnn"),
    ("CREATE TYPE s.e AS ENUM ('a')", ".nnnn"),
    ("DROP SEQUENCE ids", ".nnnn"),
    ("DROP MACRO most", ".nnnn"),
    ("VACUUM", "ynnnn"),
    ("ANALYZE", "ynnnn"),
];

/// Words that no user with grants may ever be shown, unless they have sent them: rows that are left out, names of windows, folders.
const NEVER: [&str; 5] = ["secret1", "secret99", "hush", "pintail_access", "/.tmp"];

#[tokio::test]
async fn no_statement_gets_through_on_any_way() {
    let server = granted().await;
    let mut wrong = Vec::new();
    let mut tried = 0;
    for (place, name) in WHO.into_iter().enumerate() {
        let mut client = client(&server, name).await;
        for (sql, letters) in ATTACKS {
            let expected = letters.as_bytes()[place];
            for way in Way::ALL {
                if expected == b'.' || is_left_out(way, sql) {
                    continue;
                }
                tried += 1;
                let found = run(&mut client, way, sql).await;
                let is_right = match (&found, expected) {
                    (Ok(_), b'y') => true,
                    (Err(status), b'n') => {
                        // DoExchange makes nothing temporary, whoever asks.
                        let is_temporary = way == Way::Exchange && sql.contains(" TEMP ");
                        status.code() == Code::PermissionDenied
                            || (is_temporary && status.code() == Code::Unimplemented)
                    }
                    (Err(status), b'e') => status.code() != Code::Internal && status.code() != Code::Unknown,
                    // What only fails when it runs.
                    (Ok(_), b'e') => way == Way::Schema,
                    _ => false,
                };
                let text = match &found {
                    Ok(text) => text.clone(),
                    Err(status) => format!("{:?} {}", status.code(), status.message()),
                };
                let shown =
                    NEVER.iter().find(|word| place > 2 && text.contains(**word) && !sql.contains(**word));
                if !is_right || shown.is_some() {
                    let text = pintail::error::shorten(&text, 300);
                    wrong.push(format!("{name} {way:?} {}: {sql}\n      {text}", expected as char));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {tried} tries:\n{}", wrong.len(), wrong.join("\n"));
    assert!(ATTACKS.len() >= 150 && tried > 4000, "{} {tried}", ATTACKS.len());
}

/// Ways on which a statement has another meaning.
fn is_left_out(way: Way, sql: &str) -> bool {
    // VACUUM does not run inside a transaction; a script is one.
    (way == Way::Script && (sql == "VACUUM" || sql == "ANALYZE"))
        // Its text alone is judged, and its plan only where it runs.
        || (way == Way::Schema && sql.starts_with("EXPLAIN ANALYZE DELETE"))
}
