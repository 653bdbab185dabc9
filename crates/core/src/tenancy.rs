//! Who is above a key: its organisation, its project and its owner.

use crate::controls::Level;
use crate::{MemberId, OrganisationId, ProjectId, Role, ServiceAccountId};
use std::fmt;

/// Who answers for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OwnerId {
    Member(MemberId),
    ServiceAccount(ServiceAccountId),
}

impl OwnerId {
    pub fn parse(text: &str) -> Option<Self> {
        let member = MemberId::parse(text).map(OwnerId::Member);
        member.or_else(|| ServiceAccountId::parse(text).map(OwnerId::ServiceAccount))
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OwnerId::Member(id) => id.fmt(f),
            OwnerId::ServiceAccount(id) => id.fmt(f),
        }
    }
}

/// Where a key belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Placement {
    pub organisation: OrganisationId,
    pub project: ProjectId,
    pub owner: Option<OwnerId>,
}

impl Default for Placement {
    fn default() -> Self {
        Placement { organisation: OrganisationId::DEFAULT, project: ProjectId::DEFAULT, owner: None }
    }
}

/// Something above a key whose policy and whose end are also the key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LevelId {
    Organisation(OrganisationId),
    Project(ProjectId),
    Member(MemberId),
    ServiceAccount(ServiceAccountId),
}

impl LevelId {
    /// Where a policy set here stands among all that bound a key.
    pub const fn level(self) -> Level {
        match self {
            LevelId::Organisation(_) => Level::Organisation,
            LevelId::Project(_) => Level::Project,
            LevelId::Member(_) => Level::Member,
            LevelId::ServiceAccount(_) => Level::ServiceAccount,
        }
    }

    pub const fn bytes(self) -> [u8; 16] {
        match self {
            LevelId::Organisation(id) => id.0,
            LevelId::Project(id) => id.0,
            LevelId::Member(id) => id.0,
            LevelId::ServiceAccount(id) => id.0,
        }
    }
}

impl From<OwnerId> for LevelId {
    fn from(owner: OwnerId) -> Self {
        match owner {
            OwnerId::Member(id) => LevelId::Member(id),
            OwnerId::ServiceAccount(id) => LevelId::ServiceAccount(id),
        }
    }
}

impl fmt::Display for LevelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LevelId::Organisation(id) => id.fmt(f),
            LevelId::Project(id) => id.fmt(f),
            LevelId::Member(id) => id.fmt(f),
            LevelId::ServiceAccount(id) => id.fmt(f),
        }
    }
}

impl Placement {
    /// All that is above the key, the outermost first.
    pub fn levels(&self) -> impl Iterator<Item = LevelId> + use<> {
        [
            Some(LevelId::Organisation(self.organisation)),
            Some(LevelId::Project(self.project)),
            self.owner.map(LevelId::from),
        ]
        .into_iter()
        .flatten()
    }
}

/// What a person can be in an organisation. An operator is one of the installation, a project owner one of a project.
pub const MEMBER_ROLES: [Role; 4] = [Role::Admin, Role::Member, Role::Viewer, Role::Auditor];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_told_apart_by_their_prefix() {
        for owner in [OwnerId::Member(MemberId([7; 16])), OwnerId::ServiceAccount(ServiceAccountId([7; 16]))] {
            assert_eq!(OwnerId::parse(&owner.to_string()), Some(owner));
        }
        assert_eq!(OwnerId::parse("key_00000000000000000000000000"), None);
    }

    #[test]
    fn the_outermost_level_comes_first() {
        let owner = OwnerId::Member(MemberId([1; 16]));
        let placement = Placement { owner: Some(owner), ..Placement::default() };
        let levels: Vec<_> = placement.levels().map(LevelId::level).collect();
        assert_eq!(levels, [Level::Organisation, Level::Project, Level::Member]);
        assert_eq!(Placement::default().levels().count(), 2);
    }
}
