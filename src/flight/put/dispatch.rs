//! A DoPut that has been opened -> its last answer.
//! Runs on: the task of the call, or of a put that commits as rows come.
//! Never: answers before COMMIT has returned.

use arrow_flight::PutResult;
use arrow_flight::sql::DoPutPreparedStatementResult;
use prost::Message;
use tokio::sync::watch;

use super::answer::update_result;
use super::opened::Opened;
use super::prepared;
use super::puts::Puts;
use super::table::{IntoTable, PutTable, put_into_table};
use crate::error::Result;
use crate::flight::request::{Ask, Call, Write};
use crate::flight::result::count_changed;
use crate::ingest::Ack;
use crate::query::Statement;
use crate::session::On;

/// Takes one DoPut stream to its commit and gives its last answer. `progress` hears of the commits before.
pub(in crate::flight) async fn dispatch(
    puts: &Puts,
    opened: Opened,
    progress: Option<watch::Sender<Ack>>,
    call: &mut Call,
) -> Result<PutResult> {
    let Opened { ask, options, write, incoming } = opened;
    let session = ask.session();
    match write {
        Write::Table(name) => {
            let table = PutTable::named(session, name.clone(), options.mode)?;
            let into = IntoTable { table, on: On::Rows, options, progress };
            let answer = put_into_table(puts, session, incoming, into, call).await?;
            Ok(PutResult { app_metadata: answer.answer(&name.to_string()).to_json().into() })
        }
        Write::Ingest { table, mode, temporary, on } => {
            let table = match temporary {
                true => PutTable::temporary(table, mode)?,
                false => PutTable::named(session, table, mode)?,
            };
            let into = IntoTable { table, on, options, progress };
            let answer = put_into_table(puts, session, incoming, into, call).await?;
            Ok(update_result(answer.ack.counts.stored()))
        }
        Write::Update(sql, on) => update(puts, &ask, sql, on, call).await.map(update_result),
        Write::Bind(handle) => {
            let handle = prepared::bind(session, handle, incoming, call).await?;
            let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
            Ok(PutResult { app_metadata: result.encode_to_vec().into() })
        }
        Write::PreparedUpdate(handle) => {
            prepared::update(puts, &ask, handle, incoming, call).await.map(update_result)
        }
    }
}

/// Runs statements for their count of changed rows.
async fn update(puts: &Puts, ask: &Ask, sql: String, on: On, call: &mut Call) -> Result<u64> {
    call.statement(&sql);
    let lease = ask.session().lease(on).await?;
    let result = puts.results.query.run(lease, Statement::Script(sql), ask.run.clone()).await?;
    let changed = count_changed(result).await?;
    call.rows = changed;
    Ok(changed)
}
