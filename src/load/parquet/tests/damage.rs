//! Files that say what is not so, stop in the middle, or change.

use arrow::array::StringArray;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::{
    ColumnChunkMetaDataBuilder, FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter,
};

use super::*;

/// Two row groups of two columns.
fn two_groups() -> Vec<u8> {
    let group = |first: i32| {
        vec![
            flat(Column::Int32(vec![first, first + 1, first + 2])),
            flat(Column::Bytes(vec![b"one", b"two", b"three"])),
        ]
    };
    bytes_of("message m { REQUIRED INT32 n; REQUIRED BYTE_ARRAY t (UTF8); }", &[], &[group(0), group(3)])
}

#[test]
fn a_file_that_stops_in_the_middle_is_refused() {
    let whole = two_groups();
    let mut file = whole.clone();
    for length in 0..whole.len() {
        file.truncate(whole.len() - 1 - length);
        refused(&file, "");
    }
    assert_eq!(shown(&whole)[1].1, "one");
}

/// Whatever a bit becomes, there are as many rows as promised, or an error; a panic would fail the test.
#[test]
fn a_damaged_file_never_has_fewer_rows() {
    let whole = two_groups();
    let on_disk = OnDisk::of(&whole);
    for place in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[place] ^= flip;
            on_disk.write(&bytes);
            let Ok(file) = on_disk.open() else { continue };
            let promised: u64 = file.pieces().iter().filter_map(|piece| piece.rows).sum();
            if let Ok(batches) = read(file.as_ref()) {
                let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
                assert_eq!(rows as u64, promised, "byte {place} flipped by {flip:#x}");
            }
        }
    }
}

/// `bytes` with another footer.
fn with_footer(bytes: &[u8], change: impl Fn(ParquetMetaData) -> ParquetMetaData) -> Vec<u8> {
    let metadata =
        ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::copy_from_slice(bytes)).unwrap();
    let length = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap());
    let mut changed = bytes[..bytes.len() - 8 - length as usize].to_vec();
    ParquetMetaDataWriter::new(&mut changed, &change(metadata)).finish().unwrap();
    changed
}

fn with_groups(
    bytes: &[u8],
    rows: i64,
    change: impl Fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder,
) -> Vec<u8> {
    with_footer(bytes, |metadata| {
        let mut builder = metadata.into_builder();
        let groups = builder.take_row_groups().into_iter().enumerate().map(|(index, group)| {
            let mut group = group.into_builder();
            if index == 1 {
                let columns = group
                    .take_columns()
                    .into_iter()
                    .map(|column| change(column.into_builder()).build().unwrap());
                group = group.set_num_rows(rows).set_column_metadata(columns.collect());
            }
            group.build().unwrap()
        });
        let groups = groups.collect();
        builder.set_row_groups(groups).build()
    })
}

#[test]
fn a_footer_that_lies_is_refused_by_name() {
    let whole = two_groups();
    refused(&with_groups(&whole, -1, |column| column), "row group 2 has -1 rows");
    refused(&with_groups(&whole, 4, |column| column), "row group 2 has 4 rows, but 3 values in column \"n\"");
    let columns =
        |change: fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder| with_groups(&whole, 3, change);
    refused(&columns(|column| column.set_num_values(-3)), "row group 2 has -3 values");
    refused(
        &columns(|column| column.set_num_values(4)),
        "row group 2 has 3 rows, but 4 values in column \"n\"",
    );
    refused(&columns(|column| column.set_total_compressed_size(-1)), "row group 2 has -1 bytes");
    refused(
        &columns(|column| column.set_total_compressed_size(1 << 40)),
        "row group 2 has 1099511627776 bytes",
    );
    refused(&columns(|column| column.set_total_uncompressed_size(-1)), "values in -1 bytes");
    refused(&columns(|column| column.set_data_page_offset(-9)), "bytes from -9 on for column \"n\"");
    refused(&columns(|column| column.set_dictionary_page_offset(Some(4))), "columns lie over each other");
    refused(
        &columns(|column| column.set_compression(Compression::LZO)),
        "column \"n\" is compressed with LZO",
    );
    refused(&columns(|column| column.set_file_path("b.parquet".to_owned())), "lies in another file");
}

