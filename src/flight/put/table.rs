//! Rows into a table, once where the client says how to tell.
//! Runs on: the task of the call.
//! Never: puts rows of a stream that was applied before.

use std::sync::Arc;

use pintail_protocol::header::{IDEMPOTENCY_KEY, PRODUCER};
use tokio::sync::watch;

use super::answer::PutOutcome;
use super::puts::Puts;
use super::repeated::answer_again;
use super::rows::{Destination, RowStream, store};
use crate::catalog::{TableName, quote_name};
use crate::engine::{self, Access, Right};
use crate::error::{Error, Kind, Result};
use crate::flight::names::{TEMPORARY, full_name, temporary_name};
use crate::flight::request::{Call, PutOptions};
use crate::flight::wire::Incoming;
use crate::ingest::{Ack, Commit, Keyed, Mode, OnConflict, PutSummary, PutTarget, Terms};
use crate::metrics;
use crate::query::Query;
use crate::session::{ClientSession, On};

/// A table that takes the rows of a put.
pub(in crate::flight) struct PutTable {
    pub(in crate::flight) full: TableName,
    shown: TableName,
    mode: Mode,
}

impl PutTable {
    /// The table that the session means by `name`, which may be a temporary one.
    pub(in crate::flight) fn named(session: &ClientSession, name: TableName, mode: Mode) -> Result<Self> {
        Ok(Self { full: full_name(&name, session)?, shown: name, mode })
    }

    /// A table that lives with the session, on its own connection.
    pub(in crate::flight) fn temporary(name: TableName, mode: Mode) -> Result<Self> {
        Ok(Self { full: temporary_name(&name)?, shown: name, mode })
    }

    /// Refuses a put that the session's client is not granted.
    pub(in crate::flight) fn check(&self, session: &ClientSession, on_conflict: OnConflict) -> Result<()> {
        let Some(access) = session.access() else { return Ok(()) };
        let replaces = matches!(self.mode, Mode::Replace | Mode::ReplaceExisting);
        self.check_access(&access, replaces, on_conflict != OnConflict::Error)
    }

    fn check_access(&self, access: &Access, replaces: bool, updates: bool) -> Result<()> {
        if self.is_temporary() {
            return access.check_temporary_put();
        }
        let schema = self.full.schema.as_deref().unwrap_or("main");
        access.check_put(schema, &self.full.table, replaces, updates)
    }

    fn is_temporary(&self) -> bool {
        self.full.catalog.as_deref() == Some(TEMPORARY)
    }

    /// The table as the write side takes it.
    pub(in crate::flight) fn target(self) -> PutTarget {
        PutTarget::Table { table: self.full, shown: self.shown, mode: self.mode }
    }
}

/// A put of rows into a table.
pub(in crate::flight) struct IntoTable {
    pub(in crate::flight) table: PutTable,
    /// Where the rows go in.
    pub(in crate::flight) on: On,
    pub(in crate::flight) options: PutOptions,
    /// Hears of commits before the end.
    pub(in crate::flight) progress: Option<watch::Sender<Ack>>,
}

impl IntoTable {
    /// Refuses for a temporary table what is remembered beyond the life of a session.
    fn check_temporary(&self) -> Result<()> {
        if !self.table.is_temporary() {
            return Ok(());
        }
        let Self { table: PutTable { shown, .. }, options, progress, .. } = self;
        if options.key.is_some() || options.producer.is_some() || progress.is_some() {
            return Err(Error::invalid(format!(
                "temporary table {shown}: pintail-idempotency-key, pintail-producer and pintail-commit progress are \
                 for tables that outlive their session; leave them out"
            )));
        }
        if options.sources.is_some() {
            return Err(Error::invalid(format!(
                "temporary table {shown}: header pintail-sources is for tables that outlive their session; leave it out"
            )));
        }
        Ok(())
    }
}

