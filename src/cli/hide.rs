//! Secrets on the command line -> the environment, where other users do not see them.
//! Runs on: the main thread, before anything else.
//! Never: shows one; hides the rest of the command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use pintail::error::Error;

use super::Failure;

/// Flags with a secret, and the variables that stand for them.
const SECRETS: [(&str, &str); 2] = [("--password", "PINTAIL_PASSWORD"), ("--token", "PINTAIL_TOKEN")];

/// Starts the program anew, in its own place, without the secrets that its arguments hold: everybody on the machine sees
/// those in the list of processes.
///
/// Errors: `Invalid` when that cannot be done; the secrets stay where they are then, so the program should end.
pub(super) fn secrets() -> Result<(), Failure> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let (kept, found) = split(&arguments);
    if found.is_empty() {
        return Ok(());
    }
    let Some((name, kept)) = kept.split_first() else { return Ok(()) };
    // Comes back only when it did not work.
    let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let error = Command::new(program).arg0(name).args(kept).envs(found).exec();
    Err(Failure::Usage(Error::invalid(format!(
        "the password or token cannot be taken out of the list of processes ({error}); set PINTAIL_PASSWORD or \
         PINTAIL_TOKEN instead"
    ))))
}

/// The arguments without secrets, and the variables in their place.
fn split(arguments: &[OsString]) -> (Vec<OsString>, Vec<(&'static str, OsString)>) {
    let (mut kept, mut found) = (Vec::new(), Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            kept.push(argument.clone());
            kept.extend(rest.cloned());
            break;
        }
        match SECRETS.iter().find_map(|(flag, variable)| Some((value(argument, flag)?, *variable))) {
            Some((Some(secret), variable)) => found.push((variable, secret)),
            Some((None, variable)) => match rest.next() {
                Some(secret) => found.push((variable, secret.clone())),
                // The flag without its value: the parser says so.
                None => kept.push(argument.clone()),
            },
            None => kept.push(argument.clone()),
        }
    }
    (kept, found)
}

/// Whether the argument is the flag, and its value where that stands in the same argument.
fn value(argument: &OsStr, flag: &str) -> Option<Option<OsString>> {
    let rest = argument.as_bytes().strip_prefix(flag.as_bytes())?;
    match rest.split_first() {
        None => Some(None),
        Some((b'=', secret)) => Some(Some(OsString::from_vec(secret.to_vec()))),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_leave_the_arguments_and_nothing_else_does() {
        let of = |text: &str| {
            let arguments: Vec<OsString> = text.split(' ').map(OsString::from).collect();
            let (kept, found) = split(&arguments);
            let kept: Vec<String> = kept.into_iter().map(|one| one.into_string().unwrap()).collect();
            let found: Vec<String> = found
                .into_iter()
                .map(|(name, value)| format!("{name}={}", value.into_string().unwrap()))
                .collect();
            (kept.join(" "), found.join(" "))
        };
        let pair = |kept: &str, found: &str| (kept.to_owned(), found.to_owned());
        assert_eq!(of("pintail query SQL --user ada"), pair("pintail query SQL --user ada", ""));
        assert_eq!(
            of("pintail query --password s --user ada SQL"),
            pair("pintail query --user ada SQL", "PINTAIL_PASSWORD=s")
        );
        assert_eq!(of("pintail query --token=t=u SQL"), pair("pintail query SQL", "PINTAIL_TOKEN=t=u"));
        assert_eq!(of("pintail query -- --token"), pair("pintail query -- --token", ""));
        assert_eq!(of("pintail query --password"), pair("pintail query --password", ""));
        assert_eq!(of("pintail query --passwords x"), pair("pintail query --passwords x", ""));
    }
}
