//! The files of a load: opened, joined to one schema, and opened again to be read.
//! Runs on: threads that read; blocks. Never: keeps a file open, or the plans of very many files.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};
use ::arrow::array::RecordBatch;
use ::arrow::datatypes::{DataType, Fields, SchemaRef};

use super::find::DataFile;
use super::known::Known;
use super::partition::{Marks, Partitions, partition_fields};
use super::plan::{self, Part, Place, Planned};
use super::schema::{self, Adapter, Joined};
use crate::files::input::{LoadFile, Piece, PieceReader};
use crate::files::sniff::Format;
use crate::files::{arrow as ipc, parquet, text};

/// Files whose plans stay in memory; later ones are planned again when they are read.
const PLANS_KEPT: usize = 4_096;
/// Threads that open files: opening waits for the disk as often as for the processor.
const OPENERS_MAX: usize = 16;

/// All files of a load, by number.
pub(super) struct Opened {
    pub(super) files: Vec<LoadedFile>,
    pub(super) joined: Joined,
    /// What can be sent, once for all files that send the same: the plan's shapes.
    shapes: Vec<SchemaRef>,
    given: Option<SchemaRef>,
}

/// A file with what it sends.
pub(super) struct LoadedFile {
    pub(super) data: DataFile,
    /// What it holds, or why it cannot be loaded.
    pub(super) content: Result<Content>,
}

/// What a file said about itself.
pub(super) struct Content {
    pub(super) pieces: Vec<Piece>,
    /// Its own columns.
    schema: SchemaRef,
    plan: Option<Arc<dyn LoadFile>>,
    marks: Marks,
    partitions: Partitions,
    adapter: Adapter,
    shape: usize,
}

/// A file on its way to [`Content`].
struct Unjoined {
    plan: Option<Arc<dyn LoadFile>>,
    schema: SchemaRef,
    pieces: Vec<Piece>,
    has_open_end: bool,
}

/// What a load does with files that are not as they should be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ways {
    /// Goes on without them.
    pub(super) keep_going: bool,
    /// Leaves out a last line that has no end yet.
    pub(super) leaves_open_ends: bool,
    /// Lets text say itself what types it needs, so that the table can be widened.
    pub(super) types_are_found: bool,
}

impl Opened {
    /// Opens every file and joins their columns, those of their folders included. `table` has the columns of the table,
    /// where it is there.
    ///
    /// Errors: the first file that cannot be opened, unless the load keeps going; columns that cannot be joined.
    pub(super) fn open(
        files: Vec<DataFile>,
        table: Option<&SchemaRef>,
        options: schema::Options,
        ways: Ways,
    ) -> Result<Self> {
        let given = if ways.types_are_found { None } else { table };
        let looked = look_at(&files, given);
        let failed = looked.iter().filter(|looked| looked.is_err()).count();
        if !ways.keep_going
            && let Some(Err(error)) = looked.iter().find(|looked| looked.is_err())
        {
            let more = match failed - 1 {
                0 => String::new(),
                more => format!(
                    " ({} more cannot be read either; --keep-going loads the others)",
                    super::report::files(more)
                ),
            };
            return Err(error.reworded(format!("{}{more}", error.message())));
        }
        let whole =
            || files.iter().zip(&looked).filter_map(|(file, looked)| Some((file, looked.as_ref().ok()?)));
        let of_table = |name: &str| -> Option<DataType> {
            let fields = table?.fields().iter();
            fields
                .into_iter()
                .find(|field| field.name().eq_ignore_ascii_case(name))
                .map(|field| field.data_type().clone())
        };
        let fields =
            partition_fields(whole().map(|(file, looked)| (&file.file, looked.schema.as_ref())), of_table)?;
        let partitions = whole()
            .map(|(file, looked)| Partitions::new(&file.file, &fields, &looked.schema))
            .collect::<Result<Vec<_>>>()?;
        let schemas: Vec<(&str, &SchemaRef)> = whole()
            .zip(&partitions)
            .map(|((file, _), partitions)| (file.file.shown.as_str(), partitions.schema()))
            .collect();
        let (joined, misfits) = join(&schemas, table, options, ways.keep_going)?;
        let mut misfits = misfits.into_iter();
        let mut shapes: Vec<SchemaRef> = Vec::new();
        let mut numbers: HashMap<Fields, usize> = HashMap::new();
        let mut sent = joined.sent.iter();
        let mut partitions = partitions.into_iter();
        let content = |file: &DataFile, looked: Unjoined| {
            let (Some(sent), Some(partitions)) = (sent.next(), partitions.next()) else {
                return Err(Error::internal("a file has no columns to send"));
            };
            if let Some(Some(error)) = misfits.next() {
                return Err(error);
            }
            let shape = *numbers.entry(sent.fields().clone()).or_insert_with(|| {
                shapes.push(Arc::clone(sent));
                shapes.len() - 1
            });
            let adapter = Adapter::new(&file.file.shown, partitions.schema(), &shapes[shape]);
            let mut pieces = looked.pieces;
            if ways.leaves_open_ends && looked.has_open_end {
                pieces.pop();
            }
            let marks = Marks::new(&file.file);
            Ok(Content {
                pieces,
                schema: looked.schema,
                plan: looked.plan,
                marks,
                partitions,
                adapter,
                shape,
            })
        };
        let mut content = content;
        let files = files.into_iter().zip(looked).map(|(data, looked)| {
            let content = looked.and_then(|looked| content(&data, looked));
            LoadedFile { data, content }
        });
        let files = files.collect();
        Ok(Self { files, joined, shapes, given: given.cloned() })
    }

