//! What may change, what is refused, and in which order the engine is told.

use super::*;
use crate::{SchemaFile, read_declarations};

const BASE: &str = "primary_key = ['id']\n[[field]]\nname = 'id'\ntype = 'int32'\n[[field]]\nname = 'x'\ntype = 'decimal128(5, 2)'\n";

fn declared(text: &str) -> Declaration {
    read_declarations(&[SchemaFile { name: "t.toml".into(), text: text.into() }]).unwrap().remove(0)
}

fn column(name: &str, duckdb_type: &str, nullable: bool) -> ActualColumn {
    ActualColumn {
        name: name.into(),
        duckdb_type: duckdb_type.into(),
        nullable,
        default: None,
        comment: None,
        is_generated: false,
    }
}

fn actual() -> Actual {
    Actual {
        name: TableName::from_text("db.main.t").unwrap(),
        is_view: false,
        comment: None,
        columns: vec![column("id", "INTEGER", false), column("x", "DECIMAL(5,2)", true)],
        primary_key: vec!["id".into()],
        indexes: Vec::new(),
        constraints: Vec::new(),
        referenced_by: Vec::new(),
        declared_before: Vec::new(),
        rows: 3,
    }
}

fn index(name: &str, expressions: &[&str]) -> ActualIndex {
    let expressions = expressions.iter().map(|one| (*one).to_owned()).collect();
    ActualIndex { name: name.into(), expressions, is_unique: false }
}

fn statements(plan: &Plan) -> Vec<&str> {
    plan.statements().collect()
}

#[test]
fn a_table_as_declared_needs_nothing() {
    assert!(plan(&declared(BASE), Some(&actual()), Breaking::Refused).is_empty());
}

#[test]
fn a_missing_table_is_made_with_key_comments_and_indexes() {
    let text = format!("name = 's.t'\ndescription = \"it's\"\n{BASE}is_indexed = true\ndefault = 1\n");
    let plan = plan(&declared(&text), None, Breaking::Refused);
    assert_eq!(
        statements(&plan),
        [
            "CREATE SCHEMA IF NOT EXISTS \"s\"",
            "CREATE TABLE \"s\".\"t\" (\"id\" INTEGER NOT NULL, \
             \"x\" DECIMAL(5,2) DEFAULT CAST('1.00' AS DECIMAL(5, 2)), PRIMARY KEY (\"id\"))",
            "COMMENT ON TABLE \"s\".\"t\" IS 'it''s'",
            "CREATE INDEX \"t_x_index\" ON \"s\".\"t\" (\"x\")",
        ]
    );
}

#[test]
fn additive_changes_are_planned_in_an_order_the_engine_takes() {
    let text = format!(
        "description = 'd'\n{}is_indexed = true\ndescription = 'x'\n\
         [[field]]\nname = 'new'\ntype = 'int8'\nnullable = false\ndefault = 1\ndescription = 'n'\n",
        BASE.replace("(5, 2)", "(9, 2)")
    );
    let plan = plan(&declared(&text), Some(&actual()), Breaking::Refused);
    assert_eq!(plan.refusals, []);
    assert_eq!(
        statements(&plan),
        [
            "ALTER TABLE \"t\" ALTER COLUMN \"x\" TYPE DECIMAL(9,2)",
            "ALTER TABLE \"t\" ADD COLUMN \"new\" TINYINT NOT NULL DEFAULT CAST('1' AS TINYINT)",
            "COMMENT ON COLUMN \"t\".\"x\" IS 'x'",
            "COMMENT ON COLUMN \"t\".\"new\" IS 'n'",
            "COMMENT ON TABLE \"t\" IS 'd'",
            "CREATE INDEX \"t_x_index\" ON \"t\" (\"x\")",
        ]
    );
    assert!(plan.steps.iter().any(|step| step.text.contains("default in the 3 rows")), "{plan:?}");
}

#[test]
fn a_type_of_a_key_or_of_an_indexed_table_changes_by_a_rebuild() {
    let text = BASE.replace("int32", "int64");
    let mut table = actual();
    table.indexes = vec![index("pair", &["x", "\"id\""])];
    table.columns.push(column("added", "VARCHAR", true));
    let text = format!("on_new_column = 'add'\n{text}");
    let plan = plan(&declared(&text), Some(&table), Breaking::Refused);
    assert_eq!(plan.refusals, []);
    assert_eq!(
        statements(&plan),
        [
            "CREATE TABLE \"t__pintail_new\" (\"id\" BIGINT NOT NULL, \"x\" DECIMAL(5,2), \"added\" VARCHAR, \
             PRIMARY KEY (\"id\"))",
            "INSERT INTO \"t__pintail_new\" (\"id\", \"x\", \"added\") \
             SELECT CAST(\"id\" AS BIGINT), \"x\", \"added\" FROM \"t\"",
            "DROP TABLE \"t\"",
            "ALTER TABLE \"t__pintail_new\" RENAME TO \"t\"",
            "CREATE INDEX \"pair\" ON \"t\" (x, \"id\")",
        ]
    );
    table.constraints = vec!["CHECK((x > 0))".into()];
    let refused = super::plan(&declared(&text), Some(&table), Breaking::Allowed);
    assert!(refused.refusals[0].reason.contains("would lose CHECK((x > 0))"), "{refused:?}");
}

