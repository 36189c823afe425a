//! What an Arrow field says of itself beside its type -> the engine's type that it stands for.
//! Runs on: any thread, once per schema; pure.
//! Never: lets a name stand over a storage that is not its own: the importer would read beyond the buffer.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, Metadata};

pub(super) use pintail_protocol::extension::{METADATA, NAME};

/// Key in the metadata of a result's field: what its values stand for. Only [`BIT`] leaves the server, and comes back.
pub use pintail_protocol::extension::STANDS_FOR;

/// Bytes as DuckDB has them for a BIT, on a field that is plain binary for every client.
pub const BIT: &str = "bit";

/// The name under which types travel that only DuckDB knows.
const OPAQUE: &str = "arrow.opaque";

/// Extension types that DuckDB 2.0.0 reads (arrow_type_extension.cpp, `ArrowTypeExtensionSet::Initialize`), and
/// one that is a list for it, whose storage is known all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extension {
    Uuid,
    Json,
    Bool8,
    HugeInt,
    UHugeInt,
    TimeTz,
    Bit,
    Bignum,
    Geometry,
    Variant,
    FixedShapeTensor,
}

use Extension as E;

impl Extension {
    /// What `field` stands for; `None` for a plain field and for names that the engine does not know.
    ///
    /// Errors: metadata that cannot be read, in words.
    pub(crate) fn of(field: &Field) -> Result<Option<Self>, String> {
        let metadata = field.metadata();
        let Some(name) = metadata.get(NAME) else {
            return Ok(metadata.get(STANDS_FOR).is_some_and(|name| name == BIT).then_some(E::Bit));
        };
        let more = metadata.get(METADATA).map_or("", String::as_str);
        Ok(match name.as_str() {
            "arrow.uuid" => Some(E::Uuid),
            "arrow.json" => Some(E::Json),
            "arrow.bool8" => Some(E::Bool8),
            "arrow.parquet.variant" => Some(E::Variant),
            "arrow.fixed_shape_tensor" => Some(E::FixedShapeTensor),
            "geoarrow.wkb" => {
                let is_object =
                    |text: &str| serde_json::from_str::<HashMap<String, serde_json::Value>>(text).is_ok();
                if !more.is_empty() && !is_object(more) {
                    return Err(format!("geoarrow.wkb has no JSON object for its metadata but {more:?}"));
                }
                Some(E::Geometry)
            }
            OPAQUE => opaque(more)?,
            _ => None,
        })
    }

    /// Name and metadata of the field, in one spelling; the engine reads no other.
    pub(super) fn metadata(self, field: &Field) -> Metadata {
        let mut metadata = field.metadata().clone();
        metadata.remove(STANDS_FOR);
        let name = match self.opaque_name() {
            Some(type_name) => {
                let more = format!("{{\"type_name\":\"{type_name}\",\"vendor_name\":\"DuckDB\"}}");
                metadata.insert(METADATA.to_owned(), more);
                OPAQUE
            }
            None => match self {
                E::Uuid => "arrow.uuid",
                E::Json => "arrow.json",
                E::Bool8 => "arrow.bool8",
                E::Geometry => "geoarrow.wkb",
                E::Variant => "arrow.parquet.variant",
                _ => "arrow.fixed_shape_tensor",
            },
        };
        metadata.insert(NAME.to_owned(), name.to_owned());
        metadata
    }

    fn opaque_name(self) -> Option<&'static str> {
        Some(match self {
            E::HugeInt => "hugeint",
            E::UHugeInt => "uhugeint",
            E::TimeTz => "time_tz",
            E::Bit => "bit",
            E::Bignum => "bignum",
            _ => return None,
        })
    }

    /// The name for texts.
    pub(super) fn shown(self) -> String {
        match (self.opaque_name(), self) {
            (Some(type_name), _) => format!("{OPAQUE} of DuckDB's {type_name}"),
            (None, E::Uuid) => "arrow.uuid".to_owned(),
            (None, E::Json) => "arrow.json".to_owned(),
            (None, E::Bool8) => "arrow.bool8".to_owned(),
            (None, E::Geometry) => "geoarrow.wkb".to_owned(),
            (None, E::Variant) => "arrow.parquet.variant".to_owned(),
            (None, _) => "arrow.fixed_shape_tensor".to_owned(),
        }
    }

    /// The storage it has to have, for texts.
    pub(super) fn storage(self) -> &'static str {
        match self {
            E::Uuid | E::HugeInt | E::UHugeInt => "fixed_size_binary[16]",
            E::TimeTz => "fixed_size_binary[8]",
            E::Json => "string, large_string or string_view",
            E::Bool8 => "int8",
            E::Bit | E::Bignum | E::Geometry => "binary, large_binary or binary_view",
            E::Variant => "struct<metadata: binary, value: binary>",
            E::FixedShapeTensor => "fixed_size_list",
        }
    }

    /// Whether `storage`, in its plain form, is that.
    pub(super) fn fits(self, storage: &DataType) -> bool {
        let is_binary = |data_type: &DataType| {
            matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
        };
        match self {
            E::Uuid | E::HugeInt | E::UHugeInt => *storage == DataType::FixedSizeBinary(16),
            E::TimeTz => *storage == DataType::FixedSizeBinary(8),
            E::Json => matches!(storage, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
            E::Bool8 => *storage == DataType::Int8,
            E::Bit | E::Bignum | E::Geometry => is_binary(storage),
            E::Variant => match storage {
                DataType::Struct(fields) => {
                    let has = |name: &str| {
                        fields.iter().any(|field| field.name() == name && is_binary(field.data_type()))
                    };
                    fields.len() == 2 && has("metadata") && has("value")
                }
                _ => false,
            },
            E::FixedShapeTensor => matches!(storage, DataType::FixedSizeList(..)),
        }
    }
}

fn opaque(more: &str) -> Result<Option<Extension>, String> {
    let wrong = || {
        format!(
            "arrow.opaque needs metadata such as {{\"type_name\":\"hugeint\",\"vendor_name\":\"DuckDB\"}}, found {more:?}"
        )
    };
    let known: HashMap<String, serde_json::Value> = serde_json::from_str(more).map_err(|_| wrong())?;
    let text = |name: &str| known.get(name).and_then(serde_json::Value::as_str);
    let (Some(type_name), Some(vendor)) = (text("type_name"), text("vendor_name")) else {
        return Err(wrong());
    };
    Ok(match (vendor, type_name) {
        ("DuckDB", "hugeint") => Some(E::HugeInt),
        ("DuckDB", "uhugeint") => Some(E::UHugeInt),
        ("DuckDB", "time_tz") => Some(E::TimeTz),
        ("DuckDB", "bit") => Some(E::Bit),
        ("DuckDB", "bignum") => Some(E::Bignum),
        _ => None,
    })
}
