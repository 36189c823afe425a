//! Arrow types that no DuckDB column sends, and numbers at their ends: each has one text.

use arrow::array::types::Int32Type;
use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;
use half::f16;

use super::*;

fn texts(array: &dyn Array) -> Vec<Option<String>> {
    let field = Field::new("v", array.data_type().clone(), true);
    let text = |row| {
        let mut out = String::new();
        text::write(&mut out, &Cell::new(array, &field, row)).unwrap().then_some(out)
    };
    (0..array.len()).map(text).collect()
}

fn lines(array: ArrayRef) -> String {
    let schema = Arc::new(Schema::new(vec![Field::new("v", array.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(schema, vec![array]).unwrap();
    let mut out = String::new();
    (0..batch.num_rows()).for_each(|row| json::row(&mut out, &batch, row).unwrap());
    out
}

fn valid(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[test]
fn numbers_keep_every_digit() {
    let widest = "99999999999999999999999999999999999999";
    let decimal =
        Decimal128Array::from(vec![10_i128.pow(38) - 1, i128::MIN]).with_precision_and_scale(38, 0).unwrap();
    assert_eq!(texts(&decimal), valid(&[widest, "-170141183460469231731687303715884105728"]));
    let scaled = Decimal128Array::from(vec![5, -5, 12_345]).with_precision_and_scale(38, 4).unwrap();
    assert_eq!(texts(&scaled), valid(&["0.0005", "-0.0005", "1.2345"]));
    assert_eq!(lines(Arc::new(UInt64Array::from(vec![u64::MAX]))), "{\"v\":18446744073709551615}\n");
    assert_eq!(lines(Arc::new(scaled)), "{\"v\":0.0005}\n{\"v\":-0.0005}\n{\"v\":1.2345}\n");
    let floats = vec![0.1, -0.0, 1e15, 1e16, 123_456_789.0, 1e-4, 1e-5, f64::MAX, 5e-324, 1.5e300];
    let expected = [
        "0.1",
        "-0.0",
        "1000000000000000.0",
        "1e+16",
        "123456789.0",
        "0.0001",
        "1e-05",
        "1.7976931348623157e+308",
        "5e-324",
        "1.5e+300",
    ];
    assert_eq!(texts(&Float64Array::from(floats.clone())), valid(&expected));
    for (text, float) in expected.iter().zip(&floats) {
        assert_eq!(serde_json::from_str::<f64>(text).unwrap().to_bits(), float.to_bits(), "{text}");
    }
    assert_eq!(texts(&Float32Array::from(vec![0.1, 16_777_216.0])), valid(&["0.1", "16777216.0"]));
    assert_eq!(texts(&Float16Array::from(vec![f16::from_f32(0.5), f16::NAN])), valid(&["0.5", "nan"]));
    let infinite = Float64Array::from(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
    assert_eq!(lines(Arc::new(infinite)), "{\"v\":\"NaN\"}\n{\"v\":\"Infinity\"}\n{\"v\":\"-Infinity\"}\n");
}

#[test]
fn encodings_show_their_values() {
    let dictionary: DictionaryArray<Int32Type> =
        vec![Some("b"), None, Some("a"), Some("b")].into_iter().collect();
    assert_eq!(texts(&dictionary), [Some("b".into()), None, Some("a".into()), Some("b".into())]);
    let runs = RunArray::<Int32Type>::try_new(
        &Int32Array::from(vec![2, 3, 5]),
        &StringViewArray::from(vec![Some("x"), None, Some("y")]),
    )
    .unwrap();
    let slice = runs.slice(1, 3);
    assert_eq!(texts(&slice), [Some("x".into()), None, Some("y".into())]);
    let view = ListViewArray::new(
        Arc::new(Field::new("item", DataType::Int32, true)),
        ScalarBuffer::from(vec![2, 0, 0]),
        ScalarBuffer::from(vec![1, 2, 0]),
        Arc::new(Int32Array::from(vec![Some(1), None, Some(3)])),
        Some(NullBuffer::from(vec![true, true, false])),
    );
    assert_eq!(texts(&view), [Some("[3]".into()), Some("[1, NULL]".into()), None]);
    assert_eq!(lines(Arc::new(view)), "{\"v\":[3]}\n{\"v\":[1,null]}\n{\"v\":null}\n");
    assert_eq!(texts(&BinaryViewArray::from(vec![&b"\x00\xff"[..], b""])), valid(&["00ff", ""]));
}

#[test]
fn unions_of_both_layouts_show_the_member() {
    let fields: UnionFields =
        [(3, Field::new("n", DataType::Int32, true)), (7, Field::new("s", DataType::Utf8, true))]
            .into_iter()
            .map(|(code, field)| (code, Arc::new(field)))
            .collect();
    let dense = UnionArray::try_new(
        fields.clone(),
        ScalarBuffer::from(vec![7, 3, 3]),
        Some(ScalarBuffer::from(vec![0, 0, 1])),
        vec![Arc::new(Int32Array::from(vec![Some(5), None])), Arc::new(StringArray::from(vec!["five"]))],
    )
    .unwrap();
    assert_eq!(texts(&dense), [Some("five".into()), Some("5".into()), None]);
    assert_eq!(lines(Arc::new(dense)), "{\"v\":{\"s\":\"five\"}}\n{\"v\":{\"n\":5}}\n{\"v\":null}\n");
    let sparse = UnionArray::try_new(
        fields,
        ScalarBuffer::from(vec![3, 7]),
        None,
        vec![Arc::new(Int32Array::from(vec![1, 2])), Arc::new(StringArray::from(vec!["a", "b"]))],
    )
    .unwrap();
    assert_eq!(texts(&sparse), valid(&["1", "b"]));
}

#[test]
fn maps_with_any_keys_are_objects() {
    let entries = StructArray::from(vec![
        (
            Arc::new(Field::new("key", DataType::Date32, false)),
            Arc::new(Date32Array::from(vec![0, 1])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("value", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("a, b"), None])),
        ),
    ]);
    let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let map = MapArray::new(field, OffsetBuffer::from_lengths([2, 0]), entries, None, false);
    assert_eq!(texts(&map), valid(&["{1970-01-01='a, b', 1970-01-02=NULL}", "{}"]));
    assert_eq!(lines(Arc::new(map)), "{\"v\":{\"1970-01-01\":\"a, b\",\"1970-01-02\":null}}\n{\"v\":{}}\n");
}

#[test]
fn csv_tells_null_from_an_empty_text() {
    let mut line = String::new();
    csv_line(
        &mut line,
        [None, Some(""), Some("a,b"), Some("say \"so\""), Some("two\nlines"), Some(" x ")].into_iter(),
    );
    assert_eq!(line, ",\"\",\"a,b\",\"say \"\"so\"\"\",\"two\nlines\", x \n");
}
