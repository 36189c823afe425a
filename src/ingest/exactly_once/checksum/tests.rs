//! Checksums: the same values, however they are cut, encoded or padded.

use super::*;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal64Array, Decimal128Array, Decimal256Array, DictionaryArray,
    FixedSizeBinaryArray, FixedSizeListArray, Int8Array, Int16Array, Int32Array, Int64Array, LargeListArray,
    LargeListViewArray, ListArray, ListViewArray, MapArray, RunArray, StringArray, StringViewArray,
    StructArray, UInt64Array, UnionArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Field, Int32Type, Int64Type, Schema, UnionFields, i256};
use proptest::prelude::*;
use std::sync::Arc;

/// An encoded batch counts as its plain form, however large that is: it is never made as a whole.
#[test]
fn encoded_batches_count_as_their_plain_form() {
    let rows = 30_000_i32;
    let texts = StringArray::from_iter((0..10).map(|n| (n != 3).then(|| n.to_string().repeat(900))));
    let keys = || Int32Array::from_iter((0..rows).map(|row| (row % 7 != 0).then_some(row % 10)));
    let words = DictionaryArray::new(keys(), Arc::new(texts));
    let numbers = Int64Array::from_iter_values((0..10).map(|n| n * 1000));
    let numbers = DictionaryArray::new(keys(), Arc::new(numbers));
    let flags = BooleanArray::from_iter((0..10).map(|n| Some(n % 3 == 0)));
    let flags = DictionaryArray::new(keys(), Arc::new(flags));
    let item = Arc::new(Field::new("item", words.data_type().clone(), true));
    let offsets = OffsetBuffer::<i32>::from_lengths((0..rows).map(|row| (row % 3) as usize));
    let lists = ListArray::new(item, offsets, Arc::new(words.clone()), None);
    let runs = RunArray::try_new(
        &Int32Array::from(vec![1, 10_001, rows]),
        &StringArray::from(vec![Some("a"), None, Some("a text that is repeated very often")]),
    )
    .unwrap();
    let long = StringViewArray::from(vec!["v".repeat(2000)]);
    let view = long.views()[0];
    let views = vec![view; rows as usize];
    let views = StringViewArray::new(views.into(), long.data_buffers().to_vec(), None);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(words),
        Arc::new(numbers),
        Arc::new(flags),
        Arc::new(lists),
        Arc::new(runs),
        Arc::new(views),
    ];
    for column in columns {
        let encoded = batch(vec![column]);
        let plain = engine::plain_schema(&encoded.schema());
        let pieces = engine::slices(&encoded, &plain, PIECE_BYTES).count();
        let whole = engine::plain_batch(encoded.clone(), &plain).unwrap();
        assert_eq!(Checksum::of(&encoded).unwrap(), Checksum::of(&whole).unwrap(), "{pieces} pieces");
        let slice = encoded.slice(1001, 20_000);
        let expected = Checksum::of(&whole.slice(1001, 20_000)).unwrap();
        assert_eq!(Checksum::of(&slice).unwrap(), expected);
    }
}

fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| Field::new(format!("c{index}"), column.data_type().clone(), true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn columns(numbers: &[Option<i64>]) -> RecordBatch {
    let texts = || {
        numbers.iter().map(|number| number.map(|number| "x".repeat((number % 30).unsigned_abs() as usize)))
    };
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(
        numbers.iter().map(|number| number.map(|number| vec![Some(number as i32), None])),
    );
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(
        numbers.iter().map(|number| number.map(i64::to_le_bytes)),
        8,
    )
    .unwrap();
    let ints: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
    let bools: ArrayRef = Arc::new(BooleanArray::from_iter(numbers.iter().map(|n| n.map(|n| n % 2 == 0))));
    let nested = StructArray::from(vec![
        (Arc::new(Field::new("a", DataType::Int64, true)), Arc::clone(&ints)),
        (Arc::new(Field::new("b", DataType::Boolean, true)), Arc::clone(&bools)),
    ]);
    batch(vec![
        ints,
        bools,
        Arc::new(StringArray::from_iter(texts())),
        Arc::new(StringViewArray::from_iter(texts())),
        Arc::new(list),
        Arc::new(fixed),
        Arc::new(nested),
    ])
}

/// `values` of every kind with `valid` rows, and anything at all below the NULLs of all of them.
fn with_below(values: &[i64], valid: &[bool], below: &[i64]) -> RecordBatch {
    let nulls = || Some(NullBuffer::from(valid.to_vec()));
    let numbers: Vec<i64> = valid
        .iter()
        .zip(values.iter().zip(below))
        .map(|(valid, (a, b))| if *valid { *a } else { *b })
        .collect();
    let ints: ArrayRef = Arc::new(Int64Array::from(numbers.clone()));
    let field = |name: &str, array: &ArrayRef| Arc::new(Field::new(name, array.data_type().clone(), true));
    // A row of n has n % 5 elements, also below a NULL.
    let ends = || OffsetBuffer::from_lengths(numbers.iter().map(|n| n.rem_euclid(5) as usize));
    let elements: Vec<i64> = numbers.iter().flat_map(|n| vec![*n; n.rem_euclid(5) as usize]).collect();
    let text: Vec<u8> = elements.iter().map(|n| b'a' + n.rem_euclid(26) as u8).collect();
    let elements: ArrayRef = Arc::new(Int64Array::from(elements));
    let item = field("item", &elements);
    let list: ArrayRef = Arc::new(ListArray::new(Arc::clone(&item), ends(), Arc::clone(&elements), nulls()));
    let pairs = StructArray::from(vec![
        (Arc::new(Field::new("key", DataType::Int64, false)), Arc::clone(&elements)),
        (Arc::new(Field::new("value", DataType::Int64, true)), Arc::clone(&elements)),
    ]);
    let entries = Arc::new(Field::new("entries", pairs.data_type().clone(), false));
    let doubled: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers.iter().flat_map(|n| [*n, !*n])));
    // The child has no NULLs of its own, so what is below those of the struct is anything.
    let plain_list: ArrayRef = Arc::new(ListArray::new(item, ends(), elements, None));
    let union = UnionArray::try_new(
        UnionFields::try_new(
            [0, 1],
            [Field::new("a", DataType::Int64, true), Field::new("b", DataType::Int64, true)],
        )
        .unwrap(),
        valid.iter().map(|valid| i8::from(!*valid)).collect(),
        None,
        // A row has the first member where it is valid, and a second one that is the same everywhere.
        vec![Arc::clone(&ints), Arc::new(Int64Array::from(vec![7; values.len()]))],
    );
    batch(vec![
        Arc::new(Int64Array::new(numbers.clone().into(), nulls())),
        Arc::new(BooleanArray::new(numbers.iter().map(|n| n % 2 == 0).collect(), nulls())),
        Arc::new(StringArray::new(ends(), text.clone().into(), nulls())),
        Arc::new(BinaryArray::new(ends(), text.into(), nulls())),
        Arc::new(MapArray::new(entries, ends(), pairs, nulls(), false)),
        Arc::new(FixedSizeListArray::new(field("item", &doubled), 2, doubled, nulls())),
        Arc::new(StructArray::new(
            vec![field("a", &ints), field("l", &plain_list)].into(),
            vec![ints, plain_list],
            nulls(),
        )),
        list,
        Arc::new(union.unwrap()),
    ])
}

