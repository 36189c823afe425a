//! Who may read and write the server's files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pintail::config::Config;

use super::Finding;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let database = Path::new(&config.database.path);
    if config.database.path != ":memory:" {
        let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty());
        findings.push(writable(folder.unwrap_or(Path::new("."))));
        findings.extend(others("database file", database, 0o007, "chmod o= "));
    }
    for (what, file) in
        [("server.tls_key", &config.server.tls_key), ("auth.tokens_file", &config.auth.tokens_file)]
    {
        let Some(file) = file else { continue };
        if file.is_file() {
            findings.extend(others(what, file, 0o077, "chmod go= "));
        } else {
            let text = format!("{what}: there is no file {}", file.display());
            findings.push(Finding::wrong("files", text));
        }
    }
    findings
}

/// Whether a file can be made in a folder.
fn writable(folder: &Path) -> Finding {
    match tempfile::Builder::new().prefix(".pintail-doctor").tempfile_in(folder) {
        Ok(_) => Finding::right("folder", format!("{} can be written to", folder.display())),
        Err(error) => Finding::wrong(
            "folder",
            format!(
                "{} cannot be written to: {error}; give this user the right, or move database.path",
                folder.display()
            ),
        ),
    }
}

/// Whether anybody else may read or write a file that is there.
fn others(what: &str, file: &Path, mask: u32, remedy: &str) -> Option<Finding> {
    let mode = fs::metadata(file).ok()?.permissions().mode() & 0o777;
    Some(if mode & mask == 0 {
        Finding::right("files", format!("{what} {} is for its owner (mode {mode:03o})", file.display()))
    } else if mask == 0o007 {
        let name = file.display();
        Finding::note(
            "files",
            format!("{what} {name} can be read by others (mode {mode:03o}): {remedy}{name}"),
        )
    } else {
        let name = file.display();
        Finding::wrong(
            "files",
            format!("{what} {name} can be read by others (mode {mode:03o}): {remedy}{name}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    #[test]
    fn a_key_that_others_can_read_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        fs::write(&file, "key").unwrap();
        for (mode, verdict) in [(0o600, Verdict::Right), (0o640, Verdict::Wrong), (0o604, Verdict::Wrong)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let found = others("server.tls_key", &file, 0o077, "chmod go= ").unwrap();
            assert_eq!(found.verdict, verdict, "{mode:o}: {}", found.text);
        }
        assert_eq!(writable(folder.path()).verdict, Verdict::Right);
        assert_eq!(writable(&folder.path().join("none")).verdict, Verdict::Wrong);
    }
}
