//! A server's URI and what a client says of itself -> a connection.
//! Runs on: async tasks of the caller.
//! Never: shows a password or token; sends one over a connection that others can read, unless it stays on this machine.

use std::fmt;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use tonic::body::Body;
use tonic::transport::channel::ResponseFuture;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tower_service::Service;

use crate::error::{Error, Kind, Result};

/// Who a client is, and whom it trusts.
#[derive(Clone, Default)]
pub struct ConnectOptions {
    /// Name of the user; with [`password`](Self::password).
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// An API token or a JSON web token, in the place of user and password.
    pub token: Option<String>,
    /// Certificates (PEM) of who signs the server's, for `grpc+tls://`. Default: those the system trusts.
    pub tls_ca: Option<Vec<u8>>,
    /// The client's own certificate and key (PEM), where the server asks for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Send credentials in plain text to another machine. Default false.
    pub insecure: bool,
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions").field("user", &self.user).finish_non_exhaustive()
    }
}

impl ConnectOptions {
    fn header(&self) -> Result<Option<HeaderValue>> {
        let text = match (&self.token, &self.user) {
            (Some(token), _) => format!("Bearer {token}"),
            (None, Some(user)) => {
                if user.contains(':') {
                    return Err(Error::invalid("a user's name has no colon"));
                }
                let password = self.password.as_deref().unwrap_or_default();
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }
            (None, None) => return Ok(None),
        };
        let mut header = HeaderValue::from_str(&text)
            .map_err(|_| Error::invalid("a token has letters that no header has"))?;
        header.set_sensitive(true);
        Ok(Some(header))
    }

    fn tls(&self, host: Option<&str>) -> ClientTlsConfig {
        let mut tls = ClientTlsConfig::new();
        tls = match &self.tls_ca {
            Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            None => tls.with_native_roots(),
        };
        if let Some((cert, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        // An address of IPv6 stands in brackets, which certificates do not know.
        match host.and_then(|host| host.strip_prefix('[')?.strip_suffix(']')) {
            Some(address) => tls.domain_name(address),
            None => tls,
        }
    }
}

/// Connects to `grpc://host:port` or `grpc+tls://host:port`.
///
/// Errors: `Invalid` for a URI that cannot be used, or credentials that everybody on the way could read; `Unavailable`
/// when nobody listens there; `Unauthenticated` when the server's certificate is not to be trusted.
pub(super) async fn connect(uri: &str, options: &ConnectOptions) -> Result<Authorized> {
    let wrong = || {
        Error::invalid(format!(
            "expected a server as grpc://host:port or grpc+tls://host:port, found \"{uri}\""
        ))
    };
    let (is_secret, address) = match uri.split_once("://") {
        Some(("grpc" | "grpc+tcp" | "http", rest)) if !rest.is_empty() => (false, format!("http://{rest}")),
        Some(("grpc+tls" | "https", rest)) if !rest.is_empty() => (true, format!("https://{rest}")),
        None if !uri.is_empty() => (false, format!("http://{uri}")),
        _ => return Err(wrong()),
    };
    let mut endpoint = Endpoint::from_shared(address).map_err(|_| wrong())?;
    let header = options.header()?;
    let host = endpoint.uri().host().map(ToOwned::to_owned);
    if is_secret {
        endpoint = endpoint
            .tls_config(options.tls(host.as_deref()))
            .map_err(|error| Error::invalid(format!("certificates of this client: {}", deepest(&error))))?;
    } else if header.is_some() && !options.insecure && !is_local(host.as_deref()) {
        return Err(Error::invalid(format!(
            "{uri} is not encrypted, and everybody on the way could read the credentials; use grpc+tls:// (or pass --insecure)"
        )));
    }
    let endpoint = endpoint
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        // A peer that has vanished without closing its connection is noticed, also in the middle of a call.
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .initial_stream_window_size(16 << 20)
        .initial_connection_window_size(64 << 20);
    let channel = endpoint.connect().await.map_err(|error| refused(uri, is_secret, &error))?;
    Ok(Authorized { channel, header })
}

fn refused(uri: &str, is_secret: bool, error: &tonic::transport::Error) -> Error {
    let cause = deepest(error);
    if is_secret && cause.contains("certificate") {
        return Error::new(
            Kind::Unauthenticated,
            format!(
                "the server at {uri} cannot be trusted: {cause}; name the certificate of who signed its own (--tls-ca)"
            ),
        );
    }
    let tls = if is_secret { "; does it speak TLS?" } else { "" };
    Error::new(
        Kind::Unavailable,
        format!(
            "no server answers at {uri}; is `pintail serve` running there{}",
            if tls.is_empty() { "?" } else { tls }
        ),
    )
}

/// What is behind an error in the end.
fn deepest(error: &tonic::transport::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Whether the server is on this machine.
fn is_local(host: Option<&str>) -> bool {
    let Some(host) = host else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// A connection that is open already, and needs nobody to say who calls.
pub(super) fn over(channel: Channel) -> Authorized {
    Authorized { channel, header: None }
}

/// A connection whose calls say who makes them.
#[derive(Debug, Clone)]
pub struct Authorized {
    channel: Channel,
    header: Option<HeaderValue>,
}

impl Service<http::Request<Body>> for Authorized {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if let Some(header) = &self.header {
            request.headers_mut().insert(AUTHORIZATION, header.clone());
        }
        self.channel.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_sent_as_headers_and_shown_nowhere() {
        let options = |user: Option<&str>, token: Option<&str>| ConnectOptions {
            user: user.map(ToOwned::to_owned),
            password: user.map(|_| "secret".to_owned()),
            token: token.map(ToOwned::to_owned),
            ..ConnectOptions::default()
        };
        let header = |options: &ConnectOptions| {
            options.header().map(|header| header.map(|header| header.to_str().unwrap_or_default().to_owned()))
        };
        assert_eq!(
            header(&options(Some("ada"), None)).ok().flatten().as_deref(),
            Some("Basic YWRhOnNlY3JldA==")
        );
        assert_eq!(
            header(&options(Some("ada"), Some("ptk_x"))).ok().flatten().as_deref(),
            Some("Bearer ptk_x")
        );
        assert_eq!(header(&options(None, None)).ok(), Some(None));
        assert!(
            header(&options(Some("a:b"), None)).is_err() && header(&options(None, Some("a\nb"))).is_err()
        );
        assert!(!format!("{:?}", options(Some("ada"), Some("ptk_x"))).contains("ptk_x"));
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for local in ["localhost", "127.0.0.1", "[::1]", "127.3.2.1"] {
            assert!(is_local(Some(local)), "{local}");
        }
        for other in ["example.com", "10.0.0.1", "[2001:db8::1]", "localhost.example.com"] {
            assert!(!is_local(Some(other)), "{other}");
        }
    }
}
