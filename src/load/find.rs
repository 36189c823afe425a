//! What `pintail load` is given -> the files it means, each once, and what each is.
//! Runs on: threads that read; blocks. Never: opens a file again that has not changed; leaves one out without a word.

mod naming;
mod result;
mod standard_input;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};

use self::naming::{name_of, not_there, shown};
pub(super) use self::result::{DataFile, Finding, Found, Skipped};
use self::standard_input::standard_input;
use super::glob;
use super::partition;
use super::walk::{Walk, is_set_aside, lost};
use crate::files::fence;
use crate::files::found::{FoundFile, Place};
use crate::files::input::Stamp;
use crate::files::lake::Lakes;
use crate::files::sniff::{Cause, Format, Naming, Refusal, sniff};
use crate::files::store::is_url;

/// What files were found to be, by their real paths and whether text of any ending was meant.
type Known = HashMap<(PathBuf, bool), (Stamp, Result<Format, Refusal>)>;

/// Finds the same arguments again and again, and opens only what is new or has changed.
pub(super) struct Finder {
    arguments: Vec<OsString>,
    finding: Finding,
    copied: Option<DataFile>,
    known: Known,
    again: bool,
}

impl Finder {
    pub(super) fn new(arguments: Vec<OsString>, finding: Finding) -> Self {
        Self { arguments, finding, copied: None, known: HashMap::new(), again: false }
    }

    /// Errors: `Invalid` or `Unsupported` naming what cannot be loaded, unless it was only met below a folder or by a
    /// pattern; then it is skipped.
    pub(super) fn find(&mut self) -> Result<Found> {
        let mut search = self.search();
        for (place, argument) in self.arguments.iter().enumerate() {
            if argument == "-" {
                let copied = match &self.copied {
                    Some(copied) => copied.clone(),
                    None => copied(&mut std::io::stdin().lock(), place)?,
                };
                if !search.found.files.contains(&copied) {
                    search.found.files.push(copied.clone());
                }
                self.copied = Some(copied);
                continue;
            }
            search.argument(place, argument)?;
        }
        self.again = true;
        let (found, known) = search.finish();
        self.known = known;
        Ok(found)
    }

    fn search(&mut self) -> Search {
        Search {
            finding: self.finding.clone(),
            again: self.again,
            before: std::mem::take(&mut self.known),
            known: HashMap::new(),
            lakes: Lakes::default(),
            taken: HashMap::new(),
            left_out: HashMap::new(),
            found: Found::default(),
        }
    }
}

/// One pass over the arguments.
struct Search {
    finding: Finding,
    again: bool,
    before: Known,
    known: Known,
    lakes: Lakes,
    /// Files found, with their names.
    taken: HashMap<Identity, String>,
    left_out: HashMap<PathBuf, usize>,
    found: Found,
}

/// What a file is, whatever it is called. File systems without numbers of files have only paths.
#[derive(PartialEq, Eq, Hash)]
enum Identity {
    Inode(u64, u64),
    Path(PathBuf),
}

/// How a file was met.
#[derive(Clone, Copy)]
struct Way {
    argument: usize,
    /// A person named it; it is an error when it cannot be loaded.
    named: bool,
    /// Text of any ending is meant.
    any_text: bool,
}

impl Search {
    fn argument(&mut self, place: usize, argument: &OsStr) -> Result<()> {
        let path = Path::new(argument);
        let before = (self.found.files.len(), self.found.skipped.len());
        let text = argument.to_str();
        if let Some(url) = text.filter(|text| is_url(text)) {
            self.found.urls.push((place, url.to_owned()));
            return Ok(());
        }
        let mut met = false;
        let way = Way { argument: place, named: true, any_text: true };
        match path.metadata() {
            Ok(data) if data.is_dir() => {
                met = self.folder(path, Way { named: false, any_text: false, ..way })?;
            }
            Ok(data) => {
                self.file(path, &data, way)?;
                met = true;
            }
            Err(error) if path.symlink_metadata().is_ok() => {
                self.leave_out(path, lost(&error), way)?;
            }
            Err(_) if text.is_some_and(glob::is_pattern) => {
                met = self.pattern(text.unwrap_or_default(), way)?;
            }
            Err(error) if self.again => self.leave_out(path, lost(&error), Way { named: false, ..way })?,
            Err(error) => return Err(not_there(argument, &error)),
        }
        self.found.files[before.0..].sort_by(|one, other| path_of(&one.file).cmp(&path_of(&other.file)));
        if !met && !self.finding.follow {
            let nothing = self.nothing(argument, before.1);
            return self.refuse(path, nothing);
        }
        Ok(())
    }

