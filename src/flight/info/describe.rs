//! What a client wants to read -> what a fetch of it runs, and the columns that it gives.
//! Runs on: the task of the call.
//! Never: runs a statement, except one whose columns are known only once it runs (PIVOT).

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::engine::{self, Class};
use crate::error::{Error, Result};
use crate::flight::names::{full_name, select_all};
use crate::flight::request::{Call, Read};
use crate::flight::result::{Fetch, Results, fetch_prepared};
use crate::query::RunOptions;
use crate::session::{ClientSession, On};

/// What is asked for, ready to be fetched, with the schema of its result and what running it does.
pub(super) struct DescribedFetch {
    pub(super) fetch: Fetch,
    pub(super) schema: SchemaRef,
    pub(super) class: Class,
}

/// What `read` asks for, ready to be fetched.
pub(in crate::flight) async fn fetch(
    results: &Results,
    session: &Arc<ClientSession>,
    read: Read,
    call: &mut Call,
) -> Result<Fetch> {
    let owner = session.owner();
    Ok(match read {
        Read::Statement(sql, on) => Fetch::Statement { sql, on, owner },
        Read::Table(name) => {
            let sql = select_all(&full_name(&name, session)?.to_sql());
            Fetch::Statement { sql, on: On::Join, owner }
        }
        Read::Metadata(metadata) => Fetch::Metadata { metadata, owner },
        Read::Prepared(handle) => fetch_prepared(results, session, handle, call).await?,
    })
}

/// [`fetch`], described.
pub(super) async fn describe(
    results: &Results,
    session: &Arc<ClientSession>,
    read: Read,
    call: &mut Call,
) -> Result<DescribedFetch> {
    let fetch = fetch(results, session, read, call).await?;
    let (schema, class) = match &fetch {
        Fetch::Statement { sql, on, .. } => {
            call.statement(sql);
            let (lease, sql) = (session.lease(*on).await?, sql.clone());
            let described = results
                .query
                .catalog(lease, move |connection| engine::describe(connection, &sql)?.without_parameters());
            let described = described.await?;
            if described.is_deferred {
                // Its columns are known only once it runs: it begins here, and is fetched from there.
                let result = results.open(&fetch, RunOptions::default(), call).await?;
                let schema = Arc::clone(result.schema());
                return Ok(DescribedFetch { fetch: Fetch::begun(result), schema, class: Class::Query });
            }
            (described.schema, described.class)
        }
        Fetch::Bound { bound, described, .. } => {
            call.statement(bound.sql());
            (Arc::clone(&described.schema), described.class)
        }
        Fetch::Metadata { metadata, .. } => {
            call.about(metadata.name());
            (metadata.schema(), Class::Query)
        }
        Fetch::Stored { schema, class, .. } => (Arc::clone(schema), *class),
        Fetch::Begun(_) | Fetch::Part(_) => {
            return Err(Error::internal("a result that has begun was described"));
        }
    };
    Ok(DescribedFetch { fetch, schema, class })
}
