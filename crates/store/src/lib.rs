//! The memory of anykey: SQLite or PostgreSQL behind one set of queries, the key cache and the snapshot that calls read.
//! The only room that knows SQL.
#![forbid(unsafe_code)]

mod access;
mod adopt;
mod approval_types;
mod approvals;
mod audit;
mod books;
mod bulk;
mod cache;
mod change;
mod clock_map;
mod controls;
mod db;
mod error;
mod exposure;
mod feed;
mod folder;
mod idempotency;
mod in_project;
mod job_batch;
mod job_types;
mod jobs;
mod key_list;
mod key_rows;
mod key_types;
mod key_write;
mod keys;
mod leases;
mod levels;
mod lookup;
mod members;
mod migrate;
mod notice_types;
mod notices;
mod options;
mod organisations;
mod parents;
mod people;
mod projects;
mod provider_types;
mod providers;
mod recent;
mod record;
mod requests;
mod rotation;
mod routing;
mod seal;
mod secrets_files;
mod service_accounts;
mod sign_in;
mod slug;
mod snapshot;
mod spend;
mod sql;
mod store;
mod sums;
mod temp;
mod temp_asked;
mod tenancy;
mod tenancy_facts;
mod tenancy_types;
mod unopened;
mod usage;
mod usage_types;
mod uses;
mod valid;

pub use approval_types::{
    About, ApprovalFilter, ApprovalRow, ApprovalState, Asker, Decided, Decision, KeyWish, NewApproval,
};
pub use audit::{
    Acting, Actor, ActorKind, AuditBreak, AuditEntry, AuditFilter, AuditReport, ObjectKind, Surface, Verb, acting,
    carried, hash_entry, read_hash,
};
pub use cache::{LiveKey, Lookup};
pub use error::{Result, StoreError};
pub use exposure::Exposure;
pub use idempotency::{Begun, Claim};
pub use in_project::InProject;
pub use job_types::{BulkAction, JobFilter, JobRow, Selection, Skipped};
pub use key_types::{
    KeyCursor, KeyFilter, KeyPatch, KeyRow, KeyStatus, Listed, NewKey, Page, Rotated, Rotation, SecretRow, SecretState,
};
pub use notice_types::{
    Attempt, DeliveryFilter, DeliveryRow, DeliveryState, DestinationFilter, DestinationPatch, DestinationRow, Dispatch,
    NewDestination, NoticeSettings, Receiver,
};
pub use options::{Clock, Database, Options};
pub use parents::Temp;
pub use provider_types::{Alias, CatalogueRow, NewProvider, Origin, ProviderPatch, ProviderRow};
pub use recent::RecentUse;
pub use sign_in::{
    Account, AtIssuer, Claimed, ClaimedRole, CookieUse, IssuerLogout, Link, NewOwner, OneTime, Person, Recognised,
    SecondFactor, SessionRow, SignedIn,
};
pub use snapshot::{Credential, Declared, Provider, Snapshot};
pub use store::{Counts, Store};
pub use temp::NewTemp;
pub use tenancy_types::{
    MemberPatch, MemberRow, NewMember, NewOrganisation, NewPerson, NewProject, NewServiceAccount, OrganisationPatch,
    OrganisationRow, PersonPatch, PersonRow, ProjectPatch, ProjectRow, ServiceAccountPatch, ServiceAccountRow,
    TenancyFilter,
};
pub use usage_types::{
    GroupBy, RequestCursor, RequestFilter, RequestRow, StatusFilter, UsageQuery, UsageRow, UsageSums,
};
