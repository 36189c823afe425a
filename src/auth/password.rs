//! Password <-> argon2id hash: 19 MiB, two passes, one lane.
//! Runs on: blocking threads; a hash takes some 20 ms on purpose.
//! Never: runs more than a few at one time, whoever asks.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// Passwords checked at one time: each takes 19 MiB and a core.
const CHECKS_MAX: usize = 4;
/// How long a check waits for its turn.
const TURN_MAX: Duration = Duration::from_secs(10);
/// Shortest and longest password, in bytes.
const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 8..=1024;

fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

/// The hash of a password, in the PHC string format.
///
/// Errors: `Invalid` for one that is too short or too long.
pub fn hash_password(password: &str) -> Result<String> {
    if !PASSWORD_BYTES.contains(&password.len()) {
        return Err(Error::invalid(format!(
            "expected a password of {} to {} bytes, found one of {}",
            PASSWORD_BYTES.start(),
            PASSWORD_BYTES.end(),
            password.len()
        )));
    }
    hash(password)
}

fn hash(password: &str) -> Result<String> {
    let failed = |error| Error::internal(format!("the password cannot be hashed: {error}"));
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(failed)?;
    argon2().hash_password(password.as_bytes(), &salt).map(|hash| hash.to_string()).map_err(failed)
}

/// What is wrong with a text as an argon2id hash, if anything is.
pub fn check_hash(text: &str) -> Result<(), String> {
    let expected = "expected an argon2id hash, as `pintail user hash` prints it";
    let hash = PasswordHash::new(text).map_err(|error| format!("{expected}: {error}"))?;
    if hash.algorithm != argon2::ARGON2ID_IDENT || hash.hash.is_none() {
        return Err(format!("{expected}, found one of another kind"));
    }
    Ok(())
}

/// Checks passwords, a few at one time.
pub(super) struct Checks {
    turns: Arc<Semaphore>,
    // Checked in the place of a user's hash when there is no such user: the answer takes as long.
    nobody: String,
}

/// The turn of one check.
pub(super) struct Turn {
    place: OwnedSemaphorePermit,
    nobody: String,
}

impl Checks {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { turns: Arc::new(Semaphore::new(CHECKS_MAX)), nobody: hash("nobody has this password")? })
    }

    /// Waits for a turn.
    ///
    /// Errors: `Exhausted` when too many are checked at one time.
    pub(super) async fn turn(&self) -> Result<Turn> {
        match tokio::time::timeout(TURN_MAX, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(place)) => Ok(Turn { place, nobody: self.nobody.clone() }),
            _ => Err(Error::busy(
                &format!("{CHECKS_MAX} passwords at one time"),
                "too many passwords are being checked; try again",
            )),
        }
    }
}

impl Turn {
    /// Whether this is the password behind the hash; never, where there is none.
    pub(super) async fn check(self, password: &str, hash: Option<String>) -> Result<bool> {
        let is_known = hash.is_some();
        let Self { place, nobody } = self;
        let (hash, password) = (hash.unwrap_or(nobody), password.to_owned());
        #[expect(clippy::disallowed_methods, reason = "a hash takes a core for a while")]
        let checked = tokio::task::spawn_blocking(move || {
            let _place = place;
            PasswordHash::new(&hash)
                .is_ok_and(|hash| argon2().verify_password(password.as_bytes(), &hash).is_ok())
        });
        let fits =
            checked.await.map_err(|error| Error::internal(format!("a password check failed: {error}")))?;
        Ok(fits && is_known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_alone_is_right() {
        let hash = hash_password("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        check_hash(&hash).unwrap();
        let checks = Checks::new().unwrap();
        assert!(checks.turn().await.unwrap().check("correct horse", Some(hash.clone())).await.unwrap());
        assert!(!checks.turn().await.unwrap().check("correct horsf", Some(hash)).await.unwrap());
        assert!(!checks.turn().await.unwrap().check("nobody has this password", None).await.unwrap());
    }

    #[test]
    fn other_hashes_and_short_passwords_are_refused() {
        assert!(hash_password("short").unwrap_err().message().contains("8 to 1024 bytes"));
        for wrong in [
            "",
            "secret",
            "$2b$12$abcdefghijklmnopqrstuv",
            "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
        ] {
            assert!(check_hash(wrong).unwrap_err().contains("argon2id"), "{wrong}");
        }
    }
}
