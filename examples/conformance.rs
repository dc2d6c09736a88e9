//! Checks a Kubernetes API server: the embedded one, or any other by its kubeconfig.
//!
//! ```text
//! cargo run --example conformance                                        the embedded API
//! cargo run --example conformance -- --kubeconfig FILE --context NAME    a cluster, for instance of kind
//! cargo run --example conformance -- --only apply --output json          one subject, one JSON object for each check
//! ```
//!
//! It needs a user that is allowed everything. What it creates it deletes again; its namespaces begin with `conformance-`. The exit
//! code is 1 if a check failed.

use clap::{Parser, ValueEnum};
use console::style;
use platform_core::{cluster::ClusterAccess, name::ClusterName};
use platform_examples::Result;
use platform_k8s::{Kubernetes, access_from_kubeconfig};
use platform_testkit::{
    conformance::{CheckResult, Report, Verdict, kubernetes::Suite},
    kubernetes::EmbeddedApi,
};
use std::{path::PathBuf, process::ExitCode, time::Instant};

/// Checks a Kubernetes API server.
#[derive(Debug, Parser)]
struct Options {
    /// Checks the cluster of this kubeconfig file instead of the embedded one.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Takes this context of the kubeconfig file instead of its current one.
    #[arg(long, requires = "kubeconfig")]
    context: Option<String>,
    /// Runs the checks of one subject alone.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(Suite::subjects()))]
    only: Option<String>,
    /// How many checks run at once.
    #[arg(long, default_value_t = Suite::DEFAULT_CONCURRENCY)]
    concurrency: usize,
    /// The image of pods that are to run, where there are nodes; without it a `pause` image that a node has.
    #[arg(long)]
    image: Option<String>,
    /// How the checks are printed.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    platform_examples::log_to_stderr();
    let options = Options::parse();
    let name = ClusterName::new("conformance")?;
    let (access, embedded) = if let Some(file) = &options.kubeconfig {
        (access_from_kubeconfig(file, options.context.as_deref(), name)?, None)
    } else {
        let api = EmbeddedApi::builder().start().await?;
        (ClusterAccess::new(name, api.url()), Some(api))
    };
    let started = Instant::now();
    let report = suite(&access, &options)?.run().await;
    let seconds = started.elapsed().as_secs_f64();
    match options.output {
        Output::Text => print_table(&report),
        Output::Json => {
            for result in report.results() {
                println!("{}", serde_json::to_string(result)?);
            }
        }
    }
    // Again below the table, where the end of a long log shows them.
    for CheckResult { subject, name, verdict, .. } in report.results() {
        if let Verdict::Failed(why) = verdict {
            eprintln!("{} {subject}: {name}: {why}", style("FAILED").for_stderr().red().bold());
        }
    }
    eprintln!("{} checks of {} in {seconds:.1} s", report.results().len(), access.server);
    println!("{}", summary(&report));
    if let Some(api) = embedded {
        api.stop().await;
    }
    Ok(if report.into_result().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn suite(access: &ClusterAccess, options: &Options) -> Result<Suite> {
    let kubernetes = Kubernetes::default();
    let mut stranger = ClusterAccess::new(access.cluster.clone(), &access.server);
    stranger.certificate_authority.clone_from(&access.certificate_authority);
    let client = kubernetes.connect_kube(access)?.client();
    let mut suite = Suite::new(client).concurrency(options.concurrency);
    suite = suite.stranger(kubernetes.connect_kube(&stranger)?.client());
    if let Some(subject) = &options.only {
        suite = suite.only(subject);
    }
    if let Some(image) = &options.image {
        suite = suite.image(image);
    }
    Ok(suite)
}

/// A block for each subject.
fn print_table(report: &Report) {
    let width = report.results().iter().map(|result| result.name.len()).max().unwrap_or(0);
    let mut subject = "";
    for CheckResult { subject: about, name, verdict, took, .. } in report.results() {
        if subject != *about {
            println!("{}", style(about).bold());
            subject = about;
        }
        let (word, why) = match verdict {
            Verdict::Passed => (style("passed ").green(), None),
            Verdict::Failed(why) => (style("FAILED ").red().bold(), Some(why)),
            Verdict::Skipped(why) => (style("skipped").yellow(), Some(why)),
        };
        println!("  {name:<width$}  {word} {:>6.2} s", took.as_secs_f64());
        if let Some(why) = why {
            println!("      {why}");
        }
    }
}

/// What it came to, without the table.
fn summary(report: &Report) -> String {
    let skipped = match report.skipped() {
        0 => String::new(),
        skipped => format!(", {skipped} skipped"),
    };
    format!("{} passed, {} failed{skipped}", report.passed(), report.failed())
}
