//! `pintail doctor`: what of this machine and this configuration will not do, and what to change.
//! Runs on: the task of the command.
//! Never: changes anything; needs a server that runs, though it asks one that does.

mod clock;
mod disk;
mod files;
mod limits;
mod versions;

use clap::Args;
use pintail::config::Config;
use pintail::error::{Error, Kind};
use serde_json::Value;

use super::{ConfigSource, Failure, Remote};

/// Flags of `pintail doctor`.
#[derive(Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    source: ConfigSource,
    #[command(flatten)]
    remote: Remote,
    /// Look at this machine alone, and ask no server
    #[arg(long)]
    offline: bool,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Right,
    /// It will do, and somebody should know.
    Note,
    Wrong,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    check: &'static str,
    text: String,
}

impl Finding {
    fn right(check: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Right, check, text: text.into() }
    }

    fn note(check: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, check, text: text.into() }
    }

    fn wrong(check: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Wrong, check, text: text.into() }
    }
}

/// What a server that runs says of itself.
struct Running {
    status: Value,
    /// Seconds that its clock is ahead of ours.
    ahead: f64,
}

impl Doctor {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let config = Config::load(self.source.config.as_deref(), &[]).map_err(Failure::Usage)?;
        let mut findings = vec![Finding::right("configuration", "can work")];
        findings.extend(disk::check(&config));
        findings.extend(limits::check(&config));
        findings.extend(files::check(&config));
        findings.extend(clock::check(&config));
        findings.push(versions::check_file(&config));
        if self.offline {
            findings.push(Finding::note("server", "not asked (--offline)"));
        } else {
            match self.ask().await {
                Ok(running) => {
                    findings.push(versions::check_server(&running.status));
                    findings.push(clock::check_server(running.ahead));
                }
                Err(error) => findings.push(Finding::note("server", format!("not asked: {error}"))),
            }
        }
        let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        for Finding { verdict, check, text } in &findings {
            let verdict = match verdict {
                Verdict::Right => "ok",
                Verdict::Note => "note",
                Verdict::Wrong => "WRONG",
            };
            say!("{verdict:<5}  {check:<width$}  {text}");
        }
        let wrong = findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).count();
        match wrong {
            0 => Ok(()),
            1 => Err(Failure::Work(Error::new(Kind::Conflict, "1 check found something wrong"))),
            many => {
                Err(Failure::Work(Error::new(Kind::Conflict, format!("{many} checks found something wrong"))))
            }
        }
    }

    async fn ask(&self) -> Result<Running, Error> {
        let mut client = self.remote.connect().await.map_err(Failure::into_error)?;
        let status = client.action(pintail_protocol::action::STATUS).await?;
        let ahead = clock::ahead(&mut client).await?;
        Ok(Running { status, ahead })
    }
}
