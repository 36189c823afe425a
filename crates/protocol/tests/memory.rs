//! Damaged streams under an allocator that counts: decoding one ends in rows or an error, and takes no more than it may.
//! One test alone in its program, because all threads of one share the count.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

#[path = "../../../tests/support/damaged.rs"]
mod damaged;

use arrow::array::Array;
use arrow_flight::FlightData;
use damaged::Message;
use peak_alloc::PeakAlloc;
use pintail_protocol::decode::{Decoded, Decoder};
use pintail_protocol::error::{Error, Kind};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a batch may unpack to here.
const BYTES_MAX: usize = 1 << 20;
/// What schemas and errors take besides, at most.
const BESIDE: usize = 256 << 10;

fn seeds() -> Vec<Vec<Message>> {
    damaged::streams(|header| arrow::ipc::root_as_message(header).unwrap().bodyLength() as usize)
}

/// A stream of which one message has changed: its place, its header or its body.
fn streams() -> impl Strategy<Value = Vec<Message>> {
    let changes = prop::collection::vec(damaged::change(), 0..5);
    let which = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..5);
    (prop::sample::select(seeds()), changes, which).prop_map(
        |(mut messages, changes, (which, other, part))| {
            let (which, other) = (which.index(messages.len()), other.index(messages.len()));
            match part {
                0 => messages.swap(which, other),
                1 => messages.insert(which, messages[other].clone()),
                2 | 3 => changes.into_iter().for_each(|change| change.make(&mut messages[which].0)),
                _ => changes.into_iter().for_each(|change| change.make(&mut messages[which].1)),
            }
            messages
        },
    )
}

/// Columns whose every value was looked at.
fn decode(messages: Vec<Message>) -> Result<usize, Error> {
    let mut decoder = Decoder::within(BYTES_MAX);
    let mut columns = 0;
    for (header, body) in messages {
        let message =
            FlightData { data_header: header.into(), data_body: body.into(), ..FlightData::default() };
        if let Decoded::Batch(batch, _) = decoder.decode(message)? {
            batch.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
            columns += batch.num_columns();
        }
    }
    Ok(columns)
}

#[test]
fn damaged_streams_end_well_and_take_no_more_than_they_may() {
    // What they damage begins at something that decodes.
    for messages in seeds() {
        assert!(decode(messages).unwrap() > 0);
    }
    let mut runner = TestRunner::new(ProptestConfig { cases: 4000, ..ProptestConfig::default() });
    let ran = runner.run(&streams(), |messages| {
        let sent: usize = messages.iter().map(|(header, body)| header.len() + body.len()).sum();
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let decoded = decode(messages);
        let took = MEMORY.peak_usage().saturating_sub(before);
        prop_assert!(took <= 2 * BYTES_MAX + 4 * sent + BESIDE, "{took} bytes for {sent} sent");
        if let Err(error) = decoded {
            let kinds = [Kind::Invalid, Kind::Exhausted, Kind::Unsupported];
            prop_assert!(kinds.contains(&error.kind()), "{error:?}");
        }
        Ok(())
    });
    ran.unwrap();
}