    /// Parts of those files that could be opened.
    pub(super) fn parts(&self) -> Vec<Part> {
        let whole =
            self.files.iter().enumerate().filter_map(|(file, one)| Some((file, one.content.as_ref().ok()?)));
        plan::parts(whole.map(|(file, content)| Planned {
            file,
            shape: content.shape,
            pieces: &content.pieces,
        }))
    }

    /// The columns that a file sends.
    pub(super) fn sent(&self, file: usize) -> Result<SchemaRef> {
        let content = self.content(file)?;
        Ok(Arc::clone(&self.shapes[content.shape]))
    }

    /// The columns of any file that could be opened.
    pub(super) fn any_sent(&self) -> Option<SchemaRef> {
        self.shapes.first().cloned()
    }

    /// Rows of all files, where all say so.
    pub(super) fn rows(&self) -> Option<u64> {
        let content = self.files.iter().filter_map(|file| file.content.as_ref().ok());
        content.flat_map(|content| &content.pieces).map(|piece| piece.rows).sum()
    }

    pub(super) fn content(&self, file: usize) -> Result<&Content> {
        self.files[file].content.as_ref().map_err(Clone::clone)
    }

    /// Bytes that reading a piece holds at once, about.
    pub(super) fn held_bytes(&self, place: Place) -> u64 {
        let content = self.files[place.file].content.as_ref().ok();
        content.and_then(|content| content.pieces.get(place.piece)).map_or(0, |piece| piece.held)
    }

    /// Opens a file to read its pieces; of text, what is not among the `stored` ones.
    pub(super) fn reader(&self, file: usize, stored: &Known) -> Result<Box<dyn PieceReader>> {
        let content = self.content(file)?;
        let data = &self.files[file].data;
        let stored = match data.format.is_text() {
            true => stored.of_file(&data.file.name, content.marks),
            false => HashSet::new(),
        };
        match &content.plan {
            Some(plan) => plan.reader_of_rest(stored),
            None => {
                let plan = open(data, self.given.as_ref())?;
                let is_same = data.file.open()?.stamp() == data.stamp
                    && plan.schema() == &content.schema
                    && plan.pieces().starts_with(&content.pieces);
                if is_same {
                    return plan.reader_of_rest(stored);
                }
                Err(Error::new(
                    crate::error::Kind::Conflict,
                    format!(
                        "{} was written to while it was loaded; load it again when it is finished",
                        data.file.shown
                    ),
                ))
            }
        }
    }
}

impl Content {
    /// Under what its pieces are stored.
    pub(super) fn marks(&self) -> Marks {
        self.marks
    }

