//! `pintail man`: the manual pages, made of the command line's own help; packages install them.
//! Runs on: the main thread.
//! Never: says anything that `--help` does not.

use std::path::{Path, PathBuf};

use clap::{Args, Command};
use pintail::error::{Error, Kind};

use super::Failure;

/// Flags of `pintail man`.
#[derive(Args)]
pub(super) struct Pages {
    /// Folder to write the pages into
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Pages {
    /// Writes `pintail.1`, and a page for each command: `pintail-load.1`, `pintail-schema-plan.1`.
    pub(super) fn run(self, program: Command) -> Result<(), Failure> {
        let written = std::fs::create_dir_all(&self.folder)
            .and_then(|()| clap_mangen::generate_to(program, &self.folder));
        written.map_err(|error| unwritable(&self.folder, &error))
    }
}

fn unwritable(folder: &Path, error: &std::io::Error) -> Failure {
    let text = format!("cannot write manual pages into {}: {error}", folder.display());
    Failure::Work(Error::new(Kind::Internal, text))
}
