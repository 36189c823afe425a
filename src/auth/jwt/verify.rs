//! Signatures of JSON web tokens, checked by ring.
//! Runs on: async tasks.
//! Never: signs.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwkUtils, JwtSigner, JwtVerifier};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::hmac;
use ring::signature::{
    self as with, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    jwk_utils: JwkUtils::new_unimplemented(),
};

/// Makes ring what this process checks JSON web tokens with.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A program around the server may have chosen already; its choice checks signatures as well.
        let _ = PROVIDER.install_default();
    });
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

enum Check {
    Secret(hmac::Key),
    Key(UnparsedPublicKey<Vec<u8>>),
    Rsa(&'static RsaParameters, RsaPublicKeyComponents<Vec<u8>>),
}

struct RingVerifier {
    algorithm: Algorithm,
    check: Check,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let wrong = || ErrorKind::InvalidKeyFormat.into();
    if algorithm.family() != key.family() {
        return Err(wrong());
    }
    let public = |by: &'static dyn VerificationAlgorithm| match key.kind() {
        DecodingKeyKind::SecretOrDer(bytes) => Ok(Check::Key(UnparsedPublicKey::new(by, bytes.clone()))),
        DecodingKeyKind::RsaModulusExponent { .. } => Err(wrong()),
    };
    let secret = |by| {
        Ok::<Check, jsonwebtoken::errors::Error>(Check::Secret(hmac::Key::new(
            by,
            key.try_get_hmac_secret()?,
        )))
    };
    let rsa = |by| match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            Ok(Check::Rsa(by, RsaPublicKeyComponents { n: n.clone(), e: e.clone() }))
        }
        DecodingKeyKind::SecretOrDer(_) => Err(wrong()),
    };
    let check = match algorithm {
        Algorithm::HS256 => secret(hmac::HMAC_SHA256),
        Algorithm::HS384 => secret(hmac::HMAC_SHA384),
        Algorithm::HS512 => secret(hmac::HMAC_SHA512),
        Algorithm::ES256 => public(&with::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => public(&with::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => public(&with::ED25519),
        Algorithm::RS256 => rsa(&with::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => rsa(&with::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => rsa(&with::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => rsa(&with::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => rsa(&with::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => rsa(&with::RSA_PSS_2048_8192_SHA512),
    }?;
    Ok(Box::new(RingVerifier { algorithm: *algorithm, check }))
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let checked = match &self.check {
            // In the same time, whatever the answer.
            Check::Secret(key) => hmac::verify(key, message, signature),
            Check::Key(key) => key.verify(message, signature),
            Check::Rsa(by, key) => key.verify(by, message, signature),
        };
        checked.map_err(|_| Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
