//! The end of a Parquet file -> its metadata, every number of it checked against the file.
//! Runs on: the thread that opens a file; blocks. Never: believes a size, count or offset before it is checked.

use crate::error::{Error, Result};
use bytes::Bytes;
use parquet::basic::Compression;
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
    ParquetStatisticsPolicy,
};
use parquet::schema::types::SchemaDescPtr;

use super::super::input::Input;
use super::thrift;

/// Bytes of a footer. Decoded it takes several times as many, and thousands of files are opened one after the other.
const BYTES_MAX: u64 = 64 << 20;
/// Groups within groups. The stack bears several times as many; an Arrow schema is sent 64 deep at most.
const DEPTH_MAX: usize = 100;
/// `PAR1`, a footer's length, and `PAR1` again.
const FRAME: u64 = 12;

/// The bytes of a footer, which hold what they say they hold.
pub(super) struct Footer {
    bytes: Bytes,
    /// Where the footer begins, and the columns' bytes end.
    start: u64,
    pub(super) schema: SchemaDescPtr,
}

impl Footer {
    /// Errors: `Invalid` for what is no whole Parquet file, `Unsupported` for what is encrypted or encoded in a way that
    /// cannot be read; the text does not name the file.
    pub(super) fn read(input: &Input) -> Result<Self> {
        let length = input.len();
        let mut head = [0; 4];
        let mut tail = [0; 8];
        if length < FRAME {
            return Err(Error::invalid(format!(
                "it is no Parquet file: it has {length} bytes, and needs {FRAME}"
            )));
        }
        input.read_at(0, &mut head)?;
        input.read_at(length - 8, &mut tail)?;
        let [size @ .., _, _, _, _] = tail;
        if &head == b"PARE" || tail.ends_with(b"PARE") {
            return Err(Error::unsupported("its footer is encrypted; write it without encryption"));
        }
        if &head != b"PAR1" {
            return Err(Error::invalid("it is no Parquet file: it does not begin with PAR1"));
        }
        if !tail.ends_with(b"PAR1") {
            return Err(Error::invalid("it does not end with PAR1; it was not written or copied to its end"));
        }
        let size = u64::from(u32::from_le_bytes(size));
        if size > length - FRAME || size > BYTES_MAX {
            let most = BYTES_MAX.min(length - FRAME);
            return Err(Error::invalid(format!("its footer has {size} bytes, where at most {most} can be")));
        }
        let start = length - 8 - size;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        input.read_at(start, &mut bytes)?;
        let found =
            check_bytes(&bytes).map_err(|wrong| Error::invalid(format!("its footer is wrong: {wrong}")))?;
        let schema = ParquetMetaDataReader::decode_schema(&bytes).map_err(undecodable)?;
        found.refuse(&schema)?;
        Ok(Self { bytes: bytes.into(), start, schema })
    }

    /// The metadata, for reading by `schema`, which has the columns of the footer's own.
    pub(super) fn metadata(&self, schema: &SchemaDescPtr) -> Result<ParquetMetaData> {
        let options = ParquetMetaDataOptions::new()
            .with_schema(schema.clone())
            .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
            .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll)
            .with_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll);
        let metadata = ParquetMetaDataReader::decode_metadata_with_options(&self.bytes, Some(&options))
            .map_err(undecodable)?;
        check_counts(&metadata)?;
        check_chunks(&metadata, self.start)?;
        Ok(metadata)
    }
}

fn undecodable(error: parquet::errors::ParquetError) -> Error {
    Error::invalid(format!("its footer is wrong: {error}"))
}

/// What a footer holds that nobody here reads: leaf and what it is.
#[derive(Default)]
struct Unreadable(Option<(i64, String)>);

impl Unreadable {
    fn refuse(self, schema: &SchemaDescPtr) -> Result<()> {
        let Some((leaf, what)) = self.0 else { return Ok(()) };
        let column = usize::try_from(leaf).ok().and_then(|leaf| schema.columns().get(leaf));
        let column = column.map_or_else(|| leaf.to_string(), |column| column.path().string());
        Err(Error::unsupported(format!("column \"{column}\" {what}")))
    }
}

