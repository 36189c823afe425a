//! Request headers and session options -> what a call asks for, each checked.
//! Runs on: async tasks; pure.
//! Never: ignores a header of ours that it cannot honour.

use std::time::{Duration, Instant};

use arrow::ipc::CompressionType;
use pintail_protocol::header::{
    BATCH_ROWS, COMMIT, COMPRESSION, ENDPOINTS, EPOCH, EXTENSION_TYPES, IDEMPOTENCY_KEY, MODE, ON_CONFLICT,
    PREFIX, PRODUCER, PROGRESS, SOURCES, STREAM, TIMEOUT_MS,
};
use tonic::metadata::{KeyRef, MetadataMap};

use crate::error::{Error, Result};
use crate::flight::wire::Form;
use crate::ingest::{Mode, OnConflict, Sources};
use crate::query::RunOptions;
use crate::session::ClientSession;

/// Names of the options, which may come as a header of one call or as an option of the session.
pub(in crate::flight) const OPTIONS: [&str; 11] = [
    MODE,
    COMMIT,
    ON_CONFLICT,
    IDEMPOTENCY_KEY,
    PRODUCER,
    EPOCH,
    COMPRESSION,
    BATCH_ROWS,
    TIMEOUT_MS,
    EXTENSION_TYPES,
    ENDPOINTS,
];

/// Parts of a result that can be read beside each other.
const ENDPOINTS_MAX: usize = 64;

/// Headers that tell a stream from others, so that it is applied once.
const STREAM_NAMES: [&str; 3] = [IDEMPOTENCY_KEY, PRODUCER, EPOCH];

/// How a put wants its rows to be taken.
#[derive(Debug, Clone)]
pub(in crate::flight) struct PutOptions {
    /// What to do about the table; Flight SQL ingest brings its own.
    pub(in crate::flight) mode: Mode,
    pub(in crate::flight) on_conflict: OnConflict,
    /// Commit as rows come.
    pub(in crate::flight) in_progress: bool,
    /// The whole stream is applied at most once.
    pub(in crate::flight) key: Option<String>,
    /// Each batch is applied at most once: producer and epoch.
    pub(in crate::flight) producer: Option<(String, u64)>,
    /// Its batches declare what files the rows are from.
    pub(in crate::flight) sources: Option<Sources>,
}

/// Where a call's options come from.
pub(in crate::flight) struct CallOptions<'a> {
    metadata: &'a MetadataMap,
    session: Option<&'a ClientSession>,
}

impl<'a> CallOptions<'a> {
    /// The request's headers, and the session's options where a header is absent.
    pub(in crate::flight) fn new(metadata: &'a MetadataMap, session: &'a ClientSession) -> Self {
        Self { metadata, session: Some(session) }
    }

