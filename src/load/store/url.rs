//! A URL a person typed -> a store, a key, and a name that gives nothing away.
//! Runs on: any thread. Never: keeps user, password or query in a name.

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::{ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::{Position, Url};
use xxhash_rust::xxh3::xxh3_64;

/// Keys of query strings that sign a link, and differ from one link to the next.
const SIGNING: [&str; 14] = [
    "signature",
    "expires",
    "key-pair-id",
    "policy",
    "awsaccesskeyid",
    "googleaccessid",
    "token",
    "access_token",
    "sig",
    "se",
    "st",
    "sp",
    "spr",
    "skt",
];

/// Where an argument leads.
pub(super) struct Target {
    pub(super) store: Arc<dyn ObjectStore>,
    /// Decoded, without a slash at its beginning; with one at its end if it was given.
    pub(super) key: String,
    /// Stands before a key to make a name: `s3://bucket/`.
    pub(super) root: String,
    /// Follows a key in a name, for https alone: a checksum of the part of the query that selects the file.
    pub(super) selected: String,
    /// Whether there is nothing to list.
    pub(super) single: bool,
    /// Azure's listings leave the quotes of entity tags out, which its headers have.
    pub(super) bare_tags: bool,
}

impl Target {
    /// Errors: `Invalid` for what is no URL, `Denied` or `Invalid` for credentials that are wanting.
    pub(super) fn of(argument: &str) -> Result<Self> {
        let web = argument.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"));
        // Keys may hold what means something else in links, and patterns do.
        let text = if web { argument.to_owned() } else { argument.replace('?', "%3F").replace('#', "%23") };
        let shown = text_without_secrets(argument);
        let bad = |error: &dyn std::fmt::Display| {
            Error::invalid(format!(
                "\"{shown}\" is not a URL of a store: {}",
                text_without_secrets(&error.to_string())
            ))
        };
        let url = Url::parse(&text).map_err(|error| bad(&error))?;
        let (scheme, path) = ObjectStoreScheme::parse(&url).map_err(|error| bad(&error))?;
        let (client, retry) = (ClientOptions::new().with_allow_http(web), retries());
        let from = url.to_string();
        let store: object_store::Result<Arc<dyn ObjectStore>> = match scheme {
            ObjectStoreScheme::AmazonS3 => {
                let builder = AmazonS3Builder::from_env().with_url(&from).with_retry(retry);
                builder.build().map(|store| Arc::new(store) as _)
            }
            ObjectStoreScheme::GoogleCloudStorage => {
                let builder = GoogleCloudStorageBuilder::from_env().with_url(&from).with_retry(retry);
                builder.build().map(|store| Arc::new(store) as _)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let builder = MicrosoftAzureBuilder::from_env().with_url(&from).with_retry(retry);
                builder.build().map(|store| Arc::new(store) as _)
            }
            ObjectStoreScheme::Http => {
                // The query signs every request, wherever its path leads.
                let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
                let base = format!("{}/{query}", &url[..Position::BeforePath]);
                let builder = HttpBuilder::new().with_url(base).with_client_options(client).with_retry(retry);
                builder.build().map(|store| Arc::new(store) as _)
            }
            _ => return Err(bad(&"a store of that kind is not known")),
        };
        let store = store.map_err(|error| failed(&shown, &error))?;
        let slash = if url.path().ends_with('/') && !path.as_ref().is_empty() { "/" } else { "" };
        let key = format!("{path}{slash}");
        let mut plain = url.clone();
        // Both fail for URLs without a host alone, and there are none of those here.
        let _ = plain.set_username("");
        let _ = plain.set_password(None);
        let decoded = percent_decoded(&plain[..Position::AfterPath]);
        let root = decoded.strip_suffix(&key).unwrap_or(&decoded).to_owned();
        let single = scheme == ObjectStoreScheme::Http;
        let selected = if single { selection(&url) } else { String::new() };
        let bare_tags = scheme == ObjectStoreScheme::MicrosoftAzure;
        Ok(Self { store, key, root, selected, single, bare_tags })
    }

    pub(super) fn name(&self, key: &str) -> String {
        format!("{}{key}{}", self.root, self.selected)
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded =
            digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// The part of a query that does not sign, as a checksum: it may hold secrets of its own.
fn selection(url: &Url) -> String {
    let signs = |key: &str| {
        let key = key.to_lowercase();
        key.starts_with("x-amz-") || key.starts_with("x-goog-") || SIGNING.contains(&key.as_str())
    };
    let pairs = url.query_pairs().filter(|(key, _)| !signs(key));
    let rest: String = pairs.map(|(key, value)| format!("{key}={value}&")).collect();
    if rest.is_empty() { rest } else { format!("?{:016x}", xxh3_64(rest.as_bytes())) }
}

/// For a minute at most: whoever waits at a terminal gives up sooner than the three minutes of the default.
fn retries() -> RetryConfig {
    RetryConfig {
        max_retries: 5,
        retry_timeout: std::time::Duration::from_secs(60),
        ..RetryConfig::default()
    }
}

/// A store's error in a load's words.
pub(super) fn failed(name: &str, error: &object_store::Error) -> Error {
    use object_store::Error as Failed;
    let mut text = text_without_secrets(&error.to_string()).replace(['\n', '\r'], " ");
    let kind = match error {
        Failed::NotFound { .. } => {
            return Error::not_found(format!("no object at {name}"));
        }
        Failed::Precondition { .. } => return changed(name),
        _ if text.contains("<Code>NoSuchBucket</Code>") => {
            return Error::not_found(format!("no bucket for {name}"));
        }
        _ if text.contains("non-partial response") || text.contains("Range request not supported") => {
            text = "the server gives whole files only (no ranges); download the file and load the copy"
                .to_owned();
            Kind::Unsupported
        }
        Failed::PermissionDenied { .. } | Failed::Unauthenticated { .. } => Kind::Denied,
        Failed::InvalidPath { .. } | Failed::NotSupported { .. } | Failed::NotImplemented { .. } => {
            Kind::Invalid
        }
        _ => Kind::Unavailable,
    };
    Error::new(kind, format!("cannot read {name}: {text}"))
}

pub(super) fn changed(name: &str) -> Error {
    let text = format!("{name} was written to while it was read; load it again when it is finished");
    Error::new(Kind::Conflict, text)
}

/// Takes queries, users and passwords out of the URLs in a text.
pub(super) fn text_without_secrets(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let ends = |letter: char| letter.is_whitespace() || matches!(letter, '"' | '\'' | ')' | '>' | '`');
    for word in text.split_inclusive(ends) {
        let Some((before, after)) = word.split_once("://") else {
            clean.push_str(word);
            continue;
        };
        let end = word.chars().next_back().filter(|letter| ends(*letter));
        let host_end = after.find('/').unwrap_or(after.len());
        let after = after[..host_end].rfind('@').map_or(after, |at| &after[at + 1..]);
        clean.push_str(before);
        clean.push_str("://");
        match after.find('?') {
            Some(at) => {
                clean.push_str(&after[..at]);
                clean.push_str("?…");
                clean.extend(end);
            }
            None => clean.push_str(after),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name says where an object is, and nothing of how one may get at it.
    #[test]
    fn names_hold_no_secrets() {
        super::super::object::install_tls();
        let name = |argument: &str| {
            let target = Target::of(argument).unwrap();
            target.name(&target.key)
        };
        assert_eq!(name("https://user:secret@host:8443/a%20b/t.csv"), "https://host:8443/a b/t.csv");
        assert_eq!(name("http://host/t.csv?X-Amz-Signature=abc&Expires=1"), "http://host/t.csv");
        let selected = name("http://host/t.csv?id=1&sig=abc");
        assert_eq!(selected, name("http://host/t.csv?id=1&sig=def"));
        assert_ne!(selected, name("http://host/t.csv?id=2&sig=abc"));
        assert!(!selected.contains("id=1"), "{selected}");
        assert_eq!(
            text_without_secrets("GET https://me:pw@h/p?sig=abc failed (http://h/x?y=1) at \"s3://b/k\""),
            "GET https://h/p?… failed (http://h/x?…) at \"s3://b/k\""
        );
        let error = Target::of("https://user:secret@/x?sig=abc").err().unwrap();
        assert!(!error.message().contains("secret") && !error.message().contains("abc"), "{error}");
    }
}
