//! Declarations are read, written and read again; everything that is wrong with one is said at once.

use proptest::prelude::*;

use super::*;
use crate::{TableName, parse_type};

fn file(name: &str, text: &str) -> SchemaFile {
    SchemaFile { name: name.into(), text: text.into() }
}

fn read(text: &str) -> Declaration {
    read_declarations(&[file("schemas/wells.toml", text)]).unwrap().remove(0)
}

const WELLS: &str = r#"
description = "Daily production of each well"
primary_key = ["ID", "at"]
on_new_column = "add"
dead_letters = true

[[field]]
name = "id"
type = "int64"
[[field]]
name = "at"
type = "timestamp[us, tz=UTC]"
nullable = false
is_indexed = true
description = "Start of the \"period\""
[[field]]
name = "kbd"
type = "double"
default = 0.0
"#;

#[test]
fn a_declaration_is_read_as_it_is_meant() {
    let wells = read(WELLS);
    assert_eq!(wells.name.to_string(), "wells");
    assert_eq!(wells.primary_key, ["id", "at"]);
    assert_eq!((wells.mode, wells.on_new_column), (Strictness::Strict, NewColumns::Add));
    assert!(wells.dead_letters);
    assert_eq!(wells.fields.iter().map(|field| field.nullable).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(wells.fields[1].description.as_deref(), Some("Start of the \"period\""));
    assert_eq!(wells.fields[2].default.as_deref(), Some("CAST('0.0' AS DOUBLE)"));
    let named = read("name = 'Sales.\"odd.name\"'\n[[field]]\nname = 'a'\ntype = 'int8'");
    assert_eq!((named.name.schema.as_deref(), named.name.table.as_str()), (Some("Sales"), "odd.name"));
}

#[test]
fn files_that_say_the_same_have_one_fingerprint() {
    let other_words = format!("mode = 'strict'\n# a remark\n{}", WELLS.replace("0.0", "0"));
    assert_eq!(read(WELLS).fingerprint(), read(&other_words).fingerprint());
    assert_ne!(read(WELLS).fingerprint(), read(&WELLS.replace("0.0", "1.0")).fingerprint());
    assert_eq!(read(WELLS).fingerprint().len(), 64);
}

/// A file with every kind of mistake: each is reported, with its line, its key and what to write instead.
#[test]
fn every_mistake_is_reported_at_once() {
    let wrong = r#"primary_key = ["id", "nothing", "tags", "id"]
mode = "lenent"
on_new_column = true
descripton = "x"
[[field]]
name = "id"
type = "int46"
[[field]]
name = "tags"
type = "list<item: string>"
is_indexed = true
nullable = true
[[field]]
name = "kbd"
type = "double"
default = "none"
[[field]]
name = "KBD"
type = "double"
nullable = 1
[[field]]
type = "int8"
[[field]]
name = "untyped"
defualt = 1
"#;
    let twice = "[[field]]\nname = 'a'\ntype = 'int8'";
    let files = [
        file("a/wrong.toml", wrong),
        file("b/other.toml", twice),
        file("b/twice.toml", &format!("name = 'OTHER'\n{twice}")),
        file("b/broken.toml", "mode = \n[[field]"),
        file("b/empty.toml", ""),
        file("b/deep.toml", &format!("name = 'a.b.c'\n{twice}")),
        file("b/mine.toml", &format!("name = 'pintail_internal.x'\n{twice}")),
        file("b/two.parts.toml", twice),
    ];
    let Problems(problems) = read_declarations(&files).unwrap_err();
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for part in [
        "a/wrong.toml:1: primary_key: there is no field \"nothing\"",
        "a/wrong.toml:1: primary_key: a column of type list<item: string> cannot be in a key",
        "a/wrong.toml:2: mode: expected strict or lenient, found \"lenent\"; did you mean \"lenient\"?",
        "a/wrong.toml:3: on_new_column: expected a text",
        "a/wrong.toml:4: unknown key \"descripton\"; did you mean \"description\"? (known here: name,",
        "a/wrong.toml:7: field \"id\".type: unknown type \"int46\"; did you mean \"int64\"? (accepted: bool,",
        "a/wrong.toml:11: field \"tags\".is_indexed: a column of type list<item: string> cannot have an index",
        "a/wrong.toml:12: field \"tags\".nullable: a column of the primary key holds no NULL",
        "a/wrong.toml:16: field \"kbd\".default: expected a number that fits for double, found \"none\"",
        "a/wrong.toml:18: field \"KBD\": the column is declared twice, also as \"kbd\"",
        "a/wrong.toml:20: field \"KBD\".nullable: expected true or false, found a TOML integer",
        "field 5.name: expected a column name",
        "field \"untyped\".type: the column has no type",
        "a/wrong.toml:25: field \"untyped\": unknown key \"defualt\"; did you mean \"default\"?",
        "b/twice.toml:1: name: table OTHER is declared twice, here and in b/other.toml",
        "b/broken.toml:1: not TOML",
        "b/empty.toml:1: field: the table has no columns",
        "b/deep.toml:1: name: expected \"table\" or \"schema.table\"",
        "b/mine.toml:1: name: schema pintail_internal is the server's own",
        "b/two.parts.toml:1: name: the file's name \"two.parts\" has a point in it",
    ] {
        assert!(texts.iter().any(|text| text.contains(part)), "no {part:?} in {texts:#?}");
    }
    // Nothing is said of the key column whose own type is wrong.
    assert!(!texts.iter().any(|text| text.contains("no field \"id\"")), "{texts:#?}");
}

#[test]
fn tables_that_would_share_an_index_or_dead_letters_are_refused() {
    let indexed = |column: &str| format!("[[field]]\nname = '{column}'\ntype = 'int8'\nis_indexed = true");
    let files = [
        file("a.toml", &format!("dead_letters = true\n{}", indexed("b_c"))),
        file("a_b.toml", &indexed("c")),
        file("a__rejected.toml", "[[field]]\nname = 'x'\ntype = 'int8'"),
    ];
    let message = read_declarations(&files).unwrap_err().to_string();
    assert!(message.starts_with("2 problems"), "{message}");
    assert!(message.contains("a_b_c_index") && message.contains("a__rejected"), "{message}");
}

#[test]
fn a_folder_gives_its_toml_files_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.toml", "a.toml", "README.md"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    let files = read_folder(folder.path()).unwrap();
    assert_eq!(files.iter().map(|file| file.text.as_str()).collect::<Vec<_>>(), ["a.toml", "b.toml"]);
    let missing = read_folder(&folder.path().join("missing")).unwrap_err().to_string();
    assert!(missing.contains("missing"), "{missing}");
}

