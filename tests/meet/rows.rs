//! Rows that say whose they are: client, put and row number, and values of several types that follow from them.
//! Runs on: any thread; pure.
//! Never: needs to remember a row to know what it must look like.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;

/// Puts numbered from here offer `v` as whole numbers of an integer type, the others as halves.
pub const WHOLE: i64 = 1 << 40;

/// The columns as the engine is told to make them; `v` comes last, because some tables give it another type.
pub const COLUMNS: &str = "client BIGINT, put BIGINT, \"row\" BIGINT, text VARCHAR, price DECIMAL(15, 2), \
                           \"at\" TIMESTAMP, tags INTEGER[]";

/// The same columns as a declaration, without `v`.
pub const DECLARED: &str = "
[[field]]
name = 'client'
type = 'int64'
[[field]]
name = 'put'
type = 'int64'
[[field]]
name = 'row'
type = 'int64'
[[field]]
name = 'text'
type = 'string'
[[field]]
name = 'price'
type = 'decimal128(15, 2)'
[[field]]
name = 'at'
type = 'timestamp[us]'
[[field]]
name = 'tags'
type = 'list<item: int32>'
";

/// `v` in a declaration.
pub const DECLARED_V: &str = "
[[field]]
name = 'v'
type = 'double'
";

fn mix(client: i64, put: i64, row: i64) -> u64 {
    let mut x = (client as u64)
        ^ (put as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (row as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^ (x >> 31)
}

fn text(number: u64, put: i64, row: i64) -> Option<String> {
    match number % 9 {
        0 => None,
        1 => Some(String::new()),
        // Data may say what the engine says when it is broken.
        2 => Some(format!("FATAL Error: row {row} has been invalidated")),
        3 => Some(format!("No space left on device, could not allocate block {put}")),
        _ => Some(format!("row {row} of put {put}, ü 'quoted'")),
    }
}

fn tags(number: u64) -> Option<Vec<Option<i32>>> {
    let tag = |position: u64| (!(number + position).is_multiple_of(3)).then_some((number >> 40) as i32 + 1);
    (!number.is_multiple_of(6)).then(|| (0..number % 4).map(tag).collect())
}

/// The value of `v`: a half, which no integer type holds, or a whole number.
fn v(put: i64, row: i64) -> f64 {
    let whole = (row + put % 1000 * 3) as f64;
    if put >= WHOLE { whole } else { whole + 0.5 }
}

/// What the columns behind client, put and row hold.
fn values(clients: &Int64Array, puts: &Int64Array, rows: &Int64Array) -> Vec<(&'static str, ArrayRef)> {
    let names =
        || clients.values().iter().zip(puts.values()).zip(rows.values()).map(|((c, p), r)| (*c, *p, *r));
    let numbers = || names().map(|(client, put, row)| mix(client, put, row));
    let texts = names().map(|(client, put, row)| text(mix(client, put, row), put, row));
    let prices =
        numbers().map(|n| (!n.is_multiple_of(5)).then_some(i128::from(n as u32) * 3 - i128::from(n >> 48)));
    let times = numbers().map(|n| (!n.is_multiple_of(11)).then_some((n >> 14) as i64));
    vec![
        ("text", Arc::new(StringArray::from_iter(texts)) as ArrayRef),
        ("price", Arc::new(Decimal128Array::from_iter(prices).with_precision_and_scale(15, 2).unwrap())),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter(times))),
        ("tags", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(numbers().map(tags)))),
        ("v", Arc::new(Float64Array::from_iter_values(names().map(|(_, put, row)| v(put, row))))),
    ]
}

/// Schema of what [`rows`] makes.
pub fn schema() -> SchemaRef {
    made(0, 0, &[]).schema()
}

fn made(client: i64, put: i64, which: &[i64]) -> RecordBatch {
    let same = |value: i64| Int64Array::from(vec![value; which.len()]);
    let (clients, puts, rows) = (same(client), same(put), Int64Array::from(which.to_vec()));
    let values = values(&clients, &puts, &rows);
    let mut columns: Vec<(&str, ArrayRef)> =
        vec![("client", Arc::new(clients)), ("put", Arc::new(puts)), ("row", Arc::new(rows))];
    columns.extend(values);
    if put >= WHOLE {
        let (name, halves) = columns.pop().unwrap();
        columns.push((name, cast(&halves, &DataType::Int64).unwrap()));
    }
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .unwrap()
}

/// The rows of a put with these numbers.
pub fn rows_numbered(client: i64, put: i64, which: &[i64]) -> RecordBatch {
    made(client, put, which)
}

