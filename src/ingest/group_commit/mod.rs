//! Group commit: small puts of many clients into one table -> one transaction, one commit, an answer for each.
//! Runs on: the thread of the table's queue.
//! Never: lets one client's bad rows fail another's, or changes the order of one client's puts.

mod commit;
mod member;
mod placement_cache;
mod shape;

use std::sync::Arc;
use std::time::Duration;

pub(super) use member::SmallPut;

use commit::commit;
use member::{Member, Reply};
use placement_cache::PlacementCache;

use super::counts::PutSummary;
use super::placement::Patience;
use super::shared::Shared;
use crate::catalog::TableName;
use crate::engine::UNIT_ROWS;
use crate::engine::group_commit::{Answer, Groups};
use crate::error::{Kind, Result};

/// How often a put that met another transaction is tried again before its client hears of it.
const TRIES: u32 = 5;

/// Gathers small puts by table.
pub(super) type GroupCommit = Groups<TableName, SmallPut>;

/// Small puts wait `wait` at most for others to commit with.
pub(super) fn start(shared: &Arc<Shared>, wait: Duration) -> Arc<GroupCommit> {
    let shared = Arc::clone(shared);
    Groups::new(wait, UNIT_ROWS, move || {
        let shared = Arc::clone(&shared);
        let mut cache = PlacementCache::default();
        Box::new(move |group: Vec<SmallPut>| {
            let runtime = group.first().map(|put| put.runtime.clone());
            let replies = commit_group(&shared, group, &mut cache);
            let Some(runtime) = runtime else { return Vec::new() };
            // Told by a task of theirs: from here, each would wake a thread of the runtime by itself.
            let tell =
                async move { replies.into_iter().for_each(|(reply, outcome)| drop(reply.send(outcome))) };
            vec![Box::new(move || drop(runtime.spawn(tell))) as Answer]
        })
    })
}

/// Commits puts together; when that fails, each by itself, so that every client hears its own error.
fn commit_group(
    shared: &Shared,
    group: Vec<SmallPut>,
    cache: &mut PlacementCache,
) -> Vec<(Reply, Result<PutSummary>)> {
    let mut answers = Vec::with_capacity(group.len());
    let mut members: Vec<Member> = Vec::with_capacity(group.len());
    // One for all: whoever waits behind the group has waited along.
    let mut patience = Patience::new();
    for put in group {
        match Member::judge(put) {
            Ok(member) => members.push(member),
            Err((reply, error)) => answers.push((reply, Err(error))),
        }
    }
    if members.len() > 1 {
        match commit(shared, &members, cache, &mut patience) {
            Ok(summaries) => {
                let replies = members.into_iter().map(|member| member.reply);
                answers.extend(replies.zip(summaries.into_iter().map(Ok)));
                return answers;
            }
            Err(error) => {
                tracing::debug!(%error, puts = members.len(), "shared commit failed; each goes alone");
            }
        }
    }
    for member in members {
        let alone = [member];
        let mut outcome = commit(shared, &alone, cache, &mut patience);
        for attempt in 1..TRIES {
            // It met another transaction; nothing of it was applied.
            if !outcome.as_ref().is_err_and(|error| error.kind() == Kind::Aborted && !alone[0].is_claimed()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5) * attempt);
            outcome = commit(shared, &alone, cache, &mut patience);
        }
        let outcome = outcome.map(|summaries| summaries.into_iter().next().unwrap_or_default());
        let [member] = alone;
        answers.push((member.reply, outcome));
    }
    answers
}
