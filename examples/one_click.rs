//! The whole, in one run: three environments and a control plane, each its own cluster; isolation, components, an application that is
//! deployed to testing and promoted to production; this machine's metrics and logs in a store; a page; an alert that fires.
//!
//! ```text
//! cargo run --example one_click                                  until Ctrl-C
//! cargo run --example one_click -- --for 30s --output json       ends by itself, one JSON object on stdout
//! cargo run --example one_click -- --spec examples/shop.yaml     another platform
//! cargo run --example one_click -- --state DIR                   keeps clusters and data for the next run
//! cargo run --example one_click -- --state DIR --destroy         removes them
//! ```

use clap::{Parser, ValueEnum};
use console::style;
use platform_core::{
    Application, Confirmation, Environment, Image, Platform, PlatformSpec,
    alert::{AlertRule, AlertSeverity, Condition, cpu_percent},
    component::ComponentSpec,
    name::ComponentName,
    platform::Applying,
    telemetry::{StoreStats, TelemetryPlane},
};
use platform_examples::{Result, show};
use platform_k8s::Kubernetes;
use platform_telemetry::{
    notifiers::{Slack, Terminal, Webhook},
    plane::EmbeddedTelemetry,
    sources::{TracingSource, tracing_source},
};
use platform_testkit::EmbeddedProvider;
use serde::Serialize;
use std::{
    fmt,
    io::{BufRead, IsTerminal},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

/// Makes a platform on embedded clusters, shows it, and takes it down again.
#[derive(Debug, Parser)]
struct Options {
    /// Ends by itself after this time (`30s`, `5m`) instead of waiting for Ctrl-C.
    #[arg(long = "for", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// How the summary is printed on stdout.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Reads the platform from a YAML, TOML or JSON file.
    #[arg(long)]
    spec: Option<PathBuf>,
    /// Keeps clusters and data in this directory when it ends.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Removes what a former run kept in the state directory, and ends.
    #[arg(long, requires = "state")]
    destroy: bool,
    /// Confirms the removal, instead of asking: the platform's name and those of its protected environments.
    #[arg(long, requires = "destroy")]
    confirm: Option<String>,
    /// Where the page listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    address: SocketAddr,
    /// The CPU use in percent above which HighCpu is raised.
    #[arg(long, default_value_t = 80.0)]
    cpu_above: f64,
    /// The CPU use in percent above which the demonstration alert is raised, after 5 seconds.
    #[arg(long, default_value_t = 0.0)]
    demo_above: f64,
    /// Log files to follow beside the platform's own events; `*` stands for any part of a file's name.
    #[arg(long, default_values = ["/var/log/syslog", "/var/log/messages"])]
    tail: Vec<String>,
    /// Posts alerts to this URL in Alertmanager's format.
    #[arg(long)]
    webhook: Option<String>,
    /// Posts alerts to Slack by the incoming webhook in the environment variable `SLACK_WEBHOOK_URL`.
    #[arg(long)]
    slack: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[tokio::main]
async fn main() -> Result {
    let options = Options::parse();
    let events = log();
    let provider = match &options.state {
        Some(directory) => EmbeddedProvider::builder().state_dir(directory).open().await?,
        None => EmbeddedProvider::in_memory(),
    };
    let telemetry = Arc::new(telemetry(&options, events)?);
    let spec = match &options.spec {
        Some(file) => PlatformSpec::from_file(file)?,
        None => shop()?,
    };
    let platform = Platform::from_spec(spec)
        .provider(provider.clone())
        .orchestrator(Kubernetes::default())
        .telemetry(telemetry.clone())
        .build()?;
    if options.destroy {
        return destroy(&platform, &provider, options.confirm).await;
    }
    let summary = run(&platform, &provider, &telemetry, &options).await?;
    match options.output {
        Output::Json => println!("{}", serde_json::to_string(&summary)?),
        Output::Text => println!("{summary}"),
    }
    Ok(())
}

/// What the run did, as one JSON object.
#[derive(Debug, Serialize)]
struct Summary {
    platform: String,
    simulated: bool,
    clusters: usize,
    clusters_created: usize,
    objects_applied: usize,
    objects_unchanged: usize,
    /// Seconds from the start of the plan until everything was ready.
    ready_after: f64,
    page: Option<String>,
    samples_stored: u64,
    log_lines_stored: u64,
    /// Those of former runs included.
    samples_in_store: u64,
    log_lines_in_store: u64,
    alerts_fired: u64,
    notifications_sent: u64,
    dropped: u64,
}

/// The summary for people.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} of {} clusters created in {:.2} s",
            self.clusters_created, self.clusters, self.ready_after
        )?;
        writeln!(f, "{} objects written, {} unchanged", self.objects_applied, self.objects_unchanged)?;
        writeln!(
            f,
            "{} samples and {} log lines stored, {} dropped; {} and {} in the store",
            self.samples_stored,
            self.log_lines_stored,
            self.dropped,
            self.samples_in_store,
            self.log_lines_in_store
        )?;
        write!(f, "{} alerts fired, {} notifications sent", self.alerts_fired, self.notifications_sent)
    }
}