fn declarations() -> impl Strategy<Value = Declaration> {
    let types = proptest::sample::select(vec![
        ("int64", Some("-7")),
        ("double", Some("1e-7")),
        ("string", Some("\"it's \\\"q\\\" \\\\ \"")),
        ("decimal128(12, 3)", Some("\"1.500\"")),
        ("timestamp[us, tz=UTC]", Some("2026-01-31T10:00:00Z")),
        ("list<item: struct<a: int8, b: string not null>>", None),
        ("extension<arrow.uuid>", None),
    ]);
    let field = (types, any::<[bool; 3]>(), proptest::option::of(".{0,12}")).prop_map(
        |((data_type, default), [nullable, is_indexed, has_default], description)| {
            let data_type = parse_type(data_type).unwrap();
            let value = default.filter(|_| has_default);
            DeclaredField {
                name: String::new(),
                nullable,
                default: value.map(|value| {
                    literal::literal(toml::de::DeValue::parse(value).unwrap().get_ref(), &data_type).unwrap()
                }),
                is_indexed: is_indexed && data_type.is_indexable(),
                description: description.map(|text| text.replace('\0', "")),
                data_type,
            }
        },
    );
    let fields = prop::collection::vec((field, "[^\\x00]{1,10}"), 1..5);
    (fields, any::<[bool; 4]>(), "[a-zA-Z .\"ü]{1,8}").prop_map(
        |(fields, [strict, add, dead, keyed], table)| {
            let mut fields: Vec<DeclaredField> = fields
                .into_iter()
                .enumerate()
                .map(|(index, (field, name))| DeclaredField { name: format!("{name}{index}"), ..field })
                .collect();
            let first = &mut fields[0];
            let primary_key =
                if keyed && first.data_type.is_indexable() { vec![first.name.clone()] } else { Vec::new() };
            first.nullable = first.nullable && primary_key.is_empty();
            Declaration {
                name: TableName { catalog: None, schema: None, table },
                description: None,
                mode: if strict { Strictness::Strict } else { Strictness::Lenient },
                primary_key,
                on_new_column: if add { NewColumns::Add } else { NewColumns::Reject },
                dead_letters: dead,
                fields,
            }
        },
    )
}

proptest! {
    #[test]
    fn a_written_declaration_reads_back_equal(declaration in declarations()) {
        let text = declaration.to_toml();
        let back = read_declarations(&[file("x.toml", &text)]);
        prop_assert_eq!(back, Ok(vec![declaration]), "{}", text);
    }
}
