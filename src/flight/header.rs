//! Request headers and session options -> what a call asks for, each checked.
//! Runs on: async tasks; pure. Never: ignores a header of ours that it cannot honour.

use std::time::{Duration, Instant};

use arrow::ipc::CompressionType;
use tonic::metadata::MetadataMap;

use crate::error::{Error, Result};
use crate::ingest::Mode;
use crate::query::RunOptions;
use crate::session::ClientSession;

/// Names of the options, which may come as a header of one call or as an option of the session.
pub(super) const OPTIONS: [&str; 6] = [
    "pintail-mode",
    "pintail-commit",
    "pintail-on-conflict",
    "pintail-compression",
    "pintail-batch-rows",
    "pintail-timeout-ms",
];

/// Where a call's options come from.
pub(super) struct Options<'a> {
    metadata: &'a MetadataMap,
    session: Option<&'a ClientSession>,
}

impl<'a> Options<'a> {
    /// The request's headers, and the session's options where a header is absent.
    pub(super) fn new(metadata: &'a MetadataMap, session: &'a ClientSession) -> Self {
        Self { metadata, session: Some(session) }
    }

    /// The option's text, if it is there.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
        match self.metadata.get(name) {
            None => Ok(self.session.and_then(|session| session.option(name))),
            Some(value) => value
                .to_str()
                .map(|text| Some(text.trim().to_owned()))
                .map_err(|_| Error::invalid(format!("header {name}: expected visible ASCII text"))),
        }
    }

    /// Refuses any value but the one this server does.
    pub(super) fn only(&self, name: &str, value: &str) -> Result<()> {
        match self.text(name)? {
            None => Ok(()),
            Some(found) if found == value => Ok(()),
            Some(found) => Err(Error::unsupported(format!(
                "header {name}: \"{found}\" is not supported by this server yet, only \"{value}\""
            ))),
        }
    }

    fn number(&self, name: &str) -> Result<Option<u64>> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(0) | Err(_) => Err(Error::invalid(format!(
                    "header {name}: expected a whole number above 0, found \"{text}\""
                ))),
                Ok(number) => Ok(Some(number)),
            },
        }
    }

    /// How a call wants its result: `pintail-batch-rows`, `pintail-timeout-ms` and gRPC's own `grpc-timeout`.
    pub(super) fn run_options(&self) -> Result<RunOptions> {
        let batch_rows_max =
            self.number("pintail-batch-rows")?.map(|rows| usize::try_from(rows).unwrap_or(usize::MAX));
        let own = self.number("pintail-timeout-ms")?.map(Duration::from_millis);
        let grpc = self.metadata.get("grpc-timeout").and_then(|value| grpc_timeout(value.to_str().ok()?));
        let timeout = match (own, grpc) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Ok(RunOptions { batch_rows_max, deadline, progress: None })
    }

    /// `pintail-compression`: how result bodies are compressed; not at all unless asked.
    pub(super) fn compression(&self) -> Result<Option<CompressionType>> {
        match self.text("pintail-compression")?.as_deref() {
            None | Some("none") => Ok(None),
            Some("lz4") => Ok(Some(CompressionType::LZ4_FRAME)),
            Some("zstd") => Ok(Some(CompressionType::ZSTD)),
            Some(other) => Err(Error::invalid(format!(
                "header pintail-compression: expected none, lz4 or zstd, found \"{other}\""
            ))),
        }
    }

    /// `pintail-mode`: what a native put does about its table.
    pub(super) fn mode(&self, auto_create: bool) -> Result<Mode> {
        match self.text("pintail-mode")?.as_deref() {
            None if auto_create => Ok(Mode::CreateAppend),
            None | Some("append") => Ok(Mode::Append),
            Some("create") => Ok(Mode::Create),
            Some("create_append") => Ok(Mode::CreateAppend),
            Some("replace") => Ok(Mode::Replace),
            Some(other) => Err(Error::invalid(format!(
                "header pintail-mode: expected append, create, create_append or replace, found \"{other}\""
            ))),
        }
    }
}

/// Refuses a value that an option cannot have, before it is kept for later calls.
pub(super) fn check_option(name: &'static str, value: &str) -> Result<()> {
    let mut metadata = MetadataMap::new();
    let value = value.parse().map_err(|_| Error::invalid(format!("option {name}: expected ASCII text")))?;
    metadata.insert(name, value);
    let options = Options { metadata: &metadata, session: None };
    options.mode(true)?;
    options.only("pintail-commit", "stream")?;
    options.only("pintail-on-conflict", "error")?;
    options.compression()?;
    options.run_options().map(|_| ())
}

/// `TimeoutValue TimeoutUnit` of the gRPC protocol: up to eight digits and one of `H M S m u n`.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value.saturating_mul(3600))),
        "M" => Some(Duration::from_secs(value.saturating_mul(60))),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_read_in_every_unit() {
        assert_eq!(grpc_timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(grpc_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(grpc_timeout("1H"), Some(Duration::from_secs(3600)));
        for bad in ["", "S", "5", "5x", "5ü", "-5S"] {
            assert_eq!(grpc_timeout(bad), None, "{bad}");
        }
    }

    #[test]
    fn wrong_values_name_the_header() {
        for (name, value) in [
            ("pintail-batch-rows", "many"),
            ("pintail-batch-rows", "0"),
            ("pintail-timeout-ms", "-1"),
            ("pintail-mode", "upsert"),
            ("pintail-compression", "gzip"),
        ] {
            assert!(check_option(name, value).unwrap_err().to_string().contains(name));
        }
    }
}
