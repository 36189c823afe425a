//! Parts -> put streams, some of them at a time, each one transaction.
//! Runs on: the task of the command; a thread reads each part.
//! Never: counts what was not confirmed; sends a piece that is there; ends a stream whose reader has stopped early.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::catalog::TableName;
use crate::client::PutAnswer;
use crate::error::{Error, Kind, Result};
use arrow::datatypes::SchemaRef;
use futures::stream::{self, StreamExt};
use pintail_protocol::header::{self, Mode, OnConflict, Sources};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Clients;
use super::files::Opened;
use super::known::Known;
use super::meeting::{self, Meeting};
use super::plan::Part;
use super::read::{ReadPart, read_part};
use super::reading::{Memory, ended_early, to_the_end};
use super::report::{Output, Progress, Tally};

/// Batches read ahead of the network.
const READ_AHEAD: usize = 2;
/// How often a part is tried that collides with another client's work.
const TRIES: u32 = 5;

/// Whether the table is made, whatever is there.
pub(super) fn is_new(mode: Mode) -> bool {
    matches!(mode, Mode::Create | Mode::Replace | Mode::ReplaceExisting)
}

/// Everything that a part's put needs to know.
pub(super) struct Sending {
    pub(super) clients: Clients,
    pub(super) table: TableName,
    pub(super) mode: Mode,
    pub(super) on_conflict: Option<OnConflict>,
    /// `--again`: what is there already is sent as well.
    pub(super) is_again: bool,
    /// Whether parts may be sent while others are committed; `None` until the table is there.
    pub(super) may_overlap: Option<bool>,
    /// The table is there and empty, or is made: what was remembered of it is void.
    pub(super) begins_anew: bool,
    /// What is remembered of the table is that of another one, or of rows that are gone, until something is stored.
    pub(super) is_void: bool,
    pub(super) keep_going: bool,
    /// Put streams at a time, once the table is there.
    pub(super) jobs: usize,
    pub(super) files: Arc<Opened>,
    pub(super) known: Arc<Known>,
    pub(super) meeting: Meeting,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) memory: Memory,
}

/// A part that was read and put, or not.
struct Done {
    part: Part,
    read: ReadPart,
    answer: Result<Option<PutAnswer>>,
    took: Duration,
}

