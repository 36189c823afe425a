//! `date_part`, `extract`, `year()` and its like, `date_trunc`, `date_diff`, `last_day`, names of days.
//! Runs on: registration when the database is opened; evaluation on DuckDB's worker threads.
//! Never: computes; `date_part` and `trunc` do.

use std::marker::PhantomData;

use duckdb::bind_arguments::BindArguments;
use duckdb::connection::Context;
use duckdb::data_chunk::VectorCollection;
use duckdb::logical_type::{LogicalType, LogicalTypeID as Id};
use duckdb::scalar::{
    ScalarBindCallbacks, ScalarCallbacks, ScalarFunctionBuilder, ScalarResolveTypesCallbacks,
};
use duckdb::signature::{FunctionParameter, SignatureBuilder};
use duckdb::types::{DateValue, List, TimestampTzNsValue, TimestampTzValue};
use duckdb::value::Value;
use duckdb::vector::{Unknown, Vector};

use super::instant::Instant;
use super::vector::{Registry, STABILITY, binary, make_readable, ternary, unary, write_rows};
use crate::catalog::quote_name;
use crate::timezone::pure::calendar::{Date, is_finite, split, weekday};
use crate::timezone::pure::date_part::{Extract, Part, day_name, month_name};
use crate::timezone::pure::trunc::{boundaries, elapsed, last_day, out_of_range, truncate};

/// Functions that are named after the part they give.
const SHORT: &[(&str, Part)] = &[
    ("era", Part::Era),
    ("year", Part::Year),
    ("month", Part::Month),
    ("day", Part::Day),
    ("dayofmonth", Part::Day),
    ("decade", Part::Decade),
    ("century", Part::Century),
    ("millennium", Part::Millennium),
    ("microsecond", Part::Microseconds),
    ("millisecond", Part::Milliseconds),
    ("second", Part::Second),
    ("minute", Part::Minute),
    ("hour", Part::Hour),
    ("dayofweek", Part::DayOfWeek),
    ("weekday", Part::DayOfWeek),
    ("isodow", Part::IsoDayOfWeek),
    ("week", Part::Week),
    ("weekofyear", Part::Week),
    ("dayofyear", Part::DayOfYear),
    ("quarter", Part::Quarter),
    ("isoyear", Part::IsoYear),
    ("yearweek", Part::YearWeek),
    ("timezone", Part::Timezone),
    ("timezone_hour", Part::TimezoneHour),
    ("timezone_minute", Part::TimezoneMinute),
];

pub(crate) fn register(registry: &Registry<'_>) -> duckdb::Result<()> {
    register_for::<TimestampTzValue>(registry)?;
    register_for::<TimestampTzNsValue>(registry)
}

