//! A type as DuckDB prints it -> the Arrow type that stands for it.
//! Runs on: any thread; pure.
//! Never: names a type that would come back as another one.

use arrow::datatypes::TimeUnit;

use super::shape::{Shape, no_form, shape};
use super::{
    Child, DeclaredType, by_engine_name, decimal, enumeration, fixed_size_list, geometry, list, map,
    structure, tuple, union, zoned,
};

/// Reads a type as the engine prints it: `STRUCT(a BIGINT, "b c" VARCHAR[])`.
///
/// Errors: the part that no Arrow type stands for.
pub fn from_duckdb(text: &str) -> Result<DeclaredType, String> {
    declared(shape(text)?)
}

fn declared(shape: Shape<'_>) -> Result<DeclaredType, String> {
    let child = |(name, shape): (String, Shape<'_>)| {
        Ok::<_, String>(Child { name, data_type: declared(shape)?, nullable: true })
    };
    match shape {
        Shape::Name("TIMESTAMP WITH TIME ZONE") => Ok(zoned(TimeUnit::Microsecond, "UTC")),
        Shape::Name("TIMESTAMPTZ_NS") => Ok(zoned(TimeUnit::Nanosecond, "UTC")),
        Shape::Name(name) => match name.strip_prefix("GEOMETRY('").and_then(|rest| rest.strip_suffix("')")) {
            Some(system) => geometry(&system.replace("''", "'")).map_err(|_| no_form(name)),
            None => by_engine_name(name).ok_or_else(|| no_form(name)),
        },
        Shape::Decimal(precision, scale) => decimal(128, precision, scale),
        Shape::Enum(values) => enumeration(&values),
        Shape::List(item) => Ok(list("list", &Child::item(declared(*item)?))),
        Shape::Array(item, length) => fixed_size_list(&Child::item(declared(*item)?), length),
        Shape::Struct(children) => {
            structure(&children.into_iter().map(child).collect::<Result<Vec<_>, _>>()?)
        }
        Shape::Union(members) => {
            let members = members.into_iter().map(child).collect::<Result<Vec<_>, _>>()?;
            union("sparse_union", (0..).zip(members).collect())
        }
        Shape::Tuple(items) => tuple(items.into_iter().map(declared).collect::<Result<_, _>>()?),
        Shape::Map(key, value) => Ok(map(declared(*key)?, declared(*value)?, true, false)),
    }
}
