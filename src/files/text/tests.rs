//! Text files, from a folder to their rows.
//! Runs on: tests. Never: more than a few MiB.
//! One file: the cases share the files and tables that are made below.

use std::collections::HashMap;
use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use arrow::array::Array;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::json::ArrayWriter;

use super::super::found::Place;
use super::super::input::PieceReader;
use super::*;

fn found(path: &Path) -> FoundFile {
    FoundFile {
        place: Place::Path(path.to_owned()),
        name: path.display().to_string(),
        shown: path.file_name().unwrap().to_string_lossy().into_owned(),
        partitions: vec![],
    }
}

fn write(name: &str, text: impl AsRef<[u8]>) -> (tempfile::TempDir, FoundFile) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    let found = found(&path);
    (folder, found)
}

fn opened(found: &FoundFile, kind: Kind, given: Option<Schema>) -> Result<Arc<dyn LoadFile>> {
    open(found, kind, Compression::None, given.map(Arc::new).as_ref())
}

/// All rows as JSON, where NULLs are left out.
fn rows(file: &dyn LoadFile) -> Result<String> {
    let mut reader = file.reader()?;
    let mut writer = ArrayWriter::new(Vec::new());
    for piece in 0..file.pieces().len() {
        for batch in reader.read(piece)? {
            let batch = batch?;
            assert_eq!(batch.schema_ref(), file.schema());
            writer.write(&batch)?;
        }
    }
    writer.finish()?;
    Ok(String::from_utf8(writer.into_inner()).unwrap())
}

fn types(file: &dyn LoadFile) -> Vec<String> {
    let field = |field: &Arc<Field>| format!("{} {}", field.name(), field.data_type());
    file.schema().fields().iter().map(field).collect()
}

fn csv(text: &str) -> (Vec<String>, String) {
    let (_folder, found) = write("t.csv", text);
    let file = opened(&found, Kind::Csv, None).unwrap();
    (types(file.as_ref()), rows(file.as_ref()).unwrap())
}

fn refused(kind: Kind, text: impl AsRef<[u8]>, given: Option<Schema>, expected: &str) {
    let (_folder, found) = write("t.txt", text);
    let error = opened(&found, kind, given).and_then(|file| rows(file.as_ref())).unwrap_err();
    assert!(error.message().contains(expected), "{error}");
}

