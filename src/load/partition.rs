//! `key=value` folders -> columns: their values, one type for all files, and the columns of a batch.
//! Runs on: any thread; does not block. Never: changes a value to fit, or one the file holds itself.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::{Component, Path};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use arrow::array::{Array, ArrayRef, RecordBatch, Scalar, StringArray, UInt32Array, new_null_array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{CastOptions, cast, cast_with_options, take};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::util::display::array_value_to_string;
use chrono::NaiveDate;
use percent_encoding::percent_decode;
use std::os::unix::ffi::OsStrExt;
use xxhash_rust::xxh3::Xxh3;

use crate::files::found::FoundFile;

/// What writers put in the place of NULL. It is compared as it stands: a value that reads so is written with a percent sign.
const NULL_FOLDER: &[u8] = b"__HIVE_DEFAULT_PARTITION__";
const ADVICE: &str = "rename the folder, or use --no-hive";

/// The columns of folders and their values, `None` for NULL.
type Columns = Vec<(String, Option<String>)>;

/// Columns of the folders in a path, the file's own name apart. The path is the real one, or a key: what a file is remembered
/// by decides what columns it has, however it was reached.
///
/// Errors: `Invalid` naming the file and the folder.
pub(super) fn folders_of(path: &Path) -> Result<Columns> {
    let mut found = Columns::new();
    let Some(parent) = path.parent() else { return Ok(found) };
    for part in parent.components() {
        let Component::Normal(name) = part else { continue };
        let Some((key, value)) = split(name.as_bytes()) else { continue };
        let refused = |why: &str| {
            let folder = name.display();
            Error::invalid(format!("{}: the folder \"{folder}\" {why}; {ADVICE}", path.display()))
        };
        let decoded = |bytes: &[u8]| percent_decode(bytes).decode_utf8().map(Cow::into_owned);
        let key = decoded(key).map_err(|_| refused("has a name that is not UTF-8"))?;
        let value = match value == NULL_FOLDER {
            true => None,
            false => Some(decoded(value).map_err(|_| refused("has a value that is not UTF-8"))?),
        };
        if key.is_empty() {
            return Err(refused("has no name of a column before its ="));
        }
        if found.iter().any(|(other, _)| same_name(other, &key)) {
            return Err(refused("names a column that a folder above it names already"));
        }
        found.push((key, value));
    }
    Ok(found)
}

/// Refuses a file that was reached through a `key=value` folder which it does not lie in: links lead out of one, and two of
/// them may lead to the same file with two values.
///
/// Errors: `Invalid` naming the file, where it lies, and the folder.
pub(super) fn check_reached(path: &Path, real: &Path) -> Result<()> {
    let parts = |path: &Path| -> Vec<OsString> {
        let mut parts = Vec::new();
        for part in path.parent().into_iter().flat_map(Path::components) {
            match part {
                Component::Normal(name) => parts.push(name.to_owned()),
                Component::ParentDir => drop(parts.pop()),
                _ => {}
            }
        }
        parts
    };
    let lies_in = parts(real);
    let other =
        parts(path).into_iter().find(|name| split(name.as_bytes()).is_some() && !lies_in.contains(name));
    match other {
        None => Ok(()),
        Some(folder) => Err(Error::invalid(format!(
            "{} is a link to {}, which does not lie below \"{}\"; the columns of folders go by the place of the file itself: \
             put it there, or use --no-hive",
            path.display(),
            real.display(),
            folder.display()
        ))),
    }
}

/// What tells the folders of a file from no folders, by the name that it is remembered by: 0 where it has none. Pieces are
/// stored under their checksum with this, unless their rows were stored without the columns of folders.
fn mark_of(name: &str) -> u64 {
    let columns = folders_of(Path::new(name)).unwrap_or_default();
    if columns.is_empty() {
        return 0;
    }
    let mut checksum = Xxh3::new();
    for (key, value) in columns {
        let (sign, value) = value.map_or((0_u8, String::new()), |value| (1, value));
        checksum.update(&(key.len() as u64).to_le_bytes());
        checksum.update(key.as_bytes());
        checksum.update(&[sign]);
        checksum.update(&(value.len() as u64).to_le_bytes());
        checksum.update(value.as_bytes());
    }
    checksum.digest()
}

/// Under what a file's pieces are stored: the same rows with the columns of their folders, and without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    /// Of the folders, 0 where there are none.
    folders: u64,
    /// The columns of folders are taken.
    hive: bool,
}

impl Marks {
    pub(super) fn new(file: &FoundFile) -> Self {
        Self { folders: mark_of(&file.name), hive: !file.partitions.is_empty() }
    }

