//! What each route asks of its caller and what it leaves in the audit log: one line for each operation, by its id.
//!
//! A route without a line is served to nobody, and a test that walks the routes fails.

use crate::problem::Problem;
use anykey_core::{Code, Permission};
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
    key_limits           KeysRead        -;
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
    change_keys          KeysWrite       KeyBulk;
    transfer_key         KeysWrite       KeyTransfer;
    list_jobs            KeysRead        -;
    show_job             KeysRead        -;
    list_organisations   OrganisationsRead -;
    show_organisation    OrganisationsRead -;
    create_organisation  OrganisationsWrite OrganisationCreate;
    update_organisation  PolicyWrite     OrganisationUpdate;
    disable_organisation OrganisationsWrite OrganisationDisable;
    enable_organisation  OrganisationsWrite OrganisationEnable;
    delete_organisation  OrganisationsWrite OrganisationDelete;
    list_projects        ProjectsRead    -;
    show_project         ProjectsRead    -;
    create_project       ProjectsWrite   ProjectCreate;
    update_project       ProjectsWrite   ProjectUpdate;
    disable_project      ProjectsWrite   ProjectDisable;
    enable_project       ProjectsWrite   ProjectEnable;
    delete_project       ProjectsWrite   ProjectDelete;
    list_project_owners  PeopleRead      -;
    add_project_owner    PeopleWrite     ProjectOwnerAdd;
    remove_project_owner PeopleWrite     ProjectOwnerRemove;
    list_people          PeopleRead      -;
    show_person          PeopleRead      -;
    create_person        OrganisationsWrite PersonCreate;
    update_person        OrganisationsWrite PersonUpdate;
    delete_person        OrganisationsWrite PersonDelete;
    list_members         PeopleRead      -;
    show_member          PeopleRead      -;
    add_member           PeopleWrite     MemberAdd;
    update_member        PeopleWrite     MemberUpdate;
    disable_member       PeopleWrite     MemberDisable;
    enable_member        PeopleWrite     MemberEnable;
    remove_member        PeopleWrite     MemberRemove;
    list_service_accounts PeopleRead     -;
    show_service_account PeopleRead      -;
    create_service_account PeopleWrite   ServiceAccountCreate;
    update_service_account PeopleWrite   ServiceAccountUpdate;
    disable_service_account PeopleWrite  ServiceAccountDisable;
    enable_service_account PeopleWrite   ServiceAccountEnable;
    delete_service_account PeopleWrite   ServiceAccountDelete;
    list_destinations    NoticesRead     -;
    show_destination     NoticesRead     -;
    create_destination   NoticesWrite    DestinationCreate;
    update_destination   NoticesWrite    DestinationUpdate;
    delete_destination   NoticesWrite    DestinationDelete;
    test_destination     NoticesWrite    DestinationTest;
    rotate_destination   NoticesWrite    DestinationRotate;
    list_deliveries      NoticesRead     -;
    show_delivery        NoticesRead     -;
    replay_delivery      NoticesWrite    DeliveryReplay;
    list_approvals       ApprovalsRead   -;
    show_approval        ApprovalsRead   -;
    ask_approval         ApprovalsAsk    ApprovalAsk;
    withdraw_approval    ApprovalsAsk    ApprovalWithdraw;
    approve_approval     ApprovalsWrite  ApprovalGrant;
    refuse_approval      ApprovalsWrite  ApprovalRefuse;
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
    show_session         SelfRead        -;
    list_sessions        SelfRead        -;
    end_session          SelfWrite       SessionEnd;
    sign_out             SelfWrite       SessionEnd;
    change_password      SelfWrite       PasswordSet;
    begin_totp           SelfWrite       TotpBegin;
    confirm_totp         SelfWrite       TotpEnable;
    remove_totp          SelfWrite       TotpDisable;
    make_link            PeopleWrite     LinkMake;
}

/// What asks for no caller, and what it leaves in the audit log: how people come in, and reports whose signature says who
/// sends them.
const OPEN: &[(&str, Record)] = &[
    ("show_openapi", Record::Nothing),
    ("sign_in", Record::Entry(Verb::SessionBegin)),
    ("use_link", Record::Entry(Verb::LinkUse)),
    ("report_github", Record::Entry(Verb::KeyExpose)),
    ("report_scanner", Record::Entry(Verb::KeyExpose)),
];

/// What an operation leaves in the audit log.
pub(crate) fn record(operation_id: &str) -> Option<Record> {
    let open = || OPEN.iter().find(|(id, _)| *id == operation_id).map(|(_, record)| *record);
    rule(operation_id).map(|rule| rule.record).or_else(open)
}

pub(crate) fn is_open(operation_id: &str) -> bool {
    OPEN.iter().any(|(id, _)| *id == operation_id)
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

    /// The terms of a route; one without any is served to nobody.
    pub fn of_route(&self, method: &Method, route: &str) -> Result<Rule, Problem> {
        // What answers GET answers HEAD.
        let method = if *method == Method::HEAD { Method::GET } else { method.clone() };
        self.0.get(&(method, route.to_owned())).copied().ok_or_else(|| {
            tracing::error!(route, "this route has no line in the table of permissions, so it is served to nobody");
            Problem::new(Code::RoleForbidden, "Nobody may do this: the route has no permission of its own.")
        })
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

    fn routes() -> Vec<(Method, String, String)> {
        let api = crate::openapi();
        let mut found = Vec::new();
        for (path, item) in &api.paths.paths {
            for (method, operation) in operations(item) {
                found.push((method, path.clone(), operation.operation_id.clone().unwrap()));
            }
        }
        found
    }

    #[test]
    fn every_route_has_a_line_and_every_line_a_route() {
        let served: BTreeSet<String> = routes().into_iter().map(|(_, _, id)| id).collect();
        let ids = RULES.iter().map(|(id, _)| *id).chain(OPEN.iter().map(|(id, _)| *id));
        let ruled: BTreeSet<String> = ids.map(str::to_owned).collect();
        assert_eq!(served, ruled);
        assert_eq!(ruled.len(), RULES.len() + OPEN.len(), "one line each");
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
        let refused = access.of_route(&Method::GET, "/admin/v1/keys").unwrap_err();
        assert_eq!(refused.kind.status, 403);
    }
}
