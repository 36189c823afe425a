//! Imports within `src` point down the drawing in `src/lib.rs` and never sideways; unsafe code stays behind its fence.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

#[path = "architecture/imports.rs"]
mod imports;

use std::fs;
use std::path::{Path, PathBuf};

use imports::{Around, Crate, circles};

/// Crates in which inner modules must not need the file of the module around them either, where that needs them.
/// Elsewhere they may use its words.
const STRICT: &[&str] = &["crates/protocol/src", "crates/client/src", "crates/engine/src"];

/// What a leaf must never name.
const LEAF: &[&str] = &[
    "tokio",
    "tonic",
    "arrow_flight",
    "crate::engine",
    "crate::ingest",
    "crate::query",
    "crate::session",
    "crate::flight",
];

/// Module of `src`, and what its files must never name. What the crates under `crates` may name, their manifests say.
const RULES: &[(&str, &[&str])] = &[
    (
        "flight",
        &["std::thread", "rusqlite", "crate::server", "crate::client", "crate::load", "spawn_blocking"],
    ),
    // A client of whatever server, this one among them.
    (
        "load",
        &[
            "tonic",
            "crate::auth",
            "crate::engine",
            "crate::query",
            "crate::session",
            "crate::operations",
            "crate::flight",
            "crate::server",
        ],
    ),
    ("ingest", &["tonic", "arrow_flight", "crate::query", "crate::flight", "crate::server", "crate::client"]),
    ("query", &["tonic", "arrow_flight", "crate::ingest", "crate::flight", "crate::server", "crate::client"]),
    (
        "session",
        &[
            "tonic",
            "arrow_flight",
            "crate::ingest",
            "crate::query",
            "crate::flight",
            "crate::server",
            "crate::client",
        ],
    ),
    (
        "operations",
        &[
            "tonic",
            "arrow_flight",
            "crate::ingest",
            "crate::query",
            "crate::session",
            "crate::flight",
            "crate::server",
            "crate::client",
        ],
    ),
    (
        "running.rs",
        &[
            "tonic",
            "arrow_flight",
            "crate::ingest",
            "crate::query",
            "crate::session",
            "crate::operations",
            "crate::flight",
            "crate::server",
            "crate::client",
        ],
    ),
    (
        "auth",
        &[
            "tonic",
            "arrow_flight",
            "crate::ingest",
            "crate::query",
            "crate::session",
            "crate::operations",
            "crate::flight",
            "crate::server",
            "crate::client",
        ],
    ),
    (
        "files",
        &[
            "tonic",
            "crate::query",
            "crate::flight",
            "crate::session",
            "crate::operations",
            "crate::auth",
            "crate::server",
            "crate::client",
        ],
    ),
    (
        "tls",
        &[
            "tonic",
            "arrow_flight",
            "crate::auth",
            "crate::engine",
            "crate::ingest",
            "crate::query",
            "crate::session",
            "crate::operations",
            "crate::flight",
            "crate::server",
            "crate::client",
        ],
    ),
    (
        "about",
        &[
            "tonic",
            "arrow_flight",
            "crate::ingest",
            "crate::query",
            "crate::session",
            "crate::operations",
            "crate::flight",
            "crate::server",
            "crate::client",
        ],
    ),
    ("config.rs", LEAF),
    ("config", LEAF),
    ("metrics.rs", LEAF),
];

/// Where code lies.
const ROOTS: [&str; 5] =
    ["src", "crates/protocol/src", "crates/catalog/src", "crates/client/src", "crates/engine/src"];

#[test]
fn imports_point_down_the_drawing() {
    let mut wrong = Vec::new();
    for (module, forbidden) in RULES {
        let files = rust_files(&Path::new("src").join(module));
        assert!(!files.is_empty(), "src/{module} has moved; move its rule as well");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for (number, line) in code_lines(&text) {
                for name in *forbidden {
                    if names(line, name) {
                        wrong.push(format!("{}:{number} names {name}", file.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports point the wrong way:\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_stays_in_the_ffi_folder() {
    for file in ROOTS.iter().flat_map(|root| rust_files(Path::new(root))) {
        if file.starts_with("crates/engine/src/ffi") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in code_lines(&text) {
            assert!(
                !line.contains("unsafe "),
                "{}:{number} has unsafe code outside crates/engine/src/ffi",
                file.display()
            );
        }
    }
}

/// A crate that is left out of `ROOTS` would go unseen.
#[test]
fn every_crate_is_looked_at() {
    for folder in fs::read_dir("crates").unwrap() {
        let source = folder.unwrap().path().join("src");
        assert!(ROOTS.iter().any(|root| Path::new(root) == source), "{} is not in ROOTS", source.display());
    }
}

#[test]
fn every_file_opens_with_what_it_is() {
    for file in ROOTS.iter().flat_map(|root| rust_files(Path::new(root))) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} does not say what it is in its first line", file.display());
    }
}

/// Files that import each other have to be read together: what both need belongs into a third.
#[test]
fn no_file_of_a_crate_imports_itself_in_a_circle() {
    let mut found = Vec::new();
    let roots = ROOTS.iter().map(|root| Path::new(root).join("lib.rs")).chain(["src/main.rs".into()]);
    for root in roots {
        let is_strict = STRICT.iter().any(|strict| root.starts_with(strict));
        let imports =
            Crate::read(&root).imports(if is_strict { Around::Counts } else { Around::DoesNotCount });
        assert!(imports.len() > 4 || root.ends_with("main.rs"), "{} has no files", root.display());
        for circle in circles(&imports) {
            let mut text = String::from("a circle of files:\n");
            for file in &circle {
                let goals: Vec<&str> = imports[file].intersection(&circle).map(String::as_str).collect();
                text += &format!("  {file} imports from {}\n", goals.join(", "));
            }
            found.push(text);
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Lines of code outside comments and test modules, with their numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line))
}

/// Whether the line names a crate or module, not just a word that contains its letters.
fn names(line: &str, name: &str) -> bool {
    let path = if name.contains("::") { name.to_owned() } else { format!("{name}::") };
    let word = |at: usize| {
        line[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric() && before != '_')
    };
    line.match_indices(&path).any(|(at, _)| word(at))
        || (name.contains('_') && line.contains(&format!("{name}(")))
}

fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap().path();
        if entry.is_dir() {
            files.extend(rust_files(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
    files
}
