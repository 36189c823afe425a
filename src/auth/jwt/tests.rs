//! Tokens that are right, and all the ways in which they are not.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::*;
use crate::auth::accounts::now;
use crate::damaged;

const SECRET: &[u8] = b"a secret of thirty-two bytes, or more";

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An issuer with one key of each kind.
struct Issuer {
    _directory: tempfile::TempDir,
    jwt: Jwt,
    ed: Ed25519KeyPair,
    ec: EcdsaKeyPair,
}

impl Issuer {
    fn new(algorithms: &[Algorithm]) -> Self {
        let random = SystemRandom::new();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let ed = Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random).unwrap();
        let point = ec.public_key().as_ref();
        let set = json!({ "keys": [
            { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": base64(ed.public_key().as_ref()) },
            { "kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256", "use": "sig",
              "x": base64(&point[1..33]), "y": base64(&point[33..]) },
            { "kty": "oct", "kid": "hs", "k": base64(SECRET) },
            { "kty": "new kind", "kid": "unknown" },
        ] });
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("jwks.json");
        std::fs::write(&file, set.to_string()).unwrap();
        let config = config::Jwt {
            jwks_file: file,
            issuer: "https://issuer".to_owned(),
            audience: "pintail".to_owned(),
            algorithms: algorithms.to_vec(),
            user_claim: "sub".to_owned(),
            role_claim: "role".to_owned(),
        };
        Self { _directory: directory, jwt: Jwt::open(&config).unwrap(), ed, ec }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message =
            format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
        let bytes = message.as_bytes();
        let signature = match header["alg"].as_str().unwrap() {
            "EdDSA" => self.ed.sign(bytes).as_ref().to_vec(),
            "ES256" => self.ec.sign(&SystemRandom::new(), bytes).unwrap().as_ref().to_vec(),
            "HS256" => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), bytes).as_ref().to_vec(),
            _ => Vec::new(),
        };
        format!("{message}.{}", base64(&signature))
    }
}

fn claims() -> Value {
    json!({ "sub": "ada", "iss": "https://issuer", "aud": "pintail", "exp": now() + 600, "role": "writer" })
}

const ALL: [Algorithm; 3] = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::HS256];

#[test]
fn each_algorithm_is_checked_with_its_own_key() {
    let issuer = Issuer::new(&ALL);
    for (algorithm, kid) in [("EdDSA", "ed"), ("ES256", "ec"), ("HS256", "hs")] {
        for header in [json!({ "alg": algorithm, "kid": kid }), json!({ "alg": algorithm })] {
            let token = issuer.sign(&header, &claims());
            let principal = issuer.jwt.check(&token).unwrap();
            assert_eq!((&*principal.name, principal.role), ("ada", Role::Writer), "{algorithm}");
            // The first letter of the signature: the last one may hold bits that are not used.
            let (message, signature) = token.rsplit_once('.').unwrap();
            let first = if signature.starts_with('A') { "B" } else { "A" };
            let forged = format!("{message}.{first}{}", &signature[1..]);
            let error = issuer.jwt.check(&forged).unwrap_err();
            assert!(error.message().contains("signature is wrong"), "{error}");
        }
    }
}

#[test]
fn the_algorithm_is_the_servers_choice() {
    let issuer = Issuer::new(&[Algorithm::EdDSA]);
    for header in [
        json!({ "alg": "HS256", "kid": "hs" }),
        json!({ "alg": "ES256" }),
        // A public key as a shared secret, and no signature at all.
        json!({ "alg": "HS256", "kid": "ed" }),
        json!({ "alg": "none" }),
        json!({ "alg": "EdDSA", "kid": "other" }),
        json!({ "alg": "EdDSA", "kid": "ed", "crit": ["b64"] }),
    ] {
        let error = issuer.jwt.check(&issuer.sign(&header, &claims())).unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthenticated, "{header}");
    }
}