impl Sending {
    /// Sends all parts; what became of each file is in `tally`. Stops at the first file that fails, unless it keeps going.
    ///
    /// Errors: what no other part can be better off with, such as a server that is gone.
    pub(super) async fn run(
        mut self,
        parts: Vec<Part>,
        tally: &mut Tally,
        output: &dyn Output,
    ) -> Result<()> {
        let mut waiting: VecDeque<(Part, u32)> = parts.into_iter().map(|part| (part, 0)).collect();
        let mut running: JoinSet<(Done, u32)> = JoinSet::new();
        let mut at_work: Vec<usize> = Vec::new();
        let mut settled: Vec<(usize, u64)> = Vec::new();
        let jobs_if = |overlap: bool, jobs: usize| if overlap { jobs } else { 1 };
        let mut jobs = self.may_overlap.map(|overlap| jobs_if(overlap, self.jobs));
        let mut fatal = None;
        // Another load may be at work: nothing is started before what runs has ended and that is looked into.
        let mut in_the_way: Option<Error> = None;
        let mut is_alone = true;
        loop {
            if running.is_empty()
                && let Some(error) = in_the_way.take()
                && let Some((_, tries)) = waiting.front()
            {
                let tries = *tries;
                is_alone = !self.meet(&waiting, &settled, output).await?;
                if is_alone && tries >= TRIES {
                    let (part, _) = waiting.pop_front().unwrap_or_default();
                    self.fail(&part, error, &mut waiting, tally);
                } else if is_alone {
                    let pause = Duration::from_millis(20 << tries);
                    tokio::time::sleep(pause.max(error.retry_after().unwrap_or_default())).await;
                    waiting.iter_mut().take(1).for_each(|(_, tries)| *tries += 1);
                } else {
                    waiting.iter_mut().for_each(|(_, tries)| *tries = 0);
                }
            }
            // The first part goes alone: it makes the table, or says what the table is.
            let at_a_time = if is_alone { jobs.unwrap_or(1) } else { 1 };
            while in_the_way.is_none() && running.len() < at_a_time {
                let Some((part, tries)) = waiting.pop_front() else { break };
                let files = part.files();
                let is_apart = !files.iter().any(|file| at_work.contains(file));
                let may_be_known = !self.is_again && jobs.is_some() && is_apart;
                if may_be_known && self.is_overtaken(&part).await {
                    waiting.push_front((part, tries));
                    in_the_way = Some(Error::internal("another load is at work"));
                    break;
                }
                at_work.extend(files);
                let put = self.put(part, jobs.is_none());
                running.spawn(async move { (put.await, tries) });
            }
            // What runs is waited for also after a failure: it may be committed already.
            let Some(done) = running.join_next().await else {
                if in_the_way.is_some() && !waiting.is_empty() {
                    continue;
                }
                break;
            };
            let (Done { part, read, answer, took }, tries) =
                done.map_err(|error| Error::internal(format!("a part could not be sent: {error}")))?;
            for file in part.files() {
                let place = at_work.iter().position(|other| *other == file);
                place.map(|place| at_work.swap_remove(place));
            }
            self.meeting.took(took);
            let error = match answer {
                Ok(answer) => {
                    is_alone |= answer.is_some();
                    self.settle(&part, &read, tally, &mut settled, output);
                    if let Some(answer) = answer {
                        tally.add(&answer);
                        if jobs.is_none() {
                            let collide =
                                super::target::has_unique_rows(&mut self.clients.asks, &self.table).await?;
                            jobs = Some(jobs_if(!collide, self.jobs));
                            self.is_void = false;
                        }
                    }
                    continue;
                }
                Err(error) => error,
            };
            self.take_back(&read);
            if let Some((file, _)) = read.failed {
                tally.files[file].failed = Some(error);
                waiting.push_front((part.without(file), tries));
                self.drop_failed(&mut waiting, file);
                continue;
            }
            match error.kind() {
                // Another client was quicker, and what it has stored is left out now; or the server is busy, and says for how long.
                Kind::Aborted => {
                    waiting.push_front((part, tries));
                    in_the_way = Some(error);
                }
                Kind::Exhausted if tries < TRIES && error.retry_after().is_some() => {
                    let pause = Duration::from_millis(20 << tries);
                    tokio::time::sleep(pause.max(error.retry_after().unwrap_or_default())).await;
                    waiting.push_front((part, tries + 1));
                }
                Kind::Unavailable | Kind::Exhausted | Kind::Cancelled | Kind::Deadline | Kind::Denied => {
                    tally.files[part.pieces[0].file].failed = Some(error.clone());
                    waiting.clear();
                    in_the_way = None;
                    fatal = Some(error);
                }
                _ => self.fail(&part, error, &mut waiting, tally),
            }
        }
        fatal.map_or(Ok(()), Err)
    }

    /// Writes down what a part that was committed, or had nothing to send, came to.
    fn settle(
        &mut self,
        part: &Part,
        read: &ReadPart,
        tally: &mut Tally,
        settled: &mut Vec<(usize, u64)>,
        output: &dyn Output,
    ) {
        for (file, checksum, rows) in &read.sent {
            tally.files[*file].stored += 1;
            tally.files[*file].rows += rows;
            settled.push((*file, *checksum));
            if *rows > 0 {
                self.meeting.stored(*file, *checksum);
            }
        }
        for (file, _) in &read.left_out {
            tally.files[*file].left_out += 1;
        }
        for file in &read.unlike {
            tally.files[*file].unlike += 1;
        }
        settled.extend(read.left_out.iter().chain(&read.met));
        if self.is_again {
            return;
        }
        for file in part.files() {
            let (state, name) = (&mut tally.files[file], &self.files.files[file].data.file);
            if state.is_there() {
                state.old = self.known.left(&name.name);
                state.notes(&name.shown).iter().for_each(|note| output.tell(note));
            }
        }
    }

