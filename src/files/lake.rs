//! A folder -> the kind of table it is, where a log or manifest says which of its files count.
//! Runs on: threads that read; blocks. Never: reads such a log, or lists a folder that may hold the data.

use std::collections::HashMap;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// How far above a file the top of its table is looked for.
const LEVELS_MAX: usize = 8;

/// Tables whose files are not their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// Delta Lake.
    Delta,
    /// Apache Iceberg.
    Iceberg,
    /// Apache Hudi.
    Hudi,
    /// Apache Paimon.
    Paimon,
    /// A transactional table of Hive.
    HiveAcid,
    /// Lance.
    Lance,
    /// DuckLake.
    DuckLake,
}

/// What EXPORT DATABASE writes beside a file for each table.
const EXPORTED: [&str; 2] = ["schema.sql", "load.sql"];

fn exported(folder: &dyn std::fmt::Display) -> Error {
    Error::unsupported(format!(
        "{folder} was written by EXPORT DATABASE: each of its files is a table of its own, so they do not go into one; load each \
         file into its table: pintail load {folder}/NAME.parquet --table NAME"
    ))
}

/// What was found out of folders, so that each is looked at once.
#[derive(Default)]
pub struct Lakes(HashMap<PathBuf, Option<TableKind>>);

impl Lakes {
    /// Errors: `Unsupported` when the folder is a table whose files are not its rows, or lies in one.
    pub fn check_folder(&mut self, folder: &Path) -> Result<()> {
        self.check(folder, folder.ancestors())
    }

    /// The same for a file that is named without its folder.
    pub fn check_file(&mut self, file: &Path) -> Result<()> {
        if is_ducklake_file(file) {
            return Err(TableKind::DuckLake.refusal(file, file.parent().unwrap_or(file)));
        }
        self.check(file, file.ancestors().skip(1))
    }

    /// The same for the keys below a prefix of a store.
    pub fn check_keys<'a>(keys: impl Iterator<Item = &'a str>, name: &str) -> Result<()> {
        let mut exports: HashMap<String, usize> = HashMap::new();
        for key in keys {
            let parts: Vec<&str> = key.split('/').collect();
            if let Some((name_of_file, folder)) = parts.split_last()
                && EXPORTED.contains(name_of_file)
            {
                let count = exports.entry(folder.join("/")).or_default();
                *count += 1;
                if *count == EXPORTED.len() {
                    return Err(exported(&name.trim_end_matches('/')));
                }
            }
            let is_metadata = |pair: &[&str]| pair[0] == "metadata" && is_iceberg_metadata(pair[1]);
            let kind = if parts.contains(&"_delta_log") {
                TableKind::Delta
            } else if parts.contains(&".hoodie") {
                TableKind::Hudi
            } else if parts.windows(2).any(is_metadata) {
                TableKind::Iceberg
            } else if parts.contains(&"_versions") {
                TableKind::Lance
            } else {
                continue;
            };
            return Err(kind.refusal(Path::new(name), Path::new(name)));
        }
        Ok(())
    }

    /// Errors: `Unsupported` when the folder is what DuckDB exported: a file for each table of a database, which do not go into
    /// one. Its files can be named.
    pub fn check_export(folder: &Path) -> Result<()> {
        if EXPORTED.iter().all(|name| folder.join(name).is_file()) {
            return Err(exported(&folder.display()));
        }
        Ok(())
    }

    fn check<'a>(&mut self, path: &Path, folders: impl Iterator<Item = &'a Path>) -> Result<()> {
        for folder in folders.take(LEVELS_MAX + 1) {
            if let Some(lake) = self.of(folder) {
                return Err(lake.refusal(path, folder));
            }
        }
        Ok(())
    }

    fn of(&mut self, folder: &Path) -> Option<TableKind> {
        if let Some(known) = self.0.get(folder) {
            return *known;
        }
        let found = recognise(folder);
        self.0.insert(folder.to_owned(), found);
        found
    }
}

