//! The decoder: whole streams, and damaged ones.

use super::written::written;
use super::*;
use arrow::array::{DictionaryArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type};
use proptest::prelude::*;

fn messages() -> (RecordBatch, Vec<FlightData>) {
    let words: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("b")].into_iter().collect();
    let schema = Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("d", arrow::array::Array::data_type(&words).clone(), true),
    ]));
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
            Arc::new(StringArray::from(vec![Some("x"), Some(""), None])),
            Arc::new(words),
        ],
    )
    .unwrap();
    let messages = written(&batch, None);
    (batch, messages)
}

fn decode_all(messages: Vec<FlightData>) -> Result<Vec<RecordBatch>> {
    let mut decoder = Decoder::default();
    let mut batches = Vec::new();
    for message in messages {
        if let Decoded::Batch(batch, _) = decoder.decode(message)? {
            batches.push(batch);
        }
    }
    Ok(batches)
}

#[test]
fn what_is_written_decodes_equal() {
    let (batch, messages) = messages();
    assert_eq!(decode_all(messages).unwrap(), [batch]);
}

#[test]
fn streams_out_of_order_are_refused() {
    let (_, messages) = messages();
    let refused = |messages: Vec<FlightData>| decode_all(messages).unwrap_err().to_string();
    assert!(refused(messages[1..].to_vec()).contains("before the schema"));
    assert!(refused(vec![messages[0].clone(), messages[0].clone()]).contains("second schema"));
    let mut short = messages.clone();
    let last = short.len() - 1;
    short[last].data_body = short[last].data_body.slice(..8);
    assert!(refused(short).contains("are declared"));
}

proptest! {
    /// Flipped bytes anywhere give rows or a clean error, never a panic.
    #[test]
    fn damaged_messages_do_not_panic(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), header in any::<bool>()) {
        let (_, mut messages) = messages();
        for (index, value) in flips {
            let last = messages.len() - 1;
            let part = if header { &mut messages[last].data_header } else { &mut messages[last].data_body };
            let mut bytes = part.to_vec();
            let at = index.index(bytes.len());
            bytes[at] ^= value;
            *part = bytes.into();
        }
        let _ = decode_all(messages);
    }
}
