//! The ways in which a statement comes, each with its outcome as text.

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandStatementUpdate, ProstMessageExt};
use arrow_flight::{FlightData, FlightDescriptor, Ticket};
use futures::{TryStreamExt, stream};
use pintail::client::Client;
use prost::Message;
use tonic::Status;

use crate::support::batches::{batch, ids};
use crate::support::session::exchange;

/// Ways in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// GetFlightInfo, then DoGet.
    Plain,
    /// DoGet of the text.
    Ticket,
    /// GetSchema: nothing runs.
    Schema,
    /// CreatePreparedStatement, its FlightInfo, DoGet.
    Prepared,
    /// CommandStatementUpdate, alone and after another statement.
    Script,
    /// DoExchange.
    Exchange,
}

impl Way {
    pub(super) const ALL: [Way; 6] =
        [Way::Plain, Way::Ticket, Way::Schema, Way::Prepared, Way::Script, Way::Exchange];
}

fn text(batches: &[RecordBatch]) -> String {
    pretty_format_batches(batches).unwrap().to_string()
}

/// What the statement gives on this way.
pub(super) async fn run(client: &mut Client, way: Way, sql: &str) -> Result<String, Status> {
    match way {
        Way::Plain => {
            let descriptor = FlightDescriptor::new_cmd(sql.to_owned());
            let info = client.inner().get_flight_info(descriptor).await?.into_inner();
            let ticket = info.endpoint[0].ticket.clone().unwrap();
            let schema = format!("{:?}", info.try_decode_schema().unwrap());
            Ok(schema + &fetched(client, ticket).await?)
        }
        Way::Ticket => fetched(client, Ticket::new(sql.to_owned())).await,
        Way::Schema => {
            let descriptor = FlightDescriptor::new_cmd(sql.to_owned());
            let schema = client.inner().get_schema(descriptor).await?.into_inner();
            Ok(format!("{:?}", arrow::datatypes::Schema::try_from(&schema).unwrap()))
        }
        Way::Prepared => {
            let mut client = FlightSqlServiceClient::new_from_inner(client.inner().clone());
            let mut prepared = client.prepare(sql.to_owned(), None).await.map_err(Status::from)?;
            let schema = prepared.dataset_schema().map(|schema| format!("{schema:?}")).unwrap_or_default();
            let info = prepared.execute().await.map_err(Status::from)?;
            let ticket = info.endpoint[0].ticket.clone().unwrap();
            let batches: Vec<RecordBatch> = client
                .do_get(ticket)
                .await
                .map_err(Status::from)?
                .try_collect()
                .await
                .map_err(Status::from)?;
            Ok(schema + &text(&batches))
        }
        Way::Script => {
            updated(client, &format!("SELECT 1; {sql}")).await?;
            updated(client, sql).await
        }
        Way::Exchange => {
            let batches = exchange(client, sql, vec![batch(vec![("a", ids(&[1, 2]))])]).await?;
            Ok(text(&batches))
        }
    }
}

async fn fetched(client: &mut Client, ticket: Ticket) -> Result<String, Status> {
    let messages = client.inner().do_get(ticket).await?.into_inner().map_err(Into::into);
    let batches = arrow_flight::decode::FlightRecordBatchStream::new_from_flight_data(messages);
    let batches: Vec<RecordBatch> = batches.try_collect().await.map_err(Status::from)?;
    Ok(text(&batches))
}

async fn updated(client: &mut Client, sql: &str) -> Result<String, Status> {
    let command = CommandStatementUpdate { query: sql.to_owned(), transaction_id: None };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let message = FlightData { flight_descriptor: Some(descriptor), ..Default::default() };
    let mut answers = client.inner().do_put(stream::iter([message])).await?.into_inner();
    answers.message().await?;
    Ok(String::new())
}