    /// The option's text, if it is there.
    pub(in crate::flight) fn text(&self, name: &str) -> Result<Option<String>> {
        match self.metadata.get(name) {
            None => Ok(self.session.and_then(|session| session.option(name))),
            Some(value) => value
                .to_str()
                .map(|text| Some(text.trim().to_owned()))
                .map_err(|_| Error::invalid(format!("header {name}: expected visible ASCII text"))),
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

    /// Refuses a header that looks like one of ours and is none: a misspelled key would lose what it asks for in silence.
    /// Proxies add headers of other names.
    pub(in crate::flight) fn check_names(&self) -> Result<()> {
        for name in self.metadata.keys() {
            let name = match name {
                KeyRef::Ascii(name) => name.as_str(),
                KeyRef::Binary(name) => name.as_str(),
            };
            if name.starts_with(PREFIX) && name != SOURCES && !OPTIONS.contains(&name) {
                return Err(unknown(name));
            }
        }
        Ok(())
    }

    /// How a call wants its result: `pintail-batch-rows`, `pintail-timeout-ms` and gRPC's own `grpc-timeout`.
    pub(in crate::flight) fn run_options(&self) -> Result<RunOptions> {
        self.check_names()?;
        let batch_rows_max = self.number(BATCH_ROWS)?.map(|rows| usize::try_from(rows).unwrap_or(usize::MAX));
        let own = self.number(TIMEOUT_MS)?.map(Duration::from_millis);
        let grpc = self.metadata.get("grpc-timeout").and_then(|value| grpc_timeout(value.to_str().ok()?));
        let timeout = match (own, grpc) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let who = self.session.map(ClientSession::principal);
        Ok(RunOptions { batch_rows_max, deadline, who, ..RunOptions::default() })
    }

    /// `pintail-endpoints`: in how many parts a result is to be given at most.
    pub(in crate::flight) fn endpoints(&self) -> Result<usize> {
        self.check_names()?;
        match self.text(ENDPOINTS)? {
            None => Ok(1),
            Some(text) => text.parse().ok().filter(|count| (1..=ENDPOINTS_MAX).contains(count)).ok_or_else(|| {
                Error::invalid(format!(
                    "header {ENDPOINTS}: expected a whole number from 1 to {ENDPOINTS_MAX}, found \"{text}\""
                ))
            }),
        }
    }

    /// `pintail-compression`: how result bodies are compressed; not at all unless asked.
    pub(in crate::flight) fn compression(&self) -> Result<Option<CompressionType>> {
        match self.text(COMPRESSION)?.as_deref() {
            None | Some("none") => Ok(None),
            Some("lz4") => Ok(Some(CompressionType::LZ4_FRAME)),
            Some("zstd") => Ok(Some(CompressionType::ZSTD)),
            Some(other) => Err(Error::invalid(format!(
                "header pintail-compression: expected none, lz4 or zstd, found \"{other}\""
            ))),
        }
    }

    /// `pintail-extension-types`: whether types that Arrow has extension types for leave as those.
    pub(in crate::flight) fn form(&self) -> Result<Form> {
        self.check_names()?;
        match self.text(EXTENSION_TYPES)?.as_deref() {
            None | Some("off" | "false") => Ok(Form::Plain),
            // A session option may come as a boolean.
            Some("on" | "true") => Ok(Form::Extensions),
            Some(other) => Err(Error::invalid(format!(
                "header pintail-extension-types: expected on or off, found \"{other}\""
            ))),
        }
    }

    /// Whether the request itself, not its session, tells its stream from others.
    pub(in crate::flight) fn names_stream(&self) -> bool {
        STREAM_NAMES.iter().any(|name| self.metadata.contains_key(*name))
    }

    /// Whether the request says that its stream declares what files its rows are from.
    pub(in crate::flight) fn names_sources(&self) -> bool {
        self.metadata.contains_key(SOURCES)
    }

    /// Everything that a put goes by.
    pub(in crate::flight) fn put_options(&self, auto_create: bool) -> Result<PutOptions> {
        self.check_names()?;
        let on_conflict = match self.text(ON_CONFLICT)? {
            None => OnConflict::Error,
            Some(text) => OnConflict::from_name(&text).ok_or_else(|| {
                Error::invalid(format!(
                    "header pintail-on-conflict: expected error, ignore or replace, found \"{text}\""
                ))
            })?,
        };
        let in_progress = match self.text(COMMIT)?.as_deref() {
            None | Some(STREAM) => false,
            Some(PROGRESS) => true,
            Some(other) => {
                return Err(Error::invalid(format!(
                    "header pintail-commit: expected stream or progress, found \"{other}\""
                )));
            }
        };
        let key = self.text(IDEMPOTENCY_KEY)?;
        let producer = self.text(PRODUCER)?;
        let epoch = match self.text(EPOCH)? {
            None => None,
            Some(text) => Some(
                text.parse::<i64>().ok().and_then(|epoch| u64::try_from(epoch).ok()).ok_or_else(|| {
                    Error::invalid(format!(
                        "header pintail-epoch: expected a whole number from 0, found \"{text}\""
                    ))
                })?,
            ),
        };
        match (&key, &producer, epoch) {
            (Some(_), Some(_), _) => Err(Error::invalid(
                "pintail-idempotency-key names a whole stream and pintail-producer its batches; send one of them",
            )),
            (_, None, Some(_)) => {
                Err(Error::invalid("header pintail-epoch needs pintail-producer beside it"))
            }
            (Some(_), None, None) if in_progress => Err(Error::invalid(
                "pintail-idempotency-key applies a whole stream at most once, so it goes with pintail-commit \
                 stream; with progress, send pintail-producer and number the batches",
            )),
            _ => Ok(()),
        }?;
        let producer = producer.map(|producer| (producer, epoch.unwrap_or_default()));
        let sources = match self.text(SOURCES)? {
            None => None,
            Some(text) => Some(Sources::from_name(&text).ok_or_else(|| {
                Error::invalid(format!("header {SOURCES}: expected once, again or anew, found \"{text}\""))
            })?),
        };
        if sources.is_some() && (in_progress || key.is_some() || producer.is_some()) {
            return Err(Error::invalid(format!(
                "header {SOURCES} remembers files together with all rows of their stream, so it goes with pintail-commit \
                 stream, and without pintail-idempotency-key and pintail-producer"
            )));
        }
        let mode = self.mode(auto_create)?;
        Ok(PutOptions { mode, on_conflict, in_progress, key, producer, sources })
    }

    /// `pintail-mode`: what a native put does about its table.
    fn mode(&self, auto_create: bool) -> Result<Mode> {
        match self.text(MODE)? {
            None if auto_create => Ok(Mode::CreateAppend),
            None => Ok(Mode::Append),
            Some(text) => Mode::from_name(&text).ok_or_else(|| {
                Error::invalid(format!(
                    "header {MODE}: expected append, create, create_append or replace, found \"{text}\""
                ))
            }),
        }
    }
}

fn unknown(name: &str) -> Error {
    let name = crate::error::shorten(name, 100);
    let hint = match crate::error::closest(&name, &OPTIONS) {
        Some(known) => format!("did you mean {known}?"),
        None => format!("this server has {}", OPTIONS.join(", ")),
    };
    Error::invalid(format!("unknown header {name}; {hint}"))
}

/// Refuses a value that an option cannot have, before it is kept for later calls.
pub(in crate::flight) fn check_option(name: &'static str, value: &str) -> Result<()> {
    let mut metadata = MetadataMap::new();
    let value = value.parse().map_err(|_| Error::invalid(format!("option {name}: expected ASCII text")))?;
    metadata.insert(name, value);
    if name == EPOCH {
        // Which producer's it is may be set later.
        metadata.insert(PRODUCER, tonic::metadata::MetadataValue::from_static("any"));
    }
    let options = CallOptions { metadata: &metadata, session: None };
    options.put_options(true)?;
    options.compression()?;
    options.endpoints()?;
    options.form()?;
    options.run_options().map(|_| ())
}

/// `TimeoutValue TimeoutUnit` of the gRPC protocol: up to eight digits and one of `H M S m u n`.
pub(in crate::flight) fn grpc_timeout(text: &str) -> Option<Duration> {
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
    use crate::damaged;
    use crate::error::Kind;
    use proptest::prelude::*;
    use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};

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
    fn unknown_headers_of_ours_are_refused_by_name() {
        let check = |name: &'static str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("x-pintail-proxy", "1".parse().unwrap());
            metadata.insert("pintail-mode", "append".parse().unwrap());
            match name.ends_with("-bin") {
                true => drop(metadata.insert_bin(name, tonic::metadata::MetadataValue::from_bytes(b"1"))),
                false => drop(metadata.insert(name, "1".parse().unwrap())),
            }
            let options = CallOptions { metadata: &metadata, session: None };
            let found = options.put_options(true).map(|_| ());
            assert_eq!(found.is_err(), options.form().is_err());
            assert_eq!(found.is_err(), options.run_options().is_err());
            found.map_err(|error| error.to_string())
        };
        for good in ["pintail-idempotency-key", "pintail", "x-pintail-mode", "traceparent"] {
            check(good).unwrap();
        }
        let misspelled = check("pintail-idempotancy-key").unwrap_err();
        assert!(
            misspelled.contains("pintail-idempotancy-key; did you mean pintail-idempotency-key?"),
            "{misspelled}"
        );
        assert!(check("pintail-zzzz").unwrap_err().contains("pintail-zzzz"));
        assert!(check("pintail-mode-bin").is_err());
    }

