//! What is recorded -> the rows of the tables `pintail.*`.
//! Runs on: the thread of the SELECT; pure.

use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use arrow::array::{
    ArrayRef, Float64Array, ListBuilder, MapBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::audit::{Accounted, outcome};
use super::entry::{Ended, Live, ProducerLine, milliseconds};
use super::words::Words;
use crate::error::Result;

/// Stages of a statement that have a column.
const QUERY_STAGES: [&str; 4] = ["queue", "prepare", "first_batch", "stream"];
/// And of a put.
const PUT_STAGES: [&str; 6] = ["queue", "decode", "plain", "conform", "append", "commit"];

/// The columns of a table; `None` when there is none of that name.
pub(super) fn schema(table: &str) -> Option<SchemaRef> {
    static SCHEMAS: LazyLock<Vec<(&'static str, SchemaRef)>> = LazyLock::new(|| {
        // As the rows have them, so that the two cannot differ.
        let tables = [
            ("queries", queries(&[], &[])),
            ("ingest", ingest(&[])),
            ("audit", audit(&[])),
            ("settings", pairs(&[])),
            ("metrics", metrics("")),
            ("producers", producers(&[])),
        ];
        tables.into_iter().filter_map(|(name, rows)| Some((name, rows.ok()?.schema()))).collect()
    });
    SCHEMAS.iter().find(|(name, _)| *name == table).map(|(_, schema)| Arc::clone(schema))
}

/// Columns that are put together by name.
#[derive(Default)]
struct Columns(Vec<Field>, Vec<ArrayRef>);

impl Columns {
    fn add(&mut self, name: &str, array: ArrayRef) {
        self.0.push(Field::new(name, array.data_type().clone(), true));
        self.1.push(array);
    }

    fn texts<T: AsRef<str>>(&mut self, name: &str, values: impl Iterator<Item = Option<T>>) {
        self.add(name, Arc::new(values.collect::<StringArray>()));
    }

    fn numbers(&mut self, name: &str, values: impl Iterator<Item = Option<u64>>) {
        self.add(name, Arc::new(values.collect::<UInt64Array>()));
    }

    fn reals(&mut self, name: &str, values: impl Iterator<Item = Option<f64>>) {
        self.add(name, Arc::new(values.collect::<Float64Array>()));
    }

    fn times(&mut self, name: &str, values: impl Iterator<Item = SystemTime>) {
        let micros = |at: SystemTime| {
            let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        };
        let array = TimestampMicrosecondArray::from_iter_values(values.map(micros)).with_timezone("UTC");
        self.add(name, Arc::new(array));
    }

    fn lists<'a>(&mut self, name: &str, values: impl Iterator<Item = &'a [String]>) {
        let mut lists = ListBuilder::new(StringBuilder::new());
        for value in values {
            value.iter().for_each(|text| lists.values().append_value(text));
            lists.append(true);
        }
        self.add(name, Arc::new(lists.finish()));
    }

    fn rows(self) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(Arc::new(Schema::new(self.0)), self.1)?)
    }
}

