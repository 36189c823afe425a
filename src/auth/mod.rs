//! Who asks: credentials of a call -> a [`Principal`], or a refusal.
//! Runs on: async tasks; what is slow on purpose (argon2) on blocking threads.
//! Never: decides what a principal may do; logs a secret.

mod gate;
mod grants;
mod principal;

pub use gate::{Gate, Offered};
pub use grants::{Grant, Grants, Right};
pub use principal::{ANONYMOUS, Principal, Role, Scope, TablePattern};
