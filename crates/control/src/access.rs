//! What each route asks of its caller and what it leaves in the audit log: one line for each operation, by its id.
//!
//! A route without a line is served to nobody, and a test that walks the routes fails.

use crate::problem::Problem;
use anykey_core::{Code, Permission, Role};
use anykey_store::Verb;
use axum::http::Method;
use std::collections::HashMap;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};

/// What a route leaves in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// It changes nothing.
    Nothing,
    Entry(Verb),
}

/// The terms on which a route is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub permission: Permission,
    pub record: Record,
}

macro_rules! rules {
    ($($id:ident $permission:ident $record:tt;)*) => {
        const RULES: &[(&str, Rule)] = &[
            $((stringify!($id), Rule { permission: Permission::$permission, record: record!($record) }),)*
        ];
    };
}

macro_rules! record {
    (-) => {
        Record::Nothing
    };
    ($verb:ident) => {
        Record::Entry(Verb::$verb)
    };
}

rules! {
    list_keys            KeysRead        -;
    show_key             KeysRead        -;
    find_key             KeysRead        -;
    list_exposures       KeysRead        -;
    report_exposed_keys  KeysWrite       KeyExpose;
    create_key           KeysWrite       KeyCreate;
    import_key           KeysWrite       KeyImport;
    update_key           KeysWrite       KeyUpdate;
    delete_key           KeysWrite       KeyDelete;
    disable_key          KeysWrite       KeyDisable;
    enable_key           KeysWrite       KeyEnable;
    regenerate_key       KeysWrite       KeyRegenerate;
    rotate_key           KeysWrite       KeyRotate;
    mint_temp_key        KeysWrite       KeyCreate;
    list_providers       ProvidersRead   -;
    show_provider        ProvidersRead   -;
    add_provider         ProvidersWrite  ProviderAdd;
    update_provider      ProvidersWrite  ProviderUpdate;
    remove_provider      ProvidersWrite  ProviderRemove;
    test_provider        ProvidersWrite  ProviderTest;
    list_models          ModelsRead      -;
    list_aliases         ModelsRead      -;
    set_alias            RoutingWrite    AliasSet;
    remove_alias         RoutingWrite    AliasRemove;
    show_prices          ModelsRead      -;
    show_model_prices    ModelsRead      -;
    update_prices        PricesWrite     PriceLoad;
    report_usage         UsageRead       -;
    list_requests        RequestsRead    -;
    show_request         RequestsRead    -;
    tail_requests        RequestsRead    -;
    show_status          StatusRead      -;
    list_audit           AuditRead       -;
    export_audit         AuditRead       -;
    verify_audit         AuditRead       -;
}

pub(crate) fn rule(operation_id: &str) -> Option<Rule> {
    RULES.iter().find(|(id, _)| *id == operation_id).map(|(_, rule)| *rule)
}

/// The rules by method and route, as a request meets them.
pub(crate) struct Access(HashMap<(Method, String), Rule>);

impl Access {
    pub fn of(api: &OpenApi) -> Self {
        let routes = api.paths.paths.iter().flat_map(|(path, item)| {
            operations(item).into_iter().filter_map(move |(method, operation)| {
                let rule = rule(operation.operation_id.as_deref()?)?;
                Some(((method, path.clone()), rule))
            })
        });
        Access(routes.collect())
    }

    /// Whether a role may use a route at all.
    pub fn check(&self, role: Role, method: &Method, route: &str) -> Result<Rule, Problem> {
        // What answers GET answers HEAD.
        let method = if *method == Method::HEAD { Method::GET } else { method.clone() };
        let Some(rule) = self.0.get(&(method, route.to_owned())).copied() else {
            tracing::error!(route, "this route has no line in the table of permissions, so it is served to nobody");
            return Err(Problem::new(
                Code::RoleForbidden,
                "Nobody may do this: the route has no permission of its own.",
            ));
        };
        match role.reach(rule.permission) {
            Some(_) => Ok(rule),
            None => Err(Problem::new(
                Code::RoleForbidden,
                format!("The role {} does not include {}. Ask an administrator.", role.name(), rule.permission.name()),
            )),
        }
    }
}

pub(crate) fn operations(item: &PathItem) -> Vec<(Method, &Operation)> {
    let each = [
        (Method::GET, &item.get),
        (Method::POST, &item.post),
        (Method::PUT, &item.put),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ];
    each.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// All that ask for a key. Scanners have none: they sign what they send.
    fn routes() -> Vec<(Method, String, String)> {
        let api = crate::openapi();
        let mut found = Vec::new();
        for (path, item) in api.paths.paths.iter().filter(|(path, _)| !path.contains("/secret-scanning/")) {
            for (method, operation) in operations(item) {
                found.push((method, path.clone(), operation.operation_id.clone().unwrap()));
            }
        }
        found
    }

    #[test]
    fn every_route_has_a_line_and_every_line_a_route() {
        let served: BTreeSet<String> =
            routes().into_iter().map(|(_, _, id)| id).filter(|id| id != "show_openapi").collect();
        let ruled: BTreeSet<String> = RULES.iter().map(|(id, _)| (*id).to_owned()).collect();
        assert_eq!(served, ruled);
        assert_eq!(ruled.len(), RULES.len(), "one line each");
    }

    /// Looking something up by what must not stand in a URL is the one POST that changes nothing.
    #[test]
    fn every_route_that_changes_something_is_recorded_and_asks_for_a_write() {
        for (method, path, id) in routes() {
            let Some(rule) = rule(&id) else { continue };
            let changes = method != Method::GET && id != "find_key";
            assert_eq!(rule.record != Record::Nothing, changes, "{method} {path}");
            assert_eq!(rule.permission.is_write(), changes, "{method} {path}");
        }
    }

    #[test]
    fn a_route_without_a_line_is_served_to_nobody() {
        let access = Access(HashMap::new());
        let refused = access.check(Role::Operator, &Method::GET, "/admin/v1/keys").unwrap_err();
        assert_eq!(refused.kind.status, 403);
    }
}
