//! What each kind of caller may do with each route, as people were promised it: written by hand, so that it and the tables
//! of the program have to agree.
//!
//! A cell names what is reached, in words that the things of [`super::world`] bear: `org`, everything in their
//! organisation; `proj`, everything in the project that they own; `own`, what is theirs; `all`, whatever it is of; `-`,
//! nothing, which is said at once and whatever the path names.

/// How a route is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Try {
    /// With the id of each thing of this kind in the path.
    Path(Kind),
    /// As a list of such things.
    List(Kind),
    /// With bodies that name places.
    Make,
    /// As it is: everybody who may do it gets the same.
    Once,
    /// By people, about themselves; a key may not.
    Self_,
    /// By anybody.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
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
    /// Keys that usage or requests are shown of.
    Use,
    /// Organisations that entries of the audit log are of.
    Entry,
}

pub struct Row {
    pub operation: &'static str,
    pub how: Try,
    cells: [&'static str; 6],
}

/// Beside operators, who may do everything, in the order of the columns. `AdminKey` and `ProjectKey` are keys with the
/// scopes admin:organisation and admin:project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    Operator,
    RootKey,
    Admin,
    AdminKey,
    Owner,
    ProjectKey,
    Member,
    Viewer,
    Auditor,
    /// Of the other organisation.
    FarAdmin,
    /// Signed in, and nothing anywhere.
    Nobody,
}

impl Who {
    pub const ALL: [Who; 11] = [
        Who::Operator,
        Who::RootKey,
        Who::Admin,
        Who::AdminKey,
        Who::Owner,
        Who::ProjectKey,
        Who::Member,
        Who::Viewer,
        Who::Auditor,
        Who::FarAdmin,
        Who::Nobody,
    ];

    pub fn is_key(self) -> bool {
        matches!(self, Who::RootKey | Who::AdminKey | Who::ProjectKey)
    }

    pub fn operates(self) -> bool {
        matches!(self, Who::Operator | Who::RootKey)
    }
}

impl Row {
    /// What they reach; `None` where they may not at all.
    pub fn cell(&self, who: Who) -> Option<Vec<&'static str>> {
        let cell = match who {
            Who::Operator | Who::RootKey => "all",
            Who::Admin | Who::AdminKey => self.cells[0],
            Who::Owner => self.cells[1],
            Who::ProjectKey => self.cells[2],
            Who::Member => self.cells[3],
            Who::Viewer => self.cells[4],
            Who::Auditor => self.cells[5],
            // What an admin reaches, on the other side.
            Who::FarAdmin if self.cells[0] == "org" => "far",
            Who::FarAdmin => self.cells[0],
            Who::Nobody => "-",
        };
        let whose = |word| match (word, who) {
            ("own", Who::Owner) => "owner's",
            ("own", Who::Viewer) => "viewer's",
            ("own", _) => "member's",
            _ => word,
        };
        (cell != "-").then(|| cell.split(' ').map(whose).collect())
    }
}

use Kind::*;
use Try::*;

const fn row(operation: &'static str, how: Try, cells: [&'static str; 6]) -> Row {
    Row { operation, how, cells }
}

