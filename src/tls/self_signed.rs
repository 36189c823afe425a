//! A certificate that nobody else has signed, for a first try.
//! Runs on: the start of the server.
//! Never: replaces one that is there; leaves a key readable for others.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::error::{Error, Result};

/// How long the certificate is good for.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A certificate for a first try.
pub struct SelfSigned {
    /// SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` prints it.
    pub fingerprint: String,
    /// Whether it was made now.
    pub is_new: bool,
}

pub(super) struct Made {
    pub(super) cert: String,
    pub(super) key: String,
}

/// Makes certificate and key for a server that listens on `address`, unless both are there.
///
/// Errors: `Invalid` naming the file that cannot be written or read.
pub fn self_signed(cert: &Path, key: &Path, address: IpAddr) -> Result<SelfSigned> {
    let is_new = !(cert.exists() && key.exists());
    if is_new {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        if !address.is_unspecified() && !address.is_loopback() {
            names.push(address.to_string());
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        if !host.trim().is_empty() {
            names.push(host.trim().to_owned());
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let made = make(&names)?;
        write(key, &made.key, 0o600)?;
        write(cert, &made.cert, 0o644)?;
    }
    let der = CertificateDer::from_pem_file(cert)
        .map_err(|_| Error::invalid(format!("{}: expected a certificate in PEM form", cert.display())))?;
    let mut fingerprint = String::new();
    for byte in Sha256::digest(&der) {
        let colon = if fingerprint.is_empty() { "" } else { ":" };
        // Writing into a text does not fail.
        let _ = write!(fingerprint, "{colon}{byte:02X}");
    }
    Ok(SelfSigned { fingerprint, is_new })
}

/// A certificate for `names` that has signed itself.
pub(super) fn make(names: &[&str]) -> Result<Made> {
    let failed = |error: rcgen::Error| Error::internal(format!("a certificate cannot be made: {error}"));
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "Pintail");
    let now = SystemTime::now();
    // Clocks of clients may be behind.
    params.not_before = (now - Duration::from_secs(3600)).into();
    params.not_after = (now + LIFETIME).into();
    let key = KeyPair::generate().map_err(failed)?;
    let cert = params.self_signed(&key).map_err(failed)?;
    Ok(Made { cert: cert.pem(), key: key.serialize_pem() })
}

fn write(file: &Path, text: &str, mode: u32) -> Result<()> {
    let open: std::io::Result<File> =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(file);
    open.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Error::invalid(format!("cannot write {}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_the_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (cert, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        let address = "10.1.2.3".parse().unwrap();
        let first = self_signed(&cert, &key, address).unwrap();
        let again = self_signed(&cert, &key, address).unwrap();
        assert!(first.is_new && !again.is_new);
        assert_eq!(first.fingerprint, again.fingerprint);
        assert_eq!(first.fingerprint.len(), 32 * 3 - 1);
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
