//! `pintail query`: one statement, its rows written as they come.
//! Runs on: the task of the command.
//! Never: collects a result (the table form keeps its first rows).

use std::path::PathBuf;

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use clap::Args;
use futures::StreamExt;
use pintail::about::{draw, read_plan};
use pintail::client::Client;
use pintail::error::Error;

use super::output::{Form, Output, stdout_is_terminal};
use super::{Failure, Remote};

/// Flags of `pintail query`.
#[derive(Args)]
pub(super) struct Query {
    /// The statement
    sql: String,
    #[command(flatten)]
    remote: Remote,
    /// Run the statement and show how: its plan as a tree, with the time and the rows of each step
    #[arg(long, conflicts_with_all = ["output", "format"])]
    explain: bool,
    /// How rows are written
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
    /// Write to this file instead of standard output; it appears when it is complete
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Rows shown by the table format
    #[arg(long, default_value_t = 100, value_name = "N")]
    rows: usize,
}

impl Query {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if self.output.is_none() {
            if self.format == Form::Parquet {
                return Err(Failure::Usage(Error::invalid("--format parquet needs --output FILE")));
            }
            if self.format == Form::Arrow && stdout_is_terminal() {
                return Err(Failure::Usage(Error::invalid(
                    "--format arrow writes bytes; give --output FILE or pipe it into a program",
                )));
            }
        }
        let mut client = self.remote.connect().await?;
        if self.explain {
            return explain(&mut client, &self.sql).await;
        }
        let mut result = client.query(&self.sql, &[]).await?;
        let mut output = Output::create(self.format, self.output.as_deref(), &result.schema, self.rows)?;
        while let Some(batch) = result.batches.next().await {
            if !output.write(&batch?)? {
                break;
            }
        }
        output.finish()
    }
}

/// Columns of a line; what is longer is cut.
const WIDTH: usize = 160;

/// Draws how a statement runs.
async fn explain(client: &mut Client, sql: &str) -> Result<(), Failure> {
    let mut result = client.query(&format!("EXPLAIN (ANALYZE, FORMAT json) {sql}"), &[]).await?;
    let mut json = String::new();
    while let Some(batch) = result.batches.next().await {
        let batch = batch?;
        // The last column is the plan, the one before it says of which kind it is.
        let Some(column) = batch.columns().last() else { continue };
        let texts = arrow::compute::cast(column, &DataType::Utf8)?;
        texts.as_string::<i32>().iter().flatten().for_each(|text| json.push_str(text));
    }
    let plan = read_plan(&json).ok_or_else(|| Error::internal("the engine gave no plan that can be read"))?;
    say!("{}", draw(&plan, WIDTH).trim_end());
    Ok(())
}
