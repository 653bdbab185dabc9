//! What people may do: roles, permissions, and the one table that says how far each role's permission reaches.

/// What somebody is, in the installation or in an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Runs the installation: providers, prices, organisations, and what is in them.
    Operator,
    /// Runs an organisation: its people, projects, keys and policy.
    Admin,
    /// Runs the projects that they own, and the keys in them.
    ProjectOwner,
    /// Makes and uses keys of their own.
    Member,
    /// Sees spend and usage, never what was said.
    Viewer,
    /// Sees everything of an organisation and changes nothing.
    Auditor,
}

/// How far a permission reaches. The order is from narrow to wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reach {
    /// What is theirs.
    Own,
    /// What is in the projects that they own.
    Projects,
    /// What is in their organisation.
    Organisation,
    /// Everything.
    Installation,
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $variant:ident $name:literal, [$($reach:tt)*];)*) => {
        /// One kind of thing that a route of the admin API lets somebody do. A route asks for exactly one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Permission { $($(#[$doc])* $variant,)* }

        impl Permission {
            pub const ALL: &[Permission] = &[$(Permission::$variant),*];

            pub const fn name(self) -> &'static str {
                match self { $(Permission::$variant => $name,)* }
            }

            /// In the order of [`Role::ALL`].
            const fn reaches(self) -> [Option<Reach>; 6] {
                match self { $(Permission::$variant => reaches!($($reach)*),)* }
            }
        }
    };
}

/// `I`nstallation, `O`rganisation, `P`rojects, `own`, or `no`.
macro_rules! reaches {
    ($($word:ident)*) => { [$(reach!($word)),*] };
}

macro_rules! reach {
    (I) => {
        Some(Reach::Installation)
    };
    (O) => {
        Some(Reach::Organisation)
    };
    (P) => {
        Some(Reach::Projects)
    };
    (own) => {
        Some(Reach::Own)
    };
    (no) => {
        None
    };
}

permissions! {
    //                                              Operator Admin ProjectOwner Member Viewer Auditor
    KeysRead "keys:read",                           [I       O     P            own    no     O];
    KeysWrite "keys:write",                         [I       O     P            own    no     no];
    ProjectsRead "projects:read",                   [I       O     O            O      O      O];
    /// Making, bounding and ending projects. Who owns one manages what is in it.
    ProjectsWrite "projects:write",                 [I       O     no           no     no     no];
    /// Who owns a project.
    OwnersWrite "owners:write",                     [I       O     P            no     no     no];
    /// Who is in a project.
    ProjectMembersRead "project-members:read",      [I       O     P            no     no     O];
    /// People of an organisation and their roles.
    PeopleRead "people:read",                       [I       O     O            own    no     O];
    PeopleWrite "people:write",                     [I       O     no           no     no     no];
    AccountsRead "service-accounts:read",           [I       O     P            no     no     O];
    AccountsWrite "service-accounts:write",         [I       O     P            no     no     no];
    OrganisationsRead "organisations:read",         [I       O     O            O      O      O];
    /// Making and ending organisations, and the people of the installation.
    OrganisationsWrite "organisations:write",       [I       no    no           no     no     no];
    /// What an organisation allows inside it.
    PolicyWrite "policy:write",                     [I       O     no           no     no     no];
    /// Requests for more than a key has, and for keys.
    ApprovalsRead "approvals:read",                 [I       O     P            own    own    O];
    /// Asking. Who may not make a key asks for one.
    ApprovalsAsk "approvals.ask:write",             [I       O     P            own    own    no];
    /// Deciding.
    ApprovalsWrite "approvals:write",               [I       O     P            no     no     no];
    /// Where notices go to, and what became of them.
    NoticesRead "notices:read",                     [I       O     no           no     no     O];
    NoticesWrite "notices:write",                   [I       O     no           no     no     no];
    ProvidersRead "providers:read",                 [I       no    no           no     no     no];
    ProvidersWrite "providers:write",               [I       no    no           no     no     no];
    /// Models, their other names, and what they cost.
    ModelsRead "models:read",                       [I       O     O            O      O      O];
    RoutingWrite "routing:write",                   [I       no    no           no     no     no];
    PricesWrite "prices:write",                     [I       no    no           no     no     no];
    UsageRead "usage:read",                         [I       O     P            own    O      O];
    /// What an organisation or a project has spent as a whole, and what is left of its limits.
    SpendRead "spend:read",                         [I       O     P            own    O      O];
    /// The same of a member; whoever does not see people does not see this.
    MemberSpendRead "spend.members:read",           [I       O     own          own    no     O];
    /// Single calls: who, when, how much; never what was said.
    RequestsRead "requests:read",                   [I       O     P            own    no     O];
    StatusRead "status:read",                       [I       no    no           no     no     no];
    AuditRead "audit:read",                         [I       O     no           no     no     O];
    /// One's own password, second factor and sessions.
    SelfRead "self:read",                           [own     own   own          own    own    own];
    SelfWrite "self:write",                         [own     own   own          own    own    own];
}

