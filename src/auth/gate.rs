//! What a call offers to say who it is -> its principal.
//! Runs on: async tasks.
//! Never: tells a wrong password from an unknown user.

use std::net::IpAddr;
use std::sync::Arc;

use super::principal::{Principal, Role};
use crate::error::{Error, Kind, Result};

/// What a call offers to say who it is.
#[derive(Default)]
pub struct Offered<'a> {
    /// The `authorization` header, as it came.
    pub authorization: Option<&'a str>,
    /// Where the call comes from.
    pub address: Option<IpAddr>,
}

/// Where every call says who it is.
pub struct Gate {
    anonymous: Option<Arc<Principal>>,
}

impl Gate {
    /// A gate that lets callers without credentials through in a role, or not at all.
    pub fn new(anonymous: Option<Role>) -> Self {
        Self { anonymous: anonymous.map(|role| Arc::new(Principal::anonymous(role))) }
    }

    /// Who makes a call.
    ///
    /// Errors: `Unauthenticated`.
    pub async fn admit(&self, _offered: &Offered<'_>) -> Result<Arc<Principal>> {
        self.anonymous.clone().ok_or_else(|| {
            Error::new(Kind::Unauthenticated, "credentials are missing: send user and password, or a token")
        })
    }
}
