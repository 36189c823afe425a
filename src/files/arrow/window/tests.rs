//! Rows of every layout come out of a window as they lie in the batch.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, FixedSizeBinaryArray,
    FixedSizeListArray, Int32Array, Int64Array, LargeListViewArray, LargeStringArray, ListArray, MapBuilder,
    NullArray, RecordBatch, StringArray, StringBuilder, StringViewArray, StructArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Int32Type, Schema};
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use pintail_protocol::decode::{Decoded, Decoder};

use super::super::layout;
use super::super::tests::found;
use super::*;

fn all_kinds(rows: usize) -> RecordBatch {
    let count = rows as i32;
    let item = |data_type: DataType| Arc::new(Field::new("item", data_type, true));
    let text = |n: i32| (n % 4 != 0).then(|| format!("{n} text ").repeat(n as usize % 7));
    let numbers = |rows: i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter((0..rows).map(|n| (n % 5 != 0).then_some(n))))
    };
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(
        (0..count)
            .map(|n| (n % 6 != 0).then(|| (0..n % 4).map(|m| (m != 2).then_some(m)).collect::<Vec<_>>())),
    );
    let views = LargeListViewArray::new(
        item(DataType::Int64),
        (0..i64::from(count)).map(|n| n % 7).collect::<Vec<_>>().into(),
        (0..i64::from(count)).map(|n| n % 3).collect::<Vec<_>>().into(),
        numbers(10),
        None,
    );
    let mut map = MapBuilder::new(None, StringBuilder::new(), arrow::array::Int32Builder::new());
    for n in 0..count {
        map.keys().append_value(format!("key {n}"));
        map.values().append_value(n);
        map.append(n % 9 != 0).unwrap();
    }
    let words = DictionaryArray::<Int32Type>::new(
        Int32Array::from_iter((0..count).map(|n| (n % 7 != 0).then_some(n % 3))),
        Arc::new(StringArray::from(vec!["a", "b", "a longer word"])),
    );
    let parts = StructArray::from(vec![
        (Arc::new(Field::new("n", DataType::Int64, true)), numbers(i64::from(count))),
        (
            Arc::new(Field::new("t", DataType::Utf8, true)),
            Arc::new(StringArray::from_iter((0..count).map(text))) as ArrayRef,
        ),
    ]);
    let columns: Vec<ArrayRef> = vec![
        numbers(i64::from(count)),
        Arc::new(BooleanArray::from_iter((0..count).map(|n| (n % 3 != 0).then_some(n % 2 == 0)))),
        Arc::new(StringArray::from_iter((0..count).map(text))),
        Arc::new(LargeStringArray::from_iter((0..count).map(text))),
        Arc::new(StringViewArray::from_iter((0..count).map(text))),
        Arc::new(lists),
        Arc::new(views),
        Arc::new(FixedSizeListArray::new(item(DataType::Int64), 2, numbers(2 * i64::from(count)), None)),
        Arc::new(map.finish()),
        Arc::new(parts),
        Arc::new(words),
        Arc::new(
            FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                (0..count).map(|n| (n % 3 != 0).then_some([n as u8; 5])),
                5,
            )
            .unwrap(),
        ),
        Arc::new(NullArray::new(rows)),
        Arc::new(
            Decimal128Array::from_iter_values((0..count).map(i128::from))
                .with_precision_and_scale(30, 2)
                .unwrap(),
        ),
    ];
    let fields = columns.iter().enumerate();
    let fields = fields.map(|(n, column)| Field::new(format!("c{n}"), column.data_type().clone(), true));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).unwrap()
}

#[test]
fn windows_hold_the_rows_of_the_batch() {
    let whole = all_kinds(1003);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.arrow");
    let mut writer = FileWriter::try_new(std::fs::File::create(&path).unwrap(), &whole.schema()).unwrap();
    writer.write(&whole).unwrap();
    writer.finish().unwrap();
    let input = found(&path).open().unwrap();
    for bytes_max in [1, 3000, 20_000] {
        let layout = layout::read(&input).unwrap();
        let mut decoder = Decoder::default();
        layout.begin(&mut decoder).unwrap();
        let mut parts = Vec::new();
        for frame in &layout.frames {
            if frame.rows.is_none() {
                decoder.decode(frame.read(&input).unwrap()).unwrap();
                continue;
            }
            let schema = whole.schema();
            let mut window = Window::over(frame, &input, &schema, bytes_max).unwrap().unwrap();
            while let Some(message) = window.next(&input).unwrap() {
                let bytes = message.data_body.len() as u64;
                let Decoded::Batch(batch, _) = decoder.decode(message).unwrap() else { panic!("no rows") };
                assert!(bytes <= 2 * bytes_max || batch.num_rows() == 1, "{bytes} of {bytes_max}");
                parts.push(batch);
            }
        }
        assert!(parts.len() > 5, "{}", parts.len());
        assert_eq!(concat_batches(&whole.schema(), &parts).unwrap(), whole, "{bytes_max}");
    }
}

/// What is compressed is not entered.
#[test]
fn compressed_batches_are_read_as_a_whole() {
    let whole = all_kinds(100);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("packed.arrow");
    let options = IpcWriteOptions::default().try_with_compression(Some(ipc::CompressionType::ZSTD)).unwrap();
    let mut file = std::fs::File::create(&path).unwrap();
    let mut writer = FileWriter::try_new_with_options(&mut file, &whole.schema(), options).unwrap();
    writer.write(&whole).unwrap();
    writer.finish().unwrap();
    file.flush().unwrap();
    let input = found(&path).open().unwrap();
    let layout = layout::read(&input).unwrap();
    let frame = layout.frames.iter().find(|frame| frame.rows.is_some()).unwrap();
    assert!(Window::over(frame, &input, &whole.schema(), 10).unwrap().is_none());
}
