//! What paths are called: for the server, for people, and when they are not there.
//! Runs on: any thread; pure.
//! Never: gives two paths one name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::Error;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// A real path as text. One that is not UTF-8 is written as a URL, whose first letter no other real path has.
pub(super) fn name_of(real: &Path) -> String {
    const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');
    match real.to_str() {
        Some(text) => text.to_owned(),
        None => format!("file://{}", percent_encode(real.as_os_str().as_bytes(), &KEPT)),
    }
}

/// A path in one line of text.
pub(super) fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    if !text.contains(char::is_control) {
        return text;
    }
    let plain =
        |letter: char| if letter.is_control() { letter.escape_default().to_string() } else { letter.into() };
    text.chars().map(plain).collect()
}

pub(super) fn not_there(argument: &OsStr, error: &std::io::Error) -> Error {
    let shown = shown(Path::new(argument));
    if shown.starts_with("file://") {
        return Error::not_found(format!("\"{shown}\" is a URL of a file; give its path"));
    }
    if let Some((scheme, _)) = shown.split_once("://") {
        return Error::not_found(format!(
            "\"{shown}\" is no file, and {scheme}:// is no kind of store; expected s3://, gs://, az:// or https://"
        ));
    }
    Error::not_found(format!("\"{shown}\" is no file, folder or pattern that matches: {error}"))
}