fn register_for<S: Instant>(registry: &Registry<'_>) -> duckdb::Result<()> {
    for (name, part) in SHORT {
        registry.scalar(&[name], &[S::TYPE_ID], Id::BigInt, |arguments, output| {
            unary::<S, i64>(arguments, output, |at| Ok(whole(*part, S::micros(at))))
        })?;
    }
    for (name, part) in [("epoch", Part::Epoch), ("julian", Part::Julian)] {
        registry.scalar(&[name], &[S::TYPE_ID], Id::Double, move |arguments, output| {
            unary::<S, f64>(arguments, output, |at| Ok(double(part, S::micros(at))))
        })?;
    }
    registry.scalar(&["last_day"], &[S::TYPE_ID], Id::Date, |arguments, output| {
        unary::<S, DateValue>(arguments, output, |at| {
            let at = S::micros(at);
            if !is_finite(at) {
                return Ok(None);
            }
            let days = i32::try_from(last_day(split(at).0)).map_err(|_| out_of_range())?;
            Ok(Some(DateValue(days)))
        })
    })?;
    registry.scalar(&["dayname"], &[S::TYPE_ID], Id::Varchar, |arguments, output| {
        unary::<S, String>(arguments, output, |at| {
            let at = S::micros(at);
            Ok(is_finite(at).then(|| day_name(weekday(split(at).0)).to_owned()))
        })
    })?;
    registry.scalar(&["monthname"], &[S::TYPE_ID], Id::Varchar, |arguments, output| {
        unary::<S, String>(arguments, output, |at| {
            let at = S::micros(at);
            Ok(is_finite(at).then(|| month_name(Date::of(split(at).0).month).to_owned()))
        })
    })?;
    let trunc = ["date_trunc", "datetrunc"];
    registry.scalar(&trunc, &[Id::Varchar, S::TYPE_ID], Id::TimestampTz, |arguments, output| {
        let mut parts = Parts::default();
        binary::<String, S, TimestampTzValue>(arguments, output, |name, at| {
            let (part, at) = (parts.get(name)?, S::micros(at));
            let start = if is_finite(at) { truncate(part, at)? } else { at };
            Ok(Some(TimestampTzValue(start)))
        })
    })?;
    let counted = [Id::Varchar, S::TYPE_ID, S::TYPE_ID];
    registry.scalar(&["date_diff", "datediff"], &counted, Id::BigInt, |arguments, output| {
        count::<S>(arguments, output, boundaries)
    })?;
    registry.scalar(&["date_sub", "datesub"], &counted, Id::BigInt, |arguments, output| {
        count::<S>(arguments, output, elapsed)
    })?;
    for name in ["date_part", "datepart"] {
        let signature = registry.signature(&[Id::Varchar, S::TYPE_ID], Id::Double)?;
        ScalarFunctionBuilder::new(name, signature, DatePart::<S>(PhantomData))
            .with_resolve_types()
            .set_property(STABILITY)
            .register(registry.connection)?;
        let signature = SignatureBuilder::new()
            .param(FunctionParameter::new::<List<String>>("argument1"))
            .param(FunctionParameter::with_type("argument2", registry.logical_type(S::TYPE_ID)?))
            .return_type(registry.logical_type(Id::Any)?);
        ScalarFunctionBuilder::new(name, signature, DateParts::<S>(PhantomData))
            .with_resolve_types()
            .set_property(STABILITY)
            .with_bind()
            .register(registry.connection)?;
    }
    Ok(())
}

fn whole(part: Part, at: i64) -> Option<i64> {
    match is_finite(at).then(|| part.extract(at))? {
        Extract::Whole(value) => Some(value),
        Extract::Fraction(_) => None,
    }
}

fn double(part: Part, at: i64) -> Option<f64> {
    is_finite(at).then(|| part.extract(at).as_double())
}

fn count<S: Instant>(
    arguments: &VectorCollection,
    output: Vector<'_, Unknown>,
    function: fn(Part, i64, i64) -> duckdb::Result<i64>,
) -> duckdb::Result<()> {
    let mut parts = Parts::default();
    ternary::<String, S, S, i64>(arguments, output, |name, start, end| {
        let part = parts.get(name)?;
        let (start, end) = (S::micros(start), S::micros(end));
        let both = is_finite(start) && is_finite(end);
        both.then(|| function(part, start, end)).transpose()
    })
}

/// Part names of a column: the last one is kept, because it is nearly always the same.
#[derive(Default)]
struct Parts {
    last: Option<(String, Part)>,
}

impl Parts {
    fn get(&mut self, name: &str) -> duckdb::Result<Part> {
        if let Some((last, part)) = &self.last
            && last == name
        {
            return Ok(*part);
        }
        let part = Part::parse(name)?;
        self.last = Some((name.to_owned(), part));
        Ok(part)
    }
}

/// `date_part(name, timestamp)`: BIGINT for a constant name of a whole part, else DOUBLE.
struct DatePart<S>(PhantomData<fn() -> S>);

impl<S: Instant> ScalarResolveTypesCallbacks for DatePart<S> {
    fn resolve_types(&self, context: &Context, arguments: BindArguments<'_>) -> duckdb::Result<LogicalType> {
        let name = match arguments.value(0)? {
            Some(value) => value.get::<String>()?,
            None => None,
        };
        let is_whole = match name {
            Some(name) => !Part::parse(&name)?.is_fraction(),
            None => false,
        };
        LogicalType::from_text(context, if is_whole { "BIGINT" } else { "DOUBLE" })
    }
}

impl<S: Instant> ScalarCallbacks for DatePart<S> {
    type BindData = ();
    type InitData = ();

