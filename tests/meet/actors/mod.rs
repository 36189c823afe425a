//! Who meets: every kind of client, by name. A new one is a file here, or a function in one, and a line below.
//! Runs on: nothing of its own. Never: two actors of one name.

mod beside;
mod hasty;
mod hostile;
mod making;
mod puts;
mod replaces;
mod sessions;
mod shapes;
mod sql;
mod temporary;
mod transactions;
mod upserts;
mod words;

use crate::world::Actor;

pub const ACTORS: &[&Actor] = &[
    &puts::SMALL,
    &puts::KEYED,
    &puts::PRODUCED,
    &puts::LARGE,
    &puts::PROGRESS,
    &upserts::OWN_KEYS,
    &upserts::SHARED_KEYS,
    &upserts::NULL_UNIQUE,
    &replaces::DECLARED,
    &replaces::UNDECLARED,
    &making::ACTOR,
    &shapes::NEW_COLUMN,
    &shapes::RETYPED,
    &shapes::RECREATED,
    &shapes::DROPPED,
    &temporary::ACTOR,
    &sql::INSERTS,
    &sql::CTES,
    &sql::RETURNING,
    &sql::TRIGGERS,
    &transactions::SEVERAL,
    &transactions::EXPIRING,
    &transactions::BUSY,
    &sessions::ACTOR,
    &hasty::DEADLINES,
    &hasty::LEAVERS,
    &beside::ALTERING,
    &beside::DECLARING,
    &beside::BACKUPS,
    &beside::CHECKPOINTS,
    &beside::COUNTING,
    &words::ACTOR,
    &hostile::ACTOR,
];

/// The actor of this name.
pub fn named(name: &str) -> &'static Actor {
    ACTORS.iter().find(|actor| actor.name == name).unwrap_or_else(|| {
        let names: Vec<_> = ACTORS.iter().map(|actor| actor.name).collect();
        panic!("there is no actor {name}; there are {}", names.join(", "))
    })
}
