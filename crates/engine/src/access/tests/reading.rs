//! What somebody reads to whom a part of the tables is granted.

use super::*;

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
            // Columns without an alias are called as they are written.
            ("SELECT (SELECT count(*) FROM wells)", Ok("(SELECT count_star() FROM wells)\n"), "100"),
            (
                "FROM (SELECT 1 + (SELECT max(oil) FROM main.wells w))",
                Ok("(1 + (SELECT max(oil) FROM main.wells AS w))\n"),
                "998.0",
            ),
            (
                "WITH c AS (SELECT EXISTS (FROM wells), 7 IN (SELECT oil FROM wells)) FROM c",
                Ok("EXISTS(SELECT * FROM wells),(7 = ANY(SELECT oil FROM wells))"),
                "",
            ),
            ("DESCRIBE SELECT (SELECT count(*) FROM wells)", Ok("(SELECT count_star() FROM wells)"), ""),
            ("SUMMARIZE SELECT (SELECT count(*) FROM wells)", Ok("(SELECT count_star() FROM wells)"), ""),
            ("SELECT alias((SELECT count(*) FROM wells)) AS x", Ok("x"), ""),
            ("SELECT (SELECT count(*) FROM duckdb_tables() WHERE false)", Ok("duckdb_tables()"), ""),
            (
                "SELECT (SELECT count(*) FROM wells) AS n, COLUMNS('name') FROM wells LIMIT 1",
                Ok("n,name"),
                "",
            ),
            // Ways round.
            ("FROM s.over_wells", denied, "in part"),
            ("FROM query('FROM wells')", denied, "query"),
            ("FROM query_table('wells')", denied, "query_table"),
            ("FROM histogram(wells, name)", denied, "histogram"),
            ("SELECT most()", denied, "in part"),
            ("FROM all_of()", denied, "a view, macro or key"),
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
            ("FROM s.shown", denied, "a view, macro or key"),
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
            // Nor are hidden columns counted.
            ("SELECT column_count FROM duckdb_tables() WHERE table_name = 'wells'", Ok("| 2  "), ""),
            ("SELECT has_primary_key FROM duckdb_tables WHERE table_name = 't'", Ok("true"), ""),
            ("SELECT has_primary_key AS k FROM duckdb_tables WHERE table_name = 'wells'", Ok("|   |"), ""),
            ("SELECT column_count FROM duckdb_views() WHERE view_name = 'over_wells'", Ok("| 3  "), ""),
            (
                "SELECT max(ordinal_position) AS n FROM information_schema.columns WHERE table_name = 'wells'",
                Ok("| 2 |"),
                "",
            ),
            (
                "SELECT column_index AS n FROM duckdb_columns WHERE table_name = 'wells' ORDER BY 1 LIMIT 1",
                Ok("| 1 |"),
                "",
            ),
            ("SELECT max(column_index) AS n FROM duckdb_columns() WHERE table_name = 't'", Ok("| 2 |"), ""),
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

/// A view that is granted by its own name shows what it shows, unless somebody but an admin can have made it.
#[test]
fn a_view_by_its_name_is_a_window() {
    let view = grant(tables(Some("s"), Some("shown")), &[Right::Read]);
    let ada = |definable: Vec<Tables>| {
        Arc::new(Access::new("ada", Level::Reader, Some(vec![view.clone()]), Vec::new(), definable))
    };
    let shown = [("SELECT count(*) AS n FROM s.shown", Ok("| 1 |"), "")];
    check(Some(&ada(Vec::new())), &shown);
    let hidden = [("SELECT count(*) AS n FROM s.shown", Err(Kind::Denied), "a view, macro or key")];
    check(Some(&ada(vec![tables(Some("s"), None)])), &hidden);
}
