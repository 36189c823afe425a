//! Where a request comes from: a page of another site must not act through its visitor's browser.
//! Runs on: the task of the call; pure.
//! Never: trusts a name that leads here, which anybody's DNS can say.

use std::net::IpAddr;

use ::http::header::{HOST, ORIGIN};
use ::http::{HeaderMap, StatusCode};

use super::error::Refused;
use crate::error::{Error, Kind};

/// Names that this server answers to.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    hosts: Vec<String>,
}

impl Guard {
    /// Beside addresses and `localhost`, `hosts`.
    pub(super) fn new(hosts: &[String]) -> Self {
        Self { hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect() }
    }

    /// Refuses a request that a page of another site makes its visitor's browser send, and one to a name that is not ours:
    /// such a name may lead to this machine alone because its owner says so.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refused> {
        self.check_host(headers)?;
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let foreign = |what: String| {
            let error =
                Error::new(Kind::Denied, format!("{what}; pages of other sites may not use this server"));
            Err(Refused::with(StatusCode::FORBIDDEN, error))
        };
        if let Some(site) = text("sec-fetch-site").filter(|site| !matches!(*site, "same-origin" | "none")) {
            return foreign(format!("header sec-fetch-site is {site}"));
        }
        match (headers.get(ORIGIN), headers.get(HOST)) {
            (None, _) => Ok(()),
            (Some(origin), host) => {
                let origin = origin.to_str().unwrap_or_default();
                let authority = origin.split_once("://").map(|(_, authority)| authority);
                let host = host.and_then(|host| host.to_str().ok());
                match (authority, host) {
                    (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host) => Ok(()),
                    _ => foreign(format!("header origin is {}", crate::error::shorten(origin, 100))),
                }
            }
        }
    }

    /// Refuses a request to a name that is not ours.
    pub(super) fn check_host(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = name_of(host);
        let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        let lower = name.to_ascii_lowercase();
        if is_address || lower == "localhost" || lower.ends_with(".localhost") || self.hosts.contains(&lower)
        {
            return Ok(());
        }
        Err(Refused::with(
            StatusCode::MISDIRECTED_REQUEST,
            Error::new(
                Kind::Denied,
                format!(
                    "header host is \"{}\", which is no name of this server; add it to server.http_hosts, or use the server's \
                     address",
                    crate::error::shorten(host, 100)
                ),
            ),
        ))
    }
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pairs: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        Guard::new(&["db.example".to_owned()]).check(&headers).is_err()
    }

    #[test]
    fn only_names_of_this_server_are_answered() {
        for host in ["localhost", "127.0.0.1:8816", "[::1]:8816", "10.0.0.7", "DB.example:1", "a.localhost:9"]
        {
            assert!(!refused(&[("host", host)]), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example:8816", "127.0.0.1.evil.example", "db.example.evil"]
        {
            assert!(refused(&[("host", host)]), "{host}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let host = ("host", "127.0.0.1:8816");
        assert!(!refused(&[host, ("origin", "http://127.0.0.1:8816")]));
        for origin in ["http://evil.example", "null", "http://127.0.0.1:8817", "http://127.0.0.1"] {
            assert!(refused(&[host, ("origin", origin)]), "{origin}");
        }
        assert!(!refused(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(!refused(&[host, ("sec-fetch-site", "none")]));
        assert!(refused(&[host, ("sec-fetch-site", "cross-site")]));
        assert!(refused(&[host, ("sec-fetch-site", "same-site")]));
    }
}
