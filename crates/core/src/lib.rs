//! The nouns of anykey: keys, scopes, models, prices, usage, refusals. Pure types and pure decisions that every other
//! room shares; no I/O and no runtime.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod applies;
pub mod catalogue;
pub mod controls;
pub mod dialect;
pub mod endpoint;
pub mod find;
pub mod grant;
pub mod id;
pub mod key;
pub mod key_rules;
pub mod lease;
pub mod limit;
pub mod model;
pub mod money;
pub mod notice;
pub mod price;
pub mod provider;
pub mod record;
pub mod refusal;
pub mod role;
pub mod scope;
pub mod spend;
pub mod tenancy;
pub mod token;
pub mod usage;
pub mod wish;

pub use controls::{Bound, Controls, Level};
pub use dialect::Dialect;
pub use endpoint::Endpoint;
pub use grant::{Grant, Held, Place, Reached, Sight};
pub use id::{
    ApprovalId, DeliveryId, DestinationId, JobId, KeyId, MemberId, NoticeId, OrganisationId, PersonId, ProjectId,
    RequestId, ServiceAccountId, SessionId,
};
pub use key::{KeyInfo, KeyKind};
pub use key_rules::KeyRules;
pub use money::Nanos;
pub use refusal::{Code, Refusal};
pub use role::{Permission, Reach, Role};
pub use scope::{Scope, Scopes};
pub use spend::{BudgetId, Payers, Span, SpendLimits, Subject, Window};
pub use tenancy::{LevelId, OwnerId, Placement};
pub use token::Token;
pub use usage::{Unit, Usage};