/// Puts the rows of a stream into a table, unless they have been put before.
pub(in crate::flight) async fn put_into_table(
    puts: &Puts,
    session: &Arc<ClientSession>,
    incoming: Incoming,
    into: IntoTable,
    call: &mut Call,
) -> Result<PutOutcome> {
    let producer = into.options.producer.as_ref().map(|(producer, _)| producer.clone());
    call.put(into.table.shown.to_string(), into.options.key.clone(), producer);
    into.check_temporary()?;
    let IntoTable { table, on, options, progress } = into;
    let access = session.access();
    table.check(session, options.on_conflict)?;
    check_not_nested(&puts.results.query, session, &table.full).await?;
    let claim = match (&options.key, &options.producer) {
        (Some(key), _) => match puts.ingest.claim_key(key, &table.full).await? {
            Keyed::New(claim) => Some(claim),
            Keyed::Known(known) => {
                check_own(access.as_deref(), IDEMPOTENCY_KEY, [known.table()])?;
                return answer_again(puts, incoming, &known, &table.full, call).await;
            }
        },
        (None, Some((producer, epoch))) => {
            let known = puts.ingest.producer_status(producer).map(|status| status.tables).unwrap_or_default();
            check_own(access.as_deref(), PRODUCER, known.iter().map(|line| line.table.as_str()))?;
            Some(puts.ingest.claim_producer(producer, *epoch, &table.full).await?)
        }
        (None, None) => None,
    };
    let on_conflict = options.on_conflict;
    let terms = Terms {
        on_conflict,
        commit: progress.map_or(Commit::Stream, Commit::Progress),
        claim,
        producer: options.producer.map(|(producer, _)| producer),
        sources: options.sources,
    };
    let keeps = puts.keeps(&table.full);
    let lease = match table.is_temporary() {
        true => session.lease_for_temporaries(on).await?,
        false => session.lease(on).await?,
    };
    let name = table.full.clone();
    let destination = Destination { target: table.target(), lease: lease.of_the_server(), terms };
    let stored = store(&puts.ingest, RowStream::coming(incoming), destination, call).await;
    let PutSummary { ack, durable, rejects, .. } =
        stored.map_err(|error| told(access.as_deref(), &name, error))?;
    metrics::rows_in(ack.counts.rows, call.bytes);
    metrics::put_rows(ack.counts.outcomes());
    if ack.duplicate {
        call.duplicate();
    }
    Ok(PutOutcome { ack, durable: durable && keeps, on_conflict, rejects })
}

/// Refuses the name of a producer, or a key, that was used for `tables` which this client may not put into: a newer epoch
/// would shut that producer out, and an error would name the table.
fn check_own<'names>(
    access: Option<&Access>,
    header: &str,
    tables: impl IntoIterator<Item = &'names str>,
) -> Result<()> {
    let Some(access) = access else { return Ok(()) };
    let may_put = |table: &str| {
        TableName::from_text(table).is_ok_and(|name| {
            access.may(Right::Ingest, name.schema.as_deref().unwrap_or("main"), &name.table)
        })
    };
    if tables.into_iter().all(may_put) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Denied,
        format!(
            "header {header}: others use this name, for a table that you may not put into; choose another name"
        ),
    ))
}

/// An error of a put, without what is hidden from its sender: the write side stores for the server.
pub(super) fn told(access: Option<&Access>, table: &TableName, error: Error) -> Error {
    let schema = table.schema.as_deref().unwrap_or("main");
    access.map_or_else(|| error.clone(), |access| access.told_of_put(schema, &table.table, &error))
}

/// Refuses a schema inside another one, named as the listings spell it.
async fn check_not_nested(query: &Query, session: &Arc<ClientSession>, table: &TableName) -> Result<()> {
    let Some(named) = table.schema.clone().filter(|schema| schema.contains('.')) else { return Ok(()) };
    let lease = session.lease(On::Rows).await?;
    let schemas = query.catalog(lease, |connection| engine::schemas(connection)).await?;
    let mut same = schemas.iter().filter(|known| known.schema.eq_ignore_ascii_case(&named));
    // A schema of its own may have a dot in its name.
    if same.clone().all(|known| known.is_nested) && same.next().is_some() {
        return Err(Error::unsupported(format!(
            "schema {named} is inside another schema, and puts do not go there; use INSERT INTO {named}.{} with \
             rows bound to its parameters",
            quote_name(&table.table)
        )));
    }
    Ok(())
}
