//! Every type that a declaration can name: declared from its text, put, and read back as the same values.
//! One server takes all cases; a case is a table of its own, so a failing one shrinks to the least that fails.

mod arrays;
mod kinds;
mod ranges;
mod read;
mod spellings;
mod strategies;

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema, TimeUnit};
use futures::stream;
use pintail::catalog::{parse_type, quote_name, spellings};
use pintail::client::Client;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use serde_json::json;

use crate::support::calls::{rows, table};
use crate::support::server::TestServer;
use arrays::array;
use kinds::{Child, Type, shape};
use ranges::Value;
use read::read;
use spellings::{decimal, scalars, width, zoned};
use strategies::{encodable, types, values};

/// A table, its rows, and how they are cut into batches: first row and length of each, modulo what there is.
#[derive(Debug, Clone)]
struct Case {
    columns: Vec<Child>,
    rows: Vec<Vec<Value>>,
    cuts: Vec<(usize, usize)>,
}

fn cases() -> impl Strategy<Value = Case> {
    let column = (types(), any::<bool>());
    prop::collection::vec(column, 1..4).prop_flat_map(|columns| {
        let columns: Vec<Child> = columns
            .into_iter()
            .enumerate()
            .map(|(place, (what, nullable))| Child { name: format!("c{place}"), what, nullable })
            .collect();
        let row: Vec<_> = columns.iter().map(|column| values(&column.what, column.nullable)).collect();
        let rows = prop::collection::vec(row, 0..12);
        let cuts = prop::collection::vec((0_usize..16, 0_usize..16), 1..4);
        (rows, cuts).prop_map(move |(rows, cuts)| Case { columns: columns.clone(), rows, cuts })
    })
}

fn declaration(columns: &[Child]) -> String {
    let mut text = "mode = \"strict\"\n".to_owned();
    for column in columns {
        let (name, what) = (json!(column.name), json!(column.what.text()));
        writeln!(text, "[[field]]\nname = {name}\ntype = {what}\nnullable = {}", column.nullable).unwrap();
    }
    text
}

/// Declares, puts, reads and compares; says what differs.
async fn round_trip(client: &mut Client, name: &str, case: &Case) -> Result<(), String> {
    for column in &case.columns {
        let text = column.what.text();
        let parsed = parse_type(&text).map_err(|wrong| format!("{text} is not read: {wrong}"))?;
        if parsed.arrow != column.what.arrow() {
            return Err(format!("{text} is read as {}, not {}", parsed.arrow, column.what.arrow()));
        }
    }
    let file = json!({ "name": format!("{name}.toml"), "text": declaration(&case.columns) });
    let body = json!({ "files": [file] }).to_string();
    client.action_with("pintail.schema_apply", body).await.map_err(|error| format!("apply: {error}"))?;
    let column = |place: usize| -> Vec<Value> { case.rows.iter().map(|row| row[place].clone()).collect() };
    let arrays: Vec<ArrayRef> =
        case.columns.iter().enumerate().map(|(place, one)| array(&one.what, &column(place))).collect();
    let schema = Arc::new(Schema::new(case.columns.iter().map(Child::field).collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(case.rows.len()));
    let whole = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options).unwrap();
    let cut = |(from, length): &(usize, usize)| {
        let from = from % (case.rows.len() + 1);
        (from, length % (case.rows.len() - from + 1))
    };
    let cuts: Vec<(usize, usize)> = case.cuts.iter().map(cut).collect();
    let batches: Vec<pintail::error::Result<RecordBatch>> =
        cuts.iter().map(|(from, length)| Ok(whole.slice(*from, *length))).collect();
    let total: usize = cuts.iter().map(|(_, length)| length).sum();
    let answer = client.put(&table(name), schema, stream::iter(batches), &[]).await;
    let answer = answer.map_err(|error| format!("put: {error}"))?;
    if answer.rows != total as u64 {
        return Err(format!("{} rows acknowledged of {total}", answer.rows));
    }
    let found =
        rows(client, &format!("FROM {}", quote_name(name))).await.map_err(|error| format!("get: {error}"))?;
    for (place, one) in case.columns.iter().enumerate() {
        let text = one.what.text();
        if let Some(batch) = found.first() {
            let back = shape(batch.column(place).data_type());
            if back != one.what.back() {
                return Err(format!("{text} comes back as {back}, not {}", one.what.back()));
            }
        }
        let values = column(place);
        let expected: Vec<Value> = cuts
            .iter()
            .flat_map(|(from, length)| &values[*from..from + length])
            .map(|value| one.what.expected(value))
            .collect();
        let found: Vec<Value> = found.iter().flat_map(|batch| read(batch.column(place))).collect();
        if found != expected {
            return Err(format!("{text}: expected {expected:?}, found {found:?}"));
        }
    }
    rows(client, &format!("DROP TABLE {}", quote_name(name)))
        .await
        .map_err(|error| format!("drop: {error}"))?;
    Ok(())
}

