//! `pintail schema`: check declarations, plan and apply them, show a table as one.
//! Runs on: the main thread; against a server, on the task of the command.
//! Never: changes a database before every declaration is known to fit it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use pintail::catalog::{
    Breaking, Declaration, Problems, SchemaFile, TableName, TablePlan, adopt, index_name, read_declarations,
    read_folder, render,
};
use pintail::config::Config;
use pintail::engine::{self, Database, Options};
use pintail::error::{Error, Kind};
use pintail::server::engine_options;
use pintail_protocol::action;
use serde_json::{Value, json};

use super::private::keep_private;
use super::remote::Remote;
use super::{Failure, block_on};

/// Where declarations are looked for when nothing else is said.
pub(super) const DEFAULT_SCHEMAS: &str = "schemas";

/// `pintail schema …`
#[derive(Subcommand)]
pub(super) enum Schema {
    /// Say whether the declarations of a folder are right; needs no server
    Check {
        /// Folder of .toml files
        #[arg(default_value = DEFAULT_SCHEMAS)]
        dir: PathBuf,
    },
    /// Show what applying the declarations of a folder would change
    Plan(Against),
    /// Bring a database to the declarations of a folder, in one transaction
    Apply(Against),
    /// Print a table as a declaration, to adopt it or to compare
    Show {
        /// table or schema.table
        table: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Flags of `plan` and `apply`.
#[derive(Args)]
pub(super) struct Against {
    /// Folder of .toml files
    #[arg(default_value = DEFAULT_SCHEMAS)]
    dir: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Also make changes that lose data or break producers; the plan says what is lost
    #[arg(long)]
    allow_breaking: bool,
}

/// What comes after a plan that has no refusals.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Stop,
    Apply,
}

/// Where the database is.
#[derive(Args)]
pub(super) struct Place {
    #[command(flatten)]
    remote: Remote,
    /// Work on this database file instead; no server may have it open
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
}

impl Schema {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Schema::Check { dir } => check(&dir),
            Schema::Plan(against) => against.run(Then::Stop),
            Schema::Apply(against) => against.run(Then::Apply),
            Schema::Show { table, place } => show(&table, &place),
        }
    }
}

fn files(dir: &Path) -> Result<Vec<SchemaFile>, Failure> {
    let files = read_folder(dir).map_err(Failure::Usage)?;
    if files.is_empty() {
        return Err(Failure::Usage(Error::invalid(format!("there is no .toml file in {}", dir.display()))));
    }
    Ok(files)
}

fn wrong(problems: Problems) -> Failure {
    Failure::Usage(problems.into())
}

fn check(dir: &Path) -> Result<(), Failure> {
    let declarations = read_declarations(&files(dir)?).map_err(wrong)?;
    for declaration in &declarations {
        say!("{}", summary(declaration));
    }
    let count = declarations.len();
    say!("{count} table{} declared in {}, and right", if count == 1 { "" } else { "s" }, dir.display());
    Ok(())
}

fn summary(declaration: &Declaration) -> String {
    let mut parts = vec![format!("{} columns", declaration.fields.len())];
    if !declaration.primary_key.is_empty() {
        parts.push(format!("key ({})", declaration.primary_key.join(", ")));
    }
    let indexed = declaration.fields.iter().filter(|field| field.is_indexed);
    parts.extend(indexed.map(|field| index_name(&declaration.name.table, &field.name)));
    parts.push(declaration.mode.as_str().to_owned());
    format!("{}: {}", declaration.listed_name(), parts.join(", "))
}

impl Against {
    fn run(self, then: Then) -> Result<(), Failure> {
        let files = files(&self.dir)?;
        // What is wrong with the files needs no server to say so.
        let declarations = read_declarations(&files).map_err(wrong)?;
        match &self.place.database {
            Some(file) => self.on_file(file, &declarations, then),
            None => block_on(self.on_server(files, then)),
        }
    }

    fn on_file(&self, file: &Path, declarations: &[Declaration], then: Then) -> Result<(), Failure> {
        // A plan makes no file: a database that is not there is an empty one.
        let path = if then == Then::Apply || file.exists() {
            file.display().to_string()
        } else {
            ":memory:".to_owned()
        };
        let mut connection = open(path)?.connection()?;
        let breaking = Breaking::when(self.allow_breaking);
        let plans = engine::plan_declared(&connection, declarations, breaking)?;
        show_plan(&plans, &render(&plans))?;
        if then == Then::Apply {
            engine::apply_declared(&mut connection, declarations, breaking, |_| ())?;
            say!("applied in one transaction");
        }
        Ok(())
    }