    /// Whether the pattern led to data, which may have been found before.
    fn pattern(&mut self, pattern: &str, way: Way) -> Result<bool> {
        let last = glob::last_part(pattern);
        let matches = glob::expand(pattern)?;
        for (folder, error) in matches.unreadable {
            self.skip(&folder, lost(&error));
        }
        let way = Way { named: false, any_text: !matches!(last, "*" | "**"), ..way };
        let mut met = false;
        for path in matches.paths {
            match path.metadata() {
                Ok(data) if data.is_dir() => met |= self.folder(&path, Way { any_text: false, ..way })?,
                Ok(_) if path.file_name().is_some_and(is_set_aside) && !is_set_aside(OsStr::new(last)) => {
                    let why = "is named like a file that is unfinished or was set aside; name the file itself to load it";
                    self.skip(&path, Refusal::new(Cause::NotData, why));
                }
                Ok(data) => met |= self.file(&path, &data, way)?,
                Err(error) => self.skip(&path, lost(&error)),
            }
        }
        Ok(met)
    }

    /// Whether the folder led to data.
    fn folder(&mut self, path: &Path, way: Way) -> Result<bool> {
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) => {
                self.leave_out(path, lost(&error), Way { named: true, ..way })?;
                return Ok(false);
            }
        };
        self.check_fence(&real)?;
        let mut walk = Walk::new(path.to_owned(), real, self.finding.fence.clone());
        let mut met = false;
        while let Some((files, folders)) = walk.round() {
            for folder in folders {
                if let Err(error) =
                    self.lakes.check_folder(&folder).and_then(|()| Lakes::check_export(&folder))
                {
                    self.refuse(&folder, error)?;
                    return Ok(false);
                }
            }
            for candidate in files {
                met |= self.candidate(&candidate.path, candidate.real, &candidate.data, way)?;
            }
        }
        if let Some(link) = walk.outside.first() {
            self.refuse(link, fence::refused())?;
        }
        self.found.hidden += walk.hidden;
        for (path, refusal) in walk.skipped {
            self.skip(&path, refusal);
        }
        Ok(met)
    }

    /// Refuses, for all of the load, what lies outside of the fence.
    fn check_fence(&self, real: &Path) -> Result<()> {
        let is_outside = self.finding.fence.as_ref().is_some_and(|fence| !fence.holds(real));
        if is_outside { Err(fence::refused()) } else { Ok(()) }
    }

    fn file(&mut self, path: &Path, data: &Metadata, way: Way) -> Result<bool> {
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) => {
                self.leave_out(path, lost(&error), way)?;
                return Ok(false);
            }
        };
        self.candidate(path, real, data, way)
    }

    /// Whether the file is data, and taken now or before.
    fn candidate(&mut self, path: &Path, real: PathBuf, data: &Metadata, way: Way) -> Result<bool> {
        self.check_fence(&real)?;
        let name = name_of(&real);
        let identity = match data.ino() {
            0 => Identity::Path(real.clone()),
            inode => Identity::Inode(data.dev(), inode),
        };
        if let Some(first) = self.taken.get(&identity) {
            if *first != name {
                self.found.other_names.push((first.clone(), name));
            }
            return Ok(true);
        }
        if let Err(error) = self.lakes.check_file(&real) {
            self.refuse(path, error)?;
            return Ok(false);
        }
        let shown = shown(path);
        let place = match &self.finding.fence {
            Some(fence) => Place::Within(real.clone(), Arc::clone(fence)),
            None => Place::Path(path.to_owned()),
        };
        let mut file = FoundFile { place, name, shown, partitions: Vec::new() };
        let stamp = Stamp::of(data);
        let format = match self.sniff(&file, &real, path, stamp, way) {
            Ok(format) => format,
            Err(refusal) => {
                self.leave_out_as(real, path, refusal, way)?;
                return Ok(false);
            }
        };
        if self.finding.hive {
            let reached = partition::check_reached(path, &real);
            match reached.and_then(|()| partition::folders_of(&real)) {
                Ok(partitions) => file.partitions = partitions,
                Err(error) => {
                    self.refuse(path, error)?;
                    return Ok(false);
                }
            }
        }
        self.left_out.remove(&real);
        self.taken.insert(identity, file.name.clone());
        self.found.files.push(DataFile { file, format, stamp, argument: way.argument });
        Ok(true)
    }

    fn sniff(
        &mut self,
        file: &FoundFile,
        real: &Path,
        path: &Path,
        stamp: Stamp,
        way: Way,
    ) -> Result<Format, Refusal> {
        let key = (real.to_owned(), way.any_text);
        if let Some((_, (then, format))) =
            self.before.remove_entry(&key).filter(|(_, (then, _))| *then == stamp)
        {
            self.known.insert(key, (then, format.clone()));
            return format;
        }
        let naming = Naming { path: Some(path), named: way.any_text };
        let opened = file.open().and_then(|input| Ok((input.stamp(), sniff(&input, &naming)?)));
        match opened {
            Ok((stamp, format)) => {
                self.known.insert(key, (stamp, format.clone()));
                format
            }
            Err(error) => match path.metadata() {
                Err(now) => Err(lost(&now)),
                Ok(_) => {
                    let why = error.message().trim_start_matches(&format!("cannot read {}: ", file.shown));
                    Err(Refusal::new(Cause::Broken, format!("cannot be read: {why}")))
                }
            },
        }
    }

    fn leave_out(&mut self, path: &Path, refusal: Refusal, way: Way) -> Result<()> {
        self.leave_out_as(path.to_owned(), path, refusal, way)
    }

    /// `real` is what a later argument may lead to once more.
    fn leave_out_as(&mut self, real: PathBuf, path: &Path, refusal: Refusal, way: Way) -> Result<()> {
        if !way.named || self.finding.keep_going || (self.again && refusal.cause == Cause::Gone) {
            self.skip_as(real, path, refusal);
            return Ok(());
        }
        let kind = if refusal.cause == Cause::Refused { Kind::Unsupported } else { Kind::Invalid };
        Err(Error::new(kind, format!("{} {}", shown(path), refusal.why)))
    }

    /// A whole argument, table or file that must not be loaded as it is.
    fn refuse(&mut self, path: &Path, error: Error) -> Result<()> {
        if !self.finding.keep_going {
            return Err(error);
        }
        self.skip(path, Refusal::new(Cause::Refused, format!("is not loaded: {}", error.message())));
        Ok(())
    }

    fn skip(&mut self, path: &Path, refusal: Refusal) {
        self.skip_as(path.to_owned(), path, refusal);
    }

    fn skip_as(&mut self, real: PathBuf, path: &Path, refusal: Refusal) {
        if let Entry::Vacant(entry) = self.left_out.entry(real) {
            entry.insert(self.found.skipped.len());
            self.found.skipped.push(Skipped { shown: shown(path), refusal });
        }
    }

    /// A folder may have skipped what a later argument named.
    fn finish(mut self) -> (Found, Known) {
        let mut still: Vec<usize> = self.left_out.into_values().collect();
        still.sort_unstable();
        let mut places = 0..;
        self.found.skipped.retain(|_| places.next().is_some_and(|place| still.binary_search(&place).is_ok()));
        (self.found, self.known)
    }

    fn nothing(&self, argument: &OsStr, skipped: usize) -> Error {
        let skipped = &self.found.skipped[skipped..];
        let mut text = format!("no file of data at \"{}\"", Path::new(argument).display());
        if let Some(first) = skipped.first() {
            text += &format!(
                "; {} left out, such as {}, which {}",
                skipped.len(),
                first.shown,
                first.refusal.why
            );
        }
        Error::not_found(text)
    }
}

/// Standard input as a file.
fn copied(input: &mut dyn Read, argument: usize) -> Result<DataFile> {
    let (file, input, format) = standard_input(input)?;
    Ok(DataFile { stamp: input.stamp(), file, format, argument })
}

fn path_of(file: &FoundFile) -> Option<&Path> {
    match &file.place {
        Place::Path(path) | Place::Within(path, _) => Some(path),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
