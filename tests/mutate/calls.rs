//! All other calls, with damaged bytes in them: tickets, commands, actions, headers, credentials.

use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionEndTransactionRequest, CommandPreparedStatementQuery,
    CommandStatementQuery, ProstMessageExt,
};
use arrow_flight::{Action, CancelFlightInfoRequest, Criteria, FlightDescriptor, FlightInfo, Ticket};
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use crate::damaged::{damaged, files, lines};
use crate::raw::{call, connect};
use crate::watch::Watch;
use crate::{Choices, messages};

/// Calls between two looks at the server.
const CALLS: u64 = 500;

/// Calls on one connection, which is a session: a transaction that one of them left broken refuses those after it.
const CALLS_OF_A_SESSION: u64 = 20;

/// Actions that a damaged body may reach. Those that end a session or write files are left out, and so is what changes users: the
/// well-behaved client is not to be shut out.
const ACTIONS: [&str; 20] = [
    "BeginTransaction",
    "EndTransaction",
    "CreatePreparedStatement",
    "ClosePreparedStatement",
    "CancelFlightInfo",
    "CancelQuery",
    "RenewFlightEndpoint",
    "SetSessionOptions",
    "GetSessionOptions",
    "pintail.status",
    "pintail.ingest_status",
    "pintail.forget_loads",
    "pintail.schemas",
    "pintail.schema_plan",
    "pintail.grant",
    "pintail.revoke",
    "pintail.grants",
    "pintail.users",
    "pintail.token_add",
    "pintail.token_revoke",
];

fn query(sql: &str) -> Vec<u8> {
    CommandStatementQuery { query: sql.into(), transaction_id: None }.as_any().encode_to_vec()
}

/// What a ticket or a command may be.
fn commands(ticket: &[u8]) -> Vec<Vec<u8>> {
    let handle = Bytes::from_static(b"0123456789abcdef");
    let prepared =
        CommandPreparedStatementQuery { prepared_statement_handle: handle }.as_any().encode_to_vec();
    let mut seeds = files("commands");
    seeds.extend([query("SELECT 1"), b"SELECT * FROM kept LIMIT 3".to_vec(), prepared, ticket.to_vec()]);
    seeds
}

/// What an action's body may be.
fn bodies(ticket: &[u8]) -> Vec<Vec<u8>> {
    let handle = Bytes::from_static(b"0123456789abcdef");
    let info = FlightInfo::new().with_descriptor(FlightDescriptor::new_cmd("SELECT 1"));
    let endpoint = arrow_flight::FlightEndpoint::new().with_ticket(Ticket::new(ticket.to_vec()));
    let cancel = CancelFlightInfoRequest::new(info.with_endpoint(endpoint)).encode_to_vec();
    let end = ActionEndTransactionRequest { transaction_id: handle.clone(), action: 1 };
    let close = ActionClosePreparedStatementRequest { prepared_statement_handle: handle };
    let mut seeds = [files("actions"), lines("actions.txt")].concat();
    seeds.extend([cancel, end.as_any().encode_to_vec(), close.as_any().encode_to_vec()]);
    seeds
}

/// A call: its method, its headers and its messages.
type Call = (&'static str, Vec<(String, String)>, Vec<Bytes>);

/// Any call.
fn calls(ticket: &[u8]) -> impl Strategy<Value = Call> {
    let readable = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let header = damaged(lines("headers.txt")).prop_map(move |line| {
        let line = readable(line);
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        (name.to_owned(), value.to_owned())
    });
    let headers = prop::collection::vec(header, 0..2);
    let described =
        damaged(commands(ticket)).prop_map(|bytes| FlightDescriptor::new_cmd(bytes).encode_to_vec()).boxed();
    let by_path = damaged(vec![b"main".to_vec(), b"kept".to_vec()]).prop_map(move |bytes| {
        FlightDescriptor::new_path(vec![readable(bytes), "kept".to_owned()]).encode_to_vec()
    });
    let ticket = damaged(commands(ticket)).prop_map(|bytes| Ticket::new(bytes).encode_to_vec());
    let action = (prop::sample::select(ACTIONS.to_vec()), damaged(bodies(b"\0pintail\x010123456789abcdef")))
        .prop_map(|(name, body)| Action::new(name, body).encode_to_vec());
    let criteria = damaged(vec![b"kept".to_vec()])
        .prop_map(|expression| Criteria { expression: expression.into() }.encode_to_vec());
    let one = prop_oneof![
        3 => (Just("DoGet"), ticket),
        2 => (Just("GetFlightInfo"), described.clone()),
        1 => (Just("GetSchema"), described.clone()),
        1 => (Just("PollFlightInfo"), described),
        1 => (Just("GetSchema"), by_path),
        3 => (Just("DoAction"), action),
        1 => (Just("ListFlights"), criteria),
    ];
    // In one of eight calls the message around the bytes is damaged as well.
    (one, headers, prop::collection::vec(crate::damaged::change(), 0..3), 0..8).prop_map(
        |((method, mut bytes), headers, changes, chance)| {
            if chance == 0 {
                changes.into_iter().for_each(|change| change.make(&mut bytes));
            }
            (method, headers, vec![bytes.into()])
        },
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_calls_end_in_a_status_and_the_server_goes_on() {
    let mut watch = Watch::start().await;
    let mut client = pintail::client::Client::connect(&watch.uri()).await.unwrap();
    let info =
        client.inner().get_flight_info(FlightDescriptor::new_cmd("SELECT 1")).await.unwrap().into_inner();
    let ticket = info.endpoint[0].ticket.clone().unwrap().ticket;
    let mut channel = connect(&watch.uri()).await;
    let strategy = calls(&ticket);
    let mut choices = Choices::seeded(1).remove(0);
    let wanted = messages();
    for done in 1..=wanted {
        let (method, headers, messages) = choices.next(&strategy);
        let outcome = call(&channel, method, &headers, messages.clone()).await;
        watch.note(outcome, &|| format!("{method} with {headers:?} and {messages:?}"));
        if done % CALLS_OF_A_SESSION == 0 {
            channel = connect(&watch.uri()).await;
        }
        if done % CALLS == 0 {
            watch.look().await;
        }
    }
    watch.look().await;
    watch.end(wanted, "damaged calls");
}
