//! The plan of a slow query, found after it has ended.
//! Runs on: a blocking thread, one at a time; the engine plans the statement again and runs nothing.
//! Never: makes anybody wait; shows a literal, unless `log.statements` is `full`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::plan::{draw, read_plan};
use super::words::Masking;
use crate::engine::{self, Database, SchemaPath};
use crate::error::Result;

/// Columns of a line of the plan.
const WIDTH: usize = 160;

/// Whether a plan is being looked for; while one is, others go without.
pub(super) struct Explaining {
    database: Arc<Database>,
    is_busy: AtomicBool,
}

impl Explaining {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database, is_busy: AtomicBool::new(false) }
    }

    /// Logs the plan of a slow query, as it would be made now, with names looked up in `path`.
    pub(super) fn explain_later(
        self: &Arc<Self>,
        masking: &Arc<Masking>,
        call: u64,
        sql: Arc<str>,
        path: Option<SchemaPath>,
    ) {
        if tokio::runtime::Handle::try_current().is_err() || self.is_busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let (explaining, masking) = (Arc::clone(self), Arc::clone(masking));
        #[expect(clippy::disallowed_methods, reason = "the engine blocks while it plans")]
        tokio::task::spawn_blocking(move || {
            let plan = plan_of(&explaining.database, &sql, path.as_ref());
            explaining.is_busy.store(false, Ordering::Release);
            match plan.map(|json| json.as_deref().and_then(read_plan)) {
                Ok(Some(plan)) => {
                    let plan = plan.with_details(&|detail| masking.detail(detail));
                    tracing::warn!(call, plan = %draw(&plan, WIDTH), "plan of a slow query");
                }
                // Statements with parameters, or of several parts, have no plan that can be asked for.
                Ok(None) | Err(_) => tracing::debug!(call, "a slow query has no plan that can be shown"),
            }
        });
    }
}

/// The plan as JSON.
fn plan_of(database: &Arc<Database>, sql: &str, path: Option<&SchemaPath>) -> Result<Option<String>> {
    let mut connection = database.connection()?;
    connection.use_path(path)?;
    engine::plan_as_json(&connection, sql)
}
