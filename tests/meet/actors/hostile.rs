//! Messages and statements that a server must refuse; each is harmless where it is not refused.
//! Runs on: the task of its client. Never: sends what would hurt the engine; what it sends stands for its kind.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray, Time64MicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::{FlightData, FlightDescriptor};
use futures::{TryStreamExt, stream};
use pintail::client::from_status;
use pintail::error::Kind;
use rand::Rng;
use tonic::Request;

use crate::hand::{Hand, Load, Manner, Outcome, Verdict};
use crate::world::Actor;

pub const ACTOR: Actor = Actor { name: "hostile", clients: 1, step: |hand| Box::pin(step(hand)) };

const REFUSALS: [Kind; 6] =
    [Kind::Invalid, Kind::Unsupported, Kind::Denied, Kind::Exhausted, Kind::Conflict, Kind::NotFound];

/// Statements that change more than tables, or what is not theirs.
const STATEMENTS: [&str; 9] = [
    "CALL disable_logging()",
    "CALL disable_profiling()",
    "SELECT * FROM disable_logging()",
    "SELECT count(*) FROM pintail_segment('0')",
    "WITH d AS (DELETE FROM pintail_internal.ingest_ledger WHERE false RETURNING *) SELECT count(*) FROM d",
    "WITH d AS (UPDATE pintail_internal.schema_versions SET table_name = table_name WHERE false RETURNING *) SELECT 1 FROM d",
    "EXPLAIN ANALYZE DELETE FROM pintail_internal.ingest_ledger WHERE false",
    "SET threads = 2",
    "COMMIT",
];

async fn step(hand: &mut Hand) -> Verdict {
    let calm = Manner::calm();
    match hand.rng.random_range(0..7) {
        0 | 1 => {
            let sql = STATEMENTS[hand.rng.random_range(0..STATEMENTS.len())];
            let outcome = match hand.rng.random_range(0..3) {
                0 => hand.sql(sql, &calm, &REFUSALS).await?.map_done(),
                1 => hand.update(sql, None, &calm, &REFUSALS).await?,
                _ => hand.info(sql, &calm, &REFUSALS).await?.map_done(),
            };
            must_refuse(hand, sql, outcome)?;
        }
        2 => {
            // Deeper than a sensible statement, and shallower than any stack.
            let depth = 900;
            let sql = format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth));
            hand.sql(&sql, &calm, &REFUSALS).await?;
        }
        3 => odd_values(hand).await?,
        4 => wide_type(hand).await?,
        _ => broken_message(hand).await?,
    }
    hand.pause(30).await;
    Ok(())
}

fn must_refuse(hand: &Hand, what: &str, outcome: Outcome<()>) -> Verdict {
    match outcome {
        Outcome::Refused(_) => Ok(()),
        _ => hand.finding(format!("{what} was not refused")),
    }
}

fn labelled(name: &str, column: ArrayRef, extension: Option<&str>) -> RecordBatch {
    let metadata =
        extension.map(|name| HashMap::from([("ARROW:extension:name".to_owned(), name.to_owned())]));
    let field =
        Field::new(name, column.data_type().clone(), true).with_metadata(metadata.unwrap_or_default());
    let k: ArrayRef = Arc::new(Int64Array::from_iter_values(0..column.len() as i64));
    let schema = Schema::new(vec![Field::new("k", DataType::Int64, true), field]);
    RecordBatch::try_new(Arc::new(schema), vec![k, column]).unwrap()
}

/// Values outside of a type's range, and extension types whose storage is not theirs.
async fn odd_values(hand: &mut Hand) -> Verdict {
    let (what, batch) = match hand.rng.random_range(0..3) {
        0 => {
            let late: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![1, 90_000_000_000]));
            ("a time of day of 25:00", labelled("time_of_day", late, None))
        }
        1 => {
            let short = FixedSizeBinaryArray::try_from_iter([[7_u8; 4]].into_iter()).unwrap();
            ("a UUID of four bytes", labelled("id", Arc::new(short), Some("arrow.uuid")))
        }
        _ => {
            let text: ArrayRef = Arc::new(StringArray::from(vec!["{\"open\": "]));
            ("JSON that ends early", labelled("doc", text, Some("arrow.json")))
        }
    };
    let load = Load { table: "odd".into(), put: 0, batches: vec![batch], headers: Vec::new() };
    let outcome = hand.send(&load, &Manner::calm(), &[Kind::Invalid, Kind::Unsupported]).await?.map_done();
    must_refuse(hand, what, outcome)
}

/// A type whose width no integer holds, without a row; with a key, so that it is looked at more closely.
async fn wide_type(hand: &mut Hand) -> Verdict {
    let list = |field: DataType| DataType::FixedSizeList(Arc::new(Field::new("item", field, true)), i32::MAX);
    let schema = Arc::new(Schema::new(vec![Field::new("wide", list(list(DataType::Int64)), true)]));
    let put = hand.world.next_put();
    let table = format!("made_{put}");
    let load = Load { table, put, batches: vec![RecordBatch::new_empty(schema)], headers: Vec::new() };
    let load = load.header("pintail-idempotency-key", format!("wide-{put}"));
    hand.send(&load, &Manner::calm(), &REFUSALS).await?;
    hand.sql(&format!("DROP TABLE IF EXISTS {}", load.table), &Manner::calm(), &[]).await?;
    Ok(())
}

/// A put whose messages are not what they should be.
async fn broken_message(hand: &mut Hand) -> Verdict {
    let load = hand.load("plain", 3);
    let descriptor = FlightDescriptor::new_path(vec!["plain".to_owned()]);
    let mut messages: Vec<FlightData> = arrow_flight::encode::FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(descriptor))
        .build(stream::iter([Ok(load.batches[0].clone())]))
        .try_collect()
        .await
        .unwrap();
    let last = messages.last_mut().unwrap();
    let mut header = last.data_header.to_vec();
    match hand.rng.random_range(0..4) {
        0 => last.data_body = last.data_body.slice(..last.data_body.len() / 2),
        1 => last.data_header = last.data_header.slice(..header.len() / 2),
        2 => {
            let at = hand.rng.random_range(0..header.len());
            header[at] ^= 1 << hand.rng.random_range(0..8);
            last.data_header = header.into();
        }
        _ => last.data_body = bytes::Bytes::new(),
    }
    let is_certain = last.data_body.is_empty();
    // A flipped bit may as well make other rows, so these go to a table that nobody counts.
    let descriptor = FlightDescriptor::new_path(vec![format!("made_{}", load.put)]);
    messages[0].flight_descriptor = Some(descriptor);
    let mut link = hand.link.clone();
    let call = async {
        let answers = link.inner().do_put(Request::new(stream::iter(messages))).await.map_err(from_status)?;
        answers.into_inner().map_err(from_status).try_collect::<Vec<_>>().await.map(drop)
    };
    let outcome = hand.call("a put with a broken message", &Manner::calm(), &REFUSALS, call).await?;
    hand.sql(&format!("DROP TABLE IF EXISTS made_{}", load.put), &Manner::calm(), &[]).await?;
    if is_certain {
        must_refuse(hand, "a message without its body", outcome)?;
    }
    Ok(())
}
