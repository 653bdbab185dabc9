//! The threads that serve: one per core, each with its own runtime, connections and journal, so that calls never cross
//! threads.

use super::front::Front;
use super::metrics::MetricsService;
use super::{CUT, DRAIN, House, ServeError};
use crate::config::MetricsAt;
use anykey_gateway::Worker;
use anykey_net::ServerConfig;
use anykey_net::server::{self, Options};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// How many may ask for the figures at once.
const SCRAPERS: usize = 64;

/// What one thread serves.
struct Part {
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    journal: anykey_ledger::Writer,
    /// The listener of the figures, at one of the threads.
    metrics: Option<(TcpListener, MetricsService)>,
    stopping: watch::Receiver<bool>,
}

pub fn start(
    house: &House,
    listener: TcpListener,
    mut metrics: Option<TcpListener>,
    stopping: &watch::Receiver<bool>,
) -> Result<Vec<JoinHandle<()>>, ServeError> {
    let io = |what| move |error| ServeError::Io { what, error };
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let tls = house.certificate.as_ref().map(|certificate| certificate.server_config()).transpose()?;
    (0..count)
        .map(|n| {
            let part = Part {
                listener: listener.try_clone().map_err(io("the listener could not be shared"))?,
                tls: tls.clone(),
                journal: house.ledger.writer()?,
                metrics: metrics.take().map(|listener| (listener, MetricsService(house.metrics.clone()))),
                stopping: stopping.clone(),
            };
            let (gateway, control, admission) = (house.gateway.clone(), house.control.clone(), house.admission.clone());
            let shown = (house.settings.metrics == MetricsAt::Main).then(|| house.metrics.clone());
            std::thread::Builder::new()
                .name(format!("calls-{n}"))
                .spawn(move || {
                    serve(part, |journal| {
                        let runtime = gateway.runtime.clone();
                        Front::new(Rc::new(Worker::new(gateway, journal)), control, runtime, admission, shown)
                    });
                })
                .map_err(io("a thread could not be started"))
        })
        .collect()
}

/// One thread of the data plane, from its first connection to its last.
fn serve(part: Part, front: impl FnOnce(anykey_ledger::Writer) -> Front) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "a thread could not be started"),
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let Part { listener, tls, journal, metrics, stopping } = part;
        let front = Rc::new(front(journal));
        let sweeping = front.clone();
        tokio::task::spawn_local(async move {
            let mut tick = tokio::time::interval(Duration::from_secs(15));
            loop {
                tick.tick().await;
                sweeping.sweep();
            }
        });
        if let Some((listener, service)) = metrics {
            let options = Options { max_connections: SCRAPERS, ..Options::default() };
            let serving = server::serve(listener, None, Rc::new(service), options, stopping.clone(), CUT);
            tokio::task::spawn_local(async move {
                if let Err(error) = serving.await {
                    tracing::error!(%error, "the figures are no longer served");
                }
            });
        }
        if let Err(error) = server::serve(listener, tls, front, Options::default(), stopping, DRAIN + CUT).await {
            tracing::error!(%error, "a thread stopped serving");
        }
    });
}
