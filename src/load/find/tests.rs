//! Folders as they are: links, loops, left-overs, files that come and go.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use parquet::file::reader::Length;

use super::*;
use crate::files::sniff::Compression;

const HIVE: Finding = Finding { hive: true, follow: false, keep_going: false, fence: None };

/// A folder with files that hold lines of CSV, or what is given.
fn folder(files: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in files {
        write(&directory, name, b"id\n1\n");
    }
    directory
}

fn write(directory: &TempDir, name: &str, bytes: &[u8]) {
    let path = directory.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn arguments(directory: &TempDir, names: &[&str]) -> Vec<OsString> {
    names.iter().map(|name| OsString::from(format!("{}/{name}", directory.path().display()))).collect()
}

fn find(directory: &TempDir, names: &[&str], finding: Finding) -> Result<Found> {
    Finder::new(arguments(directory, names), finding).find()
}

/// Paths below the folder, as they were reached.
fn paths(directory: &TempDir, found: &Found) -> Vec<String> {
    let top = format!("{}/", directory.path().display());
    found.files.iter().map(|data| data.file.shown.replacen(&top, "", 1)).collect()
}

fn check(directory: &TempDir, names: &[&str], expected: &[&str]) -> Found {
    let found = find(directory, names, HIVE).unwrap();
    assert_eq!(paths(directory, &found), expected, "{names:?}: {:?}", found.skipped);
    found
}

/// A file is one file, whatever it is called and however it is reached; a loop of links ends; the order is that of the
/// arguments, and of the names in each.
#[test]
fn a_file_is_found_once() {
    let directory = folder(&["b.csv", "in/c.csv", "in/deep/d.csv"]);
    let root = directory.path();
    std::fs::hard_link(root.join("b.csv"), root.join("in/hard.csv")).unwrap();
    symlink(root.join("in/c.csv"), root.join("a.csv")).unwrap();
    symlink(root, root.join("in/deep/up")).unwrap();
    check(&directory, &[""], &["b.csv", "in/c.csv", "in/deep/d.csv"]);
    check(&directory, &["in", ""], &["in/c.csv", "in/deep/d.csv", "in/hard.csv"]);
    check(&directory, &["in/deep/up/b.csv", "in/./../b.csv", "in/hard.csv"], &["in/deep/up/b.csv"]);
    check(&directory, &["a.csv", "in/*.csv", "in/deep"], &["a.csv", "in/hard.csv", "in/deep/d.csv"]);
    check(&directory, &["b.csv", "b.csv", ""], &["b.csv", "in/c.csv", "in/deep/d.csv"]);
    // The name is the real path, whatever the file is called first; other names of hard links are told.
    let real = |name: &str| root.canonicalize().unwrap().join(name).display().to_string();
    let found = find(&directory, &["a.csv", "in/deep/up/b.csv"], HIVE).unwrap();
    let names: Vec<_> = found.files.iter().map(|data| data.file.name.clone()).collect();
    assert_eq!(names, [real("in/c.csv"), real("b.csv")]);
    let found = find(&directory, &[""], HIVE).unwrap();
    assert_eq!(found.other_names, [(real("b.csv"), real("in/hard.csv"))]);
}

/// What is reached without links keeps the folders it lies in, also where a link comes first by name.
#[test]
fn a_link_does_not_rename_what_it_leads_to() {
    let directory = folder(&["data/year=2024/a.csv", "data/year=2025/b.csv", "other/year=1/c.csv"]);
    symlink("year=2025", directory.path().join("data/latest")).unwrap();
    symlink("../other", directory.path().join("data/also")).unwrap();
    let expected = ["data/also/year=1/c.csv", "data/year=2024/a.csv", "data/year=2025/b.csv"];
    check(&directory, &["data"], &expected);
    check(&directory, &["data/**/*.csv"], &expected);
}

#[test]
fn names_that_say_so_are_no_data() {
    let directory = folder(&[
        "part-0.csv",
        "_temporary/0/part-1.csv",
        ".part-2.csv",
        "_SUCCESS",
        ".part-0.csv.crc",
        "x/_hidden.csv",
        "x/.git/a.csv",
        "_delta/k.csv",
        "part-3.csv.tmp",
        "part-4.csv~",
        "_region=eu/part-5.csv",
    ]);
    let found = check(&directory, &[""], &["_region=eu/part-5.csv", "part-0.csv"]);
    assert_eq!(found.hidden, 7);
    assert_eq!(found.skipped.len(), 2);
    assert!(
        found.skipped.iter().all(|skipped| skipped.refusal.why.contains("unfinished")),
        "{:?}",
        found.skipped
    );
    assert_eq!(found.files[0].file.partitions, [("_region".to_owned(), Some("eu".to_owned()))]);
    // What is named is taken.
    check(&directory, &["_temporary"], &["_temporary/0/part-1.csv"]);
    check(&directory, &[".part-2.csv", "part-3.csv.tmp"], &[".part-2.csv", "part-3.csv.tmp"]);
    check(&directory, &["*.csv"], &["part-0.csv"]);
    check(&directory, &[".*.csv"], &[".part-2.csv"]);
    check(&directory, &["x/_*"], &["x/_hidden.csv"]);
    check(&directory, &["*.csv.tmp"], &["part-3.csv.tmp"]);
    check(&directory, &["**"], &["_region=eu/part-5.csv", "part-0.csv"]);
    check(&directory, &["**/*.csv"], &["_region=eu/part-5.csv", "part-0.csv"]);
}

/// What a folder holds besides is left out with a word; what is named and no data is an error.
#[test]
fn content_decides_what_is_taken() {
    let directory = folder(&["a.csv", "notes.txt", "b.log"]);
    write(&directory, "empty.parquet", b"");
    write(&directory, "cut.parquet", b"PAR1\x15\x04\x15\x10\x15\x14");
    write(&directory, "image.png", b"\x89PNG\r\n\x1a\n\0");
    write(&directory, "table", b"{\"id\": 1}\n");
    let found = check(&directory, &[""], &["a.csv"]);
    let causes: Vec<_> = found
        .skipped
        .iter()
        .map(|skipped| (skipped.shown.rsplit('/').next().unwrap(), skipped.refusal.cause))
        .collect();
    use Cause::{Broken, NotData};
    let expected = [
        ("b.log", NotData),
        ("cut.parquet", Broken),
        ("empty.parquet", NotData),
        ("image.png", NotData),
        ("notes.txt", NotData),
        ("table", NotData),
    ];
    assert_eq!(causes, expected);
    for (name, part) in [
        ("empty.parquet", "is empty"),
        ("cut.parquet", "cut short"),
        ("image.png", "neither"),
        ("none.csv", "no file, folder"),
    ] {
        let error = find(&directory, &["a.csv", name], HIVE).unwrap_err();
        assert!(error.message().contains(part) && error.message().contains(name), "{error}");
    }
    let found = find(&directory, &["cut.parquet", "a.csv"], Finding { keep_going: true, ..HIVE }).unwrap();
    assert_eq!(paths(&directory, &found), ["a.csv"]);
    assert_eq!(found.skipped[0].refusal.cause, Broken);
    // Text of any name is taken when a person means it, and is then not left out.
    let found = check(&directory, &["", "notes.txt", "table"], &["a.csv", "notes.txt", "table"]);
    assert_eq!(found.files[2].format, Format::Ndjson { compression: Compression::None });
    assert_eq!(found.skipped.len(), 4);
    check(&directory, &["*.txt", "b*"], &["notes.txt", "b.log"]);
    check(&directory, &["*"], &["a.csv"]);
    let error = find(&directory, &["*.p*"], HIVE).unwrap_err();
    assert!(["3 left out", "cut.parquet"].iter().all(|part| error.message().contains(part)), "{error}");
    check(&directory, &["no*"], &["notes.txt"]);
}

#[test]
fn folders_become_columns() {
    let directory = folder(&["d/year=2024/month=1/a.csv", "d/year=2024/month=2/b.csv", "e/k=1/k=2/c.csv"]);
    let partitions = |names: &[&str], finding: Finding| {
        let found = find(&directory, names, finding).unwrap();
        let text =
            |(key, value): &(String, Option<String>)| format!("{key}={}", value.as_deref().unwrap_or("NULL"));
        found
            .files
            .iter()
            .map(|data| data.file.partitions.iter().map(text).collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    let both = ["year=2024 month=1", "year=2024 month=2"];
    assert_eq!(partitions(&["d"], HIVE), both);
    // The same columns from whichever level is named.
    assert_eq!(partitions(&["d/year=2024"], HIVE), both);
    assert_eq!(partitions(&["d/year=2024/month=1", "d/year=2024/month=2/b.csv"], HIVE), both);
    assert_eq!(partitions(&["d/*/*/*.csv"], HIVE), both);
    assert_eq!(partitions(&["d/year=*"], HIVE), both);
    assert_eq!(partitions(&["d"], Finding::default()), ["", ""]);
    let error = find(&directory, &["e"], HIVE).unwrap_err();
    assert!(error.message().contains("c.csv") && error.message().contains("k=2"), "{error}");
    assert_eq!(partitions(&["e"], Finding::default()), [""]);
    // All folders of the real path count, whichever of them is named and however it is reached.
    let above = folder(&["run=5/d/k=1/a.csv"]);
    symlink("run=5/d/k=1", above.path().join("latest")).unwrap();
    for name in ["", "run=5/d", "run=5/d/k=1/a.csv", "latest", "latest/a.csv", "run=5/../latest/*.csv"] {
        let found = find(&above, &[name], HIVE).unwrap();
        let columns: Vec<_> = found.files[0].file.partitions.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(columns, ["run", "k"], "{name}");
    }
    // A link cannot give a file another value.
    symlink("k=1", above.path().join("run=5/d/k=2")).unwrap();
    let error = find(&above, &["run=5/d/k=2/a.csv"], HIVE).unwrap_err();
    assert!(
        ["k=2", "is a link to", "--no-hive"].iter().all(|part| error.message().contains(part)),
        "{error}"
    );
    let found = find(&above, &["run=5/d/k=2/a.csv"], Finding::default()).unwrap();
    assert!(found.files[0].file.partitions.is_empty());
}

#[test]
fn tables_with_a_log_are_not_their_files() {
    let directory = folder(&["lake/_delta_log/0.json", "lake/k=1/a.csv", "b.csv"]);
    for names in
        [&[""][..], &["lake"], &["lake/k=1"], &["lake/k=1/a.csv"], &["lake/**/*.csv"], &["b.csv", "lake"]]
    {
        let error = find(&directory, names, HIVE).unwrap_err();
        assert!(error.kind() == Kind::Unsupported && error.message().contains("a Delta table"), "{error}");
    }
    check(&directory, &["b.csv"], &["b.csv"]);
    let found = find(&directory, &["b.csv", "lake"], Finding { keep_going: true, ..HIVE }).unwrap();
    assert_eq!(paths(&directory, &found), ["b.csv"]);
    assert!(
        found.skipped.iter().any(|skipped| skipped.refusal.why.contains("a Delta table")),
        "{:?}",
        found.skipped
    );
}

/// Files that are no files, links that lead nowhere, and folders that may not be entered are told, and the rest is found.
#[test]
fn what_cannot_be_read_is_told() {
    let directory = folder(&["a.csv"]);
    symlink("loop", directory.path().join("loop")).unwrap();
    symlink("nowhere", directory.path().join("gone.csv")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(directory.path().join("socket")).unwrap();
    let found = check(&directory, &[""], &["a.csv"]);
    drop(socket);
    let names: Vec<_> =
        found.skipped.iter().map(|skipped| skipped.shown.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["socket", "gone.csv", "loop"]);
    for name in ["loop", "gone.csv", "socket"] {
        let error = find(&directory, &[name], HIVE).unwrap_err();
        assert!(error.message().contains(name), "{error}");
    }
}

/// Names that are not UTF-8, or of more than one line, are told apart and shown in one line.
#[test]
fn every_name_is_a_name() {
    let directory = folder(&["a\nb.csv", "100%.csv"]);
    let raw = [b"\xff.csv".to_vec(), b"\xfe.csv".to_vec(), b"\xef\xbf\xbd.csv".to_vec()];
    for name in &raw {
        std::fs::write(directory.path().join(OsString::from_vec(name.clone())), "id\n1\n").unwrap();
    }
    for names in [&[""][..], &["*.csv"]] {
        let found = find(&directory, names, HIVE).unwrap();
        let mut names: Vec<_> = found.files.iter().map(|data| data.file.name.clone()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 5);
        assert_eq!(names.iter().filter(|name| name.starts_with("file:///")).count(), 2);
        assert!(
            names.iter().any(|name| name.ends_with("/%FF.csv"))
                && names.iter().any(|name| name.ends_with("/100%.csv"))
        );
        assert!(found.files.iter().all(|data| !data.file.shown.contains('\n')));
    }
    // A file whose name has the letters of a pattern is itself.
    let directory = folder(&["[a].csv", "a.csv"]);
    check(&directory, &["[a].csv"], &["[a].csv"]);
    check(&directory, &["[ab].csv"], &["a.csv"]);
    assert!(find(&directory, &["a**b"], HIVE).unwrap_err().message().contains("no pattern"));
}

#[test]
fn addresses_are_left_to_others() {
    for url in
        ["s3://b/k", "S3://b/k*", "gs://b/k", "az://b/k", "abfss://b/k", "https://h/a.parquet", "http://h/a"]
    {
        assert!(is_url(url), "{url}");
    }
    for path in ["a.csv", "/a", "s3:/a", "file:///a", "ftp://a", "a/s3://b"] {
        assert!(!is_url(path), "{path}");
    }
    let directory = folder(&["a.csv"]);
    let mut named = arguments(&directory, &["a.csv"]);
    named.insert(0, "s3://bucket/key".into());
    let found = Finder::new(named, HIVE).find().unwrap();
    assert_eq!(found.urls, [(0, "s3://bucket/key".to_owned())]);
    assert_eq!(found.files[0].argument, 1);
    for (name, part) in
        [("file:///a", "give its path"), ("ftp://a/b", "ftp:// is no kind of store"), ("", "no file")]
    {
        let error = Finder::new(vec![name.into()], HIVE).find().unwrap_err();
        assert!(error.message().contains(part), "{error}");
    }
}

/// Standard input is read once, may be read again at any place, and leaves nothing behind.
#[test]
fn standard_input_is_copied() {
    let text = format!("id\n{}", "1\n".repeat(1 << 20));
    let data = copied(&mut text.as_bytes(), 3).unwrap();
    assert_eq!((data.format, data.argument), (Format::Csv { compression: Compression::None }, 3));
    // Never the same as another one.
    assert!(data.file.name.starts_with("-:") && data.file.name.len() == 34, "{}", data.file.name);
    assert_eq!(data.file.shown, "standard input");
    for _ in 0..2 {
        let input = data.file.open().unwrap();
        assert_eq!(Length::len(&input), text.len() as u64);
        let mut bytes = vec![0; text.len()];
        input.read_at(0, &mut bytes).unwrap();
        assert_eq!(bytes, text.as_bytes());
        input.check_unchanged().unwrap();
    }
    assert_eq!(data, data.clone());
    let error = copied(&mut [].as_slice(), 0).unwrap_err();
    assert_eq!(error.message(), "standard input is empty");
}

/// Looking again opens only what is new or has changed: contents that change behind an unchanged stamp are not seen.
#[test]
fn looking_again_is_cheap() {
    let directory = folder(&["a.csv"]);
    write(&directory, "b.csv", b"PAR1\x15\x04\x15\x10\x15\x14");
    let mut finder = Finder::new(arguments(&directory, &[""]), Finding { follow: true, ..HIVE });
    let first = finder.find().unwrap();
    assert_eq!((first.files.len(), first.skipped.len()), (1, 1));
    // The same length, time and inode: only opening the file would tell.
    let path = directory.path().join("a.csv");
    let time = path.metadata().unwrap().modified().unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"\0\0\0\0\0", 0).unwrap();
    file.set_modified(time).unwrap();
    let second = finder.find().unwrap();
    assert_eq!((&second.files, &second.skipped), (&first.files, &first.skipped));
    // What was unfinished is looked at again when it has grown; what is new is found, and what has gone is forgotten.
    write(&directory, "b.csv", b"id\n1\n2\n");
    write(&directory, "k/c.csv", b"id\n1\n");
    std::fs::remove_file(&path).unwrap();
    let third = finder.find().unwrap();
    assert_eq!(paths(&directory, &third), ["b.csv", "k/c.csv"]);
    assert_eq!(finder.known.len(), 2);
}

/// Following waits for data; what is named must be there when it begins, and may go later.
#[test]
fn following_waits() {
    let directory = folder(&[]);
    let follow = Finding { follow: true, ..HIVE };
    let mut finder = Finder::new(arguments(&directory, &["", "*.csv"]), follow.clone());
    assert_eq!(finder.find().unwrap().files, []);
    write(&directory, "a.csv", b"id\n1\n");
    assert_eq!(paths(&directory, &finder.find().unwrap()), ["a.csv"]);
    assert!(find(&directory, &["later.csv"], follow.clone()).is_err());
    let mut finder = Finder::new(arguments(&directory, &["a.csv"]), follow);
    finder.find().unwrap();
    std::fs::remove_file(directory.path().join("a.csv")).unwrap();
    let found = finder.find().unwrap();
    assert_eq!((found.files.len(), found.skipped[0].refusal.cause), (0, Cause::Gone));
}

/// A file that goes between the listing and the look is told and stops nothing.
#[test]
fn a_file_that_vanishes_is_told() {
    let directory = folder(&["a.csv", "b.csv"]);
    let mut finder = Finder::new(arguments(&directory, &[""]), HIVE);
    let mut search = finder.search();
    let path = directory.path().join("a.csv");
    let data = path.metadata().unwrap();
    std::fs::remove_file(&path).unwrap();
    let way = Way { argument: 0, named: false, any_text: false };
    assert!(!search.candidate(&path, path.clone(), &data, way).unwrap());
    let (found, _) = search.finish();
    assert_eq!(found.skipped.len(), 1);
    assert_eq!(found.skipped[0].refusal.cause, Cause::Gone);
    let named = search_named(&mut finder, &path, &data);
    assert!(named.message().contains("no longer there"), "{named}");
}

fn search_named(finder: &mut Finder, path: &Path, data: &Metadata) -> Error {
    let way = Way { argument: 0, named: true, any_text: true };
    finder.search().candidate(path, path.to_owned(), data, way).unwrap_err()
}
