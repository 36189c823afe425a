//! What a stream may bring into a table, and in which words it is refused.

use super::cast::is_allowed;
use super::*;
use crate::TableName;

use crate::DeclaredType;

fn table(columns: &[(&str, &str)]) -> Table {
    Table {
        name: TableName::from_text("wells").unwrap(),
        columns: columns
            .iter()
            .map(|(name, duckdb_type)| Column {
                name: (*name).into(),
                duckdb_type: (*duckdb_type).into(),
                has_default: false,
                is_generated: *name == "generated",
            })
            .collect(),
    }
}

fn offered(columns: &[(&str, &str)]) -> Vec<Offered> {
    let one = |(name, duckdb_type): &(&str, &str)| Offered {
        name: (*name).into(),
        duckdb_type: (*duckdb_type).into(),
        arrow: DataType::Null,
    };
    columns.iter().map(one).collect()
}

/// Name, DuckDB type, whether NULL is allowed, default.
type FieldText<'a> = (&'a str, &'a str, bool, Option<&'a str>);

fn declaration(mode: Strictness, fields: &[FieldText<'_>]) -> Declaration {
    let field = |(name, duckdb_type, nullable, default): &FieldText<'_>| DeclaredField {
        name: (*name).into(),
        data_type: DeclaredType {
            text: duckdb_type.to_lowercase(),
            arrow: DataType::Null,
            duckdb: (*duckdb_type).into(),
        },
        nullable: *nullable,
        default: default.map(str::to_owned),
        is_indexed: false,
        description: None,
    };
    Declaration {
        name: TableName::from_text("wells").unwrap(),
        description: None,
        mode,
        primary_key: Vec::new(),
        on_new_column: NewColumns::Reject,
        dead_letters: false,
        fields: fields.iter().map(field).collect(),
    }
}

fn columns_of(declared: &Declaration) -> Table {
    let columns: Vec<(&str, &str)> =
        declared.fields.iter().map(|field| (field.name.as_str(), field.data_type.duckdb.as_str())).collect();
    table(&columns)
}

fn try_conform(
    declared: &Declaration,
    earlier: &[Arc<Declaration>],
    columns: &[(&str, &str)],
) -> Result<Conformed, String> {
    let contract = Contract { declared: Some(declared), earlier };
    conform(&columns_of(declared), contract, &offered(columns)).map_err(|error| error.to_string())
}

