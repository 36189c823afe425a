//! A request's cookie, bearer token or connection -> the client's session.
//! Runs on: async tasks; a look-up in memory.
//! Never: makes a session known to anybody but its client.

use std::net::SocketAddr;
use std::sync::Arc;

use arrow_flight::HandshakeResponse;
use tonic::Response;
use tonic::metadata::{MetadataMap, MetadataValue};

use super::answers::{Answers, answers};
use crate::about::{Recorder, Who};
use crate::auth::{Credentials, Gate, Offered, Principal};
use crate::error::{Error, Result, shorten};
use crate::flight::wire::Link;
use crate::session::{ClientSession, Handle, InUse, Sessions};

/// Name of the session cookie, as Flight's own session middleware calls it.
const COOKIE: &str = "arrow_flight_session_id";
/// Before the number in a bearer token, so that a token of another kind is not taken for one of an earlier run.
const TOKEN: &str = "pintail-";

/// How much of a name is taken note of that nobody has.
const CLAIMED_BYTES_MAX: usize = 64;

/// Who makes a call.
#[derive(Clone)]
pub(in crate::flight) struct Caller {
    pub(in crate::flight) session: Arc<ClientSession>,
    pub(in crate::flight) principal: Arc<Principal>,
    pub(in crate::flight) address: Option<SocketAddr>,
    /// Takes note of the call.
    pub(in crate::flight) recorder: Arc<Recorder>,
    /// `trace-id` of the W3C `traceparent` header.
    pub(in crate::flight) trace: Option<String>,
    /// Held until the call has ended, and the stream it began.
    pub(in crate::flight) in_use: InUse,
    has_cookie: bool,
}

impl Caller {
    /// Who makes the call, and which session of theirs it is: by cookie, then by bearer token, then by TCP connection.
    ///
    /// Errors: `Unauthenticated`.
    pub(in crate::flight) async fn find(
        gate: &Gate,
        sessions: &Sessions,
        recorder: &Arc<Recorder>,
        metadata: &MetadataMap,
        extensions: &tonic::Extensions,
    ) -> Result<Self> {
        let link = extensions.get::<Link>();
        let address = link.and_then(Link::address);
        let credentials = Credentials::read(metadata.get("authorization").map(MetadataValue::as_bytes))?;
        let token = own_token(&credentials);
        let by_token = token.and_then(|token| sessions.by_bearer(token));
        // No client has a link that says who calls, so it needs no proof.
        let principal = match link.and_then(Link::principal) {
            Some(inside) => Arc::clone(inside),
            None => match (&by_token, token) {
                (Some(session), _) => gate.still(&session.principal())?,
                (None, Some(_)) => gate.with_unknown_session()?,
                (None, None) => {
                    let (credentials, certificate) = (&credentials, link.and_then(Link::certificate));
                    let address = address.map(|address| address.ip());
                    gate.admit(&Offered { credentials, certificate, address }).await?
                }
            },
        };
        if let Some(link) = link {
            link.welcome();
        }
        let cookie = cookie(metadata);
        let by_cookie = cookie.and_then(|cookie| sessions.by_cookie(cookie, &principal));
        let has_cookie = by_cookie.is_some();
        let known = by_cookie.or(by_token);
        let session = known.unwrap_or_else(|| {
            let open = || {
                if principal.is_known() {
                    recorder.logged_in(Who::of(&principal, address), trace_id(metadata));
                }
                sessions.open(&principal)
            };
            let session = match link {
                Some(link) => link.session(&principal, open),
                None => open(),
            };
            if let Some(unknown) = cookie.or(token) {
                sessions.stand_in(&session, unknown);
            }
            session
        });
        session.belongs_to(&principal);
        let in_use = session.enter();
        let (recorder, trace) = (Arc::clone(recorder), trace_id(metadata));
        Ok(Self { session, principal, address, recorder, trace, in_use, has_cookie })
    }

