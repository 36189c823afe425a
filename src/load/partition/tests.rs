//! Folders as Spark, Hive, DuckDB and pyarrow write them, and as people do.

use arrow::array::{AsArray, DictionaryArray, Int64Array};
use arrow::datatypes::{Date32Type, Int32Type, Int64Type};

use super::*;
use crate::files::found::Place;

fn file(path: &str) -> FoundFile {
    FoundFile {
        place: Place::Path(path.into()),
        name: path.into(),
        shown: path.into(),
        partitions: folders_of(Path::new(path)).unwrap(),
    }
}

fn fields(paths: &[&str], given: Option<&DataType>) -> Result<Vec<(String, DataType)>> {
    let files: Vec<FoundFile> = paths.iter().map(|path| file(path)).collect();
    let schema = Schema::empty();
    let fields = partition_fields(files.iter().map(|file| (file, &schema)), |_| given.cloned())?;
    Ok(fields.iter().map(|field| (field.name().clone(), field.data_type().clone())).collect())
}

fn datatype(values: &[&str], given: Option<&DataType>) -> Result<DataType> {
    let paths: Vec<String> = values.iter().map(|value| format!("d/k={value}/a.parquet")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    fields(&paths, given).map(|mut fields| fields.remove(0).1)
}

#[test]
fn folders_are_read_as_they_are_written() {
    type Columns<'a> = &'a [(&'a str, Option<&'a str>)];
    let cases: &[(&str, Columns<'_>)] = &[
        ("year=2024/month=01/a.parquet", &[("year", Some("2024")), ("month", Some("01"))]),
        ("/data/k=1/x/j=2/a.parquet", &[("k", Some("1")), ("j", Some("2"))]),
        ("k=a=b/a", &[("k", Some("a=b"))]),
        ("k=/a", &[("k", Some(""))]),
        ("k=__HIVE_DEFAULT_PARTITION__/a", &[("k", None)]),
        // The value itself, as DuckDB writes it to tell it from NULL; and a NULL in letters, which is a text.
        ("k=%5F_HIVE_DEFAULT_PARTITION__/a", &[("k", Some("__HIVE_DEFAULT_PARTITION__"))]),
        ("k=NULL/a", &[("k", Some("NULL"))]),
        ("k=2024-01-01 00%3A00%3A00/a", &[("k", Some("2024-01-01 00:00:00"))]),
        ("k=a%2Fb%3Dc%25/a", &[("k", Some("a/b=c%"))]),
        ("k=a+b/a", &[("k", Some("a+b"))]),
        ("k=%zz%4/a", &[("k", Some("%zz%4"))]),
        ("%C3%A4%20b=1/a", &[("\u{e4} b", Some("1"))]),
        ("_k=1/a", &[("_k", Some("1"))]),
        ("x/a=1.parquet", &[]),
        ("../k=1/./a", &[("k", Some("1"))]),
        ("a", &[]),
    ];
    for (path, expected) in cases {
        let expected: Vec<_> =
            expected.iter().map(|(key, value)| (key.to_string(), value.map(str::to_owned))).collect();
        assert_eq!(folders_of(Path::new(path)).unwrap(), expected, "{path}");
    }
}

/// A link out of a folder that is a column is refused, and so is one that is called like another folder.
#[test]
fn a_file_lies_in_the_folders_it_was_reached_by() {
    for (path, real) in [
        ("a", "/d/n=1/a"),
        ("n=1/a", "/d/n=1/a"),
        ("latest/a", "/d/n=1/a"),
        ("n=2/../n=1/a", "/d/n=1/a"),
        ("/x=/../d/n=1/a", "/d/n=1/a"),
    ] {
        check_reached(Path::new(path), Path::new(real)).unwrap();
    }
    for (path, real, folder) in [("n=2/a", "/d/n=1/a", "n=2"), ("d/n=1/a", "/blobs/0f3a", "n=1")] {
        let error = check_reached(Path::new(path), Path::new(real)).unwrap_err();
        assert!(
            [path, real, folder, "--no-hive"].iter().all(|part| error.message().contains(part)),
            "{error}"
        );
    }
}

/// Every name and value of a folder makes another mark; a file without such folders has none.
#[test]
fn folders_have_a_mark() {
    let names =
        ["/d/n=1/a", "/d/n=2/a", "/d/m=1/a", "/d/n=1/m=1/a", "/d/n=/a", "/d/n=__HIVE_DEFAULT_PARTITION__/a"];
    let marks: std::collections::HashSet<u64> = names.iter().map(|name| mark_of(name)).collect();
    assert_eq!((marks.len(), marks.contains(&0)), (names.len(), false));
    assert_eq!(mark_of("/x/n=1/y/b.csv"), mark_of("/d/n=1/a"));
    assert_eq!((mark_of("/d/a"), mark_of("-:00"), mark_of("s3://b/k=1")), (0, 0, 0));
    assert_eq!(mark_of("s3://b/n=1/a"), mark_of("/d/n=1/a"));
}

#[test]
fn folders_that_are_no_columns_are_refused() {
    use std::os::unix::ffi::OsStringExt;
    let raw = OsString::from_vec(b"k=\xff/a".to_vec());
    let cases: &[(&Path, &str)] = &[
        (Path::new("k=1/k=2/a"), "k=2"),
        (Path::new("k=1/K=1/a"), "K=1"),
        (Path::new("=1/a"), "no name of a column"),
        (Path::new("k=%FF/a"), "not UTF-8"),
        (Path::new(&raw), "not UTF-8"),
    ];
    for (path, part) in cases {
        let error = folders_of(path).unwrap_err();
        assert!(error.message().contains(part) && error.message().contains("--no-hive"), "{error}");
    }
}

/// Only texts that a type gives back letter by letter are of it.
#[test]
fn types_lose_nothing() {
    use DataType::{Date32, Int64, Utf8};
    let cases: &[(&[&str], DataType)] = &[
        (&["1", "-2", "9223372036854775807", "-9223372036854775808", "0"], Int64),
        (&["1", "__HIVE_DEFAULT_PARTITION__"], Int64),
        (&["1", "01"], Utf8),
        (&["01", "02"], Utf8),
        (&["+1"], Utf8),
        (&["-0"], Utf8),
        (&[" 1"], Utf8),
        (&["1.0"], Utf8),
        (&["9223372036854775808"], Utf8),
        (&["1", ""], Utf8),
        (&["1", "a"], Utf8),
        (&["2024-02-29", "0001-01-01"], Date32),
        (&["2024-02-30"], Utf8),
        (&["2024-1-1"], Utf8),
        (&["2024-01-01", "20240101"], Utf8),
        (&["2024-01-01 00:00:00"], Utf8),
        (&["true", "false"], Utf8),
        (&["__HIVE_DEFAULT_PARTITION__"], Utf8),
    ];
    for (values, expected) in cases {
        assert_eq!(datatype(values, None).unwrap(), *expected, "{values:?}");
    }
}

/// A type that is known is kept to: values that are none of it are refused, and none is rounded into it.
#[test]
fn given_types_are_cast_to_without_loss() {
    let decimal = DataType::Decimal128(10, 2);
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let seconds = DataType::Timestamp(TimeUnit::Second, None);
    let good: &[(&str, &DataType)] = &[
        ("01", &DataType::Int32),
        ("255", &DataType::UInt8),
        ("", &DataType::Utf8),
        ("1.50", &decimal),
        ("1.500", &decimal),
        ("-3", &decimal),
        ("2024-01-01 10:00:00.000001", &micros),
        ("2024-01-01", &micros),
        ("2024-01-01", &DataType::Date32),
        ("0.1", &DataType::Float64),
        ("9007199254740992", &DataType::Float64),
        ("true", &DataType::Boolean),
        ("x", &DataType::LargeUtf8),
    ];
    for (value, given) in good {
        assert_eq!(datatype(&[value], Some(given)).unwrap(), **given, "{value}");
    }
    let bad: &[(&str, &DataType)] = &[
        ("256", &DataType::UInt8),
        ("", &DataType::Int32),
        ("a", &DataType::Int32),
        ("1.5", &DataType::Int32),
        ("1.555", &decimal),
        ("1e-3", &decimal),
        ("123456789.00", &decimal),
        ("2024-01-01 10:00:00.0000001", &micros),
        ("2024-01-01 10:00:00.5", &seconds),
        ("2024-01-01 10:00:00", &DataType::Date32),
        ("9007199254740993", &DataType::Float64),
        ("perhaps", &DataType::Boolean),
    ];
    for (value, given) in bad {
        let error = datatype(&[value], Some(given)).unwrap_err();
        let parts = [format!("d/k={value}/a.parquet"), format!("k = \"{value}\""), given.to_string()];
        assert!(parts.iter().all(|part| error.message().contains(part)), "{error}");
    }
}

#[test]
fn all_files_have_the_same_folders() {
    use DataType::Int64;
    let expected = [("k".to_owned(), Int64), ("j".to_owned(), Int64)];
    assert_eq!(fields(&["k=1/j=2/a", "j=3/K=4/b"], None).unwrap(), expected);
    assert_eq!(fields(&["a", "b/c"], None).unwrap(), []);
    let error = fields(&["k=1/a", "b"], None).unwrap_err();
    assert!(["k=1/a", "\"k=…\"", "b does not"].iter().all(|part| error.message().contains(part)), "{error}");
    assert!(fields(&["b", "k=1/a"], None).is_err());
    // A file outside such a folder may hold the column itself.
    let files = [file("k=1/a"), file("b")];
    let own = Schema::new(vec![Field::new("K", Int64, true)]);
    let none = Schema::empty();
    let found = partition_fields([(&files[0], &none), (&files[1], &own)].into_iter(), |_| None).unwrap();
    assert_eq!(found.len(), 1);
    // The type is then that of the column.
    let text = Schema::new(vec![Field::new("K", DataType::Utf8, true)]);
    let found = partition_fields([(&files[0], &none), (&files[1], &text)].into_iter(), |_| None).unwrap();
    assert_eq!(found[0].data_type(), &DataType::Utf8);
}

#[test]
fn batches_get_the_columns_of_their_folders() {
    let files = [
        file("d/k=7/day=2024-01-02/s=x%20y/n=__HIVE_DEFAULT_PARTITION__/a"),
        file("d/k=8/day=2024-01-03/s=z/n=1/b"),
    ];
    let batch =
        RecordBatch::try_from_iter([("v", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef)]).unwrap();
    let schema = batch.schema();
    let fields = partition_fields(files.iter().map(|file| (file, schema.as_ref())), |_| None).unwrap();
    let partitions = Partitions::new(&files[0], &fields, &schema).unwrap();
    let got = partitions.extend(&batch).unwrap();
    assert_eq!(got.schema(), *partitions.schema());
    assert_eq!(got.num_rows(), 3);
    assert_eq!(got["v"].as_primitive::<Int64Type>().values(), &[1, 2, 3]);
    assert_eq!(got["k"].as_primitive::<Int64Type>().values(), &[7, 7, 7]);
    assert_eq!(got["day"].as_primitive::<Date32Type>().value_as_date(2), NaiveDate::from_ymd_opt(2024, 1, 2));
    assert_eq!(got["s"].as_string::<i32>().value(1), "x y");
    assert_eq!((got["n"].null_count(), got["n"].data_type()), (3, &DataType::Int64));
    assert_eq!(partitions.extend(&batch.slice(0, 0)).unwrap().num_rows(), 0);
}

/// What a file holds itself stays, and is never other than its folder says.
#[test]
fn a_column_in_the_file_must_agree_with_its_folder() {
    let check = |folder: &str, column: ArrayRef| {
        let file = file(&format!("d/K={folder}/a"));
        let batch = RecordBatch::try_from_iter([("k", column)]).unwrap();
        let schema = batch.schema();
        let fields = partition_fields([(&file, schema.as_ref())].into_iter(), |_| None).unwrap();
        Partitions::new(&file, &fields, &schema).unwrap().extend(&batch).map(|got| assert_eq!(got, batch))
    };
    let numbers = |values: Vec<Option<i64>>| Arc::new(Int64Array::from(values)) as ArrayRef;
    let words = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
    check("7", numbers(vec![Some(7), Some(7)])).unwrap();
    check("07", numbers(vec![Some(7)])).unwrap();
    check("__HIVE_DEFAULT_PARTITION__", numbers(vec![None, None])).unwrap();
    check("x", words(vec!["x", "x"])).unwrap();
    let dictionary: DictionaryArray<Int32Type> = vec!["x", "x"].into_iter().collect();
    check("x", Arc::new(dictionary.clone())).unwrap();
    for (folder, column, held) in [
        ("7", numbers(vec![Some(7), Some(8)]), "holds 8"),
        ("7", numbers(vec![Some(7), None]), "holds NULL"),
        ("__HIVE_DEFAULT_PARTITION__", numbers(vec![Some(1)]), "says NULL"),
        ("07", words(vec!["7"]), "holds 7, and its folder says 07"),
        ("y", Arc::new(dictionary), "holds x, and its folder says y"),
    ] {
        let error = check(folder, column).unwrap_err();
        let parts = ["d/K=", "/a: column \"K\"", held, "--no-hive"];
        assert!(
            error.kind() == Kind::Conflict && parts.iter().all(|part| error.message().contains(part)),
            "{error}"
        );
    }
}
