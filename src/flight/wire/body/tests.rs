//! The same messages come out, however they are cut, and their bodies lie aligned.

use std::convert::Infallible;
use std::future::poll_fn;

use arrow_flight::FlightData;
use futures::executor::block_on;
use proptest::prelude::*;
use prost::Message as _;

use super::*;

/// Frames that are there at once.
struct Frames(VecDeque<Bytes>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// What comes out of `stream`, cut into frames of these lengths, and the bodies beside it.
fn passed(stream: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<Bytes>, bool) {
    let (mut frames, mut rest) = (VecDeque::new(), stream);
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (frame, after) = rest.split_at((*cut).min(rest.len()));
        frames.push_back(Bytes::copy_from_slice(frame));
        rest = after;
    }
    let arrived = Arrived::default();
    let mut body = Aligned::new(Frames(frames), arrived.clone(), &Pool::new(Room::of(1 << 30)), 1 << 20);
    let mut out = Vec::new();
    while let Some(frame) = block_on(poll_fn(|context| Pin::new(&mut body).poll_frame(context))) {
        out.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    let bodies = std::iter::from_fn(|| arrived.bodies().pop_front().map(|arrow| arrow.bytes)).collect();
    (out, bodies, arrived.ended_properly())
}

fn messages(mut stream: &[u8]) -> Vec<FlightData> {
    let mut messages = Vec::new();
    while !stream.is_empty() {
        let length = (&stream[1..]).get_u32() as usize;
        messages.push(FlightData::decode(&stream[PREFIX..PREFIX + length]).unwrap());
        stream = &stream[PREFIX + length..];
    }
    messages
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.extend_from_slice(message);
    framed
}

proptest! {
    /// The same messages come out, and each body lies where arrays may lie.
    #[test]
    fn messages_come_out_as_they_went_in(
        parts in proptest::collection::vec((0_usize..40, 0_usize..9, 0_usize..300, any::<bool>()), 0..6),
        cuts in proptest::collection::vec(1_usize..60, 1..5),
    ) {
        let sent: Vec<FlightData> = parts.iter().map(|(header, more, body, is_last)| FlightData {
            flight_descriptor: None,
            data_header: vec![1; *header].into(),
            // Written by a client that writes its fields in another order.
            app_metadata: if *is_last { Bytes::new() } else { vec![2; *more].into() },
            data_body: (0..*body).map(|byte| u8::try_from(byte % 251).unwrap()).collect::<Vec<_>>().into(),
        }).collect();
        let stream: Vec<u8> = sent.iter().zip(&parts).flat_map(|(message, (_, more, _, is_last))| {
            let mut bytes = message.encode_to_vec();
            if *is_last && *more > 0 {
                bytes.extend([3 << 3 | 2, u8::try_from(*more).unwrap()]);
                bytes.extend(vec![2; *more]);
            }
            framed(&bytes)
        }).collect();
        let (out, bodies, ended) = passed(&stream, &cuts);
        let got = messages(&out);
        prop_assert!(ended);
        prop_assert_eq!(got.len(), sent.len());
        prop_assert_eq!(bodies.len(), sent.len());
        for (((mut got, body), sent), (_, more, ..)) in got.into_iter().zip(bodies).zip(sent).zip(&parts) {
            prop_assert!(got.data_body.is_empty());
            prop_assert!(body.is_empty() || body.as_ptr().align_offset(64) == 0);
            prop_assert_eq!(&body, &sent.data_body);
            prop_assert_eq!(got.app_metadata.len(), *more);
            got.app_metadata = sent.app_metadata.clone();
            got.data_body = body;
            prop_assert_eq!(got, sent);
        }
    }

    /// What is no message of ours is not lost, and nothing panics.
    #[test]
    fn other_bytes_pass(
        message in proptest::collection::vec(any::<u8>(), 0..200),
        flag in 0_u8..3,
        missing in 0_usize..20,
        cuts in proptest::collection::vec(1_usize..60, 1..5),
    ) {
        let mut stream = framed(&message);
        stream[0] = flag;
        stream.truncate(stream.len().saturating_sub(missing));
        let (out, bodies, _) = passed(&stream, &cuts);
        let taken: usize = bodies.iter().map(Bytes::len).sum();
        prop_assert!(out.len() + taken <= stream.len());
        if flag != 0 {
            prop_assert_eq!(out, stream);
        }
    }
}

/// One that is too large is tonic's to refuse, before it is in memory.
#[test]
fn large_messages_pass() {
    let stream = framed(&vec![0; (1 << 20) + 1]);
    let (out, bodies, _) = passed(&stream, &[10_000]);
    assert_eq!(out.len(), stream.len());
    assert_eq!(bodies, [Bytes::new()]);
}

/// A message without room stays with its client until another one is taken; small ones pass.
#[test]
fn messages_wait_for_room() {
    let body = |bytes: usize| {
        framed(&FlightData { data_body: vec![7; bytes].into(), ..FlightData::new() }.encode_to_vec())
    };
    let pool = Pool::new(Room::of(1 << 20));
    let open = |bytes: Vec<u8>| {
        let arrived = Arrived::default();
        let frames = Frames(VecDeque::from([Bytes::from(bytes)]));
        (Aligned::new(frames, arrived.clone(), &pool, 1 << 30), arrived)
    };
    let next = |body: &mut Aligned<Frames>| {
        let mut context = Context::from_waker(futures::task::noop_waker_ref());
        Pin::new(body).poll_frame(&mut context).map(|frame| frame.is_some_and(|frame| frame.is_ok()))
    };
    let (mut large, taken) = open(body(900_000));
    assert_eq!(next(&mut large), Poll::Ready(true));
    let (mut waiting, arrived) = open(body(800_000));
    assert_eq!(next(&mut waiting), Poll::Pending);
    assert_eq!(next(&mut open(body(1000)).0), Poll::Ready(true));
    assert_eq!(taken.body().len(), 900_000);
    assert_eq!(next(&mut waiting), Poll::Pending, "it waits for room in the budget of rows");
    taken.is_taken();
    assert_eq!(next(&mut waiting), Poll::Ready(true));
    assert_eq!(arrived.body(), vec![7; 800_000]);
    // Larger than all of it: alone, and cut off in its midst it gives its room back.
    let (mut huge, _) = open(body(5 << 20));
    assert_eq!(next(&mut huge), Poll::Pending);
    arrived.is_taken();
    assert_eq!(next(&mut huge), Poll::Ready(true));
    drop((huge, waiting, large));
    assert_eq!(next(&mut open(body(1_000_000)).0), Poll::Ready(true));
}