    /// What a piece is stored under as it is loaded now.
    pub(super) fn now(self, checksum: u64) -> u64 {
        if self.hive { checksum ^ self.folders } else { checksum }
    }

    /// The checksum of the content of a piece that is stored with the columns of folders under this one.
    pub(super) fn plain(self, stored: u64) -> Option<u64> {
        (self.folders != 0).then_some(stored ^ self.folders)
    }

    /// What it is stored under where it was loaded in the other way; `None` where there is none.
    pub(super) fn otherwise(self, checksum: u64) -> Option<u64> {
        (self.folders != 0).then_some(if self.hive { checksum } else { checksum ^ self.folders })
    }
}

/// Columns of folders for all files of a load, in the order of the first file's folders. `given` is the type of a column
/// that the table or a declaration knows; next in rank is that of a file that holds the column itself. Each file comes
/// with the columns it holds.
///
/// Errors: `Invalid` naming two files when one lacks a column the other has, or file, column, value and type when a value
/// is none of a given type.
pub(super) fn partition_fields<'a>(
    files: impl Iterator<Item = (&'a FoundFile, &'a Schema)> + Clone,
    given: impl Fn(&str) -> Option<DataType>,
) -> Result<Vec<FieldRef>> {
    let mut keys: Vec<(&str, &FoundFile)> = Vec::new();
    for (file, _) in files.clone() {
        for (key, _) in &file.partitions {
            if !keys.iter().any(|(other, _)| same_name(other, key)) {
                keys.push((key, file));
            }
        }
    }
    let mut fields = Vec::with_capacity(keys.len());
    for (key, first) in keys {
        let mut guess = Guess::default();
        for (file, schema) in files.clone() {
            match value_of(file, key) {
                Some(value) => guess.add(value),
                None if own_column(schema, key).is_some() => {}
                None => {
                    return Err(Error::invalid(format!(
                        "{} lies below a folder \"{key}=…\", and {} does not and has no column \"{key}\" itself; load \
                         them apart, or use --no-hive",
                        first.shown, file.shown
                    )));
                }
            }
        }
        let own =
            files.clone().find_map(|(_, schema)| own_column(schema, key).map(|index| schema.field(index)));
        let datatype = given(key).or_else(|| own.map(|field| plain(field.data_type())));
        let datatype = datatype.unwrap_or_else(|| guess.datatype());
        for (file, _) in files.clone() {
            if let Some(Some(value)) = value_of(file, key) {
                constant(file, key, value, &datatype)?;
            }
        }
        fields.push(Arc::new(Field::new(key, datatype, true)));
    }
    Ok(fields)
}

/// The types whose texts are the values and nothing else, so that none is lost: `01` is no number, `2024-1-1` no date.
struct Guess {
    values: bool,
    integer: bool,
    date: bool,
}

impl Default for Guess {
    fn default() -> Self {
        Self { values: false, integer: true, date: true }
    }
}

impl Guess {
    fn add(&mut self, value: Option<&str>) {
        let Some(value) = value else { return };
        self.values = true;
        self.integer &= value.parse::<i64>().is_ok_and(|number| number.to_string() == value);
        let date = NaiveDate::parse_from_str(value, "%Y-%m-%d");
        self.date &= value.len() == 10 && date.is_ok_and(|date| date.to_string() == value);
    }

    fn datatype(&self) -> DataType {
        match self {
            Guess { values: false, .. } => DataType::Utf8,
            Guess { integer: true, .. } => DataType::Int64,
            Guess { date: true, .. } => DataType::Date32,
            _ => DataType::Utf8,
        }
    }
}

/// Brings the columns of its folders to the batches of one file.
pub(super) struct Partitions {
    shown: String,
    /// Behind the file's own columns.
    added: Vec<(FieldRef, ArrayRef)>,
    /// Columns the file holds itself, their values by the folder, and the texts of those.
    own: Vec<(usize, String, ArrayRef, Option<String>)>,
    schema: SchemaRef,
}

