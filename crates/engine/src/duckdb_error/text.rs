//! The engine's words for an error -> words for a client: said once, and without the server's folders.
//! Runs on: any thread; pure. Never: changes what a statement or a value brought into the text.

/// What the engine puts in front of an error's text, `Error: ` apart.
const NAMES: [&str; 43] = [
    "Binder",
    "Catalog",
    "Connection",
    "Constraint",
    "Conversion",
    "Data Corruption",
    "Decimal",
    "Dependency",
    "Divide by Zero",
    "Executor",
    "Expression",
    "Extension Autoloading",
    "FATAL",
    "HTTP",
    "INTERNAL",
    "INTERRUPT",
    "IO",
    "Index",
    "Invalid",
    "Invalid Configuration",
    "Invalid Input",
    "Invalid type",
    "Mismatch Type",
    "Missing Extension",
    "Not implemented",
    "NullPointer",
    "Object Size",
    "Optimizer",
    "Out of Memory",
    "Out of Range",
    "Parameter Not Allowed",
    "Parameter Not Resolved",
    "Parser",
    "Permission",
    "Planner",
    "Resource In Use",
    "Scheduler",
    "Sequence",
    "Serialization",
    "Settings",
    "Syntax",
    "TransactionContext",
    "Unknown Type",
];
/// Errors that are the server's own business: paths in them are the server's.
const OWN: [&str; 6] = ["Data Corruption", "FATAL", "INTERNAL", "IO", "Out of Memory", "Serialization"];
/// How a failed COMMIT begins, and what follows where the disk is to blame.
const COMMIT: &str = "Failed to commit: ";
const DISK: [&str; 7] =
    ["Cannot open file", "Could not", "Failed to", "IO Error: ", "failed to", "fsync", "fdatasync"];

/// Drops names that stand in front of another one, and the folders of the server's own files.
pub(crate) fn for_client(text: &str) -> String {
    let mut text = text;
    let mut name = split_name(text);
    // An error that a statement made up, `error('IO Error: …')`, has another name outside.
    let is_own = name.is_some_and(|(name, _)| OWN.contains(&name));
    // The innermost name is the reason; the others come from passing it on.
    while let Some(inner) = name.and_then(|(_, rest)| split_name(rest).map(|inner| (rest, inner))) {
        (text, name) = (inner.0, Some(inner.1));
    }
    let failed_commit = name.and_then(|(_, rest)| rest.strip_prefix(COMMIT));
    let is_disk = failed_commit.is_some_and(|cause| DISK.iter().any(|begin| cause.starts_with(begin)));
    if is_own || is_disk { without_folders(text) } else { text.to_owned() }
}

/// `IO Error: rest` as its two parts.
fn split_name(text: &str) -> Option<(&'static str, &str)> {
    let (name, rest) = text.split_once(" Error: ")?;
    NAMES.into_iter().find(|known| *known == name).map(|name| (name, rest))
}

/// Every absolute path becomes the name of its file.
fn without_folders(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(letter) = rest.chars().next() {
        let quote = "\"'".contains(before).then_some(before);
        let begins = letter == '/' && (quote.is_some() || before.is_whitespace() || before == '(');
        if !begins {
            out.push(letter);
            before = letter;
            rest = &rest[letter.len_utf8()..];
            continue;
        }
        let ends = |letter: char| match quote {
            Some(quote) => letter == quote,
            None => letter.is_whitespace() || ",;:)\"'".contains(letter),
        };
        let (path, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
        out.push_str(path.trim_end_matches('/').rsplit('/').next().unwrap_or_default());
        before = '/';
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::for_client;

    #[test]
    fn a_name_is_said_once() {
        for (text, expected) in [
            (
                "Invalid Input Error: Invalid Input Error: unknown time zone \"x\"",
                "Invalid Input Error: unknown time zone \"x\"",
            ),
            ("Invalid Input Error: Binder Error: no such column", "Binder Error: no such column"),
            ("IO Error: IO Error: IO Error: no", "IO Error: no"),
            (
                "Constraint Error: Duplicate key \"k: Binder Error: x\"",
                "Constraint Error: Duplicate key \"k: Binder Error: x\"",
            ),
            ("Invalid Input Error: My Error: of my own", "Invalid Input Error: My Error: of my own"),
            ("no name at all", "no name at all"),
            ("", ""),
        ] {
            assert_eq!(for_client(text), expected);
        }
    }

    #[test]
    fn folders_of_the_server_are_not_shown() {
        for (text, expected) in [
            (
                "IO Error: Cannot open file \"/srv/the data/d.duckdb.wal\": Permission denied",
                "IO Error: Cannot open file \"d.duckdb.wal\": Permission denied",
            ),
            (
                "IO Error: Could not write to /srv/tmp/t-0.tmp, 5 of 262144 bytes (/srv/tmp/)",
                "IO Error: Could not write to t-0.tmp, 5 of 262144 bytes (tmp)",
            ),
            (
                "TransactionContext Error: Failed to commit: Could not write file \"/srv/d.duckdb.wal\": No such device",
                "TransactionContext Error: Failed to commit: Could not write file \"d.duckdb.wal\": No such device",
            ),
            (
                "FATAL Error: Failed to create checkpoint because of error: Could not read '/srv/d.duckdb'",
                "FATAL Error: Failed to create checkpoint because of error: Could not read 'd.duckdb'",
            ),
            (
                "Out of Memory Error: failed to offload data block of size 256.0 KiB (1.0 GiB/1.0 GiB used) to '/srv/t'",
                "Out of Memory Error: failed to offload data block of size 256.0 KiB (1.0 GiB/1.0 GiB used) to 't'",
            ),
        ] {
            assert_eq!(for_client(text), expected);
        }
    }

    /// What came from a client stays as it came, paths included.
    #[test]
    fn words_of_the_client_stay() {
        for text in [
            "Constraint Error: Duplicate key \"path: /home/me/a.txt\" violates primary key constraint.",
            "TransactionContext Error: Failed to commit: PRIMARY KEY or UNIQUE constraint violation: duplicate key \"/a/b\"",
            "Conversion Error: Could not convert string '/etc/passwd' to INT32",
            "Permission Error: Cannot access file \"/etc/passwd\" - file system operations are disabled by configuration",
            "Parser Error: syntax error at or near \"/\"",
            "Invalid Input Error: my words: IO Error: \"/a/b\"",
        ] {
            assert_eq!(for_client(text), text);
        }
        assert_eq!(for_client("Invalid Input Error: IO Error: \"/a/b\""), "IO Error: \"/a/b\"");
    }
}
