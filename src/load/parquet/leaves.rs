//! A Parquet column's own words about itself -> what it is sent as, or a refusal by name.
//! Runs on: the thread that opens a file; pure. Never: guesses what an annotation means that it does not know.
//!
//! Source: Apache Parquet, "Logical types" and its rules for the older converted types.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, Result};
use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::geo::{self, Geo};

/// What the values of a column are sent as, where that is not what the reader makes of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leaf {
    AsRead,
    /// Of 5 to 9 digits in INT32, or 10 to 18 in INT64: sent as wide as the file and DuckDB store it.
    NarrowDecimal,
    Text,
    Json,
    Bytes,
    Uuid,
    Interval,
    Int96,
    /// A time of day that is adjusted to UTC.
    UtcTime,
    /// Bits, and whether there is a sign.
    Small(i32, bool),
    /// Metadata of `geoarrow.wkb`.
    Geometry(String),
}

/// Columns as they are read: without the annotations of which the reader makes something else than is sent.
pub(super) struct Leaves {
    pub(super) schema: Arc<SchemaDescriptor>,
    /// One for each column of the file, in its order.
    pub(super) leaves: Vec<Leaf>,
    /// First column, and the one after the last, of every VARIANT.
    pub(super) variants: Vec<(usize, usize)>,
}

impl Leaves {
    /// Errors: `Unsupported` or `Invalid` naming the column.
    pub(super) fn of(file: &SchemaDescriptor, geo: &Geo) -> Result<Self> {
        let mut reading = Reading { geo, path: Vec::new(), leaves: Vec::new(), variants: Vec::new() };
        let root = file.root_schema();
        let fields = reading.fields(root, "file")?;
        if fields.is_empty() {
            return Err(Error::invalid("it has no columns"));
        }
        let root = Type::group_type_builder(root.name()).with_fields(fields).build();
        let root = root.map_err(|error| Error::invalid(error.to_string()))?;
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(root)));
        Ok(Self { schema, leaves: reading.leaves, variants: reading.variants })
    }
}

struct Reading<'a> {
    geo: &'a Geo,
    path: Vec<String>,
    leaves: Vec<Leaf>,
    variants: Vec<(usize, usize)>,
}

