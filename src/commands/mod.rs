//! The commands: one file each, noun by noun. All but `serve` and `sim` speak the admin API of a running server.

pub mod alias;
pub mod api;
pub mod approval;
pub mod ask;
pub mod audit;
pub mod completion;
pub mod delivery;
pub mod destination;
pub mod env;
pub mod help;
pub mod issuer;
pub mod job;
pub mod key;
pub mod member;
pub mod model;
pub mod org;
pub mod owner_link;
pub mod paging;
pub mod person;
pub mod price;
pub mod project;
pub mod provider;
pub mod raise;
mod request;
pub mod run;
pub mod scan;
pub mod serve;
pub mod service_account;
pub mod sim;
pub mod status;
pub mod tenancy;
pub mod usage;
pub mod version;

#[cfg(test)]
mod tests;

use crate::cli::{Exit, Failure, Globals, Session, server};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

pub use serve::ServeArgs;
pub use sim::SimArgs;

/// A self-hosted AI gateway: one key opens every model, in the caller's own dialect.
#[derive(Parser, Debug)]
#[command(name = "anykey", version, disable_help_subcommand = true, after_help = help::EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,

    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Subcommand, Debug)]
#[expect(clippy::large_enum_variant, reason = "one is made in the life of a process")]
pub enum Command {
    /// Start the gateway; `anykey` alone does the same
    Serve(ServeArgs),
    /// Start the practice provider alone, as an upstream for tests and benchmarks
    Sim(SimArgs),
    /// Make, list, change and rotate keys
    #[command(subcommand, alias = "keys")]
    Key(key::KeyCommand),
    /// Make and change organisations, whose policy bounds what is in them
    #[command(subcommand, alias = "orgs", alias = "organisation")]
    Org(org::OrgCommand),
    /// Make and change projects, where keys are kept together
    #[command(subcommand, alias = "projects")]
    Project(project::ProjectCommand),
    /// Take people into organisations
    #[command(subcommand, alias = "members")]
    Member(member::MemberCommand),
    /// See, change and shut out people, and let them set their passwords
    #[command(subcommand, alias = "people")]
    Person(person::PersonCommand),
    /// Make and change service accounts, which own keys where no person should
    #[command(subcommand, alias = "service-accounts")]
    ServiceAccount(service_account::ServiceAccountCommand),
    /// See how far work on many keys is
    #[command(subcommand, alias = "jobs")]
    Job(job::JobCommand),
    /// Ask for more than a key has, and decide on that
    #[command(subcommand, alias = "approvals")]
    Approval(approval::ApprovalCommand),
    /// Have notices sent to webhooks and mailboxes
    #[command(subcommand, alias = "destinations")]
    Destination(destination::DestinationCommand),
    /// See what became of notices, and send them again
    #[command(subcommand, alias = "deliveries")]
    Delivery(delivery::DeliveryCommand),
    /// Add, test and change providers
    #[command(subcommand, alias = "providers")]
    Provider(provider::ProviderCommand),
    /// See which models can be called
    #[command(subcommand, alias = "models")]
    Model(model::ModelCommand),
    /// Give models names of your own
    #[command(subcommand, alias = "aliases")]
    Alias(alias::AliasCommand),
    /// See what was used and what it cost
    Usage(usage::UsageArgs),
    /// See single calls
    #[command(subcommand, alias = "requests")]
    Request(request::RequestCommand),
    /// See and update prices
    #[command(subcommand, alias = "prices")]
    Price(price::PriceCommand),
    /// See who changed what, and check that the log of it is whole
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Make a one-time link, by which the first owner comes in or somebody sets their password
    OwnerLink(owner_link::OwnerLinkArgs),
    /// See by whom people sign in, and whether that works
    #[command(subcommand, alias = "issuers")]
    Issuer(issuer::IssuerCommand),
    /// See how the server is
    Status,
    /// Print the variables that point SDKs and coding agents here
    Env(env::EnvArgs),
    /// Run a program with a temporary key of its own, which ends with it
    Run(run::RunArgs),
    /// Ask a model something, through the gateway
    Ask(ask::AskArgs),
    /// Find keys in files, in git's history or on stdin; exit code 1 where there are any
    Scan(scan::ScanArgs),
    /// Call the admin API directly
    Api(api::ApiArgs),
    /// Print a completion script for a shell
    Completion(completion::CompletionArgs),
    /// Print the version
    Version,
    /// Help on a command or a topic
    Help(help::HelpArgs),
}