#[test]
fn indexes_step_aside_for_a_rule_about_null() {
    let mut table = actual();
    table.columns[1].nullable = false;
    table.indexes = vec![index("pair", &["x", "id"]), index("gone", &["x"])];
    let plan = plan(&declared(BASE), Some(&table), Breaking::Refused);
    assert_eq!(
        statements(&plan),
        [
            "DROP INDEX \"gone\"",
            "DROP INDEX \"pair\"",
            "ALTER TABLE \"t\" ALTER COLUMN \"x\" DROP NOT NULL",
            "CREATE INDEX \"pair\" ON \"t\" (x, id)",
        ]
    );
}

/// Every breaking change is refused with its reason; allowed, its step says what is lost.
#[test]
fn breaking_changes_are_refused_unless_allowed() {
    let cases: [(String, &str, &str); 6] = [
        (BASE.replace("int32", "int16"), "narrows", "does not fit"),
        (BASE.replace("decimal128(5, 2)", "string"), "another kind", "cast"),
        (BASE.replace("'x'", "'y'"), "\"x\" is meant to be \"y\"", "values of x in 3 rows"),
        (BASE.replace("primary_key = ['id']", "primary_key = ['x']"), "key change", "share a key"),
        (BASE.replace("primary_key = ['id']", ""), "key change", "may repeat"),
        (format!("{BASE}nullable = false"), "may send NULL", "holds a NULL"),
    ];
    for (text, reason, lost) in cases {
        let declared = declared(&text);
        let refused = plan(&declared, Some(&actual()), Breaking::Refused);
        assert!(
            refused.refusals.iter().any(|refusal| refusal.reason.contains(reason)),
            "{text}: {refused:?}"
        );
        let allowed = plan(&declared, Some(&actual()), Breaking::Allowed);
        assert_eq!(allowed.refusals, [], "{text}");
        let says = |step: &Step| step.lost.as_deref().is_some_and(|found| found.contains(lost));
        assert!(allowed.steps.iter().any(says), "{text}: {allowed:?}");
        assert!(allowed.statements().next().is_some(), "{text}");
    }
}

/// Where producers may add columns, one that used to be declared still does not go unnoticed.
#[test]
fn a_column_that_was_declared_is_dropped_not_adopted() {
    let text = format!("on_new_column = 'add'\n{}", BASE.replace("'x'", "'y'"));
    let mut table = actual();
    assert_eq!(plan(&declared(&text), Some(&table), Breaking::Refused).refusals, []);
    table.declared_before = vec!["id".into(), "X".into()];
    let refused = plan(&declared(&text), Some(&table), Breaking::Refused).refusals;
    assert!(refused[0].reason.contains("the version before declared it"), "{refused:?}");
    assert!(refused[0].reason.contains("a rename is a drop and an add"), "{refused:?}");
}

#[test]
fn what_cannot_be_done_at_all_stays_refused() {
    let required = format!("{BASE}[[field]]\nname = 'new'\ntype = 'int8'\nnullable = false\n");
    let mut view = actual();
    view.is_view = true;
    let mut generated = actual();
    generated.columns[1].is_generated = true;
    for (text, table, part) in [
        (required.as_str(), actual(), "3 rows that are there have no value"),
        (BASE, view, "a view"),
        (BASE, generated, "computes"),
    ] {
        let plan = plan(&declared(text), Some(&table), Breaking::Allowed);
        assert!(plan.refusals[0].reason.contains(part), "{plan:?}");
    }
    let mut empty = actual();
    empty.rows = 0;
    assert_eq!(plan(&declared(&required), Some(&empty), Breaking::Refused).refusals, []);
}

#[test]
fn the_report_shows_signs_losses_and_refusals() {
    let table = |plan: Plan| TablePlan {
        table: "t".into(),
        version: Some(1),
        new_version: Some(2),
        is_new: false,
        plan,
    };
    let narrower = declared(&BASE.replace("int32", "int16"));
    let text = render(&[table(plan(&narrower, Some(&actual()), Breaking::Refused)), table(Plan::default())]);
    for part in [
        "t: refused, version 1 → 2\n  ! column id int32 → int16\n      refused: it narrows",
        "      instead: undo it",
        "t: only its rules change, version 1 → 2",
        "2 tables: 0 to create, 0 to change, 1 as declared, 1 refused",
    ] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    let text = render(&[table(plan(&narrower, Some(&actual()), Breaking::Allowed))]);
    assert!(text.contains("  ~ column id int32 → int16\n      breaking: nothing is changed if"), "{text}");
}

#[test]
fn a_table_is_shown_as_the_declaration_that_needs_no_change() {
    let mut table = actual();
    table.comment = Some("d".into());
    table.columns[1].default = Some("1.5".into());
    table.columns.push(column("open", "\"NULL\"", true));
    table.columns.push(ActualColumn { default: Some("now()".into()), ..column("at", "TIMESTAMP", true) });
    table.indexes = vec![index("by_x", &["x"]), index("pair", &["x", "id"])];
    let (adopted, notes) = adopt(&table, None);
    for part in ["\"open\" is left out: no Arrow type stands for \"NULL\"", "default of \"at\"", "index pair"]
    {
        assert!(notes.iter().any(|note| note.contains(part)), "{notes:?} lacks {part}");
    }
    assert_eq!(declared(&adopted.to_toml()), adopted);
    table.columns.last_mut().unwrap().default = None;
    assert!(plan(&adopted, Some(&table), Breaking::Refused).is_empty());
}
