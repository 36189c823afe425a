//! `~/.config/pintail/profiles.toml`: servers by name, with what is needed to connect.
//! Runs on: the main thread.
//! Never: takes secrets from a file that others can read; prints one.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pintail::error::{Error, Result};
use serde::Deserialize;

use super::Failure;

/// The profile taken when none is named.
const DEFAULT: &str = "default";

/// A server, and who connects to it.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    pub(super) server: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) token: Option<String>,
    pub(super) tls_ca: Option<PathBuf>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
}

impl Profile {
    /// The profile of that name; without a name, the default one if there is one.
    ///
    /// Errors: `Invalid` for a file that cannot be read, or has no such profile.
    pub(super) fn read(name: Option<&str>) -> Result<Self> {
        let Some(file) = file().filter(|file| file.exists()) else {
            return match name {
                None => Ok(Self::default()),
                Some(name) => Err(Error::invalid(format!(
                    "there is no profile \"{name}\": ~/.config/pintail/profiles.toml is not there"
                ))),
            };
        };
        let mut profiles = read_all(&file)?;
        let found = profiles.remove(name.unwrap_or(DEFAULT));
        match (found, name) {
            (Some(profile), _) => Ok(profile),
            (None, None) => Ok(Self::default()),
            (None, Some(name)) => Err(Error::invalid(format!(
                "there is no profile \"{name}\" in {} (it has {})",
                file.display(),
                profiles.keys().cloned().collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    fn has_secrets(&self) -> bool {
        self.password.is_some() || self.token.is_some()
    }
}

/// Prints the profiles: where they lead, and as whom.
pub(super) fn list() -> Result<(), Failure> {
    let Some(file) = file().filter(|file| file.exists()) else {
        say!(
            "no profiles yet; write them into ~/.config/pintail/profiles.toml, as in [prod] server = \"grpc+tls://host:8815\""
        );
        return Ok(());
    };
    for (name, profile) in read_all(&file).map_err(Failure::Usage)? {
        let server = profile.server.as_deref().unwrap_or("(the default server)");
        let who = match (&profile.user, &profile.token) {
            (Some(user), _) => format!(" as {user}"),
            (None, Some(_)) => " by token".to_owned(),
            (None, None) => String::new(),
        };
        say!("{name}  {server}{who}");
    }
    Ok(())
}

fn file() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_CONFIG_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
    Some(folder.join("pintail").join("profiles.toml"))
}

fn read_all(file: &Path) -> Result<BTreeMap<String, Profile>> {
    let wrong = |why: String| Error::invalid(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let profiles: BTreeMap<String, Profile> =
        toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
    let mode = file.metadata().map_err(|error| wrong(error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 && profiles.values().any(Profile::has_secrets) {
        return Err(wrong(format!(
            "it holds a password or token and others can read it (mode {:03o}); run chmod 600 {}",
            mode & 0o777,
            file.display()
        )));
    }
    Ok(profiles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_secrets_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("profiles.toml");
        let write = |text: &str, mode: u32| {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            read_all(&file)
        };
        let secret = "[prod]\nserver = \"grpc+tls://host\"\ntoken = \"ptk_x\"";
        assert!(write(secret, 0o600).unwrap()["prod"].token.is_some());
        let error = write(secret, 0o640).err().unwrap().to_string();
        assert!(error.contains("chmod 600") && error.contains("640") && !error.contains("ptk_x"), "{error}");
        assert!(write("[prod]\nserver = \"grpc://host\"", 0o644).is_ok());
        let error = write("[prod]\nsever = \"x\"", 0o600).err().unwrap().to_string();
        assert!(error.contains("sever"), "{error}");
    }
}
