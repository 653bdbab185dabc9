//! A route and its description as one thing, so that neither exists without the other; what serves is made at the start,
//! what describes only when somebody asks for the document, because its schemas take more memory than all the rest.

use crate::App;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::MethodRouter;
use utoipa::openapi::{HttpMethod, OpenApi};
use utoipa_axum::PathItemExt;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

/// What is served at one path: an operation for each method.
pub(crate) struct Resource {
    path: String,
    serve: MethodRouter<App>,
    operations: Vec<(Method, String)>,
    describe: fn() -> UtoipaMethodRouter<App>,
}

impl Resource {
    pub fn new(describe: fn() -> UtoipaMethodRouter<App>) -> Self {
        Resource { path: String::new(), serve: MethodRouter::new(), operations: Vec::new(), describe }
    }

    /// `P` is what `#[utoipa::path]` says of the handler.
    pub fn add<P, H, T>(mut self, handler: H) -> Self
    where
        P: utoipa::Path,
        H: Handler<T, App>,
        T: 'static,
    {
        let id = P::operation().operation_id.unwrap_or_default();
        self.path = P::path();
        for method in P::methods() {
            self.serve = self.serve.on(method.to_method_filter(), handler.clone());
            self.operations.push((method_of(&method), id.clone()));
        }
        self
    }
}

fn method_of(method: &HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Options => Method::OPTIONS,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Trace => Method::TRACE,
    }
}

/// One operation of the admin API, by its place and its id.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub method: Method,
    pub path: String,
    pub id: String,
}

/// Resources, served and described below one path.
pub(crate) struct Routes {
    router: Router<App>,
    operations: Vec<Operation>,
    describe: Vec<fn() -> UtoipaMethodRouter<App>>,
}

impl Routes {
    pub fn new() -> Self {
        Routes { router: Router::new(), operations: Vec::new(), describe: Vec::new() }
    }

    pub fn routes(mut self, resource: Resource) -> Self {
        let path = resource.path;
        let operations = resource.operations.into_iter();
        self.operations.extend(operations.map(|(method, id)| Operation { method, path: path.clone(), id }));
        self.router = self.router.route(&path, resource.serve);
        self.describe.push(resource.describe);
        self
    }

    pub fn merge(mut self, other: Routes) -> Self {
        self.router = self.router.merge(other.router);
        self.operations.extend(other.operations);
        self.describe.extend(other.describe);
        self
    }

    /// Refuses longer bodies, to all that are here so far.
    pub fn body_limit(self, bytes: usize) -> Self {
        Routes { router: self.router.layer(DefaultBodyLimit::max(bytes)), ..self }
    }

    /// What serves below `base`, and the operations with their whole paths.
    pub fn serve(self, base: &str) -> (Router<App>, Vec<Operation>) {
        let whole = |operation: Operation| Operation { path: format!("{base}{}", operation.path), ..operation };
        (Router::new().nest(base, self.router), self.operations.into_iter().map(whole).collect())
    }

    /// Adds the paths below `base`, and the schemas that they name, to a document.
    pub fn describe(self, base: &str, document: OpenApi) -> OpenApi {
        let described = self.describe.into_iter().fold(OpenApiRouter::new(), |all, one| all.routes(one()));
        OpenApiRouter::with_openapi(document).nest(base, described).into_openapi()
    }
}

/// `routes!(list, make::create)`: the handlers of one path, each with the description that `#[utoipa::path]` made of it.
macro_rules! routes {
    ($($first:ident $(:: $second:ident)?),+ $(,)?) => {{
        let resource = $crate::routing::Resource::new(|| utoipa_axum::routes!($($first $(:: $second)?),+));
        $(let resource = $crate::routing::operation!(resource, $first $(:: $second)?);)+
        resource
    }};
}

macro_rules! operation {
    ($resource:ident, $handler:ident) => {
        pastey::paste! { $resource.add::<[<__path_ $handler>], _, _>($handler) }
    };
    ($resource:ident, $module:ident :: $handler:ident) => {
        pastey::paste! { $resource.add::<$module::[<__path_ $handler>], _, _>($module::$handler) }
    };
}

pub(crate) use {operation, routes};
