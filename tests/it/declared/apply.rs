//! Declarations against tables as they are: made, followed, refused, adopted.

use std::path::Path;

use pintail::catalog::{
    Breaking, Declaration, TableName, adopt, declared_create, read_declarations, read_folder, render,
};
use pintail::engine::{
    actual_table, apply_declared, plan_declared, recorded_declarations, recorded_versions,
};
use pintail::error::Kind;

use super::{Fixture, declared};

pub(super) const BASE: &str = r#"
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