    /// What was looked up for a part that was not committed is as before.
    fn take_back(&self, read: &ReadPart) {
        let name = |file: usize| self.files.files[file].data.file.name.as_str();
        for (file, piece) in read.left_out.iter().chain(&read.met) {
            self.known.give_back(name(*file), *piece);
        }
        for (file, piece, rows) in &read.sent {
            if *rows > 0 {
                self.known.lose(name(*file), *piece);
            }
        }
    }

    /// A part that the server refuses. It does not know of files: half of them at a time, until it is one.
    fn fail(&self, part: &Part, error: Error, waiting: &mut VecDeque<(Part, u32)>, tally: &mut Tally) {
        if part.files().len() > 1 {
            let (first, second) = part.clone().halves();
            waiting.push_front((second, 0));
            waiting.push_front((first, 0));
        } else if let Some(place) = part.pieces.first() {
            tally.files[place.file].failed = Some(error);
            self.drop_failed(waiting, place.file);
        }
    }

    /// Takes out what is not to be sent after `file` has failed: the rest of it, and of a load that does not keep going
    /// everything behind it. What comes before it may have been rolled back with it.
    fn drop_failed(&self, waiting: &mut VecDeque<(Part, u32)>, file: usize) {
        for (part, _) in waiting.iter_mut() {
            part.pieces.retain(|place| place.file < file || (self.keep_going && place.file != file));
        }
        waiting.retain(|(part, _)| !part.pieces.is_empty());
    }

    /// Whether another load has stored pieces of the files of a part.
    async fn is_overtaken(&mut self, part: &Part) -> bool {
        let asked =
            meeting::is_overtaken(&mut self.clients.asks, &self.table, &self.known, part, &self.files).await;
        // Whoever cannot be asked will not take the part either, and says so then.
        asked.unwrap_or(false)
    }

    /// Looks whether another load stores these files, waits until it is done or falls behind, and leaves out what it has
    /// stored. Whether there was one.
    async fn meet(
        &mut self,
        waiting: &VecDeque<(Part, u32)>,
        settled: &[(usize, u64)],
        output: &dyn Output,
    ) -> Result<bool> {
        if self.is_again {
            return Ok(false);
        }
        let more = self.look_again(settled).await?;
        if more == 0 {
            return Ok(false);
        }
        if self.meeting.met() {
            output.tell(&format!(
                "another load stores these files in {} at the same time; what it has stored is left out, and waited for",
                self.table
            ));
        }
        // Of several, the one that stored last goes on. It may have ended, so the others wait for as long as it does something.
        let last = Known::last(&mut self.clients.asks, &self.table).await?;
        let files = Arc::clone(&self.files);
        let is_own = last.is_some_and(|(name, piece)| {
            self.meeting.is_own(piece, |file| files.files[file].data.file.name == name)
        });
        if !is_own {
            let quiet = self.meeting.quiet(rand::random());
            let ahead = meeting::ahead(waiting);
            meeting::wait(&mut self.clients.asks, &self.table, &ahead, &files, quiet).await?;
            self.look_again(settled).await?;
        }
        Ok(true)
    }

    /// Asks once more what is there, apart from what this load has dealt with; how many pieces of its files are new.
    async fn look_again(&mut self, settled: &[(usize, u64)]) -> Result<u64> {
        let asks = &mut self.clients.asks;
        if self.is_void && (is_new(self.mode) || super::target::is_empty(asks, &self.table).await?) {
            return Ok(0);
        }
        let known = Known::of(asks, &self.table).await?;
        let names: Vec<&str> = self.files.files.iter().map(|file| file.data.file.name.as_str()).collect();
        let more = known.stored(&names).saturating_sub(self.known.stored(&names));
        for (file, piece) in settled {
            known.take(names[*file], *piece);
        }
        self.known = Arc::new(known);
        Ok(more)
    }

