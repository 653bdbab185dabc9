//! The path of a call, on one screen: each step consumes what the one before it made, and none can be left out.

use crate::identify::{self, Caller, Marks};
use crate::observe::Unrecorded;
use crate::policy::{self, Allowed};
use crate::relay::{self, Relay};
use crate::route::Way;
use crate::settle::Ticket;
use crate::upstream::Won;
use crate::{Worker, hold, intake, limit, measure, own, route, translate, upstream};
use anykey_core::controls::Client;
use anykey_core::endpoint::{self, Hints, NoRoute, Route};
use anykey_core::record::Outcome;
use anykey_core::{Code, Dialect, Endpoint, Refusal, RequestId};
use anykey_net::server::{Admission, Answer, Service};
use anykey_net::{Fault, RequestHead};
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

/// The largest body that is taken; Anthropic's own limit.
pub(crate) const BODY_LIMIT: u64 = 32 << 20;

/// The largest body that asks for a temporary key.
const MINT_LIMIT: u64 = 64 << 10;

/// A caller who may come in, and the ticket that will say what became of the call.
pub struct Admitted {
    allowed: Allowed,
    ticket: Box<Ticket>,
    client: Client,
}

/// One thread's door to the data plane.
pub struct Calls(pub Rc<Worker>);

impl Service for Calls {
    type Body = Relay;
    type State = Admitted;

    /// Steps 1 to 4: where to, who is it, and may they? By the head alone.
    async fn admit(&self, head: &RequestHead, peer: SocketAddr) -> Admission<Admitted, Relay> {
        let id = self.0.new_id();
        let marks = identify::read(head);
        let hints = Hints { anthropic_version: marks.anthropic_version, goog: marks.goog };
        let dialect = endpoint::dialect_of(head.path(), hints);
        if let Some(answer) = preflight(head, &marks, hints, id, dialect) {
            return Admission::Answer(answer);
        }
        let client = identify::client(head, peer.ip(), &self.0.gateway.options.trusted_proxies);
        let away = |refusal: &Refusal, endpoint| self.turned_away(id, endpoint, dialect, Some(client.address), refusal);
        let route = match route_of(head, hints) {
            Ok(route) => route,
            Err((refusal, methods)) => {
                away(&refusal, None);
                let answer = own::refuse(&refusal, dialect, id);
                return Admission::Answer(if methods.is_empty() { answer } else { answer.with("allow", methods) });
            }
        };
        if self.0.gateway.is_stopping() {
            let refusal = Refusal::new(Code::ShuttingDown, "The gateway is being restarted. Send the request again.");
            away(&refusal, Some(route.endpoint));
            return Admission::Answer(own::refuse(&refusal.retry_after(1), route.dialect, id));
        }
        let caller = match identify::identify(&self.0, &marks, client.address, route.dialect).await {
            Ok(caller) => caller,
            Err(refusal) => {
                away(&refusal, Some(route.endpoint));
                return Admission::Answer(refuse(&refusal, head, &route, id));
            }
        };
        let now_ms = self.0.now_ms();
        let mut ticket = Ticket::open(self.0.clone(), caller.key.clone(), &route, id, client.address, now_ms);
        ticket.came_from(marks.origin);
        match policy::check(caller, route.clone(), &marks, client, now_ms) {
            Ok(allowed) => {
                let body_limit = match route.endpoint {
                    endpoint if endpoint.is_read() => 0,
                    endpoint if endpoint.is_minting() => MINT_LIMIT,
                    _ => BODY_LIMIT,
                };
                Admission::Accept { state: Admitted { allowed, ticket, client }, body_limit }
            }
            Err((Caller { key }, refusal)) => {
                ticket.refused(&refusal);
                let mut answer = refuse(&refusal, head, &route, id);
                limit::stamp(&self.0, &key, None, route.dialect, &mut answer);
                Admission::Answer(answer)
            }
        }
    }

