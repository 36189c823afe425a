//! PEM files -> rustls' server configuration. Protocol versions and ciphers are rustls' own defaults.
//! Runs on: the start of the server, and when a file changes.
//! Never: shows a key.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::error::{Error, Result};

/// What the files hold, to see whether they have changed.
#[derive(PartialEq, Eq)]
pub(super) struct Material {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// Where the files are.
#[derive(Debug, Clone)]
pub(super) struct Files<'a> {
    pub(super) cert: &'a Path,
    pub(super) key: &'a Path,
    pub(super) client_ca: Option<&'a Path>,
}

impl Files<'_> {
    /// Reads the files.
    ///
    /// Errors: `Invalid` naming the setting and the file.
    pub(super) fn read(&self) -> Result<Material> {
        let read = |setting, file: &Path| std::fs::read(file).map_err(|error| wrong(setting, file, &error));
        Ok(Material {
            cert: read("server.tls_cert", self.cert)?,
            key: read("server.tls_key", self.key)?,
            client_ca: self.client_ca.map(|file| read("server.client_ca", file)).transpose()?,
        })
    }

    /// What rustls makes of them, for connections that speak `protocol`.
    ///
    /// Errors: `Invalid` naming the setting, the file, and what was expected.
    pub(super) fn config(&self, material: &Material, protocol: &[u8]) -> Result<ServerConfig> {
        let chain = certificates("server.tls_cert", self.cert, &material.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&material.key).map_err(|_| {
            wrong("server.tls_key", self.key, &"expected a private key in PEM form (PKCS#8, PKCS#1 or SEC1)")
        })?;
        let provider = Arc::new(ring::default_provider());
        let versions = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::internal(format!("TLS cannot be set up: {error}")))?;
        let verified = match (self.client_ca, &material.client_ca) {
            (Some(file), Some(text)) => {
                let mut roots = RootCertStore::empty();
                for root in certificates("server.client_ca", file, text)? {
                    roots.add(root).map_err(|error| wrong("server.client_ca", file, &error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| wrong("server.client_ca", file, &error))?;
                versions.with_client_cert_verifier(verifier)
            }
            _ => versions.with_no_client_auth(),
        };
        let mut config = verified
            .with_single_cert(chain, key)
            .map_err(|error| wrong("server.tls_cert, server.tls_key", self.cert, &error))?;
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(config)
    }
}

fn certificates(setting: &str, file: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let expected = &"expected certificates in PEM form";
    let read: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = read.map_err(|_| wrong(setting, file, expected))?;
    if found.is_empty() { Err(wrong(setting, file, expected)) } else { Ok(found) }
}

fn wrong(setting: &str, file: &Path, why: &dyn fmt::Display) -> Error {
    Error::invalid(format!("setting {setting}: {}: {why}", file.display()))
}
