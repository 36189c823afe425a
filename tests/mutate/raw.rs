//! Calls of Flight with bytes in the place of messages, as no client library would send them.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures::stream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// No call takes this long; one that does has hung.
const PATIENCE: Duration = Duration::from_secs(60);
/// Results are read to their end, but a damaged query may have very many rows.
const ANSWERS_MAX: usize = 50;

/// Messages as their bytes.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}

/// A connection of its own.
pub async fn connect(uri: &str) -> Channel {
    Endpoint::from_shared(uri.replace("grpc://", "http://")).unwrap().connect().await.unwrap()
}

/// Sends a call and reads its answers; headers that HTTP does not have are left out.
pub async fn call(
    channel: &Channel,
    method: &str,
    headers: &[(String, String)],
    messages: Vec<Bytes>,
) -> Result<usize, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(usize::MAX);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut request = Request::new(stream::iter(messages));
    for (name, value) in headers {
        let name = AsciiMetadataKey::from_bytes(name.trim().to_ascii_lowercase().as_bytes());
        if let (Ok(name), Ok(value)) = (name, AsciiMetadataValue::try_from(value.trim().as_bytes())) {
            request.metadata_mut().insert(name, value);
        }
    }
    let path = format!("/arrow.flight.protocol.FlightService/{method}").parse().unwrap();
    let work = async {
        let mut answers = client.streaming(request, path, Raw).await?.into_inner();
        let mut count = 0;
        while count < ANSWERS_MAX && answers.message().await?.is_some() {
            count += 1;
        }
        Ok(count)
    };
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{method} hangs"))
}
