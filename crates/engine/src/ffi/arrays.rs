//! Running statements whose rows the engine's threads gather in arrays of about so many bytes (`arrays.cpp`).
//! Runs on: the thread that started the statement.
//! Never: lets a result outlive its connection.

use std::marker::PhantomData;
use std::ptr;

use duckdb::arrow::{ArrowArray, ArrowSchema};
use duckdb::connection::Connection;
use duckdb::error::DuckDBError;
use duckdb::ffi;
use duckdb::query_result::ArrowResultStep;
use duckdb::statement::{PreparedStatement, Statement};
use duckdb::value::Value;
use duckdb::{AsRaw, Error, Result};

type Code = ffi::DUCKDB_V2_ERROR;
type Info = ffi::duckdb_v2_error_info_handle;
type Handle = ffi::duckdb_v2_arrow_result_handle;

unsafe extern "C" {
    fn pintail_statement_execute(
        connection: ffi::duckdb_v2_connection_handle,
        statement: ffi::duckdb_v2_sql_statement_handle,
        names: *const ffi::duckdb_v2_str,
        values: *const ffi::duckdb_v2_value_handle,
        count: u64,
        bytes: u64,
        rows: u64,
        out: *mut Handle,
        error: *mut Info,
    ) -> Code;
    fn pintail_prepared_statement_execute(
        connection: ffi::duckdb_v2_connection_handle,
        statement: ffi::duckdb_v2_prepared_statement_handle,
        names: *const ffi::duckdb_v2_str,
        values: *const ffi::duckdb_v2_value_handle,
        count: u64,
        bytes: u64,
        rows: u64,
        out: *mut Handle,
        error: *mut Info,
    ) -> Code;
    #[cfg(test)]
    safe fn pintail_arrays_fit() -> bool;
}

/// How large arrays are to be, and who makes them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bounds {
    /// Ours: full at so many bytes or rows.
    Bytes(u64, u64),
    /// The engine's own: full at so many rows, however wide.
    Rows(u64),
}

/// Values of parameters as the C API takes them, for as long as their wrappers are borrowed.
struct RawValues<'a> {
    names: Vec<ffi::duckdb_v2_str>,
    handles: Vec<ffi::duckdb_v2_value_handle>,
    borrowed: PhantomData<&'a Value>,
}

impl<'a> RawValues<'a> {
    fn of(values: &[(&'a str, &'a Value)]) -> Self {
        let name = |name: &str| ffi::duckdb_v2_str { ptr: name.as_ptr().cast(), len: name.len() as u64 };
        let names = values.iter().map(|(text, _)| name(text)).collect();
        // SAFETY: the handles are used while `'a` lasts, and the calls copy what is behind them.
        let handles = values.iter().map(|(_, value)| unsafe { value.get_raw() }).collect();
        Self { names, handles, borrowed: PhantomData }
    }

    /// Names, handles and their count. Without elements the pointers are not read.
    fn parts(&self) -> (*const ffi::duckdb_v2_str, *const ffi::duckdb_v2_value_handle, u64) {
        (self.names.as_ptr(), self.handles.as_ptr(), self.names.len() as u64)
    }
}

/// The result of a running statement.
pub(crate) struct Arrays<'connection> {
    handle: Handle,
    connection: PhantomData<&'connection Connection>,
}

impl<'connection> Arrays<'connection> {
    /// Starts a statement with a value for each of its parameters.
    pub(crate) fn of(
        connection: &'connection Connection,
        statement: &Statement<'static>,
        values: &[(&str, &Value)],
        bounds: Bounds,
    ) -> Result<Self> {
        let values = RawValues::of(values);
        let (names, handles, count) = values.parts();
        // SAFETY: the wrappers are borrowed for the length of the call, which copies the statement and the values; `names`
        // and `handles` have `count` elements each. The handle that it writes is owned by the returned value alone.
        Self::started(|out, error| unsafe {
            let (connection, statement) = (connection.get_raw(), statement.get_raw());
            match bounds {
                Bounds::Bytes(bytes, rows) => pintail_statement_execute(
                    connection, statement, names, handles, count, bytes, rows, out, error,
                ),
                Bounds::Rows(rows) => ffi::duckdb_v2_statement_execute_arrow(
                    connection, statement, names, handles, count, rows, out, error,
                ),
            }
        })
    }

    /// Starts a prepared statement of this connection, with a value for each of its parameters.
    pub(crate) fn of_prepared(
        connection: &'connection Connection,
        statement: &PreparedStatement<'_>,
        values: &[(&str, &Value)],
        bounds: Bounds,
    ) -> Result<Self> {
        let values = RawValues::of(values);
        let (names, handles, count) = values.parts();
        // SAFETY: as in `of`.
        Self::started(|out, error| unsafe {
            let prepared = statement.get_raw();
            match bounds {
                Bounds::Bytes(bytes, rows) => pintail_prepared_statement_execute(
                    connection.get_raw(),
                    prepared,
                    names,
                    handles,
                    count,
                    bytes,
                    rows,
                    out,
                    error,
                ),
                Bounds::Rows(rows) => ffi::duckdb_v2_prepared_statement_execute_arrow(
                    prepared, names, handles, count, rows, out, error,
                ),
            }
        })
    }

