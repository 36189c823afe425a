//! `authorization` header -> what is offered as proof.
//! Runs on: async tasks; pure.
//! Never: shows a secret in an error or in debug output.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::error::{Error, Result};

/// Go's clients leave the padding out; both forms are taken.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a call offers to say who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    None,
    /// A user's name and password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token of any kind.
    Bearer(String),
}

impl Credentials {
    /// Reads the header as it came.
    ///
    /// Errors: `Invalid` for a header of another form.
    pub fn read(header: Option<&[u8]>) -> Result<Self> {
        let wrong = || {
            Error::invalid(
                "header authorization: expected \"Basic\" and the base64 of user:password, or \"Bearer\" and a token",
            )
        };
        let Some(header) = header.filter(|header| !header.trim_ascii().is_empty()) else {
            return Ok(Credentials::None);
        };
        let header = std::str::from_utf8(header).map_err(|_| wrong())?;
        let (scheme, value) = header.trim().split_once(' ').ok_or_else(wrong)?;
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Credentials::Bearer(value.to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(wrong());
        }
        let decoded = BASE64.decode(value).map_err(|_| wrong())?;
        let decoded = String::from_utf8(decoded).map_err(|_| wrong())?;
        let (user, password) = decoded.split_once(':').ok_or_else(wrong)?;
        Ok(Credentials::Basic { user: user.to_owned(), password: password.to_owned() })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::None => "None",
            Credentials::Basic { .. } => "Basic",
            Credentials::Bearer(_) => "Bearer",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damaged;
    use crate::error::Kind;
    use proptest::prelude::*;

    #[test]
    fn basic_credentials_may_lack_their_padding() {
        for (good, user, password) in [
            ("Basic dTpw", "u", "p"),
            ("basic dXNlcjpwYXNz", "user", "pass"),
            ("Basic dTpwdw", "u", "pw"),
            ("Basic dTpwdw==", "u", "pw"),
            ("Basic dTpwOnc=", "u", "p:w"),
        ] {
            let expected = Credentials::Basic { user: user.to_owned(), password: password.to_owned() };
            assert_eq!(Credentials::read(Some(good.as_bytes())).unwrap(), expected, "{good}");
        }
        assert_eq!(Credentials::read(Some(b"Bearer x")).unwrap(), Credentials::Bearer("x".to_owned()));
        for nothing in [None, Some(&b""[..]), Some(b" ")] {
            assert_eq!(Credentials::read(nothing).unwrap(), Credentials::None);
        }
        for bad in ["Basic", "Basic !!", "Basic dXNlcg", "Digest x", "Basic //4="] {
            let error = Credentials::read(Some(bad.as_bytes())).unwrap_err();
            assert!(error.to_string().contains("authorization"), "{bad}");
        }
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let read = Credentials::read(Some(b"Basic dXNlcjpwYXNz")).unwrap();
        assert_eq!(format!("{read:?}"), "Basic");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        /// A header that is not read as credentials is refused, and is never taken for none.
        #[test]
        fn headers_are_credentials_or_refused(header in damaged::damaged(damaged::lines("authorization.txt"))) {
            match Credentials::read(Some(&header)) {
                Ok(Credentials::None) => prop_assert!(header.trim_ascii().is_empty()),
                Ok(_) => {}
                Err(error) => prop_assert_eq!(error.kind(), Kind::Invalid),
            }
        }
    }
}