#[test]
fn strict_takes_the_declared_shape_in_any_order_and_nothing_else() {
    let declared =
        declaration(Strictness::Strict, &[("a", "INTEGER", false, None), ("b", "VARCHAR", true, None)]);
    let conformed = try_conform(&declared, &[], &[("B", "VARCHAR"), ("a", "INTEGER")]).unwrap();
    assert_eq!(conformed.columns[0].target, "b");
    // What matches goes in as it is: no cast, so no copy.
    assert!(conformed.columns.iter().all(|column| column.value() == quote_name(&column.source)));
    assert!(conformed.columns[1].is_required && !conformed.columns[0].is_required);
    // A column of a frame that happens to hold no value.
    assert!(try_conform(&declared, &[], &[("a", "\"NULL\""), ("b", "VARCHAR")]).is_ok());
    for (columns, parts) in [
        (&[("a", "SMALLINT"), ("b", "VARCHAR")][..], &["wells", "\"a\"", "integer", "strict"][..]),
        (&[("a", "INTEGER")], &["wells", "\"b\"", "strict"]),
        (&[("a", "INTEGER"), ("b", "VARCHAR"), ("bb", "VARCHAR")], &["\"bb\"", "has no column"]),
    ] {
        let message = try_conform(&declared, &[], columns).unwrap_err();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn producers_of_an_earlier_version_go_on() {
    let earlier = [Arc::new(declaration(Strictness::Strict, &[("a", "INTEGER", false, None)]))];
    let declared =
        declaration(Strictness::Strict, &[("a", "BIGINT", false, None), ("b", "VARCHAR", true, None)]);
    let conformed = try_conform(&declared, &earlier, &[("a", "INTEGER")]).unwrap();
    assert_eq!(conformed.columns[0].value(), "CAST(\"a\" AS BIGINT)");
    assert!(try_conform(&declared, &earlier, &[("a", "SMALLINT")]).is_err());
    assert!(try_conform(&declared, &[], &[("a", "INTEGER")]).is_err());
}

#[test]
fn lenient_fills_and_narrows_where_no_value_changes() {
    let declared = declaration(
        Strictness::Lenient,
        &[("a", "INTEGER", false, None), ("b", "VARCHAR", false, Some("'x'")), ("c", "DOUBLE", true, None)],
    );
    let conformed = try_conform(&declared, &[], &[("a", "BIGINT")]).unwrap();
    assert_eq!(conformed.columns[0].cast, Cast::Exact { from: "BIGINT".into() });
    assert!(conformed.columns[0].value().contains("error("));
    for (columns, part) in [
        (&[("c", "DOUBLE")][..], "column \"a\"; they are required and have no default"),
        (&[("a", "DOUBLE")], "no lossless cast"),
        (&[("a", "INTEGER"), ("c", "BIGINT")], "no lossless cast"),
    ] {
        let message = try_conform(&declared, &[], columns).unwrap_err();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn new_columns_are_added_where_the_declaration_says_so() {
    let mut declared = declaration(Strictness::Strict, &[("a", "INTEGER", true, None)]);
    let columns = [("a", "INTEGER"), ("n", "DOUBLE"), ("z", "\"NULL\"")];
    assert!(try_conform(&declared, &[], &columns).is_err());
    declared.on_new_column = NewColumns::Add;
    let conformed = try_conform(&declared, &[], &columns).unwrap();
    assert_eq!(
        conformed.added,
        [("n".to_owned(), "DOUBLE".to_owned()), ("z".to_owned(), "\"NULL\"".to_owned())]
    );
}

#[test]
fn columns_match_by_name_in_any_order_and_widen() {
    let table = table(&[("a", "BIGINT"), ("b", "VARCHAR"), ("c", "DOUBLE")]);
    let columns = offered(&[("C", "FLOAT"), ("a", "INTEGER")]);
    let conformed = conform(&table, Contract::default(), &columns).unwrap();
    let placed: Vec<(&str, String)> =
        conformed.columns.iter().map(|column| (column.target.as_str(), column.value())).collect();
    assert_eq!(
        placed,
        [("c", "CAST(\"C\" AS DOUBLE)".to_owned()), ("a", "CAST(\"a\" AS BIGINT)".to_owned())]
    );
}

#[test]
fn a_misfit_names_table_column_and_rule() {
    let table = table(&[("a", "INTEGER"), ("generated", "INTEGER")]);
    for (columns, parts) in [
        (&[("x", "INTEGER")][..], &["wells", "\"x\"", "\"a\""][..]),
        (&[("a", "BIGINT")], &["wells", "\"a\"", "INTEGER", "BIGINT", "lossless"]),
        (&[("a", "INTEGER"), ("A", "INTEGER")], &["wells", "twice"]),
        (&[("generated", "INTEGER")], &["wells", "generated"]),
        (&[], &["wells", "no columns"]),
    ] {
        let message = conform(&table, Contract::default(), &offered(columns)).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    }
}

#[test]
fn only_changes_that_keep_values_are_allowed() {
    for (from, to, allowed) in [
        ("DECIMAL(10,2)", "DECIMAL(12,2)", true),
        ("DECIMAL(10,2)", "DECIMAL(12,4)", true),
        ("DECIMAL(10,2)", "DECIMAL(11,4)", false),
        ("DECIMAL(38,0)", "HUGEINT", true),
        ("BIGINT", "DOUBLE", false),
        ("UTINYINT", "SMALLINT", true),
        ("UTINYINT", "TINYINT", false),
        ("TIMESTAMP_NS", "TIMESTAMP", false),
        ("TIMESTAMP_S", "TIMESTAMP", true),
        ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", false),
        ("VARCHAR", "ENUM('a', 'b')", true),
        ("VARCHAR", "BIGINT", false),
        ("\"NULL\"", "VARCHAR", true),
    ] {
        assert_eq!(is_allowed(from, to), allowed, "{from} -> {to}");
    }
}

#[test]
fn an_open_column_gets_the_type_that_comes_and_a_typed_one_takes_what_is_open() {
    let open = table(&[("id", "BIGINT"), ("tags", "\"NULL\""), ("seen", "STRUCT(a BIGINT, b \"NULL\")")]);
    let nothing = Contract::default();
    let typed = [("id", "BIGINT"), ("tags", "VARCHAR[]"), ("seen", "STRUCT(a \"NULL\", b DATE)")];
    let conformed = conform(&open, nothing, &offered(&typed)).unwrap();
    let settled = [("tags", "VARCHAR[]"), ("seen", "STRUCT(a BIGINT, b DATE)")]
        .map(|(name, duckdb_type)| (name.to_owned(), duckdb_type.to_owned()));
    assert_eq!(conformed.settled, settled);
    let casts: Vec<&Cast> = conformed.columns.iter().map(|column| &column.cast).collect();
    assert_eq!(casts, [&Cast::None, &Cast::None, &Cast::Plain]);

    let conformed = conform(&open, nothing, &offered(&[("tags", "\"NULL\""), ("seen", "\"NULL\"")])).unwrap();
    assert_eq!(conformed.settled, [], "nothing decides");

    let closed = table(&[("tags", "VARCHAR[]")]);
    for taken in ["\"NULL\"", "\"NULL\"[]"] {
        let conformed = conform(&closed, nothing, &offered(&[("tags", taken)])).unwrap();
        assert_eq!((conformed.settled.len(), &conformed.columns[0].cast), (0, &Cast::Plain), "{taken}");
    }
    let error = conform(&closed, nothing, &offered(&[("tags", "STRUCT(a \"NULL\")")])).unwrap_err();
    assert!(error.to_string().contains("VARCHAR[]"), "{error}");
}

#[test]
fn nanoseconds_go_into_microseconds_where_nothing_is_lost() {
    let nothing = Contract::default();
    for (from, to, cast) in [
        ("TIMESTAMPTZ_NS", "TIMESTAMP WITH TIME ZONE", Cast::Exact { from: "TIMESTAMPTZ_NS".into() }),
        ("TIMESTAMP_NS", "TIMESTAMP", Cast::Exact { from: "TIMESTAMP_NS".into() }),
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS", Cast::Plain),
    ] {
        let conformed = conform(&table(&[("at", to)]), nothing, &offered(&[("at", from)])).unwrap();
        assert_eq!(conformed.columns[0].cast, cast, "{from} -> {to}");
    }
    assert!(conform(&table(&[("at", "TIMESTAMP_S")]), nothing, &offered(&[("at", "TIMESTAMP_NS")])).is_err());
}

/// What DuckDB writes to Parquet under another type goes back where it came from, value by value.
#[test]
fn what_duckdb_exports_goes_back_when_it_is_exact() {
    for (from, to) in [("DOUBLE", "HUGEINT"), ("INTEGER[]", "INTEGER[2]"), ("VARCHAR", "BIT")] {
        let conformed = conform(&table(&[("c", to)]), Contract::default(), &offered(&[("c", from)])).unwrap();
        assert_eq!(conformed.columns[0].cast, Cast::Exact { from: from.into() }, "{from} -> {to}");
    }
    for (from, to) in [("DOUBLE", "BIGINT"), ("INTEGER[2]", "INTEGER[]"), ("VARCHAR", "BLOB")] {
        assert!(conform(&table(&[("c", to)]), Contract::default(), &offered(&[("c", from)])).is_err());
    }
}