    fn started(start: impl FnOnce(*mut Handle, *mut Info) -> Code) -> Result<Self> {
        let mut handle = ptr::null_mut();
        checked(|error| start(&mut handle, error))?;
        Ok(Self { handle, connection: PhantomData })
    }

    /// The engine's schema of the arrays.
    pub(crate) fn schema(&self) -> Result<ArrowSchema> {
        let mut schema = ffi::ArrowSchema::empty();
        // SAFETY: the handle is live until `drop`; the engine fills the struct or leaves it released.
        checked(|error| unsafe { ffi::duckdb_v2_arrow_result_get_schema(self.handle, &mut schema, error) })?;
        // SAFETY: filled by the call above, and nobody else has it.
        Ok(unsafe { ArrowSchema::from_raw(schema) })
    }

    /// One bounded unit of execution; never blocks.
    pub(crate) fn step(&mut self) -> Result<ArrowResultStep> {
        use ffi::DUCKDB_V2_RESULT_STEP_STATUS as Status;
        let (mut array, mut status) =
            (ffi::ArrowArray::empty(), Status::DUCKDB_V2_RESULT_STEP_STATUS_WAITING);
        // SAFETY: as in `schema`; `&mut self` keeps other calls away.
        checked(|error| unsafe {
            ffi::duckdb_v2_arrow_result_step(self.handle, &mut array, &mut status, error)
        })?;
        match status {
            Status::DUCKDB_V2_RESULT_STEP_STATUS_WAITING => Ok(ArrowResultStep::Waiting),
            Status::DUCKDB_V2_RESULT_STEP_STATUS_FINISHED => Ok(ArrowResultStep::Finished),
            Status::DUCKDB_V2_RESULT_STEP_STATUS_CANCELLED => Ok(ArrowResultStep::Canceled),
            Status::DUCKDB_V2_RESULT_STEP_STATUS_CHUNK => owned(array)
                .map(ArrowResultStep::Array)
                .ok_or_else(|| Error::api_error("a step of the result told of an array and gave none")),
            other => Err(Error::api_error(format!("a step of the result ended as {other:?}"))),
        }
    }

    /// Blocks until the next array, or the end.
    pub(crate) fn next_array(&mut self) -> Result<Option<ArrowArray>> {
        let mut array = ffi::ArrowArray::empty();
        // SAFETY: as in `step`.
        checked(|error| unsafe { ffi::duckdb_v2_arrow_result_fetch_array(self.handle, &mut array, error) })?;
        Ok(owned(array))
    }
}

impl Drop for Arrays<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is this value's own, and nothing comes after. An error is the engine's about a result nobody
        // wants any more.
        let _ = unsafe { ffi::duckdb_v2_arrow_result_destroy(&mut self.handle) };
    }
}

fn owned(array: ffi::ArrowArray) -> Option<ArrowArray> {
    // SAFETY: the engine filled the struct, which is nobody else's; one that is released holds nothing.
    array.release.is_some().then(|| unsafe { ArrowArray::from_raw(array) })
}

/// Makes a call of the C API and takes over the error that it may end with.
fn checked(call: impl FnOnce(*mut Info) -> Code) -> Result<()> {
    let mut info: Info = ptr::null_mut();
    let code = call(&mut info);
    if code == Code::DUCKDB_V2_ERROR_NONE {
        return Ok(());
    }
    let mut message = String::new();
    if !info.is_null() {
        let mut text = ffi::duckdb_v2_str { ptr: ptr::null(), len: 0 };
        // SAFETY: the engine has made `info` for this error; its text is valid until `info` is destroyed below, and is
        // copied before that.
        unsafe {
            let _ = ffi::duckdb_v2_error_info_get_text(info, &mut text);
            if !text.ptr.is_null() && text.len > 0 {
                let bytes = std::slice::from_raw_parts(text.ptr.cast::<u8>(), text.len as usize);
                message = String::from_utf8_lossy(bytes).into_owned();
            }
            let _ = ffi::duckdb_v2_error_info_destroy(&mut info);
        }
    }
    Err(Error { code: DuckDBError::try_from(code)?, message })
}

#[cfg(test)]
mod tests {
    /// An upgrade of the engine has changed its `ArrowUnit` when this fails.
    #[test]
    fn the_engine_takes_arrays_where_we_put_them() {
        assert!(super::pintail_arrays_fit());
    }
}
