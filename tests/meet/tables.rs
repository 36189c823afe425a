//! The tables that actors share, and how they are made.
//! Runs on: the driver's task.
//! Never: holds anything that the books do not know.

use pintail::error::Kind;

use super::hand::{Finding, Hand, Manner, Outcome, Verdict};
use super::rows::{COLUMNS, DECLARED, DECLARED_V};

/// Tables of which every write replaces the whole content.
pub const LAST_WINS: &[&str] = &["latest", "shared", "kept"];
/// Tables whose rows are told by key.
pub const UPSERTED: &[&str] = &["owned"];

/// Tables that an actor makes for one step have this in their names.
const PASSING: [&str; 2] = ["made_", "grow_"];

pub fn is_passing(table: &str) -> bool {
    PASSING.iter().any(|part| table.contains(part))
}

/// The body of `pintail.schema_apply` for one declaration.
pub fn declaration(table: &str, head: &str, fields: &str) -> String {
    let text = format!("name = '{table}'\n{head}\n{DECLARED}{fields}");
    serde_json::json!({ "files": [{ "name": format!("{table}.toml"), "text": text }] }).to_string()
}

/// A declared table that takes new columns.
pub const LENIENT: &str = "mode = 'lenient'\non_new_column = 'add'";

async fn run(hand: &Hand, sql: &str) -> Verdict {
    match hand.sql(sql, &Manner::calm(), &[]).await? {
        Outcome::Done(_) => Ok(()),
        other => Err(Finding(format!("{sql}: {other:?}"))),
    }
}

async fn declare(hand: &Hand, table: &str, head: &str, fields: &str) -> Verdict {
    let body = declaration(table, head, fields).into_bytes();
    match hand.act("pintail.schema_apply", body, &Manner::calm(), &[Kind::Conflict]).await? {
        Outcome::Done(_) => Ok(()),
        other => Err(Finding(format!("declaring {table}: {other:?}"))),
    }
}

pub async fn make(hand: &Hand) -> Verdict {
    run(hand, "CREATE SCHEMA side").await?;
    for table in
        ["plain", "side.plain", "staging", "moved", "tx_a", "tx_b", "retyped", "recreated", "dropped"]
    {
        run(hand, &format!("CREATE TABLE {table} ({COLUMNS}, v DOUBLE)")).await?;
    }
    for table in ["rung", "rung_log"] {
        run(hand, &format!("CREATE TABLE {table} ({COLUMNS}, v DOUBLE)")).await?;
    }
    let trigger = "CREATE TRIGGER rings AFTER INSERT ON rung REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT \
                   INSERT INTO rung_log SELECT * FROM fresh";
    run(hand, trigger).await?;
    for table in ["owned", "shared"] {
        run(hand, &format!("CREATE TABLE {table} (k BIGINT PRIMARY KEY, {COLUMNS}, v DOUBLE)")).await?;
    }
    run(hand, &format!("CREATE TABLE alike (k BIGINT PRIMARY KEY, u BIGINT UNIQUE, {COLUMNS}, v DOUBLE)"))
        .await?;
    run(hand, &format!("CREATE TABLE kept ({COLUMNS}, v DOUBLE, PRIMARY KEY (client, put, \"row\"))"))
        .await?;
    run(
        hand,
        "CREATE TABLE worded (word VARCHAR PRIMARY KEY, other VARCHAR UNIQUE, n INTEGER CHECK (n > 0))",
    )
    .await?;
    run(hand, "INSERT INTO worded VALUES ('once', 'once', 1)").await?;
    run(hand, "CREATE TABLE odd (k BIGINT, time_of_day TIME, id UUID, doc JSON)").await?;
    declare(hand, "declared", LENIENT, DECLARED_V).await?;
    declare(hand, "latest", "mode = 'strict'", DECLARED_V).await
}

/// Takes all rows out of a table, and leaves it as it is.
pub async fn empty(hand: &Hand, table: &str) -> Verdict {
    // It may be one that an actor has just dropped.
    hand.sql(&format!("DELETE FROM {table}"), &Manner::calm(), &[Kind::NotFound]).await.map(|_| ())
}