fn filled(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// `pintail.queries`: statements that have ended, and those under way.
pub(super) fn queries(ended: &[Arc<Ended>], running: &[(Arc<Live>, Arc<Words>)]) -> Result<RecordBatch> {
    let mut columns = Columns::default();
    // Both kinds, one after the other.
    macro_rules! both {
        ($kind:ident, $name:literal, |$done:ident| $of_done:expr, |$live:ident, $words:ident| $of_live:expr) => {
            columns.$kind(
                $name,
                ended.iter().map(|$done| $of_done).chain(running.iter().map(|($live, $words)| {
                    let _ = ($live, $words);
                    $of_live
                })),
            )
        };
    }
    both!(numbers, "id", |done| Some(done.id), |live, _words| Some(live.id));
    both!(times, "started", |done| done.started, |live, _words| live.started);
    both!(texts, "user", |done| Some(done.who.user.as_str()), |live, _words| Some(live.who.user.as_str()));
    both!(texts, "token", |done| done.who.token.as_deref(), |live, _words| live.who.token.as_deref());
    both!(texts, "peer", |done| Some(done.who.peer()), |live, _words| Some(live.who.peer()));
    both!(texts, "method", |done| Some(done.method), |live, _words| Some(live.method));
    both!(texts, "statement", |done| Some(done.words.text.as_str()), |_live, words| Some(
        words.text.as_str()
    ));
    both!(texts, "fingerprint", |done| filled(&done.words.fingerprint), |_live, words| filled(
        &words.fingerprint
    ));
    both!(lists, "tables", |done| done.words.tables.as_slice(), |_live, words| words.tables.as_slice());
    both!(texts, "outcome", |done| Some(outcome(done.status)), |_live, _words| Some("running"));
    both!(texts, "status", |done| Some(done.status), |_live, _words| None);
    both!(texts, "error", |done| filled(&done.error), |_live, _words| None);
    both!(reals, "ms", |done| Some(milliseconds(done.took)), |live, _words| live
        .started
        .elapsed()
        .ok()
        .map(milliseconds));
    for stage in QUERY_STAGES {
        let values =
            ended.iter().map(|done| done.stages.milliseconds(stage)).chain(running.iter().map(|_| None));
        columns.reals(&format!("{stage}_ms"), values);
    }
    both!(numbers, "rows", |done| Some(done.rows), |live, _words| Some(live.rows()));
    both!(numbers, "bytes", |done| Some(done.bytes), |live, _words| Some(live.bytes()));
    both!(numbers, "memory_before", |done| Some(done.memory_before), |live, _words| Some(live.memory_before));
    both!(numbers, "memory_after", |done| Some(done.memory_after), |_live, _words| None);
    both!(texts, "trace_id", |done| done.trace.as_deref(), |live, _words| live.trace.as_deref());
    columns.rows()
}

/// `pintail.ingest`: puts that have ended.
pub(super) fn ingest(puts: &[Arc<Ended>]) -> Result<RecordBatch> {
    let mut columns = Columns::default();
    columns.numbers("id", puts.iter().map(|put| Some(put.id)));
    columns.times("started", puts.iter().map(|put| put.started));
    columns.texts("user", puts.iter().map(|put| Some(put.who.user.as_str())));
    columns.texts("token", puts.iter().map(|put| put.who.token.as_deref()));
    columns.texts("peer", puts.iter().map(|put| Some(put.who.peer())));
    columns.texts("method", puts.iter().map(|put| Some(put.method)));
    columns.texts("table", puts.iter().map(|put| Some(put.words.text.as_str())));
    columns.texts("key", puts.iter().map(|put| put.key.as_deref()));
    columns.texts("producer", puts.iter().map(|put| put.producer.as_deref()));
    let outcome = |put: &Arc<Ended>| if put.is_duplicate { "duplicate" } else { outcome(put.status) };
    columns.texts("outcome", puts.iter().map(|put| Some(outcome(put))));
    columns.texts("status", puts.iter().map(|put| Some(put.status)));
    columns.texts("error", puts.iter().map(|put| filled(&put.error)));
    columns.reals("ms", puts.iter().map(|put| Some(milliseconds(put.took))));
    for stage in PUT_STAGES {
        columns.reals(&format!("{stage}_ms"), puts.iter().map(|put| put.stages.milliseconds(stage)));
    }
    columns.numbers("rows", puts.iter().map(|put| Some(put.rows)));
    columns.numbers("bytes", puts.iter().map(|put| Some(put.bytes)));
    columns.numbers("memory_before", puts.iter().map(|put| Some(put.memory_before)));
    columns.numbers("memory_after", puts.iter().map(|put| Some(put.memory_after)));
    columns.texts("trace_id", puts.iter().map(|put| put.trace.as_deref()));
    columns.rows()
}

/// `pintail.audit`: who did what, from where, with which tables, and what became of it.
pub(super) fn audit(accounted: &[Arc<Accounted>]) -> Result<RecordBatch> {
    let mut columns = Columns::default();
    columns.times("at", accounted.iter().map(|one| one.at));
    columns.numbers("call", accounted.iter().map(|one| Some(one.call).filter(|call| *call > 0)));
    columns.texts("user", accounted.iter().map(|one| Some(one.who.user.as_str())));
    columns.texts("token", accounted.iter().map(|one| one.who.token.as_deref()));
    columns.texts("role", accounted.iter().map(|one| one.who.role));
    columns.texts("peer", accounted.iter().map(|one| Some(one.who.peer())));
    columns.texts("method", accounted.iter().map(|one| Some(one.method)));
    columns.texts("action", accounted.iter().map(|one| Some(one.deed.as_str())));
    columns.texts("what", accounted.iter().map(|one| Some(one.words.text.as_str())));
    columns.lists("tables", accounted.iter().map(|one| one.words.tables.as_slice()));
    columns.texts("outcome", accounted.iter().map(|one| Some(outcome(one.status))));
    columns.texts("status", accounted.iter().map(|one| Some(one.status)));
    columns.texts("error", accounted.iter().map(|one| filled(&one.error)));
    columns.numbers("rows", accounted.iter().map(|one| Some(one.rows)));
    columns.texts("trace_id", accounted.iter().map(|one| one.trace.as_deref()));
    columns.rows()
}

/// `pintail.producers`: where each producer stands with each table.
pub(super) fn producers(lines: &[ProducerLine]) -> Result<RecordBatch> {
    let mut columns = Columns::default();
    columns.texts("producer", lines.iter().map(|line| Some(line.producer.as_str())));
    columns.numbers("epoch", lines.iter().map(|line| Some(line.epoch)));
    columns.texts("table", lines.iter().map(|line| Some(line.table.as_str())));
    columns.numbers("seq", lines.iter().map(|line| Some(line.seq)));
    columns.numbers("rows", lines.iter().map(|line| Some(line.rows)));
    columns.rows()
}

/// `pintail.settings`: the configuration in force.
pub(super) fn pairs(settings: &[(String, String)]) -> Result<RecordBatch> {
    let mut columns = Columns::default();
    columns.texts("name", settings.iter().map(|(name, _)| Some(name)));
    columns.texts("value", settings.iter().map(|(_, value)| Some(value)));
    columns.rows()
}

/// Settings by their full names, of a configuration that is written without secrets.
pub(super) fn settings(toml: &str) -> Vec<(String, String)> {
    fn flatten(prefix: &str, value: &toml::Value, found: &mut Vec<(String, String)>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    flatten(&name, value, found);
                }
            }
            toml::Value::String(text) => found.push((prefix.to_owned(), text.clone())),
            other => found.push((prefix.to_owned(), other.to_string())),
        }
    }
    let mut found = Vec::new();
    if let Ok(table) = toml.parse::<toml::Table>() {
        flatten("", &toml::Value::Table(table), &mut found);
    }
    found
}

