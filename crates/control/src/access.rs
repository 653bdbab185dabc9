//! What each route asks of its caller, where its object is, and what it leaves in the audit log: one line for each
//! operation, by its id. How far each role's permission reaches is the table in `anykey_core::role`.
//!
//! A route without a line is served to nobody, and a test that walks the routes fails.

use crate::problem::Problem;
use crate::routing::Operation;
use anykey_core::{Code, Permission};
use anykey_store::Verb;
use axum::http::Method;
use std::collections::HashMap;

/// What a route leaves in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// It changes nothing.
    Nothing,
    Entry(Verb),
}

/// How a route's object is found, and with it whether the caller reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// It is the installation's own: whoever reaches only a part of that may not.
    Installation,
    /// It is the same for everybody who may do it at all.
    All,
    /// There are many: the handler narrows its query to what the caller reaches.
    Each,
    /// The body names it: the handler asks whether the caller may do it there.
    Body,
    /// The path names it: it is looked for before the handler runs.
    Key,
    Organisation,
    Project,
    Member,
    Account,
    Person,
    Job,
    Request,
    Destination,
    Delivery,
    Approval,
    /// It is the caller.
    Caller,
}

impl At {
    /// As it is called where there is none.
    pub const fn noun(self) -> &'static str {
        match self {
            At::Key => "key",
            At::Organisation => "organisation",
            At::Project => "project",
            At::Member => "member",
            At::Account => "service account",
            At::Person => "person",
            At::Job => "job",
            At::Request | At::Approval => "request",
            At::Destination => "destination",
            At::Delivery => "delivery",
            At::Installation | At::All | At::Each | At::Body | At::Caller => "object",
        }
    }
}

/// The terms on which a route is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub permission: Permission,
    pub at: At,
    pub record: Record,
}

