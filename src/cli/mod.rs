//! Subcommands: what a person types, what is printed, and the exit code.
//! Runs on: the main thread, which hands over to the async runtime.
//! Never: prints a secret, a half-written file, or a second line where one says it.

/// `println!`, but a reader that has gone (`| head`) is a [`Failure`], not a panic.
macro_rules! say {
    ($($text:tt)*) => {
        std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($text)*)))?
    };
}

mod accounts;
mod backup;
mod doctor;
mod figures;
mod grants;
mod healthcheck;
mod hide;
mod load;
mod man;
mod output;
mod profile;
mod query;
mod remote;
mod schema;
mod serve;
mod tables_status;
mod watch;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use pintail::config::Config;
use pintail::engine::STACK_BYTES;
use pintail::error::{Error, Kind};

use remote::Remote;

/// Arrow-native columnar ingestion: an Arrow Flight and Flight SQL server over DuckDB.
#[derive(Parser)]
#[command(name = "pintail", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a DuckDB database over Arrow Flight
    Serve(serve::Serve),
    /// Load files (Parquet, Arrow, CSV, NDJSON) into a table of a running server, each row once
    Load(load::Load),
    /// Run one SQL statement on a running server
    Query(query::Query),
    /// List the tables of a running server
    Tables(Remote),
    /// Show sizes, memory and what is running
    Status(tables_status::Status),
    /// Say whether a server serves, by the exit code; needs no account
    Healthcheck(Remote),
    /// Look for what on this machine will not do: disk, limits, memory, clock, versions, permissions
    Doctor(doctor::Doctor),
    /// Copy the database of a running server into a file on its machine, while it serves
    Backup(backup::Backup),
    /// Make a database file of a backup; needs no server
    Restore(backup::Restore),
    /// Check, plan, apply and show declared tables
    #[command(subcommand)]
    Schema(schema::Schema),
    /// Add, list, change and remove users
    #[command(subcommand)]
    User(accounts::User),
    /// Make, list and revoke API tokens
    #[command(subcommand)]
    Token(accounts::Token),
    /// Let a user read, ingest or define tables
    Grant(grants::Grant),
    /// Take back what a user was granted
    Revoke(grants::Revoke),
    /// List what users are granted
    Grants(Remote),
    /// List the profiles of ~/.config/pintail/profiles.toml
    Profile,
    /// Show or check the effective configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man(man::Pages),
}

/// Where the configuration comes from.
#[derive(Args, Clone, Default)]
struct ConfigSource {
    /// Configuration file (TOML)
    #[arg(long, env = "PINTAIL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print the configuration in force, as TOML
    Print(ConfigSource),
    /// Say whether the configuration is right, and nothing else
    Check(ConfigSource),
}

/// What went wrong, and whose fault it is.
enum Failure {
    /// The command line or the configuration: exit code 2.
    Usage(Error),
    /// The work: exit code 1.
    Work(Error),
    /// The reader of our output is gone, which is not an error.
    Closed,
}

impl Failure {
    /// What went wrong, for whoever tells it.
    fn into_error(self) -> Error {
        match self {
            Failure::Usage(error) | Failure::Work(error) => error,
            Failure::Closed => Error::new(Kind::Cancelled, "nobody reads the output any more"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Work(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Failure::Closed
        } else {
            Failure::Work(Error::new(Kind::Internal, format!("cannot write the output: {error}")))
        }
    }
}

impl From<arrow::error::ArrowError> for Failure {
    fn from(error: arrow::error::ArrowError) -> Self {
        match error {
            arrow::error::ArrowError::IoError(_, error) => error.into(),
            other => Failure::Work(other.into()),
        }
    }
}

/// Runs the program. Exit codes: 0 done, 1 the work failed, 2 the command line or configuration is wrong.
pub(crate) fn run() -> ExitCode {
    if let Err(Failure::Usage(error)) = hide::secrets() {
        return told(&error, 2);
    }
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Serve(command) => command.run(),
        Command::Load(command) => block_on(command.run()),
        Command::Query(command) => block_on(command.run()),
        Command::Tables(remote) => block_on(tables_status::tables(remote)),
        Command::Status(command) => block_on(command.run()),
        Command::Healthcheck(remote) => block_on(healthcheck::run(remote)),
        Command::Doctor(command) => block_on(command.run()),
        Command::Backup(command) => block_on(command.run()),
        Command::Restore(command) => command.run(),
        Command::Schema(command) => command.run(),
        Command::User(command) => command.run(),
        Command::Token(command) => command.run(),
        Command::Grant(command) => block_on(command.run()),
        Command::Revoke(command) => block_on(command.run()),
        Command::Grants(remote) => block_on(grants::list(remote)),
        Command::Profile => profile::list(),
        Command::Config(ConfigCommand::Print(source)) => {
            config(&source, |config| config.in_force().to_toml())
        }
        Command::Config(ConfigCommand::Check(source)) => {
            config(&source, |_| "configuration is right\n".to_owned())
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "pintail", &mut script);
            std::io::stdout().write_all(&script).map_err(Failure::from)
        }
        Command::Man(pages) => pages.run(Arguments::command()),
    };
    // What is left in the buffer of standard output would otherwise be lost in silence.
    match done.and_then(|()| std::io::stdout().flush().map_err(Failure::from)) {
        Ok(()) | Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(Failure::Work(error)) => told(&error, 1),
        Err(Failure::Usage(error)) => told(&error, 2),
    }
}

/// Says what went wrong, if anybody listens: the exit code says it as well.
fn told(error: &Error, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "pintail: {error}");
    ExitCode::from(code)
}

fn config(source: &ConfigSource, show: impl Fn(&Config) -> String) -> Result<(), Failure> {
    let config = Config::load(source.config.as_deref(), &[]).map_err(Failure::Usage)?;
    Ok(std::io::stdout().write_all(show(&config).as_bytes())?)
}

/// Runs a client command; one thread is enough for one connection.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()
        .map_err(|error| Error::internal(format!("cannot start the async runtime: {error}")))?;
    runtime.block_on(work)
}

fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}
