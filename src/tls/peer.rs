//! A client's certificate, which TLS has checked -> the name in it.
//! Runs on: the task of a handshake; pure.
//! Never: decides whether the certificate is to be trusted.

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The common name, or else the first name among the alternative ones (address of mail, host, URI); `None` when there is
/// none that is text.
pub(super) fn name(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    if let Some(name) = certificate.subject().iter_common_name().find_map(|name| name.as_str().ok()) {
        return Some(name.to_owned());
    }
    let alternatives = certificate.subject_alternative_name().ok()??;
    alternatives.value.general_names.iter().find_map(|name| match name {
        GeneralName::RFC822Name(name) | GeneralName::DNSName(name) | GeneralName::URI(name) => {
            Some((*name).to_owned())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    #[test]
    fn the_common_name_stands_above_the_alternative_ones() {
        let made = |common: Option<&str>, alternatives: &[&str]| {
            let names: Vec<String> = alternatives.iter().map(|name| (*name).to_owned()).collect();
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name = DistinguishedName::new();
            if let Some(common) = common {
                params.distinguished_name.push(DnType::CommonName, common);
            }
            name(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
        };
        assert_eq!(made(Some("ada"), &["host"]).as_deref(), Some("ada"));
        assert_eq!(made(None, &["host"]).as_deref(), Some("host"));
        assert_eq!(made(None, &[]), None);
        assert_eq!(name(b"nonsense"), None);
    }
}
