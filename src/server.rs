//! Joins the parts: database, checkpoints, ingest, query, Flight port, HTTP port; and takes them apart again.
//! Runs on: the async runtime; opening and closing the database block it, which start and stop allow.
//! Never: serves before the database is open; loses an acknowledged row on the way down.

mod schemas;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::engine::{Database, Maintenance, Options};
use crate::error::{Error, Kind, Result};
use crate::flight::{self, FlightServer, Transport, accept};
use crate::ingest::Ingest;
use crate::metrics;
use crate::operations::Operations;
use crate::query::Query;
use crate::running::Running;
use crate::session::Sessions;

/// HTTP/2 flow control windows: hyper's 1 MiB default stalls a stream at every round trip.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;
/// Window of a whole connection.
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// h2 writes one DATA frame per system call; 16 KiB frames cost 2-4 times the system time.
const FRAME_BYTES: u32 = 1 << 20;
/// Largest header list taken; hyper's default of 16 MiB is an invitation.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// Calls open at one time on one connection.
const CALLS_PER_CONNECTION_MAX: u32 = 512;
/// How long interrupted calls get to send their last status.
const FORCED_DRAIN: Duration = Duration::from_secs(3);
/// How long a server whose engine is lost still answers, with UNAVAILABLE and NOT_SERVING, before it ends.
const FAREWELL: Duration = Duration::from_millis(250);
/// How long a lost database waits for its connections to end before the process does.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(20);
/// Recoveries within a time after which the process ends: a supervisor, or a person, has to look.
const RECOVERIES_MAX: usize = 8;
const RECOVERIES_WITHIN: Duration = Duration::from_secs(600);
/// How often idle sessions, transactions, prepared statements and tickets are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long `/readyz` waits for its query.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// A server under way.
pub struct Server {
    flight_addr: SocketAddr,
    http_addr: SocketAddr,
    parts: Arc<Parts>,
    stop: Option<oneshot::Sender<()>>,
    flight: JoinHandle<std::result::Result<(), tonic::transport::Error>>,
    http: JoinHandle<()>,
    health: tonic_health::server::HealthReporter,
    lost: watch::Receiver<bool>,
    report_lost: watch::Sender<bool>,
    // When the database was opened anew.
    recoveries: Vec<Instant>,
    sessions: Arc<Sessions>,
    maintenance: Option<Maintenance>,
    sweeper: JoinHandle<()>,
    drain_timeout: Duration,
}

struct Parts {
    database: Arc<Database>,
    ingest: Arc<Ingest>,
    query: Arc<Query>,
    running: Arc<Running>,
    draining: AtomicBool,
}

