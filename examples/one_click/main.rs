//! The whole, in one run: environments and a control plane, each its own cluster; isolation that is tried; components; an application that is
//! deployed to testing and promoted to production; metrics and logs in a store; a page; an alert that fires.
//!
//! ```text
//! cargo run --example one_click                                  until Ctrl-C
//! cargo run --example one_click -- --for 30s --output json       ends by itself, one JSON object on stdout
//! cargo run --example one_click -- --spec examples/shop.yaml     another platform
//! cargo run --example one_click -- --state DIR                   keeps clusters and data for the next run
//! cargo run --example one_click -- --state DIR --destroy         removes them
//! cargo run --example one_click -- --provider kind               the same on real clusters of this machine
//! cargo run --example one_click -- --provider eks --emulator     clusters of EKS at an emulator of AWS, their workloads simulated
//! cargo run --example one_click -- --provider eks                clusters of EKS, after plan, cost and preflight were agreed to
//! ```
//!
//! On kind two variables are read: `PLATFORM_KIND_IMAGE`, the image of nodes, and `PLATFORM_IMAGES`, a file of images of this machine that stand in
//! place of public ones, `NAME = IMAGE` a line: components by their names, `app` for the application, `probe` for what tries the network.
//!
//! The emulator is the one at `AWS_ENDPOINT_URL`, `http://127.0.0.1:5000` if that is not set; it must be on this machine. Its region is `AWS_REGION`,
//! or else `eu-west-1`. On EKS itself, everything that AWS' own tools read is read: profiles, `AWS_PROFILE`, `AWS_REGION`, roles.

mod eks;
mod emulator;
mod options;
mod provider;
mod shop;
mod summary;
mod telemetry;

use clap::Parser;
use console::style;
use options::{Options, Output, ProviderName};
use platform_core::{
    Confirmation, ImageOverrides, Plan, Platform, PlatformSpec,
    isolation::IsolationReport,
    platform::Applying,
    telemetry::{StoreStats, TelemetryPlane},
};
use platform_examples::{Result, show};
use platform_k8s::Kubernetes;
use platform_telemetry::plane::EmbeddedTelemetry;
use provider::Provider;
use std::{
    io::{BufRead, IsTerminal},
    sync::Arc,
    time::{Duration, Instant},
};
use summary::Summary;

#[tokio::main]
async fn main() -> Result {
    let options = Options::parse();
    let events = telemetry::log();
    let images = match std::env::var_os("PLATFORM_IMAGES") {
        Some(file) => ImageOverrides::from_file(file)?,
        None => ImageOverrides::default(),
    };
    let spec = match (&options.spec, options.provider) {
        (Some(file), _) => PlatformSpec::from_file(file)?,
        (None, ProviderName::Embedded) => shop::simulated()?,
        (None, ProviderName::Eks) if options.emulator => shop::emulated()?,
        (None, ProviderName::Kind | ProviderName::Eks) => shop::real(&images)?,
    };
    if options.destroy && options.state.is_none() && options.provider == ProviderName::Embedded {
        return Err("embedded clusters are kept in a state directory: name it with --state".into());
    }
    let provider = Provider::open(&options, &spec, &images).await?;
    let telemetry = Arc::new(telemetry::telemetry(&options, events)?);
    let platform = Platform::from_spec(spec)
        .shared_provider(provider.shared())
        .orchestrator(Kubernetes::default().images(images))
        .telemetry(telemetry.clone())
        .build()?;
    if options.destroy {
        return destroy(&platform, &provider, options.confirm).await;
    }
    let started = Instant::now();
    let plan = platform.plan().await?;
    eprintln!("{plan}\n");
    if plan.is_empty() {
        eprintln!("Everything is as wanted: nothing is applied.\n");
    }
    let asked = Instant::now();
    provider.agree(&plan, &options).await?;
    // Somebody may have read for minutes.
    let started = started + asked.elapsed();
    let done = run(&platform, &plan, started, &provider, &telemetry, &options).await;
    let summary = done.inspect_err(|_| provider.tell_failure())?;
    match options.output {
        Output::Json => println!("{}", serde_json::to_string(&summary)?),
        Output::Text => println!("{summary}"),
    }
    Ok(())
}

