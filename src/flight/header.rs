//! Request headers -> options, each checked.
//! Runs on: async tasks; pure. Never: ignores a header of ours that it cannot honour.

use std::time::{Duration, Instant};

use arrow::ipc::CompressionType;
use tonic::metadata::MetadataMap;

use crate::error::{Error, Result};
use crate::query::RunOptions;

/// The header's text, if it is there.
pub(super) fn text<'a>(metadata: &'a MetadataMap, name: &str) -> Result<Option<&'a str>> {
    match metadata.get(name) {
        None => Ok(None),
        Some(value) => value
            .to_str()
            .map(|text| Some(text.trim()))
            .map_err(|_| Error::invalid(format!("header {name}: expected visible ASCII text"))),
    }
}

/// Refuses any value but the one this server does.
pub(super) fn only(metadata: &MetadataMap, name: &str, value: &str) -> Result<()> {
    match text(metadata, name)? {
        None => Ok(()),
        Some(found) if found == value => Ok(()),
        Some(found) => Err(Error::unsupported(format!(
            "header {name}: \"{found}\" is not supported by this server yet, only \"{value}\""
        ))),
    }
}

/// How a call wants its result: `pintail-batch-rows`, `pintail-timeout-ms` and gRPC's own `grpc-timeout`.
pub(super) fn run_options(metadata: &MetadataMap) -> Result<RunOptions> {
    let number = |name: &str| -> Result<Option<u64>> {
        match text(metadata, name)? {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(0) | Err(_) => Err(Error::invalid(format!(
                    "header {name}: expected a whole number above 0, found \"{text}\""
                ))),
                Ok(number) => Ok(Some(number)),
            },
        }
    };
    let batch_rows_max =
        number("pintail-batch-rows")?.map(|rows| usize::try_from(rows).unwrap_or(usize::MAX));
    let own = number("pintail-timeout-ms")?.map(Duration::from_millis);
    let grpc = text(metadata, "grpc-timeout")?.and_then(grpc_timeout);
    let timeout = match (own, grpc) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    Ok(RunOptions { batch_rows_max, deadline })
}

/// `pintail-compression`: how result bodies are compressed; not at all unless asked.
pub(super) fn compression(metadata: &MetadataMap) -> Result<Option<CompressionType>> {
    match text(metadata, "pintail-compression")? {
        None | Some("none") => Ok(None),
        Some("lz4") => Ok(Some(CompressionType::LZ4_FRAME)),
        Some("zstd") => Ok(Some(CompressionType::ZSTD)),
        Some(other) => Err(Error::invalid(format!(
            "header pintail-compression: expected none, lz4 or zstd, found \"{other}\""
        ))),
    }
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
        for (name, value) in
            [("pintail-batch-rows", "many"), ("pintail-batch-rows", "0"), ("pintail-timeout-ms", "-1")]
        {
            let mut metadata = MetadataMap::new();
            metadata.insert(name, value.parse().unwrap());
            assert!(run_options(&metadata).unwrap_err().to_string().contains(name));
        }
    }
}