impl Server {
    /// Opens the database, binds both ports and serves. Port 0 picks a free one.
    ///
    /// Errors: `Invalid`, one line, for a port in use, a locked or foreign file, a setting the engine refuses; and
    /// with a line for each problem when the declarations are wrong or do not fit the database, which is then
    /// as it was.
    pub async fn start(config: &Config) -> Result<Self> {
        config.validate()?;
        let declared = schemas::read(&config.schemas)?;
        // Ports first: a second server on the same port should not touch the database at all.
        let flight_listener = bind(config.server.listen, "server.listen").await?;
        let http_listener = bind(config.server.http, "server.http").await?;
        let database = Database::open(Options {
            path: config.database.path.clone(),
            memory_limit_bytes: config.database.memory_limit_bytes(),
            threads: config.database.worker_threads(),
            temp_directory: config.database.temp_directory.clone(),
            max_temp_bytes: config.database.max_temp_size.0,
            checkpoint_bytes: config.database.checkpoint_bytes.0,
            checkpoint_hold: config.database.checkpoint_hold.0,
            result_buffer_bytes: config.query.buffer_bytes.0,
            icu_extension: config.database.icu_extension.clone(),
        })?;
        let (report_lost, lost) = watch::channel(false);
        database.on_lost({
            let report_lost = report_lost.clone();
            move |_| {
                report_lost.send_replace(true);
            }
        });
        let declarations = schemas::put_in_force(&database, &config.schemas, declared)?;
        let maintenance = Maintenance::start(Arc::clone(&database), metrics::checkpoint)
            .map_err(|error| Error::internal(format!("cannot start the checkpoint thread: {error}")))?;
        let running = Arc::new(Running::default());
        let parts = Arc::new(Parts {
            ingest: Arc::new(Ingest::new(Arc::clone(&database), &config.ingest, Arc::clone(&declarations))?),
            query: Arc::new(Query::new(Arc::clone(&database), Arc::clone(&running), &config.query)),
            database,
            running,
            draining: AtomicBool::new(false),
        });
        let addr = |listener: &TcpListener| {
            listener
                .local_addr()
                .map_err(|error| Error::internal(format!("a bound port has no address: {error}")))
        };
        let (flight_addr, http_addr) = (addr(&flight_listener)?, addr(&http_listener)?);
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_service_status("", tonic_health::ServingStatus::Serving).await;
        let sessions =
            Sessions::new(Arc::clone(&parts.database), &config.session, config.query.queue_timeout.0);
        let service = FlightServer::new(
            flight::Parts {
                database: Arc::clone(&parts.database),
                ingest: Arc::clone(&parts.ingest),
                query: Arc::clone(&parts.query),
                operations: Arc::new(Operations::new(
                    Arc::clone(&parts.database),
                    Arc::clone(&parts.running),
                )),
                sessions: Arc::clone(&sessions),
                declarations,
            },
            config,
        );
        let sweeper = tokio::spawn(sweep(service.clone()));
        let (stop, stopped) = oneshot::channel();
        let flight = tonic::transport::Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(20)))
            .add_service(Transport::new(Arc::new(service), config.server.max_message_bytes.as_usize()))
            .add_service(health_service)
            .serve_with_incoming_shutdown(accept(flight_listener, config.server.max_connections), async {
                // A sender that is gone means stop as well.
                let _ = stopped.await;
            });
        let http = axum::serve(http_listener, side_port(Arc::clone(&parts))?);
        Ok(Self {
            flight_addr,
            http_addr,
            parts,
            stop: Some(stop),
            flight: tokio::spawn(flight),
            http: tokio::spawn(async move {
                if let Err(error) = http.await {
                    tracing::error!(%error, "the HTTP port failed");
                }
            }),
            health,
            lost,
            report_lost,
            recoveries: Vec::new(),
            sessions,
            maintenance: Some(maintenance),
            sweeper,
            drain_timeout: config.server.drain_timeout.0,
        })
    }

    /// Address of the Flight port.
    pub fn flight_addr(&self) -> SocketAddr {
        self.flight_addr
    }

    /// Address of the HTTP port.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Serves until `stop` completes, then drains; `force` completing meanwhile cuts the drain short.
    ///
    /// Errors: `Unavailable` when the engine was lost; the caller exits non-zero.
    pub async fn run_until(
        mut self,
        stop: impl Future<Output = ()>,
        force: impl Future<Output = ()>,
    ) -> Result<()> {
        let mut lost = self.lost.clone();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return self.drain(force).await,
                // The sender lives as long as the database does, so an error cannot come first.
                Ok(()) = async { lost.wait_for(|lost| *lost).await.map(|_| ()) } => {
                    self.health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
                    if let Err(error) = self.recover().await {
                        return self.give_up(error).await;
                    }
                    lost.mark_unchanged();
                    self.health.set_service_status("", tonic_health::ServingStatus::Serving).await;
                }
                ended = &mut self.flight => {
                    return Err(Error::internal(match ended {
                        Ok(Ok(())) => "the Flight port closed by itself".to_owned(),
                        Ok(Err(error)) => format!("the Flight port failed: {error}"),
                        Err(error) => format!("the Flight port failed: {error}"),
                    }));
                }
            }
        }
    }

    /// Opens the lost database anew while the ports stay open; calls get UNAVAILABLE meanwhile.
    ///
    /// Errors: why that cannot be; the process has to end then.
    async fn recover(&mut self) -> Result<()> {
        let started = Instant::now();
        self.recoveries.retain(|at| at.elapsed() < RECOVERIES_WITHIN);
        if self.recoveries.len() >= RECOVERIES_MAX {
            return Err(Error::new(Kind::Unavailable, "the database was lost too often in a short time"));
        }
        self.recoveries.push(started);
        let parts = Arc::clone(&self.parts);
        if parts.database.has_failed_storage() {
            return Err(Error::new(Kind::Unavailable, "the disk is at fault"));
        }
        self.sessions.lose_all();
        parts.running.interrupt_all();
        #[expect(clippy::disallowed_methods, reason = "opening a database blocks")]
        let opened = tokio::task::spawn_blocking(move || {
            parts.database.reopen(RECOVERY_PATIENCE)?;
            parts.ingest.recover()
        });
        opened.await.map_err(|error| Error::internal(format!("the recovery failed: {error}")))??;
        self.report_lost.send_replace(false);
        metrics::recovered();
        tracing::warn!(
            milliseconds = started.elapsed().as_millis() as u64,
            "the database was opened anew after a fatal engine error"
        );
        Ok(())
    }

    /// Says farewell with UNAVAILABLE and NOT_SERVING, and ends; the next start replays the log.
    async fn give_up(self, why: Error) -> Result<()> {
        tracing::error!(%why, "the database cannot be opened anew in place");
        self.parts.draining.store(true, Ordering::SeqCst);
        tokio::time::sleep(FAREWELL).await;
        self.flight.abort();
        self.http.abort();
        Err(Error::new(
            Kind::Unavailable,
            format!(
                "the engine had a fatal error and the database can no longer be used ({why}); start again to recover"
            ),
        ))
    }

    /// Stops at once when nothing is under way; for tests and embedding.
    pub async fn stop(self) -> Result<()> {
        self.run_until(async {}, std::future::pending()).await
    }

    async fn drain(mut self, force: impl Future<Output = ()>) -> Result<()> {
        let (puts, queries) = (self.parts.ingest.streams_open(), self.parts.query.running());
        tracing::info!(puts, queries, "draining: no new connections, waiting for calls under way");
        self.parts.draining.store(true, Ordering::SeqCst);
        self.health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        drop(self.stop.take());
        let forced = tokio::select! {
            _ = &mut self.flight => false,
            () = tokio::time::sleep(self.drain_timeout) => {
                tracing::warn!("drain_timeout passed; interrupting what is still running");
                true
            }
            () = force => {
                tracing::warn!("second signal; interrupting what is still running");
                true
            }
        };
        if forced {
            self.parts.running.stop_all();
            if tokio::time::timeout(FORCED_DRAIN, &mut self.flight).await.is_err() {
                // Puts that have not ended are rolled back when their calls are dropped.
                self.flight.abort();
            }
        }
        self.http.abort();
        self.sweeper.abort();
        drop(self.maintenance.take());
        match self.parts.database.checkpoint() {
            Ok(_) => tracing::info!("checkpoint done, goodbye"),
            // Everything acknowledged is in the log; the next start replays it.
            Err(error) => {
                tracing::warn!(%error, "stopping without a checkpoint; the next start replays the log");
            }
        }
        Ok(())
    }
}

