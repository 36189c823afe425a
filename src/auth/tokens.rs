//! API tokens: made at random, known by their SHA-256, read from the tokens file.
//! Runs on: any thread.
//! Never: shows a token after it was made.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::pattern::TablePattern;
use super::principal::Role;
use crate::engine::StoredToken;
use crate::error::{Error, Result};

/// What every API token begins with, so that scanners of code find one that was left there.
pub const TOKEN_PREFIX: &str = "ptk_";

/// What a token is known by.
///
/// The token has 256 random bits, so a plain hash is enough, and a look-up by it tells nothing of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenHash([u8; 32]);

impl TokenHash {
    /// Whether it is that of `token`, in the same time whatever the answer.
    pub(super) fn is_of(&self, token: &str) -> bool {
        self.0.ct_eq(&hash_of(token).0).into()
    }
}

/// The hash of a token.
pub(super) fn hash_of(token: &str) -> TokenHash {
    TokenHash(Sha256::digest(token.as_bytes()).into())
}

/// A token that nobody has had before.
pub(super) fn new_token() -> String {
    format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for TokenHash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("expected the SHA-256 of a token as 64 hexadecimal digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut hash = [0; 32];
        for (byte, place) in hash.iter_mut().zip(0..) {
            let digits = text.get(place * 2..place * 2 + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(hash))
    }
}

/// A token of `auth.tokens_file`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredForm {
    name: String,
    user: String,
    role: Role,
    #[serde(default)]
    tables: Vec<TablePattern>,
    hash: String,
    expires: Option<toml::value::Datetime>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<StoredForm>,
}

impl StoredForm {
    /// The tokens of a file.
    ///
    /// Errors: `Invalid` naming the file and what was expected.
    pub(super) fn read_file(file: &Path) -> Result<Vec<StoredToken>> {
        let wrong = |why: &dyn fmt::Display| {
            Error::invalid(format!("setting auth.tokens_file: {}: {why}", file.display()))
        };
        let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
        let File { token } = toml::from_str(&text).map_err(|error| wrong(&error.message()))?;
        token.into_iter().map(|token| token.stored().map_err(|error| wrong(&error))).collect()
    }

    fn stored(self) -> Result<StoredToken> {
        self.hash.parse::<TokenHash>().map_err(|error| error.context(format!("token \"{}\"", self.name)))?;
        let expires = match self.expires {
            None => None,
            Some(at) => {
                let text = at.to_string();
                let time = chrono::DateTime::parse_from_rfc3339(&text).map_err(|_| {
                    Error::invalid(format!(
                        "token \"{}\": expected expires as 2030-12-31T00:00:00Z, found {text}",
                        self.name
                    ))
                })?;
                Some(time.timestamp())
            }
        };
        let tables: Vec<String> = self.tables.iter().map(ToString::to_string).collect();
        Ok(StoredToken {
            name: self.name,
            user: self.user,
            role: self.role.to_string(),
            tables: tables.join(" "),
            hash: self.hash,
            created: 0,
            expires,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_known_by_their_hash_alone() {
        let (one, other) = (new_token(), new_token());
        assert!(one.starts_with(TOKEN_PREFIX) && one.len() == 47 && one != other);
        let hash: TokenHash = hash_of(&one).to_string().parse().unwrap();
        assert!(hash.is_of(&one) && !hash.is_of(&other));
        for wrong in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert!(wrong.parse::<TokenHash>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tokens_file_says_what_is_wrong_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens.toml");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            StoredForm::read_file(&file)
        };
        let hash = hash_of("x").to_string();
        let good = format!(
            "[[token]]\nname = \"ci\"\nuser = \"ada\"\nrole = \"reader\"\ntables = [\"a.*\"]\nhash = \"{hash}\"\n\
             expires = 2030-01-01T00:00:00Z"
        );
        let tokens = read(&good).unwrap();
        assert_eq!((tokens[0].tables.as_str(), tokens[0].expires), ("a.*", Some(1_893_456_000)));
        for (text, part) in [
            (good.replace("reader", "king"), "king"),
            (good.replace(&hash, "12"), "64 hexadecimal"),
            (good.replace("user =", "owner ="), "owner"),
            (good.replace("a.*", "*.a"), "schema.table"),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("auth.tokens_file"), "{error}");
        }
    }
}
