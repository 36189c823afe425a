//! Sessions, tickets, transactions and prepared statements are their maker's alone.

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{FlightDescriptor, Ticket};
use pintail::client::{Authorized, Client};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

use super::{PASSWORD, asks, user, users};
use crate::support::server::TestServer;

async fn fetch(client: &mut Client, ticket: &Ticket, cookie: Option<&str>) -> Result<(), Status> {
    let mut request = Request::new(ticket.clone());
    if let Some(cookie) = cookie {
        request.metadata_mut().insert("cookie", MetadataValue::try_from(cookie).unwrap());
    }
    client.inner().do_get(request).await?.into_inner().message().await.map(|_| ())
}

fn sql(client: &mut Client) -> FlightSqlServiceClient<Authorized> {
    let inner: FlightServiceClient<Authorized> = client.inner().clone();
    FlightSqlServiceClient::new_from_inner(inner)
}

#[tokio::test]
async fn a_ticket_of_somebody_else_is_unknown() {
    let server = TestServer::start_with(users).await;
    let mut wanda = server.client_as(&user("wanda", PASSWORD)).await.unwrap();
    // Not even an admin's: what a ticket gives was allowed to whom it was given.
    let mut root = server.client_as(&user("root", PASSWORD)).await.unwrap();
    let info =
        wanda.inner().get_flight_info(FlightDescriptor::new_cmd("SELECT 7")).await.unwrap().into_inner();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    assert_eq!(fetch(&mut root, &ticket, None).await.unwrap_err().code(), Code::NotFound);
    let cancel = arrow_flight::CancelFlightInfoRequest { info: Some(info) };
    let body = prost::Message::encode_to_vec(&cancel);
    let action = arrow_flight::Action::new("CancelFlightInfo", body);
    assert_eq!(root.inner().do_action(action.clone()).await.unwrap_err().code(), Code::NotFound);
    fetch(&mut wanda, &ticket, None).await.unwrap();
    wanda.inner().do_action(action).await.unwrap();
}

#[tokio::test]
async fn transactions_and_prepared_statements_of_somebody_else_are_unknown() {
    let server = TestServer::start_with(users).await;
    let mut wanda = server.client_as(&user("wanda", PASSWORD)).await.unwrap();
    let mut root = server.client_as(&user("root", PASSWORD)).await.unwrap();
    let transaction = sql(&mut wanda).begin_transaction().await.unwrap();
    let error = sql(&mut root).execute("SELECT 1".to_owned(), Some(transaction.clone())).await.unwrap_err();
    assert!(error.to_string().contains("unknown transaction"), "{error}");
    sql(&mut wanda).execute("SELECT 1".to_owned(), Some(transaction)).await.unwrap();
}

#[tokio::test]
async fn a_cookie_of_somebody_else_opens_nothing() {
    let server = TestServer::start_with(users).await;
    let mut wanda = server.client_as(&user("wanda", PASSWORD)).await.unwrap();
    let options = "arrow_flight_session_id";
    let response = wanda.inner().do_action(arrow_flight::Action::new("GetSessionOptions", "")).await.unwrap();
    let cookie = response.metadata().get("set-cookie").unwrap().to_str().unwrap().to_owned();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with(options));
    crate::support::calls::rows(&mut wanda, "CREATE TEMP TABLE mine AS SELECT 42 AS secret").await.unwrap();
    let ticket = Ticket::new("FROM mine");
    fetch(&mut wanda, &ticket, Some(&cookie)).await.unwrap();
    let mut root = server.client_as(&user("root", PASSWORD)).await.unwrap();
    let error = fetch(&mut root, &ticket, Some(&cookie)).await.unwrap_err();
    assert_eq!(error.code(), Code::Aborted, "{error}");
    assert!(error.message().contains("is not known"), "{error}");
    asks(&mut wanda).await.unwrap();
}