/// Types hold every value of a column as it stands, or it is text.
#[test]
fn csv_types_never_change_a_value() {
    let one = |values: &[&str], expected: &str, back: &str| {
        let text = format!("c,x\n{}", values.iter().map(|value| format!("{value},x\n")).collect::<String>());
        let (types, rows) = csv(&text);
        assert_eq!(types[0], format!("c {expected}"), "{values:?}");
        assert_eq!(rows.replace(",\"x\":\"x\"", "").replace("\"x\":\"x\"", ""), back, "{values:?}");
    };
    one(&["1", "", "-3"], "Int64", r#"[{"c":1},{},{"c":-3}]"#);
    one(&["1", "007"], "Utf8", r#"[{"c":"1"},{"c":"007"}]"#);
    one(&["1", "+1"], "Utf8", r#"[{"c":"1"},{"c":"+1"}]"#);
    one(&["1", "9223372036854775808"], "Utf8", r#"[{"c":"1"},{"c":"9223372036854775808"}]"#);
    one(&["1", "1e5"], "Utf8", r#"[{"c":"1"},{"c":"1e5"}]"#);
    one(&["1", "0.5"], "Float64", r#"[{"c":1.0},{"c":0.5}]"#);
    one(&["9007199254740993", "0.5"], "Utf8", r#"[{"c":"9007199254740993"},{"c":"0.5"}]"#);
    one(&["1", "NaN"], "Utf8", r#"[{"c":"1"},{"c":"NaN"}]"#);
    one(&["1.5", "nan"], "Float64", r#"[{"c":1.5},{"c":null}]"#);
    one(&["1", "NA"], "Utf8", r#"[{"c":"1"},{"c":"NA"}]"#);
    one(&["1", "\"\""], "Utf8", r#"[{"c":"1"},{"c":""}]"#);
    one(&["true", "False"], "Boolean", r#"[{"c":true},{"c":false}]"#);
    one(&["true", "1"], "Utf8", r#"[{"c":"true"},{"c":"1"}]"#);
    one(&["2024-02-29", ""], "Date32", r#"[{"c":"2024-02-29"},{}]"#);
    one(
        &["2024-02-29", "2024-02-29 10:00:00"],
        "Utf8",
        r#"[{"c":"2024-02-29"},{"c":"2024-02-29 10:00:00"}]"#,
    );
    one(&["2024-02-29 10:00:00.25"], "Timestamp(µs)", r#"[{"c":"2024-02-29T10:00:00.250"}]"#);
    one(&["2024-02-29T10:00:00.123456789"], "Timestamp(ns)", r#"[{"c":"2024-02-29T10:00:00.123456789"}]"#);
    one(&["2024-02-29T10:00:00+02:00"], "Timestamp(µs, \"UTC\")", r#"[{"c":"2024-02-29T08:00:00Z"}]"#);
    one(
        &["2024-02-29T10:00:00Z", "2024-02-29T10:00:00"],
        "Utf8",
        r#"[{"c":"2024-02-29T10:00:00Z"},{"c":"2024-02-29T10:00:00"}]"#,
    );
    one(&["", ""], "Null", "[{},{}]");
}

/// Delimiters, quotes, line ends and the byte order mark.
#[test]
fn csv_forms() {
    let expected = r#"[{"a":1,"b":"x\ny"},{"a":2,"b":"\"q\""}]"#;
    for delimiter in [",", "\t", ";", "|"] {
        for end in ["\n", "\r\n"] {
            for last in ["", end] {
                let text = format!(
                    "\u{feff}a{delimiter}b{end}1{delimiter}\"x\ny\"{end}{end}2{delimiter}\"\"\"q\"\"\"{last}"
                );
                assert_eq!(csv(&text).1, expected, "{text:?}");
            }
        }
    }
    assert_eq!(csv("a\n1\n\n2").1, r#"[{"a":1},{},{"a":2}]"#, "an empty line of one column is NULL");
    let (_folder, found) = write("t.csv", "a,b\n");
    assert!(opened(&found, Kind::Csv, None).unwrap().pieces().is_empty());
}

#[test]
fn csv_refusals_name_line_and_column() {
    refused(
        Kind::Csv,
        "a,b\n1,2\n\n3\n",
        None,
        "t.txt, line 4: expected 2 fields as in the first line, found 1",
    );
    refused(Kind::Csv, "a,b\n1,2,3\n", None, "line 2: expected 2 fields as in the first line, found 3");
    refused(Kind::Csv, "a,b\n\"x\ny\",1\n\"x\"y,2\n", None, "line 4: text follows the closing quote");
    refused(Kind::Csv, "a,b\n1,\"x\n", None, "line 2: a quote that begins here is not closed");
    refused(Kind::Csv, b"a,b\n1,2\n1,\xe9\n", None, "line 3: byte 0xe9 is not UTF-8");
    refused(Kind::Csv, "", None, "expected the names of the columns");
    let given = |data_type| Some(Schema::new(vec![Field::new("B", data_type, true)]));
    let check = |value: &str, data_type: DataType, expected: &str| {
        let expected = format!("t.txt, line 3, column \"b\": expected {expected}, found \"{value}\"; change");
        refused(Kind::Csv, format!("a,b\n1,\n2,{value}\n"), given(data_type), &expected);
    };
    check("1.5", DataType::Int32, "INTEGER");
    check("300", DataType::Int8, "TINYINT");
    check("-1", DataType::UInt64, "UBIGINT");
    check("1.005", DataType::Decimal128(9, 2), "DECIMAL(9,2)");
    check("1e999", DataType::Float64, "DOUBLE");
    check("1e300", DataType::Float32, "FLOAT");
    check("2023-02-29", DataType::Date32, "DATE");
    check(
        "2023-02-28 10:00:00Z",
        DataType::Timestamp(TimeUnit::Microsecond, None),
        "TIMESTAMP (without a zone)",
    );
    check(
        "2023-02-28 10:00:00.1234567",
        DataType::Timestamp(TimeUnit::Microsecond, None),
        "TIMESTAMP (without a zone)",
    );
    check(
        "2023-02-28 10:00:00",
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "TIMESTAMP WITH TIME ZONE (with Z or an offset)",
    );
    check("maybe", DataType::Boolean, "BOOLEAN");
}

/// The table's types are found by name in any case and order; other columns are text.
#[test]
fn given_types_are_taken_by_name() {
    let (_folder, found) = write("t.csv", "new,PRICE,Id,code\n1,1.5,007,\"\"\n");
    let fields = [
        ("id", DataType::Int32),
        ("price", DataType::Decimal128(9, 2)),
        ("code", DataType::Utf8),
        ("other", DataType::Int64),
    ];
    let fields: Vec<_> = fields.map(|(name, data_type)| Field::new(name, data_type, false)).into();
    let file = opened(&found, Kind::Csv, Some(Schema::new(fields))).unwrap();
    assert_eq!(types(file.as_ref()), ["new Utf8", "PRICE Decimal128(9, 2)", "Id Int32", "code Utf8"]);
    assert_eq!(rows(file.as_ref()).unwrap(), r#"[{"new":"1","PRICE":1.50,"Id":7,"code":""}]"#);
}

/// Nested values, missing keys, big numbers; nothing is joined that is not alike.
#[test]
fn ndjson_types() {
    let (_folder, found) = write(
        "t.ndjson",
        concat!(
            "{\"id\":1,\"tags\":[\"a\",null],\"who\":{\"name\":\"x\",\"age\":3},\"big\":12345678901234567890}\n\n",
            "{\"id\":2,\"who\":{\"name\":null,\"more\":[{\"k\":1.5}]},\"when\":\"2024-01-01T00:00:00Z\",\"e\":1e5}\r\n",
            "{\"tags\":[],\"id\":null,\"big\":1,\"none\":null,\"esc\":\"a\\n\\u00e9\"}",
        ),
    );
    let file = opened(&found, Kind::Ndjson, None).unwrap();
    let names: Vec<_> = file.schema().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "tags", "who", "big", "when", "e", "none", "esc"]);
    let data_type = |name: &str| file.schema().field_with_name(name).unwrap().data_type().clone();
    assert_eq!(data_type("id"), DataType::Int64);
    assert_eq!(data_type("big"), DataType::Decimal128(38, 0));
    assert_eq!(data_type("when"), DataType::Utf8);
    assert_eq!(data_type("e"), DataType::Float64);
    assert_eq!(data_type("none"), DataType::Null);
    assert_eq!(
        rows(file.as_ref()).unwrap(),
        concat!(
            r#"[{"id":1,"tags":["a",null],"who":{"name":"x","age":3},"big":12345678901234567890},"#,
            r#"{"id":2,"who":{"more":[{"k":1.5}]},"when":"2024-01-01T00:00:00Z","e":100000.0},"#,
            r#"{"tags":[],"big":1,"esc":"a\né"}]"#
        )
    );
}

#[test]
fn ndjson_refusals_name_line_and_field() {
    let check = |text: &str, expected: &str| refused(Kind::Ndjson, text, None, expected);
    check(
        "{\"a\":1}\n\n{\"a\":\"x\"}\n",
        "t.txt, line 3, field \"a\": is a text, and was a number in an earlier line",
    );
    check(
        "{\"a\":{\"b\":[1]}}\n{\"a\":{\"b\":[2,true]}}\n",
        "line 2, field \"a.b.1\": is a boolean, and was a number",
    );
    check(
        "{\"a\":1.5}\n{\"a\":9007199254740993}\n",
        "field \"a\": 9007199254740993 stands beside numbers of another kind",
    );
    check("{\"a\":1.23456789012345678901}\n", "more digits than a DOUBLE holds");
    check(&format!("{{\"a\":1{}}}", "0".repeat(38)), "more than 38 digits");
    check("{\"a\":1,\"a\":2}\n", "field \"a\": stands twice in one object");
    check("{\"a\":1}\n{\"A\":2}\n", "field \"A\": differs from key \"a\" only by case");
    check("{\"a\":1}\n{\"a\":\n2}\n", "line 2: is not valid JSON");
    check("[{\"a\":1}]\n", "found a list");
    check("1\n", "expected an object, found 1");
    check("{\"a\":{}}\n", "field \"a\": is an object without keys");
    check("{\"a\":\"\\ud800\"}\n", "field \"a\": is not valid JSON");
    let given = |data_type| Some(Schema::new(vec![Field::new("a", data_type, true)]));
    let text = "{\"a\":1}\n{\"a\":1.5}\n";
    refused(
        Kind::Ndjson,
        text,
        given(DataType::Int64),
        "line 2, field \"a\": expected BIGINT, found 1.5; change",
    );
}

/// A column of text takes anything as it is written, a column of JSON takes it as JSON.
#[test]
fn given_text_and_json_take_anything() {
    let text = "{\"a\":1.50,\"j\":\"x\"}\n{\"a\":{\"k\": [1]},\"j\":2,\"new\":[1]}\n";
    let (_folder, found) = write("t.ndjson", text);
    let json = HashMap::from([(pintail_protocol::extension::NAME.to_owned(), "arrow.json".to_owned())]);
    let given = Schema::new(vec![
        Field::new("a", DataType::Utf8, true),
        Field::new("j", DataType::Utf8, true).with_metadata(json),
    ]);
    let file = opened(&found, Kind::Ndjson, Some(given)).unwrap();
    assert_eq!(
        rows(file.as_ref()).unwrap(),
        r#"[{"a":"1.50","j":"\"x\""},{"a":"{\"k\": [1]}","j":"2","new":"[1]"}]"#
    );
}

/// What a load would store of a file, with what was stored before.
fn load(found: &FoundFile, kind: Kind, known: &mut HashSet<u64>, stored: &mut Vec<i64>) -> usize {
    let file = open(found, kind, Compression::None, None).unwrap();
    let mut reader = file.reader_of_rest(known.clone()).unwrap();
    let mut loaded = 0;
    for piece in 0..file.pieces().len() {
        let checksum = reader.checksum(piece).unwrap();
        if !known.insert(checksum) {
            continue;
        }
        loaded += 1;
        for batch in reader.read(piece).unwrap() {
            let column = Arc::clone(batch.unwrap().column(0));
            let values = column.as_any().downcast_ref::<arrow::array::Int64Array>().unwrap();
            stored.extend(values.iter().flatten());
        }
    }
    loaded
}

/// A file that grows is loaded again and again: every record is stored once, in order, also one whose newline came later.
#[test]
fn a_growing_file_is_stored_once() {
    for kind in [Kind::Csv, Kind::Ndjson] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let found = found(&path);
        let mut text = fs::File::create(&path).unwrap();
        if kind == Kind::Csv {
            text.write_all(b"id,text\n").unwrap();
        }
        let (mut known, mut stored) = (HashSet::new(), Vec::new());
        let mut next = 0;
        // Records of two sizes, so that three blocks fill up in steps that end within and at the marks.
        for (count, bytes, newline) in [
            (1, 9, true),
            (3, 9, false),
            (1, 9, true),
            (7, 600_000, true),
            (9, 700_000, false),
            (20, 500_000, true),
        ] {
            for index in 0..count {
                let long = "x".repeat(bytes);
                match kind {
                    Kind::Csv => write!(text, "{next},\"{long}\n\""),
                    Kind::Ndjson => write!(text, "{{\"id\":{next},\"text\":\"{long}\"}}"),
                }
                .unwrap();
                next += 1;
                if newline || index + 1 < count {
                    text.write_all(b"\n").unwrap();
                }
            }
            assert!(load(&found, kind, &mut known, &mut stored) > 0);
            assert_eq!(stored, (0..next).collect::<Vec<_>>());
            assert_eq!(load(&found, kind, &mut known, &mut stored), 0, "nothing is new");
            if !newline {
                text.write_all(b"\n").unwrap();
                assert_eq!(load(&found, kind, &mut known, &mut stored), 0, "a newline is no record");
            }
        }
    }
}

/// Types that change as a file grows do not make it another file.
#[test]
fn a_type_that_changes_stores_nothing_twice() {
    let (folder, found) = write("t.csv", "a\n1\n2\n");
    let checksum = |known: &HashSet<u64>| {
        let file = open(&found, Kind::Csv, Compression::None, None).unwrap();
        let mut reader = file.reader_of_rest(known.clone()).unwrap();
        let checksum = reader.checksum(0).unwrap();
        let rows: usize = reader.read(0).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
        (checksum, rows)
    };
    let (first, rows) = checksum(&HashSet::new());
    assert_eq!(rows, 2);
    fs::write(folder.path().join("t.csv"), "a\n1\n2\nx\n").unwrap();
    let (second, rows) = checksum(&[first].into());
    assert_eq!(rows, 1);
    assert_ne!(first, second);
}

/// Pieces may be left out, and any reader may begin anywhere; lines are counted all the same.
#[test]
fn pieces_are_read_from_anywhere() {
    let mut text = String::from("a,b\n");
    for row in 0..30 {
        text.push_str(&format!("{row},\"{}\n\"\n", "x".repeat(1_000_000)));
    }
    let (folder, found) = write("t.csv", &text);
    let file = opened(&found, Kind::Csv, None).unwrap();
    assert_eq!(file.pieces().len(), 4);
    let count = |reader: &mut Box<dyn PieceReader>, piece| -> usize {
        reader.read(piece).unwrap().map(|batch| batch.unwrap().num_rows()).sum()
    };
    let mut reader = file.reader().unwrap();
    let last = count(&mut reader, 3);
    let all: usize = (0..4).map(|piece| count(&mut reader, piece)).sum();
    assert_eq!(all, 30);
    assert_eq!(count(&mut file.reader().unwrap(), 3), last);
    // The file changes after it was planned.
    text.push_str("30,x\n");
    fs::write(folder.path().join("t.csv"), &text).unwrap();
    let error = reader.checksum(3).unwrap_err();
    assert!(error.message().contains("was written to while it was read"), "{error}");
    assert!(file.reader().is_err());
    // A bad value deep in the file is found by its line.
    text.push_str("31,y,z\n");
    refused(Kind::Csv, &text, None, "line 63: expected 2 fields");
}

/// Compressed files are one piece; one that stops in its middle is an error, not a shorter file.
#[test]
fn compressed_files() {
    let text: String = std::iter::once("a,b\n".to_owned())
        .chain((0..200_000).map(|row| format!("{row},\"value {}\"\n", row * 7919 % 10_007)))
        .collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let packed = [
        (Compression::Gzip, gzip.finish().unwrap()),
        (Compression::Zstd, zstd::encode_all(text.as_bytes(), 1).unwrap()),
    ];
    for (compression, bytes) in packed {
        let (folder, found) = write("t.csv.x", &bytes);
        let read = || {
            let file = open(&found, Kind::Csv, compression, None)?;
            assert_eq!(file.pieces().len(), 1);
            assert_eq!(file.pieces()[0].bytes, found.open()?.len());
            let mut reader = file.reader()?;
            let checksum = reader.checksum(0)?;
            let mut rows = 0;
            for batch in reader.read(0)? {
                rows += batch?.num_rows();
            }
            Ok::<_, Error>((checksum, rows))
        };
        let (checksum, rows) = read().unwrap();
        assert_eq!(rows, 200_000);
        assert_eq!(read().unwrap().0, checksum);
        fs::write(folder.path().join("t.csv.x"), &bytes[..bytes.len() - 10]).unwrap();
        let error = read().unwrap_err();
        assert!(error.message().contains("cannot read t.csv.x past line"), "{error}");
    }
}

/// A last line that stops in its middle is called that, and no type of a column is advised; one that is whole and wrong is not.
#[test]
fn a_file_that_is_cut_short_is_told() {
    let told = |kind, text: &str| {
        let (_folder, found) = write("t", text);
        opened(&found, kind, None).and_then(|file| rows(file.as_ref())).unwrap_err().message().to_owned()
    };
    for (kind, text) in [
        (Kind::Ndjson, "{\"id\":1,\"v\":\"a\"}\n{\"id\":2,\"v\":\"b"),
        (Kind::Ndjson, "{\"id\":1}\n{\"id\":"),
        (Kind::Ndjson, "{\"id\":1}\n{"),
        (Kind::Csv, "id,v\n1,a\n2"),
    ] {
        let error = told(kind, text);
        assert!(error.contains(shortened::CUT) && !error.contains("VARCHAR"), "{text}: {error}");
        assert!(error.contains("line 2:") || error.contains("line 3:"), "{error}");
    }
    assert!(told(Kind::Csv, "id,v\n1,\"a\n2,b\n").contains("may be cut short"));
    for (kind, text) in [
        (Kind::Ndjson, "{\"id\":1}\n{\"id\":2}garbage"),
        (Kind::Ndjson, "{\"id\":1}\n{\"id\":\n2}"),
        (Kind::Csv, "id,v\n1\n2,b\n"),
        (Kind::Csv, "id,v\n1,a\n2,b,c"),
    ] {
        let error = told(kind, text);
        assert!(!error.contains("cut short") && !error.contains("VARCHAR"), "{text}: {error}");
    }
    // A value of a table's type may be the beginning of one.
    let (_folder, found) = write("t", "day\n2024-01-01\n2024-0");
    let given = Schema::new(vec![Field::new("day", DataType::Date32, true)]);
    let error = opened(&found, Kind::Csv, Some(given)).and_then(|file| rows(file.as_ref())).unwrap_err();
    assert!(
        error.message().contains(shortened::CUT) && error.message().contains("change the value"),
        "{error}"
    );
}

/// What of a piece is stored is told apart from the rest, so that a changed file is not taken for one that has grown.
#[test]
fn what_is_left_out_of_a_piece_is_known() {
    let (folder, found) = write("t.csv", "a\n1\n");
    let look = |stored: &HashSet<u64>| {
        let file = open(&found, Kind::Csv, Compression::None, None).unwrap();
        let mut reader = file.reader_of_rest(stored.clone()).unwrap();
        let checksum = reader.checksum(0).unwrap();
        (checksum, reader.left_out().to_vec())
    };
    let (first, none) = look(&HashSet::new());
    assert!(none.is_empty());
    fs::write(folder.path().join("t.csv"), "a\n1\n2\n").unwrap();
    let (second, before) = look(&HashSet::from([first]));
    assert!(second != first && before == [first]);
    let (whole, before) = look(&HashSet::from([first, second]));
    assert_eq!((whole, before), (second, vec![first]));
    fs::write(folder.path().join("t.csv"), "a\n3\n2\n").unwrap();
    let (changed, before) = look(&HashSet::from([first, second]));
    assert!(![first, second].contains(&changed) && before.is_empty());
}
