//! A Parquet schema -> the Arrow schema it is read by, and the one that is sent.
//! Runs on: the thread that opens a file; pure. Never: trusts the Arrow schema that some writers embed, beyond what the
//! Parquet schema leaves open.

use std::sync::Arc;

use crate::error::{Error, Result};
use arrow::array::new_empty_array;
use arrow::array::timezone::Tz;
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Fields, IntervalUnit, Metadata, Schema, SchemaRef,
    TimeUnit,
};
use arrow::ipc::root_as_message;
use base64::Engine;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, parquet_to_arrow_schema};
use parquet::file::metadata::KeyValue;
use pintail_protocol::extension::{METADATA, NAME, STANDS_FOR};

use super::convert;
use super::leaves::{Leaf, Leaves};

/// DuckDB's TIME WITH TIME ZONE.
const TIME_TZ: &str = r#"{"type_name":"time_tz","vendor_name":"DuckDB"}"#;

pub(super) const VARIANT: &str = "arrow.parquet.variant";

/// The columns, as the reader gives them and as they are sent: one is the other's, with other leaves.
pub(super) struct Columns {
    pub(super) read: SchemaRef,
    pub(super) sent: SchemaRef,
}

impl Columns {
    /// Errors: `Unsupported` naming the column.
    pub(super) fn of(leaves: &Leaves, pairs: Option<&Vec<KeyValue>>) -> Result<Self> {
        let plain = parquet_to_arrow_schema(&leaves.schema, None)
            .map_err(|error| Error::unsupported(error.to_string()))?;
        if let Some(column) = wide_integer(pairs) {
            return Err(Error::unsupported(format!(
                "column \"{column}\" holds integers of 128 bits, for which Parquet has no type; write it as decimal"
            )));
        }
        let hints = embedded(pairs);
        let mut walk = Walk { leaves, next: 0 };
        let mut read = Vec::with_capacity(plain.fields().len());
        let mut sent = Vec::with_capacity(plain.fields().len());
        for field in plain.fields() {
            let hint = hints.as_ref().and_then(|hints| hints.field_with_name(field.name()).ok());
            let pair = walk.field(field, hint).map_err(|what| {
                Error::unsupported(format!("column \"{}\" cannot be read: {what}", field.name()))
            })?;
            read.push(pair.0);
            sent.push(pair.1);
        }
        Ok(Self { read: Arc::new(Schema::new(read)), sent: Arc::new(Schema::new(sent)) })
    }
}

/// The Arrow schema that the writer embedded, as bytes.
fn embedded_bytes(pairs: Option<&Vec<KeyValue>>) -> Option<Vec<u8>> {
    let text = pairs?.iter().find(|pair| pair.key == ARROW_SCHEMA_META_KEY)?.value.as_ref()?;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// A column of integers that are wider than Arrow's: polars writes them as 16 bytes that nothing else tells from others.
fn wide_integer(pairs: Option<&Vec<KeyValue>>) -> Option<String> {
    let bytes = embedded_bytes(pairs)?;
    let message = match bytes.get(..4)? {
        [0xff, 0xff, 0xff, 0xff] => bytes.get(8..)?,
        _ => bytes.get(4..)?,
    };
    let fields = root_as_message(message).ok()?.header_as_schema()?.fields()?;
    let wide = fields.iter().find(|field| field.type_as_int().is_some_and(|int| int.bitWidth() > 64))?;
    Some(wide.name().unwrap_or_default().to_owned())
}

/// What the writer embedded; what cannot be read of it is no loss.
fn embedded(pairs: Option<&Vec<KeyValue>>) -> Option<Schema> {
    let bytes = embedded_bytes(pairs)?;
    std::panic::catch_unwind(|| arrow::ipc::convert::try_schema_from_ipc_buffer(&bytes).ok()).ok().flatten()
}

struct Walk<'a> {
    leaves: &'a Leaves,
    /// The file's column that comes next.
    next: usize,
}

type Pair<T> = std::result::Result<(T, T), String>;

