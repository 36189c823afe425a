//! POST /query: one statement, with values for its parameters -> its result, or the count of changed rows.
//! Runs on: the task of the call.
//! Never: answers for a change before it was made; turns a parameter into text.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use ::http::{HeaderMap, HeaderValue, Response};
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, NullArray, RecordBatch, RecordBatchOptions,
    StringArray, UInt64Array,
};
use arrow::datatypes::{Field, Schema};
use axum::body::Body;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tonic::metadata::MetadataMap;

use super::answer::{Answer, media_type, wanted};
use super::error::Refused;
use super::media::media_of;
use crate::engine::{self, Class, Described};
use crate::error::{Error, Result};
use crate::flight::request::{Ask, Call, CallOptions, Caller, checked_sql};
use crate::flight::result::{Fetch, Results, count_changed, fetch_bound};
use crate::flight::server::FlightServer;
use crate::query::ResultStream;
use crate::session::{BoundRows, ClientSession, On, Prepared};
use crate::written::Form;

/// Longest body: an SQL text has 4 MiB at most, and JSON may write each of its letters as six.
const BODY_BYTES_MAX: usize = 32 << 20;
/// Rows that become text at one time.
const TEXT_ROWS: usize = 4_096;

/// A statement as JSON says it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    sql: String,
    #[serde(default)]
    parameters: Option<Parameters>,
}

/// Values for the parameters of a statement: `?` and `$1` in order, `$name` by name.
enum Parameters {
    Listed(Vec<Box<RawValue>>),
    Named(BTreeMap<String, Box<RawValue>>),
}

// By hand, because serde's untagged enums do not keep raw values.
impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let read = match raw.get().as_bytes().first() {
            Some(b'[') => serde_json::from_str(raw.get()).map(Parameters::Listed),
            Some(b'{') => serde_json::from_str(raw.get()).map(Parameters::Named),
            _ => return Err(serde::de::Error::custom("parameters: expected a list or an object")),
        };
        read.map_err(serde::de::Error::custom)
    }
}

/// Runs the statement in a request's body.
pub(super) async fn query(
    server: &FlightServer,
    caller: Caller,
    headers: &HeaderMap,
    request: Body,
    (mut call, open): (Call, watch::Receiver<()>),
) -> Result<Response<Body>, Refused> {
    call.slow_after(server.slow_query);
    let begun = begin(server, &caller, headers, request, &mut call).await;
    let (form, result) = match begun {
        Ok(begun) => begun,
        Err(Begun::Counted(rows)) => {
            call.rows = rows;
            call.ok();
            let text = format!("{}\n", serde_json::json!({ "rows": rows }));
            return Ok(response("application/json", Body::from(text)));
        }
        Err(Begun::Refused(refused)) => {
            call.failed(refused.error().clone());
            return Err(refused);
        }
    };
    let metadata = MetadataMap::from_headers(headers.clone());
    let options = CallOptions::new(&metadata, &caller.session);
    let how = options.form().and_then(|types| Ok((types, options.compression()?)));
    let (types, compression) = how.map_err(|error| Refused::from(call.failed(error)))?;
    let answer = Answer::new(result, form, (types, compression), (caller, open), call)?;
    Ok(response(media_type(form), Body::from_stream(answer)))
}

fn response(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Why there is no result to stream.
enum Begun {
    /// The change was made.
    Counted(u64),
    Refused(Refused),
}

impl<E: Into<Refused>> From<E> for Begun {
    fn from(error: E) -> Self {
        Begun::Refused(error.into())
    }
}

async fn begin(
    server: &FlightServer,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
    call: &mut Call,
) -> Result<(Form, ResultStream), Begun> {
    let form = wanted(headers)?;
    let Asked { sql, parameters } = asked(headers, body).await?;
    let sql = checked_sql(sql)?;
    call.statement(&sql);
    let metadata = MetadataMap::from_headers(headers.clone());
    let mut run = Ask::new(caller.clone(), &metadata)?.run;
    if form != Form::Arrow {
        run.batch_rows_max = Some(run.batch_rows_max.unwrap_or(TEXT_ROWS).min(TEXT_ROWS));
    }
    // Whoever looks at what runs wants to know how far it is.
    run.progress = Some(Arc::default());
    let (results, session) = (server.infos.results(), &caller.session);
    let fetch = match parameters {
        None => Fetch::Statement { sql, on: On::Auto, owner: session.owner() },
        Some(parameters) => bound(results, session, sql, parameters).await?,
    };
    let mut result = results.open(&fetch, run, call).await?;
    if result.class() != Class::Query && *result.schema() == Described::count().schema {
        return Err(Begun::Counted(count_changed(result).await?));
    }
    result.wait_first().await?;
    Ok((form, result))
}

/// The statement in a body.
async fn asked(headers: &HeaderMap, body: Body) -> Result<Asked, Refused> {
    let kind = media_of(headers)?;
    let is_json = match kind.as_str() {
        "application/sql" | "text/plain" => false,
        "application/json" => true,
        other => {
            return Err(Refused::media_type(format!(
                "header content-type: expected application/sql or text/plain for a statement, or application/json for \
                 {{\"sql\": …, \"parameters\": […]}}, found \"{other}\""
            )));
        }
    };
    let bytes = axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|error| Error::invalid(format!("cannot read the body: {error}")))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::invalid("the body is not UTF-8"))?;
    if !is_json {
        return Ok(Asked { sql: text.to_owned(), parameters: None });
    }
    Ok(serde_json::from_str(text).map_err(|error| {
        Error::invalid(format!("expected JSON {{\"sql\": \"…\", \"parameters\": […]}}: {error}"))
    })?)
}

