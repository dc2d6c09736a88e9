//! EKS at AWS: what is told before anything is made there, and who has to agree.

use crate::options::Options;
use platform_aws::{
    EksProvider,
    cost::{Expectations, PriceTable},
};
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{ClusterProvider, ClusterSpec},
    name::PlatformName,
    plan::Plan,
};
use std::io::{BufRead, IsTerminal};

/// A provider by the credentials and the region that are set for AWS' own tools. Without anybody to ask and without `--yes` there is none.
pub(crate) async fn connect(options: &Options) -> Result<EksProvider> {
    let asks = !(options.yes || options.destroy);
    if asks && !std::io::stdin().is_terminal() {
        return Err(Error::new(
            ErrorKind::Refused,
            "clusters of EKS cost money, and stdin is no terminal on which anybody could agree to that",
        )
        .operation("use")
        .subject("EKS")
        .help("agree with --yes, or try it with --emulator"));
    }
    EksProvider::builder().connect().await
}

/// Prints the estimate and the preflight report, and has the platform's name typed. The plan was printed before.
pub(crate) async fn agree(eks: &EksProvider, plan: &Plan, options: &Options) -> Result<()> {
    if plan.is_empty() {
        return Ok(());
    }
    tell_cost(eks, plan);
    let report = eks.preflight_report().await?;
    eprintln!("Preflight in {}:\n{report}", report.region);
    report.into_result()?;
    if options.yes {
        return Ok(());
    }
    let end = if options.state.is_some() { "stay until `--destroy`" } else { "are deleted when this ends" };
    eprint!("This makes what the plan says at AWS; the clusters {end}. Type {:?} to go on: ", plan.platform);
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed).map_err(|e| {
        Error::new(ErrorKind::Refused, "the answer cannot be read").operation("use").subject("EKS").source(e)
    })?;
    agreed(&typed, &plan.platform)
}

fn agreed(typed: &str, platform: &PlatformName) -> Result<()> {
    if typed.trim() == platform.as_str() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Refused, "what was typed is not the platform's name; nothing was made")
        .operation("use")
        .subject("EKS")
        .help(format!("type {:?}", platform.as_str())))
}

/// Prints what the clusters of a plan would cost, by the prices that are built in.
pub(crate) fn tell_cost(eks: &EksProvider, plan: &Plan) {
    let specs: Vec<ClusterSpec> = plan.clusters.iter().map(|cluster| cluster.spec.clone()).collect();
    let estimate = eks.estimate(&specs, &PriceTable::built_in(), &Expectations::default());
    eprintln!("What the clusters of {} would cost on {}: {estimate}", plan.platform, eks.name());
}