    /// Steps 5 to 7, with the body.
    async fn call(&self, head: &RequestHead, admitted: Admitted, body: Bytes) -> Answer<Relay> {
        let Admitted { allowed: Allowed { key, route, .. }, ticket, client } = admitted;
        let id = ticket.id();
        let query = head.query().unwrap_or_default();
        let answered = if route.endpoint.is_read() {
            let answered = match route.endpoint {
                Endpoint::ModelList | Endpoint::ModelGet => {
                    own::models(&self.0.table(), &key.bounds, &route, query, id, self.0.now_ms())
                }
                Endpoint::KeySelf => Box::pin(own::about_key(&self.0, &key, id)).await,
                _ => Box::pin(own::generation(&self.0, &key, &route, query, id)).await,
            };
            unrecorded(ticket, &answered);
            answered.map(|mut answer| {
                limit::stamp(&self.0, &key, None, route.dialect, &mut answer);
                answer
            })
        } else if route.endpoint.is_minting() {
            let answered = Box::pin(own::mint(&self.0, &key, route.endpoint, &body, client, id)).await;
            unrecorded(ticket, &answered);
            answered
        } else {
            self.0.forward(head, route.clone(), ticket, body).await
        };
        let mut answer = answered.unwrap_or_else(|refusal| {
            let mut answer = refuse(&refusal, head, &route, id);
            limit::stamp(&self.0, &key, None, route.dialect, &mut answer);
            answer
        });
        if identify::has_key(query) {
            answer.field("referrer-policy", b"no-referrer");
            answer.field("cache-control", b"no-store");
        }
        answer
    }

    fn connections(&self, change: i64) {
        self.0.observer.connections(change);
    }

    fn refuse(&self, head: Option<&RequestHead>, state: Option<Admitted>, fault: Fault) -> Answer<Relay> {
        let refusal = of_fault(fault);
        let dialect = match (&state, head) {
            (Some(admitted), _) => admitted.allowed.route.dialect,
            (None, Some(head)) => endpoint::dialect_of(head.path(), Hints::default()),
            (None, None) => Dialect::OpenAi,
        };
        let id = match state {
            Some(mut admitted) => {
                admitted.ticket.refused(&refusal);
                admitted.ticket.id()
            }
            None => {
                let id = self.0.new_id();
                self.turned_away(id, None, dialect, None, &refusal);
                id
            }
        };
        let mut answer = own::refuse(&refusal, dialect, id);
        answer.close = true;
        answer
    }
}

/// Who has answered a call.
enum Done {
    There(Won),
    /// anykey itself, with this body.
    Here(Bytes),
}

impl Calls {
    /// A stranger leaves no record, but is counted and logged.
    fn turned_away(
        &self,
        request: RequestId,
        endpoint: Option<Endpoint>,
        dialect: Dialect,
        client: Option<IpAddr>,
        refusal: &Refusal,
    ) {
        self.0.observer.unrecorded(&Unrecorded {
            request,
            endpoint,
            dialect,
            key: None,
            client,
            started_at: self.0.now_ms(),
            total_us: 0,
            status: refusal.status(),
            outcome: Outcome::Refused,
            code: refusal.code.name(),
        });
    }
}

/// Ends the ticket of a call that was answered here and leaves no record.
fn unrecorded(ticket: Box<Ticket>, answered: &Result<Answer<Relay>, Refusal>) {
    match answered {
        Ok(answer) => ticket.answered(answer.status, ""),
        Err(refusal) => ticket.answered(refusal.status(), refusal.code.name()),
    }
}

impl Worker {
    /// Whether the request bears a key that is known here, whatever it may do: strangers are not read a body of.
    pub async fn knows(&self, head: &RequestHead, peer: IpAddr) -> bool {
        let client = identify::client(head, peer, &self.gateway.options.trusted_proxies);
        identify::identify(self, &identify::read(head), client.address, Dialect::OpenAi).await.is_ok()
    }

