//! `pintail serve`: configuration, logging, signals, one line when ready.
//! Runs on: the main thread.
//! Never: goes on after the second signal.

use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::path::Path;

use clap::Args;
use pintail::config::{Config, Flags, LogFormat};
use pintail::engine::{STACK_BYTES, tune_malloc};
use pintail::error::{Error, Kind};
use pintail::server::Server;
use pintail::tls::{SelfSigned, self_signed};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use super::schema::DEFAULT_SCHEMAS;
use super::{ConfigSource, Failure};

/// Flags of `pintail serve`; each stands above the environment and the file.
#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    source: ConfigSource,
    /// Database file, or :memory: [default: pintail.duckdb]
    #[arg(long, value_name = "PATH")]
    database: Option<String>,
    /// Address of the Flight port [default: 127.0.0.1:8815]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address of the HTTP port: /livez, /readyz, /metrics [default: 127.0.0.1:8816]
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// Folder of declared tables, one in each .toml [default: ./schemas if it is there]
    #[arg(long, value_name = "DIR")]
    schemas: Option<String>,
    /// Serve TLS with a certificate that is made beside the database and signed by nobody else: for a first try
    #[arg(long)]
    tls_self_signed: bool,
    /// Listen beyond loopback without TLS, or without users
    #[arg(long)]
    insecure: bool,
    /// Stop when standard input ends: it does when the program that started the server is gone
    #[arg(long)]
    until_input_ends: bool,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut overrides = Vec::new();
        for (key, value) in [
            ("database.path", &self.database),
            ("server.listen", &self.listen),
            ("server.http", &self.http),
            ("schemas.dir", &self.schemas),
        ] {
            if let Some(value) = value {
                overrides.push((key, value.clone()));
            }
        }
        let flags =
            Flags { overrides: &overrides, insecure: self.insecure, tls_self_signed: self.tls_self_signed };
        let mut config = Config::load_with(self.source.config.as_deref(), &flags).map_err(Failure::Usage)?;
        // Only here, so that a server inside another program takes no folder it was not given.
        if config.schemas.dir.is_none() && Path::new(DEFAULT_SCHEMAS).is_dir() {
            config.schemas.dir = Some(DEFAULT_SCHEMAS.into());
        }
        start_logging(&config)?;
        tune_malloc(config.database.worker_threads());
        let self_signed = self.tls_self_signed.then(|| make_certificate(&config)).transpose()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            // They parse and plan.
            .thread_stack_size(STACK_BYTES)
            // A thread for every query and every put that may run, and some for catalog look-ups.
            .max_blocking_threads(config.query.max_concurrent + config.ingest.max_streams + 64)
            .build()
            .map_err(|error| Error::internal(format!("cannot start the async runtime: {error}")))?;
        let input_ended = if self.until_input_ends { Some(watch_input()?) } else { None };
        runtime.block_on(serve(&config, self_signed.as_ref(), input_ended))
    }
}

/// Makes the certificate of `--tls-self-signed`, unless it is there.
fn make_certificate(config: &Config) -> Result<SelfSigned, Failure> {
    let (Some(cert), Some(key)) = (&config.server.tls_cert, &config.server.tls_key) else {
        return Err(Failure::Usage(Error::internal("--tls-self-signed has set no files")));
    };
    self_signed(cert, key, config.server.listen.ip()).map_err(Failure::Usage)
}

/// Waits for the end of standard input, on a thread that the end of the process does not wait for.
fn watch_input() -> Result<oneshot::Receiver<()>, Failure> {
    let (ended, input_ended) = oneshot::channel();
    let wait = move || {
        let mut buffer = [0; 256];
        loop {
            match std::io::stdin().read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // An input that cannot be read tells nothing more about whoever held it.
                Err(_) => break,
            }
        }
        // Nobody listens any more when the server stops already.
        let _ = ended.send(());
    };
    // A blocking task would hold up the end of the runtime.
    std::thread::Builder::new().name("input".into()).spawn(wait).map_err(|error| {
        Error::internal(format!("cannot start the thread that watches the input: {error}"))
    })?;
    Ok(input_ended)
}

/// Tells systemd, where it started the server as `Type=notify`.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(false, &[state]) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

async fn serve(
    config: &Config,
    self_signed: Option<&SelfSigned>,
    input_ended: Option<oneshot::Receiver<()>>,
) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let server = Server::start(config).await.map_err(|error| match error.kind() {
        Kind::Invalid => Failure::Usage(error),
        _ => Failure::Work(error),
    })?;
    tracing::info!(config = %config.in_force().to_toml().replace('\n', "; "), "effective configuration");
    // Whoever started the server may have closed its output.
    let (scheme, http) = if server.is_secret() { ("grpc+tls", "https") } else { ("grpc", "http") };
    let uri = format!("{scheme}://{}", server.flight_addr());
    let _ = writeln!(std::io::stdout(), "listening on {uri}");
    let mut try_it = format!("pintail query \"SELECT 1\" --server {uri}");
    if let (Some(certificate), Some(cert)) = (self_signed, &config.server.tls_cert) {
        try_it += &format!(" --tls-ca {}", cert.display());
        if config.anonymous().is_none() {
            try_it += " --user NAME";
        }
        let made = if certificate.is_new {
            "a new certificate, signed by itself"
        } else {
            "the certificate of before"
        };
        let _ = writeln!(
            std::io::stdout(),
            "{made}: {}\nSHA-256 {}\ntry: {try_it}",
            cert.display(),
            certificate.fingerprint
        );
    }
    tracing::info!(http = %format!("{http}://{}", server.http_addr()), try_it, "ready");
    let renewal = server.renewal();
    let mut renew = signal(SignalKind::hangup())
        .map_err(|error| Error::internal(format!("cannot listen for signals: {error}")))?;
    let renewing = tokio::spawn(async move {
        while renew.recv().await.is_some() {
            tracing::info!("SIGHUP: looking for new certificates and keys");
            renewal.look();
        }
    });
    let mut again = Signals::listen()?;
    notify(NotifyState::Ready);
    let stop = async move {
        let input_ended = async {
            match input_ended {
                // A watcher that is gone has seen the end.
                Some(ended) => drop(ended.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = signals.next() => {}
            () = input_ended => tracing::info!("standard input has ended"),
        }
        notify(NotifyState::Stopping);
    };
    let force = async move {
        // Both listeners hear the first signal; the second one is the one that forces.
        again.next().await;
        again.next().await;
    };
    let ended = server.run_until(stop, force).await;
    renewing.abort();
    ended?;
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Error::internal(format!("cannot listen for signals: {error}")))
        };
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn start_logging(config: &Config) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.log.level).map_err(|_| {
        Failure::Usage(Error::invalid(format!(
            "setting log.level: expected error, warn, info, debug, trace or a filter, found \"{}\"",
            config.log.level
        )))
    })?;
    let terminal = std::io::stderr().is_terminal();
    let human = if terminal { LogFormat::Human } else { LogFormat::Json };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log.format.unwrap_or(human) {
        LogFormat::Human => lines.with_target(false).with_ansi(terminal).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
