//! What the audit log tells of organisations, projects, people and service accounts.

use crate::audit::{Audited, Facts, Object, ObjectKind, policy};
use crate::tenancy_types::{MemberRow, OrganisationRow, PersonRow, ProjectRow, ServiceAccountRow};

impl Audited for OrganisationRow {
    fn object(&self) -> Object {
        Object::new(ObjectKind::Organisation, self.id, &self.name).within(Some(self.id))
    }

    fn facts(&self) -> Facts {
        let OrganisationRow {
            id: _,
            slug,
            name,
            description,
            controls,
            rules,
            disabled,
            deleted_at,
            version: _,
            created_at: _,
            updated_at: _,
        } = self;
        Facts::default()
            .with("slug", slug.as_str())
            .with("name", name.as_str())
            .with("description", description.as_str())
            .with("controls", policy(controls))
            .with("key_rules", serde_json::to_value(rules).unwrap_or_default())
            .with("disabled", *disabled)
            .with("deleted_at", *deleted_at)
    }
}

impl Audited for ProjectRow {
    fn object(&self) -> Object {
        Object::new(ObjectKind::Project, self.id, &self.name).within(Some(self.organisation))
    }

    fn facts(&self) -> Facts {
        let ProjectRow {
            id: _,
            organisation,
            slug,
            name,
            description,
            controls,
            rules,
            disabled,
            deleted_at,
            version: _,
            created_at: _,
            updated_at: _,
        } = self;
        Facts::default()
            .with("organisation_id", organisation.to_string())
            .with("slug", slug.as_str())
            .with("name", name.as_str())
            .with("description", description.as_str())
            .with("controls", policy(controls))
            .with("key_rules", serde_json::to_value(rules).unwrap_or_default())
            .with("disabled", *disabled)
            .with("deleted_at", *deleted_at)
    }
}

impl Audited for PersonRow {
    fn object(&self) -> Object {
        Object::new(ObjectKind::Person, self.id, &self.email)
    }

    fn facts(&self) -> Facts {
        let PersonRow { id: _, email, name, operator, disabled, deleted_at, version: _, created_at: _, updated_at: _ } =
            self;
        Facts::default()
            .with("email", email.as_str())
            .with("name", name.as_str())
            .with("operator", *operator)
            .with("disabled", *disabled)
            .with("deleted_at", *deleted_at)
    }
}

impl Audited for MemberRow {
    fn object(&self) -> Object {
        Object::new(ObjectKind::Member, self.id, &self.email).within(Some(self.organisation))
    }

    fn facts(&self) -> Facts {
        let MemberRow {
            id: _,
            organisation,
            person,
            // The person tells of these.
            email: _,
            name: _,
            person_disabled: _,
            role,
            controls,
            disabled,
            deleted_at,
            version: _,
            created_at: _,
            updated_at: _,
        } = self;
        Facts::default()
            .with("organisation_id", organisation.to_string())
            .with("person_id", person.to_string())
            .with("role", role.name())
            .with("controls", policy(controls))
            .with("disabled", *disabled)
            .with("deleted_at", *deleted_at)
    }
}

impl Audited for ServiceAccountRow {
    fn object(&self) -> Object {
        Object::new(ObjectKind::ServiceAccount, self.id, &self.name).within(Some(self.organisation))
    }

    fn facts(&self) -> Facts {
        let ServiceAccountRow {
            id: _,
            organisation,
            project,
            name,
            description,
            controls,
            disabled,
            deleted_at,
            version: _,
            created_at: _,
            updated_at: _,
        } = self;
        Facts::default()
            .with("organisation_id", organisation.to_string())
            .with("project_id", project.map(|id| id.to_string()))
            .with("name", name.as_str())
            .with("description", description.as_str())
            .with("controls", policy(controls))
            .with("disabled", *disabled)
            .with("deleted_at", *deleted_at)
    }
}