impl TableKind {
    fn refusal(self, path: &Path, root: &Path) -> Error {
        let (what, why, instead) = match self {
            TableKind::Delta => (
                "a Delta table",
                "its log in _delta_log says which files count",
                "export it to Parquet, or read it with deltalake in Python and put it with pyarrow.flight",
            ),
            TableKind::Iceberg => (
                "an Iceberg table",
                "its metadata say which files and which rows in them count",
                "export it to Parquet, or read it with pyiceberg in Python and put it with pyarrow.flight",
            ),
            TableKind::Hudi => (
                "a Hudi table",
                "its timeline in .hoodie says which versions of its files count",
                "export it to Parquet with Spark and load that",
            ),
            TableKind::Paimon => (
                "a Paimon table",
                "its snapshots say which files count, and later rows replace earlier ones",
                "export it to Parquet, or read it with pypaimon in Python and put it with pyarrow.flight",
            ),
            TableKind::HiveAcid => (
                "a transactional table of Hive",
                "its base and delta folders hold rows that were changed or deleted since",
                "write it to a plain table or to Parquet with Hive or Spark and load that",
            ),
            TableKind::Lance => (
                "a Lance dataset",
                "its versions say which files and which rows in them count",
                "read it with lance in Python, and write it as Parquet or put it with pyarrow.flight",
            ),
            TableKind::DuckLake => (
                "the data of a DuckLake",
                "its catalog says which files and which rows in them count",
                "attach it in DuckDB and write it with COPY … TO 'file.parquet'",
            ),
        };
        let place = match path == root {
            true => format!("{} is", path.display()),
            false => format!("{} belongs to {}, which is", path.display(), root.display()),
        };
        Error::unsupported(format!("{place} {what}: {why}, so its files are not its rows; {instead}"))
    }
}

/// A folder that cannot be looked into is none: whoever walks it says why.
fn recognise(folder: &Path) -> Option<TableKind> {
    let is_folder = |name: &str| folder.join(name).is_dir();
    let any = |name: &str, test: fn(&str) -> bool| {
        let names =
            std::fs::read_dir(folder.join(name)).into_iter().flatten().filter_map(std::io::Result::ok);
        names.map(|entry: DirEntry| entry.file_name()).any(|name| name.to_str().is_some_and(test))
    };
    if is_folder("_delta_log") {
        return Some(TableKind::Delta);
    }
    if is_folder(".hoodie") {
        return Some(TableKind::Hudi);
    }
    if any("metadata", is_iceberg_metadata) {
        return Some(TableKind::Iceberg);
    }
    if is_folder("snapshot") && is_folder("schema") && any("schema", |name| numbered(name, "schema-")) {
        return Some(TableKind::Paimon);
    }
    if any("_versions", |name| name.ends_with(".manifest")) {
        return Some(TableKind::Lance);
    }
    let name = folder.file_name()?.to_str()?;
    is_acid_folder(name).then_some(TableKind::HiveAcid)
}

/// `v3.metadata.json`, `00003-<uuid>.metadata.json`, both also packed with gzip.
fn is_iceberg_metadata(name: &str) -> bool {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let name = name.strip_prefix('v').unwrap_or(name);
    name.starts_with(|letter: char| letter.is_ascii_digit()) && name.ends_with(".metadata.json")
}

/// `base_0000003`, `delta_0000001_0000001_0000`, `delete_delta_…`: numbers of seven digits or more.
fn is_acid_folder(name: &str) -> bool {
    let long = |number: &str| number.len() >= 7 && digits(number);
    if let Some(rest) = name.strip_prefix("base_") {
        return long(rest.split_once("_v").map_or(rest, |(number, _)| number));
    }
    let Some(rest) = name.strip_prefix("delta_").or_else(|| name.strip_prefix("delete_delta_")) else {
        return false;
    };
    let mut numbers = rest.split('_');
    let range = numbers.next().is_some_and(long) && numbers.next().is_some_and(long);
    range && numbers.all(|rest| digits(rest.strip_prefix('v').unwrap_or(rest)))
}

/// `ducklake-<uuid>.parquet`, and `ducklake-<uuid>-delete.parquet` for rows that are gone.
fn is_ducklake_file(file: &Path) -> bool {
    let name =
        file.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("ducklake-"));
    let Some(rest) = name.and_then(|name| name.strip_suffix(".parquet")) else { return false };
    let id = rest.strip_suffix("-delete").unwrap_or(rest);
    id.len() == 36 && id.bytes().all(|letter| letter == b'-' || letter.is_ascii_hexdigit())
}