/// A statement over values for its parameters, once.
async fn bound(
    results: &Results,
    session: &Arc<ClientSession>,
    sql: String,
    parameters: Parameters,
) -> Result<Fetch> {
    let lease = session.lease(On::Auto).await?;
    let text = sql.clone();
    let described =
        results.query.catalog(lease, move |connection| engine::describe(connection, &text)).await?;
    let batch = row(parameters)?;
    engine::match_columns(&described.parameters, &batch.schema())?;
    let room = session.room(batch.get_array_memory_size())?;
    let prepared = Arc::new(Prepared::new(sql, described, On::Auto, None));
    prepared.bind(BoundRows { schema: batch.schema(), batches: vec![batch], room: vec![room] });
    fetch_bound(results, session, &prepared).await
}

/// Values as one row, numbers as they are written.
fn row(parameters: Parameters) -> Result<RecordBatch> {
    let named: Vec<(String, Box<RawValue>)> = match parameters {
        Parameters::Listed(values) => {
            values.into_iter().enumerate().map(|(index, value)| ((index + 1).to_string(), value)).collect()
        }
        Parameters::Named(values) => values.into_iter().collect(),
    };
    let mut fields = Vec::with_capacity(named.len());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(named.len());
    for (name, value) in named {
        let column =
            value_of(value.get()).map_err(|why| Error::invalid(format!("parameter {name}: {why}")))?;
        fields.push(Field::new(name, column.data_type().clone(), true));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

fn value_of(text: &str) -> std::result::Result<ArrayRef, String> {
    Ok(match text.as_bytes().first() {
        Some(b'n') => Arc::new(NullArray::new(1)),
        Some(b't' | b'f') => Arc::new(BooleanArray::from(vec![text == "true"])),
        Some(b'"') => {
            let text: String = serde_json::from_str(text).map_err(|error| error.to_string())?;
            Arc::new(StringArray::from(vec![text]))
        }
        Some(b'[' | b'{') => {
            return Err(
                "expected a number, a text, true, false or null; give lists and objects as their text"
                    .to_owned(),
            );
        }
        _ if text.contains(['.', 'e', 'E']) => {
            let number: f64 = text.parse().map_err(|_| "is no number".to_owned())?;
            Arc::new(Float64Array::from(vec![number]))
        }
        _ => match (text.parse::<i64>(), text.parse::<u64>()) {
            (Ok(number), _) => Arc::new(Int64Array::from(vec![number])),
            (_, Ok(number)) => Arc::new(UInt64Array::from(vec![number])),
            _ => return Err("is beyond 64 bits; give it as a text and cast that in the statement".to_owned()),
        },
    })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn parameters_keep_what_was_written() {
        let asked: Asked = serde_json::from_str(
            r#"{"sql": "SELECT ?", "parameters": [1, 18446744073709551615, 1.5, "x\n", true, null]}"#,
        )
        .unwrap();
        let batch = row(asked.parameters.unwrap()).unwrap();
        let types: Vec<DataType> =
            batch.schema().fields().iter().map(|field| field.data_type().clone()).collect();
        assert_eq!(
            types,
            [
                DataType::Int64,
                DataType::UInt64,
                DataType::Float64,
                DataType::Utf8,
                DataType::Boolean,
                DataType::Null
            ]
        );
        for (wrong, why) in
            [("[18446744073709551616]", "beyond 64 bits"), ("[[1]]", "lists"), ("{\"a\": {}}", "a:")]
        {
            let asked: Asked =
                serde_json::from_str(&format!("{{\"sql\": \"\", \"parameters\": {wrong}}}")).unwrap();
            let error = row(asked.parameters.unwrap()).unwrap_err();
            assert!(error.message().contains(why), "{error}");
        }
        assert!(serde_json::from_str::<Asked>(r#"{"sql": "", "parameters": 1}"#).is_err());
        assert!(serde_json::from_str::<Asked>(r#"{"sql": "", "params": []}"#).is_err());
    }
}
