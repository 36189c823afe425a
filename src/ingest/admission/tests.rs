//! Permits: given, waited for, given back.

use std::sync::Arc;

use pintail_protocol::decode::Need;

use super::budget::Budget;
use super::intake::Intake;
use super::stream::StreamBudget;

const MIB: usize = 1 << 20;

fn held(bytes: usize) -> Need {
    Need { wire: bytes, held: bytes, expanded: 0 }
}

#[tokio::test]
async fn permits_come_back_when_dropped() {
    let admission = Budget::new(4 * MIB, 2 * MIB, 2);
    let gate = StreamBudget::open(&admission, None).unwrap();
    let permit = gate.acquire(held(MIB)).await;
    assert_eq!(admission.inflight_bytes(), MIB as u64);
    drop(permit);
    assert_eq!(admission.inflight_bytes(), 0);
}

#[tokio::test]
async fn a_batch_above_the_stream_limit_passes_alone() {
    let admission = Budget::new(4 * MIB, MIB, 1);
    let gate = StreamBudget::open(&admission, None).unwrap();
    let _large = gate.acquire(held(64 * MIB)).await;
}

#[tokio::test]
async fn the_stream_limit_is_named_when_hit() {
    let admission = Budget::new(MIB, MIB, 1);
    let _first = StreamBudget::open(&admission, None).unwrap();
    let error = StreamBudget::open(&admission, None).err().unwrap();
    assert!(error.to_string().contains("ingest.max_streams"), "{error}");
}

/// Streams that hold the whole budget without a full unit would wait for ever; one is asked to append.
#[tokio::test]
async fn a_full_budget_presses_the_largest_holder() {
    let admission = Budget::new(4 * MIB, 4 * MIB, 3);
    let (small, large, third) = (
        StreamBudget::open(&admission, None).unwrap(),
        StreamBudget::open(&admission, None).unwrap(),
        StreamBudget::open(&admission, None).unwrap(),
    );
    let _held_small = small.acquire(held(MIB)).await;
    let held_large = large.acquire(held(2 * MIB)).await;
    let waiting = tokio::spawn(async move { third.acquire(held(2 * MIB)).await.bytes() });
    large.pressed().await;
    drop(held_large);
    assert_eq!(waiting.await.unwrap(), 2 * MIB as u64);
}

/// The plain form of a batch has room for a slice, whatever the whole would take; what it turns out not to need
/// goes back.
#[tokio::test]
async fn the_plain_form_has_room_for_a_slice() {
    let admission = Budget::new(8 * MIB, 8 * MIB, 1);
    let gate = StreamBudget::open(&admission, None).unwrap();
    let mut permit = gate.acquire(Need { wire: MIB, held: MIB, expanded: usize::MAX }).await;
    assert_eq!((permit.bytes(), permit.slice_bytes()), (2 * MIB as u64, MIB));
    assert_eq!(admission.inflight_bytes(), 2 * MIB as u64);
    permit.expands_to(MIB / 2);
    assert_eq!(admission.inflight_bytes(), (MIB + MIB / 2) as u64);
    drop(permit);
    assert_eq!(admission.inflight_bytes(), 0);
}

/// Dictionaries never take the room without which no row could go on.
#[tokio::test]
async fn dictionaries_have_a_share_and_rows_pass_beside_them() {
    let admission = Budget::new(8 * MIB, 8 * MIB, 2);
    let mut first = Intake::new(Arc::new(StreamBudget::open(&admission, None).unwrap()));
    let mut second = Intake::new(Arc::new(StreamBudget::open(&admission, None).unwrap()));
    first.dictionary(1, MIB).await.unwrap();
    let error = second.dictionary(1, 2 * MIB).await.unwrap_err().to_string();
    assert!(error.contains("2097152 bytes") && error.contains("ingest.memory_limit"), "{error}");
    second.dictionary(1, MIB).await.unwrap();
    assert_eq!(admission.inflight_bytes(), 2 * MIB as u64);
    let all = second.room(held(64 * MIB)).await;
    assert_eq!(admission.inflight_bytes(), 8 * MIB as u64);
    drop((all, first, second));
    assert_eq!(admission.inflight_bytes(), 0);
}

#[tokio::test]
async fn messages_that_wait_are_counted() {
    let admission = Budget::new(4 * MIB, 4 * MIB, 2);
    let (first, second) =
        (StreamBudget::open(&admission, None).unwrap(), StreamBudget::open(&admission, None).unwrap());
    let all = first.acquire(held(3 * MIB)).await;
    let waiting = tokio::spawn(async move { second.acquire(held(2 * MIB)).await.bytes() });
    first.pressed().await;
    // Permits that it waits for may count as taken already.
    assert!(admission.inflight_bytes() >= 5 * MIB as u64);
    drop(all);
    waiting.await.unwrap();
    assert_eq!(admission.inflight_bytes(), 0);
}