macro_rules! rules {
    ($($id:ident $permission:ident $at:ident $record:tt;)*) => {
        const RULES: &[(&str, Rule)] = &[
            $((stringify!($id), Rule { permission: Permission::$permission, at: At::$at, record: record!($record) }),)*
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
    // operation             permission         where         what it leaves
    list_keys               KeysRead           Each          -;
    show_key                KeysRead           Key           -;
    find_key                KeysRead           Body          -;
    key_limits              KeysRead           Key           -;
    list_exposures          KeysRead           Key           -;
    report_exposed_keys     KeysWrite          Body          KeyExpose;
    create_key              KeysWrite          Body          KeyCreate;
    import_key              KeysWrite          Body          KeyImport;
    update_key              KeysWrite          Key           KeyUpdate;
    delete_key              KeysWrite          Key           KeyDelete;
    disable_key             KeysWrite          Key           KeyDisable;
    enable_key              KeysWrite          Key           KeyEnable;
    regenerate_key          KeysWrite          Key           KeyRegenerate;
    rotate_key              KeysWrite          Key           KeyRotate;
    mint_temp_key           KeysWrite          Key           KeyCreate;
    change_keys             KeysWrite          Each          KeyBulk;
    transfer_key            KeysWrite          Key           KeyTransfer;
    list_jobs               KeysRead           Each          -;
    show_job                KeysRead           Job           -;
    list_organisations      OrganisationsRead  Each          -;
    show_organisation       OrganisationsRead  Organisation  -;
    create_organisation     OrganisationsWrite Installation  OrganisationCreate;
    update_organisation     PolicyWrite        Organisation  OrganisationUpdate;
    disable_organisation    OrganisationsWrite Organisation  OrganisationDisable;
    enable_organisation     OrganisationsWrite Organisation  OrganisationEnable;
    delete_organisation     OrganisationsWrite Organisation  OrganisationDelete;
    list_projects           ProjectsRead       Each          -;
    show_project            ProjectsRead       Project       -;
    create_project          ProjectsWrite      Body          ProjectCreate;
    update_project          ProjectsWrite      Project       ProjectUpdate;
    disable_project         ProjectsWrite      Project       ProjectDisable;
    enable_project          ProjectsWrite      Project       ProjectEnable;
    delete_project          ProjectsWrite      Project       ProjectDelete;
    list_project_owners     ProjectsRead       Project       -;
    list_project_members    ProjectMembersRead Project       -;
    add_project_owner       OwnersWrite        Project       ProjectOwnerAdd;
    remove_project_owner    OwnersWrite        Project       ProjectOwnerRemove;
    list_people             PeopleRead         Each          -;
    show_person             PeopleRead         Person        -;
    create_person           OrganisationsWrite Installation  PersonCreate;
    update_person           OrganisationsWrite Person        PersonUpdate;
    delete_person           OrganisationsWrite Person        PersonDelete;
    list_members            PeopleRead         Each          -;
    show_member             PeopleRead         Member        -;
    add_member              PeopleWrite        Body          MemberAdd;
    update_member           PeopleWrite        Member        MemberUpdate;
    disable_member          PeopleWrite        Member        MemberDisable;
    enable_member           PeopleWrite        Member        MemberEnable;
    remove_member           PeopleWrite        Member        MemberRemove;
    list_service_accounts   AccountsRead       Each          -;
    show_service_account    AccountsRead       Account       -;
    create_service_account  AccountsWrite      Body          ServiceAccountCreate;
    update_service_account  AccountsWrite      Account       ServiceAccountUpdate;
    disable_service_account AccountsWrite      Account       ServiceAccountDisable;
    enable_service_account  AccountsWrite      Account       ServiceAccountEnable;
    delete_service_account  AccountsWrite      Account       ServiceAccountDelete;
    list_destinations       NoticesRead        Each          -;
    show_destination        NoticesRead        Destination   -;
    create_destination      NoticesWrite       Body          DestinationCreate;
    update_destination      NoticesWrite       Destination   DestinationUpdate;
    delete_destination      NoticesWrite       Destination   DestinationDelete;
    test_destination        NoticesWrite       Destination   DestinationTest;
    rotate_destination      NoticesWrite       Destination   DestinationRotate;
    list_deliveries         NoticesRead        Each          -;
    show_delivery           NoticesRead        Delivery      -;
    replay_delivery         NoticesWrite       Delivery      DeliveryReplay;
    list_approvals          ApprovalsRead      Each          -;
    show_approval           ApprovalsRead      Approval      -;
    ask_approval            ApprovalsAsk       Body          ApprovalAsk;
    withdraw_approval       ApprovalsAsk       Approval      ApprovalWithdraw;
    collect_approval        ApprovalsAsk       Approval      KeyRegenerate;
    approve_approval        ApprovalsWrite     Approval      ApprovalGrant;
    refuse_approval         ApprovalsWrite     Approval      ApprovalRefuse;
    list_providers          ProvidersRead      Installation  -;
    show_provider           ProvidersRead      Installation  -;
    add_provider            ProvidersWrite     Installation  ProviderAdd;
    update_provider         ProvidersWrite     Installation  ProviderUpdate;
    remove_provider         ProvidersWrite     Installation  ProviderRemove;
    test_provider           ProvidersWrite     Installation  ProviderTest;
    list_models             ModelsRead         All           -;
    list_aliases            ModelsRead         All           -;
    set_alias               RoutingWrite       Installation  AliasSet;
    remove_alias            RoutingWrite       Installation  AliasRemove;
    show_prices             ModelsRead         All           -;
    show_model_prices       ModelsRead         All           -;
    update_prices           PricesWrite        Installation  PriceLoad;
    report_usage            UsageRead          Each          -;
    organisation_spend      SpendRead          Organisation  -;
    project_spend           SpendRead          Project       -;
    member_spend            MemberSpendRead    Member        -;
    service_account_spend   UsageRead          Account       -;
    list_requests           RequestsRead       Each          -;
    show_request            RequestsRead       Request       -;
    tail_requests           RequestsRead       Each          -;
    show_status             StatusRead         Installation  -;
    list_audit              AuditRead          Each          -;
    export_audit            AuditRead          Each          -;
    verify_audit            AuditRead          Installation  -;
    show_session            SelfRead           Caller        -;
    list_sessions           SelfRead           Caller        -;
    end_session             SelfWrite          Caller        SessionEnd;
    sign_out                SelfWrite          Caller        SessionEnd;
    change_password         SelfWrite          Caller        PasswordSet;
    begin_totp              SelfWrite          Caller        TotpBegin;
    confirm_totp            SelfWrite          Caller        TotpEnable;
    remove_totp             SelfWrite          Caller        TotpDisable;
    make_link               OrganisationsWrite Installation  LinkMake;
    list_issuers            StatusRead         Installation  -;
    check_issuer            StatusRead         Installation  -;
}

/// What asks for no caller, and what it leaves in the audit log: how people come in, and reports whose signature says who
/// sends them.
const OPEN: &[(&str, Record)] = &[
    ("show_openapi", Record::Nothing),
    ("sign_in", Record::Entry(Verb::SessionBegin)),
    ("use_link", Record::Entry(Verb::LinkUse)),
    ("list_sign_in_issuers", Record::Nothing),
    // Nothing is changed before somebody comes back.
    ("start_at_issuer", Record::Nothing),
    ("return_from_issuer", Record::Entry(Verb::SessionBegin)),
    ("show_second_factor", Record::Entry(Verb::SessionBegin)),
    ("logout_by_issuer", Record::Entry(Verb::SessionEnd)),
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
    pub fn of(operations: Vec<Operation>) -> Self {
        let ruled = |Operation { method, path, id }: Operation| Some(((method, path), rule(&id)?));
        Access(operations.into_iter().filter_map(ruled).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn routes() -> Vec<Operation> {
        crate::routes::operations()
    }

    #[test]
    fn every_route_has_a_line_and_every_line_a_route() {
        let served: BTreeSet<String> = routes().into_iter().map(|operation| operation.id).collect();
        let ids = RULES.iter().map(|(id, _)| *id).chain(OPEN.iter().map(|(id, _)| *id));
        let ruled: BTreeSet<String> = ids.map(str::to_owned).collect();
        assert_eq!(served, ruled);
        assert_eq!(ruled.len(), RULES.len() + OPEN.len(), "one line each");
    }

    /// Looking something up by what must not stand in a URL is the one POST that changes nothing.
    #[test]
    fn every_route_that_changes_something_is_recorded_and_asks_for_a_write() {
        for Operation { method, path, id } in routes() {
            let Some(rule) = rule(&id) else { continue };
            let changes = method != Method::GET && id != "find_key";
            assert_eq!(rule.record != Record::Nothing, changes, "{method} {path}");
            assert_eq!(rule.permission.is_write(), changes, "{method} {path}");
        }
    }

    /// What the path names is looked for before a handler runs; only what is in no organisation is not.
    #[test]
    fn a_route_with_an_id_says_what_it_is_of() {
        for Operation { method, path, id } in routes() {
            let Some(rule) = rule(&id) else { continue };
            let named = path.contains("{id}") && rule.at != At::Caller;
            let found = !matches!(rule.at, At::Installation | At::All | At::Each | At::Body | At::Caller);
            assert_eq!(named, found, "{method} {path}");
            let own = rule.permission.name().starts_with("self:");
            assert_eq!(own, rule.at == At::Caller, "{method} {path}");
        }
    }

    #[test]
    fn a_route_without_a_line_is_served_to_nobody() {
        let access = Access(HashMap::new());
        let refused = access.of_route(&Method::GET, "/admin/v1/keys").unwrap_err();
        assert_eq!(refused.kind.status, 403);
    }
}
