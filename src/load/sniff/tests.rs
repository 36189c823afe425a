//! Files as writers leave them, whole and damaged, under right and wrong names.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::ipc::MetadataVersion;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use parquet::arrow::ArrowWriter;

use super::*;
use crate::load::found::{FoundFile, Place};

fn batch() -> RecordBatch {
    RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2, 3])) as _)]).unwrap()
}

fn parquet() -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch().schema(), None).unwrap();
    writer.write(&batch()).unwrap();
    writer.into_inner().unwrap()
}

fn arrow_file() -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), &batch().schema()).unwrap();
    writer.write(&batch()).unwrap();
    writer.into_inner().unwrap()
}

fn stream(options: IpcWriteOptions) -> Vec<u8> {
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch().schema(), options).unwrap();
    writer.write(&batch()).unwrap();
    writer.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// What `bytes` are when they lie in a file of this name.
fn look(name: &str, bytes: &[u8], named: bool) -> Result<Format, Refusal> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let file =
        FoundFile { place: Place::Path(path), name: name.into(), shown: name.into(), partitions: Vec::new() };
    sniff(&file.open().unwrap(), &Naming { path: Some(Path::new(name)), named }).unwrap()
}

fn csv(compression: Compression) -> Format {
    Format::Csv { compression }
}

fn ndjson(compression: Compression) -> Format {
    Format::Ndjson { compression }
}

/// The content decides, whatever the file is called, and whether it is named or only met in a folder.
#[test]
fn tables_are_known_by_their_content() {
    let legacy = IpcWriteOptions::try_new(8, true, MetadataVersion::V4).unwrap();
    let cases = [
        (parquet(), Format::Parquet),
        (arrow_file(), Format::ArrowFile),
        (stream(IpcWriteOptions::default()), Format::ArrowStream),
        (stream(legacy), Format::ArrowStream),
    ];
    for (bytes, format) in cases {
        for name in ["a.parquet", "a.arrow", "a.feather", "a.csv", "a", "part-00000", "a.csv.gz"] {
            for named in [true, false] {
                assert_eq!(look(name, &bytes, named), Ok(format), "{name} {named}");
            }
        }
    }
}

/// A stream without the marker of later versions is one that the reader takes as well.
#[test]
fn an_old_stream_is_read() {
    let legacy = IpcWriteOptions::try_new(8, true, MetadataVersion::V4).unwrap();
    let bytes = stream(legacy);
    assert_ne!(bytes[..4], [0xff; 4]);
    let reader = arrow::ipc::reader::StreamReader::try_new(bytes.as_slice(), None).unwrap();
    assert_eq!(reader.map(|batch| batch.unwrap()).collect::<Vec<_>>(), [batch()]);
}

/// A file cut at any byte is never taken for a whole one of a kind that says where it ends, nor for text.
#[test]
fn a_file_that_is_cut_short_is_broken() {
    for (bytes, what) in [(parquet(), "Parquet"), (arrow_file(), "Arrow IPC")] {
        for len in 8..bytes.len() {
            let refusal = look("a.bin", &bytes[..len], true).unwrap_err();
            assert_eq!(refusal.cause, Cause::Broken, "{len} bytes: {}", refusal.why);
            assert!(refusal.why.contains(what), "{len} bytes: {}", refusal.why);
        }
    }
    let mut headless = parquet();
    headless[..4].copy_from_slice(b"XXXX");
    let refusal = look("a.parquet", &headless, false).unwrap_err();
    assert_eq!(refusal.cause, Cause::Broken);
    let whole = stream(IpcWriteOptions::default());
    for (bytes, part) in [
        (&whole[..40], "ends within"),
        (&[&[0xff, 0xff, 0xff, 0xff, 64, 0, 0, 0][..], &[7; 80]].concat()[..], "damaged"),
    ] {
        let refusal = look("a.arrows", bytes, false).unwrap_err();
        assert!(refusal.cause == Cause::Broken && refusal.why.contains(part), "{}", refusal.why);
    }
    let packed = gzip("id\n".repeat(10_000).as_bytes());
    let refusal = look("a.csv.gz", &packed[..packed.len() / 2], true).unwrap_err();
    assert!(refusal.cause == Cause::Broken && refusal.why.contains("gzip"), "{}", refusal.why);
}

