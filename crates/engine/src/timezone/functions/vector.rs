//! Rust function over values -> scalar function over whole vectors.
//! Runs on: registration at open; evaluation on DuckDB's worker threads.
//! Never: calls the engine for a row; a callback reads vectors and writes one.

use duckdb::Parameters;
use duckdb::connection::{Connection as DuckDBConnection, Context};
use duckdb::data_chunk::VectorCollection;
use duckdb::enums::{FunctionProperty, FunctionPropertyStability};
use duckdb::logical_type::{LogicalType, LogicalTypeID};
use duckdb::scalar::{ScalarCallbacks, ScalarFunctionBuilder};
use duckdb::signature::{FunctionParameter, SignatureBuilder};
use duckdb::vector::{OwnedVectorElement, StorageKind, Unknown, Vector, VectorElement};

/// A scalar function without state: `evaluate` writes one row for each row of the arguments.
struct Scalar<F> {
    evaluate: F,
}

impl<F> ScalarCallbacks for Scalar<F>
where
    F: Fn(&VectorCollection, Vector<'_, Unknown>) -> duckdb::Result<()> + Send + Sync + 'static,
{
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
        (self.evaluate)(arguments, output)
    }
}

/// Brings compressed and computed vectors into a form with rows.
pub(crate) fn make_readable(arguments: &mut VectorCollection) -> duckdb::Result<()> {
    for index in 0..arguments.col_count() {
        let mut vector = arguments.get_untyped_vector_at_mut(index)?;
        if vector.storage_kind() == StorageKind::Other {
            vector.flatten()?;
        }
    }
    Ok(())
}

/// Adds overloads to functions of the engine.
pub(crate) struct Registry<'a> {
    pub(crate) connection: &'a DuckDBConnection,
}

impl Registry<'_> {
    /// A type without parameters.
    pub(crate) fn logical_type(&self, id: LogicalTypeID) -> duckdb::Result<LogicalType> {
        LogicalType::create_from_id(self.connection, id, Parameters::None)
    }

    /// A signature of positional `parameters`.
    pub(crate) fn signature(
        &self,
        parameters: &[LogicalTypeID],
        result: LogicalTypeID,
    ) -> duckdb::Result<SignatureBuilder> {
        let mut signature = SignatureBuilder::new().return_type(self.logical_type(result)?);
        for (index, id) in parameters.iter().enumerate() {
            let name = format!("argument{}", index + 1);
            signature = signature.param(FunctionParameter::with_type(name, self.logical_type(*id)?));
        }
        Ok(signature)
    }

    /// Registers `evaluate` under each of `names`.
    pub(crate) fn scalar<F>(
        &self,
        names: &[&str],
        parameters: &[LogicalTypeID],
        result: LogicalTypeID,
        evaluate: F,
    ) -> duckdb::Result<()>
    where
        F: Fn(&VectorCollection, Vector<'_, Unknown>) -> duckdb::Result<()> + Copy + Send + Sync + 'static,
    {
        for name in names {
            let signature = self.signature(parameters, result)?;
            ScalarFunctionBuilder::new(*name, signature, Scalar { evaluate })
                .set_property(STABILITY)
                .register(self.connection)?;
        }
        Ok(())
    }
}

/// Every function here is stable within a query only, although most always give the same result.
///
/// Symptom: with an index on `date_trunc('day', ts)`, INSERT fails and DELETE invalidates the database. Cause: the
/// engine evaluates index keys without a client context, and refuses to call functions of the C API without
/// one. Official way: none. Our way: the engine refuses functions that are not always stable as index keys.
pub(crate) const STABILITY: FunctionProperty =
    FunctionProperty::Stability(FunctionPropertyStability::ConsistentWithinQuery);

/// Writes `row(index)` for every row of the arguments; `None` is NULL.
pub(crate) fn write_rows<R: OwnedVectorElement>(
    rows: usize,
    output: Vector<'_, Unknown>,
    mut row: impl FnMut(usize) -> duckdb::Result<Option<R>>,
) -> duckdb::Result<()> {
    let mut output = output.cast::<R>()?;
    output.set_size(rows)?;
    let mut writer = output.writer()?;
    for index in 0..rows {
        writer.set_ref(index, row(index)?.as_ref())?;
    }
    Ok(())
}

/// Evaluates a function of one argument.
pub(crate) fn unary<A: VectorElement, R: OwnedVectorElement>(
    arguments: &VectorCollection,
    output: Vector<'_, Unknown>,
    mut function: impl FnMut(A::Ref<'_>) -> duckdb::Result<Option<R>>,
) -> duckdb::Result<()> {
    let first = arguments.get_vector_at::<A>(0)?.reader()?;
    write_rows(arguments.row_count()?, output, |row| match first.get(row)? {
        Some(first) => function(first),
        None => Ok(None),
    })
}

/// Evaluates a function of two arguments.
pub(crate) fn binary<A: VectorElement, B: VectorElement, R: OwnedVectorElement>(
    arguments: &VectorCollection,
    output: Vector<'_, Unknown>,
    mut function: impl FnMut(A::Ref<'_>, B::Ref<'_>) -> duckdb::Result<Option<R>>,
) -> duckdb::Result<()> {
    let first = arguments.get_vector_at::<A>(0)?.reader()?;
    let second = arguments.get_vector_at::<B>(1)?.reader()?;
    write_rows(arguments.row_count()?, output, |row| match (first.get(row)?, second.get(row)?) {
        (Some(first), Some(second)) => function(first, second),
        _ => Ok(None),
    })
}

/// Evaluates a function of three arguments.
pub(crate) fn ternary<A: VectorElement, B: VectorElement, C: VectorElement, R: OwnedVectorElement>(
    arguments: &VectorCollection,
    output: Vector<'_, Unknown>,
    mut function: impl FnMut(A::Ref<'_>, B::Ref<'_>, C::Ref<'_>) -> duckdb::Result<Option<R>>,
) -> duckdb::Result<()> {
    let first = arguments.get_vector_at::<A>(0)?.reader()?;
    let second = arguments.get_vector_at::<B>(1)?.reader()?;
    let third = arguments.get_vector_at::<C>(2)?.reader()?;
    write_rows(arguments.row_count()?, output, |row| {
        match (first.get(row)?, second.get(row)?, third.get(row)?) {
            (Some(first), Some(second), Some(third)) => function(first, second, third),
            _ => Ok(None),
        }
    })
}