#[test]
fn claims_have_to_be_there_and_to_fit() {
    let issuer = Issuer::new(&ALL);
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        issuer.jwt.check(&issuer.sign(&json!({ "alg": "EdDSA" }), &claims))
    };
    let without = |name: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        issuer.jwt.check(&issuer.sign(&json!({ "alg": "EdDSA" }), &claims))
    };
    for name in ["exp", "iss", "aud", "sub", "role"] {
        let error = without(name).unwrap_err();
        assert!(error.message().contains(&format!("claim {name}")), "{name}: {error}");
    }
    for (name, value, part) in [
        ("exp", json!(now() - 120), "expired"),
        ("exp", json!("never"), "exp"),
        ("exp", Value::Null, "exp"),
        ("nbf", json!(now() + 600), "not valid yet"),
        ("nbf", json!("soon"), "nbf"),
        ("iss", json!("https://other"), "issuer"),
        ("aud", json!("other"), "audience"),
        ("aud", json!(["other", "third"]), "audience"),
        ("role", json!("king"), "claim role"),
        ("role", json!([]), "claim role"),
        ("sub", json!("anonymous"), "without credentials"),
        ("sub", json!(7), "claim sub"),
    ] {
        let error = with(name, value.clone()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthenticated);
        assert!(error.message().contains(part), "{name} = {value}: {error}");
    }
    assert_eq!(with("role", json!(["staff", "reader", "admin"])).unwrap().role, Role::Admin);
    assert!(with("aud", json!(["other", "pintail"])).is_ok());
    for wrong in ["", "..", "a.b.c", &"a".repeat(20 << 10)] {
        assert_eq!(issuer.jwt.check(wrong).unwrap_err().kind(), Kind::Unauthenticated);
    }
}

#[test]
fn a_key_set_says_what_is_wrong_with_it() {
    let issuer = Issuer::new(&ALL);
    let file = issuer.jwt.file();
    for (text, part) in [
        ("nonsense", "jwks_file"),
        ("{}", "JSON Web Key Set"),
        ("{\"keys\": []}", "auth.jwt.algorithms"),
        ("{\"keys\": [{\"kty\": \"oct\", \"k\": \"c2hvcnQ\"}]}", "at least 32 bytes"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = issuer.jwt.reload().unwrap_err();
        assert!(error.message().contains(part), "{text}: {error}");
    }
    // The keys before are still in force.
    assert!(issuer.jwt.check(&issuer.sign(&json!({ "alg": "EdDSA" }), &claims())).is_ok());
}

/// A token that differs from a right one in any way is refused: a signature says so, or what can be read.
#[test]
fn damaged_tokens_are_refused() {
    let issuer = Issuer::new(&ALL);
    let seeds: Vec<Vec<u8>> = [("EdDSA", "ed"), ("ES256", "ec"), ("HS256", "hs")]
        .map(|(algorithm, kid)| issuer.sign(&json!({ "alg": algorithm, "kid": kid }), &claims()).into_bytes())
        .to_vec();
    let mut runner = TestRunner::new(ProptestConfig { cases: 2000, ..ProptestConfig::default() });
    let ran = runner.run(&damaged::damaged_text(seeds.clone()), |token| {
        let is_right = seeds.iter().any(|seed| *seed == token.as_bytes());
        match issuer.jwt.check(&token) {
            Ok(_) => prop_assert!(is_right, "{token}"),
            Err(error) => {
                prop_assert!(!is_right);
                prop_assert_eq!(error.kind(), Kind::Unauthenticated);
            }
        }
        Ok(())
    });
    ran.unwrap();
}

/// Headers and claims that are other JSON, with right signatures.
#[test]
fn damaged_claims_are_refused_or_name_a_user() {
    let issuer = Issuer::new(&ALL);
    let seeds = vec![claims().to_string().into_bytes()];
    let mut runner = TestRunner::new(ProptestConfig { cases: 1000, ..ProptestConfig::default() });
    let ran = runner.run(&damaged::damaged(seeds), |claims| {
        let message = format!("{}.{}", base64(b"{\"alg\":\"EdDSA\",\"kid\":\"ed\"}"), base64(&claims));
        let signature = issuer.ed.sign(message.as_bytes());
        match issuer.jwt.check(&format!("{message}.{}", base64(signature.as_ref()))) {
            Ok(principal) => prop_assert!(!principal.name.is_empty()),
            Err(error) => prop_assert_eq!(error.kind(), Kind::Unauthenticated),
        }
        Ok(())
    });
    ran.unwrap();
}