#[test]
fn lines_are_told_by_their_first() {
    use Compression::{Gzip, None, Zstd};
    let long = format!("{{\"text\":\"{}\"}}\n", "x".repeat(200_000));
    let cases: &[(&str, &[u8], Format)] = &[
        ("a.csv", b"id,name\n1,x\n", csv(None)),
        ("a.csv", "\u{feff}id,n\u{e4}me\n1,x\n".as_bytes(), csv(None)),
        ("a.tsv", b"id\tname\n1\tx\n", csv(None)),
        ("A.CSV", b"id", csv(None)),
        // Beginnings that are marks of other formats, in letters.
        ("a.csv", b"PAR1,PAR2\n1,2\n", csv(None)),
        ("a.csv", b"ARROW1,x\n1,2\n", csv(None)),
        ("a.csv", b"ORCID,name\n1,x\n", csv(None)),
        ("a.csv", b"12345678DUCK,name\n1,x\n", csv(None)),
        ("a.csv", b"BZh9,FEA1\n1,x\n", csv(None)),
        ("a.csv", b"{id},{name}\n1,2\n", csv(None)),
        ("a.csv", b"[id],[name]\n1,2\n", csv(None)),
        ("a.csv", b"id\x01name\n", csv(None)),
        ("a.ndjson", b"{\"id\": 1}\n{\"id\": 2}\n", ndjson(None)),
        ("a.jsonl", b"\n  {\"id\": 1}", ndjson(None)),
        ("a.json", b"\xef\xbb\xbf{\"id\": 1}\r\n{\"id\": 2}\r\n", ndjson(None)),
        ("a.csv", b"{\"id\": 1}\n{\"id\": 2}\n", ndjson(None)),
        ("a.json", long.as_bytes(), ndjson(None)),
        ("a.csv.gz", &gzip(b"id\n1\n"), csv(Gzip)),
        ("a.csv.zst", &zst(b"id\n1\n"), csv(Zstd)),
        // Packed without a word of it in the name.
        ("a.csv", &zst(b"id\n1\n"), csv(Zstd)),
        ("a.jsonl.gz", &gzip(b"{\"id\": 1}\n"), ndjson(Gzip)),
        ("a.json.zstd", &zst(long.as_bytes()), ndjson(Zstd)),
        // Members one after the other, as of a log that is appended to; a frame without data first.
        ("a.csv.gz", &[gzip(b"id\n"), gzip(b"1\n")].concat(), csv(Gzip)),
        ("a.csv.zst", &[b"\x50\x2a\x4d\x18\x02\0\0\0xx".as_slice(), &zst(b"id\n1\n")].concat(), csv(Zstd)),
    ];
    for (name, bytes, format) in cases {
        for named in [true, false] {
            assert_eq!(
                look(name, bytes, named),
                Ok(*format),
                "{name} {}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(40)])
            );
        }
    }
    // Text of another name is data only when it is named.
    for (bytes, format) in [
        (&b"id,name\n1,x\n"[..], csv(None)),
        (b"{\"id\": 1}\n", ndjson(None)),
        (&gzip(b"id\n1\n"), csv(Gzip)),
    ] {
        for name in ["notes.txt", "README", "a.log"] {
            assert_eq!(look(name, bytes, true), Ok(format), "{name}");
            let refusal = look(name, bytes, false).unwrap_err();
            assert!(
                refusal.cause == Cause::NotData && refusal.why.contains("name the file"),
                "{}",
                refusal.why
            );
        }
    }
}