impl Partitions {
    /// `fields` are those of [`partition_fields`], `schema` is the file's.
    ///
    /// Errors: `Invalid` naming file, column, value and type when a folder's value is none of the type.
    pub(super) fn new(file: &FoundFile, fields: &[FieldRef], schema: &Schema) -> Result<Self> {
        let (mut added, mut own) = (Vec::new(), Vec::new());
        for field in fields {
            let Some(value) = value_of(file, field.name()) else { continue };
            let one = |datatype: &DataType| match value {
                Some(value) => constant(file, field.name(), value, datatype),
                None => Ok(new_null_array(datatype, 1)),
            };
            match own_column(schema, field.name()) {
                Some(index) => {
                    let one = one(&plain(schema.field(index).data_type()))?;
                    own.push((index, field.name().clone(), one, value.map(str::to_owned)));
                }
                None => added.push((field.clone(), one(field.data_type())?)),
            }
        }
        let columns = schema.fields().iter().chain(added.iter().map(|(field, _)| field)).cloned();
        let schema = Schema::new_with_metadata(columns.collect::<Vec<_>>(), schema.metadata().clone());
        Ok(Self { shown: file.shown.clone(), added, own, schema: Arc::new(schema) })
    }

    /// The file's columns, and behind them those of its folders that it does not hold itself.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Errors: `Conflict` when the file holds a column itself whose values are not those of its folder.
    pub(super) fn extend(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        for (index, key, value, text) in &self.own {
            self.check_own(batch.column(*index), key, value, text.as_deref())?;
        }
        if self.added.is_empty() {
            return Ok(batch.clone());
        }
        let rows = UInt32Array::from_value(0, batch.num_rows());
        let mut columns = batch.columns().to_vec();
        for (_, value) in &self.added {
            columns.push(take(value, &rows, None)?);
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    fn check_own(&self, column: &ArrayRef, key: &str, value: &ArrayRef, text: Option<&str>) -> Result<()> {
        let same = cast(column, value.data_type())
            .and_then(|column| not_distinct(&column, &Scalar::new(value.clone())));
        let same = same.map_err(|error| {
            Error::invalid(format!(
                "{}: column \"{key}\" cannot be compared with its folder: {error}",
                self.shown
            ))
        })?;
        let Some(row) = same.values().iter().position(|same| !same) else { return Ok(()) };
        let found = match column.is_null(row) {
            true => "NULL".to_owned(),
            false => array_value_to_string(column, row)?,
        };
        Err(Error::new(
            Kind::Conflict,
            format!(
                "{}: column \"{key}\" holds {found}, and its folder says {}; use --no-hive to take what the file holds",
                self.shown,
                text.unwrap_or("NULL")
            ),
        ))
    }
}

/// The type of a column's values, whatever stands between.
fn plain(datatype: &DataType) -> DataType {
    match datatype {
        DataType::Dictionary(_, values) => plain(values),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        _ => datatype.clone(),
    }
}

/// A column of one row.
fn constant(file: &FoundFile, key: &str, value: &str, datatype: &DataType) -> Result<ArrayRef> {
    let refused = || {
        Error::invalid(format!(
            "{}: the folder says {key} = \"{value}\", which is no value of {datatype}; {ADVICE}",
            file.shown
        ))
    };
    if !keeps_all(value, datatype) {
        return Err(refused());
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let text = StringArray::from(vec![value]);
    cast_with_options(&text, datatype, &options).map_err(|_| refused())
}

/// Whether a cast of the text keeps every digit: casts round to a scale or a unit, and cut times off dates.
fn keeps_all(value: &str, datatype: &DataType) -> bool {
    let fraction = value.rsplit_once('.').map_or("", |(_, fraction)| fraction);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).collect::<Vec<_>>();
    let places = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    match plain(datatype) {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => {
            let number = value.strip_prefix('-').unwrap_or(value);
            let plain = number.bytes().all(|letter| letter.is_ascii_digit() || letter == b'.');
            plain && places <= usize::try_from(scale).unwrap_or(0)
        }
        DataType::Timestamp(of, _) | DataType::Time32(of) | DataType::Time64(of) => places <= unit(&of),
        DataType::Date32 | DataType::Date64 => NaiveDate::parse_from_str(value, "%Y-%m-%d").is_ok(),
        DataType::Float32 => value.parse::<i128>().map_or(true, |number| number as f32 as i128 == number),
        DataType::Float64 => value.parse::<i128>().map_or(true, |number| number as f64 as i128 == number),
        _ => true,
    }
}

fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = name.iter().position(|byte| *byte == b'=')?;
    Some((&name[..at], &name[at + 1..]))
}

fn value_of<'a>(file: &'a FoundFile, key: &str) -> Option<Option<&'a str>> {
    file.partitions.iter().find(|(other, _)| same_name(other, key)).map(|(_, value)| value.as_deref())
}

fn own_column(schema: &Schema, key: &str) -> Option<usize> {
    schema.fields().iter().position(|field| same_name(field.name(), key))
}

/// Columns of a table differ by more than the case of their letters.
fn same_name(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests;
