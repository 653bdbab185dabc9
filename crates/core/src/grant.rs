//! What somebody may reach: the roles that they hold and where, and what each permission makes of them. Whatever asks
//! for an object, a list or a report asks here.

use crate::{MemberId, OrganisationId, OwnerId, Permission, Placement, ProjectId, Reach, Role, Scope, Scopes};
use std::collections::BTreeSet;

/// All that somebody is. Roles add up: who holds several may do what any of them lets them do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Runs the installation.
    operator: bool,
    held: Vec<Held>,
}

/// One role, and where it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// Of a member, in all of an organisation.
    InOrganisation { role: Role, organisation: OrganisationId, member: Option<MemberId> },
    /// Of an owner, in one project.
    OfProject { organisation: OrganisationId, project: ProjectId },
}

impl Held {
    const fn role(&self) -> Role {
        match self {
            Held::InOrganisation { role, .. } => *role,
            Held::OfProject { .. } => Role::ProjectOwner,
        }
    }

    const fn organisation(&self) -> OrganisationId {
        match self {
            Held::InOrganisation { organisation, .. } | Held::OfProject { organisation, .. } => *organisation,
        }
    }
}

impl Grant {
    /// Whoever runs the installation.
    pub const fn operator() -> Self {
        Grant { operator: true, held: Vec::new() }
    }

    pub fn of(held: impl IntoIterator<Item = Held>) -> Self {
        Grant { operator: false, held: held.into_iter().collect() }
    }

    /// What a management key stands for, by its scopes and the place that it is in. Other keys stand for nobody.
    pub fn of_key(scopes: Scopes, placement: &Placement) -> Self {
        let Placement { organisation, project, owner: _ } = *placement;
        match scopes.managing() {
            Some(Scope::Admin) => Grant::operator(),
            Some(Scope::AdminOrganisation) => {
                Grant::of([Held::InOrganisation { role: Role::Admin, organisation, member: None }])
            }
            Some(Scope::AdminProject) => Grant::of([Held::OfProject { organisation, project }]),
            _ => Grant::default(),
        }
    }

    /// The names of the roles, each once.
    pub fn roles(&self) -> BTreeSet<Role> {
        let operator = self.operator.then_some(Role::Operator);
        operator.into_iter().chain(self.held.iter().map(Held::role)).collect()
    }

    /// The organisation that all roles are in, where there is one.
    pub fn only_organisation(&self) -> Option<OrganisationId> {
        let mut all = self.held.iter().map(Held::organisation);
        let first = all.next().filter(|_| !self.operator)?;
        all.all(|other| other == first).then_some(first)
    }

    /// Who they are among the members of an organisation, whatever they may do there.
    pub fn membership_in(&self, wanted: OrganisationId) -> Option<MemberId> {
        self.held.iter().find_map(|held| match held {
            Held::InOrganisation { organisation, member, .. } if *organisation == wanted => *member,
            _ => None,
        })
    }

    /// Who they are among the members of an organisation, where that lets them have keys of their own.
    pub fn member_in(&self, wanted: OrganisationId) -> Option<MemberId> {
        self.held.iter().find_map(|held| match held {
            Held::InOrganisation { role, organisation, member } if *organisation == wanted => {
                role.reach(Permission::KeysWrite).and(*member)
            }
            _ => None,
        })
    }

    /// Everything that a permission lets them reach.
    pub fn sight(&self, permission: Permission) -> Sight {
        if self.operator {
            return Sight::Everything;
        }
        let mut reached = Reached::default();
        for held in &self.held {
            match (held.role().reach(permission), held) {
                (Some(Reach::Organisation), held) => {
                    reached.organisations.insert(held.organisation());
                }
                (Some(Reach::Projects), Held::OfProject { project, .. }) => {
                    reached.projects.insert(*project);
                }
                (Some(Reach::Own), Held::InOrganisation { member: Some(member), .. }) => {
                    reached.members.insert(*member);
                }
                _ => {}
            }
        }
        Sight::Within(reached)
    }
}

/// What can be reached. Lists and reports are narrowed by it in their queries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// The server itself, and whoever runs the installation.
    #[default]
    Everything,
    Within(Reached),
}

/// Whatever is in any of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// All that is in them.
    pub organisations: BTreeSet<OrganisationId>,
    /// All that is in them.
    pub projects: BTreeSet<ProjectId>,
    /// What they themselves own.
    pub members: BTreeSet<MemberId>,
}

impl Reached {
    pub fn is_empty(&self) -> bool {
        self.organisations.is_empty() && self.projects.is_empty() && self.members.is_empty()
    }
}

impl Sight {
    pub fn is_nothing(&self) -> bool {
        matches!(self, Sight::Within(reached) if reached.is_empty())
    }

    pub fn covers(&self, place: &Place) -> bool {
        let Sight::Within(reached) = self else { return true };
        place.organisation.is_some_and(|id| reached.organisations.contains(&id))
            || place.project.is_some_and(|id| reached.projects.contains(&id))
            || place.member.is_some_and(|id| reached.members.contains(&id))
    }

    /// Without what is reached only because it is one's own.
    #[must_use]
    pub fn beyond_own(self) -> Sight {
        match self {
            Sight::Everything => Sight::Everything,
            Sight::Within(reached) => Sight::Within(Reached { members: BTreeSet::new(), ..reached }),
        }
    }
}

