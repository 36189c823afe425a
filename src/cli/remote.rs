//! Where the server is, who asks, and whom they trust: flags, environment, profile.
//! Runs on: the task of a command.
//! Never: prints a password or token; reads a profile with one that others can read as well.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::Args;
use pintail::client::{Client, ConnectOptions};
use pintail::error::{Error, Result};

use super::Failure;
use super::profile::Profile;

/// Where the server is when nothing says so.
const DEFAULT_SERVER: &str = "grpc://127.0.0.1:8815";

/// Where the server is, and who asks.
#[derive(Args, Clone)]
pub(super) struct Remote {
    /// Server address: grpc://host:port, or grpc+tls://host:port [default: grpc://127.0.0.1:8815]
    #[arg(long, env = "PINTAIL_SERVER", value_name = "URI")]
    server: Option<String>,
    /// Name of the user; the password is asked for, unless it is given
    #[arg(long, env = "PINTAIL_USER", value_name = "NAME")]
    user: Option<String>,
    /// The user's password; better in the environment
    #[arg(long, env = "PINTAIL_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// API token or JSON web token, in the place of user and password; better in the environment
    #[arg(long, env = "PINTAIL_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Certificate (PEM) of who signed the server's [default: those that the system trusts]
    #[arg(long, env = "PINTAIL_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The client's own certificate (PEM), where the server asks for one
    #[arg(long, env = "PINTAIL_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key (PEM) of --tls-cert
    #[arg(long, env = "PINTAIL_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Send credentials to another machine in plain text
    #[arg(long)]
    insecure: bool,
    /// Profile in ~/.config/pintail/profiles.toml that says what flags and environment do not [default: default]
    #[arg(long, env = "PINTAIL_PROFILE", value_name = "NAME")]
    profile: Option<String>,
}

impl Remote {
    /// Connects.
    pub(super) async fn connect(&self) -> Result<Client, Failure> {
        let (uri, options) = self.options()?;
        Ok(Client::connect_with(&uri, &options).await?)
    }

    /// The server's address.
    pub(super) fn uri(&self) -> Result<String, Failure> {
        Ok(self.settled()?.server.unwrap_or_else(|| DEFAULT_SERVER.to_owned()))
    }

    fn settled(&self) -> Result<Profile, Failure> {
        let profile = Profile::read(self.profile.as_deref()).map_err(Failure::Usage)?;
        // A variable that is set to nothing says nothing.
        let said = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let (own_user, own_password, own_token) = (said(&self.user), said(&self.password), said(&self.token));
        // Credentials come from one place: a token of the profile beside a user of the command line says two things.
        let has_own = own_user.is_some() || own_token.is_some();
        let (user, password, token) = if has_own {
            (own_user, own_password, own_token)
        } else {
            (profile.user, own_password.or(profile.password), profile.token)
        };
        if user.is_some() && token.is_some() {
            return Err(Failure::Usage(Error::invalid("expected a user or a token, found both")));
        }
        Ok(Profile {
            server: said(&self.server).or(profile.server),
            user,
            password,
            token,
            tls_ca: self.tls_ca.clone().or(profile.tls_ca),
            tls_cert: self.tls_cert.clone().or(profile.tls_cert),
            tls_key: self.tls_key.clone().or(profile.tls_key),
        })
    }

    fn options(&self) -> Result<(String, ConnectOptions), Failure> {
        let settled = self.settled()?;
        let read = |flag: &str, file: &Path| {
            std::fs::read(file).map_err(|error| {
                Failure::Usage(Error::invalid(format!("cannot read {} ({flag}): {error}", file.display())))
            })
        };
        let password = match (&settled.user, settled.password) {
            (Some(user), None) => Some(ask_once(&format!("Password of {user}: "))?),
            (_, password) => password,
        };
        let identity = match (&settled.tls_cert, &settled.tls_key) {
            (Some(cert), Some(key)) => Some((read("--tls-cert", cert)?, read("--tls-key", key)?)),
            _ => None,
        };
        let options = ConnectOptions {
            user: settled.user,
            password,
            token: settled.token,
            tls_ca: settled.tls_ca.as_deref().map(|file| read("--tls-ca", file)).transpose()?,
            identity,
            insecure: self.insecure,
        };
        Ok((settled.server.unwrap_or_else(|| DEFAULT_SERVER.to_owned()), options))
    }
}

/// Asks for the password that a command connects with, however often it does.
fn ask_once(prompt: &str) -> Result<String, Failure> {
    static ANSWER: OnceLock<String> = OnceLock::new();
    match ANSWER.get() {
        Some(answer) => Ok(answer.clone()),
        None => ask(prompt).map(|answer| ANSWER.get_or_init(|| answer).clone()),
    }
}

/// Asks at the terminal, without showing what is typed.
pub(super) fn ask(prompt: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(Error::invalid(
            "a password is missing; set PINTAIL_PASSWORD, or run this at a terminal to be asked for it",
        )));
    }
    rpassword::prompt_password(prompt)
        .map_err(|error| Failure::Usage(Error::invalid(format!("cannot read a password: {error}"))))
}