async fn run(
    platform: &Platform,
    provider: &EmbeddedProvider,
    telemetry: &EmbeddedTelemetry,
    options: &Options,
) -> Result<Summary> {
    let started = std::time::Instant::now();
    let plan = platform.plan().await?;
    eprintln!("{plan}\n");
    if plan.is_empty() {
        eprintln!("Everything is as wanted: nothing is applied.\n");
    }
    let applied = watched(platform.apply(&plan)?).await?;
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
                "Metrics and logs are this machine's; the workloads of embedded clusters are simulated."
            );
        }
    }
    wait(options.duration).await?;

    let stats = match telemetry.store() {
        Some(store) => store.stats().await?,
        None => StoreStats::default(),
    };
    let seen = telemetry.summary().await?;
    let summary = Summary {
        platform: plan.platform.to_string(),
        simulated: plan.simulated,
        clusters: plan.clusters.len(),
        clusters_created: plan.summary().clusters_to_create,
        objects_applied,
        objects_unchanged: applied.objects.unchanged,
        ready_after,
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

async fn destroy(platform: &Platform, provider: &EmbeddedProvider, confirm: Option<String>) -> Result {
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
    provider.remove_state_dir().await?;
    Ok(())
}

/// The platform of this example: its document says the same as `shop.yaml`.
fn shop() -> platform_core::Result<PlatformSpec> {
    let mut spec = PlatformSpec::new("shop")?;
    spec.environments = vec![
        Environment::new("testing")?,
        Environment::new("staging")?,
        Environment::new("production")?.protected(true).nodes(3),
    ];
    for component in ["node-exporter", "kube-state-metrics"] {
        spec.components.push(ComponentSpec::new(ComponentName::new(component)?));
    }
    let image = Image::parse("registry.example.com/shop/api1:1.4.0")?;
    spec.applications.push(
        Application::new("api1", image)?
            .environments(["testing", "production"])?
            .replicas(2)
            .port(8080)
            .route("api1.shop.example.com"),
    );
    Ok(spec)
}

fn telemetry(options: &Options, events: TracingSource) -> platform_core::Result<EmbeddedTelemetry> {
    let demonstration = AlertRule::new(
        "CpuInUse",
        cpu_percent(Duration::from_secs(60)),
        Condition::Above(options.demo_above),
    )?
    .pending_for(Duration::from_secs(5))
    .severity(AlertSeverity::Info)
    .summary("A demonstration: CPU of cluster {{cluster}} is at {{value}} %");
    let mut builder = EmbeddedTelemetry::builder()
        .interval(Duration::from_secs(2))
        .evaluation_interval(Duration::from_secs(2))
        .console_address(options.address)
        .tracing(events)
        .tail(options.tail.clone())
        .alert(AlertRule::high_cpu(options.cpu_above))
        .alert(demonstration)
        .notifier(Arc::new(Terminal::stderr()));
    builder = match &options.state {
        Some(directory) => builder.data_dir(directory.join("telemetry")),
        None => builder.temporary(),
    };
    if let Some(url) = &options.webhook {
        builder = builder.notifier(Arc::new(Webhook::new(url)?));
    }
    if options.slack {
        let url = std::env::var("SLACK_WEBHOOK_URL").unwrap_or_default();
        builder = builder.notifier(Arc::new(Slack::new(url)?));
    }
    builder.build()
}

/// The platform's own `tracing` events: warnings go to stderr, everything of note into the store.
fn log() -> TracingSource {
    let (layer, source) = tracing_source(10_000);
    let stderr = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let writer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(stderr);
    // Fails only if there is a subscriber already, which then has these events.
    let _ = tracing_subscriber::registry().with(writer).with(layer).try_init();
    source
}