fn numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(digits)
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    /// Every kind is known from its top folder, from a folder within, and from a file deep in it.
    #[test]
    fn tables_with_a_log_are_recognised_from_anywhere_in_them() {
        let cases: &[(&str, &[&str], &str)] = &[
            ("a Delta table", &["_delta_log/00000000000000000000.json"], "year=2024/part-0.parquet"),
            ("a Hudi table", &[".hoodie/hoodie.properties"], "2024/01/01/file.parquet"),
            ("an Iceberg table", &["metadata/v1.metadata.json"], "data/a.parquet"),
            ("an Iceberg table", &["metadata/00000-6f1c.metadata.json"], "data/k=1/a.parquet"),
            ("an Iceberg table", &["metadata/00000-6f1c.metadata.json.gz"], "elsewhere/a.parquet"),
            (
                "a Paimon table",
                &["snapshot/LATEST", "schema/schema-0", "manifest/m"],
                "bucket-0/data-0.parquet",
            ),
            ("a transactional table", &["base_0000003/x"], "base_0000003/bucket_00000"),
            ("a transactional table", &["delta_0000004_0000004_0000/x"], "delta_0000004_0000004_0000/b"),
            (
                "a transactional table",
                &["delete_delta_0000004_0000004_0000/x"],
                "delete_delta_0000004_0000004_0000/b",
            ),
            ("a Lance dataset", &["_versions/1.manifest"], "data/a.lance"),
            ("the data of a DuckLake", &[], "ducklake-018f3b3e-7c3a-7b1e-8b57-3b1f0c7f2f11-delete.parquet"),
        ];
        for (what, marks, data) in cases {
            let directory = tempfile::tempdir().unwrap();
            for name in marks.iter().chain([data]) {
                let path = directory.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "x").unwrap();
            }
            let file = directory.path().join(data);
            let error = Lakes::default().check_file(&file).unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported);
            assert!(error.message().contains(what) && error.message().contains(data), "{error}");
            if *what == "a transactional table" || *what == "the data of a DuckLake" {
                continue;
            }
            for folder in [directory.path(), file.parent().unwrap()] {
                let error = Lakes::default().check_folder(folder).unwrap_err();
                assert!(error.message().contains(what), "{error}");
            }
        }
    }

    /// A folder of EXPORT DATABASE is no table; its files are, each by itself.
    #[test]
    fn exports_are_not_one_table() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path();
        for name in ["schema.sql", "t.csv"] {
            std::fs::write(folder.join(name), "x").unwrap();
        }
        Lakes::check_export(folder).unwrap();
        std::fs::write(folder.join("load.sql"), "x").unwrap();
        let error = Lakes::check_export(folder).unwrap_err();
        assert!(
            ["EXPORT DATABASE", "--table NAME"].iter().all(|part| error.message().contains(part)),
            "{error}"
        );
        assert_eq!(error.kind(), Kind::Unsupported);
        Lakes::default().check_file(&folder.join("t.csv")).unwrap();
        let keys = |keys: &[&str]| Lakes::check_keys(keys.iter().copied(), "s3://b/x/");
        assert!(keys(&["x/schema.sql", "x/load.sql", "x/t.csv"]).is_err());
        keys(&["x/schema.sql", "y/load.sql", "x/t.csv"]).unwrap();
    }

    /// Folders whose names merely resemble those of such tables.
    #[test]
    fn other_folders_are_no_such_tables() {
        let directory = tempfile::tempdir().unwrap();
        let names = [
            "metadata/notes.json",
            "metadata/my.metadata.json",
            "snapshot/1",
            "schema/a.sql",
            "_versions/notes",
            "base_2024/a.parquet",
            "delta_1_2/a.parquet",
            "delta/a.parquet",
            "ducklake-export.parquet",
            "_delta_log_old/a",
        ];
        for name in names {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "x").unwrap();
            Lakes::default().check_file(&path).unwrap();
            Lakes::default().check_folder(path.parent().unwrap()).unwrap();
        }
    }

    /// The top of a table is not looked for without end.
    #[test]
    fn eight_levels_above_are_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("_delta_log")).unwrap();
        let deep = |levels: usize| {
            (0..levels).fold(directory.path().to_owned(), |path, level| path.join(level.to_string()))
        };
        assert!(Lakes::default().check_folder(&deep(8)).is_err());
        assert!(Lakes::default().check_folder(&deep(9)).is_ok());
    }
}
