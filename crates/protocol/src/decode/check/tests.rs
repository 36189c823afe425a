//! Each kind of declaration that does not fit, and that what fits is decoded within what was said.
//! One file: the cases share the messages that are built and bent below.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, Decimal256Array, DictionaryArray, FixedSizeBinaryArray, FixedSizeListArray,
    Int32Array, Int64Array, LargeListViewArray, ListArray, MapBuilder, NullArray, RecordBatch, RunArray,
    StringArray, StringBuilder, StringViewArray, StructArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{DictionaryHandling, IpcWriteOptions};
use arrow_flight::{FlightData, SchemaAsIpc};
use proptest::prelude::*;

use super::super::written::{Written, written};
use super::super::{CheckedMessage, Decoder, Need};
use crate::error::{Error, Kind, Result};

#[path = "../../../../../tests/support/forged.rs"]
mod ipc;

use ipc::Forged;

const MIB: usize = 1 << 20;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// What a decoder that may unpack a mebibyte says: each batch, and the room it asked for.
fn decoded(messages: Vec<FlightData>) -> Result<Vec<(RecordBatch, Need)>> {
    let mut decoder = Decoder::within(MIB);
    let mut batches = Vec::new();
    for message in messages {
        match decoder.look(message)? {
            CheckedMessage::Rows(waiting) => {
                let need = waiting.need();
                batches.push((decoder.rows(waiting)?, need));
            }
            CheckedMessage::Dictionary(waiting) => decoder.dictionary(waiting)?,
            CheckedMessage::Schema(_) | CheckedMessage::Nothing => {}
        }
    }
    Ok(batches)
}

fn refused(messages: Vec<FlightData>) -> Error {
    decoded(messages).expect_err("the message is refused")
}

/// The last message of `messages` changed.
fn forged(mut messages: Vec<FlightData>, change: impl FnOnce(Forged) -> Forged) -> Vec<FlightData> {
    let last = messages.pop().unwrap();
    messages.push(change(Forged::new(&last)).message());
    messages
}

fn numbers(rows: i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter((0..rows).map(|n| (n % 5 != 0).then_some(n))))
}

fn words(rows: i32) -> DictionaryArray<Int32Type> {
    let values = StringArray::from(vec!["a", "a longer word", "x"]);
    DictionaryArray::new(
        Int32Array::from_iter((0..rows).map(|n| (n % 7 != 0).then_some(n % 3))),
        Arc::new(values),
    )
}

/// Every kind of layout, with NULLs.
fn all_kinds() -> RecordBatch {
    let rows = 60;
    let item = |data_type: DataType| Arc::new(Field::new("item", data_type, true));
    let texts: Vec<Option<String>> =
        (0..rows).map(|n| (n % 4 != 0).then(|| "long text ".repeat(n as usize % 5))).collect();
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(
        (0..rows).map(|n| (n % 6 != 0).then(|| (0..n % 4).map(Some).collect::<Vec<_>>())),
    );
    let views = LargeListViewArray::new(
        item(DataType::Int64),
        vec![1_i64; rows as usize].into(),
        vec![3_i64; rows as usize].into(),
        numbers(10),
        None,
    );
    let fixed = FixedSizeListArray::new(item(DataType::Int64), 2, numbers(2 * i64::from(rows)), None);
    let mut map = MapBuilder::new(None, StringBuilder::new(), arrow::array::Int32Builder::new());
    for n in 0..rows {
        map.keys().append_value(format!("key {n}"));
        map.values().append_value(n);
        map.append(n % 9 != 0).unwrap();
    }
    let ends = Int32Array::from(vec![10, 11, rows]);
    let runs = RunArray::try_new(&ends, &StringArray::from(vec![Some("one"), None, Some("three")])).unwrap();
    let parts = StructArray::from(vec![
        (Arc::new(Field::new("n", DataType::Int64, true)), numbers(i64::from(rows))),
        (Arc::new(Field::new("w", words(1).data_type().clone(), true)), Arc::new(words(rows)) as ArrayRef),
    ]);
    let binary = FixedSizeBinaryArray::try_from_sparse_iter_with_size(
        (0..rows).map(|n| (n % 3 != 0).then_some([n as u8; 5])),
        5,
    );
    batch(vec![
        ("n", numbers(i64::from(rows))),
        ("text", Arc::new(StringArray::from(texts.clone()))),
        ("view", Arc::new(StringViewArray::from_iter(texts))),
        ("list", Arc::new(lists)),
        ("list view", Arc::new(views)),
        ("fixed", Arc::new(fixed)),
        ("map", Arc::new(map.finish())),
        ("runs", Arc::new(runs)),
        ("struct", Arc::new(parts)),
        ("word", Arc::new(words(rows))),
        ("binary", Arc::new(binary.unwrap())),
        ("null", Arc::new(NullArray::new(rows as usize))),
        ("wide", Arc::new(Decimal256Array::from(vec![arrow::datatypes::i256::ONE; rows as usize]))),
        ("flag", Arc::new(arrow::array::BooleanArray::from(vec![true; rows as usize]))),
    ])
}