/// Where an object stands. What is nowhere belongs to the installation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub organisation: Option<OrganisationId>,
    pub project: Option<ProjectId>,
    /// Whose own it is.
    pub member: Option<MemberId>,
}

impl Place {
    pub const INSTALLATION: Place = Place { organisation: None, project: None, member: None };

    pub const fn organisation(id: OrganisationId) -> Self {
        Place { organisation: Some(id), project: None, member: None }
    }

    pub const fn project(organisation: OrganisationId, id: ProjectId) -> Self {
        Place { organisation: Some(organisation), project: Some(id), member: None }
    }

    pub const fn member(organisation: OrganisationId, id: MemberId) -> Self {
        Place { organisation: Some(organisation), project: None, member: Some(id) }
    }

    /// A key that manages something stands where it manages, so that nobody gets hold of a key that may do more than
    /// they, and it is nobody's own.
    pub fn of_key(scopes: Scopes, placement: &Placement) -> Self {
        let Placement { organisation, project, owner } = *placement;
        match (scopes.managing(), owner) {
            (Some(Scope::AdminOrganisation), _) => Place::organisation(organisation),
            (Some(Scope::AdminProject), _) => Place::project(organisation, project),
            (Some(_), _) => Place::INSTALLATION,
            (None, Some(OwnerId::Member(member))) => {
                Place { member: Some(member), ..Place::project(organisation, project) }
            }
            (None, _) => Place::project(organisation, project),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: OrganisationId = OrganisationId([1; 16]);
    const THERE: OrganisationId = OrganisationId([2; 16]);
    const OURS: ProjectId = ProjectId([3; 16]);
    const OTHER: ProjectId = ProjectId([4; 16]);
    const ME: MemberId = MemberId([5; 16]);
    const YOU: MemberId = MemberId([6; 16]);

    fn member(role: Role) -> Held {
        Held::InOrganisation { role, organisation: HERE, member: Some(ME) }
    }

    fn key(organisation: OrganisationId, project: ProjectId, owner: Option<MemberId>) -> Place {
        let placement = Placement { organisation, project, owner: owner.map(OwnerId::Member) };
        Place::of_key(Scopes::DEFAULT, &placement)
    }

    #[test]
    fn each_role_reaches_as_far_as_its_permission_does() {
        let places = [
            key(HERE, OURS, Some(ME)),
            key(HERE, OURS, Some(YOU)),
            key(HERE, OTHER, Some(ME)),
            key(HERE, OTHER, None),
            key(THERE, OTHER, None),
            Place::INSTALLATION,
        ];
        let owner = Held::OfProject { organisation: HERE, project: OURS };
        for (grant, covered) in [
            (Grant::operator(), [true; 6]),
            (Grant::of([member(Role::Admin)]), [true, true, true, true, false, false]),
            (Grant::of([member(Role::Auditor)]), [true, true, true, true, false, false]),
            (Grant::of([owner.clone()]), [true, true, false, false, false, false]),
            (Grant::of([member(Role::Member)]), [true, false, true, false, false, false]),
            (Grant::of([member(Role::Member), owner]), [true, true, true, false, false, false]),
            (Grant::of([member(Role::Viewer)]), [false; 6]),
            (Grant::default(), [false; 6]),
        ] {
            let sight = grant.sight(Permission::KeysRead);
            assert_eq!(places.map(|place| sight.covers(&place)), covered, "{grant:?}");
            assert_eq!(sight.is_nothing(), covered == [false; 6]);
        }
    }

    #[test]
    fn a_key_that_manages_is_reached_by_those_who_may_do_as_much() {
        let placement = Placement { organisation: HERE, project: OURS, owner: Some(OwnerId::Member(ME)) };
        let place = |scope| Place::of_key(Scopes::NONE.with(scope), &placement);
        let keys = [Scope::AdminProject, Scope::AdminOrganisation, Scope::Admin].map(place);
        let covered = |grant: &Grant| keys.map(|key| grant.sight(Permission::KeysWrite).covers(&key));
        for scope in Scope::MANAGING {
            let grant = Grant::of_key(Scopes::NONE.with(scope), &placement);
            let expected = match scope {
                Scope::Admin => [true, true, true],
                Scope::AdminOrganisation => [true, true, false],
                _ => [true, false, false],
            };
            assert_eq!(covered(&grant), expected, "{scope:?}");
        }
        assert_eq!(covered(&Grant::of([member(Role::Member)])), [false; 3], "owning it makes no difference");
        assert_eq!(Grant::of_key(Scopes::DEFAULT, &placement), Grant::default());
    }

    #[test]
    fn what_is_ones_own_can_be_left_out() {
        let grant = Grant::of([member(Role::Member)]);
        let own = key(HERE, OURS, Some(ME));
        assert!(grant.sight(Permission::KeysWrite).covers(&own));
        assert!(grant.sight(Permission::KeysWrite).beyond_own().is_nothing());
        assert_eq!((grant.member_in(HERE), grant.member_in(THERE)), (Some(ME), None));
        assert_eq!(Grant::of([member(Role::Viewer)]).member_in(HERE), None);
        assert!(Grant::of([member(Role::Viewer)]).membership_in(HERE).is_some());
        assert_eq!((grant.only_organisation(), Grant::operator().only_organisation()), (Some(HERE), None));
    }
}
