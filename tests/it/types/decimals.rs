//! Decimals of every width that Arrow has: the same numbers, whichever of them they come in.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Decimal32Array, Decimal64Array, Decimal128Array, DictionaryArray, Int32Array,
    ListArray, RecordBatch, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use pintail::client::Client;
use pintail::error::Kind;

use crate::support::calls::{put_with, rows};
use crate::support::server::TestServer;

fn narrow(digits: u8, values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Decimal64Array::from(values.to_vec()).with_precision_and_scale(digits, 2).unwrap())
}

fn wide(digits: u8, values: &[Option<i64>]) -> ArrayRef {
    let values = values.iter().map(|value| value.map(i128::from));
    Arc::new(values.collect::<Decimal128Array>().with_precision_and_scale(digits, 2).unwrap())
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .unwrap()
}

async fn texts(client: &mut Client, sql: &str) -> Vec<Option<String>> {
    let batches = rows(client, sql).await.unwrap();
    batches
        .iter()
        .flat_map(|batch| {
            batch.column(0).as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
        })
        .collect()
}

/// Plain, below NULLs, in lists, structs and dictionaries: the numbers are those of 128 bits, and so is the checksum.
#[tokio::test]
async fn narrow_decimals_are_the_same_numbers() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let most = 10_i64.pow(18) - 1;
    let values = [Some(most), None, Some(-most), Some(5)];
    for (digits, values) in [(18, values), (10, [Some(1), None, Some(-9_999_999_999), Some(5)])] {
        let table = format!("t{digits}");
        let key = [("pintail-idempotency-key", table.as_str())];
        let batches =
            [narrow(digits, &values), wide(digits, &values)].map(|column| [batch(vec![("d", column)])]);
        let first = put_with(&mut client, &table, &batches[0], &key).await.unwrap();
        let again = put_with(&mut client, &table, &batches[1], &key).await.unwrap();
        assert_eq!((first.duplicate, again.duplicate), (false, true));
        let found = texts(&mut client, &format!("SELECT d::VARCHAR FROM {table} ORDER BY rowid")).await;
        let shown = |value: i64| {
            format!("{}{}.{:02}", if value < 0 { "-" } else { "" }, value.abs() / 100, value.abs() % 100)
        };
        assert_eq!(found, values.map(|value| value.map(shown)), "{digits} digits");
    }
    let small: ArrayRef = Arc::new(
        Decimal32Array::from(vec![Some(999_999_999), None, Some(-1)]).with_precision_and_scale(9, 0).unwrap(),
    );
    let three = [Some(101), None, Some(-303)];
    let item = Arc::new(Field::new_list_field(DataType::Decimal64(12, 2), true));
    let lists = ListArray::new(item, OffsetBuffer::from_lengths([2, 0, 1]), narrow(12, &three), None);
    let field = Arc::new(Field::new("x", DataType::Decimal64(12, 2), true));
    let structs = StructArray::from(vec![(field, narrow(12, &three))]);
    let keys = Int32Array::from(vec![Some(2), Some(0), None]);
    let words = DictionaryArray::try_new(keys, narrow(12, &three)).unwrap();
    let nested = batch(vec![
        ("small", small),
        ("list", Arc::new(lists)),
        ("struct", Arc::new(structs)),
        ("word", Arc::new(words)),
        // As wide as no decimal of DuckDB's of so many digits.
        ("few", narrow(4, &three)),
    ]);
    put_with(&mut client, "nested", &[nested], &[]).await.unwrap();
    let text = "SELECT string_agg(concat_ws('/', small, list::VARCHAR, struct, word, few), '; ' ORDER BY rowid) FROM nested";
    let found = texts(&mut client, text).await.remove(0).unwrap();
    assert_eq!(
        found,
        "999999999/[1.01, NULL]/{'x': 1.01}/-3.03/1.01; []/{'x': NULL}/1.01; -1/[-3.03]/{'x': -3.03}/-3.03"
    );
}

/// More digits than the type has are refused by row, and not below a NULL.
#[tokio::test]
async fn digits_beyond_the_precision_are_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let batches = [batch(vec![("d", narrow(10, &[Some(1), Some(10_i64.pow(10))]))])];
    let refused = put_with(&mut client, "t", &batches, &[]).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
    for part in ["\"d\"", "row 2", "10000000000", "10 of its precision"] {
        assert!(refused.message().contains(part), "{part}: {refused}");
    }
    let small = Decimal32Array::from(vec![-100_000]).with_precision_and_scale(5, 2).unwrap();
    let refused = put_with(&mut client, "t", &[batch(vec![("d", Arc::new(small))])], &[]).await.unwrap_err();
    assert!(refused.message().contains("-100000"), "{refused}");
    let nulls = NullBuffer::from(vec![true, false]);
    let hidden =
        Decimal64Array::new(vec![1, i64::MAX].into(), Some(nulls)).with_precision_and_scale(10, 2).unwrap();
    put_with(&mut client, "t", &[batch(vec![("d", Arc::new(hidden))])], &[]).await.unwrap();
}
