//! A figment of file, environment and flags -> the config, or everything that is wrong with it at once.
//! Runs on: any thread.
//! Never: stops at the first problem: an operator would mend and start as often as there are some.

use figment::error::Kind;
use figment::providers::Serialized;
use figment::value::{Dict, Value};
use figment::{Figment, Source};

use super::Config;
use crate::error::{Error, Result};

/// One thing that is wrong: the setting's key and what was expected.
pub(super) struct Problem {
    pub(super) key: String,
    pub(super) expected: String,
}

impl Problem {
    pub(super) fn new(key: &str, expected: impl Into<String>) -> Self {
        Self { key: key.to_owned(), expected: expected.into() }
    }
}

/// Reads the config. A setting that cannot be read stands at its default while the others are read.
pub(super) fn extract(figment: &Figment) -> Result<Config> {
    let unreadable = |error: figment::Error| Error::invalid(explain(&error));
    let mut settings: Dict = figment.extract().map_err(unreadable)?;
    let mut problems = Vec::new();
    let config = loop {
        let error = match Figment::from(Serialized::defaults(&settings)).extract::<Config>() {
            Ok(config) => break config,
            Err(error) => error,
        };
        let key = error.path.clone();
        // Each turn takes a setting away, so there is an end.
        if !remove(&mut settings, &key) {
            return Err(unreadable(error));
        }
        problems.push(Problem::new(&key.join("."), explain(&error)));
    };
    let is_known = |problem: &Problem| problems.iter().any(|other| other.key == problem.key);
    let more: Vec<Problem> = config.problems().into_iter().filter(|problem| !is_known(problem)).collect();
    problems.extend(more);
    if problems.is_empty() {
        return Ok(config);
    }
    let texts: Vec<String> = problems.iter().map(|problem| problem.text(figment)).collect();
    Err(Error::invalid(texts.join("; ")))
}

impl Problem {
    fn text(&self, figment: &Figment) -> String {
        // A default comes from nowhere that an operator could look.
        let from = match figment.find_metadata(&self.key).and_then(|metadata| metadata.source.as_ref()) {
            Some(source @ (Source::File(_) | Source::Custom(_))) => format!(" (from {source})"),
            _ => match figment.find_metadata(&self.key) {
                Some(metadata) if metadata.name.contains("environment") => {
                    format!(" (from {})", metadata.name)
                }
                _ => String::new(),
            },
        };
        format!("setting {}: {}{}", self.key, self.expected, from)
    }
}

/// Takes a setting out; false when it is not there.
fn remove(settings: &mut Dict, key: &[String]) -> bool {
    match key {
        [] => false,
        [last] => settings.remove(last).is_some(),
        [first, rest @ ..] => match settings.get_mut(first) {
            Some(Value::Dict(_, inner)) => remove(inner, rest),
            // The whole section is no table.
            Some(_) => settings.remove(first).is_some(),
            None => false,
        },
    }
}

fn explain(error: &figment::Error) -> String {
    match &error.kind {
        Kind::UnknownField(field, known) => {
            let hint = crate::error::closest(field, known)
                .map_or(String::new(), |name| format!("; did you mean \"{name}\"?"));
            format!("unknown key \"{field}\"{hint} (known here: {})", known.join(", "))
        }
        other => other.to_string(),
    }
}
