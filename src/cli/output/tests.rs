//! What a form has no place for leaves no file behind.

use arrow::array::*;
use arrow::datatypes::*;

use super::*;

#[test]
fn a_value_without_a_text_is_refused_with_its_place() {
    let times = TimestampSecondArray::from(vec![0]).with_timezone("Nowhere/Land");
    let schema = Arc::new(Schema::new(vec![Field::new("at", times.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(times)]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for form in [Form::Csv, Form::Json, Form::Table] {
        let path = folder.path().join("out");
        let mut output = Output::create(form, Some(&path), &schema, 10).ok().unwrap();
        let Err(Failure::Work(error)) = output.write(&batch) else { panic!("it was written") };
        assert!(
            error.to_string().contains("column \"at\", row 1: its time zone \"Nowhere/Land\""),
            "{error}"
        );
        drop(output);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn columns_that_a_form_has_no_place_for_are_named_first() {
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    let listed = DataType::new_list(interval, true);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    for (form, fields, name) in [
        (Form::Parquet, vec![Field::new("wait", listed, true)], "\"wait\" has an INTERVAL"),
        (
            Form::Parquet,
            vec![Field::new("u", DataType::Union(UnionFields::empty(), UnionMode::Sparse), true)],
            "UNION",
        ),
        (Form::Json, vec![Field::new("a", DataType::Int8, true); 2], "two columns \"a\""),
    ] {
        let schema = Arc::new(Schema::new(fields));
        let Err(Failure::Work(error)) = Output::create(form, Some(&path), &schema, 1) else {
            panic!("{name}")
        };
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
