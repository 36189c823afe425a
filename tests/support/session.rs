//! Calls that sessions are made of, as any client sends them: actions, options, transactions, ingest.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{
    ActionEndTransactionRequest, Any, CommandStatementIngest, CommandStatementQuery, ProstMessageExt,
    TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use arrow_flight::{Action, FlightData, FlightDescriptor};
use futures::{Stream, TryStreamExt, stream};
use pintail::client::Client;
use prost::Message;
use tonic::{Request, Status};

/// `SetSessionOptionsRequest` and its kin.
pub mod options {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Value {
        #[prost(string, optional, tag = "1")]
        pub text: Option<String>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Options {
        #[prost(map = "string, message", tag = "1")]
        pub options: std::collections::HashMap<String, Value>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Refused {
        #[prost(int32, tag = "1")]
        pub why: i32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Answer {
        #[prost(map = "string, message", tag = "1")]
        pub refused: std::collections::HashMap<String, Refused>,
    }
}

/// Runs an action with a header, and gives its one answer.
pub async fn act_with(
    client: &mut Client,
    header: Option<(&'static str, &str)>,
    name: &str,
    body: Vec<u8>,
) -> Result<Vec<u8>, Status> {
    let mut request = Request::new(Action::new(name, body));
    if let Some((name, value)) = header {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let mut answers = client.inner().do_action(request).await?.into_inner();
    Ok(answers.message().await?.map(|answer| answer.body.to_vec()).unwrap_or_default())
}

pub async fn act(client: &mut Client, name: &str, body: Vec<u8>) -> Result<Vec<u8>, Status> {
    act_with(client, None, name, body).await
}

/// The body of a request to set one option.
pub fn option(name: &str, value: Option<&str>) -> Vec<u8> {
    let value = options::Value { text: value.map(str::to_owned) };
    options::Options { options: HashMap::from([(name.to_owned(), value)]) }.encode_to_vec()
}

pub async fn set(client: &mut Client, name: &str, value: Option<&str>) -> HashMap<String, options::Refused> {
    let answer = act(client, "SetSessionOptions", option(name, value)).await.unwrap();
    options::Answer::decode(answer.as_slice()).unwrap().refused
}

pub async fn get(client: &mut Client, name: &str) -> Option<String> {
    let answer = act(client, "GetSessionOptions", Vec::new()).await.unwrap();
    let options = options::Options::decode(answer.as_slice()).unwrap().options;
    options.get(name).and_then(|value| value.text.clone())
}

pub async fn begin(client: &mut Client) -> bytes::Bytes {
    let answer = act(client, "BeginTransaction", Vec::new()).await.unwrap();
    let any = Any::decode(answer.as_slice()).unwrap();
    any.unpack::<arrow_flight::sql::ActionBeginTransactionResult>().unwrap().unwrap().transaction_id
}

pub const COMMIT: i32 = 1;
pub const ROLLBACK: i32 = 2;

pub async fn end(client: &mut Client, id: &bytes::Bytes, action: i32) -> Result<(), Status> {
    let request = ActionEndTransactionRequest { transaction_id: id.clone(), action };
    act(client, "EndTransaction", request.as_any().encode_to_vec()).await.map(|_| ())
}

/// The descriptor of a Flight SQL statement.
pub fn statement(sql: &str, transaction: Option<&bytes::Bytes>) -> FlightDescriptor {
    let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: transaction.cloned() };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

/// A Flight SQL ingest that makes its table where it is not there.
pub fn ingest_into(table: &str, if_exists: TableExistsOption) -> CommandStatementIngest {
    CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: TableNotExistOption::Create as i32,
            if_exists: if_exists as i32,
        }),
        table: table.to_owned(),
        ..Default::default()
    }
}

/// A Flight SQL ingest that makes its table, or appends to it.
pub fn ingest_command(table: &str, catalog: Option<&str>, temporary: bool) -> CommandStatementIngest {
    let catalog = catalog.map(str::to_owned);
    CommandStatementIngest { catalog, temporary, ..ingest_into(table, TableExistsOption::Append) }
}

/// Sends rows for a command and waits for the answer.
pub async fn ingest(
    client: &mut Client,
    command: CommandStatementIngest,
    batches: Vec<RecordBatch>,
) -> Result<(), Status> {
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let messages: Vec<FlightData> = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(descriptor))
        .build(stream::iter(batches.into_iter().map(Ok)))
        .try_collect()
        .await
        .unwrap();
    let mut answers = client.inner().do_put(stream::iter(messages)).await?.into_inner();
    answers.message().await?.map(|_| ()).ok_or_else(|| Status::internal("no answer"))
}

/// Uploads rows to a statement and gives its result.
pub async fn exchange(
    client: &mut Client,
    sql: &str,
    batches: Vec<RecordBatch>,
) -> Result<Vec<RecordBatch>, arrow_flight::error::FlightError> {
    let descriptor = FlightDescriptor::new_cmd(sql.to_owned());
    if batches.is_empty() {
        return exchange_messages(client, stream::iter([FlightData::new().with_descriptor(descriptor)]))
            .await;
    }
    let messages: Vec<FlightData> = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(descriptor))
        .build(stream::iter(batches.into_iter().map(Ok)))
        .try_collect()
        .await
        .unwrap();
    exchange_messages(client, stream::iter(messages)).await
}

/// As [`exchange`], with messages as they come.
pub async fn exchange_messages(
    client: &mut Client,
    messages: impl Stream<Item = FlightData> + Send + 'static,
) -> Result<Vec<RecordBatch>, arrow_flight::error::FlightError> {
    let answers = client.inner().do_exchange(messages).await?.into_inner();
    arrow_flight::decode::FlightRecordBatchStream::new_from_flight_data(answers.map_err(Into::into))
        .try_collect()
        .await
}

/// Waits until the server's status says this of its sessions, seen from a connection that holds nothing.
pub async fn wait_for(watcher: &mut Client, what: &str, number: u64) {
    let started = Instant::now();
    loop {
        let status = watcher.action("pintail.status").await.unwrap();
        if status["session"][what] == number {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{what} never became {number}: {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