    /// From an admitted body to a provider's answer on its way down.
    async fn forward(
        self: &Rc<Self>,
        head: &RequestHead,
        route: Route,
        mut ticket: Box<Ticket>,
        body: Bytes,
    ) -> Result<Answer<Relay>, Refusal> {
        let bytes_in = body.len() as u64;
        let sent = async {
            self.journal.admit().map_err(Worker::unavailable)?;
            let call = intake::read(route, body, head.headers.get("content-type"))?;
            ticket.asked(&call.model, call.stream, bytes_in);
            let plan = route::plan(&self.table(), &call, self.now_ms())?;
            policy::check_model(&ticket.key.bounds, &call.model, plan.target())?;
            let call = match plan.way {
                Way::Verbatim | Way::Estimated => call,
                Way::Embedded(shape) => translate::embedding(call, &plan, shape, ticket.id())?,
                Way::Translated(api) => translate::request(call, &plan, api, head.query(), ticket.id(), self.now_ms())?,
            };
            let call = if call.head.items.is_some() { measure::prepare(call, &plan)? } else { call };
            ticket.measured(call.measured.as_ref());
            let permit = limit::take(self, &ticket.key, &call, &plan).await?;
            ticket.permitted(permit);
            let counted = limit::count(self, &ticket.key).await?;
            if plan.way == Way::Estimated {
                let count = translate::estimate(&call, head.query(), ticket.id(), self.now_ms())?;
                counted.sent();
                return Ok((call, plan, Done::Here(count)));
            }
            let (held, call) = hold::take_or_shorten(self, &ticket.key, call, &plan, ticket.started_at()).await?;
            ticket.attempt(&plan, held)?;
            counted.sent();
            if let Some(durable) = ticket.durable() {
                durable.await?;
            }
            let won = upstream::send(self, &mut ticket, &call, &plan, &head.headers, head.query()).await?;
            Ok((call, plan, Done::There(won)))
        }
        .await;
        let (call, plan, done) = sent.inspect_err(|refusal| ticket.refused(refusal))?;
        let (key, dialect) = (ticket.key.clone(), call.dialect());
        let mut answer = match done {
            Done::There(won) => relay::relay(ticket, &call, &plan, won).await?,
            Done::Here(count) => Box::pin(own::estimated(ticket, dialect, count)).await?,
        };
        limit::stamp(self, &key, Some(plan.target()), dialect, &mut answer);
        Ok(answer)
    }
}

fn preflight(
    head: &RequestHead,
    marks: &Marks<'_>,
    hints: Hints,
    id: RequestId,
    dialect: Dialect,
) -> Option<Answer<Relay>> {
    if head.method != http::Method::OPTIONS {
        return None;
    }
    let wanted = head.headers.get_str("access-control-request-method")?;
    endpoint::route(wanted, head.path(), hints).ok()?;
    Some(own::preflight(marks.origin?, id, dialect))
}

/// Where a request goes; else why nowhere, and the methods that its path is called with.
fn route_of(head: &RequestHead, hints: Hints) -> Result<Route, (Refusal, &'static str)> {
    if matches!(head.method, http::Method::TRACE | http::Method::CONNECT) {
        return Err((Refusal::new(Code::MethodNotAllowed, "This method is not served here."), "GET, POST"));
    }
    endpoint::route(head.method.as_str(), head.path(), hints).map_err(|no| match no {
        NoRoute::NotFound => {
            let message = "There is no such path here. See the list of endpoints in the documentation.";
            (Refusal::new(Code::NotFound, message), "")
        }
        NoRoute::BadEncoding => {
            let message = "The path holds a percent escape that is broken or not UTF-8.";
            (Refusal::new(Code::InvalidParameter, message), "")
        }
        NoRoute::MethodNotAllowed(method) => {
            (Refusal::new(Code::MethodNotAllowed, format!("This path is called with {method}.")), method)
        }
    })
}

/// A refusal in the shape that the caller of this route reads.
fn refuse(refusal: &Refusal, head: &RequestHead, route: &Route, id: RequestId) -> Answer<Relay> {
    if translate::wants_array(route.endpoint, head.query()) {
        own::refuse_array(refusal, id)
    } else {
        own::refuse(refusal, route.dialect, id)
    }
}

fn of_fault(fault: Fault) -> Refusal {
    match fault {
        Fault::Malformed(what) => {
            Refusal::new(Code::InvalidParameter, format!("The request is not well-formed HTTP: {what}."))
        }
        Fault::AmbiguousFraming(what) => Refusal::new(
            Code::AmbiguousFraming,
            format!("Where the body ends could be read in two ways: {what}. Send one Content-Length, or chunks."),
        ),
        Fault::UriTooLong => Refusal::new(Code::UriTooLong, "The request's URL is too long."),
        Fault::HeadersTooLarge => {
            Refusal::new(Code::HeadersTooLarge, "The request's headers are too many or too large.")
        }
        Fault::BodyTooLarge => Refusal::new(Code::BodyTooLarge, "The body is larger than this path takes."),
        Fault::Timeout => Refusal::new(Code::RequestTimeout, "The request did not arrive in time."),
    }
}