    /// Gives the client its cookie, unless it has sent one.
    pub(in crate::flight) fn with_cookie<T>(
        &self,
        mut response: Response<T>,
        sessions: &Sessions,
    ) -> Response<T> {
        if !self.has_cookie
            && let Ok(cookie) = sessions.cookie(&self.session)
            && let Ok(value) = format!("{COOKIE}={cookie:032x}; Path=/; HttpOnly").parse()
        {
            response.metadata_mut().insert("set-cookie", value);
        }
        response
    }
}

/// Who a call that was not let in says that it is of.
pub(in crate::flight) fn claimed(metadata: &MetadataMap, extensions: &tonic::Extensions) -> Who {
    let user = match Credentials::read(metadata.get("authorization").map(MetadataValue::as_bytes)) {
        Ok(Credentials::Basic { user, .. }) => shorten(&user, CLAIMED_BYTES_MAX),
        _ => String::new(),
    };
    Who { user, peer: extensions.get::<Link>().and_then(Link::address), ..Who::default() }
}

/// Handshake: a bearer token with a session of its own. Who comes with a token already keeps that one.
pub(in crate::flight) fn handshake(
    sessions: &Sessions,
    caller: &Caller,
    metadata: &MetadataMap,
) -> Result<Response<Answers<HandshakeResponse>>> {
    let sent = metadata.get("authorization").and_then(|value| value.to_str().ok());
    let sent = sent.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| is_bearer(scheme));
    let token = match sent {
        Some((_, token)) if caller.principal.is_known() => token.trim().to_owned(),
        _ => format!("{TOKEN}{:032x}", sessions.bearer(&caller.principal)?),
    };
    let bearer = format!("Bearer {token}")
        .parse()
        .map_err(|_| Error::internal("a token does not fit into a header"))?;
    let payload = HandshakeResponse { protocol_version: 0, payload: token.into() };
    let mut response = answers(vec![payload]);
    response.metadata_mut().insert("authorization", bearer);
    Ok(response)
}

fn is_bearer(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("bearer")
}

/// The number in a token that a handshake gave out.
fn own_token(credentials: &Credentials) -> Option<Handle> {
    match credentials {
        Credentials::Bearer(token) => number(token.strip_prefix(TOKEN)?),
        _ => None,
    }
}

fn cookie(metadata: &MetadataMap) -> Option<Handle> {
    metadata
        .get_all("cookie")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .find_map(|(_, value)| number(value.trim_matches('"')))
}

fn number(text: &str) -> Option<Handle> {
    if text.len() == 32 { Handle::from_str_radix(text, 16).ok() } else { None }
}

/// `version "-" trace-id "-" parent-id "-" trace-flags` (W3C Trace Context, section 3.2).
fn trace_id(metadata: &MetadataMap) -> Option<String> {
    let mut parts = metadata.get("traceparent")?.to_str().ok()?.split('-');
    let trace_id = parts.nth(1)?;
    let valid = trace_id.len() == 32 && trace_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| trace_id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_tokens_and_traces_read_from_headers() {
        let mut metadata = MetadataMap::new();
        let id = "0123456789abcdef0123456789abcdef";
        metadata.insert("cookie", format!("other=1; {COOKIE}={id}").parse().unwrap());
        metadata.insert("traceparent", format!("00-{id}-00f067aa0ba902b7-01").parse().unwrap());
        assert_eq!(cookie(&metadata), Some(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        assert_eq!(own_token(&Credentials::Bearer(format!("{TOKEN}{id}"))), cookie(&metadata));
        assert_eq!(trace_id(&metadata).as_deref(), Some(id));
        metadata.insert("cookie", format!("{COOKIE}=short").parse().unwrap());
        metadata.insert("traceparent", "00-zz-1-1".parse().unwrap());
        assert_eq!((cookie(&metadata), trace_id(&metadata)), (None, None));
        assert_eq!(
            own_token(&Credentials::Bearer(id.to_owned())),
            None,
            "a token that this server never gave out says nothing of a session"
        );
    }
}