    async fn on_server(self, files: Vec<SchemaFile>, then: Then) -> Result<(), Failure> {
        let mut client = self.place.remote.connect().await?;
        let body = json!({ "files": files, "allow_breaking": self.allow_breaking }).to_string();
        let answer = client.action_with(action::SCHEMA_PLAN, body.clone()).await?;
        if let Some(problems) = answer.get("problems") {
            return Err(wrong(serde_json::from_value(problems.clone()).map_err(unreadable)?));
        }
        let plans: Vec<TablePlan> = serde_json::from_value(answer["tables"].clone()).map_err(unreadable)?;
        show_plan(&plans, &render(&plans))?;
        if then == Then::Apply {
            client.action_with(action::SCHEMA_APPLY, body).await?;
            say!("applied in one transaction");
        }
        Ok(())
    }
}

fn unreadable(error: serde_json::Error) -> Failure {
    Failure::Work(Error::internal(format!("the server's answer cannot be read: {error}")))
}

/// Prints a plan; with refusals in it, the command fails.
fn show_plan(plans: &[TablePlan], text: &str) -> Result<(), Failure> {
    say!("{text}");
    let refused = plans.iter().filter(|table| !table.plan.refusals.is_empty()).count();
    if refused == 0 {
        return Ok(());
    }
    let tables = if refused == 1 { "1 table" } else { "some tables" };
    Err(Failure::Work(Error::new(
        Kind::Conflict,
        format!("nothing was changed: the declarations of {tables} were refused, for the reasons above"),
    )))
}

fn open(path: String) -> Result<Arc<Database>, Failure> {
    keep_private(Path::new(&path));
    Database::open(options(path)).map_err(Failure::Usage)
}

/// How this program opens a database file without a server.
pub(super) fn options(path: String) -> Options {
    let mut config = Config::default();
    config.database.path = path;
    engine_options(&config)
}

fn show(table: &str, place: &Place) -> Result<(), Failure> {
    let name = TableName::from_text(table).map_err(Failure::Usage)?;
    match &place.database {
        Some(file) if !file.exists() => {
            Err(Failure::Usage(Error::invalid(format!("there is no database file {}", file.display()))))
        }
        Some(file) => {
            let connection = open(file.display().to_string())?.connection()?;
            let actual = engine::actual_table(&connection, &name)?
                .ok_or_else(|| Error::not_found(format!("there is no table {name}")))?;
            let recorded = engine::recorded_declarations(&connection)?;
            let listed = |one: &&Declaration| one.listed_name().to_lowercase() == shown_name(&name);
            let (declaration, notes) = adopt(&actual, recorded.iter().find(listed));
            print_declaration(&notes, actual.is_view, &declaration.to_toml())
        }
        None => block_on(async {
            let mut client = place.remote.connect().await?;
            let answer = client.action_with(action::SCHEMAS, json!({ "table": table }).to_string()).await?;
            let actual = &answer["actual"];
            let notes: Vec<String> = serde_json::from_value(actual["notes"].clone()).map_err(unreadable)?;
            let is_view = actual["is_view"].as_bool().unwrap_or(false);
            print_declaration(&notes, is_view, actual["declaration"].as_str().unwrap_or_default())
        }),
    }
}

fn shown_name(name: &TableName) -> String {
    match name.schema.as_deref() {
        Some(schema) if !schema.eq_ignore_ascii_case("main") => {
            format!("{schema}.{}", name.table).to_lowercase()
        }
        _ => name.table.to_lowercase(),
    }
}

fn print_declaration(notes: &[String], is_view: bool, declaration: &str) -> Result<(), Failure> {
    if is_view {
        say!("# this is a view; a declaration makes a table of it");
    }
    for note in notes {
        say!("# {}", note.replace('\n', " "));
    }
    say!("{}", declaration.trim_end());
    Ok(())
}

/// One line of `pintail status` on what the server holds tables to.
pub(super) fn status_line(answer: &Value) -> String {
    let tables = answer["tables"].as_array().map_or(&[][..], Vec::as_slice);
    let shown: Vec<String> = tables
        .iter()
        .map(|table| {
            let name = table["name"].as_str().unwrap_or("?");
            let version =
                table["version"].as_u64().map_or("unrecorded".to_owned(), |number| format!("v{number}"));
            let differs = match table["difference"].as_array() {
                None => String::new(),
                Some(_) if table["exists"] == json!(false) => ", not there".to_owned(),
                Some(changes) => format!(", differs in {}", changes.len()),
            };
            format!("{name} ({version}{differs})")
        })
        .collect();
    match shown.len() {
        0 => "none declared".to_owned(),
        count => format!("{count} declared: {}", shown.join(", ")),
    }
}