impl Reading<'_> {
    /// SQL compares names without case; of two columns of one name one would be lost.
    fn fields(&mut self, of: &Type, what: &str) -> Result<Vec<TypePtr>> {
        let mut seen = HashSet::new();
        for field in of.get_fields() {
            if !seen.insert(field.name().to_lowercase()) {
                let name = field.name();
                let found = format!(
                    "the {what} has two columns \"{name}\" for SQL, which ignores case; rename one of them"
                );
                return Err(match self.path.is_empty() {
                    true => Error::invalid(found),
                    false => self.invalid(&found),
                });
            }
        }
        of.get_fields().iter().map(|field| self.node(field)).collect()
    }

    fn node(&mut self, node: &TypePtr) -> Result<TypePtr> {
        self.path.push(node.name().to_owned());
        let read = if node.is_group() { self.group(node) } else { self.leaf(node) };
        self.path.pop();
        read
    }

    fn group(&mut self, node: &TypePtr) -> Result<TypePtr> {
        let info = node.get_basic_info();
        let first = self.leaves.len();
        let logical = info.logical_type_ref();
        let fields = self.fields(node, "group")?;
        if fields.is_empty() {
            return Err(self.unsupported("is a group without columns, which DuckDB does not have"));
        }
        let nested = match (logical, info.converted_type()) {
            (Some(LogicalType::Variant(_)), _) => {
                self.check_variant(node)?;
                self.variants.push((first, self.leaves.len()));
                ConvertedType::NONE
            }
            (Some(LogicalType::List), _) | (None, ConvertedType::LIST) => ConvertedType::LIST,
            (Some(LogicalType::Map), _) | (None, ConvertedType::MAP) => ConvertedType::MAP,
            (None, ConvertedType::MAP_KEY_VALUE) => self.old_map(node),
            (None, ConvertedType::NONE) => ConvertedType::NONE,
            (None, other) => {
                return Err(self.unsupported(&format!("is a group that is annotated as {other}")));
            }
            (Some(other), _) => {
                return Err(self.unsupported(&format!("is a group that is annotated as {other:?}")));
            }
        };
        let mut group = Type::group_type_builder(node.name()).with_converted_type(nested).with_fields(fields);
        if info.has_repetition() {
            group = group.with_repetition(info.repetition());
        }
        group.build().map(Arc::new).map_err(|error| self.invalid(&format!("cannot be: {error}")))
    }

    /// The outer group of a map of old writers; on the inner one, which is repeated, it says nothing.
    fn old_map(&self, node: &TypePtr) -> ConvertedType {
        let info = node.get_basic_info();
        match info.has_repetition() && info.repetition() == Repetition::REPEATED {
            true => ConvertedType::NONE,
            false => ConvertedType::MAP_KEY_VALUE,
        }
    }

    fn check_variant(&self, node: &TypePtr) -> Result<()> {
        let has = |name: &str| {
            node.get_fields().iter().any(|field| {
                let is_bytes = field.is_primitive() && field.get_physical_type() == Physical::BYTE_ARRAY;
                field.name() == name && is_bytes
            })
        };
        if has("metadata") && has("value") {
            return Ok(());
        }
        Err(self.unsupported("is a VARIANT without binary columns metadata and value; write it with both"))
    }

    fn leaf(&mut self, node: &TypePtr) -> Result<TypePtr> {
        let leaf = self.kind(node)?;
        let info = node.get_basic_info();
        let physical = node.get_physical_type();
        let mut read = Type::primitive_type_builder(node.name(), physical).with_repetition(info.repetition());
        if let Type::PrimitiveType { type_length, .. } = node.as_ref() {
            read = read.with_length(*type_length);
        }
        if matches!(leaf, Leaf::AsRead | Leaf::NarrowDecimal | Leaf::UtcTime) {
            read = read
                .with_precision(node.get_precision())
                .with_scale(node.get_scale())
                .with_converted_type(info.converted_type())
                .with_logical_type(info.logical_type_ref().cloned());
        }
        self.leaves.push(leaf);
        read.build().map(Arc::new).map_err(|error| self.invalid(&format!("cannot be: {error}")))
    }

    fn kind(&self, node: &TypePtr) -> Result<Leaf> {
        use ConvertedType as C;
        use LogicalType as L;
        use Physical as P;
        let info = node.get_basic_info();
        let physical = node.get_physical_type();
        let (logical, converted) = (info.logical_type_ref(), info.converted_type());
        Ok(match (physical, logical, converted) {
            (_, Some(L::Unknown), _) if info.repetition() == Repetition::REQUIRED => {
                return Err(self.invalid("is annotated as always NULL, and required"));
            }
            (_, Some(L::Unknown), _) => Leaf::AsRead,
            (_, Some(L::Decimal(_)), _) | (_, None, C::DECIMAL) => self.decimal(node)?,
            (P::BYTE_ARRAY, Some(L::String | L::Enum), _) => Leaf::Text,
            (P::BYTE_ARRAY, Some(L::Json), _) => Leaf::Json,
            (P::BYTE_ARRAY, Some(L::Bson), _) => Leaf::Bytes,
            (P::BYTE_ARRAY, Some(L::Geometry(geometry)), _) => {
                Leaf::Geometry(self.geo.metadata(geometry.crs.as_deref(), None))
            }
            (P::BYTE_ARRAY, Some(L::Geography(geography)), _) => {
                let edges = geo::edges(geography.algorithm.unwrap_or_default());
                let edges = edges.ok_or_else(|| self.unsupported("is a GEOGRAPHY with unknown edges"))?;
                Leaf::Geometry(self.geo.metadata(geography.crs.as_deref(), Some(edges)))
            }
            (P::BYTE_ARRAY, None, C::UTF8 | C::ENUM) => Leaf::Text,
            (P::BYTE_ARRAY, None, C::JSON) => Leaf::Json,
            (P::BYTE_ARRAY, None, C::BSON) => Leaf::Bytes,
            // GeoParquet speaks of whole columns alone.
            (P::BYTE_ARRAY, None, C::NONE) => match self.path.as_slice() {
                [column] => self.geo.column(column).map_or(Leaf::Bytes, Leaf::Geometry),
                _ => Leaf::Bytes,
            },
            (P::FIXED_LEN_BYTE_ARRAY, Some(L::Uuid), _) => Leaf::Uuid,
            (P::FIXED_LEN_BYTE_ARRAY, Some(L::Float16), _) => Leaf::AsRead,
            (P::FIXED_LEN_BYTE_ARRAY, None, C::INTERVAL) => {
                if self.length(node) != 12 {
                    return Err(self.invalid("is an INTERVAL that does not have 12 bytes"));
                }
                Leaf::Interval
            }
            (P::FIXED_LEN_BYTE_ARRAY, None, C::NONE) => {
                if self.length(node) < 1 {
                    return Err(self.unsupported("has values of 0 bytes, of which nothing could be told"));
                }
                Leaf::AsRead
            }
            (P::INT32, Some(L::Integer(int)), _) if int.bit_width < 32 => {
                Leaf::Small(i32::from(int.bit_width), int.is_signed)
            }
            (P::INT32, None, C::INT_8) => Leaf::Small(8, true),
            (P::INT32, None, C::INT_16) => Leaf::Small(16, true),
            (P::INT32, None, C::UINT_8) => Leaf::Small(8, false),
            (P::INT32, None, C::UINT_16) => Leaf::Small(16, false),
            (P::INT32, Some(L::Time(time)), _) if time.unit == TimeUnit::MILLIS => {
                utc(time.is_adjusted_to_u_t_c)
            }
            (P::INT64, Some(L::Time(time)), _) if time.unit != TimeUnit::MILLIS => {
                utc(time.is_adjusted_to_u_t_c)
            }
            (P::INT32, Some(L::Integer(_) | L::Date), _) => Leaf::AsRead,
            (P::INT64, Some(L::Integer(_) | L::Timestamp(_)), _) => Leaf::AsRead,
            (P::INT32, None, C::NONE | C::INT_32 | C::UINT_32 | C::DATE | C::TIME_MILLIS) => Leaf::AsRead,
            (P::INT64, None, C::NONE | C::INT_64 | C::UINT_64 | C::TIME_MICROS) => Leaf::AsRead,
            (P::INT64, None, C::TIMESTAMP_MILLIS | C::TIMESTAMP_MICROS) => Leaf::AsRead,
            (P::INT96, None, C::NONE) => Leaf::Int96,
            (P::BOOLEAN | P::FLOAT | P::DOUBLE, None, C::NONE) => Leaf::AsRead,
            (_, Some(other), _) => {
                return Err(
                    self.unsupported(&format!("is {physical} annotated as {other:?}, which is not known"))
                );
            }
            (_, None, other) => {
                return Err(
                    self.unsupported(&format!("is {physical} annotated as {other}, which is not known"))
                );
            }
        })
    }

    fn decimal(&self, node: &TypePtr) -> Result<Leaf> {
        let (precision, scale) = match node.get_basic_info().logical_type_ref() {
            Some(LogicalType::Decimal(decimal)) => (decimal.precision, decimal.scale),
            _ => (node.get_precision(), node.get_scale()),
        };
        if precision > 76 || scale > 38 {
            let what = format!(
                "is DECIMAL({precision},{scale}), and DuckDB has 38 digits; write it with fewer, or as text"
            );
            return Err(self.unsupported(&what));
        }
        if precision < 1 || scale < 0 || scale > precision {
            return Err(self.invalid(&format!("is DECIMAL({precision},{scale}), which cannot be")));
        }
        match node.get_physical_type() {
            Physical::INT32 if (5..=9).contains(&precision) => Ok(Leaf::NarrowDecimal),
            Physical::INT64 if (10..=18).contains(&precision) => Ok(Leaf::NarrowDecimal),
            Physical::INT32 | Physical::INT64 | Physical::BYTE_ARRAY => Ok(Leaf::AsRead),
            Physical::FIXED_LEN_BYTE_ARRAY if (1..=32).contains(&self.length(node)) => Ok(Leaf::AsRead),
            other => Err(self.unsupported(&format!("is {other} annotated as DECIMAL, which is not known"))),
        }
    }

    fn length(&self, node: &TypePtr) -> i32 {
        match node.as_ref() {
            Type::PrimitiveType { type_length, .. } => *type_length,
            Type::GroupType { .. } => 0,
        }
    }

    fn invalid(&self, what: &str) -> Error {
        Error::invalid(format!("column \"{}\" {what}", self.path.join(".")))
    }

    fn unsupported(&self, what: &str) -> Error {
        Error::unsupported(format!("column \"{}\" {what}", self.path.join(".")))
    }
}

fn utc(is_adjusted: bool) -> Leaf {
    if is_adjusted { Leaf::UtcTime } else { Leaf::AsRead }
}
