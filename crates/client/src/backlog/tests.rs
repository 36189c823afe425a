//! The backlog: cut between calls, acknowledged in order, bounded.

use std::sync::Arc;

use super::*;
use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, Schema};

fn shared(options: ProducerOptions) -> Shared {
    Shared {
        producer: "p".into(),
        epoch: 0,
        uri: String::new(),
        table: TableName::from_text("t").unwrap(),
        schema: Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)])),
        options,
        state: watch::Sender::new(Backlog::default()),
    }
}

fn batch(shared: &Shared, rows: usize) -> RecordBatch {
    let column = Int64Array::from_iter_values(0..rows as i64);
    RecordBatch::try_new(Arc::clone(&shared.schema), vec![Arc::new(column)]).unwrap()
}

fn seqs_and_rows(shared: &Shared) -> Vec<(u64, usize)> {
    shared.state.borrow().queue.iter().map(|one| (one.seq, one.batch.num_rows())).collect()
}

/// Rows of one call stay together; a batch is closed when the next rows would not fit.
#[tokio::test]
async fn batches_are_cut_between_calls() {
    let shared = shared(ProducerOptions { batch_rows: 10, ..ProducerOptions::default() });
    for rows in [4, 5, 3, 10, 1] {
        shared.take(batch(&shared, rows)).await.unwrap();
    }
    assert_eq!(seqs_and_rows(&shared), [(0, 9), (1, 3), (2, 10)]);
    shared.state.send_modify(|state| shared.seal(state));
    assert_eq!(seqs_and_rows(&shared).last(), Some(&(3, 1)));
}

/// An acknowledgement covers every number up to it; one of the past or the future is refused.
#[tokio::test]
async fn acknowledgements_are_cumulative() {
    let shared = shared(ProducerOptions { linger: Duration::ZERO, ..ProducerOptions::default() });
    for rows in [1, 2, 3, 4] {
        shared.take(batch(&shared, rows)).await.unwrap();
    }
    let mut outcome = Ok(());
    shared.state.send_modify(|state| outcome = state.acknowledge(Some(2)));
    outcome.unwrap();
    assert_eq!(shared.state.borrow().durable, Durable { seq: Some(2), rows: 6 });
    assert_eq!(seqs_and_rows(&shared), [(3, 4)]);
    assert_eq!(shared.state.borrow().batch_from(0).map(|one| one.seq), Some(3));
    assert!(shared.state.borrow().batch_from(4).is_none());
    for (seq, part) in [(Some(4), "none above batch 3"), (Some(1), "has lost batches"), (None, "none is")] {
        let mut refused = Ok(());
        shared.state.send_modify(|state| refused = state.acknowledge(seq));
        let refused = refused.unwrap_err();
        assert!(refused.kind() == Kind::Conflict && refused.message().contains(part), "{refused}");
    }
}

/// A full buffer holds `send` up until an acknowledgement makes room; a batch larger than it goes alone.
#[tokio::test]
async fn a_full_buffer_holds_the_caller_up() {
    let options = ProducerOptions { buffer_bytes: 800, ..ProducerOptions::default() };
    let shared = Arc::new(shared(options));
    shared.take(batch(&shared, 1000)).await.unwrap();
    let waiting = tokio::spawn({
        let shared = Arc::clone(&shared);
        async move { shared.take(batch(&shared, 10)).await }
    });
    let mut changes = shared.state.subscribe();
    // The open rows get their number, because nothing else would make room.
    drop(changes.wait_for(|state| state.queue.len() == 1).await.unwrap());
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    shared.state.send_modify(|state| state.acknowledge(Some(0)).unwrap());
    waiting.await.unwrap().unwrap();
    assert_eq!(shared.state.borrow().open_rows, 10);
}
