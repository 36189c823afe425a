//! A disk that is full.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures::stream;
use pintail::client::Client;
use pintail::error::{Kind, Result};

use super::{BATCH_ROWS, batch, ended_clearly, schema, send, stored_batches, watch_health};
use crate::support::calls::table;
use crate::support::process::{Process, free_port};

/// A small file system of its own.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(directory: &Path, size: &str) -> Option<Self> {
        let at = directory.join("disk");
        std::fs::create_dir(&at).unwrap();
        let option = format!("size={size}");
        match run(Command::new("mount").args(["-t", "tmpfs", "-o", &option, "none"]).arg(&at)) {
            Ok(()) => Some(Self(at)),
            Err(why) => {
                println!("skipped: a tmpfs cannot be mounted here, which takes root: {why}");
                None
            }
        }
    }

    fn grow(&self, size: &str) {
        run(Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0)).unwrap();
    }
}

pub(super) fn run(command: &mut Command) -> std::result::Result<(), String> {
    let done = command.output().map_err(|error| error.to_string())?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()) }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, so that a file that is still open does not keep it in place.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Small commits into the log, and whole row groups into the file, until the disk is full: the client is told so,
/// and after a new start exactly what was acknowledged is there; with room again, the rest goes in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_acknowledged() {
    for count in [BATCH_ROWS, 130_000] {
        let directory = tempfile::tempdir().unwrap();
        let Some(disk) = SmallDisk::mount(directory.path(), "48m") else { return };
        let path = disk.0.join("full.duckdb").display().to_string();
        let temporary = disk.0.join("spill").display().to_string();
        let settings = [("DATABASE__PATH", path.as_str()), ("DATABASE__TEMP_DIRECTORY", temporary.as_str())];
        let port = free_port();
        let mut server = Process::start(directory.path(), port, &settings);
        let health = tokio::spawn(watch_health(server.uri()));
        let until = 120_000 * BATCH_ROWS / count;
        let (durable, outcome) = send(&server.uri(), 1, count, until).await;
        let refused = outcome.expect_err("48 MiB are never full");
        println!("batches of {count} rows: {durable:?}, then: {refused}");
        assert!(durable.rows > 0);
        assert_eq!(refused.kind(), Kind::Unavailable, "{refused}");
        let is_told = ["no space left", "fatal error", "no server answers"]
            .iter()
            .any(|part| refused.message().contains(part));
        assert!(is_told, "{refused}");
        if server.wait_for_end(Duration::from_millis(500)).is_some() {
            println!("the server ended by itself");
            ended_clearly(&mut server, health).await;
        } else {
            // It lives, and so does what is stored.
            let mut client = Client::connect(&server.uri()).await.unwrap();
            assert_eq!(stored_batches(&mut client, count).await * count, durable.rows as i64);
            let refused = put_one(&mut client).await.unwrap_err();
            println!("the server lives and refuses: {:?} {refused}", refused.kind());
            assert!(matches!(refused.kind(), Kind::Exhausted | Kind::Unavailable), "{refused:?}");
            server.kill();
        }
        disk.grow("400m");
        let mut server = Process::start(directory.path(), port, &settings);
        let mut client = Client::connect(&server.uri()).await.unwrap();
        let stored = stored_batches(&mut client, count).await * count;
        assert_eq!(stored as u64, durable.rows, "stored after a new start, and acknowledged");
        let more = stored / count + 5;
        let (durable, outcome) = send(&server.uri(), 2, count, more).await;
        outcome.unwrap();
        assert_eq!(stored_batches(&mut client, count).await, more);
        assert_eq!(durable.rows as i64, more * count);
        server.kill();
    }
}

/// A put that is large enough not to fit into what the last failure left free.
async fn put_one(client: &mut Client) -> Result<()> {
    let many: Vec<_> = (0..60).map(|number| Ok(batch(1_000_000 + number, 20_000))).collect();
    client.put(&table("other"), schema(), stream::iter(many), &[]).await.map(|_| ())
}
