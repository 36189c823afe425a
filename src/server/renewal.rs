//! Certificates, key sets and tokens that change while the server serves -> in force.
//! Runs on: a task of its own; files are read on a blocking thread.
//! Never: gives up what works for what does not, or fails to do so in silence.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::auth::Gate;
use crate::error::Error;
use crate::metrics;
use crate::tls::Tls;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks at the files now, whatever the time.
#[derive(Clone, Default)]
pub struct Renewal(Arc<Notify>);

impl Renewal {
    /// Looks at the files of certificates and keys now.
    pub fn look(&self) {
        self.0.notify_one();
    }
}

struct Watched {
    tls: Option<Arc<Tls>>,
    gate: Arc<Gate>,
    files: Vec<PathBuf>,
    // What they held when they were looked at last.
    seen: Vec<Option<Vec<u8>>>,
    // The problem that was told last: as long as it stays the same, nobody wants to hear of it every other second.
    told: String,
}

impl Watched {
    fn contents(&self) -> Vec<Option<Vec<u8>>> {
        self.files.iter().map(|file| std::fs::read(file).ok()).collect()
    }

    fn look(&mut self) {
        match self.tls.as_ref().map(|tls| tls.renew()) {
            Some(Ok(true)) => {
                self.told.clear();
                tracing::info!("new TLS certificates are in force");
            }
            Some(Err(error)) => self.tell(&error, "TLS certificates"),
            Some(Ok(false)) | None => {}
        }
        let contents = self.contents();
        let seen = std::mem::replace(&mut self.seen, contents);
        for (number, file) in self.files.clone().iter().enumerate() {
            if self.seen.get(number) == seen.get(number) {
                continue;
            }
            match self.gate.reload(file) {
                Ok(()) => tracing::info!(file = %file.display(), "new keys or tokens are in force"),
                Err(error) => self.tell(&error, "keys or tokens"),
            }
        }
    }

    fn tell(&mut self, error: &Error, what: &str) {
        let text = error.to_string();
        if text != self.told {
            metrics::renewal_failed();
            tracing::error!(%error, "the new {what} cannot be used; those before stay in force");
            self.told = text;
        }
    }
}

/// Looks at the files until the task is aborted.
pub(super) async fn watch(tls: Option<Arc<Tls>>, gate: Arc<Gate>, renewal: Renewal) {
    let mut watched = Watched { tls, files: gate.watched(), gate, seen: Vec::new(), told: String::new() };
    watched.seen = watched.contents();
    if watched.tls.is_none() && watched.files.is_empty() {
        return;
    }
    loop {
        // Elapsed is as good a reason to look as being asked to.
        let _ = tokio::time::timeout(LOOK_EVERY, renewal.0.notified()).await;
        #[expect(clippy::disallowed_methods, reason = "files are read, perhaps over a network")]
        let looked = tokio::task::spawn_blocking(move || {
            watched.look();
            watched
        });
        match looked.await {
            Ok(back) => watched = back,
            Err(error) => {
                tracing::error!(%error, "looking for new certificates failed; start the server again to renew them");
                return;
            }
        }
    }
}