#[test]
fn what_fits_is_decoded() {
    let batch = all_kinds();
    for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
        for sent in [batch.clone(), batch.slice(7, 20), batch.slice(0, 0)] {
            let found = decoded(written(&sent, compression)).unwrap();
            assert_eq!(found[0].0, sent, "{compression:?}");
        }
    }
}

#[test]
fn buffers_outside_of_the_body_are_refused() {
    let messages = || written(&batch(vec![("a", numbers(9)), ("b", numbers(9))]), None);
    for (offset, length) in [(64, i64::MAX), (-8, 8), (i64::MAX, 8), (0, -1), (1 << 40, 72)] {
        let error = refused(forged(messages(), |forged| forged.buffer(3, offset, length)));
        assert_eq!(error.kind(), Kind::Invalid);
        let text = error.to_string();
        assert!(text.contains("message 2 of the stream cannot be decoded: column \"b\""), "{text}");
        assert!(text.contains(&length.to_string()) && text.contains("outside of a body"), "{text}");
    }
}

#[test]
fn lengths_and_null_counts_must_fit() {
    let messages = || written(&batch(vec![("a", numbers(9)), ("b", numbers(9))]), None);
    for (length, nulls, says) in [
        (9, 10, "10 NULLs among 9 values"),
        (9, -1, "-1 NULLs"),
        (-1, 0, "-1 values are declared"),
        (i64::MAX, 0, "9223372036854775807 values are declared"),
        (1 << 31, 0, "2147483648 values"),
        (10, 2, "its values are 72 bytes where its values take 80"),
        (8, 2, "8 values in a batch of 9 rows"),
    ] {
        let error = refused(forged(messages(), |forged| forged.node(1, length, nulls)));
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains("column \"b\""), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    // Without columns, or with columns of NULLs, nothing but the number is there.
    for column in [vec![], vec![("null", Arc::new(NullArray::new(9)) as ArrayRef)]] {
        let fields: Vec<Field> =
            column.iter().map(|(name, _)| Field::new(*name, DataType::Null, true)).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(9));
        let columns = column.into_iter().map(|(_, column)| column).collect();
        let batch =
            RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).unwrap();
        let giant = |forged: Forged| {
            let forged = forged.rows(1 << 40);
            if batch.num_columns() == 0 { forged } else { forged.node(0, 1 << 40, 1 << 40) }
        };
        let error = refused(forged(written(&batch, None), giant));
        assert!(error.to_string().contains("1099511627776"), "{error}");
    }
}

/// One buffer of a few bytes that declares gigabytes, in rows and in dictionaries.
#[test]
fn offsets_are_whole() {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>((0..9).map(|n| Some(vec![Some(n)])));
    let texts = StringArray::from(vec!["a text"; 9]);
    for column in [Arc::new(lists) as ArrayRef, Arc::new(texts)] {
        for length in [41, 42, 43] {
            let messages = written(&batch(vec![("a", Arc::clone(&column))]), None);
            let error = refused(forged(messages, |forged| forged.buffer(1, 0, length)));
            assert!(error.message().contains("no whole number of offsets"), "{error}");
        }
    }
}

