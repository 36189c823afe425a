//! The certificates in force, and how they are renewed.
//! Runs on: the start of the server, and the task that watches files.
//! Never: gives up certificates that work for ones that do not.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio_rustls::rustls::ServerConfig;

use super::material::{Files, Material};
use crate::config;
use crate::error::Result;

/// What is spoken over a connection; TLS tells both sides (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    Http2,
    /// The HTTP port.
    Http1,
}

/// The certificates that connections are accepted with.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    in_force: RwLock<InForce>,
    // What was looked at last, whether it was taken or not.
    seen: Mutex<Material>,
}

struct InForce {
    http2: Arc<ServerConfig>,
    http1: Arc<ServerConfig>,
}

impl Tls {
    /// The certificates of the configuration; `None` when it asks for no TLS.
    ///
    /// Errors: `Invalid` naming the setting and the file.
    pub fn open(config: &config::Server) -> Result<Option<Self>> {
        let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
        let (cert, key, client_ca) = (cert.clone(), key.clone(), config.client_ca.clone());
        let files = Files { cert: &cert, key: &key, client_ca: client_ca.as_deref() };
        let material = files.read()?;
        let in_force = RwLock::new(InForce::new(&files, &material)?);
        Ok(Some(Self { cert, key, client_ca, in_force, seen: Mutex::new(material) }))
    }

    /// What a new connection is accepted with.
    pub(super) fn config(&self, protocol: Protocol) -> Arc<ServerConfig> {
        let in_force = self.in_force.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(match protocol {
            Protocol::Http2 => &in_force.http2,
            Protocol::Http1 => &in_force.http1,
        })
    }

    /// Looks whether the files have changed, and takes them; true when new ones are in force. Connections that are open
    /// go on with what they began with.
    ///
    /// Errors: `Invalid`, once for each change, for files that cannot be taken; those before stay in force.
    pub fn renew(&self) -> Result<bool> {
        let files = Files { cert: &self.cert, key: &self.key, client_ca: self.client_ca.as_deref() };
        let material = files.read()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == material {
            return Ok(false);
        }
        let renewed = InForce::new(&files, &material);
        *seen = material;
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = renewed?;
        Ok(true)
    }
}

impl InForce {
    fn new(files: &Files<'_>, material: &Material) -> Result<Self> {
        Ok(Self {
            http2: Arc::new(files.config(material, b"h2")?),
            http1: Arc::new(files.config(material, b"http/1.1")?),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn write(folder: &Path, names: &[&str]) {
        let made = crate::tls::self_signed::make(names).unwrap();
        std::fs::write(folder.join("cert.pem"), made.cert).unwrap();
        std::fs::write(folder.join("key.pem"), made.key).unwrap();
    }

    fn open(folder: &Path) -> Result<Option<Tls>> {
        Tls::open(&config::Server {
            tls_cert: Some(folder.join("cert.pem")),
            tls_key: Some(folder.join("key.pem")),
            ..config::Server::default()
        })
    }

    #[test]
    fn new_files_are_taken_and_broken_ones_are_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path();
        write(folder, &["localhost"]);
        let tls = open(folder).unwrap().unwrap();
        let first = tls.config(Protocol::Http2);
        assert!(!tls.renew().unwrap());
        write(folder, &["localhost"]);
        assert!(tls.renew().unwrap());
        let second = tls.config(Protocol::Http2);
        assert!(!Arc::ptr_eq(&first, &second));
        // A certificate that its key does not belong to yet: half of a renewal.
        let made = crate::tls::self_signed::make(&["localhost"]).unwrap();
        std::fs::write(folder.join("cert.pem"), made.cert).unwrap();
        assert!(tls.renew().unwrap_err().message().contains("server.tls_cert"));
        assert!(!tls.renew().unwrap(), "told already");
        assert!(Arc::ptr_eq(&second, &tls.config(Protocol::Http2)), "the last good one stays");
        std::fs::write(folder.join("key.pem"), made.key).unwrap();
        assert!(tls.renew().unwrap());
        std::fs::remove_file(folder.join("key.pem")).unwrap();
        assert!(tls.renew().unwrap_err().message().contains("key.pem"));
    }

    #[test]
    fn what_is_wrong_with_a_file_names_its_setting() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path();
        let told = |part: &str| {
            let error = open(folder).err().unwrap().to_string();
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        };
        told("server.tls_cert");
        write(folder, &["localhost"]);
        std::fs::write(folder.join("key.pem"), "nonsense").unwrap();
        told("server.tls_key");
        write(folder, &["localhost"]);
        std::fs::write(folder.join("cert.pem"), "nonsense").unwrap();
        told("expected certificates in PEM form");
    }
}