impl Walk<'_> {
    fn field(&mut self, field: &Field, hint: Option<&Field>) -> Pair<FieldRef> {
        let first = self.next;
        let hinted = hint.map(|hint| match hint.data_type() {
            // Categories are sent as what they stand for: their number may outgrow their keys from row group to row group.
            DataType::Dictionary(_, values) => values.as_ref(),
            other => other,
        });
        let (read, sent, metadata) = match field.data_type() {
            DataType::List(item) => {
                let inner = hinted.and_then(item_of);
                let (read, sent) = self.field(item, inner)?;
                let sent = Arc::new(sent.as_ref().clone().with_name(Field::LIST_FIELD_DEFAULT_NAME));
                match hinted {
                    // pyarrow writes them so that not even pyarrow can read them.
                    Some(DataType::FixedSizeList(_, 0)) => {
                        return Err("lists of width 0 are not in the file as they were; write them as lists"
                            .to_owned());
                    }
                    Some(DataType::FixedSizeList(_, length)) => {
                        let (read, sent) =
                            (DataType::FixedSizeList(read, *length), DataType::FixedSizeList(sent, *length));
                        let metadata = extension(hint, &sent);
                        (read, sent, metadata)
                    }
                    _ => (DataType::List(read), DataType::List(sent), Metadata::default()),
                }
            }
            DataType::Map(entries, sorted) => {
                let DataType::Struct(pair) = entries.data_type() else {
                    return Err("a map without pairs".to_owned());
                };
                let hints = hinted.and_then(|hint| match hint {
                    DataType::Map(entries, _) => fields_of(entries.data_type()),
                    _ => None,
                });
                let (read, sent) = self.fields(pair, |index, _| hints.and_then(|hints| hints.get(index)))?;
                let named = sent.iter().zip(["key", "value"]);
                let named: Fields =
                    named.map(|(field, name)| Arc::new(field.as_ref().clone().with_name(name))).collect();
                let read = Arc::new(entries.as_ref().clone().with_data_type(DataType::Struct(read)));
                let sent = Arc::new(Field::new("entries", DataType::Struct(named), false));
                (DataType::Map(read, *sorted), DataType::Map(sent, *sorted), Metadata::default())
            }
            DataType::Struct(fields) => {
                let hints = hinted.and_then(fields_of);
                let by_name =
                    |_, name: &str| hints.and_then(|hints| hints.iter().find(|hint| hint.name() == name));
                let (read, sent) = self.fields(fields, by_name)?;
                // One that holds nothing but a VARIANT has the same columns.
                let is_variant = self.leaves.variants.contains(&(first, self.next))
                    && fields
                        .iter()
                        .any(|field| field.name() == "metadata" && !field.data_type().is_nested());
                if is_variant {
                    variant(field, read)?
                } else {
                    plain(DataType::Struct(read), DataType::Struct(sent))
                }
            }
            leaf => self.leaf(leaf, hint)?,
        };
        let read = Arc::new(field.clone().with_data_type(read));
        Ok((read, Arc::new(Field::new(field.name(), sent, field.is_nullable()).with_metadata(metadata))))
    }

    fn fields<'a>(
        &mut self,
        fields: &Fields,
        hint: impl Fn(usize, &str) -> Option<&'a FieldRef>,
    ) -> Pair<Fields> {
        let mut read = Vec::with_capacity(fields.len());
        let mut sent = Vec::with_capacity(fields.len());
        for (index, field) in fields.iter().enumerate() {
            let pair = self.field(field, hint(index, field.name()).map(AsRef::as_ref))?;
            read.push(pair.0);
            sent.push(pair.1);
        }
        Ok((read.into(), sent.into()))
    }

    fn leaf(&mut self, read: &DataType, hint: Option<&Field>) -> Read {
        let leaf = self.leaves.leaves.get(self.next).ok_or("a column that the file does not have")?;
        self.next += 1;
        let named = |name: &str| Metadata::from([(NAME.to_owned(), name.to_owned())]);
        let with = |name: &str, more: &str| {
            Metadata::from([(NAME.to_owned(), name.to_owned()), (METADATA.to_owned(), more.to_owned())])
        };
        let zone = || match hint.map(Field::data_type) {
            Some(DataType::Timestamp(_, Some(zone))) if zone.parse::<Tz>().is_ok() => Some(Arc::clone(zone)),
            _ => None,
        };
        Ok(match leaf {
            Leaf::Text => (DataType::BinaryView, DataType::Utf8, extension(hint, &DataType::Utf8)),
            Leaf::Json => (DataType::BinaryView, DataType::Utf8, named("arrow.json")),
            Leaf::Bytes => (DataType::BinaryView, DataType::Binary, extension(hint, &DataType::Binary)),
            Leaf::Geometry(more) => (DataType::BinaryView, DataType::Binary, with("geoarrow.wkb", more)),
            Leaf::Uuid => (read.clone(), read.clone(), named("arrow.uuid")),
            Leaf::Interval => {
                (read.clone(), DataType::Interval(IntervalUnit::MonthDayNano), Metadata::default())
            }
            Leaf::Int96 => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, zone());
                plain(micros.clone(), micros)
            }
            // Arrow's own writers say so of every time of day.
            Leaf::UtcTime
                if matches!(hint.map(Field::data_type), Some(DataType::Time32(_) | DataType::Time64(_))) =>
            {
                plain(read.clone(), read.clone())
            }
            Leaf::UtcTime => (read.clone(), DataType::FixedSizeBinary(8), with("arrow.opaque", TIME_TZ)),
            Leaf::Small(bits, is_signed) => {
                let sent = match (bits, is_signed) {
                    (8, true) => DataType::Int8,
                    (16, true) => DataType::Int16,
                    (8, false) => DataType::UInt8,
                    (16, false) => DataType::UInt16,
                    _ => return Err(format!("an integer of {bits} bits")),
                };
                let metadata = extension(hint, &sent);
                (DataType::Int32, sent, metadata)
            }
            Leaf::NarrowDecimal => {
                let narrow = match read {
                    DataType::Decimal128(precision @ ..=9, scale) => DataType::Decimal32(*precision, *scale),
                    DataType::Decimal128(precision, scale) => DataType::Decimal64(*precision, *scale),
                    other => return Err(format!("a decimal that is read as {other}")),
                };
                plain(narrow.clone(), narrow)
            }
            Leaf::AsRead => {
                let (read, sent) = match (read, hint.map(Field::data_type)) {
                    (DataType::Decimal256(precision, scale), _) if *precision <= DECIMAL128_MAX_PRECISION => {
                        (read.clone(), DataType::Decimal128(*precision, *scale))
                    }
                    (DataType::Timestamp(unit, Some(own)), _) => {
                        let zoned = DataType::Timestamp(*unit, zone().or_else(|| Some(Arc::clone(own))));
                        (zoned.clone(), zoned)
                    }
                    // Parquet has no type for these.
                    (DataType::Int64, Some(DataType::Duration(unit))) => {
                        (DataType::Duration(*unit), DataType::Duration(*unit))
                    }
                    (DataType::Int64, Some(DataType::Date64)) => (DataType::Date64, DataType::Date64),
                    (DataType::Int64, Some(DataType::Timestamp(unit @ TimeUnit::Second, own)))
                        if own.is_none() || zone().is_some() =>
                    {
                        let stamp = DataType::Timestamp(*unit, own.clone());
                        (stamp.clone(), stamp)
                    }
                    (read, _) => (read.clone(), read.clone()),
                };
                let metadata = extension(hint, &sent);
                (read, sent, metadata)
            }
        })
    }
}