/// A footer that promises a row more than the pages have.
#[test]
fn missing_rows_are_told() {
    let lying = with_footer(&two_groups(), |metadata| {
        let file = metadata.file_metadata();
        let more = FileMetaData::new(file.version(), 7, None, None, file.schema_descr_ptr(), None);
        let groups = metadata.row_groups().iter().enumerate().map(|(index, group)| {
            let mut group = group.clone().into_builder();
            if index == 1 {
                let columns = group.take_columns().into_iter();
                let columns = columns.map(|column| column.into_builder().set_num_values(4).build().unwrap());
                group = group.set_num_rows(4).set_column_metadata(columns.collect());
            }
            group.build().unwrap()
        });
        ParquetMetaData::new(more, groups.collect())
    });
    let on_disk = OnDisk::of(&lying);
    let file = on_disk.open().unwrap();
    let error = read(file.as_ref()).unwrap_err();
    let text = error.message();
    assert!(text.contains("a.parquet: row group 2, column \"n\": "), "{text}");
}

#[test]
fn a_text_that_is_not_utf8_is_told_with_its_place() {
    let group = |text: &'static [u8]| vec![flat(Column::Bytes(vec![b"ok", text]))];
    for annotation in ["UTF8", "JSON", "ENUM"] {
        let message = format!("message m {{ REQUIRED BYTE_ARRAY t ({annotation}); }}");
        let on_disk = OnDisk::of(&bytes_of(&message, &[], &[group(b"ok"), group(b"\xff")]));
        let file = on_disk.open().unwrap();
        let error = read(file.as_ref()).unwrap_err();
        let place = "cannot read a.parquet: row group 2, row 2, column \"t\": a text is not UTF-8";
        assert!(error.message().starts_with(place), "{error}");
    }
}

#[test]
fn a_file_that_was_written_to_is_a_conflict() {
    let on_disk = OnDisk::of(&two_groups());
    let file = on_disk.open().unwrap();
    let mut reader = file.reader().unwrap();
    on_disk.write(b"something else");
    for error in [
        file.reader().err().unwrap(),
        reader.checksum(0).unwrap_err(),
        reader.read(0).and_then(Iterator::collect::<Result<Vec<_>>>).unwrap_err(),
    ] {
        assert!(error.kind() == Kind::Conflict || error.message().contains("cannot read"), "{error}");
    }
    assert_eq!(file.reader().err().map(|error| error.kind()), Some(Kind::Conflict));
}

#[test]
fn a_checksum_tells_content_names_and_types() {
    let checksum = |bytes: &[u8], piece| {
        let on_disk = OnDisk::of(bytes);
        on_disk.open().unwrap().reader().unwrap().checksum(piece).unwrap()
    };
    let one = |column: &str, value| {
        let message = format!("message m {{ REQUIRED {column}; }}");
        checksum(&bytes_of(&message, &[], &[vec![flat(Column::Int32(vec![value]))]]), 0)
    };
    assert_eq!(one("INT32 a", 1), one("INT32 a", 1));
    assert_ne!(one("INT32 a", 1), one("INT32 a", 2));
    assert_ne!(one("INT32 a", 1), one("INT32 b", 1));
    assert_ne!(one("INT32 a", 1), one("INT32 a (DATE)", 1));
    assert_ne!(checksum(&two_groups(), 0), checksum(&two_groups(), 1));
}

/// One value of a dictionary stands for thousands of rows, and is not sent in one batch.
#[test]
fn batches_stay_small() {
    let text = "x".repeat(100_000);
    let rows: StringArray = std::iter::repeat_n(Some(text.as_str()), 1000).collect();
    let batch = RecordBatch::try_from_iter([("t", Arc::new(rows) as _)]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    assert!(bytes.len() < 10_000_000);
    let on_disk = OnDisk::of(&bytes);
    let file = on_disk.open().unwrap();
    let batches = read(file.as_ref()).unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1000);
    for batch in batches {
        assert!(batch.get_array_memory_size() < 20 << 20, "{}", batch.get_array_memory_size());
    }
}