#[test]
fn declared_lengths_are_held_against_the_values_and_the_limit() {
    for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let messages = || written(&batch(vec![("n", numbers(1000))]), Some(codec));
        for declared in [i64::MAX, 1 << 40, 400_000] {
            let error = refused(forged(messages(), |forged| forged.unpacked(1, declared)));
            assert_eq!(error.kind(), Kind::Invalid);
            let says = format!("column \"n\": its values declare {declared} bytes uncompressed where");
            assert!(error.to_string().contains(&says), "{error}");
        }
        let error = refused(forged(messages(), |forged| forged.unpacked(1, -2)));
        assert!(error.to_string().contains("declare -2 bytes"), "{error}");
        let error = refused(forged(messages(), |forged| forged.buffer(1, 0, 7)));
        assert!(error.to_string().contains("too few for a compressed buffer"), "{error}");
    }
    let column = |codec| {
        let texts = StringArray::from(vec!["some text ".repeat(40); 30]);
        written(&batch(vec![("t", Arc::new(texts) as ArrayRef)]), Some(codec))
    };
    // The length of texts has no other source than the message.
    let error = refused(forged(column(CompressionType::ZSTD), |forged| forged.unpacked(2, 1 << 33)));
    assert_eq!(error.kind(), Kind::Exhausted);
    let text = error.to_string();
    assert!(text.contains("message 2 of the stream is too large: column \"t\""), "{text}");
    assert!(text.contains("8589934592") && text.contains("ingest.stream_memory_limit"), "{text}");
    let error = refused(forged(column(CompressionType::LZ4_FRAME), |forged| forged.unpacked(2, 900_000)));
    assert!(error.to_string().contains("of LZ4, which cannot hold them"), "{error}");

    let words = batch(vec![("w", Arc::new(words(9)) as ArrayRef)]);
    let messages = written(&words, Some(CompressionType::ZSTD));
    assert_eq!(messages.len(), 3);
    let error = refused(forged(messages[..2].to_vec(), |forged| forged.unpacked(2, 1 << 33)));
    assert_eq!(error.kind(), Kind::Exhausted);
    assert!(error.to_string().contains("column \"w\""), "{error}");
}

#[test]
fn columns_and_buffers_must_be_those_of_the_schema() {
    let two = batch(vec![("a", numbers(9)), ("b", numbers(9))]);
    let one = batch(vec![("a", numbers(9))]);
    let (two, one) = (written(&two, None), written(&one, None));
    let error = refused(vec![two[0].clone(), one[1].clone()]);
    assert!(error.to_string().contains("column \"b\": the batch has fewer columns"), "{error}");
    let error = refused(vec![one[0].clone(), two[1].clone()]);
    assert!(error.to_string().contains("more columns or buffers than its schema"), "{error}");
    let views = StringViewArray::from(vec!["a text that is longer than twelve bytes"; 9]);
    let views = batch(vec![("v", Arc::new(views) as ArrayRef)]);
    for count in [-1, 2, i64::MAX] {
        let error = refused(forged(written(&views, None), |forged| forged.count(0, count)));
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains("column \"v\""), "{error}");
    }
}

#[test]
fn parts_of_nested_columns_must_fit() {
    let one = |name: &str| {
        let all = all_kinds();
        let index = all.schema().index_of(name).unwrap();
        all.project(&[index]).unwrap()
    };
    // Which node, and what is said of one more or one less.
    for (name, node, says) in [
        ("struct", 1, "field \"n\" has 61 values where 60 are"),
        ("runs", 2, "values for 3 runs"),
        ("fixed", 1, "119 values for 60 lists of 2, which are 120"),
        ("list", 1, "inside of \"list\": its values are"),
    ] {
        let messages = written(&one(name), None);
        let length = match name {
            "struct" => 61,
            "fixed" => 119,
            "runs" => 2,
            _ => 1_000_000,
        };
        let error = refused(forged(messages, |forged| forged.node(node, length, 0)));
        assert_eq!(error.kind(), Kind::Invalid);
        let text = error.to_string();
        assert!(text.contains(says) || text.contains("its values are"), "{text}");
        assert!(text.contains(&format!("column \"{name}\"")), "{text}");
    }
}