/// Ends what clients have left behind, as long as the server runs.
async fn sweep(service: FlightServer) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // What a panic left over is looked at again in a second.
        if catch_unwind(AssertUnwindSafe(|| service.sweep())).is_err() {
            tracing::error!("looking for idle sessions panicked");
        }
    }
}

async fn bind(addr: SocketAddr, key: &str) -> Result<TcpListener> {
    TcpListener::bind(addr).await.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "the port is in use; stop the other process or choose another port".into()
            }
            std::io::ErrorKind::PermissionDenied => {
                "permission denied; ports below 1024 need privileges".into()
            }
            _ => error.to_string(),
        };
        Error::invalid(format!("cannot listen on {addr} ({key}): {why}"))
    })
}

fn side_port(parts: Arc<Parts>) -> Result<Router> {
    let recorder = metrics::install().map_err(Error::internal)?;
    let render = move |State(parts): State<Arc<Parts>>| {
        let recorder = recorder.clone();
        async move {
            metrics::levels(&metrics::Levels {
                ingest_inflight_bytes: parts.ingest.inflight_bytes(),
                ingest_streams: parts.ingest.streams_open(),
                queries_running: parts.query.running(),
                queries_queued: parts.query.queued(),
                wal_bytes: parts.database.wal_bytes(),
                database_bytes: parts.database.file_bytes(),
            });
            recorder.run_upkeep();
            recorder.render()
        }
    };
    Ok(Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(render))
        .with_state(parts))
}

/// 200 when a real query comes back in time; 503 with the reason otherwise.
async fn ready(State(parts): State<Arc<Parts>>) -> (StatusCode, String) {
    let unready = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    if parts.draining.load(Ordering::SeqCst) {
        return unready("draining");
    }
    match tokio::time::timeout(READY_TIMEOUT, parts.query.probe()).await {
        Ok(Ok(())) => (StatusCode::OK, "ok\n".into()),
        Ok(Err(error)) => unready(error.message()),
        Err(_) => unready("the engine did not answer a query in time"),
    }
}
