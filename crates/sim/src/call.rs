//! One request as the dialects see it, and what all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use parking_lot::RwLock;

use crate::SimOptions;
use crate::books::Books;
use crate::cache::PromptCache;
use crate::control::Control;
use crate::fault::{Fault, FaultKind};
use crate::model::{Kind, Model};
use crate::text::percent_decode;

/// What all requests share.
pub(crate) struct State {
    pub opts: SimOptions,
    pub books: Arc<Books>,
    pub cache: PromptCache,
    pub defaults: RwLock<Control>,
    pub seed: AtomicU64,
    flaky: AtomicU64,
}

impl State {
    pub(crate) fn new(opts: SimOptions) -> Self {
        Self {
            books: Arc::new(Books::new(opts.faults)),
            opts,
            cache: PromptCache::default(),
            defaults: RwLock::default(),
            // Ids must not repeat from one run to the next.
            seed: AtomicU64::new(now().as_nanos() as u64),
            flaky: AtomicU64::new(0),
        }
    }

    pub(crate) fn reset(&self) {
        self.books.clear();
        self.cache.clear();
        *self.defaults.write() = Control::default();
        self.flaky.store(0, Relaxed);
    }
}

pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// One request as the dialects see it.
pub(crate) struct Call<'a> {
    pub state: &'a State,
    pub headers: &'a HeaderMap,
    pub query: &'a str,
    pub body: &'a [u8],
    /// Distinct for every request; ids are drawn from it.
    pub seed: u64,
    /// Seconds since 1970.
    pub created: u64,
    pub control: Control,
}

/// The model that a request named.
pub(crate) struct Chosen {
    pub model: Model,
    /// The name as it was asked for.
    pub name: String,
    pub control: Control,
}

impl Call<'_> {
    pub(crate) fn strict(&self) -> bool {
        self.state.opts.strict
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Finds the model; models whose part is to refuse do so here.
    pub(crate) fn choose(&self, name: &str, kind: Kind, stream: bool) -> Result<Chosen, Fault> {
        let chosen = self.find(name, kind)?;
        let fault = self.staged_fault(&chosen);
        match fault {
            None => Ok(chosen),
            Some((kind, message)) => Err(Fault {
                control: Box::new(chosen.control),
                model: Some(chosen.name),
                stream,
                ..Fault::new(kind, message)
            }),
        }
    }

    fn find(&self, name: &str, kind: Kind) -> Result<Chosen, Fault> {
        let mut control = self.control;
        let mut bare = name;
        if self.state.opts.faults
            && let Some((before, suffix)) = name.split_once('?')
        {
            bare = before;
            control = Control::from_query(suffix).map_err(|bad| Fault::invalid_param("model", bad.0))?.over(control);
        }
        let control = control.over(*self.state.defaults.read());
        match bare.parse::<Model>() {
            Ok(model) if model.serves(kind) => Ok(Chosen { model, name: name.to_owned(), control }),
            _ => Err(Fault {
                control: Box::new(control),
                model: Some(name.to_owned()),
                ..Fault::new(FaultKind::ModelNotFound, bare.chars().take(64).collect::<String>())
            }),
        }
    }

    fn staged_fault(&self, chosen: &Chosen) -> Option<(FaultKind, String)> {
        let control = &chosen.control;
        let retry_after = control.retry_after.unwrap_or(7);
        if let Some(status) = control.status {
            let kind = Fault::of_status(status as u16, retry_after);
            return Some((kind, format!("The practice provider was asked to answer {status}.")));
        }
        match chosen.model {
            Model::RateLimited => Some((
                FaultKind::RateLimited { retry_after },
                format!("Rate limit reached. Please try again in {retry_after}s."),
            )),
            Model::ServerError => {
                Some((FaultKind::ServerError, "The server had an error while processing your request.".to_owned()))
            }
            Model::Unauthorized => Some((FaultKind::Unauthorized, "The credential was refused.".to_owned())),
            Model::Forbidden => Some((FaultKind::Forbidden, "The credential may not use this model.".to_owned())),
            Model::Redirect => Some((FaultKind::Redirect(self.elsewhere()), "Moved elsewhere.".to_owned())),
            Model::Flaky => {
                let every = control.every.unwrap_or(3);
                let nth = self.state.flaky.fetch_add(1, Relaxed) + 1;
                nth.is_multiple_of(every)
                    .then(|| (FaultKind::Overloaded, "The engine is overloaded, please try again later.".to_owned()))
            }
            _ => None,
        }
    }

    /// A place on this same provider, so that whoever follows the redirect is caught in its books.
    fn elsewhere(&self) -> String {
        let host = self.header("host").unwrap_or("127.0.0.1");
        format!("http://{host}/_sim/elsewhere")
    }

    /// Whether the credential that this dialect carries is the one that is required.
    pub(crate) fn check_key(&self, presented: Option<&str>) -> Result<(), Fault> {
        let Some(required) = &self.state.opts.require_key else {
            return Ok(());
        };
        match presented {
            Some(presented) if presented == required => Ok(()),
            Some(_) => Err(Fault::new(FaultKind::BadKey, "Incorrect API key provided.")),
            None => Err(Fault::new(FaultKind::MissingKey, "No API key was provided.")),
        }
    }

    /// One parameter of the query, decoded.
    pub(crate) fn query_param(&self, name: &str) -> Option<String> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| percent_decode(value).into_owned())
    }
}