    /// Reads a part, and puts what of it is not there.
    fn put(&self, part: Part, is_first: bool) -> impl Future<Output = Done> + Send + 'static {
        let mode = if !is_first && is_new(self.mode) { Mode::Append } else { self.mode };
        let mut headers = vec![(header::MODE, mode.name().to_owned())];
        headers.push((header::SOURCES, self.sources(is_first).name().to_owned()));
        if let Some(choice) = self.on_conflict {
            headers.push((header::ON_CONFLICT, choice.name().to_owned()));
        }
        let schema = self.files.sent(part.pieces[0].file);
        let (mut client, table) = (self.clients.puts.clone(), self.table.clone());
        let (files, progress) = (Arc::clone(&self.files), Arc::clone(&self.progress));
        let (known, is_again) = (Arc::clone(&self.known), self.is_again);
        let held = part.pieces.iter().map(|place| self.files.held_bytes(*place)).max().unwrap_or_default();
        let memory = self.memory.clone();
        async move {
            let room = match memory.room(held).await {
                Ok(room) => room,
                Err(error) => {
                    return Done {
                        part,
                        read: ReadPart::default(),
                        answer: Err(error),
                        took: Duration::ZERO,
                    };
                }
            };
            let begun = Instant::now();
            let (sender, mut batches) = mpsc::channel(READ_AHEAD);
            let of = part.clone();
            #[expect(clippy::disallowed_methods, reason = "files are read on threads of their own")]
            let reading = tokio::task::spawn_blocking(move || {
                let read = read_part(&of, &files, (&*known, is_again), &*progress, &sender);
                // While this part is committed, the next one may be read.
                drop(room);
                if read.failed.is_none() {
                    // Nobody may be there to take it.
                    let _ = sender.blocking_send(Ok(None));
                }
                read
            });
            // A stream is opened for a part that has something to send.
            let answer = match batches.recv().await {
                Some(Ok(None)) => Ok(None),
                Some(Ok(Some(first))) => {
                    let all = stream::iter([Ok(first)]).chain(to_the_end(batches));
                    match schema {
                        Ok(schema) => client.put_loaded(&table, schema, all, &headers).await.map(Some),
                        Err(error) => Err(error),
                    }
                }
                Some(Err(error)) => Err(error),
                None => Err(ended_early()),
            };
            let read = match reading.await {
                Ok(read) => read,
                Err(error) => {
                    let error = Error::internal(format!("the reading thread failed: {error}"));
                    let took = begun.elapsed();
                    return Done { part, read: ReadPart::default(), answer: Err(error), took };
                }
            };
            // The file's own error says more than that the stream was cut.
            let answer = match &read.failed {
                Some((_, error)) => Err(error.clone()),
                None => answer,
            };
            Done { part, read, answer, took: begun.elapsed() }
        }
    }

    fn sources(&self, is_first: bool) -> Sources {
        if is_first && self.begins_anew {
            Sources::Anew
        } else if self.is_again {
            Sources::Again
        } else {
            Sources::Once
        }
    }

    /// Makes the table, without a row.
    pub(super) async fn make_table(&mut self, schema: SchemaRef) -> Result<()> {
        self.put_nothing(schema).await?;
        (self.begins_anew, self.is_void) = (false, false);
        let collide = super::target::has_unique_rows(&mut self.clients.asks, &self.table).await?;
        self.may_overlap = Some(!collide);
        Ok(())
    }

    /// A put without rows, which makes the table where no file has any.
    pub(super) async fn put_nothing(&mut self, schema: SchemaRef) -> Result<PutAnswer> {
        let mut headers = vec![(header::MODE, self.mode.name().to_owned())];
        headers.push((header::SOURCES, self.sources(true).name().to_owned()));
        self.clients.puts.put_loaded(&self.table, schema, stream::empty(), &headers).await
    }
}