impl Cli {
    /// Reads the command line of this process. `anykey` alone reads as `anykey serve`, so that the flags and variables
    /// of `serve` are read by the same rules.
    pub fn from_process() -> Cli {
        let cli = Cli::parse();
        match cli.command {
            Some(_) => cli,
            None => Cli::parse_from(std::env::args_os().chain(["serve".into()])),
        }
    }
}

/// Runs a command of this process to its end.
pub async fn run(cli: Cli) -> ExitCode {
    let mut session = Session::of_process(cli.globals);
    if matches!(cli.command, Some(Command::Serve(_)) | None) {
        crate::memory::close();
    }
    match cli.command {
        Some(Command::Serve(args)) => crate::serve::run(args.in_folder(server::named_data_dir(&session))).await,
        None => crate::serve::run(ServeArgs::default().in_folder(server::named_data_dir(&session))).await,
        Some(Command::Run(args)) => match run::run(args, &mut session).await {
            Ok(code) => ExitCode::from(code),
            Err(failure) => ExitCode::from(finish(Err(failure), &mut session).code()),
        },
        Some(command) => {
            let outcome = dispatch(command, &mut session).await;
            ExitCode::from(finish(outcome, &mut session).code())
        }
    }
}

pub(crate) async fn dispatch(command: Command, session: &mut Session) -> Result<(), Failure> {
    match command {
        Command::Serve(_) => Err(Failure::failed("the gateway is started by the process, not by a session")),
        Command::Sim(args) => sim::run(args, session).await,
        Command::Key(command) => key::run(command, session).await,
        Command::Org(command) => org::run(command, session).await,
        Command::Project(command) => project::run(command, session).await,
        Command::Member(command) => member::run(command, session).await,
        Command::Person(command) => person::run(command, session).await,
        Command::ServiceAccount(command) => service_account::run(command, session).await,
        Command::Job(command) => job::run(command, session).await,
        Command::Approval(command) => approval::run(command, session).await,
        Command::Destination(command) => destination::run(command, session).await,
        Command::Delivery(command) => delivery::run(command, session).await,
        Command::Provider(command) => provider::run(command, session).await,
        Command::Model(command) => model::run(command, session).await,
        Command::Alias(command) => alias::run(command, session).await,
        Command::Usage(args) => usage::run(args, session).await,
        Command::Request(command) => request::run(command, session).await,
        Command::Price(command) => price::run(command, session).await,
        Command::Audit(command) => audit::run(command, session).await,
        Command::OwnerLink(args) => owner_link::run(args, session).await,
        Command::Issuer(command) => issuer::run(command, session).await,
        Command::Status => status::run(session).await,
        Command::Env(args) => env::run(args, session).await,
        Command::Run(args) => run::run(args, session).await.map(|_| ()),
        Command::Ask(args) => ask::run(args, session).await,
        Command::Scan(args) => scan::run(args, session).await,
        Command::Api(args) => api::run(args, session).await,
        Command::Completion(args) => completion::run(args, session),
        Command::Version => version::run(session),
        Command::Help(args) => help::run(args, session),
    }
}

/// Says what went wrong and gives the exit code.
pub(crate) fn finish(outcome: Result<(), Failure>, session: &mut Session) -> Exit {
    match outcome {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            if !failure.is_silent() {
                session.terminal.complain(&failure);
            }
            failure.exit
        }
    }
}
