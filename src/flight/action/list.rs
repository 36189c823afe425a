//! ListActions: every action and what it does.

use arrow_flight::ActionType;
use pintail_protocol::action;

/// Actions and what they do.
const ACTIONS: [(&str, &str); 29] = [
    ("BeginTransaction", "opens a transaction; its id goes into statements, and ingest joins it by itself"),
    ("EndTransaction", "commits a transaction or rolls it back"),
    ("CreatePreparedStatement", "prepares a statement; answers its handle, parameters and result schema"),
    ("ClosePreparedStatement", "forgets a prepared statement"),
    ("CancelFlightInfo", "stops the query of a FlightInfo and takes its tickets back"),
    ("CancelQuery", "as CancelFlightInfo, in the older form of Flight SQL"),
    ("RenewFlightEndpoint", "lets the ticket of an endpoint live longer"),
    ("SetSessionOptions", "sets catalog, schema or a pintail-* option for the calls of this session"),
    ("GetSessionOptions", "the options of this session"),
    (
        "CloseSession",
        "gives up the session's transactions, temporary tables, prepared statements and options",
    ),
    (action::STATUS, "sizes, memory, and what is running; answers JSON"),
    (
        action::INGEST_STATUS,
        "where a producer stands, of {\"producer\": name}: newest epoch, and per table the highest durable seq",
    ),
    (
        action::FORGET_LOADS,
        "forgets which files were loaded into a table, of {\"table\": name}; answers JSON with their number of pieces",
    ),
    (
        action::LOAD,
        "loads files of the server's machine, of {\"paths\": [...], \"table\": name, \"mode\", \"on_conflict\", \"idempotency_key\"}, from \
         directories that the operator allows; answers JSON as it goes on",
    ),
    (action::SCHEMAS, "the declared tables, their versions, and where the database differs; answers JSON"),
    (action::SCHEMA_PLAN, "what applying declarations would change; takes and answers JSON"),
    (
        action::SCHEMA_APPLY,
        "applies declarations in one transaction and puts them in force; takes and answers JSON",
    ),
    (
        action::GRANT,
        "grants rights on tables, of {\"user\": name, \"on\": \"schema.table\", \"rights\": [\"read\"], \"where\": condition, \
         \"hide\": [columns]}",
    ),
    (
        action::REVOKE,
        "takes back what was granted, of {\"user\": name, \"on\": \"schema.table\"}; answers JSON",
    ),
    (action::GRANTS, "what users are granted; answers JSON"),
    (action::CHECKPOINT, "writes the log into the database file; answers JSON when done"),
    (
        action::BACKUP,
        "writes a copy of the database on the server's machine, of {\"to\": file name}; answers JSON when done",
    ),
    (action::USERS, "the users and their roles, for an admin; answers JSON"),
    (action::USER_ADD, "adds a user, of {\"name\", \"role\", \"password_hash\"}; for an admin"),
    (
        action::USER_CHANGE,
        "changes a user's \"role\" or \"password_hash\", of {\"name\", ...}; for an admin, one's own password for anybody",
    ),
    (action::USER_REMOVE, "removes a user and their tokens, of {\"name\"}; for an admin"),
    (action::TOKENS, "the API tokens, for an admin, and one's own for anybody; answers JSON"),
    (
        action::TOKEN_ADD,
        "makes an API token, of {\"name\", \"user\", \"role\", \"tables\", \"expires\"}; answers JSON with the \"token\"",
    ),
    (action::TOKEN_REVOKE, "revokes an API token, of {\"name\"}"),
];

/// Every action.
pub(in crate::flight) fn list() -> Vec<ActionType> {
    ACTIONS
        .iter()
        .map(|(name, does)| ActionType { r#type: (*name).into(), description: (*does).into() })
        .collect()
}