    /// A batch of the file as it is sent.
    pub(super) fn adapt(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        self.adapter.adapt(&self.partitions.extend(batch)?)
    }
}

/// Joins the columns of all files. What does not go with the files before it, or with the table, is left out where the load
/// keeps going: its error stands in the place of the file.
fn join(
    files: &[(&str, &SchemaRef)],
    table: Option<&SchemaRef>,
    options: schema::Options,
    keep_going: bool,
) -> Result<(Joined, Vec<Option<Error>>)> {
    let all = schema::join(files, table, options);
    let error = match all {
        Ok(joined) => return Ok((joined, Vec::new())),
        Err(error) => error,
    };
    if !keep_going {
        return Err(error);
    }
    // By what files hold, of which there are few kinds.
    let mut kinds: Vec<((&str, &SchemaRef), Option<Error>)> = Vec::new();
    for file in files {
        if kinds.iter().any(|((_, schema), _)| schema.fields() == file.1.fields()) {
            continue;
        }
        let fitting = kinds.iter().filter(|(_, misfit)| misfit.is_none()).map(|(file, _)| *file);
        let with: Vec<(&str, &SchemaRef)> = fitting.chain([*file]).collect();
        let misfit = schema::join(&with, table, options).err();
        kinds.push((*file, misfit));
    }
    let misfit = |schema: &SchemaRef| {
        kinds
            .iter()
            .find(|((_, other), _)| other.fields() == schema.fields())
            .and_then(|(_, misfit)| misfit.clone())
    };
    let misfits: Vec<Option<Error>> = files.iter().map(|(_, schema)| misfit(schema)).collect();
    let fitting = files.iter().zip(&misfits).filter(|(_, misfit)| misfit.is_none());
    let mut joined = schema::join(&fitting.map(|(file, _)| *file).collect::<Vec<_>>(), table, options)?;
    // One for each file, as where all fit.
    let mut sent = std::mem::take(&mut joined.sent).into_iter();
    for (misfit, (_, own)) in misfits.iter().zip(files) {
        let of_file = if misfit.is_none() { sent.next() } else { None };
        joined.sent.push(of_file.unwrap_or_else(|| Arc::clone(own)));
    }
    Ok((joined, misfits))
}

fn open(data: &DataFile, given: Option<&SchemaRef>) -> Result<Arc<dyn LoadFile>> {
    match data.format {
        Format::Parquet => parquet::open(&data.file),
        Format::ArrowFile | Format::ArrowStream => ipc::open(&data.file),
        Format::Csv { compression } => text::open(&data.file, text::Kind::Csv, compression, given),
        Format::Ndjson { compression } => text::open(&data.file, text::Kind::Ndjson, compression, given),
    }
}

/// Opens the files with some threads; columns that several files have alike are held once.
fn look_at(files: &[DataFile], given: Option<&SchemaRef>) -> Vec<Result<Unjoined>> {
    let next = AtomicUsize::new(0);
    let threads =
        std::thread::available_parallelism().map_or(1, usize::from).min(OPENERS_MAX).min(files.len());
    let look = || {
        let mut found = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(number) else { return found };
            let looked = open(file, given).map(|plan| Unjoined {
                schema: Arc::clone(plan.schema()),
                pieces: plan.pieces().to_vec(),
                has_open_end: plan.has_open_end(),
                plan: (number < PLANS_KEPT).then_some(plan),
            });
            found.push((number, looked));
        }
    };
    let mut found: Vec<(usize, Result<Unjoined>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(look)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    found.sort_by_key(|(number, _)| *number);
    let mut known: HashMap<Fields, SchemaRef> = HashMap::new();
    let mut by_number = found.into_iter().peekable();
    let all = (0..files.len()).map(|number| {
        // A thread that panicked has taken its files along.
        let Some((_, looked)) = by_number.next_if(|(found, _)| *found == number) else {
            return Err(Error::internal(format!("{}: reading it failed", files[number].file.shown)));
        };
        looked.map(|mut looked| {
            let same =
                known.entry(looked.schema.fields().clone()).or_insert_with(|| Arc::clone(&looked.schema));
            looked.schema = Arc::clone(same);
            looked
        })
    });
    all.collect()
}
