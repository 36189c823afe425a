//! CancelFlightInfo, CancelQuery and RenewFlightEndpoint: what becomes of tickets that were given out.
//! Runs on: the task of the call.

use arrow_flight::sql::{ActionCancelQueryRequest, ActionCancelQueryResult};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo,
    RenewFlightEndpointRequest,
};
use bytes::Bytes;
use prost::Message;

use super::any::{packed, unpack, unreadable, unwrapped};
use crate::error::{Error, Result};
use crate::flight::info::{Polls, expiration};
use crate::flight::request::Ask;
use crate::flight::result::Tickets;

/// Stops the query of a FlightInfo and takes its tickets back.
pub(super) fn cancel_flight_info(
    tickets: &Tickets,
    polls: &Polls,
    ask: &Ask,
    action: &Action,
) -> Result<Bytes> {
    let request = CancelFlightInfoRequest::decode(unwrapped(&action.body))
        .map_err(|error| unreadable(&action.r#type, &error))?;
    let info =
        request.info.ok_or_else(|| Error::invalid("CancelFlightInfo: expected the FlightInfo to cancel"))?;
    cancel(tickets, polls, ask, &info)?;
    let result = CancelFlightInfoResult { status: CancelStatus::Cancelled.into() };
    Ok(result.encode_to_vec().into())
}

/// The same in the older form of Flight SQL.
pub(super) fn cancel_query(tickets: &Tickets, polls: &Polls, ask: &Ask, action: &Action) -> Result<Bytes> {
    let request: ActionCancelQueryRequest = unpack(action)?;
    let info = FlightInfo::decode(request.info).map_err(|error| unreadable(&action.r#type, &error))?;
    cancel(tickets, polls, ask, &info)?;
    // CANCEL_RESULT_CANCELLED of FlightSql.proto.
    Ok(packed(&ActionCancelQueryResult { result: 1 }))
}

/// Lets the ticket of an endpoint live longer.
pub(super) fn renew(tickets: &Tickets, ask: &Ask, action: &Action) -> Result<Bytes> {
    let request = RenewFlightEndpointRequest::decode(unwrapped(&action.body))
        .map_err(|error| unreadable(&action.r#type, &error))?;
    let mut endpoint = request
        .endpoint
        .ok_or_else(|| Error::invalid("RenewFlightEndpoint: expected the endpoint to renew"))?;
    let ticket = endpoint.ticket.clone().unwrap_or_default();
    tickets.renew(&ticket.ticket, &ask.caller.principal)?;
    endpoint.expiration_time = Some(expiration());
    Ok(endpoint.encode_to_vec().into())
}

/// Takes the tickets of `info` back and stops what fetches them.
fn cancel(tickets: &Tickets, polls: &Polls, ask: &Ask, info: &FlightInfo) -> Result<()> {
    let principal = &ask.caller.principal;
    let polled = polls.cancel(&info.app_metadata, principal);
    let issued = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
    let cancelled = issued.filter(|ticket| tickets.cancel(&ticket.ticket, principal)).count();
    if polled || cancelled > 0 {
        return Ok(());
    }
    Err(Error::not_found(
        "nothing to cancel: the FlightInfo is unknown, has expired, or was cancelled before",
    ))
}