/// What is read, what is sent, and the metadata of what is sent.
type Read = std::result::Result<(DataType, DataType, Metadata), String>;

fn plain(read: DataType, sent: DataType) -> (DataType, DataType, Metadata) {
    (read, sent, Metadata::default())
}

fn variant(field: &Field, read: Fields) -> Read {
    let has_typed = read.len() > 2;
    let parts = read.iter().filter(|part| part.name() == "metadata" || part.name() == "value");
    // A value that lies in columns of its own is put together, and is never missing then.
    let sent: Fields = parts
        .map(|part| Field::new(part.name(), DataType::Binary, part.is_nullable() && !has_typed))
        .map(Arc::new)
        .collect();
    let read = DataType::Struct(read);
    let sent = Field::new(field.name(), DataType::Struct(sent), field.is_nullable());
    // Types that no variant holds are told before anything is sent.
    convert::sent(&new_empty_array(&read), &sent).map_err(|error| error.message().to_owned())?;
    let metadata =
        Metadata::from([(NAME.to_owned(), VARIANT.to_owned()), (METADATA.to_owned(), String::new())]);
    Ok((read, sent.data_type().clone(), metadata))
}

fn item_of(hint: &DataType) -> Option<&Field> {
    match hint {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => Some(item),
        DataType::ListView(item) | DataType::LargeListView(item) => Some(item),
        _ => None,
    }
}

fn fields_of(hint: &DataType) -> Option<&Fields> {
    match hint {
        DataType::Struct(fields) => Some(fields),
        _ => None,
    }
}

/// What the embedded schema says a column stands for, if that is stored as what is sent.
fn extension(hint: Option<&Field>, sent: &DataType) -> Metadata {
    let mut kept = Metadata::default();
    let Some(metadata) = hint.map(Field::metadata) else { return kept };
    let name = metadata.get(NAME).map_or("", String::as_str);
    let fits = match name {
        "arrow.uuid" => *sent == DataType::FixedSizeBinary(16),
        "arrow.json" => *sent == DataType::Utf8,
        "arrow.bool8" => *sent == DataType::Int8,
        "geoarrow.wkb" => *sent == DataType::Binary,
        "arrow.opaque" => matches!(sent, DataType::Binary | DataType::FixedSizeBinary(_)),
        "arrow.fixed_shape_tensor" => matches!(sent, DataType::FixedSizeList(..)),
        _ => false,
    };
    let keys: &[&str] = match fits {
        true => &[NAME, METADATA],
        false if *sent == DataType::Binary => &[STANDS_FOR],
        false => &[],
    };
    for key in keys {
        if let Some(value) = metadata.get(key) {
            kept.insert((*key).to_owned(), value.clone());
        }
    }
    kept
}
