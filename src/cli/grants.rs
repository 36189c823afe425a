//! `pintail grant`, `pintail revoke`, `pintail grants`: what users may reach, by a running server.
//! Runs on: the task of the command.
//! Never: decides what a grant means; the server checks it against its tables.

use clap::Args;
use pintail::auth::{Grant as Granted, Right, TablePattern, column_names};
use pintail_protocol::action;
use serde_json::{Value, json};

use super::Failure;
use super::accounts::print;
use super::remote::Remote;

/// `pintail grant …`
#[derive(Args)]
pub(super) struct Grant {
    /// Rights: read, ingest, define; several with commas between
    #[arg(required = true, value_delimiter = ',', value_name = "RIGHTS")]
    rights: Vec<Right>,
    /// On what: schema.table, table (of main), schema.*, or * for all; other letters in double quotes, as in main."a.b"
    #[arg(long, value_name = "TABLES")]
    on: TablePattern,
    /// The user who gets them
    #[arg(long, value_name = "NAME")]
    to: String,
    /// There need be no such user yet: for one who is still to come, or comes by JSON web tokens
    #[arg(long)]
    new_user: bool,
    /// Rows that are there for the user, as an SQL condition on the table's columns; others are not
    #[arg(long = "where", value_name = "CONDITION")]
    filter: Option<String>,
    /// Columns that are not there for the user, with commas between; may be given more than once
    #[arg(long, value_name = "COLUMNS")]
    hide: Vec<String>,
    #[command(flatten)]
    remote: Remote,
}

/// `pintail revoke …`
#[derive(Args)]
pub(super) struct Revoke {
    /// On what, as it was granted
    #[arg(long, value_name = "TABLES")]
    on: TablePattern,
    /// The user who had it
    #[arg(long, value_name = "NAME")]
    from: String,
    #[command(flatten)]
    remote: Remote,
}

impl Grant {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self { rights, on, to, new_user, filter, hide, remote } = self;
        let hide: Vec<Vec<String>> =
            hide.iter().map(|names| column_names(names)).collect::<Result<_, _>>().map_err(Failure::Usage)?;
        let hide = hide.concat();
        let named: Vec<&str> = rights.iter().map(|right| right.as_str()).collect();
        let told = format!("{to} may {} {on} from the next statement on", named.join(", "));
        let grant = Granted { on, rights, filter, hide };
        let mut body = json!(grant);
        body["user"] = to.as_str().into();
        body["new_user"] = new_user.into();
        let answer = remote.connect().await?.action_with(action::GRANT, body.to_string()).await?;
        say!("{told}");
        say!("{}", held(&to, &answer));
        Ok(())
    }
}

/// What a user may do after a grant, in a line.
fn held(user: &str, answer: &Value) -> String {
    let grants = answer["grants"].as_array().map_or(0, Vec::len);
    let grants = if grants == 1 { "one grant".to_owned() } else { format!("{grants} grants") };
    match answer["role"].as_str() {
        Some("admin") => format!("{user} is an admin, whom grants do not hold: {user} may do everything"),
        Some(role) => format!("{user}, a {role}, has {grants} now; nothing else is there for them"),
        None => format!(
            "there is no user {user} here: whoever comes by that name has {grants}, and nothing else is there"
        ),
    }
}

impl Revoke {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self { on, from, remote } = self;
        let body = json!({ "user": from, "on": on });
        let answer = remote.connect().await?.action_with(action::REVOKE, body.to_string()).await?;
        say!("revoked what {from} was granted on {on}");
        if answer["grants_left"] == 0 {
            say!(
                "{from} has no grants left: what their role means holds again, everything but the server's own"
            );
        }
        Ok(())
    }
}

/// Lists grants: all of them for an admin, their own for others.
pub(super) async fn list(remote: Remote) -> Result<(), Failure> {
    let answer = remote.connect().await?.action(action::GRANTS).await?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| {
        let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.collect::<Vec<_>>().join(",")
    };
    let row = |one: &Value| {
        let grant = &one["grant"];
        [
            text(&one["user"]),
            text(&grant["on"]),
            texts(&grant["rights"]),
            if grant["in_part"] == true { "(in part)".to_owned() } else { text(&grant["where"]) },
            texts(&grant["hide"]),
            text(&one["from"]),
        ]
    };
    let rows = answer["grants"].as_array().into_iter().flatten().map(row).collect();
    print(
        &["user", "on", "rights", "where", "hide", "from"],
        rows,
        "no grants: everybody has what their role means; `pintail grant` makes one",
    )
}
