//! A connection to a server: queries, listings and actions.
//! Runs on: async tasks of the caller.
//! Never: holds more than one batch of a stream.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, Criteria, FlightData, FlightInfo, Ticket};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use pintail_protocol::status::from_status;
use tonic::Request;

use crate::connect::{self, Authorized, ConnectOptions};
use crate::error::{Error, Result};

/// A connection to a Pintail server.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use arrow::array::{Int64Array, RecordBatch};
/// use futures::{TryStreamExt, stream};
/// use pintail_client::error::Result;
/// use pintail_client::{Client, TableName};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let mut client = Client::connect("grpc://127.0.0.1:8815").await?;
///
/// let numbers = Arc::new(Int64Array::from(vec![1, 2, 3]));
/// let batch = RecordBatch::try_from_iter([("n", numbers as _)])?;
/// let table = TableName::from_text("numbers")?;
/// let headers = [("pintail-mode", "create_append".to_owned())];
/// let answer = client.put(&table, batch.schema(), stream::iter([Ok(batch)]), &headers).await?;
/// assert!(answer.durable);
///
/// let rows = client.query("SELECT sum(n) FROM numbers", &[]).await?;
/// let batches: Vec<RecordBatch> = rows.batches.try_collect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) inner: FlightServiceClient<Authorized>,
    pub(super) channel: Authorized,
}

/// A result: its schema at once, its rows as they come.
pub struct Rows {
    /// Schema of the batches.
    pub schema: SchemaRef,
    /// The batches.
    pub batches: BoxStream<'static, Result<RecordBatch>>,
}

impl Client {
    /// Connects to `grpc://host:port` or `grpc+tls://host:port`, without credentials.
    ///
    /// Errors: as [`Client::connect_with`].
    pub async fn connect(uri: &str) -> Result<Self> {
        Self::connect_with(uri, &ConnectOptions::default()).await
    }

    /// Connects as somebody.
    ///
    /// Errors: `Invalid` for a URI that cannot be used, `Unavailable` when nobody listens there, `Unauthenticated` when
    /// the server's certificate is not to be trusted. Credentials are checked by the first call.
    pub async fn connect_with(uri: &str, options: &ConnectOptions) -> Result<Self> {
        Ok(Self::of(connect::connect(uri, options).await?))
    }

    /// A client over a connection of one's own making, such as one inside of a process.
    pub fn over(channel: tonic::transport::Channel) -> Self {
        Self::of(connect::over(channel))
    }

    fn of(channel: Authorized) -> Self {
        let inner = FlightServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
        Self { inner, channel }
    }

    /// Runs one statement and streams its result. `headers` are the request headers.
    pub async fn query(&mut self, sql: &str, headers: &[(&'static str, String)]) -> Result<Rows> {
        let mut request = Request::new(Ticket::new(sql.to_owned()));
        for (name, value) in headers {
            let value = value.parse().map_err(|_| Error::invalid(format!("header {name} is not ASCII")))?;
            request.metadata_mut().insert(*name, value);
        }
        let messages = self.inner.do_get(request).await.map_err(from_status)?.into_inner();
        let mut decoder = pintail_protocol::decode::Decoder::default();
        let mut messages = messages.map_err(from_status).boxed();
        let schema = loop {
            let message =
                messages.next().await.ok_or_else(|| Error::internal("the server sent no schema"))??;
            if let pintail_protocol::decode::Decoded::Schema(schema) = decoder.decode(message)? {
                break schema;
            }
        };
        let batches = messages.filter_map(move |message: Result<FlightData>| {
            let decoded = message.and_then(|message| decoder.decode(message));
            std::future::ready(match decoded {
                Ok(pintail_protocol::decode::Decoded::Batch(batch, _)) => Some(Ok(batch)),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            })
        });
        Ok(Rows { schema, batches: batches.boxed() })
    }

    /// Every table and view of the server.
    pub async fn list(&mut self) -> Result<Vec<FlightInfo>> {
        self.flights().await?.try_collect().await
    }

    /// The same, one by one: the schemas of a large catalog take more memory than one wants to hold.
    pub async fn flights(&mut self) -> Result<BoxStream<'static, Result<FlightInfo>>> {
        let flights = self.inner.list_flights(Criteria::default()).await.map_err(from_status)?;
        Ok(flights.into_inner().map_err(from_status).boxed())
    }

    /// Runs an action that takes nothing and gives its JSON answer.
    pub async fn action(&mut self, name: &str) -> Result<serde_json::Value> {
        self.action_with(name, String::new()).await
    }

    /// Runs an action on `body`, which is JSON, and gives its JSON answer.
    pub async fn action_with(&mut self, name: &str, body: String) -> Result<serde_json::Value> {
        let answers = self.inner.do_action(Action::new(name, body)).await.map_err(from_status)?;
        let answer = answers.into_inner().message().await.map_err(from_status)?;
        let answer =
            answer.ok_or_else(|| Error::internal("the server ended the action without an answer"))?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| Error::internal(format!("the server's answer cannot be read: {error}")))
    }

    /// The connection, for other services of the server.
    pub fn channel(&self) -> Authorized {
        self.channel.clone()
    }

    /// The generated client, for calls this one does not wrap.
    pub fn inner(&mut self) -> &mut FlightServiceClient<Authorized> {
        &mut self.inner
    }
}
