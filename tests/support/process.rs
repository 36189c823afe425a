//! The real program as a process of its own, which can be killed, measured and looked into alone.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::database;

/// `pintail serve` over `test.duckdb` in a folder; killed when it goes out of scope.
pub struct Process {
    child: Child,
    log: PathBuf,
    port: u16,
}

/// A port outside of the range from which the system takes ports for connections, so that it stays free while
/// the server is away.
pub fn free_port() -> u16 {
    loop {
        let port = 20_000 + rand::random::<u16>() % 10_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Process {
    /// Starts the program and does not wait for it. `settings` are environment variables without `PINTAIL_`.
    pub fn spawn(directory: &Path, port: u16, settings: &[(&str, &str)]) -> Self {
        let log = directory.join("server.log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pintail"));
        command
            .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--http", "127.0.0.1:0"])
            .env("PINTAIL_DATABASE__PATH", database::file(directory))
            .env("PINTAIL_DATABASE__THREADS", "2")
            .env("PINTAIL_DATABASE__MEMORY_LIMIT", "1 GiB")
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log).unwrap());
        for (name, value) in settings {
            command.env(format!("PINTAIL_{name}"), value);
        }
        Self { child: command.spawn().unwrap(), log, port }
    }

    /// Starts the program and waits until it listens.
    pub fn start(directory: &Path, port: u16, settings: &[(&str, &str)]) -> Self {
        let mut process = Self::spawn(directory, port, settings);
        process.wait_until_ready();
        process
    }

    /// Waits for the line that says that it listens.
    pub fn wait_until_ready(&mut self) {
        let mut line = String::new();
        if let Some(stdout) = self.child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).unwrap();
        }
        assert!(line.starts_with("listening on grpc://"), "the server did not start:\n{}", self.log());
    }

    pub fn uri(&self) -> String {
        format!("grpc://127.0.0.1:{}", self.port)
    }

    /// Address of the HTTP port, as the log has it.
    pub fn http(&self) -> String {
        let started = Instant::now();
        loop {
            let log = self.log();
            let found = log.rfind("\"http\":\"").map(|at| &log[at + 8..]);
            if let Some((address, _)) = found.and_then(|rest| rest.split_once('"')) {
                return address.to_owned();
            }
            assert!(started.elapsed() < Duration::from_secs(10), "the log names no HTTP address:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory it has had resident.
    pub fn peak_memory_mib(&self) -> u64 {
        self.status_mib("VmHWM:")
    }

    /// The memory it has resident now.
    pub fn memory_mib(&self) -> u64 {
        self.status_mib("VmRSS:")
    }

    fn status_mib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let found = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        found.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
    }

    /// Everything that servers in this folder have logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of that.
    pub fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// SIGKILL: nothing is written any more.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ended, when it does so by itself in time.
    pub fn wait_for_end(&mut self, limit: Duration) -> Option<ExitStatus> {
        let started = Instant::now();
        while started.elapsed() < limit {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
