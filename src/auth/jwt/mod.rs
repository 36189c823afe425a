//! JSON web tokens: a signature by a pinned algorithm and a known key, and claims for time, issuer, audience and role.
//! Runs on: async tasks; a signature takes some 50 microseconds.
//! Never: takes an algorithm from the token alone, or a token without an end.

mod keys;
mod verify;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::accounts::check_name;
use super::principal::{Principal, Role};
use crate::config;
use crate::error::{Error, Kind, Result};
use keys::Keys;

/// Longest token, in bytes; an HTTP header takes no more by much.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Clocks may differ by this many seconds.
const LEEWAY_SECONDS: u64 = 60;

/// Checks the tokens of one issuer.
pub(super) struct Jwt {
    config: config::Jwt,
    keys: RwLock<Arc<Keys>>,
}

impl Jwt {
    /// Reads the keys.
    ///
    /// Errors: `Invalid` for a file that cannot be read, or holds no key that can be used.
    pub(super) fn open(config: &config::Jwt) -> Result<Self> {
        verify::install();
        let keys = Keys::read(config)?;
        Ok(Self { config: config.clone(), keys: RwLock::new(Arc::new(keys)) })
    }

    /// The file of the keys.
    pub(super) fn file(&self) -> PathBuf {
        self.config.jwks_file.clone()
    }

    /// Reads the keys again; those before stay when that cannot be.
    ///
    /// Errors: as [`Self::open`].
    pub(super) fn reload(&self) -> Result<()> {
        let keys = Keys::read(&self.config)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    /// Who the token speaks for.
    ///
    /// Errors: `Unauthenticated`, saying what is wrong with it.
    pub(super) fn check(&self, token: &str) -> Result<Principal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(refused(&"it is longer than 16 KiB"));
        }
        let header = decode_header(token).map_err(|_| refused(&"it cannot be read"))?;
        // Extensions that have to be understood (RFC 7515, section 4.1.11); none is.
        if header.crit.is_some() {
            return Err(refused(&"its header has crit"));
        }
        let keys = Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        let fitting = keys.for_header(&header);
        if fitting.is_empty() {
            return Err(refused(&format!(
                "no key fits its kid {} and alg {:?}",
                header
                    .kid
                    .as_deref()
                    .map_or("none".to_owned(), |kid| format!("{:?}", crate::error::shorten(kid, 64))),
                header.alg
            )));
        }
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        let mut wrong = refused(&"its signature is wrong");
        for key in fitting {
            match decode::<Map<String, Value>>(token, key, &validation) {
                Ok(token) => return self.principal(&token.claims),
                Err(error) => wrong = explain(&error),
            }
        }
        Err(wrong)
    }

    fn principal(&self, claims: &Map<String, Value>) -> Result<Principal> {
        let name = claims
            .get(&self.config.user_claim)
            .and_then(Value::as_str)
            .ok_or_else(|| refused(&format!("its claim {} is no text", self.config.user_claim)))?;
        check_name("user", name).map_err(|error| refused(&error))?;
        let claim = claims.get(&self.config.role_claim);
        // Several roles, as groups come: the one that allows most.
        let roles: Vec<&str> = match claim {
            Some(Value::String(role)) => vec![role],
            Some(Value::Array(roles)) => roles.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let role = roles.iter().filter_map(|role| role.parse::<Role>().ok()).max().ok_or_else(|| {
            refused(&format!("its claim {} is none of reader, writer and admin", self.config.role_claim))
        })?;
        Ok(Principal::issued(name, role))
    }
}

fn refused(why: &dyn fmt::Display) -> Error {
    Error::new(Kind::Unauthenticated, format!("the JSON web token is refused: {why}"))
}

fn explain(error: &jsonwebtoken::errors::Error) -> Error {
    match error.kind() {
        ErrorKind::ExpiredSignature => refused(&"it has expired"),
        ErrorKind::ImmatureSignature => refused(&"it is not valid yet (nbf)"),
        ErrorKind::InvalidIssuer => refused(&"it is of another issuer (iss; setting auth.jwt.issuer)"),
        ErrorKind::InvalidAudience => refused(&"it is for another audience (aud; setting auth.jwt.audience)"),
        ErrorKind::MissingRequiredClaim(claim) => {
            refused(&format!("it has no claim {claim}, or one that is malformed"))
        }
        ErrorKind::InvalidClaimFormat(claim) => refused(&format!("its claim {claim} is malformed")),
        ErrorKind::InvalidSignature => refused(&"its signature is wrong"),
        _ => refused(&"it cannot be read"),
    }
}

#[cfg(test)]
mod tests;