#[test]
fn schemas_are_bounded() {
    let refused =
        |schema: Schema| refused(vec![SchemaAsIpc::new(&schema, &IpcWriteOptions::default()).into()]);
    for (data_type, says) in
        [(DataType::FixedSizeBinary(-5), "a width of -5"), (list_of(DataType::Int8, -2), "a width of -2")]
    {
        let error = refused(Schema::new(vec![Field::new("f", data_type, true)]));
        assert!(error.to_string().contains("column \"f\"") && error.to_string().contains(says), "{error}");
    }
    let deep = (0..55).fold(DataType::Int8, |inner, _| DataType::new_list(inner, true));
    let error = refused(Schema::new(vec![Field::new("d", deep, true)]));
    assert!(error.to_string().contains("column \"d\": more than 50 types nested"), "{error}");
    let deeper = (0..3000).fold(DataType::Int8, |inner, _| DataType::new_list(inner, true));
    let error = refused(Schema::new(vec![Field::new("d", deeper, true)]));
    assert!(error.to_string().contains("message 1 of the stream cannot be decoded"), "{error}");
    let wide = (0..100_001).map(|n| Field::new(n.to_string(), DataType::Int8, true));
    let error = refused(Schema::new(wide.collect::<Vec<_>>()));
    assert!(error.to_string().contains("more than 100000 fields"), "{error}");
}

fn list_of(item: DataType, size: i32) -> DataType {
    DataType::FixedSizeList(Arc::new(Field::new("item", item, true)), size)
}

/// A dictionary that grows by messages of its own is bounded as a whole.
#[test]
fn dictionaries_are_bounded_as_a_whole() {
    let values = |n: usize| StringArray::from_iter_values((0..6000).map(|row| format!("{n} {row:0100}")));
    let column = |n: usize| {
        let keys = Int32Array::from_iter_values(0..6000);
        batch(vec![("w", Arc::new(DictionaryArray::new(keys, Arc::new(values(n)))) as ArrayRef)])
    };
    let (mut writer, schema) = Written::new(&column(0).schema(), None, DictionaryHandling::Resend);
    let mut messages = vec![schema];
    for n in 0..5 {
        messages.extend(writer.batch(&column(n)));
    }
    // Each takes the place of the one before.
    assert_eq!(decoded(messages.clone()).unwrap().len(), 5);
    // The same, each added to the one before.
    let mut decoder = Decoder::within(MIB);
    decoder.decode(messages[0].clone()).unwrap();
    decoder.decode(messages[1].clone()).unwrap();
    let delta = delta();
    let error = (0..3).find_map(|_| decoder.decode(delta.clone()).err()).unwrap();
    assert_eq!(error.kind(), Kind::Exhausted);
    assert!(error.to_string().contains("the dictionaries of the stream take"), "{error}");
    // There must be something to add to.
    let error = refused(vec![messages[0].clone(), delta]);
    assert!(error.to_string().contains("which has not come before"), "{error}");
}

/// The message of a dictionary that is added to the one before.
fn delta() -> FlightData {
    let values = StringArray::from_iter_values((0..6000).map(|row| format!("more {row:0100}")));
    let before = StringArray::from_iter_values((0..6000).map(|row| format!("0 {row:0100}")));
    let both = arrow::compute::concat(&[&before, &values]).unwrap();
    let dictionary = |values: ArrayRef| {
        let keys = Int32Array::from_iter_values(0..6000);
        batch(vec![("w", Arc::new(DictionaryArray::new(keys, values)) as ArrayRef)])
    };
    let (first, second) = (dictionary(Arc::new(before)), dictionary(both));
    let (mut writer, _) = Written::new(&first.schema(), None, DictionaryHandling::Delta);
    writer.batch(&first);
    writer.batch(&second).swap_remove(0)
}