    fn exec(
        &self,
        _bind: Option<&()>,
        _init: Option<&mut ()>,
        _context: &Context,
        arguments: &mut VectorCollection,
        output: Vector<'_, Unknown>,
    ) -> duckdb::Result<()> {
        make_readable(arguments)?;
        let mut parts = Parts::default();
        if output.logical_type().id()? == Id::BigInt {
            binary::<String, S, i64>(arguments, output, |name, at| Ok(whole(parts.get(name)?, S::micros(at))))
        } else {
            binary::<String, S, f64>(arguments, output, |name, at| {
                Ok(double(parts.get(name)?, S::micros(at)))
            })
        }
    }
}

/// `date_part([names], timestamp)`: a STRUCT with a field for each name.
struct DateParts<S>(PhantomData<fn() -> S>);

impl<S: Instant> DateParts<S> {
    /// The names as they were written, with their parts.
    fn named(arguments: &BindArguments<'_>) -> duckdb::Result<Vec<(String, Part)>> {
        let constant =
            || duckdb::Error::invalid_input("the list of date parts must be constant and not NULL");
        let list = arguments.value(0)?.ok_or_else(constant)?;
        let names: Vec<Option<String>> =
            list.children()?.iter().map(Value::get::<String>).collect::<duckdb::Result<_>>()?;
        let mut named: Vec<(String, Part)> = Vec::with_capacity(names.len());
        for name in names {
            let name = name.ok_or_else(constant)?;
            if named.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name)) {
                return Err(duckdb::Error::invalid_input(format!("date part \"{name}\" is listed twice")));
            }
            let part = Part::parse(&name)?;
            named.push((name, part));
        }
        if named.is_empty() {
            return Err(duckdb::Error::invalid_input("the list of date parts must not be empty"));
        }
        Ok(named)
    }
}

impl<S: Instant> ScalarResolveTypesCallbacks for DateParts<S> {
    fn resolve_types(&self, context: &Context, arguments: BindArguments<'_>) -> duckdb::Result<LogicalType> {
        let fields: Vec<String> = Self::named(&arguments)?
            .iter()
            .map(|(name, part)| {
                format!("{} {}", quote_name(name), if part.is_fraction() { "DOUBLE" } else { "BIGINT" })
            })
            .collect();
        LogicalType::from_text(context, &format!("STRUCT({})", fields.join(", ")))
    }
}

impl<S: Instant> ScalarBindCallbacks for DateParts<S> {
    fn bind(&self, _context: &Context, arguments: BindArguments<'_>) -> duckdb::Result<Vec<Part>> {
        Ok(Self::named(&arguments)?.into_iter().map(|(_, part)| part).collect())
    }
}

impl<S: Instant> ScalarCallbacks for DateParts<S> {
    type BindData = Vec<Part>;
    type InitData = ();

    fn exec(
        &self,
        parts: Option<&Vec<Part>>,
        _init: Option<&mut ()>,
        _context: &Context,
        arguments: &mut VectorCollection,
        mut output: Vector<'_, Unknown>,
    ) -> duckdb::Result<()> {
        make_readable(arguments)?;
        let parts = parts.ok_or_else(|| duckdb::Error::api_error("date parts run without their names"))?;
        let stamps = arguments.get_vector_at::<S>(1)?.reader()?;
        let rows = arguments.row_count()?;
        output.set_size(rows)?;
        {
            let mut fields =
                output.children_mut().ok_or_else(|| duckdb::Error::api_error("a STRUCT has no fields"))?;
            for (index, part) in parts.iter().enumerate() {
                let field = fields.get_untyped_vector_at_mut(index)?;
                if part.is_fraction() {
                    write_rows::<f64>(rows, field, |row| {
                        Ok(stamps.get(row)?.and_then(|at| double(*part, S::micros(at))))
                    })?;
                } else {
                    write_rows::<i64>(rows, field, |row| {
                        Ok(stamps.get(row)?.and_then(|at| whole(*part, S::micros(at))))
                    })?;
                }
            }
        }
        for row in 0..rows {
            if stamps.get(row)?.is_none() {
                output.set_null_slow(row)?;
            }
        }
        Ok(())
    }
}