const NONE: [&str; 6] = ["-"; 6];
const ALL: [&str; 6] = ["all"; 6];

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    //                                                     admin   owner       project key member  viewer  auditor
    row("list_keys",               List(Key),             ["org", "proj own", "proj",     "own",  "-",    "org"]),
    row("show_key",                Path(Key),             ["org", "proj own", "proj",     "own",  "-",    "org"]),
    row("key_limits",              Path(Key),             ["org", "proj own", "proj",     "own",  "-",    "org"]),
    row("list_exposures",          Path(Key),             ["org", "proj own", "proj",     "own",  "-",    "org"]),
    row("find_key",                Make,                  ["org", "proj own", "proj",     "own",  "-",    "org"]),
    row("create_key",              Make,                  ["org", "proj own", "proj",     "own",  "-",    "-"]),
    row("import_key",              Make,                  ["org", "proj own", "proj",     "own",  "-",    "-"]),
    row("report_exposed_keys",     Make,                  ["org", "proj own", "proj",     "own",  "-",    "-"]),
    row("change_keys",             Make,                  ["org", "proj own", "proj",     "own",  "-",    "-"]),
    row("update_key",              Path(Key),             ["org", "proj own", "proj",     "own",  "-",    "-"]),
    row("delete_key",              Path(Key),             ["org", "proj own", "proj",     "own",  "-",    "-"]),
    row("disable_key",             Path(Key),             ["org", "proj own", "proj",     "own",  "-",    "-"]),
    row("enable_key",              Path(Key),             ["org", "proj own", "proj",     "own",  "-",    "-"]),
    row("regenerate_key",          Path(Key),             ["org", "proj own", "proj",     "own",  "-",    "-"]),
    row("rotate_key",              Path(Key),             ["org", "proj own", "proj",     "own",  "-",    "-"]),
    row("mint_temp_key",           Path(Key),             ["org", "proj own", "proj",     "own",  "-",    "-"]),
    row("transfer_key",            Path(Key),             ["org", "proj own", "proj",     "own",  "-",    "-"]),
    row("list_jobs",               List(Job),             ["org", "none",     "none",     "none", "-",    "org"]),
    row("show_job",                Path(Job),             ["org", "none",     "none",     "none", "-",    "org"]),
    row("list_organisations",      List(Organisation),    ["org", "org",      "org",      "org",  "org",  "org"]),
    row("show_organisation",       Path(Organisation),    ["org", "org",      "org",      "org",  "org",  "org"]),
    row("create_organisation",     Make,                  NONE),
    row("update_organisation",     Path(Organisation),    ["org", "-",        "-",        "-",    "-",    "-"]),
    row("disable_organisation",    Path(Organisation),    NONE),
    row("enable_organisation",     Path(Organisation),    NONE),
    row("delete_organisation",     Path(Organisation),    NONE),
    row("list_projects",           List(Project),         ["org", "org",      "org",      "org",  "org",  "org"]),
    row("show_project",            Path(Project),         ["org", "org",      "org",      "org",  "org",  "org"]),
    row("list_project_owners",     Path(Project),         ["org", "org",      "org",      "org",  "org",  "org"]),
    row("list_project_members",    Path(Project),         ["org", "proj",     "proj",     "-",    "-",    "org"]),
    row("create_project",          Make,                  ["org", "-",        "-",        "-",    "-",    "-"]),
    row("update_project",          Path(Project),         ["org", "-",        "-",        "-",    "-",    "-"]),
    row("disable_project",         Path(Project),         ["org", "-",        "-",        "-",    "-",    "-"]),
    row("enable_project",          Path(Project),         ["org", "-",        "-",        "-",    "-",    "-"]),
    row("delete_project",          Path(Project),         ["org", "-",        "-",        "-",    "-",    "-"]),
    row("add_project_owner",       Path(Project),         ["org", "proj",     "proj",     "-",    "-",    "-"]),
    row("remove_project_owner",    Path(Project),         ["org", "proj",     "proj",     "-",    "-",    "-"]),
    row("list_people",             List(Person),          ["org", "org",      "org",      "own",  "-",    "org"]),
    row("show_person",             Path(Person),          ["org", "org",      "org",      "own",  "-",    "org"]),
    row("create_person",           Make,                  NONE),
    row("update_person",           Path(Person),          NONE),
    row("delete_person",           Path(Person),          NONE),
    row("list_members",            List(Kind::Member),    ["org", "org",      "org",      "own",  "-",    "org"]),
    row("show_member",             Path(Kind::Member),    ["org", "org",      "org",      "own",  "-",    "org"]),
    row("add_member",              Make,                  ["org", "-",        "-",        "-",    "-",    "-"]),
    row("update_member",           Path(Kind::Member),    ["org", "-",        "-",        "-",    "-",    "-"]),
    row("disable_member",          Path(Kind::Member),    ["org", "-",        "-",        "-",    "-",    "-"]),
    row("enable_member",           Path(Kind::Member),    ["org", "-",        "-",        "-",    "-",    "-"]),
    row("remove_member",           Path(Kind::Member),    ["org", "-",        "-",        "-",    "-",    "-"]),
    row("list_service_accounts",   List(Account),         ["org", "proj",     "proj",     "-",    "-",    "org"]),
    row("show_service_account",    Path(Account),         ["org", "proj",     "proj",     "-",    "-",    "org"]),
    row("create_service_account",  Make,                  ["org", "proj",     "proj",     "-",    "-",    "-"]),
    row("update_service_account",  Path(Account),         ["org", "proj",     "proj",     "-",    "-",    "-"]),
    row("disable_service_account", Path(Account),         ["org", "proj",     "proj",     "-",    "-",    "-"]),
    row("enable_service_account",  Path(Account),         ["org", "proj",     "proj",     "-",    "-",    "-"]),
    row("delete_service_account",  Path(Account),         ["org", "proj",     "proj",     "-",    "-",    "-"]),
    row("list_destinations",       List(Destination),     ["org", "-",        "-",        "-",    "-",   "org"]),
    row("show_destination",        Path(Destination),     ["org", "-",        "-",        "-",    "-",   "org"]),
    row("create_destination",      Make,                  ["org", "-",        "-",        "-",    "-",   "-"]),
    row("update_destination",      Path(Destination),     ["org", "-",        "-",        "-",    "-",   "-"]),
    row("delete_destination",      Path(Destination),     ["org", "-",        "-",        "-",    "-",   "-"]),
    row("test_destination",        Path(Destination),     ["org", "-",        "-",        "-",    "-",   "-"]),
    row("rotate_destination",      Path(Destination),     ["org", "-",        "-",        "-",    "-",   "-"]),
    row("list_deliveries",         List(Delivery),        ["org", "-",        "-",        "-",    "-",   "org"]),
    row("show_delivery",           Path(Delivery),        ["org", "-",        "-",        "-",    "-",   "org"]),
    row("replay_delivery",         Path(Delivery),        ["org", "-",        "-",        "-",    "-",   "-"]),
    row("list_approvals",          List(Approval),        ["org", "proj own", "proj",     "own",  "own",  "org"]),
    row("show_approval",           Path(Approval),        ["org", "proj own", "proj",     "own",  "own",  "org"]),
    row("ask_approval",            Make,                  ["org", "proj own", "proj",     "own",  "own",  "-"]),
    row("withdraw_approval",       Path(Approval),        ["org", "proj own", "proj",     "own",  "own",  "-"]),
    row("collect_approval",        Path(Approval),        ["org", "proj own", "proj",     "own",  "own",  "-"]),
    row("approve_approval",        Path(Approval),        ["org", "proj",     "proj",     "-",    "-",   "-"]),
    row("refuse_approval",         Path(Approval),        ["org", "proj",     "proj",     "-",    "-",   "-"]),
    row("list_providers",          Once,                  NONE),
    row("show_provider",           Once,                  NONE),
    row("add_provider",            Once,                  NONE),
    row("update_provider",         Once,                  NONE),
    row("remove_provider",         Once,                  NONE),
    row("test_provider",           Once,                  NONE),
    row("list_models",             Once,                  ALL),
    row("list_aliases",            Once,                  ALL),
    row("set_alias",               Once,                  NONE),
    row("remove_alias",            Once,                  NONE),
    row("show_prices",             Once,                  ALL),
    row("show_model_prices",       Once,                  ALL),
    row("update_prices",           Once,                  NONE),
    row("report_usage",            List(Use),             ["org", "proj own", "proj",     "own",  "org",  "org"]),
    row("organisation_spend",      Path(Organisation),    ["org", "none",     "none",     "none", "org",  "org"]),
    row("project_spend",           Path(Project),         ["org", "proj",     "proj",     "none", "org",  "org"]),
    row("member_spend",            Path(Kind::Member),    ["org", "own",      "-",        "own",  "-",    "org"]),
    row("service_account_spend",   Path(Account),         ["org", "proj",     "proj",     "none", "org",  "org"]),
    row("list_requests",           List(Use),             ["org", "proj own", "proj",     "own",  "-",    "org"]),
    row("tail_requests",           Once,                  ["all", "all",      "all",      "all",  "-",    "all"]),
    row("show_request",            Path(Request),         ["org", "proj own", "proj",     "own",  "-",    "org"]),
    row("show_status",             Once,                  NONE),
    row("list_audit",              List(Entry),           ["org", "-",        "-",        "-",    "-",    "org"]),
    row("export_audit",            List(Entry),           ["org", "-",        "-",        "-",    "-",    "org"]),
    row("verify_audit",            Once,                  NONE),
    row("list_issuers",            Once,                  NONE),
    row("check_issuer",            Once,                  NONE),
    row("make_link",               Make,                  NONE),
    row("show_session",            Self_,                 ALL),
    row("list_sessions",           Self_,                 ALL),
    row("end_session",             Self_,                 ALL),
    row("sign_out",                Self_,                 ALL),
    row("change_password",         Self_,                 ALL),
    row("begin_totp",              Self_,                 ALL),
    row("confirm_totp",            Self_,                 ALL),
    row("remove_totp",             Self_,                 ALL),
    row("show_openapi",            Open,                  ALL),
    row("sign_in",                 Open,                  ALL),
    row("use_link",                Open,                  ALL),
    row("report_github",           Open,                  ALL),
    row("report_scanner",          Open,                  ALL),
    row("list_sign_in_issuers",    Open,                  ALL),
    row("start_at_issuer",         Open,                  ALL),
    row("return_from_issuer",      Open,                  ALL),
    row("show_second_factor",      Open,                  ALL),
    row("logout_by_issuer",        Open,                  ALL),
];