/// Rows `first..first + count` of a put.
pub fn rows(client: i64, put: i64, first: i64, count: i64) -> RecordBatch {
    made(client, put, &(first..first + count).collect::<Vec<_>>())
}

/// The same rows with a column more in front.
pub fn with_column(name: &str, column: ArrayRef, batch: &RecordBatch) -> RecordBatch {
    let mut fields = vec![Arc::new(Field::new(name, column.data_type().clone(), true))];
    fields.extend(batch.schema().fields().iter().cloned());
    let mut columns = vec![column];
    columns.extend(batch.columns().iter().cloned());
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// The same rows as another client may offer them: columns in another order, texts of another Arrow type.
pub fn reshaped(batch: &RecordBatch, shape: u32) -> RecordBatch {
    let backwards: Vec<usize> = (0..batch.num_columns()).rev().collect();
    let text = match shape % 4 {
        0 => return batch.clone(),
        1 => return batch.project(&backwards).unwrap(),
        2 => DataType::LargeUtf8,
        _ => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
    };
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let column = if field.name() == "text" { cast(column, &text).unwrap() } else { Arc::clone(column) };
        (field.name().clone(), column, true)
    });
    RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).unwrap()
}

/// `(1, 2, 3, 'text', …), (…)` for an INSERT.
pub fn sql_values(batch: &RecordBatch) -> String {
    let mut sql = String::new();
    for row in 0..batch.num_rows() {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for (index, column) in batch.columns().iter().enumerate() {
            if index > 0 {
                sql.push_str(", ");
            }
            let shown = array_value_to_string(column, row).unwrap();
            match column.data_type() {
                _ if column.is_null(row) => sql.push_str("NULL"),
                DataType::Utf8 => write!(sql, "'{}'", shown.replace('\'', "''")).unwrap(),
                DataType::Timestamp(..) => {
                    let time = column.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().value(row);
                    write!(sql, "make_timestamp({time})").unwrap();
                }
                DataType::List(_) => {
                    let list = column.as_list::<i32>().value(row);
                    let tags = list.as_primitive::<Int32Type>();
                    let tags = tags.iter().map(|tag| tag.map_or("NULL".to_owned(), |tag| tag.to_string()));
                    write!(sql, "[{}]::INTEGER[]", tags.collect::<Vec<_>>().join(", ")).unwrap();
                }
                DataType::Float64 => write!(sql, "{shown}::DOUBLE").unwrap(),
                _ => sql.push_str(&shown),
            }
        }
        sql.push(')');
    }
    sql
}

/// Which values of `v` a table may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum V {
    /// The one that was put.
    Exact,
    /// That, or -1, which an ALTER wrote over all that was there.
    OrMinusOne,
}

/// Client, put and row number.
pub type Name = (i64, i64, i64);

/// Client, put and row number of each row, and the values that differ from those that were put.
pub fn examine(found: &RecordBatch, allowed: V) -> Result<(Vec<Name>, Vec<String>), String> {
    let column = |name: &str| found.column_by_name(name).ok_or_else(|| format!("there is no column {name}"));
    let number = |name: &str| -> Result<Int64Array, String> {
        let column = column(name)?;
        if column.null_count() > 0 {
            return Err(format!("column {name} holds NULL"));
        }
        let column = cast(column, &DataType::Int64).map_err(|error| error.to_string())?;
        Ok(column.as_primitive::<Int64Type>().clone())
    };
    let (clients, puts, rows) = (number("client")?, number("put")?, number("row")?);
    let names: Vec<_> =
        (0..found.num_rows()).map(|i| (clients.value(i), puts.value(i), rows.value(i))).collect();
    let mut altered = Vec::new();
    for (name, expected) in values(&clients, &puts, &rows) {
        let stored = cast(column(name)?, expected.data_type()).map_err(|error| error.to_string())?;
        if same(&stored, &expected) {
            continue;
        }
        for (index, row) in names.iter().enumerate() {
            let (one, other) = (stored.slice(index, 1), expected.slice(index, 1));
            let is_minus_one = || {
                name == "v" && allowed == V::OrMinusOne && one.as_primitive::<Float64Type>().value(0) == -1.0
            };
            if same(&one, &other) || is_minus_one() {
                continue;
            }
            let (found, expected) = (shown(&one), shown(&other));
            altered.push(format!("{row:?} {name} is {found} and was put as {expected}"));
        }
    }
    Ok((names, altered))
}

fn same(one: &ArrayRef, other: &ArrayRef) -> bool {
    one.to_data() == other.to_data()
}

fn shown(one: &ArrayRef) -> String {
    if one.is_null(0) { "NULL".to_owned() } else { array_value_to_string(one, 0).unwrap() }
}
