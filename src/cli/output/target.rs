//! Where an output goes: standard output, a file that gets its name at the end, or what is no file.
//! Runs on: the task of the command. Never: leaves a part of a result under the name that was asked for.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pintail::error::Error;

use crate::cli::Failure;

pub(super) type Target = BufWriter<Box<dyn Write + Send>>;

/// The file to be, and whether the reader of standard output has gone.
pub(super) struct Named {
    // The name while it is written, and the one it gets.
    rename: Option<(PathBuf, PathBuf)>,
    closed: Arc<AtomicBool>,
}

/// Standard output that notes when its reader is gone: some writers hand that on as a text.
struct Noting {
    closed: Arc<AtomicBool>,
}

impl Write for Noting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::io::stdout().write(bytes).inspect_err(|error| {
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                self.closed.store(true, Ordering::Relaxed);
            }
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stdout().flush()
    }
}

/// Opens `path`, or standard output without one. A device or a pipe is written to as it is: it cannot be replaced.
pub(super) fn open(path: Option<&Path>) -> Result<(Target, Named), Failure> {
    let closed = Arc::new(AtomicBool::new(false));
    let cannot = |path: &Path, error| Error::invalid(format!("cannot create {}: {error}", path.display()));
    let (writer, rename): (Box<dyn Write + Send>, _) = match path {
        None => (Box::new(Noting { closed: Arc::clone(&closed) }), None),
        Some(path) => match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => {
                return Err(
                    Error::invalid(format!("cannot create {}: it is a folder", path.display())).into()
                );
            }
            Ok(found) if !found.is_file() => {
                let device = File::options().write(true).open(path).map_err(|error| cannot(path, error))?;
                (Box::new(device), None)
            }
            _ => {
                // A link stays one: what it points to gets the content.
                let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
                let mut name = path.as_os_str().to_owned();
                name.push(".part");
                let part = PathBuf::from(name);
                let file = File::create(&part).map_err(|error| cannot(&part, error))?;
                (Box::new(file), Some((part, path)))
            }
        },
    };
    Ok((BufWriter::with_capacity(1 << 20, writer), Named { rename, closed }))
}

impl Named {
    /// What a failed write means: a reader that has gone is no error.
    pub(super) fn explain(&self, failure: Failure) -> Failure {
        if self.closed.load(Ordering::Relaxed) { Failure::Closed } else { failure }
    }

    /// Gives the file its name.
    pub(super) fn keep(mut self) -> Result<(), Failure> {
        let Some((part, path)) = self.rename.take() else { return Ok(()) };
        std::fs::rename(&part, &path).map_err(|error| {
            let _ = std::fs::remove_file(&part);
            Error::internal(format!("cannot rename {} to {}: {error}", part.display(), path.display())).into()
        })
    }
}

impl Drop for Named {
    /// Removes what was written of a result that did not arrive whole.
    fn drop(&mut self) {
        if let Some((part, _)) = &self.rename {
            // The error that led here is the one to report.
            let _ = std::fs::remove_file(part);
        }
    }
}
