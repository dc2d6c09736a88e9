//! What can be asked for.

use clap::{Parser, ValueEnum};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Makes a platform, shows it, and takes it down again.
#[derive(Debug, Parser)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Options {
    /// Where clusters come from.
    #[arg(long, value_enum, default_value_t = ProviderName::Embedded)]
    pub(crate) provider: ProviderName,
    /// Makes clusters of EKS at an emulator of AWS on this machine: the one at `AWS_ENDPOINT_URL`, or at port 5000. AWS itself is never called.
    #[arg(long)]
    pub(crate) emulator: bool,
    /// Makes clusters that cost money without asking.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Ends by itself after this time (`30s`, `5m`) instead of waiting for Ctrl-C.
    #[arg(long = "for", value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// How the summary is printed on stdout.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// Reads the platform from a YAML, TOML or JSON file.
    #[arg(long)]
    pub(crate) spec: Option<PathBuf>,
    /// Keeps clusters and data in this directory when it ends.
    #[arg(long)]
    pub(crate) state: Option<PathBuf>,
    /// Removes what a former run kept, and ends. Embedded clusters are in the state directory.
    #[arg(long)]
    pub(crate) destroy: bool,
    /// Confirms the removal, instead of asking: the platform's name and those of its protected environments.
    #[arg(long, requires = "destroy")]
    pub(crate) confirm: Option<String>,
    /// Where the page listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) address: SocketAddr,
    /// The CPU use in percent above which HighCpu is raised.
    #[arg(long, default_value_t = 80.0)]
    pub(crate) cpu_above: f64,
    /// The CPU use in percent above which the demonstration alert is raised, after 5 seconds.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) demo_above: f64,
    /// Log files to follow beside the platform's own events; `*` stands for any part of a file's name.
    #[arg(long, default_values = ["/var/log/syslog", "/var/log/messages"])]
    pub(crate) tail: Vec<String>,
    /// Posts alerts to this URL in Alertmanager's format.
    #[arg(long)]
    pub(crate) webhook: Option<String>,
    /// Posts alerts to Slack by the incoming webhook in the environment variable `SLACK_WEBHOOK_URL`.
    #[arg(long)]
    pub(crate) slack: bool,
}

/// How the summary is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

/// Where clusters come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProviderName {
    /// In this process; their workloads are simulated.
    Embedded,
    /// Containers of this machine, by the programs `kind` and `docker`, `podman` or `nerdctl`.
    Kind,
    /// Amazon EKS, by the credentials and the region that are set for AWS' own tools. It costs money.
    Eks,
}
