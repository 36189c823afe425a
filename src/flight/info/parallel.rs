//! A query -> the endpoints that its result is read through.
//! Runs on: the task of the call.
//! Never: spreads rows over endpoints whose order was asked for.

use crate::engine::{Bound, is_ordered};
use crate::error::Result;
use crate::flight::request::Ask;
use crate::flight::result::{Fetch, Parts, Results};
use crate::session::On;

/// As many endpoints as were asked for, if the result is that of a statement and its rows have no order of their own; else
/// one.
pub(super) async fn in_parts(results: &Results, ask: &Ask, fetch: Fetch) -> Result<Vec<Fetch>> {
    let (bound, on) = match &fetch {
        _ if ask.endpoints == 1 => return Ok(vec![fetch]),
        Fetch::Statement { sql, on, .. } => (Bound::new(sql.clone(), Vec::new(), None)?, *on),
        Fetch::Bound { prepared, bound, .. } => (bound.clone(), ask.session().now(prepared.on)),
        _ => return Ok(vec![fetch]),
    };
    let lease = ask.session().lease(if on == On::Own { On::Join } else { on }).await?;
    let is_ordered = results.query.catalog(lease, move |connection| is_ordered(connection, &bound)).await?;
    Ok(match is_ordered {
        true => vec![fetch],
        false => Parts::of(fetch, ask.endpoints),
    })
}
