//! File, environment and flags -> the configuration in force.
//! Runs on: any thread, once.

use std::path::Path;

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};

use super::{Config, problems};
use crate::error::{Error, Result};

/// What was given on the command line; it stands above environment and file.
pub struct Flags<'a> {
    /// Settings by their dotted keys.
    pub overrides: &'a [(&'a str, String)],
    /// `--insecure`.
    pub insecure: bool,
    /// `--tls-self-signed`: certificate and key beside the database.
    pub tls_self_signed: bool,
}

impl Config {
    /// Reads file, environment and overrides (dotted key, value), then validates.
    ///
    /// Errors: `Invalid` naming the key, its source, and what was expected.
    pub fn load(file: Option<&Path>, overrides: &[(&str, String)]) -> Result<Self> {
        Self::load_with(file, &Flags { overrides, insecure: false, tls_self_signed: false })
    }

    /// [`Self::load`], with what was given on the command line.
    pub fn load_with(file: Option<&Path>, flags: &Flags<'_>) -> Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Config::default()));
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Error::invalid(format!("cannot read config file {}: {error}", path.display()))
            })?;
            text.parse::<toml::Table>().map_err(|error| {
                Error::invalid(format!("config file {} is not TOML: {}", path.display(), error.message()))
            })?;
            figment = figment.merge(Toml::file_exact(path));
        }
        figment = figment.merge(
            // Variables without a level, such as PINTAIL_CONFIG, belong to the command line.
            Env::prefixed("PINTAIL_").filter(|key| key.as_str().contains("__")).split("__"),
        );
        for (key, value) in flags.overrides {
            figment = figment.merge((*key, value.clone()));
        }
        if flags.insecure {
            figment = figment.merge(("server.insecure", true));
        }
        if flags.tls_self_signed {
            let database = figment.extract_inner::<String>("database.path").unwrap_or_default();
            let beside = if database == ":memory:" { "pintail" } else { &database };
            figment = figment
                .merge(("server.tls_cert", format!("{beside}.tls-cert.pem")))
                .merge(("server.tls_key", format!("{beside}.tls-key.pem")));
        }
        problems::extract(&figment)
    }

    /// The effective configuration as TOML, as `pintail config print` shows it.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("the config holds only tables, texts, numbers and booleans")
    }
}
