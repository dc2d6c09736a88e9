//! The Lua script that makes documents of records: what Fluent Bit has no filter for.

use platform_core::{
    name::EnvironmentName,
    telemetry::{
        Severity,
        document::{
            LINE_ATTRIBUTES, METRIC_NAME, RESOURCE_ATTRIBUTES, Signal, TRACE_FIELDS, Topic, severity_number,
        },
    },
};
use std::fmt::Write as _;

/// The functions of the script that filters call.
pub(super) const OF_CONTAINER: &str = "of_container";
pub(super) const OF_OWN_OUTPUT: &str = "of_own_output";

/// The keys of what they make: the message, and where it goes.
pub(super) const MESSAGE: &str = "message";
pub(super) const TOPIC: &str = "topic";
pub(super) const KEY: &str = "key";

/// Where the script runs.
pub(super) struct Place<'a> {
    pub(super) cluster: &'a str,
    /// The environment of everything in the cluster, if there is only one.
    pub(super) environment: Option<&'a str>,
    /// The environments of the cluster: a namespace's label that names none of them is not believed, for only these have topics.
    pub(super) environments: &'a [EnvironmentName],
    /// Under which name telemetry of no environment goes.
    pub(super) otherwise: &'a str,
    /// The label `instance` of each job's series: a text, or a variable of the pod's environment.
    pub(super) instances: Vec<(&'a str, Instance<'a>)>,
    /// The label of namespaces that names their environment.
    pub(super) environment_label: &'a str,
    /// The label of pods that names what runs in them.
    pub(super) service_label: &'a str,
}

/// What tells the series of one job apart by where they were scraped.
pub(super) enum Instance<'a> {
    Address(String),
    Variable(&'a str),
}

/// The script: tables that say what the platform's documents look like, and the functions that fill them.
pub(super) fn script(place: &Place<'_>) -> String {
    let mut script = String::from("-- Rendered from the platform's types of documents.\n");
    let mut constant = |name: &str, value: String| {
        let _ = writeln!(script, "local {name} = {value}");
    };
    constant("CLUSTER", text(place.cluster));
    constant("ENVIRONMENT", place.environment.map_or("nil".to_owned(), text));
    let environments: Vec<(&str, &str)> =
        place.environments.iter().map(|name| (name.as_str(), name.as_str())).collect();
    constant("ENVIRONMENTS", table(&environments));
    constant("OTHERWISE", text(place.otherwise));
    constant("ENVIRONMENT_LABEL", text(place.environment_label));
    constant("SERVICE_LABEL", text(place.service_label));
    let instances: Vec<String> = place
        .instances
        .iter()
        .map(|(job, instance)| match instance {
            Instance::Address(address) => format!("[{}] = {}", text(job), text(address)),
            Instance::Variable(variable) => format!("[{}] = os.getenv({})", text(job), text(variable)),
        })
        .collect();
    constant("INSTANCES", format!("{{{}}}", instances.join(", ")));
    constant("METRIC_NAME", text(METRIC_NAME));
    constant("RESOURCE", table(&RESOURCE_ATTRIBUTES));
    constant("LINE", table(&LINE_ATTRIBUTES));
    constant("TRACE", table(&TRACE_FIELDS.map(|field| (field, field))));
    for (name, signal) in [("METRICS", Signal::Metrics), ("LOGS", Signal::Logs)] {
        let topic = Topic::of(signal).name("");
        let fields = [("type", signal.as_str()), ("dataset", signal.dataset()), ("topic", topic.as_str())];
        constant(name, table(&fields));
    }
    let words = Severity::WORDS.map(|(word, severity)| (word, severity.as_str()));
    constant("WORDS", table(&words));
    let levels: Vec<String> = Severity::ALL.iter().map(|severity| text(severity.as_str())).collect();
    constant("LEVELS", format!("{{{}}}", levels.join(", ")));
    let numbers: Vec<String> =
        Severity::ALL.iter().map(|s| format!("[{}] = {}", text(s.as_str()), severity_number(*s))).collect();
    constant("NUMBERS", format!("{{{}}}", numbers.join(", ")));
    script.push_str(include_str!("documents.lua"));
    script
}

fn table(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("[{}] = {}", text(key), text(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// A text as Lua writes it. Everything that is rendered here is made of names, which have nothing to escape but these.
fn text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\{:03}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
