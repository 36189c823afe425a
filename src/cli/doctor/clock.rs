//! The clock of this machine: tokens and certificates expire by it, and keys are forgotten by it.

use std::time::{Duration, SystemTime};

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use futures::StreamExt;
use pintail::client::Client;
use pintail::config::Config;
use pintail::error::{Error, Result};

use super::Finding;

/// How far two clocks may be apart.
const APART: f64 = 5.0;

pub(super) fn check(config: &Config) -> Option<Finding> {
    let written = std::fs::metadata(&config.database.path).and_then(|data| data.modified()).ok()?;
    Some(since(written, SystemTime::now()))
}

/// A clock is behind when the database was written to after what it says.
fn since(written: SystemTime, now: SystemTime) -> Finding {
    match written.duration_since(now) {
        Ok(ahead) if ahead > Duration::from_secs_f64(APART) => Finding::wrong(
            "clock",
            format!(
                "the database was written to {:.0} s after what this machine's clock says; set the clock (chrony, ntpd)",
                ahead.as_secs_f64()
            ),
        ),
        _ => Finding::right("clock", "not behind the database"),
    }
}

/// Seconds that a server's clock is ahead of ours.
pub(super) async fn ahead(client: &mut Client) -> Result<f64> {
    let before = SystemTime::now();
    let mut result = client.query("SELECT epoch(now())::DOUBLE", &[]).await?;
    let batch = result.batches.next().await.ok_or_else(|| Error::internal("the server gave no time"))??;
    let half = before.elapsed().unwrap_or_default() / 2;
    let own = (before + half).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let column = batch.column(0).as_primitive_opt::<Float64Type>().filter(|column| !column.is_empty());
    let theirs = column.ok_or_else(|| Error::internal("the server gave no time"))?.value(0);
    Ok(theirs - own.as_secs_f64())
}

pub(super) fn check_server(ahead: f64) -> Finding {
    if ahead.abs() > APART {
        let way = if ahead > 0.0 { "ahead of" } else { "behind" };
        return Finding::wrong(
            "clock",
            format!("the server's is {:.0} s {way} this machine's; set both (chrony, ntpd)", ahead.abs()),
        );
    }
    Finding::right("clock", format!("the server's differs by {:.1} s", ahead.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    #[test]
    fn clocks_may_differ_by_a_moment() {
        let now = SystemTime::now();
        assert_eq!(since(now - Duration::from_secs(100), now).verdict, Verdict::Right);
        assert_eq!(since(now + Duration::from_secs(1), now).verdict, Verdict::Right);
        assert_eq!(since(now + Duration::from_secs(100), now).verdict, Verdict::Wrong);
        assert_eq!(check_server(-1.0).verdict, Verdict::Right);
        let behind = check_server(-60.0);
        assert!(behind.verdict == Verdict::Wrong && behind.text.contains("60 s behind"), "{}", behind.text);
    }
}