impl Role {
    pub const ALL: [Role; 6] =
        [Role::Operator, Role::Admin, Role::ProjectOwner, Role::Member, Role::Viewer, Role::Auditor];

    pub const fn name(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::Admin => "admin",
            Role::ProjectOwner => "project_owner",
            Role::Member => "member",
            Role::Viewer => "viewer",
            Role::Auditor => "auditor",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// How far this role may do that; `None` is not at all.
    pub const fn reach(self, permission: Permission) -> Option<Reach> {
        permission.reaches()[self as usize]
    }
}

impl Permission {
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|permission| permission.name() == name)
    }

    /// The permission by which somebody sees what this one lets them change, or look into. What one sees and may not
    /// change is refused; what one does not see is not there.
    pub const fn to_see(self) -> Permission {
        match self {
            Permission::KeysWrite => Permission::KeysRead,
            Permission::ProjectsWrite | Permission::OwnersWrite | Permission::ProjectMembersRead => {
                Permission::ProjectsRead
            }
            Permission::SpendRead => Permission::ProjectsRead,
            Permission::PeopleWrite | Permission::MemberSpendRead => Permission::PeopleRead,
            Permission::AccountsWrite => Permission::AccountsRead,
            Permission::OrganisationsWrite | Permission::PolicyWrite => Permission::OrganisationsRead,
            Permission::NoticesWrite => Permission::NoticesRead,
            Permission::ApprovalsAsk | Permission::ApprovalsWrite => Permission::ApprovalsRead,
            Permission::ProvidersWrite => Permission::ProvidersRead,
            Permission::RoutingWrite | Permission::PricesWrite => Permission::ModelsRead,
            Permission::SelfWrite => Permission::SelfRead,
            read => read,
        }
    }

    /// Whether it lets something be changed.
    pub fn is_write(self) -> bool {
        self.name().ends_with(":write")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.name()), Some(role));
        }
        for permission in Permission::ALL {
            assert_eq!(Permission::from_name(permission.name()), Some(*permission));
        }
        assert_eq!(Role::from_name("root"), None);
    }

    #[test]
    fn who_only_looks_changes_nothing_but_their_own_access() {
        for permission in Permission::ALL.iter().filter(|permission| permission.is_write()) {
            for role in [Role::Viewer, Role::Auditor] {
                let reach = role.reach(*permission);
                let asks = role == Role::Viewer && *permission == Permission::ApprovalsAsk;
                assert!(reach.is_none() || *permission == Permission::SelfWrite || asks, "{role:?} {permission:?}");
            }
        }
    }

    #[test]
    fn only_the_operator_reaches_beyond_an_organisation() {
        for role in Role::ALL {
            for permission in Permission::ALL {
                let beyond = role.reach(*permission) == Some(Reach::Installation);
                assert!(!beyond || role == Role::Operator, "{role:?} {permission:?}");
            }
        }
        for permission in Permission::ALL.iter().filter(|permission| !permission.name().starts_with("self:")) {
            assert_eq!(Role::Operator.reach(*permission), Some(Reach::Installation), "{permission:?}");
        }
    }

    /// Operator, Admin, Project Owner, Member: each may do what the next may, at least as far.
    #[test]
    fn who_is_above_may_do_what_who_is_below_may() {
        let ladder = [Role::Operator, Role::Admin, Role::ProjectOwner, Role::Member];
        for pair in ladder.windows(2) {
            for permission in Permission::ALL {
                assert!(pair[0].reach(*permission) >= pair[1].reach(*permission), "{pair:?} {permission:?}");
            }
        }
        assert!(Reach::Own < Reach::Projects && Reach::Organisation < Reach::Installation);
    }

    #[test]
    fn who_may_change_a_thing_sees_it() {
        for permission in Permission::ALL {
            assert!(!permission.to_see().is_write(), "{permission:?}");
            for role in Role::ALL {
                assert!(role.reach(permission.to_see()) >= role.reach(*permission), "{role:?} {permission:?}");
            }
        }
    }

    #[test]
    fn a_viewer_sees_sums_and_no_single_call() {
        assert_eq!(Role::Viewer.reach(Permission::UsageRead), Some(Reach::Organisation));
        assert_eq!(Role::Viewer.reach(Permission::RequestsRead), None);
        assert_eq!(Role::Viewer.reach(Permission::KeysRead), None);
    }
}
