//! `pintail user` and `pintail token`: by a running server, or in a database file.
//! Runs on: the main thread; against a server, on the task of the command.
//! Never: sends a password (its hash is enough), or takes one from the command line.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use pintail::auth::{Accounts, NewToken, Role, TablePattern, hash_password};
use pintail::config;
use pintail::engine::Database;
use pintail::error::{Error, Result};
use pintail_protocol::action;
use serde_json::{Value, json};

use super::private::keep_private;
use super::remote::{Remote, ask};
use super::{Failure, block_on, schema};

/// `pintail user …`
#[derive(Subcommand)]
pub(super) enum User {
    /// Add a user; asks for the password, or reads it from PINTAIL_NEW_PASSWORD or standard input
    Add {
        /// The user's name
        name: String,
        /// reader, writer or admin
        #[arg(long, default_value = "reader")]
        role: Role,
        /// Without a password: for a user who comes by certificate or token alone
        #[arg(long)]
        no_password: bool,
        #[command(flatten)]
        place: Place,
    },
    /// List the users and their roles
    List(Place),
    /// Remove a user and their tokens
    Remove {
        /// The user's name
        name: String,
        /// The last admin too, after whom nobody can change users and grants
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Change a user's password; asks for it, or reads it from PINTAIL_NEW_PASSWORD or standard input
    Passwd {
        /// The user's name
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Change a user's role
    Role {
        /// The user's name
        name: String,
        /// reader, writer or admin
        role: Role,
        /// The last admin too, after whom nobody can change users and grants
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Print the hash of a password, for [[auth.users]] of the configuration; needs no server
    Hash,
}

/// `pintail token …`
#[derive(Subcommand)]
pub(super) enum Token {
    /// Make an API token and print it, once
    Add {
        /// The token's name
        name: String,
        /// Whose it is [default: who asks]
        #[arg(long = "for", value_name = "NAME")]
        owner: Option<String>,
        /// The role it gives at most: reader, writer or admin
        #[arg(long, default_value = "reader")]
        role: Role,
        /// Tables that it reaches: table, schema.table or schema.*; may be given more than once [default: all]
        #[arg(long = "table", value_name = "PATTERN")]
        tables: Vec<TablePattern>,
        /// When it expires, such as 90d or 12h; "never" for a token without an end
        #[arg(long, default_value = "90d", value_name = "SPAN")]
        expires: String,
        #[command(flatten)]
        place: Place,
    },
    /// List the API tokens
    List(Place),
    /// Revoke an API token
    Revoke {
        /// The token's name
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the users are.
#[derive(Args)]
pub(super) struct Place {
    #[command(flatten)]
    remote: Remote,
    /// Work on this database file instead; no server may have it open
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
}

impl User {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            User::Add { name, role, no_password, place } => {
                let hash = if no_password { None } else { Some(new_hash(&name)?) };
                let body = json!({ "name": name, "role": role, "password_hash": hash });
                place.change(action::USER_ADD, &body, |accounts| accounts.add_user(&name, role, hash))?;
                say!("added user {name} ({role})");
            }
            User::List(place) => {
                let users = place.read(action::USERS, |accounts| json!({ "users": accounts.users() }))?;
                let rows = list(&users["users"], |user| {
                    let password = if user["password"] == true { "password" } else { "no password" };
                    [text(user, "name"), text(user, "role"), password.to_owned(), text(user, "from")]
                });
                print(
                    &["user", "role", "login", "from"],
                    rows,
                    "no users yet; `pintail user add NAME` makes one",
                )?;
            }
            User::Remove { name, force, place } => {
                let body = json!({ "name": name, "force": force });
                place.change(action::USER_REMOVE, &body, |accounts| accounts.remove_user(&name, force))?;
                say!("removed user {name} and their tokens");
            }
            User::Passwd { name, place } => {
                let hash = Some(new_hash(&name)?);
                let body = json!({ "name": name, "password_hash": hash });
                place.change(action::USER_CHANGE, &body, |accounts| {
                    accounts.change_user(&name, None, hash, false)
                })?;
                say!("changed the password of {name}");
            }
            User::Role { name, role, force, place } => {
                let body = json!({ "name": name, "role": role, "force": force });
                let change = |accounts: &Accounts| accounts.change_user(&name, Some(role), None, force);
                place.change(action::USER_CHANGE, &body, change)?;
                say!("user {name} is now {role}");
            }
            User::Hash => say!("{}", new_hash("the new user")?),
        }
        Ok(())
    }
}

impl Token {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Token::Add { name, owner, role, tables, expires, place } => {
                let expires = expiry(&expires).map_err(Failure::Usage)?;
                let body = json!({
                    "name": name, "user": owner, "role": role, "tables": tables, "expires": expires,
                });
                let add = |accounts: &Accounts| {
                    let user = owner
                        .ok_or_else(|| Error::invalid("expected the user whose token it is (--for NAME)"))?;
                    let token = accounts.add_token(NewToken { name, user, role, tables, expires })?;
                    Ok(json!({ "token": token }))
                };
                let answer = place.run(action::TOKEN_ADD, &body, add)?;
                say!("{}", text(&answer, "token"));
            }
            Token::List(place) => {
                let tokens = place.read(action::TOKENS, |accounts| json!({ "tokens": accounts.tokens() }))?;
                let rows = list(&tokens["tokens"], |token| {
                    let tables: Vec<&str> =
                        token["tables"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                    let tables = if tables.is_empty() { "all".to_owned() } else { tables.join(" ") };
                    let expires = token["expires"].as_i64().map_or("never".to_owned(), date);
                    [text(token, "name"), text(token, "user"), text(token, "role"), tables, expires]
                });
                let titles = ["token", "user", "role", "tables", "expires"];
                print(&titles, rows, "no tokens yet; `pintail token add NAME` makes one")?;
            }
            Token::Revoke { name, place } => {
                let body = json!({ "name": name });
                place.change(action::TOKEN_REVOKE, &body, |accounts| accounts.revoke_token(&name))?;
                say!("revoked token {name}");
            }
        }
        Ok(())
    }
}

impl Place {
    /// Makes a change: by the action on a server, or by `on_file` in a database file.
    fn change(
        &self,
        action: &str,
        body: &Value,
        on_file: impl FnOnce(&Accounts) -> Result<()>,
    ) -> Result<(), Failure> {
        self.run(action, body, |accounts| on_file(accounts).map(|()| Value::Null)).map(|_| ())
    }

    fn read(&self, action: &str, on_file: impl FnOnce(&Accounts) -> Value) -> Result<Value, Failure> {
        self.run(action, &Value::Null, |accounts| Ok(on_file(accounts)))
    }

    fn run(
        &self,
        action: &str,
        body: &Value,
        on_file: impl FnOnce(&Accounts) -> Result<Value>,
    ) -> Result<Value, Failure> {
        let Some(file) = &self.database else {
            return block_on(async {
                let mut client = self.remote.connect().await?;
                Ok(client.action_with(action, body.to_string()).await?)
            });
        };
        let database = open(file)?;
        let accounts = Accounts::open(&database, &config::Auth::default())?;
        let answer = on_file(&accounts)?;
        database.checkpoint()?;
        Ok(answer)
    }
}

fn open(file: &Path) -> Result<std::sync::Arc<Database>, Failure> {
    keep_private(file);
    Database::open(schema::options(file.display().to_string())).map_err(|error| {
        Failure::Usage(error.context("leave --database away to ask the server that has it open"))
    })
}

/// The hash of a password that is typed twice, or comes from the environment or another program.
fn new_hash(name: &str) -> Result<String, Failure> {
    let password = match std::env::var("PINTAIL_NEW_PASSWORD") {
        Ok(password) => password,
        Err(_) if std::io::stdin().is_terminal() => {
            let password = ask(&format!("New password of {name}: "))?;
            if ask("Once more: ")? != password {
                return Err(Failure::Usage(Error::invalid("the two passwords differ")));
            }
            password
        }
        Err(_) => {
            let mut text = String::new();
            std::io::stdin().take(64 << 10).read_to_string(&mut text)?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    hash_password(&password).map_err(Failure::Usage)
}

/// When a token made now expires, in seconds since 1970.
fn expiry(span: &str) -> Result<Option<i64>> {
    if span == "never" {
        return Ok(None);
    }
    let span = humantime::parse_duration(span).map_err(|_| {
        Error::invalid(format!("--expires: expected a span such as 90d or 12h, or never, found \"{span}\""))
    })?;
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + span;
    Ok(i64::try_from(at.as_secs()).ok())
}

fn date(seconds: i64) -> String {
    let at = UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    humantime::format_rfc3339_seconds(at).to_string()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn list<const N: usize>(values: &Value, row: impl Fn(&Value) -> [String; N]) -> Vec<[String; N]> {
    values.as_array().into_iter().flatten().map(row).collect()
}

/// Prints rows under their titles, in columns.
pub(super) fn print<const N: usize>(
    titles: &[&str; N],
    rows: Vec<[String; N]>,
    none: &str,
) -> Result<(), Failure> {
    if rows.is_empty() {
        say!("{none}");
        return Ok(());
    }
    let mut lines = vec![titles.map(ToOwned::to_owned)];
    lines.extend(rows);
    let widths: Vec<usize> = (0..N)
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    for line in &lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        say!("{}", cells.join("  ").trim_end());
    }
    Ok(())
}
