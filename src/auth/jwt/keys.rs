//! A JWKS file -> keys, each with the algorithms that it may be used with.
//! Runs on: the start of the server, and when the file changes.
//! Never: lets a public key be taken for a shared secret: an algorithm belongs to one kind of key.

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};

use crate::config;
use crate::error::{Error, Result};

/// Shortest shared secret, in bytes: one as long as the hash.
const SECRET_BYTES_MIN: usize = 32;
/// Keys tried for one token: a token without `kid` may fit several.
const TRIED_MAX: usize = 8;

/// The keys of an issuer.
pub(super) struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl Keys {
    /// Reads the file. Keys for other purposes and of kinds that are not pinned are left out.
    ///
    /// Errors: `Invalid` naming the file, for one that is no JWKS or has no key left.
    pub(super) fn read(config: &config::Jwt) -> Result<Self> {
        let file = config.jwks_file.display();
        let wrong =
            |why: &dyn fmt::Display| Error::invalid(format!("setting auth.jwt.jwks_file: {file}: {why}"));
        let text = std::fs::read(&config.jwks_file).map_err(|error| wrong(&error))?;
        // A set may hold keys of kinds that nobody here knows, which are left out one by one.
        let set: serde_json::Value = serde_json::from_slice(&text).map_err(|error| wrong(&error))?;
        let list = set
            .get("keys")
            .and_then(serde_json::Value::as_array)
            .ok_or_else(|| wrong(&"expected a JSON Web Key Set, {\"keys\": [...]}"))?;
        let set =
            JwkSet { keys: list.iter().filter_map(|key| serde_json::from_value(key.clone()).ok()).collect() };
        let mut keys = Vec::new();
        for jwk in &set.keys {
            let algorithms: Vec<Algorithm> =
                config.algorithms.iter().copied().filter(|one| fits(jwk, *one)).collect();
            if algorithms.is_empty() {
                continue;
            }
            let id = jwk.common.key_id.clone();
            let name = id.as_deref().unwrap_or("without kid");
            let key = DecodingKey::from_jwk(jwk).map_err(|error| wrong(&format!("key {name}: {error}")))?;
            let is_short = |secret: &[u8]| secret.len() < SECRET_BYTES_MIN;
            if key.try_get_hmac_secret().is_ok_and(is_short) {
                return Err(wrong(&format!(
                    "key {name}: expected a secret of at least {SECRET_BYTES_MIN} bytes"
                )));
            }
            keys.push(Key { id, algorithms, key });
        }
        if keys.is_empty() {
            return Err(wrong(&"it has no key for the algorithms of auth.jwt.algorithms"));
        }
        Ok(Self(keys))
    }

    /// The keys that a token with this header may be signed with.
    pub(super) fn for_header(&self, header: &Header) -> Vec<&DecodingKey> {
        let fits = |key: &&Key| {
            key.algorithms.contains(&header.alg) && (header.kid.is_none() || header.kid == key.id)
        };
        self.0.iter().filter(fits).take(TRIED_MAX).map(|key| &key.key).collect()
    }
}

/// Whether the key is one for the algorithm.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let for_signatures = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let says = key.common.key_algorithm.is_none_or(|said| algorithm_of(said) == Some(algorithm));
    let can = match &key.algorithm {
        AlgorithmParameters::RSA(_) => matches!(
            algorithm,
            Algorithm::RS256
                | Algorithm::RS384
                | Algorithm::RS512
                | Algorithm::PS256
                | Algorithm::PS384
                | Algorithm::PS512
        ),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => algorithm == Algorithm::ES256,
            EllipticCurve::P384 => algorithm == Algorithm::ES384,
            _ => false,
        },
        AlgorithmParameters::OctetKeyPair(key) => {
            key.curve == EllipticCurve::Ed25519 && algorithm == Algorithm::EdDSA
        }
        AlgorithmParameters::OctetKey(_) => {
            matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
        }
    };
    for_signatures && says && can
}

fn algorithm_of(named: KeyAlgorithm) -> Option<Algorithm> {
    named.to_string().parse().ok()
}