/// Goes through the bytes before the decoder does, which makes room for as many children as an element says, and goes as
/// deep as they lie.
fn check_bytes(bytes: &[u8]) -> std::result::Result<Unreadable, String> {
    let mut elements = 0;
    let mut open: Vec<i64> = Vec::new();
    let mut unreadable = Unreadable::default();
    let mut children: Vec<i64> = Vec::new();
    thrift::walk(bytes, &mut |place, value| {
        let mut refuse = |leaf: i64, what: String| {
            unreadable.0.get_or_insert((leaf, what));
        };
        match *place {
            [2] => elements = value,
            [2, _] => children.push(0),
            [2, _, 5] => {
                if value < 0 || value > elements {
                    return Err(format!("a group has {value} columns, and the schema {elements} parts"));
                }
                if let Some(last) = children.last_mut() {
                    *last = value;
                }
            }
            [4, _, 1, leaf, 8] => refuse(leaf, "is encrypted; write it without encryption".to_owned()),
            [4, _, 1, leaf, 3, 4] if !(0..=7).contains(&value) || value == 3 => {
                let name = if value == 3 { "LZO".to_owned() } else { format!("codec {value}") };
                refuse(
                    leaf,
                    format!("is compressed with {name}; write it with zstd, snappy, gzip, lz4 or brotli"),
                );
            }
            [4, _, 1, leaf, 3, 2, _] if !(0..=9).contains(&value) || value == 1 => {
                refuse(
                    leaf,
                    format!("has the unknown encoding {value}; write it with plain or dictionary encoding"),
                );
            }
            _ => {}
        }
        Ok(())
    })?;
    for count in children {
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if count > 0 {
            open.push(count);
        }
        if open.len() > DEPTH_MAX {
            return Err(format!("its columns lie more than {DEPTH_MAX} deep in each other"));
        }
    }
    Ok(unreadable)
}

fn check_counts(metadata: &ParquetMetaData) -> Result<()> {
    let mut sum = 0_i64;
    for (group, rows) in
        metadata.row_groups().iter().map(parquet::file::metadata::RowGroupMetaData::num_rows).enumerate()
    {
        let whole = if rows < 0 { None } else { sum.checked_add(rows) };
        sum = whole.ok_or_else(|| lie(group, format_args!("has {rows} rows")))?;
    }
    let rows = metadata.file_metadata().num_rows();
    if rows != sum {
        return Err(Error::invalid(format!(
            "its footer is wrong: the file has {rows} rows, and its row groups {sum} together"
        )));
    }
    Ok(())
}

fn lie(group: usize, what: std::fmt::Arguments<'_>) -> Error {
    Error::invalid(format!("its footer is wrong: row group {} {what}", group + 1))
}

/// Where a column chunk begins, and how long it is; `None` for numbers that are none.
pub(super) fn range(chunk: &ColumnChunkMetaData) -> Option<(u64, u64)> {
    let data = chunk.data_page_offset();
    // Some writers have 0 here for a chunk without a dictionary.
    let first =
        chunk.dictionary_page_offset().filter(|first| *first > 0).map_or(data, |first| first.min(data));
    Some((u64::try_from(first).ok()?, u64::try_from(chunk.compressed_size()).ok()?))
}

fn check_chunks(metadata: &ParquetMetaData, footer: u64) -> Result<()> {
    let mut taken: Vec<(u64, u64)> = Vec::new();
    // Of a row group without rows nothing is read.
    let groups = metadata.row_groups().iter().enumerate();
    for (index, group) in groups.filter(|(_, group)| group.num_rows() > 0) {
        for chunk in group.columns() {
            let column = chunk.column_path().string();
            if chunk.file_path().is_some_and(|path| !path.is_empty()) {
                return Err(Error::unsupported(format!(
                    "column \"{column}\" of row group {} lies in another file; load that one",
                    index + 1
                )));
            }
            if matches!(chunk.compression(), Compression::LZO) {
                return Err(Error::unsupported(format!("column \"{column}\" is compressed with LZO")));
            }
            let (values, size) = (chunk.num_values(), chunk.uncompressed_size());
            if values < 0 || size < 0 {
                let what = format_args!("has {values} values in {size} bytes in column \"{column}\"");
                return Err(lie(index, what));
            }
            let rows = group.num_rows();
            let flat = chunk.column_descr().max_rep_level() == 0;
            if values < rows || flat && values != rows {
                let what = format_args!("has {rows} rows, but {values} values in column \"{column}\"");
                return Err(lie(index, what));
            }
            let end = range(chunk).and_then(|(first, length)| Some((first, first.checked_add(length)?)));
            match end {
                Some((first, end)) if first >= 4 && end <= footer && end > first => {
                    taken.push((first, end));
                }
                _ => {
                    let (first, length) = (chunk.data_page_offset(), chunk.compressed_size());
                    let what = format_args!(
                        "has {length} bytes from {first} on for column \"{column}\", and its columns end at {footer}"
                    );
                    return Err(lie(index, what));
                }
            }
        }
    }
    taken.sort_unstable();
    match taken.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        None => Ok(()),
        Some(pair) => Err(Error::invalid(format!(
            "its footer is wrong: columns lie over each other, from {} to {} and from {} to {}",
            pair[0].0, pair[0].1, pair[1].0, pair[1].1
        ))),
    }
}
