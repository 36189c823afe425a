//! The actions on declared tables: `pintail.schemas`, `pintail.schema_plan`, `pintail.schema_apply`.
//! Runs on: the task of the call; the catalog work on a thread of the query bridge.
//! Never: applies half of what was sent, or puts in force what the database is not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::catalog::{self, Breaking, Declaration, SchemaFile, TableName, adopt, read_declarations, render};
use crate::engine::{self, Access, RecordedVersion};
use crate::error::{Error, Result};
use crate::flight::server::DeclaredTables;

/// Body of `pintail.schema_plan` and `pintail.schema_apply`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    files: Vec<SchemaFile>,
    #[serde(default)]
    allow_breaking: bool,
}

/// Body of `pintail.schemas`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct OneTable {
    table: Option<String>,
}

/// What applying the files would do. Problems in the files are part of the answer: there may be more of them
/// than a status has room for.
pub(super) async fn plan(tables: &DeclaredTables, body: &[u8]) -> Result<Value> {
    let request: Files = read(body, "{\"files\": [{\"name\": \"t.toml\", \"text\": \"…\"}]}")?;
    let declarations = match read_declarations(&request.files) {
        Ok(declarations) => declarations,
        Err(problems) => return Ok(json!({ "problems": problems, "text": problems.to_string() })),
    };
    let plans = tables.query.catalog(tables.pooled(), move |connection| {
        engine::plan_declared(connection, &declarations, Breaking::when(request.allow_breaking))
    });
    let plans = plans.await?;
    Ok(json!({ "tables": plans, "text": render(&plans) }))
}

/// Applies the files in one transaction and puts them in force beside those that are.
///
/// Errors: `Invalid` for problems in the files, `Conflict` for refusals; nothing is changed then.
pub(super) async fn apply(tables: &DeclaredTables, body: &[u8]) -> Result<Value> {
    let request: Files = read(body, "{\"files\": [{\"name\": \"t.toml\", \"text\": \"…\"}]}")?;
    let declarations = read_declarations(&request.files)?;
    let in_force = Arc::clone(&tables.in_force);
    let plans = tables.query.catalog(tables.pooled(), move |connection| {
        let applied = declarations.clone();
        engine::apply_declared(connection, &declarations, Breaking::when(request.allow_breaking), |earlier| {
            in_force.add(applied, earlier);
        })
    });
    let plans = plans.await?;
    Ok(json!({ "tables": plans, "text": render(&plans) }))
}

/// The declared tables; with `{"table": "x"}`, that one, and the table as it is as a declaration.
///
/// Tables that are not there for the caller are left out.
pub(super) async fn list(tables: &DeclaredTables, access: Option<Arc<Access>>, body: &[u8]) -> Result<Value> {
    let asked: OneTable =
        if body.is_empty() { OneTable::default() } else { read(body, "{\"table\": \"t\"}")? };
    let asked = asked.table.as_deref().map(TableName::from_text).transpose()?;
    let sees = |name: &TableName| {
        let schema = name.schema.as_deref().unwrap_or("main");
        access.as_ref().is_none_or(|access| access.sees_whole(schema, &name.table))
    };
    if let Some(name) = asked.as_ref().filter(|name| !sees(name)) {
        return Err(Error::not_found(format!(
            "there is no table {name}, or it is not there for you as a whole"
        )));
    }
    let mut all = tables.in_force.all();
    all.retain(|one| sees(&one.name));
    let declared = asked.as_ref().and_then(|name| tables.in_force.find(name));
    tables
        .query
        .catalog(tables.pooled(), move |connection| {
            let recorded: HashMap<String, RecordedVersion> = engine::recorded_versions(connection)?
                .into_iter()
                .map(|version| (version.table.to_lowercase(), version))
                .collect();
            let wanted = |one: &Declaration| {
                asked.is_none() || declared.as_ref().is_some_and(|declared| declared.name == one.name)
            };
            let mut found = Vec::new();
            for declaration in all.iter().filter(|one| wanted(one)) {
                let actual = engine::actual_table(connection, &declaration.name)?;
                found.push(listed(declaration, actual.as_ref(), &recorded));
            }
            let Some(name) = asked else { return Ok(json!({ "tables": found })) };
            let actual = engine::actual_table(connection, &name)?
                .ok_or_else(|| Error::not_found(format!("there is no table {name}")))?;
            let (adopted, notes) = adopt(&actual, declared.as_deref());
            Ok(json!({
                "tables": found,
                "actual": { "declaration": adopted.to_toml(), "notes": notes, "is_view": actual.is_view },
            }))
        })
        .await
}

fn listed(
    declaration: &Declaration,
    actual: Option<&catalog::Actual>,
    recorded: &HashMap<String, RecordedVersion>,
) -> Value {
    let found = catalog::plan(declaration, actual, Breaking::Refused);
    let shown = declaration.listed_name();
    let version = recorded.get(&shown.to_lowercase());
    let difference = if found.is_empty() {
        None
    } else {
        let changes = found.steps.iter().map(|step| step.text.clone());
        let refused =
            found.refusals.iter().map(|refusal| format!("{} (refused: {})", refusal.text, refusal.reason));
        Some(changes.chain(refused).collect::<Vec<String>>())
    };
    json!({
        "name": shown,
        "version": version.map(|version| version.version),
        "fingerprint": declaration.fingerprint(),
        "recorded_fingerprint": version.map(|version| version.fingerprint.as_str()),
        "applied_at": version.map(|version| time_text(version.applied_at_ms)),
        "declaration": declaration.to_toml(),
        "exists": actual.is_some(),
        "difference": difference,
    })
}

/// Milliseconds since 1970 as RFC 3339, UTC.
fn time_text(milliseconds: i64) -> String {
    let since = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since).to_string()
}

fn read<T: DeserializeOwned>(body: &[u8], expected: &str) -> Result<T> {
    serde_json::from_slice(body)
        .map_err(|error| Error::invalid(format!("expected a JSON body such as {expected}, found: {error}")))
}
