//! What can be done, and to what: closed lists. A name that was released stays, because it stands in logs.

use super::acting::names;

names! {
    /// What was done.
    Verb {
        AuditBegin "audit.begin",
        /// The end of the log was not the one that was written.
        AuditBroken "audit.broken",
        KeyCreate "key.create",
        KeyImport "key.import",
        KeyUpdate "key.update",
        KeyDisable "key.disable",
        KeyEnable "key.enable",
        KeyDelete "key.delete",
        KeyRegenerate "key.regenerate",
        KeyRotate "key.rotate",
        /// The new secret of a rotation was used, and the old one has an end.
        KeySupersede "key.supersede",
        /// The key has another owner, who is asked to rotate it.
        KeyTransfer "key.transfer",
        /// One change of many keys was asked for; the keys that it is to change are settled.
        KeyBulk "key.bulk",
        OrganisationCreate "organisation.create",
        OrganisationUpdate "organisation.update",
        OrganisationDisable "organisation.disable",
        OrganisationEnable "organisation.enable",
        OrganisationDelete "organisation.delete",
        ProjectCreate "project.create",
        ProjectUpdate "project.update",
        ProjectDisable "project.disable",
        ProjectEnable "project.enable",
        ProjectDelete "project.delete",
        ProjectOwnerAdd "project.owner_add",
        ProjectOwnerRemove "project.owner_remove",
        PersonCreate "person.create",
        PersonUpdate "person.update",
        PersonDelete "person.delete",
        MemberAdd "member.add",
        MemberUpdate "member.update",
        MemberDisable "member.disable",
        MemberEnable "member.enable",
        MemberRemove "member.remove",
        ServiceAccountCreate "service_account.create",
        ServiceAccountUpdate "service_account.update",
        ServiceAccountDisable "service_account.disable",
        ServiceAccountEnable "service_account.enable",
        ServiceAccountDelete "service_account.delete",
        /// The key's text was seen where secrets do not belong.
        KeyExpose "key.expose",
        ProviderAdd "provider.add",
        ProviderUpdate "provider.update",
        ProviderRemove "provider.remove",
        ProviderTest "provider.test",
        /// A stored credential does not open: somebody altered or moved it, or the key that it was sealed with is another.
        ProviderUnopened "provider.unopened",
        AliasSet "alias.set",
        AliasRemove "alias.remove",
        PriceLoad "price.load",
        SessionBegin "session.begin",
        SessionEnd "session.end",
        /// Somebody who is known could not prove it.
        SessionRefuse "session.refuse",
        PasswordSet "password.set",
        TotpBegin "totp.begin",
        TotpEnable "totp.enable",
        TotpDisable "totp.disable",
        RecoveryUse "recovery.use",
        /// Somebody is known at an issuer of OpenID Connect from now on.
        IdentityLink "identity.link",
        LinkMake "link.make",
        /// A one-time link was used: a password is set, or there is a first owner.
        LinkUse "link.use",
        DestinationCreate "destination.create",
        DestinationUpdate "destination.update",
        DestinationDelete "destination.delete",
        /// The secret that messages are signed with is another.
        DestinationRotate "destination.rotate",
        DestinationTest "destination.test",
        /// A notice that was given up, or was delivered, is sent again.
        DeliveryReplay "delivery.replay",
        /// Somebody asked for more than a key has.
        ApprovalAsk "approval.ask",
        ApprovalGrant "approval.grant",
        ApprovalRefuse "approval.refuse",
        ApprovalWithdraw "approval.withdraw",
        ApprovalLapse "approval.lapse",
        /// What was granted for a time was taken back.
        ApprovalEnd "approval.end",
        /// The settings file declares something else than before.
        SettingsApply "settings.apply",
    }
}

names! {
    /// What it was done to.
    ObjectKind {
        Installation "installation",
        Key "key",
        Job "job",
        Organisation "organisation",
        Project "project",
        Person "person",
        Member "member",
        ServiceAccount "service_account",
        Provider "provider",
        Alias "alias",
        Prices "prices",
        Settings "settings",
        Session "session",
        Destination "destination",
        Delivery "delivery",
        Approval "approval",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_one_each_and_begin_with_what_they_are_done_to() {
        let names: BTreeSet<&str> = Verb::ALL.iter().map(|verb| verb.name()).collect();
        assert_eq!(names.len(), Verb::ALL.len());
        for name in names {
            assert_eq!(Verb::from_name(name).map(Verb::name), Some(name));
            assert_eq!(name.split('.').filter(|part| !part.is_empty()).count(), 2, "{name}");
        }
    }
}
