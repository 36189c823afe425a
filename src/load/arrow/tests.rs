//! Files as writers leave them, and files that are not what they say.

use std::path::Path;

use arrow::array::{ArrayRef, AsArray, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{DictionaryHandling, FileWriter, IpcWriteOptions, StreamWriter};

use base64::Engine;

use super::super::found::Place;
use super::*;

pub(super) fn found(path: &Path) -> FoundFile {
    FoundFile {
        place: Place::Path(path.to_owned()),
        name: path.display().to_string(),
        shown: "dir/shown.arrow".to_owned(),
        partitions: Vec::new(),
    }
}

fn numbers(rows: i64) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    RecordBatch::try_from_iter([("n", column)]).unwrap()
}

fn words(from: i32, rows: i32) -> RecordBatch {
    let values = StringArray::from_iter_values((0..from + rows).map(|n| format!("word {n}")));
    let column =
        DictionaryArray::<Int32Type>::new(Int32Array::from_iter_values(from..from + rows), Arc::new(values));
    RecordBatch::try_from_iter([("w", Arc::new(column) as ArrayRef)]).unwrap()
}

fn stream(batches: &[RecordBatch], options: IpcWriteOptions) -> Vec<u8> {
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batches[0].schema(), options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

fn file(batches: &[RecordBatch], options: IpcWriteOptions) -> Vec<u8> {
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &batches[0].schema(), options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

fn plain() -> IpcWriteOptions {
    IpcWriteOptions::default()
}

/// Everything in a file: its pieces' rows, their checksums, and all batches.
struct Read {
    pieces: Vec<u64>,
    checksums: Vec<u64>,
    batches: Vec<RecordBatch>,
}

fn read(bytes: &[u8]) -> Result<Read> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    std::fs::write(&path, bytes).unwrap();
    let file = open(&found(&path))?;
    let mut reader = file.reader()?;
    let mut read = Read { pieces: Vec::new(), checksums: Vec::new(), batches: Vec::new() };
    for (number, piece) in file.pieces().iter().enumerate() {
        read.pieces.push(piece.rows.unwrap());
        read.checksums.push(reader.checksum(number)?);
        let batches = reader.read(number)?.collect::<Result<Vec<_>>>()?;
        let rows: u64 = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        assert_eq!(rows, piece.rows.unwrap());
        read.batches.extend(batches);
    }
    Ok(read)
}

fn refused(bytes: &[u8], says: &[&str]) {
    let error = read(bytes).map(|_| ()).unwrap_err().to_string();
    for says in says.iter().chain(&["cannot read dir/shown.arrow"]) {
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn files_and_streams_hold_the_same_pieces() {
    let batches = [numbers(60_000), numbers(0), numbers(70_000), numbers(5), numbers(99_999)];
    let packed = plain().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
    let old = IpcWriteOptions::try_new(8, true, arrow::ipc::MetadataVersion::V4).unwrap();
    let first = read(&stream(&batches, plain())).unwrap();
    assert_eq!(first.pieces, [60_000, 70_000, 5, 99_999]);
    let rows: Vec<RecordBatch> = batches.iter().filter(|batch| batch.num_rows() > 0).cloned().collect();
    assert_eq!(first.batches, rows);
    for bytes in [
        file(&batches, plain()),
        stream(&batches, packed.clone()),
        file(&batches, packed),
        stream(&batches, old.clone()),
        file(&batches, old),
    ] {
        let other = read(&bytes).unwrap();
        assert_eq!(other.pieces, first.pieces);
        assert_eq!(other.checksums, first.checksums);
        assert_eq!(other.batches, first.batches);
    }
}

/// A stream that is still written has no end, and keeps the pieces it had.
#[test]
fn a_stream_that_grows_keeps_its_pieces() {
    let batches = [numbers(100_000), numbers(30_000), numbers(80_000), numbers(1)];
    let bytes = stream(&batches[..3], plain());
    // Eight bytes mark the end.
    let open_end = read(&bytes[..bytes.len() - 8]).unwrap();
    assert_eq!(open_end.pieces, [100_000, 30_000, 80_000]);
    let grown = read(&stream(&batches, plain())).unwrap();
    assert_eq!(grown.pieces, [100_000, 30_000, 80_000, 1]);
    assert_eq!(grown.checksums[..3], open_end.checksums);
    assert!(read(&stream(&[numbers(0)], plain())).unwrap().pieces.is_empty());
}

/// Dictionaries that grow, by messages of their own or as a whole, in any piece, read in any order.
#[test]
fn dictionaries_grow_over_batches() {
    let batches = [words(0, 60_000), words(60_000, 60_000), words(5, 3), words(120_000, 90_000)];
    let texts = |batch: &RecordBatch| cast(batch.column(0), &DataType::Utf8).unwrap();
    for handling in [DictionaryHandling::Resend, DictionaryHandling::Delta] {
        let bytes = stream(&batches, plain().with_dictionary_handling(handling));
        let all = read(&bytes).unwrap();
        assert_eq!(all.pieces, [60_000, 60_000, 3, 90_000]);
        for (found, expected) in all.batches.iter().zip(&batches) {
            assert_eq!(&texts(found), &texts(expected));
        }
        // The second piece without the first, and then the first.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, &bytes).unwrap();
        let mut reader = open(&found(&path)).unwrap().reader().unwrap();
        for piece in [1, 1, 0] {
            assert_eq!(reader.checksum(piece).unwrap(), all.checksums[piece]);
        }
    }
    // Files take what is added, and no other dictionary.
    let batches = [&batches[..2], &batches[3..]].concat();
    let file = file(&batches, plain().with_dictionary_handling(DictionaryHandling::Delta));
    let all = read(&file).unwrap();
    assert_eq!(&texts(&all.batches[2]), &texts(&batches[2]));
}

#[test]
fn a_file_that_is_cut_short_is_refused_wherever_it_ends() {
    let batches = [numbers(10), numbers(20)];
    let whole = file(&batches, plain());
    for length in 1..whole.len() {
        refused(&whole[..length], &[]);
    }
    refused(&whole[..whole.len() - 1], &["cut short or still written"]);
    let whole = stream(&batches, plain());
    // Between messages a stream may end; everywhere else it does not.
    let ends = (1..whole.len()).filter(|length| read(&whole[..*length]).is_ok()).count();
    assert_eq!(ends, 3, "behind the schema and each batch");
    refused(&whole[..whole.len() - 9], &["record batch 2", "cut short or still written"]);
    refused(&[&whole[..], &whole[..]].concat(), &["behind the end of the stream"]);
    refused(b"", &["no schema"]);
    refused(b"no arrow file at all, but text", &[]);
}

/// The footer says where batches lie; one that leaves some out, moves or stretches them is found out.
#[test]
fn a_footer_that_lies_is_refused() {
    let whole = file(&[numbers(1000), numbers(1000), numbers(1000)], plain());
    let length = u32::from_le_bytes(*whole[whole.len() - 10..].first_chunk().unwrap()) as usize;
    let footer_at = whole.len() - 10 - length;
    let footer = arrow::ipc::root_as_footer(&whole[footer_at..whole.len() - 10]).unwrap();
    let blocks = footer.recordBatches().unwrap();
    let at = blocks.bytes().as_ptr() as usize - whole.as_ptr() as usize;
    assert_eq!(blocks.len(), 3);
    let changed = |place: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[place..place + bytes.len()].copy_from_slice(bytes);
        changed
    };
    // The number of blocks stands before them.
    refused(&changed(at - 4, &2_u32.to_le_bytes()), &["says nothing of the bytes", "rows may be missing"]);
    refused(&changed(at + 24, &i64::MAX.to_le_bytes()), &["record batch 2", "not in the file"]);
    refused(&changed(at + 24, &8_i64.to_le_bytes()), &["record batch 2"]);
    refused(&changed(at + 8, &7_i32.to_le_bytes()), &["record batch 1", "another message is there"]);
    refused(&changed(at + 16, &(1_i64 << 50).to_le_bytes()), &["record batch 1", "another message is there"]);
    let second = whole[at + 24..at + 48].to_vec();
    refused(&changed(at + 48, &second), &["out of order"]);
    refused(&changed(whole.len() - 10, &u32::MAX.to_le_bytes()), &["its footer"]);
}

/// Any damage is an error or other values, and never a panic or fewer rows than were said.
#[test]
fn damaged_files_end_in_errors() {
    let batches = [words(0, 50), words(50, 50)];
    let whole = file(&batches, plain().with_dictionary_handling(DictionaryHandling::Delta));
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        if let Ok(read) = read(&damaged) {
            let rows: usize = read.batches.iter().map(RecordBatch::num_rows).sum();
            assert_eq!(rows as u64, read.pieces.iter().sum::<u64>());
        }
    }
}

/// A batch beyond what is held at once arrives in slices, with all of its values.
#[test]
fn a_large_batch_is_read_in_slices() {
    let text = |n: i64| if n == 400_000 { "x".repeat(40 << 20) } else { format!("{n} some text") };
    let texts = arrow::array::LargeStringArray::from_iter_values((0..800_000).map(text));
    let numbers = Int64Array::from_iter_values(0..800_000);
    let columns = [("n", Arc::new(numbers) as ArrayRef), ("t", Arc::new(texts) as ArrayRef)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let all = read(&file(&[batch], plain())).unwrap();
    assert_eq!(all.pieces, [800_000]);
    assert!(all.batches.len() > 3 && all.batches.len() < 40, "{}", all.batches.len());
    let mut next = 0;
    for batch in &all.batches {
        let numbers = batch.column(0).as_primitive::<Int64Type>();
        let texts = batch.column(1).as_string::<i64>();
        for row in 0..batch.num_rows() {
            assert_eq!(numbers.value(row), next);
            assert!(texts.value(row) == text(next));
            next += 1;
        }
    }
    assert_eq!(next, 800_000);
}

/// A file of polars 2.1.0 with the Int128 values 1, -2, NULL and 2^100. It begins with a schema that no message is around.
const POLARS: &str = "\
    QVJST1cxAAAEAAAA8v///xQAAAAEAAEAAAAKAAsACAAKAAQA+P///wwAAAAIAAgAAAAEAAEAAAAEAAAA7P///zgAAAAgAAAA\
    GAAAAAECAAAQABIABAAQABEACAAAAAwAAAAAAPT///+AAAAAAQAAAAgACQAEAAgAAQAAAGEAAAD/////gAAAAAQAAADs////\
    gAAAAAAAAAAUAAAABAADAAwAEwAQABIADAAEAOr///8EAAAAAAAAADwAAAAQAAAAAAAKABQABAAMABAAAgAAAAAAAAAAAAAA\
    AQAAAAAAAABAAAAAAAAAAEAAAAAAAAAAAAAAAAEAAAAEAAAAAAAAAAEAAAAAAAAA+wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAD+////////////////////\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAAAAD/////AAAAAAQAAADs////QAAAADgAAAAUAAAABAAAAAwAEgAQAAQA\
    CAAMAAEAAACAAAAAAAAAAIgAAAAAAAAAgAAAAAAAAAAAAAAAAAAAAPj///8MAAAACAAIAAAABAABAAAABAAAAOz///84AAAA\
    IAAAABgAAAABAgAAEAASAAQAEAARAAgAAAAMAAAAAAD0////gAAAAAEAAAAIAAkABAAIAAEAAABhAKIAAABBUlJPVzE=";

/// arrow-rs has no such integers; DuckDB's HUGEINT is the same bytes.
#[test]
fn integers_of_128_bits_are_hugeints() {
    let bytes = base64::engine::general_purpose::STANDARD.decode(POLARS).unwrap();
    let read = read(&bytes).unwrap();
    let schema = read.batches[0].schema();
    assert_eq!(crate::catalog::from_arrow(schema.field(0)).unwrap().duckdb, "HUGEINT");
    let column = read.batches[0].column(0).as_fixed_size_binary();
    let values: Vec<Option<i128>> = column
        .iter()
        .map(|value| value.map(|value| i128::from_le_bytes(value.try_into().unwrap())))
        .collect();
    assert_eq!(values, [Some(1), Some(-2), None, Some(1 << 100)]);
}

#[test]
fn a_file_that_changes_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    std::fs::write(&path, stream(&[numbers(10)], plain())).unwrap();
    let file = open(&found(&path)).unwrap();
    std::fs::write(&path, stream(&[numbers(11)], plain())).unwrap();
    let Err(error) = file.reader() else { panic!("it has changed") };
    assert_eq!(error.kind(), Kind::Conflict);
    let mut reader = open(&found(&path)).unwrap().reader().unwrap();
    let batches = reader.read(0).unwrap();
    std::fs::write(&path, stream(&[numbers(11), numbers(1)], plain())).unwrap();
    assert!(batches.collect::<Result<Vec<_>>>().is_err());
}

#[test]
fn numbers_of_a_big_endian_machine_are_refused_by_name() {
    let mut bytes = stream(&[numbers(1)], plain());
    let length = u32::from_le_bytes(*bytes[4..].first_chunk().unwrap()) as usize;
    let message = arrow::ipc::root_as_message(&bytes[8..8 + length]).unwrap();
    let table = 8 + message.header_as_schema().unwrap()._tab.loc();
    // Little-endian is left out as the default, so the field is made to lie where a one is already.
    let back = i32::from_le_bytes(*bytes[table..].first_chunk().unwrap());
    let slot =
        table.checked_add_signed(-(back as isize)).unwrap() + usize::from(arrow::ipc::Schema::VT_ENDIANNESS);
    let one = (table + 4..8 + length).step_by(4).find(|at| bytes[*at..*at + 2] == [1, 0]).unwrap();
    bytes[slot..slot + 2].copy_from_slice(&((one - table) as u16).to_le_bytes());
    refused(&bytes, &["big-endian"]);
}