/// What a run, a dictionary or a narrow number stands for is asked for before it is decoded.
#[test]
fn the_plain_form_is_asked_for() {
    let rows = 50_000;
    let words = batch(vec![("w", Arc::new(words(rows)) as ArrayRef)]);
    let (_, need) = decoded(written(&words, None)).unwrap().pop().unwrap();
    assert!(need.expanded >= rows as usize * 13 && need.expanded < rows as usize * 20, "{need:?}");
    let runs = RunArray::try_new(&Int32Array::from(vec![i32::MAX]), &Int64Array::from(vec![1])).unwrap();
    let runs = batch(vec![("r", Arc::new(runs) as ArrayRef)]);
    let (_, need) = decoded(written(&runs, None)).unwrap().pop().unwrap();
    assert!(need.expanded >= i32::MAX as usize * 8 && need.held < 10_000, "{need:?}");
    let plain = batch(vec![("n", numbers(1000)), ("t", Arc::new(StringArray::from(vec!["x"; 1000])))]);
    let (_, need) = decoded(written(&plain, None)).unwrap().pop().unwrap();
    assert_eq!(need.expanded, 0);
    assert!(need.held < need.wire + 2000, "{need:?}");
    let zeros = batch(vec![("z", Arc::new(Int64Array::from(vec![0; 100_000])) as ArrayRef)]);
    let (_, need) = decoded(written(&zeros, Some(CompressionType::ZSTD))).unwrap().pop().unwrap();
    assert!(need.held >= 800_000 && need.wire < 10_000, "{need:?}");
}

fn extent(data: &ArrayData) -> usize {
    let own: usize = data.buffers().iter().map(arrow::buffer::Buffer::len).sum();
    own + data.child_data().iter().map(extent).sum::<usize>()
}

/// What looking found out about the last message holds: it is refused, or its buffers take no more than was asked
/// for, and that is no more than the limit and the message itself.
fn check_holds(messages: Vec<FlightData>, body: usize) {
    if let Ok(batches) = decoded(messages) {
        for (batch, need) in batches {
            let held: usize = batch.columns().iter().map(|column| extent(&column.to_data())).sum();
            assert!(held <= need.held + body, "{held} of {need:?}");
            assert!(need.held <= MIB + 3 * body + 100_000, "{need:?}");
        }
    }
}

proptest! {
    /// Any bytes changed in headers or bodies, compressed or not.
    #[test]
    fn damaged_messages_take_no_more_than_was_said(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        which in any::<prop::sample::Index>(),
        in_header in any::<bool>(),
        codec in 0..3,
    ) {
        let codec = [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)][codec as usize];
        let mut messages = written(&all_kinds(), codec);
        let which = which.index(messages.len());
        let body = messages.iter().map(|message| message.data_body.len()).sum();
        for (index, value) in flips {
            let message = &mut messages[which];
            let part = if in_header { &mut message.data_header } else { &mut message.data_body };
            let mut bytes = part.to_vec();
            if bytes.is_empty() {
                continue;
            }
            let at = index.index(bytes.len());
            bytes[at] ^= value;
            *part = bytes.into();
        }
        check_holds(messages, body);
    }

    /// Any numbers in the place of lengths, counts and offsets.
    #[test]
    fn any_declared_numbers_take_no_more_than_was_said(
        changes in proptest::collection::vec(
            (0..4, any::<prop::sample::Index>(), declared(), declared()), 1..4),
        codec in 0..3,
    ) {
        let codec = [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)][codec as usize];
        let mut messages = written(&all_kinds(), codec);
        let body = messages.iter().map(|message| message.data_body.len()).sum();
        let last = messages.pop().unwrap();
        let root = arrow::ipc::root_as_message(&last.data_header).unwrap();
        let header = root.header_as_record_batch().unwrap();
        let (nodes, buffers) = (header.nodes().unwrap().len(), header.buffers().unwrap());
        // Only what is in the body has a prefix to be changed.
        let packed: Vec<usize> = (0..buffers.len()).filter(|at| buffers.get(*at).length() >= 8).collect();
        let buffers = buffers.len();
        let mut forged = Forged::new(&last);
        // Prefixes first: they are found by the offsets.
        let mut changes = changes;
        changes.sort_by_key(|(kind, ..)| *kind);
        for (kind, index, first, second) in changes {
            forged = match kind {
                0 => forged.unpacked(packed[index.index(packed.len())], first),
                1 => forged.node(index.index(nodes), first, second),
                2 => forged.buffer(index.index(buffers), first, second),
                _ => forged.rows(first),
            };
        }
        messages.push(forged.message());
        check_holds(messages, body);
    }
}

/// Numbers near those that are right, and any others.
fn declared() -> impl Strategy<Value = i64> {
    prop_oneof![
        -2_i64..130,
        any::<i64>(),
        (0_u32..63).prop_map(|shift| 1 << shift),
        Just(i64::from(i32::MAX)),
        Just(60)
    ]
}