/// What is no table, or one that is not read, is refused by its own name.
#[test]
fn other_files_are_refused_by_name() {
    use Cause::{Broken, NotData, Refused};
    let utf16: Vec<u8> = "id,name\n1,x\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut tar = vec![0; 600];
    tar[..5].copy_from_slice(b"a.csv");
    tar[257..262].copy_from_slice(b"ustar");
    let orc = [b"ORC".as_slice(), &[0, 1, 2, 3], b"ORC\x17"].concat();
    let cases: &[(&str, &[u8], Cause, &str)] = &[
        ("a.parquet", b"", NotData, "is empty"),
        ("a.csv", b" \n\n", NotData, "blanks"),
        ("a.csv.gz", &gzip(b""), NotData, "holds nothing"),
        ("a.parquet", &[b"PARE".as_slice(), &[0; 20], b"PARE"].concat(), Refused, "encrypted footer"),
        (
            "a.feather",
            &[b"FEA1".as_slice(), &[0; 20], b"FEA1"].concat(),
            Refused,
            "Feather file of version 1",
        ),
        ("a.orc", &orc, Refused, "ORC"),
        ("a.avro", b"Obj\x01\x04\x16avro.schema", Refused, "Avro"),
        ("a.lance", b"\0\x01\x02\x03\0\0\x02\0LANC", Refused, "Lance"),
        ("a.csv.bz2", b"BZh91AY&SY\x01\x02", Refused, "bzip2"),
        ("a.csv.xz", b"\xfd7zXZ\0\0\x04", Refused, "xz"),
        ("a.csv.lz4", b"\x04\x22\x4d\x18\x64\x40", Refused, "lz4"),
        ("a.csv.sz", b"\xff\x06\0\0sNaPpY\0", Refused, "snappy"),
        ("a.arrow.zst", &zst(&arrow_file()), Refused, "an Arrow file packed with zstd"),
        ("a.parquet.gz", &gzip(&parquet()), Refused, "a Parquet file packed with gzip"),
        ("a.tar.gz", &gzip(&tar), Refused, "a tar archive packed with gzip"),
        ("a.xlsx", b"PK\x03\x04\x14\0\x06\0\0\0\0\0[Content_Types].xml", NotData, "Excel"),
        ("a.zip", b"PK\x03\x04\x14\0\x06\0\0\0\0\0a.csv", NotData, "zip archive"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", NotData, "Excel"),
        ("a.tar", &tar, NotData, "tar archive"),
        ("a.db", b"SQLite format 3\0\x10\0", NotData, "SQLite"),
        ("a.db", b"\x01\x02\x03\x04\x05\x06\x07\x08DUCK\x43\0\0\0\0\0\0\0", NotData, "DuckDB"),
        ("a.h5", b"\x89HDF\r\n\x1a\n\0\0", NotData, "HDF5"),
        ("a.png", b"\x89PNG\r\n\x1a\n\0\0", NotData, "neither Parquet, Arrow nor text"),
        ("a.csv", &[b"\xff\xfe".as_slice(), &utf16].concat(), Refused, "UTF-16"),
        ("a.csv", &utf16, Refused, "UTF-16LE"),
        ("a.csv", b"id,n\xe4me\n1,x\n", Broken, "byte 0xe4 at 4"),
        ("a.csv", b"id\0name", Broken, "neither"),
        ("a.parquet", &[0; 4096], Broken, "neither"),
        ("a.parquet", b"id,name\n", Broken, "holds text"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", Broken, "git lfs pull"),
        ("a.csv", b"<!DOCTYPE html>\n<html>", Broken, "HTML"),
        ("a.json", b"[{\"id\": 1}]", NotData, "jq -c '.[]'"),
        ("a.json", b"{\n  \"id\": 1\n}\n", NotData, "several lines"),
        ("a.json", b"id,name\n", NotData, "no JSON object"),
        ("a.jsonl", b"[1]\n[2]\n", Broken, "no JSON object"),
        ("a.jsonl", b"{\"id\": 1", Broken, "no JSON object"),
    ];
    for (name, bytes, cause, part) in cases {
        let refusal = look(name, bytes, true).unwrap_err();
        assert_eq!(refusal.cause, *cause, "{name}: {}", refusal.why);
        assert!(refusal.why.contains(part), "{name}: {}", refusal.why);
        assert_eq!(look(name, bytes, false).unwrap_err().cause, *cause, "{name}");
    }
}
