//! One error type for the library: what happened, and what the caller should do next.
//! Runs on: any thread.
//! Never: gRPC types; `status` alone maps a [`Kind`] to a status code.

use std::fmt;
use std::time::Duration;

/// What the caller should do next. Few kinds, added rarely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Fix the request: SQL that does not parse, a schema that does not match.
    Invalid,
    /// Fix the name: a table, column, ticket or action that does not exist.
    NotFound,
    /// The thing to create is there already.
    Exists,
    /// Change the data or the state first: a constraint, a read-only table.
    Conflict,
    /// A named limit was hit; back off, or raise the setting the text names.
    Exhausted,
    /// The server cannot serve now; no row was appended. Retry.
    Unavailable,
    /// Two transactions collided; nothing was applied. Retry.
    Aborted,
    /// The caller went away or asked to stop.
    Cancelled,
    /// The caller's or the server's time limit passed.
    Deadline,
    /// This server does not do that; the text names another way where there is one.
    Unsupported,
    /// Not allowed on this server.
    Denied,
    /// Say who you are: credentials are missing, wrong or expired.
    Unauthenticated,
    /// A bug or a broken engine; details are in the server's log.
    Internal,
}

impl Kind {
    /// Every kind, for table tests.
    pub const ALL: [Kind; 13] = [
        Kind::Invalid,
        Kind::NotFound,
        Kind::Exists,
        Kind::Conflict,
        Kind::Exhausted,
        Kind::Unavailable,
        Kind::Aborted,
        Kind::Cancelled,
        Kind::Deadline,
        Kind::Unsupported,
        Kind::Denied,
        Kind::Unauthenticated,
        Kind::Internal,
    ];
}

/// An error with its [`Kind`] and a text that names table, column, limit or statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
    retry_after: Option<Duration>,
}

/// How long those whom a limit turned away are to stay away.
const BUSY: Duration = Duration::from_secs(1);
/// The same for those who lost to another transaction.
const COLLIDED: Duration = Duration::from_millis(50);

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`. Texts are lowercase, without a full stop, and say what was expected and what arrived.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// What the caller should do next.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The text for the caller.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same error with `what` in front, for example the table a stream was going to.
    pub fn context(self, what: impl fmt::Display) -> Self {
        let message = format!("{what}: {}", self.message);
        Self { message, ..self }
    }

    /// The same error in other words.
    pub fn reworded(&self, message: impl Into<String>) -> Self {
        Self { kind: self.kind, message: message.into(), retry_after: self.retry_after }
    }

    /// The same error, of which the same call may be rid after so long: what is in its way goes by itself.
    pub fn again_after(self, pause: Duration) -> Self {
        Self { retry_after: Some(pause), ..self }
    }

    /// How long to wait before the same call is worth another try; `None` where waiting alone does not help.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// [`Kind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// [`Kind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// [`Kind::Exhausted`]; `setting` is the configuration key of the limit that was hit.
    pub fn exhausted(setting: &str, message: impl fmt::Display) -> Self {
        Self::new(Kind::Exhausted, format!("{message} (limit: {setting})"))
    }

    /// As [`Error::exhausted`], for a limit that others leave again: the same call is worth another try in a second.
    pub fn busy(setting: &str, message: impl fmt::Display) -> Self {
        Self::exhausted(setting, message).again_after(BUSY)
    }

    /// [`Kind::Aborted`], by something that is over in a moment.
    pub fn collided(message: impl Into<String>) -> Self {
        Self::new(Kind::Aborted, message).again_after(COLLIDED)
    }

    /// [`Kind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, message)
    }

    /// [`Kind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// `text` cut at a character boundary so that it takes at most `bytes_max` bytes, an ellipsis included.
pub fn shorten(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let mut end = bytes_max.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// The known name that shares the most letters at both ends with `name`, when they are more than half of it.
pub fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| {
            let common = candidate.chars().zip(name.chars()).take_while(|(a, b)| a == b).count();
            // Letters at the end count once more only where they are not those of the beginning.
            let rest = candidate.chars().count().min(name.chars().count()) - common;
            let tails = candidate.chars().rev().zip(name.chars().rev()).take(rest);
            let tail = tails.take_while(|(a, b)| a == b).count();
            (common + tail, *candidate)
        })
        .max()
        .filter(|(common, _)| common * 2 > name.chars().count())
        .map(|(_, candidate)| candidate)
}
