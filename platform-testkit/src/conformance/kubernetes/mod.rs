//! What every Kubernetes API server must do of what the platform relies on.
//!
//! ```text
//! check    a check: a sentence, what it needs, a function
//! scope    what a check gets: a namespace of its own, requests, cleaning up
//! request  requests as they go over the wire, answers as they come
//! stream   watches
//! expect   what is expected of answers
//! ```
//!
//! The other files are subjects. Each check is written against kube-apiserver, which is right by definition; [the embedded
//! API](crate::kubernetes) must come to the same verdicts.
//!
//! ```no_run
//! # async fn example(client: kube::Client) {
//! use platform_testkit::conformance::kubernetes::Suite;
//!
//! let report = Suite::new(client).run().await;
//! println!("{report}");
//! # }
//! ```

#![allow(
    clippy::wildcard_imports,
    clippy::needless_pass_by_value,
    clippy::similar_names,
    reason = "checks read as sentences: the words of `expect` are their vocabulary, values stand where they are expected, and paths are patched"
)]

mod check;
mod expect;
mod request;
mod scope;
mod stream;

mod access;
mod admission;
mod apply;
mod defaults;
mod definitions;
mod deletion;
mod discovery;
mod dry_run;
mod events;
mod forms;
mod garbage;
mod immutables;
mod lists;
mod namespaces;
mod objects;
mod pages;
mod patches;
mod pods;
mod policies;
mod refusals;
mod selectors;
mod strictness;
mod subresources;
mod tokens;
mod validation;
mod watches;

use super::{Report, Verdict};
use check::Check;
use futures::StreamExt as _;
use kube::Client;
use request::Caller;
use scope::{Scope, Server};
use std::time::{Duration, Instant};

/// A check that has not come to an end after this has failed.
const DEADLINE: Duration = Duration::from_secs(180);

/// Subjects and their checks, from the simplest to the most involved.
const SUBJECTS: &[(&str, &[Check])] = &[
    // Before new kinds come and go, for which servers stop to count.
    ("admission", admission::CHECKS),
    ("discovery", discovery::CHECKS),
    ("objects", objects::CHECKS),
    ("deletion", deletion::CHECKS),
    ("apply", apply::CHECKS),
    ("lists", lists::CHECKS),
    ("patches", patches::CHECKS),
    ("defaults", defaults::CHECKS),
    ("validation", validation::CHECKS),
    ("immutables", immutables::CHECKS),
    ("strictness", strictness::CHECKS),
    ("refusals", refusals::CHECKS),
    ("dry run", dry_run::CHECKS),
    ("selectors", selectors::CHECKS),
    ("pages", pages::CHECKS),
    ("watches", watches::CHECKS),
    ("forms", forms::CHECKS),
    ("namespaces", namespaces::CHECKS),
    ("garbage", garbage::CHECKS),
    ("definitions", definitions::CHECKS),
    ("subresources", subresources::CHECKS),
    ("events", events::CHECKS),
    ("policies", policies::CHECKS),
    ("access", access::CHECKS),
    ("tokens", tokens::CHECKS),
    ("pods", pods::CHECKS),
];

/// The suite, to be configured and run on a server.
///
/// It creates namespaces whose names begin with `conformance-`, and cluster-wide objects with that in their names, and deletes them
/// again. What a run that was killed has left does not disturb the next one.
#[derive(Clone)]
pub struct Suite {
    client: Client,
    stranger: Option<Client>,
    image: Option<String>,
    only: Option<String>,
    concurrency: usize,
}

impl Suite {
    /// How many checks run at once unless told otherwise.
    pub const DEFAULT_CONCURRENCY: usize = 8;

    /// A suite on the server of `client`, which must be allowed everything.
    pub fn new(client: Client) -> Self {
        Self { client, stranger: None, image: None, only: None, concurrency: Self::DEFAULT_CONCURRENCY }
    }

    /// Gives a client of the same server that shows no credentials. Without it checks of tokens are skipped.
    #[must_use]
    pub fn stranger(mut self, client: Client) -> Self {
        self.stranger = Some(client);
        self
    }

    /// Sets the image of pods that are to run. Default: a `pause` image that a node says it has.
    #[must_use]
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = Some(image.into());
        self
    }

    /// Runs the checks of one of the [`subjects`](Self::subjects) alone.
    #[must_use]
    pub fn only(mut self, subject: impl Into<String>) -> Self {
        self.only = Some(subject.into());
        self
    }

    /// Sets how many checks run at once, at least 1. Default: [`DEFAULT_CONCURRENCY`](Self::DEFAULT_CONCURRENCY).
    #[must_use]
    pub fn concurrency(mut self, checks: usize) -> Self {
        self.concurrency = checks.max(1);
        self
    }

    /// The subjects, in the order of the report.
    pub fn subjects() -> impl Iterator<Item = &'static str> {
        SUBJECTS.iter().map(|(subject, _)| *subject)
    }

    /// Runs the checks. Whether there are nodes is asked of the server; what needs them is skipped where there are none.
    ///
    /// When the future is dropped, the namespaces of checks under way are left.
    pub async fn run(self) -> Report {
        let mut report = Report::new("kubernetes");
        let caller = Caller::new(self.client);
        let server = match Server::look(caller, self.stranger.map(Caller::new), self.image).await {
            Ok(server) => server,
            Err(why) => {
                let verdict = Verdict::Failed(why);
                report.record("server", "the server answers", verdict, Duration::ZERO);
                return report;
            }
        };
        let chosen = |subject: &str| self.only.as_ref().is_none_or(|only| only == subject);
        let checks: Vec<(&'static str, &'static Check)> = SUBJECTS
            .iter()
            .filter(|(subject, _)| chosen(subject))
            .flat_map(|(subject, checks)| checks.iter().map(|check| (*subject, check)))
            .collect();
        let running = checks.into_iter().enumerate().map(|(index, (subject, check))| {
            let server = &server;
            async move {
                let started = Instant::now();
                let verdict = verdict(server, check).await;
                (index, subject, check.name, verdict, started.elapsed())
            }
        });
        // In the order in which they end, so that a slow one keeps no other from its turn.
        let mut results: Vec<_> =
            futures::stream::iter(running).buffer_unordered(self.concurrency).collect().await;
        results.sort_by_key(|(index, ..)| *index);
        for (_, subject, name, verdict, took) in results {
            report.record(subject, name, verdict, took);
        }
        if let Err(why) = server.clean().await {
            report.record("server", "the suite cleans up", Verdict::Failed(why), Duration::ZERO);
        }
        report
    }
}

async fn verdict(server: &Server, check: &Check) -> Verdict {
    if let Some(why) = server.lacks(check.needs) {
        return Verdict::Skipped(why.to_owned());
    }
    let scope = Scope::new(server);
    let work = async {
        scope.open().await?;
        (check.run)(&scope).await
    };
    let outcome = tokio::time::timeout(DEADLINE, work).await;
    let cleaned = tokio::time::timeout(DEADLINE, scope.close()).await;
    let late = |_| Err(format!("it was not done within {DEADLINE:?}"));
    match outcome.unwrap_or_else(late).and(cleaned.unwrap_or_else(late)) {
        Ok(()) => Verdict::Passed,
        Err(why) => Verdict::Failed(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_check_has_a_sentence_of_its_own() {
        let names: Vec<&str> =
            SUBJECTS.iter().flat_map(|(_, checks)| checks.iter().map(|check| check.name)).collect();
        assert!(names.len() >= 150, "{}", names.len());
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        assert!(names.iter().all(|name| name.contains(' ') && !name.ends_with('.')), "{names:?}");
    }
}
