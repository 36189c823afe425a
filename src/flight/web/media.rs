//! Headers that say what a body is.
//! Runs on: any thread; pure.

use ::http::HeaderMap;
use ::http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::error::Refused;
use crate::files::sniff::{Compression, Format};

/// The media type of a body, without its parameters.
///
/// Errors: a body must say what it is: what a form of another site sends never says that it is rows or SQL.
pub(super) fn media_of(headers: &HeaderMap) -> Result<String, Refused> {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind.is_empty() {
        return Err(Refused::media_type("header content-type is missing; it says what the body is"));
    }
    Ok(kind)
}

/// The form of rows in a body.
pub(super) fn format_of(headers: &HeaderMap) -> Result<Format, Refused> {
    let compression = Compression::None;
    Ok(match media_of(headers)?.as_str() {
        "application/vnd.apache.arrow.stream" => Format::ArrowStream,
        "application/vnd.apache.arrow.file" => Format::ArrowFile,
        "application/vnd.apache.parquet" | "application/parquet" => Format::Parquet,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Format::Ndjson { compression }
        }
        "text/csv" | "application/csv" => Format::Csv { compression },
        other => {
            return Err(Refused::media_type(format!(
                "header content-type: expected application/vnd.apache.arrow.stream, application/vnd.apache.parquet, \
                 application/x-ndjson or text/csv, found \"{other}\""
            )));
        }
    })
}

/// How a body is packed.
pub(super) fn packing_of(headers: &HeaderMap) -> Result<Compression, Refused> {
    let text = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ok(match text.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Compression::None,
        "gzip" | "x-gzip" => Compression::Gzip,
        "zstd" => Compression::Zstd,
        other => {
            return Err(Refused::media_type(format!(
                "header content-encoding: expected gzip or zstd, found \"{other}\""
            )));
        }
    })
}