    #[test]
    fn wrong_values_name_the_header() {
        for (name, value) in [
            ("pintail-batch-rows", "many"),
            ("pintail-batch-rows", "0"),
            ("pintail-timeout-ms", "-1"),
            ("pintail-mode", "upsert"),
            ("pintail-commit", "sometimes"),
            ("pintail-on-conflict", "merge"),
            ("pintail-epoch", "-1"),
            ("pintail-sources", "twice"),
            ("pintail-compression", "gzip"),
            ("pintail-extension-types", "yes"),
            ("pintail-endpoints", "0"),
            ("pintail-endpoints", "65"),
            ("pintail-endpoints", "all"),
        ] {
            assert!(check_option(name, value).unwrap_err().to_string().contains(name));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        /// Headers of ours with any values, three at one time: each is honoured, or the call is refused.
        #[test]
        fn headers_are_honoured_or_refused(
            lines in prop::collection::vec(damaged::damaged_text(damaged::lines("headers.txt")), 1..4)
        ) {
            let mut metadata = MetadataMap::new();
            for line in &lines {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                let name = AsciiMetadataKey::from_bytes(name.trim().to_ascii_lowercase().as_bytes());
                // What is no header at all does not reach the options.
                if let (Ok(name), Ok(value)) = (name, AsciiMetadataValue::try_from(value.as_bytes())) {
                    metadata.insert(name, value);
                }
            }
            let options = CallOptions { metadata: &metadata, session: None };
            let read = [
                options.put_options(true).map(|_| ()),
                options.run_options().map(|_| ()),
                options.endpoints().map(|_| ()),
                options.compression().map(|_| ()),
                options.form().map(|_| ()),
            ];
            for error in read.into_iter().filter_map(Result::err) {
                prop_assert_eq!(error.kind(), Kind::Invalid);
            }
            for (name, line) in OPTIONS.iter().zip(&lines) {
                let _ = check_option(name, line);
            }
        }
    }
}