/// The same rows, plain and in every encoding of them: pairs of a name and an array. Dictionaries, views and members
/// lie in an order of their own, with values between them that no row has.
fn encodings(rows: &[Option<i64>]) -> Vec<(&'static str, ArrayRef, Vec<ArrayRef>)> {
    let item = || Arc::new(Field::new("item", DataType::Int64, true));
    let text = |n: i64| format!("a value of some length: {n}");
    let mut known: Vec<i64> = rows.iter().flatten().copied().collect();
    known.sort_unstable();
    known.dedup();
    known.reverse();
    known.push(-1);
    let key = |row: &Option<i64>| row.map(|n| known.iter().position(|known| *known == n).unwrap());
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(known.iter().map(|n| text(*n))));
    let keys = || rows.iter().map(key);
    let narrow = Int8Array::from_iter(keys().map(|key| key.map(|key| key as i8)));
    let wide = UInt64Array::from_iter(keys().map(|key| key.map(|key| key as u64)));
    let large = cast(&texts, &DataType::LargeUtf8).unwrap();
    let plain: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|row| row.map(text))));
    let ends = || rows.iter().enumerate().filter(|(at, row)| rows.get(at + 1) != Some(row));
    let values = StringArray::from_iter(ends().map(|(_, row)| row.map(text)));
    let of_runs = (
        RunArray::try_new(&Int16Array::from_iter_values(ends().map(|(at, _)| at as i16 + 1)), &values)
            .unwrap(),
        RunArray::try_new(&Int64Array::from_iter_values(ends().map(|(at, _)| at as i64 + 1)), &values)
            .unwrap(),
    );
    let texts = (
        plain,
        vec![
            Arc::new(DictionaryArray::new(narrow, texts)) as ArrayRef,
            Arc::new(of_runs.0),
            Arc::new(of_runs.1),
        ],
    );
    let large_texts = (
        cast(&texts.0, &DataType::LargeUtf8).unwrap(),
        vec![Arc::new(DictionaryArray::new(wide, large)) as ArrayRef],
    );

    // A row of n has n % 4 elements from n on; views share them, and lie apart.
    let list = |row: &Option<i64>| row.map(|n| (n..n + n % 4).map(Some).collect::<Vec<_>>());
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows.iter().map(list)));
    let nulls = || Some(NullBuffer::from_iter(rows.iter().map(Option::is_some)));
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..40));
    let places = || rows.iter().map(|row| row.unwrap_or(7));
    let (offsets, sizes) = (
        places().map(|n| n as i32).collect::<Vec<_>>(),
        places().map(|n| (n % 4) as i32).collect::<Vec<_>>(),
    );
    let views = ListViewArray::new(item(), offsets.into(), sizes.into(), Arc::clone(&values), nulls());
    let (offsets, sizes) = (places().collect::<Vec<_>>(), places().map(|n| n % 4).collect::<Vec<_>>());
    let wide_views = LargeListViewArray::new(item(), offsets.into(), sizes.into(), values, nulls());
    let wide_lists: ArrayRef =
        Arc::new(LargeListArray::from_iter_primitive::<Int64Type, _, _>(rows.iter().map(list)));

    // Even numbers are members of the one kind, odd ones and NULL of the other.
    let is_even = |row: &Option<i64>| row.is_some_and(|n| n % 2 == 0);
    let fields = |codes: [i8; 2]| {
        UnionFields::try_new(
            codes,
            [Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)],
        )
        .unwrap()
    };
    let numbers = |below: i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| if is_even(row) { *row } else { Some(below) })))
    };
    let words = || -> ArrayRef { Arc::new(StringArray::from_iter(rows.iter().map(|row| row.map(text)))) };
    let codes =
        |codes: [i8; 2]| rows.iter().map(|row| codes[usize::from(!is_even(row))]).collect::<Vec<i8>>().into();
    let sparse = |own: [i8; 2], below| -> ArrayRef {
        Arc::new(UnionArray::try_new(fields(own), codes(own), None, vec![numbers(below), words()]).unwrap())
    };
    let (even, odd): (Vec<Option<i64>>, Vec<Option<i64>>) = rows.iter().partition(|row| is_even(row));
    let mut next = [0, 0];
    let places: Vec<i32> = rows
        .iter()
        .map(|row| {
            let own = usize::from(!is_even(row));
            next[own] += 1;
            next[own] - 1
        })
        .collect();
    let dense: ArrayRef = Arc::new(
        UnionArray::try_new(
            fields([9, 4]),
            codes([9, 4]),
            Some(places.into()),
            vec![
                Arc::new(Int64Array::from(even)),
                Arc::new(StringArray::from_iter(odd.iter().map(|row| row.map(text)))),
            ],
        )
        .unwrap(),
    );

    let decimals = Decimal128Array::from_iter(rows.iter().map(|row| row.map(i128::from)));
    let narrow_decimals = Decimal64Array::from_iter(rows.iter().copied());
    let wide_decimals =
        Decimal256Array::from_iter(rows.iter().map(|row| row.map(|n| i256::from_i128(n.into()))));
    let none = FixedSizeListArray::try_new_with_length(
        item(),
        0,
        Arc::new(Int64Array::from(vec![0; 0])),
        nulls(),
        rows.len(),
    );
    let empty = ListArray::from_iter_primitive::<Int64Type, _, _>(rows.iter().map(|row| row.map(|_| vec![])));
    vec![
        ("texts", texts.0, texts.1),
        ("large texts", large_texts.0, large_texts.1),
        ("lists", lists, vec![Arc::new(views)]),
        ("large lists", wide_lists, vec![Arc::new(wide_views)]),
        ("unions", sparse([0, 1], 0), vec![sparse([7, 3], 5), dense]),
        (
            "decimals",
            Arc::new(decimals.clone().with_precision_and_scale(38, 3).unwrap()),
            vec![Arc::new(wide_decimals.with_precision_and_scale(76, 3).unwrap())],
        ),
        (
            "narrow decimals",
            Arc::new(decimals.with_precision_and_scale(15, 3).unwrap()),
            vec![Arc::new(narrow_decimals.with_precision_and_scale(15, 3).unwrap())],
        ),
        ("empty lists", Arc::new(empty), vec![Arc::new(none.unwrap())]),
    ]
}

