//! Types that say all there is to say: in Arrow by themselves, and in the engine without asking it for their Arrow form.
//! Runs on: the thread that prepares; pure.
//! Never: takes a type that stands for another one, or whose form depends on a setting.

use arrow::datatypes::{DataType, Field, Schema};
use duckdb::logical_type::{LogicalType, LogicalTypeID};

/// The Arrow form of columns whose types have one each, whatever is set: what the engine would say takes longer to ask.
pub(super) fn certain(columns: &[(String, LogicalType)]) -> duckdb::Result<Option<Schema>> {
    let mut fields = Vec::with_capacity(columns.len());
    for (name, logical_type) in columns {
        let Some(data_type) = certain_type(logical_type)? else { return Ok(None) };
        fields.push(Field::new(name, data_type, true));
    }
    Ok(Some(Schema::new(fields)))
}

fn certain_type(logical_type: &LogicalType) -> duckdb::Result<Option<DataType>> {
    use LogicalTypeID as T;
    let id = logical_type.id()?;
    Ok(Some(match id {
        T::TinyInt => DataType::Int8,
        T::SmallInt => DataType::Int16,
        T::Integer => DataType::Int32,
        T::BigInt => DataType::Int64,
        T::UTinyInt => DataType::UInt8,
        T::USmallInt => DataType::UInt16,
        T::UInteger => DataType::UInt32,
        T::UBigInt => DataType::UInt64,
        T::Float => DataType::Float32,
        T::Double => DataType::Float64,
        T::Date => DataType::Date32,
        // Not one with a name of its own, such as JSON.
        T::Varchar if logical_type.name()? == "VARCHAR" => DataType::Utf8,
        _ => return Ok(None),
    }))
}

/// Whether the types of a schema are all that there is to say: the engine's two forms of them are the same, and neither of
/// them stands for another type.
pub(super) fn is_evident(schema: &Schema) -> bool {
    schema.metadata().is_empty()
        && !schema.fields().is_empty()
        && schema.fields().iter().all(|field| {
            let data_type = field.data_type();
            let is_number = data_type.is_integer() || data_type.is_floating() || data_type.is_decimal();
            field.metadata().is_empty()
                && (is_number
                    || matches!(data_type, DataType::Utf8 | DataType::Date32 | DataType::Timestamp(..)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::export::Form;

    /// What is said without asking is what the engine says, in both of its forms.
    #[test]
    fn certain_types_are_the_engines() {
        let database = crate::Database::open(crate::Options::in_memory()).unwrap();
        let connection = database.connection().unwrap();
        let mut certain_types = 0;
        for name in [
            "TINYINT",
            "SMALLINT",
            "INTEGER",
            "BIGINT",
            "UTINYINT",
            "USMALLINT",
            "UINTEGER",
            "UBIGINT",
            "FLOAT",
            "DOUBLE",
            "DATE",
            "VARCHAR",
            "JSON",
            "HUGEINT",
            "BOOLEAN",
            "UUID",
            "BLOB",
            "BIT",
            "TIMESTAMP",
            "DECIMAL(9, 2)",
            "ENUM('VARCHAR')",
            "VARCHAR[]",
        ] {
            let sql = format!("SELECT NULL::{name} AS \"a b\"");
            let statement = crate::parse(&connection, &sql).unwrap().statement;
            let columns = || statement.bind(connection.duckdb()).unwrap().schema.get_all().unwrap();
            let Some(schema) = certain(&columns()).unwrap() else { continue };
            certain_types += 1;
            for form in [Form::Default, Form::Lossless] {
                form.set(&connection).unwrap();
                assert_eq!(connection.describe_columns(columns()).unwrap(), schema, "{name}, {form:?}");
                assert!(is_evident(&schema));
            }
        }
        assert_eq!(certain_types, 12);
    }
}
