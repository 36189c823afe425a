//! Passwords that were right a moment ago, so that a client may send its own with every call.
//! Runs on: async tasks; a hash of a microsecond.
//! Never: keeps a password; takes one for right that was changed since.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac;

/// How long a password need not be checked again.
const LIFETIME: Duration = Duration::from_secs(300);
/// Passwords known at one time.
const PROVEN_MAX: usize = 4096;

/// What was found to be right, by a hash under a key of this process.
pub(super) struct Proven {
    key: hmac::Key,
    until: Mutex<HashMap<Vec<u8>, Instant>>,
}

impl Proven {
    pub(super) fn new() -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()), until: Mutex::default() }
    }

    /// Whether this password was checked against this very hash.
    pub(super) fn has(&self, user: &str, password: &str, hash: &str) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.get(&self.sign(user, password, hash)).is_some_and(|until| *until > Instant::now())
    }

    /// The password is right.
    pub(super) fn add(&self, user: &str, password: &str, hash: &str) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= PROVEN_MAX {
            let now = Instant::now();
            until.retain(|_, until| *until > now);
        }
        if until.len() < PROVEN_MAX {
            until.insert(self.sign(user, password, hash), Instant::now() + LIFETIME);
        }
    }

    fn sign(&self, user: &str, password: &str, hash: &str) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [user, password, hash] {
            // With their lengths, so that no two triples read the same.
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_password_against_the_same_hash_alone_is_known() {
        let proven = Proven::new();
        proven.add("ada", "secret", "hash");
        assert!(proven.has("ada", "secret", "hash"));
        for (user, password, hash) in [
            ("ada", "secret", "new hash"),
            ("ada", "secre", "thash"),
            ("bob", "secret", "hash"),
            ("adas", "ecret", "hash"),
        ] {
            assert!(!proven.has(user, password, hash), "{user} {password} {hash}");
        }
    }
}
