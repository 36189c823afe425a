//! What a call offers to say who it is -> its principal.
//! Runs on: async tasks.
//! Never: tells a wrong password from an unknown user; takes wrong credentials for none.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::accounts::Accounts;
use super::credentials::Credentials;
use super::jwt::Jwt;
use super::password::Checks;
use super::principal::Principal;
use super::proven::Proven;
use super::slow::Slow;
use super::tokens::TOKEN_PREFIX;
use crate::config::Config;
use crate::engine::Database;
use crate::error::{Error, Kind, Result};
use crate::metrics;

/// What a call offers to say who it is.
pub struct Offered<'a> {
    /// What the `authorization` header holds.
    pub credentials: &'a Credentials,
    /// The name in the client's certificate, which TLS has checked.
    pub certificate: Option<&'a str>,
    /// Where the call comes from.
    pub address: Option<IpAddr>,
}

/// Where every call says who it is.
pub struct Gate {
    anonymous: Option<Arc<Principal>>,
    accounts: Accounts,
    jwt: Option<Jwt>,
    checks: Checks,
    proven: Proven,
    slow: Slow,
    // A client has to have a certificate.
    wants_certificates: bool,
}

impl Gate {
    /// The gate of a server, with the users that the configuration and the database have. Blocks.
    ///
    /// Errors: `Invalid` for a file of the settings that cannot be read.
    pub fn open(database: &Arc<Database>, config: &Config) -> Result<Self> {
        Ok(Self {
            anonymous: config.anonymous().map(|role| Arc::new(Principal::anonymous(role))),
            accounts: Accounts::open(database, &config.auth)?,
            jwt: config.auth.jwt.as_ref().map(Jwt::open).transpose()?,
            checks: Checks::new()?,
            proven: Proven::new(),
            slow: Slow::default(),
            wants_certificates: config.server.client_ca.is_some(),
        })
    }

    /// The users and API tokens.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Changes the users or API tokens, on a blocking thread.
    pub async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Accounts) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let gate = Arc::clone(self);
        #[expect(clippy::disallowed_methods, reason = "the database blocks")]
        let done = tokio::task::spawn_blocking(move || work(&gate.accounts));
        done.await
            .unwrap_or_else(|error| Err(Error::internal(format!("the change of users failed: {error}"))))
    }

    /// Whether nobody can come in.
    pub fn is_shut(&self) -> bool {
        self.anonymous.is_none() && !self.has_identities()
    }

    fn has_identities(&self) -> bool {
        !self.accounts.is_empty() || self.jwt.is_some() || self.wants_certificates
    }

    /// Whether everybody comes in, whatever they say: there is nothing to check it against.
    fn is_open(&self) -> bool {
        self.anonymous.is_some() && !self.has_identities()
    }

    /// Whether a call without credentials is anybody's.
    pub fn lets_strangers_in(&self) -> bool {
        self.anonymous.is_some()
    }

    /// Who makes a call.
    ///
    /// Errors: `Unauthenticated`; `Exhausted` when too many passwords are being checked.
    pub async fn admit(&self, offered: &Offered<'_>) -> Result<Arc<Principal>> {
        if self.is_open() {
            return self.anonymous();
        }
        let checked = self.check(offered).await;
        if *offered.credentials != Credentials::None {
            metrics::login(checked.is_ok());
        }
        checked
    }

    async fn check(&self, offered: &Offered<'_>) -> Result<Arc<Principal>> {
        let principal = match offered.credentials {
            Credentials::None => match offered.certificate {
                // Who shows a certificate has said who they are.
                Some(name) => self.by_certificate(name)?,
                None => return self.anonymous(),
            },
            Credentials::Basic { user, password } => {
                self.by_password(offered.address, user, password).await?
            }
            // Nobody guesses a token, so a wrong one is a mistake: a client whose token has expired must not slow others
            // at its address down.
            Credentials::Bearer(token) => self.by_token(token)?,
        };
        Ok(Arc::new(principal))
    }

    /// Who comes without credentials.
    ///
    /// Errors: `Unauthenticated` where nobody may.
    fn anonymous(&self) -> Result<Arc<Principal>> {
        self.anonymous.clone().ok_or_else(|| {
            refused("credentials are missing: log in with user and password, or send a token (header authorization)")
        })
    }

    /// The principal of a session that was logged in to before, as they are now.
    ///
    /// Errors: `Unauthenticated` when they may not come in any more.
    pub fn still(&self, principal: &Principal) -> Result<Arc<Principal>> {
        if !principal.is_known() {
            return self.anonymous();
        }
        let (user, _) =
            self.accounts.user(&principal.name).ok_or_else(|| refused("the user of this session is gone"))?;
        Ok(Arc::new(user))
    }

    /// Who comes with a session's token that is not known (any more).
    ///
    /// Errors: `Unauthenticated`, unless the server is open to everybody.
    pub fn with_unknown_session(&self) -> Result<Arc<Principal>> {
        if self.is_open() {
            return self.anonymous();
        }
        Err(refused(
            "the session of this token has ended (after session.idle_timeout without a call, after session.login_lifetime, or \
             with the server); log in again",
        ))
    }

    fn by_certificate(&self, name: &str) -> Result<Principal> {
        let (user, _) = self.accounts.user(name).ok_or_else(|| {
            refused(&format!(
                "the certificate is of \"{}\", who is no user here; `pintail user add` makes one",
                crate::error::shorten(name, 128)
            ))
        })?;
        Ok(user)
    }

    async fn by_password(&self, address: Option<IpAddr>, name: &str, password: &str) -> Result<Principal> {
        let found = self.accounts.user(name);
        if let Some((user, Some(hash))) = &found
            && self.proven.has(name, password, hash)
        {
            return Ok(user.clone());
        }
        let attempt = self.slow.begin(address, name).await?;
        let turn = self.checks.turn().await?;
        let hash = found.as_ref().and_then(|(_, hash)| hash.clone());
        // Another call of the same client was faster: clients open many connections at one time.
        let is_proven = hash.as_ref().is_some_and(|hash| self.proven.has(name, password, hash));
        let is_right = is_proven || turn.check(password, hash.clone()).await?;
        let (true, Some((user, _)), Some(hash)) = (is_right, found, hash) else {
            return Err(refused("wrong user name or password"));
        };
        attempt.succeeded();
        self.proven.add(name, password, &hash);
        Ok(user)
    }

    fn by_token(&self, token: &str) -> Result<Principal> {
        if token.starts_with(TOKEN_PREFIX) {
            return self.accounts.token(token);
        }
        match &self.jwt {
            Some(jwt) if token.matches('.').count() == 2 => jwt.check(token),
            _ => Err(refused("the token is none that this server knows")),
        }
    }

    /// Files of the settings that are read again when they change.
    pub fn watched(&self) -> Vec<PathBuf> {
        self.jwt.iter().map(Jwt::file).chain(self.accounts.tokens_file().map(Path::to_owned)).collect()
    }

    /// Reads one of those files again. What was in force stays so when it cannot be read. Blocks.
    ///
    /// Errors: `Invalid` naming the file.
    pub fn reload(&self, file: &Path) -> Result<()> {
        let keys = self.jwt.as_ref().filter(|jwt| jwt.file() == file).map_or(Ok(()), Jwt::reload);
        let has_tokens = self.accounts.tokens_file() == Some(file);
        if has_tokens { keys.and(self.accounts.reload()) } else { keys }
    }
}

fn refused(why: &str) -> Error {
    Error::new(Kind::Unauthenticated, why)
}
