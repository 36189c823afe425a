//! Who asks: credentials of a call -> a [`Principal`], or a refusal.
//! Runs on: async tasks; what is slow on purpose (argon2) on blocking threads.
//! Never: decides what a principal may do; logs a secret.
//!
//! `credentials` reads what a call offers, `gate` checks it: passwords and API tokens against `accounts`, which knows the
//! users of the configuration and those in the database; JSON web tokens by `jwt`. `slow` makes guessing slow.

mod accounts;
mod credentials;
mod gate;
mod grants;
mod jwt;
mod known;
mod password;
mod pattern;
mod principal;
mod proven;
mod slow;
mod tokens;

pub use accounts::{Accounts, NewToken, check_name};
pub use credentials::Credentials;
pub use gate::{Gate, Offered};
pub use grants::{Grant, Grants, Right};
pub use password::{check_hash, hash_password};
pub use pattern::{TablePattern, column_names};
pub use principal::{ANONYMOUS, Principal, Role, Scope};
pub use tokens::TOKEN_PREFIX;
