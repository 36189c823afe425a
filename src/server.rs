//! Joins the parts: database, checkpoints, ingest, query, Flight port, HTTP port; and takes them apart again.
//! Runs on: the async runtime; opening and closing the database block it, which start and stop allow.
//! Never: serves before the database is open; loses an acknowledged row on the way down.

mod health;
mod load;
mod memory;
mod parts;
mod ports;
mod renewal;
mod schemas;
mod side_port;
mod watchdog;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tonic::service::Routes;

use crate::config::Config;
use crate::engine::{Database, Maintenance};
use crate::error::{Error, Kind, Result};
use crate::flight::{FlightServer, Link, OpenCalls, Transport, Welcome, connections, web};
use crate::metrics;
use crate::session::Sessions;
use crate::tls::{Door, Protocol, Tls, accept};

pub use parts::engine_options;
pub use renewal::Renewal;

use health::{Health, Reason};
use memory::Guard;
use parts::Parts;

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
/// A server under way.
pub struct Server {
    flight_addr: SocketAddr,
    http_addr: SocketAddr,
    parts: Arc<Parts>,
    stop: Option<oneshot::Sender<()>>,
    flight: JoinHandle<()>,
    http: JoinHandle<()>,
    open_calls: OpenCalls,
    health: Arc<Health>,
    lost: watch::Receiver<bool>,
    report_lost: watch::Sender<bool>,
    // When the database was opened anew.
    recoveries: Vec<Instant>,
    sessions: Arc<Sessions>,
    maintenance: Option<Maintenance>,
    sweeper: JoinHandle<()>,
    looking: JoinHandle<()>,
    renewal: Renewal,
    renewing: JoinHandle<()>,
    _memory: Guard,
    is_secret: bool,
    drain_timeout: Duration,
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
        let tls = Tls::open(&config.server)?.map(Arc::new);
        // Ports first: a second server on the same port should not touch the database at all.
        let flight_listener = ports::bind(config.server.listen, "server.listen").await?;
        let http_listener = ports::bind(config.server.http, "server.http").await?;
        let database = Database::open(engine_options(config))?;
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
        let parts = Arc::new(Parts::new(&database, &declarations, config)?);
        let (flight_addr, http_addr) = (ports::address(&flight_listener)?, ports::address(&http_listener)?);
        let (health, health_service) = tonic_health::server::health_reporter();
        let health = Arc::new(Health::new(health).await);
        let (database, grants) = (Arc::clone(&parts.database), Arc::clone(&parts.grants));
        let sessions = Sessions::new(database, grants, &config.session, config.query.queue_timeout.0);
        let service = FlightServer::new(parts.of_flight(&sessions, declarations, config), config);
        let sweeper = tokio::spawn(sweep(service.clone()));
        let looking = tokio::spawn(look(Arc::clone(&parts), Arc::clone(&health)));
        let (calls, open_calls) = web(service.clone(), config, Arc::clone(&parts.draining));
        let (stop, stopped) = oneshot::channel();
        let others = Routes::new(health_service);
        let transport = Transport::new(
            Arc::new(service),
            config.server.max_message_bytes.as_usize(),
            config.ingest.receive_memory_limit.as_usize(),
            others,
        );
        let door = Door {
            connections_max: config.server.max_connections,
            handshake_timeout: config.server.handshake_timeout.0,
            tls: tls.clone(),
        };
        let incoming = accept(flight_listener, door.clone(), Protocol::Http2);
        let welcome = if parts.gate.lets_strangers_in() { Welcome::AtOnce } else { Welcome::OnceKnown };
        parts.count("flight", incoming.places());
        let flight = ports::serve(transport, connections(incoming, door.handshake_timeout, welcome), async {
            // A sender that is gone means stop as well.
            let _ = stopped.await;
        });
        let incoming = accept(http_listener, door, Protocol::Http1);
        parts.count("http", incoming.places());
        let incoming = side_port::SidePort::new(incoming, http_addr);
        let router = side_port::router(Arc::clone(&parts))?.merge(calls);
        let http = axum::serve(incoming, router.into_make_service_with_connect_info::<Link>());
        if parts.gate.is_shut() {
            tracing::warn!(
                "nobody can log in: auth.anonymous is off and there are no users; stop the server, run `pintail user add \
                 NAME --role admin --database FILE`, and start it again"
            );
        }
        let (is_secret, renewal) = (tls.is_some(), Renewal::default());
        let renewing = tokio::spawn(renewal::watch(tls, Arc::clone(&parts.gate), renewal.clone()));
        let memory =
            Guard::start(config.process_memory_bytes(), Arc::clone(&parts.running), Arc::clone(&parts.query))
                .map_err(|error| {
                    Error::internal(format!("cannot start the thread that looks at memory: {error}"))
                })?;
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
            open_calls,
            health,
            lost,
            report_lost,
            recoveries: Vec::new(),
            sessions,
            maintenance: Some(maintenance),
            sweeper,
            looking,
            renewal,
            renewing,
            _memory: memory,
            is_secret,
            drain_timeout: config.server.drain_timeout.0,
        })
    }

    /// Whether both ports speak TLS.
    pub fn is_secret(&self) -> bool {
        self.is_secret
    }

    /// Asks for a look at certificates and keys that may have changed.
    pub fn renewal(&self) -> Renewal {
        self.renewal.clone()
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
                    self.health.set(Reason::Lost, true).await;
                    if let Err(error) = self.recover().await {
                        return self.give_up(error).await;
                    }
                    lost.mark_unchanged();
                    self.health.set(Reason::Lost, false).await;
                }
                ended = &mut self.flight => {
                    return Err(Error::internal(match ended {
                        Ok(()) => "the Flight port closed by itself".to_owned(),
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
        parts.query.let_go_of_readers(&Error::new(
            Kind::Unavailable,
            "the database was opened anew after a fatal error, which ended the query",
        ));
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
        self.health.set(Reason::Stopping, true).await;
        drop(self.stop.take());
        let calls = async {
            let _ = (&mut self.flight).await;
            self.open_calls.ended().await;
        };
        let forced = tokio::select! {
            () = calls => false,
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
            self.parts.query.let_go_of_readers(&Error::new(
                Kind::Unavailable,
                "the server is stopping and interrupted the query",
            ));
            let calls = async {
                if !self.flight.is_finished() {
                    let _ = (&mut self.flight).await;
                }
                self.open_calls.ended().await;
            };
            if tokio::time::timeout(FORCED_DRAIN, calls).await.is_err() {
                // Puts that have not ended are rolled back when their calls are dropped.
                self.flight.abort();
            }
        }
        self.http.abort();
        self.sweeper.abort();
        self.looking.abort();
        self.renewing.abort();
        self.parts.watchdog.stop();
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

/// Brings health up to date with what the watchdog knows, as long as the server runs.
async fn look(parts: Arc<Parts>, health: Arc<Health>) {
    let mut ticks = tokio::time::interval(watchdog::LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = parts.watchdog.answer();
        let error = answer.as_ref().err();
        // A database that is lost is told of by whoever opens it anew.
        let is_wedged = error.is_some() && !parts.database.is_lost();
        if health.set(Reason::Wedged, is_wedged).await {
            match error {
                Some(error) => tracing::error!(%error, "the engine does not answer; health is NOT_SERVING"),
                None => tracing::info!("the engine answers again"),
            }
        }
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
