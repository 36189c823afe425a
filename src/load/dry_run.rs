//! `pintail load --dry-run`: what a load would do, file by file, and the table that would come out.
//! Runs on: the task of the command; a thread reads. Never: sends a row or changes the table.

use std::sync::Arc;

use crate::catalog::TableName;
use crate::error::Result;

use super::known::Known;
use super::report::{FileState, Output, changed, count, files};
use super::{Prepared, blocking};
use crate::files::sniff::Format;

/// What would become of a file.
#[derive(Default)]
struct State {
    rows: Option<u64>,
    new: usize,
    old: usize,
    unlike: usize,
}

pub(super) async fn show(
    table: &TableName,
    prepared: Prepared,
    is_again: bool,
    output: &dyn Output,
) -> Result<()> {
    let Prepared { target, known, files: opened, .. } = prepared;
    let (opened, known) = (Arc::new(opened), Arc::new(known));
    let mut failed = 0;
    let (mut rows, mut is_exact) = (0, true);
    for number in 0..opened.files.len() {
        let (reading, looking) = (Arc::clone(&opened), Arc::clone(&known));
        // Whether each piece is there, and the same.
        let found = blocking(move || {
            let none = Known::default();
            let mut reader = reading.reader(number, if is_again { &none } else { &looking })?;
            let (name, content) = (&reading.files[number].data.file.name, reading.content(number)?);
            let mut found = Vec::with_capacity(content.pieces.len());
            for piece in 0..content.pieces.len() {
                let checksum = reader.checksum(piece)?;
                if is_again {
                    found.push(None);
                    continue;
                }
                for part in reader.left_out() {
                    looking.take_any(name, *part, content.marks());
                }
                let stored = looking.take_any(name, checksum, content.marks());
                found.push(stored.map(|stored| stored.is_alike));
            }
            Ok(found)
        });
        let data = &opened.files[number].data;
        let (shown, kind) = (&data.file.shown, kind(data.format));
        let found = match found.await {
            Ok(found) => found,
            Err(error) => {
                failed += 1;
                output.say(&format!("{shown}  {kind}: refused: {}", error.message()))?;
                continue;
            }
        };
        let mut state = State { rows: Some(0), ..State::default() };
        for (piece, stored) in opened.content(number)?.pieces.iter().zip(found) {
            match stored {
                Some(is_alike) => {
                    state.old += 1;
                    state.unlike += usize::from(!is_alike);
                }
                None => {
                    state.new += 1;
                    state.rows = state.rows.zip(piece.rows).map(|(all, more)| all + more);
                }
            }
        }
        let told = state.rows.map_or("rows not known before they are read".to_owned(), |rows| {
            format!("{} row{}", count(rows), if rows == 1 { "" } else { "s" })
        });
        match (state.new, state.old) {
            (0, 0) => output.say(&format!("{shown}  {kind}: no rows"))?,
            (0, _) => output.say(&format!("{shown}  {kind}: there already"))?,
            (_, 0) => output.say(&format!("{shown}  {kind}: new, {told}"))?,
            (new, old) => {
                output
                    .say(&format!("{shown}  {kind}: in part, {new} of {} pieces new, {told}", new + old))?;
            }
        }
        if !is_again && known.left(&data.file.name) > 0 {
            output.say(&changed(shown, (state.new, state.new + state.old), state.rows))?;
        }
        let unlike = FileState { unlike: state.unlike, ..FileState::default() };
        unlike.notes(shown).iter().try_for_each(|note| output.say(note))?;
        is_exact &= state.rows.is_some();
        rows += state.rows.unwrap_or_default();
    }
    let word = if is_exact { "" } else { "at least " };
    output.say(&format!(
        "would load {word}{} row{} from {} into {table}, which {}",
        count(rows),
        if rows == 1 { "" } else { "s" },
        files(opened.files.len() - failed),
        if target.schema.is_some() { "is there" } else { "would be made" }
    ))?;
    let joined = &opened.joined;
    for field in joined.schema.fields() {
        let has =
            |fields: &[arrow::datatypes::FieldRef]| fields.iter().any(|other| other.name() == field.name());
        let note = if has(&joined.added) {
            ", would be added"
        } else if has(&joined.widened) {
            ", would be widened"
        } else {
            ""
        };
        output.say(&format!("  {}: {}{note}", field.name(), field.data_type()))?;
    }
    Ok(())
}

fn kind(format: Format) -> &'static str {
    match format {
        Format::Parquet => "Parquet",
        Format::ArrowFile => "Arrow file",
        Format::ArrowStream => "Arrow stream",
        Format::Csv { .. } => "CSV",
        Format::Ndjson { .. } => "NDJSON",
    }
}