proptest! {
    /// Equal values have one checksum in every encoding, wherever they are cut out of; others have another.
    #[test]
    fn every_encoding_of_the_same_values_has_one_checksum(
        rows in proptest::collection::vec(proptest::option::of(0_i64..30), 1..60),
        from in 0_usize..30,
        other in 0_usize..60,
    ) {
        let from = from.min(rows.len() - 1);
        let of = |array: &ArrayRef| {
            Checksum::of(&batch(vec![array.slice(from, rows.len() - from)])).unwrap()
        };
        let mut changed = rows.clone();
        let at = from + other % (rows.len() - from);
        changed[at] = match changed[at] { None => Some(8), Some(n) => Some((n + 1) % 30) };
        for ((what, plain, encoded), (_, others, _)) in encodings(&rows).iter().zip(encodings(&changed)) {
            for (index, array) in encoded.iter().enumerate() {
                prop_assert_eq!(of(array), of(plain), "{} {}", what, index);
            }
            // Lists without a value differ by their NULLs alone.
            if *what != "empty lists" || rows[at].is_none() {
                prop_assert_ne!(of(&others), of(plain), "{}", what);
            }
        }
    }

    /// Equal rows have one checksum, whatever lies below their NULLs and wherever the batch was cut out of.
    #[test]
    fn what_lies_below_a_null_does_not_count(
        rows in proptest::collection::vec((any::<i64>(), any::<bool>(), any::<i64>(), any::<i64>()), 1..60),
        from in 0_usize..30,
    ) {
        let column = |pick: fn(&(i64, bool, i64, i64)) -> i64| rows.iter().map(pick).collect::<Vec<_>>();
        let (values, one, two) = (column(|row| row.0), column(|row| row.2), column(|row| row.3));
        let valid: Vec<bool> = rows.iter().map(|row| row.1).collect();
        let from = from.min(rows.len() - 1);
        let cut = |below: &[i64]| with_below(&values, &valid, below).slice(from, rows.len() - from);
        let alone = with_below(&values[from..], &valid[from..], &two[from..]);
        for column in 0..alone.num_columns() {
            let of = |batch: &RecordBatch| Checksum::of(&batch.project(&[column]).unwrap()).unwrap();
            prop_assert_eq!(of(&cut(&one)), of(&cut(&two)), "column {}", column);
            prop_assert_eq!(of(&cut(&one)), of(&alone), "column {}", column);
            if let Some(row) = (from..rows.len()).find(|row| valid[*row]) {
                let mut other = values.clone();
                // Another last digit, another number of elements.
                other[row] ^= 1;
                let other = with_below(&other[from..], &valid[from..], &two[from..]);
                prop_assert_ne!(of(&other), of(&alone), "column {}", column);
            }
        }
    }

    /// A slice has the checksum of the same rows built alone; other rows have another.
    #[test]
    fn slices_count_as_the_rows_they_hold(
        numbers in proptest::collection::vec(proptest::option::of(any::<i64>()), 1..80),
        from in 0_usize..40,
    ) {
        let from = from.min(numbers.len() - 1);
        let whole = columns(&numbers);
        let sliced = whole.slice(from, numbers.len() - from);
        let alone = columns(&numbers[from..]);
        prop_assert_eq!(Checksum::of(&sliced).unwrap(), Checksum::of(&alone).unwrap());
        let mut other = numbers[from..].to_vec();
        other[0] = match other[0] { None => Some(1), Some(number) => Some(number ^ 1) };
        prop_assert_ne!(Checksum::of(&columns(&other)).unwrap(), Checksum::of(&alone).unwrap());
    }
}
