//! Many clients meet over one server and one file, each with its own way of working, and everything goes on at once:
//! what was acknowledged is stored, value for value, and the server answers whoever comes next.
//!
//! `actors/` has one kind of client each; `books` writes down what each was told and compares it with what is stored
//! whenever all rest; `hand` is what an actor works with; `world` lets them meet. First each kind of client is among its own
//! kind, for seconds, so that a fault has a name; then all are there together. `PINTAIL_MEET_SECONDS` says for how long (60),
//! `PINTAIL_MEET_SEED` repeats a run's choices (moments still differ), `PINTAIL_MEET_ACTORS` is who comes ("small_puts,altering").
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]
#![allow(unreachable_pub, reason = "modules of one test program")]

mod actors;
mod books;
mod entry;
mod hand;
mod manner;
mod rows;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod world;

use std::time::Duration;

use actors::{ACTORS, named};
use world::{Actor, meet};

/// How long one kind of client is alone, and who else is there.
const ALONE: Duration = Duration::from_secs(3);

/// One meeting at a time: each has a server of its own, and they would only slow each other down.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn setting(name: &str) -> Option<String> {
    std::env::var(format!("PINTAIL_MEET_{name}")).ok()
}

fn seed() -> u64 {
    let seed = setting("SEED").map_or_else(|| u64::from(rand::random::<u32>()), |text| text.parse().unwrap());
    println!("  seed {seed} (PINTAIL_MEET_SEED)");
    seed
}

async fn alone(names: &[&str]) {
    let _turn = ONE_AT_A_TIME.lock().await;
    let actors: Vec<&'static Actor> = names.iter().map(|name| named(name)).collect();
    meet(&actors, ALONE, seed()).await;
}

macro_rules! scenarios {
    ($($(#[$what:meta])* $test:ident: $($actor:ident)+;)+) => {
        $(
            $(#[$what])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                alone(&[$(stringify!($actor)),+]).await;
            }
        )+
        /// Who is in a scenario of its own.
        const IN_SCENARIOS: &[&str] = &[$($(stringify!($actor)),+),+];
    };
}

scenarios! {
    /// Small puts of several shapes share commits while columns come and go.
    small_puts_while_columns_come_and_go: small_puts altering;
    /// A put with a key is stored once, however often it is sent.
    keys_are_applied_once: keyed_puts checkpoints;
    /// So is each batch of a producer.
    producers_are_applied_once: producers small_puts;
    /// Large streams and streams in pieces, left in the middle.
    streams_are_whole_or_absent: large_puts progress_puts;
    /// Upserts count right and leave the newest row.
    upserts_leave_the_newest_row: upserts;
    /// Of puts that replace each other's rows, those of one stay.
    upserts_of_the_same_keys_are_whole: shared_upserts;
    /// New keys beside NULLs are not left out.
    nulls_in_a_unique_column_leave_nothing_out: null_in_unique;
    /// Two replacing puts at once never leave both contents.
    replacing_puts_leave_one_content: replace_puts;
    /// Replacing rows leaves the key alone.
    replacing_rows_keeps_the_key: replace_keeps_key;
    /// A put that made its table and failed takes no rows of others along.
    a_failed_maker_takes_nothing_along: failing_makers;
    /// A new column that comes in two types rounds nothing.
    a_new_column_in_two_types_rounds_nothing: new_column;
    /// Nor does a column whose type changes under open puts.
    a_changed_type_rounds_nothing: retyped;
    /// Nor does a table that is made anew with another type.
    a_table_made_anew_rounds_nothing: recreated dropped;
    /// Temporary tables are their client's own.
    temporary_tables_are_their_clients_own: temporary_tables small_puts;
    /// Small INSERTs share commits, and nobody's rows come twice.
    inserts_are_stored_once: sql_inserts;
    /// A change inside a CTE runs once.
    changes_in_ctes_run_once: changes_in_ctes;
    /// RETURNING that is read slowly or left changes all or nothing.
    returning_changes_all_or_nothing: returning checkpoints;
    /// What a trigger writes belongs to the statement that fired it.
    triggers_belong_to_their_statement: triggers;
    /// Transactions are all or nothing for every reader.
    transactions_are_all_or_nothing: transactions counting;
    /// A transaction that has expired is over for good.
    expired_transactions_are_over: expiring_transactions;
    /// A transaction at work is not idle.
    a_transaction_at_work_is_not_idle: busy_transactions;
    /// Session options are kept, or the session says that it is over.
    session_options_are_not_forgotten: session_options;
    /// Deadlines leave nothing on a connection.
    deadlines_leave_nothing_behind: deadlines;
    /// Nor do clients that leave.
    leavers_leave_nothing_behind: leavers small_puts;
    /// Puts follow a declaration that changes.
    puts_follow_their_declaration: small_puts declaring;
    /// A copy is the database at one moment, whole, whatever is written beside it.
    copies_and_checkpoints_beside_writers: small_puts transactions triggers backups checkpoints;
    /// The engine's words in data are data.
    words_of_the_engine_are_data: engine_words small_puts;
    /// What must be refused is refused.
    what_must_be_refused_is_refused: hostile small_puts;
}

/// Everybody at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_meets() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let seconds = setting("SECONDS").map_or(60.0, |text| text.parse().unwrap());
    let wanted = setting("ACTORS");
    let actors: Vec<&'static Actor> = match &wanted {
        None => ACTORS.to_vec(),
        Some(names) => names.split(',').map(|name| named(name.trim())).collect(),
    };
    meet(&actors, Duration::from_secs_f64(seconds), seed()).await;
}

/// Every actor has a scenario in which its faults have a name.
#[test]
fn every_actor_is_in_a_scenario() {
    for actor in ACTORS {
        assert!(IN_SCENARIOS.contains(&actor.name), "{} is in no scenario", actor.name);
    }
}
