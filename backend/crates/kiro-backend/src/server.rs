//! Running the service until it is told to stop.

use std::{future::Future, io, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use axum::Router;
use kiro_store::Store;
use tokio::{net::TcpListener, runtime::Runtime, sync::Notify, time::sleep};
use tracing::{info, warn};

use crate::{app, cli::Cli, shutdown::StopSignals, state::AppState};

/// How long requests may go on after the signal to stop.
pub const GRACE_PERIOD: Duration = Duration::from_secs(5);

/// How long threads that work on the database may hold up the exit.
const LAST_WORK: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// Fails when the database or the address cannot be used.
pub fn start(cli: &Cli) -> anyhow::Result<()> {
    let runtime = Runtime::new().context("cannot start the async runtime")?;
    let outcome = runtime.block_on(run(cli));
    runtime.shutdown_timeout(LAST_WORK);
    outcome
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    let signals = StopSignals::install().context("cannot install signal handlers")?;
    let listener = listen(cli).await?;
    let store = open_store(&cli.database).await?;
    let addr = listener.local_addr()?;
    info!(%addr, database = %cli.database.display(), "listening");

    let app = app::router(AppState::new(store.clone()));
    serve_until(listener, app, signals.received()).await?;
    store.close();
    info!("stopped");
    Ok(())
}

async fn listen(cli: &Cli) -> anyhow::Result<TcpListener> {
    let addr = cli.listen_addr()?;
    TcpListener::bind(addr)
        .await
        .with_context(|| format!("cannot listen on {addr}"))
}

async fn open_store(path: &Path) -> anyhow::Result<Store> {
    Store::open(path)
        .await
        .with_context(|| format!("cannot open the database {}", path.display()))
}

/// Serves `app` until `stop` is done, then takes no new connections and gives
/// requests that are under way [`GRACE_PERIOD`] to finish.
///
/// # Errors
///
/// Fails when connections can no longer be accepted.
pub async fn serve_until<F>(listener: TcpListener, app: Router, stop: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let stopping = Arc::new(Notify::new());
    let announce = Arc::clone(&stopping);
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        stop.await;
        announce.notify_one();
    });
    tokio::select! {
        outcome = server.into_future() => outcome,
        () = grace_period_over(&stopping) => {
            warn!("requests are still under way, stopping anyway");
            Ok(())
        }
    }
}

async fn grace_period_over(stopping: &Notify) {
    stopping.notified().await;
    sleep(GRACE_PERIOD).await;
}
