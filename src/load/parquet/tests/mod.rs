//! Files that are made value by value, read as they are loaded.

mod damage;
mod types;

use std::fs;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, FloatType,
    Int32Type, Int64Type, Int96, Int96Type,
};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::TempDir;

use super::super::found::Place;
use super::*;

/// Values of one column, with definition and repetition levels.
enum Column {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<&'static [u8]>),
    Fixed(Vec<Vec<u8>>),
}

type Leveled = (Column, Vec<i16>, Vec<i16>);

fn flat(column: Column) -> Leveled {
    (column, Vec::new(), Vec::new())
}

/// A file with the given row groups.
fn bytes_of(message: &str, pairs: &[(&str, &str)], groups: &[Vec<Leveled>]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(message).unwrap());
    let pair = |(key, value): &(&str, &str)| KeyValue::new((*key).to_owned(), (*value).to_owned());
    let properties =
        WriterProperties::builder().set_key_value_metadata(Some(pairs.iter().map(pair).collect())).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    for columns in groups {
        let mut group = writer.next_row_group().unwrap();
        for (column, defined, repeated) in columns {
            let mut next = group.next_column().unwrap().unwrap();
            let (defined, repeated) = (
                (!defined.is_empty()).then_some(&defined[..]),
                (!repeated.is_empty()).then_some(&repeated[..]),
            );
            macro_rules! write {
                ($kind:ty, $values:expr) => {
                    next.typed::<$kind>().write_batch($values, defined, repeated)
                };
            }
            match column {
                Column::Bool(values) => write!(BoolType, values),
                Column::Int32(values) => write!(Int32Type, values),
                Column::Int64(values) => write!(Int64Type, values),
                Column::Int96(values) => write!(Int96Type, values),
                Column::Float(values) => write!(FloatType, values),
                Column::Double(values) => write!(DoubleType, values),
                Column::Bytes(values) => {
                    let values: Vec<ByteArray> = values.iter().map(|value| ByteArray::from(*value)).collect();
                    write!(ByteArrayType, &values)
                }
                Column::Fixed(values) => {
                    let values: Vec<_> =
                        values.iter().map(|value| FixedLenByteArray::from(value.clone())).collect();
                    write!(FixedLenByteArrayType, &values)
                }
            }
            .unwrap();
            next.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

fn found(path: &Path) -> FoundFile {
    FoundFile {
        place: Place::Path(path.to_owned()),
        name: path.display().to_string(),
        shown: "a.parquet".to_owned(),
        partitions: Vec::new(),
    }
}

/// A file that is there as long as this is.
struct OnDisk {
    folder: TempDir,
}

impl OnDisk {
    fn of(bytes: &[u8]) -> Self {
        let on_disk = Self { folder: tempfile::tempdir().unwrap() };
        on_disk.write(bytes);
        on_disk
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("a.parquet")
    }

    fn write(&self, bytes: &[u8]) {
        fs::write(self.path(), bytes).unwrap();
    }

    fn open(&self) -> Result<Arc<dyn LoadFile>> {
        open(&found(&self.path()))
    }
}

fn read(file: &dyn LoadFile) -> Result<Vec<RecordBatch>> {
    let mut reader = file.reader()?;
    let mut all = Vec::new();
    for piece in 0..file.pieces().len() {
        for batch in reader.read(piece)? {
            all.push(batch?);
        }
    }
    Ok(all)
}

/// Name, type and first value of every column.
fn shown(bytes: &[u8]) -> Vec<(String, String)> {
    let on_disk = OnDisk::of(bytes);
    let file = on_disk.open().unwrap();
    let batches = read(file.as_ref()).unwrap();
    let options = FormatOptions::new().with_null("NULL");
    let columns = batches[0].columns().iter().zip(file.schema().fields());
    columns
        .map(|(column, field)| {
            assert_eq!(column.data_type(), field.data_type());
            let name = field
                .metadata()
                .get(pintail_protocol::extension::NAME)
                .map_or(String::new(), |name| format!(" {name}"));
            let value = ArrayFormatter::try_new(column, &options).unwrap().value(0).to_string();
            (format!("{} {}{name}", field.name(), field.data_type()), value)
        })
        .collect()
}

fn refused(bytes: &[u8], text: &str) {
    let Err(error) = OnDisk::of(bytes).open() else { panic!("{text}") };
    assert!(error.message().starts_with("cannot read a.parquet: "), "{error}");
    assert!(error.message().contains(text), "expected {text:?}, found {error}");
}
