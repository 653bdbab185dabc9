//! Who is acting, through what, and from where: set where a request comes in, read where a change is written down.
//!
//! It travels with the task, as a tracing span does, because it belongs to the request and not to any one call of the
//! store: a layer in between cannot forget to hand it on. Work that nobody asked for is the system's own.

use anykey_core::RequestId;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

tokio::task_local! {
    static ACTING: Arc<Acting>;
}

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$each:meta])* $variant:ident $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[$each])* $variant,)* }

        impl $type {
            pub const ALL: &[$type] = &[$($type::$variant),*];

            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }

            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.name() == name)
            }
        }
    };
}
pub(super) use names;

names! {
    /// What kind of somebody.
    ActorKind {
        Key "key",
        Person "person",
        /// Somebody who has not shown who they are.
        Stranger "stranger",
        /// The server itself, or whoever holds its data folder.
        System "system",
    }
}

names! {
    /// What they used.
    Surface {
        Api "api",
        Cli "cli",
        SettingsFile "settings_file",
        System "system",
    }
}

/// Who.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub kind: ActorKind,
    pub id: Option<String>,
    /// As people know them: a key's name and its masked form, a person's address.
    pub name: String,
}

/// Who is acting, through what, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acting {
    pub actor: Actor,
    pub surface: Surface,
    pub ip: Option<IpAddr>,
    /// What the client calls itself.
    pub client: Option<String>,
    pub request: Option<RequestId>,
    /// The organisation on whose behalf, where what is changed is in none; `None` is the installation.
    pub organisation: Option<String>,
}

impl Acting {
    /// The server itself.
    pub fn system() -> Self {
        Self::server(Surface::System)
    }

    /// The settings file, as the server read it.
    pub fn settings_file() -> Self {
        Self::server(Surface::SettingsFile)
    }

    fn server(surface: Surface) -> Self {
        let actor = Actor { kind: ActorKind::System, id: None, name: "anykey".into() };
        Acting { actor, surface, ip: None, client: None, request: None, organisation: None }
    }
}

/// Does work on behalf of somebody: what it changes is recorded as theirs.
pub async fn acting<F: Future>(who: Acting, work: F) -> F::Output {
    ACTING.scope(Arc::new(who), work).await
}

/// For work that is handed to a task of its own: it stays on behalf of whoever asks for it now.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    ACTING.scope(current(), work)
}

/// Whoever acts now, by what the log names them.
pub(crate) fn actor_id() -> Option<String> {
    current().actor.id.clone()
}

pub(super) fn current() -> Arc<Acting> {
    ACTING.try_with(Arc::clone).unwrap_or_else(|_| Arc::new(Acting::system()))
}