/// `pintail.metrics`: the samples of `/metrics`.
pub(super) fn metrics(text: &str) -> Result<RecordBatch> {
    let samples: Vec<_> = text.lines().filter_map(sample).collect();
    let mut labels = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for (_, own, _) in &samples {
        for (key, value) in own {
            labels.keys().append_value(key);
            labels.values().append_value(value);
        }
        labels.append(true)?;
    }
    let mut columns = Columns::default();
    columns.texts("name", samples.iter().map(|(name, ..)| Some(*name)));
    columns.add("labels", Arc::new(labels.finish()));
    columns.reals("value", samples.iter().map(|(.., value)| Some(*value)));
    columns.rows()
}

/// A sample's name, labels and value.
type Sample<'a> = (&'a str, Vec<(String, String)>, f64);

/// A line of Prometheus' text format: name, labels, value. Labels here have neither quotes nor commas in their values.
fn sample(line: &str) -> Option<Sample<'_>> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.trim_end_matches('}').split("\",").filter_map(|pair| {
        let (key, value) = pair.split_once("=\"")?;
        Some((key.to_owned(), value.trim_end_matches('"').to_owned()))
    });
    Some((name, labels.collect(), value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, TimeUnit};

    use super::*;

    #[test]
    fn tables_have_columns_and_no_others_are_there() {
        let schema = schema("queries").unwrap();
        assert_eq!(
            schema.field_with_name("started").unwrap().data_type(),
            &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        );
        assert!(super::schema("Queries").is_none() && super::schema("x").is_none());
    }

    #[test]
    fn settings_are_flat_and_metrics_have_labels() {
        let found = settings("a = 1\n[server]\nlisten = \"x\"\n[[auth.users]]\nname = \"ada\"\n");
        assert!(
            found.contains(&("a".into(), "1".into()))
                && found.contains(&("server.listen".into(), "x".into()))
        );
        let (name, labels, value) = sample("calls_total{method=\"DoPut\",code=\"OK\"} 17").unwrap();
        assert_eq!((name, value), ("calls_total", 17.0));
        assert_eq!(labels, [("method".into(), "DoPut".into()), ("code".into(), "OK".into())]);
        assert_eq!(sample("plain 0.5").unwrap(), ("plain", vec![], 0.5));
        assert!(sample("# HELP plain x").is_none());
        assert_eq!(metrics("# TYPE a b\na 1\nb{c=\"d\"} 2\n").unwrap().num_rows(), 2);
    }
}