/// Each type alone with its extremes and NULL: none is left to chance, and none that is offered is forgotten.
#[tokio::test]
async fn every_spelling_keeps_its_extremes() {
    let mut all = scalars();
    for bits in [32, 64, 128, 256] {
        let most = match bits {
            32 => 9,
            64 => 18,
            _ => 38,
        };
        all.extend(
            [(1, 0), (4, 4), (9, 2), (most, 0), (most, most), (most, 3)].map(|(p, s)| decimal(bits, p, s)),
        );
    }
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        all.extend(["UTC", "Europe/Berlin", "+02:00"].map(|zone| zoned(unit, zone)));
    }
    all.extend([1, 2, 16, 33].map(width));
    let encoded = encodable();
    all.extend(encoded.iter().map(|values| Type::Dictionary {
        index: ("int32", DataType::Int32),
        values: Box::new(values.clone()),
    }));
    all.extend(
        encoded
            .iter()
            .map(|values| Type::Runs { ends: ("int32", DataType::Int32), values: Box::new(values.clone()) }),
    );
    for kind in ["list", "large_list", "list_view", "large_list_view"] {
        for what in encoded.iter().chain(&scalars()) {
            let item = Box::new(Child { name: "item".into(), what: what.clone(), nullable: true });
            all.push(Type::List { kind, item });
        }
    }
    let (own, others) = spellings();
    let texts: Vec<String> = all.iter().map(Type::text).collect();
    // Those with parameters are listed here by hand.
    let is_scalar = |text: &&&str| {
        let is_extension =
            text.starts_with("extension") && !text.contains("variant") && !text.contains("crs=");
        is_extension || !(text.contains(['(', '<', ',']) || text.ends_with("[n]"))
    };
    for spelling in own.iter().chain(&others).filter(is_scalar) {
        assert!(texts.iter().any(|text| text == spelling), "{spelling} is offered and not tested");
    }
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut wrong = Vec::new();
    for (number, what) in all.into_iter().enumerate() {
        let edges = |what: &Type| match what {
            Type::Plain { range, .. } => range.extremes(),
            _ => Vec::new(),
        };
        let mut values = match &what {
            Type::Dictionary { values, .. } | Type::Runs { values, .. } => edges(values),
            Type::List { item, .. } => {
                let mut items = edges(&item.what);
                items.insert(1, Value::Null);
                vec![Value::Items(items.clone()), Value::Items(Vec::new()), Value::Items(items)]
            }
            plain => edges(plain),
        };
        values.insert(1, Value::Null);
        values.push(Value::Null);
        let rows: Vec<Vec<Value>> = values.into_iter().map(|value| vec![value]).collect();
        let columns = vec![Child { name: "x".into(), what, nullable: true }];
        let cuts = vec![(0, rows.len())];
        let case = Case { columns, rows, cuts };
        if let Err(difference) = round_trip(&mut client, &format!("t{number}"), &case).await {
            wrong.push(difference);
        }
    }
    assert!(wrong.is_empty(), "{} types:\n{}", wrong.len(), wrong.join("\n"));
    server.stop().await;
}

/// Any table of any declared types, with any rows, cut into any batches, comes back as it was sent.
#[test]
fn any_declared_table_comes_back_as_it_was_sent() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(TestServer::start());
    let client = tokio::sync::Mutex::new(runtime.block_on(server.client()));
    let number = std::sync::atomic::AtomicUsize::new(0);
    let config = Config { cases: 200, max_shrink_iters: 400, failure_persistence: None, ..Config::default() };
    let done = TestRunner::new(config).run(&cases(), |case| {
        let name = format!("t{}", number.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        runtime.block_on(async {
            let mut client = client.lock().await;
            round_trip(&mut client, &name, &case).await.map_err(TestCaseError::fail)
        })
    });
    match done {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => {
            panic!("{why}\n{}\n{:?}\ncut {:?}", declaration(&case.columns), case.rows, case.cuts)
        }
        Err(other) => panic!("{other}"),
    }
    runtime.block_on(server.stop());
}
