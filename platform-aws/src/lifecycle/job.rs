//! One cluster as it is wanted, and what it is worked on with.

use crate::{
    api::{ApiErrorKind, ApiResult, Aws},
    ownership,
    settings::EksSettings,
    wait::{Polling, State, Waiter},
};
use aws_sdk_eks::{
    operation::describe_update::builders::DescribeUpdateInputBuilder,
    types::{ErrorCode, Update, UpdateStatus},
};
use futures::{StreamExt, TryStreamExt, future::BoxFuture};
use ipnet::Ipv4Net;
use platform_core::{Error, ErrorKind, Result, cluster::ClusterSpec, event::Progress, name::ClusterName};
use ring::digest;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How many parts of one cluster are worked on at the same time.
const CONCURRENCY: usize = 8;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    pub(crate) stack: Duration,
    pub(crate) cluster: Duration,
    pub(crate) nodes: Duration,
    pub(crate) settle: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self { stack: minutes(20), cluster: minutes(40), nodes: minutes(40), settle: minutes(5) }
    }
}

/// The addresses that clusters of this process are about to take. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reservations(Arc<Mutex<BTreeMap<String, Ipv4Net>>>);

impl Reservations {
    /// Reserves for a cluster what `choose` answers, given what others have reserved.
    pub(crate) fn reserve<T>(
        &self,
        cluster: &ClusterName,
        choose: impl FnOnce(&[Ipv4Net]) -> Result<T>,
        net: impl FnOnce(&T) -> Ipv4Net,
    ) -> Result<T> {
        let mut reserved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others: Vec<Ipv4Net> =
            reserved.iter().filter(|(name, _)| *name != cluster.as_str()).map(|(_, net)| *net).collect();
        let chosen = choose(&others)?;
        reserved.insert(cluster.to_string(), net(&chosen));
        Ok(chosen)
    }

    /// Forgets what a cluster had reserved.
    pub(crate) fn release(&self, cluster: &ClusterName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(cluster.as_str());
    }
}

/// A cluster that is worked on.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) aws: &'a Aws,
    pub(crate) spec: &'a ClusterSpec,
    pub(crate) settings: &'a EksSettings,
    pub(crate) polling: &'a Polling,
    pub(crate) deadlines: Deadlines,
    pub(crate) reservations: &'a Reservations,
    pub(crate) partition: &'a str,
    /// What tells this run from others.
    pub(crate) run: String,
    pub(crate) progress: &'a Progress,
}

impl Job<'_> {
    pub(crate) fn name(&self) -> &str {
        self.spec.name.as_str()
    }

    pub(crate) fn tags(&self) -> BTreeMap<String, String> {
        ownership::tags(self.spec, &self.settings.tags)
    }

    pub(crate) fn waiter(&self, deadline: Duration) -> Waiter<'_> {
        Waiter { polling: self.polling, progress: self.progress, deadline }
    }

    /// Whether EKS is to refuse a deletion.
    pub(crate) fn deletion_protection(&self) -> bool {
        self.settings.deletion_protection.unwrap_or(self.spec.protected)
    }

    /// A request token that is the same as often as this run repeats a request: EKS answers it with what the first one made. That of another run
    /// differs, or it would be answered with what has failed or been deleted since; what another run made is found by its name.
    pub(crate) fn token(&self, incarnation: &str, action: &str, content: &str) -> String {
        fingerprint(&[self.spec.platform.as_str(), self.name(), &self.run, incarnation, action, content])
    }

    /// Waits for an update of the cluster, a node group or an addon.
    pub(crate) async fn finish_update(
        &self,
        what: &str,
        update: &Update,
        of: impl Fn(DescribeUpdateInputBuilder) -> DescribeUpdateInputBuilder + Sync,
        deadline: Duration,
    ) -> Result<()> {
        let (State::Pending(_), Some(id)) = (update_state(what, update)?, update.id()) else { return Ok(()) };
        let read = || async {
            let request = of(DescribeUpdateInputBuilder::default().name(self.name()).update_id(id));
            update_state(what, &self.aws.clusters.describe_update(request).await?)
        };
        self.waiter(deadline).until(what, read).await
    }
}

/// How far an update is. One of which AWS does not say is done.
fn update_state(what: &str, update: &Update) -> Result<State<()>> {
    match update.status() {
        None | Some(UpdateStatus::Successful) => Ok(State::Done(())),
        Some(status @ (UpdateStatus::Failed | UpdateStatus::Cancelled)) => {
            let reasons: Vec<String> = update
                .errors()
                .iter()
                .map(|error| {
                    let code = error.error_code().map(ErrorCode::as_str).unwrap_or_default();
                    let resources = error.resource_ids().join(", ");
                    let text = format!("{code}: {} {resources}", error.error_message().unwrap_or_default());
                    text.trim_end().to_owned()
                })
                .collect();
            let message = format!("{what}: the update is {}: {}", status.as_str(), reasons.join("; "));
            Err(Error::new(ErrorKind::Failed, message).help("mend what it names, then run it again"))
        }
        Some(status) => Ok(State::Pending(status.as_str().to_owned())),
    }
}

/// What is there, or nothing.
pub(crate) fn found<T>(answer: ApiResult<T>) -> ApiResult<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind == ApiErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Runs all of them, some at the same time, and answers in their order; ends with the first that fails.
pub(crate) async fn all<T>(work: Vec<BoxFuture<'_, Result<T>>>) -> Result<Vec<T>> {
    futures::stream::iter(work).buffered(CONCURRENCY).try_collect().await
}

/// SHA-256 of these parts, in 64 hexadecimal digits.
pub(crate) fn fingerprint(parts: &[&str]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