/// Applies a plan, shows what came of it, and takes it down again.
async fn run(
    platform: &Platform,
    plan: &Plan,
    started: Instant,
    provider: &Provider,
    telemetry: &EmbeddedTelemetry,
    options: &Options,
) -> Result<Summary> {
    let applied = watched(platform.apply(plan)?).await?;
    let mut objects_applied = applied.objects.written();
    objects_applied += promote(platform).await?;
    let ready_after = started.elapsed().as_secs_f64();
    let page = telemetry.console_url();
    if let Some(page) = &page {
        eprintln!(
            "\nReady after {ready_after:.2} s. The page is at {}",
            style(page).for_stderr().bold().cyan()
        );
        if plan.simulated {
            eprintln!(
                "Metrics and logs are this machine's; the workloads of {} clusters are simulated.",
                plan.provider
            );
        }
    }
    let isolation = verify(platform).await?;
    wait(options.duration).await?;

    let stats = match telemetry.store() {
        Some(store) => store.stats().await?,
        None => StoreStats::default(),
    };
    let seen = telemetry.summary().await?;
    let summary = Summary {
        platform: plan.platform.to_string(),
        provider: plan.provider.clone(),
        simulated: plan.simulated,
        clusters: plan.clusters.len(),
        clusters_created: plan.summary().clusters_to_create,
        objects_applied,
        objects_unchanged: applied.objects.unchanged,
        ready_after,
        isolation_holds: isolation.holds(),
        isolation_attempts: isolation.attempts.len(),
        page,
        samples_stored: seen.samples_stored,
        log_lines_stored: seen.log_lines_stored,
        samples_in_store: stats.samples,
        log_lines_in_store: stats.log_records,
        alerts_fired: seen.alerts.iter().map(|alert| alert.fired).sum(),
        notifications_sent: seen.notifications_sent,
        dropped: seen.dropped.iter().map(|(_, count)| count).sum(),
    };
    if let Some(directory) = &options.state {
        platform.shutdown().await?;
        provider.stop().await;
        eprintln!("Clusters and data are kept in {}; `--destroy` removes them.", directory.display());
    } else {
        let confirmation = Confirmation::parse(&platform.confirmation_text());
        watched(platform.destroy(&confirmation).await?).await?;
    }
    Ok(summary)
}

/// Tries whether environments are really kept apart. What simulated workloads leave untried is told in short.
async fn verify(platform: &Platform) -> Result<IsolationReport> {
    let report = platform.verify().await?;
    let text = report.to_string();
    if report.simulated {
        eprintln!("\n{}", text.lines().next().unwrap_or_default());
        report.surprises().for_each(|surprise| eprintln!("  ! {surprise}"));
    } else {
        eprintln!("\n{text}");
    }
    Ok(report)
}

/// Brings applications that wait for it from their first environment to their last; answers with how many objects that wrote.
async fn promote(platform: &Platform) -> Result<usize> {
    let mut written = 0;
    let environments = platform.status().await?.environments;
    for application in &platform.spec().applications {
        let way: Vec<_> = environments
            .iter()
            .filter_map(|e| e.applications.iter().find(|a| a.name == application.name).map(|a| (&e.name, a)))
            .collect();
        let ([(from, _), ..], [.., (to, there)]) = (way.as_slice(), way.as_slice()) else { continue };
        if from == to || there.image.is_some() {
            continue;
        }
        eprintln!("\nPromoting {} from {from} to {to}", application.name);
        let promoted = watched(platform.promote(&application.name, from, to).await?).await?;
        written += promoted.objects.written();
    }
    Ok(written)
}

/// Waits for a run and shows it meanwhile; Ctrl-C cancels it.
async fn watched(mut applying: Applying) -> Result<platform_core::platform::Applied> {
    let events = applying.events();
    let cancellation = applying.cancellation();
    let interrupt = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            cancellation.cancel();
        }
    });
    let (applied, ()) = tokio::join!(applying, show(events));
    interrupt.abort();
    Ok(applied?)
}

async fn wait(duration: Option<Duration>) -> Result {
    if let Some(duration) = duration {
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
    } else {
        eprintln!("Ctrl-C ends it and removes what it made.");
        tokio::signal::ctrl_c().await?;
    }
    eprintln!();
    Ok(())
}

async fn destroy(platform: &Platform, provider: &Provider, confirm: Option<String>) -> Result {
    let wanted = platform.confirmation_text();
    let typed = match confirm {
        Some(text) => text,
        None if std::io::stdin().is_terminal() => {
            eprint!("This removes clusters and data for good. Type {wanted:?} to go on: ");
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line)?;
            line
        }
        None => String::new(),
    };
    watched(platform.destroy(&Confirmation::parse(&typed)).await?).await?;
    provider.clean_up().await?;
    Ok(())
}
