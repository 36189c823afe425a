//! What a role means without grants, and with a token that narrows it.

use super::*;

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
