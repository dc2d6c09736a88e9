//! What controllers of a cluster left behind outside of it.

use super::job::Job;
use crate::{
    api::{Leftover, LeftoverKind},
    wait::State,
};
use platform_core::{Error, Result};
use std::{collections::BTreeMap, sync::Mutex};

/// What could not be deleted, and why.
#[derive(Debug, Clone, Default)]
pub(crate) struct Left(pub(crate) Vec<(Leftover, String)>);

impl Left {
    /// As a list for people.
    pub(crate) fn describe(&self) -> String {
        self.0
            .iter()
            .map(|(left, why)| format!("{} {} ({why})", left.kind, left.id))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl Job<'_> {
    /// Deletes what bears the cluster's tags: load balancers first, since they hold interfaces, which hold security groups. What is in use is
    /// tried again until the deadline, since load balancers give up their interfaces minutes later. `kinds` are those that may go now.
    pub(crate) async fn sweep(&self, vpc: Option<&str>, kinds: &[LeftoverKind]) -> Result<Left> {
        let left: Mutex<Left> = Mutex::default();
        let read = || async {
            let mut leftovers = self.aws.network.leftovers(self.name(), vpc).await?;
            leftovers.retain(|leftover| kinds.contains(&leftover.kind));
            leftovers.sort();
            if leftovers.is_empty() {
                set(&left, Left::default());
                return Ok(State::Done(()));
            }
            let mut failed = Left::default();
            let mut counts: BTreeMap<LeftoverKind, usize> = BTreeMap::new();
            for leftover in leftovers {
                *counts.entry(leftover.kind).or_default() += 1;
                if let Some(use_) = &leftover.in_use {
                    failed.0.push((leftover.clone(), use_.clone()));
                } else if let Err(error) = self.aws.network.delete(&leftover).await {
                    if !error.is_retryable() {
                        return Err(Error::from(error)
                            .operation("delete")
                            .subject(format!("{} {}", leftover.kind, leftover.id)));
                    }
                    failed.0.push((leftover, error.message));
                } else {
                    self.progress.report(format!(
                        "deleted {} {}, which a controller had left",
                        leftover.kind, leftover.id
                    ));
                }
            }
            let state =
                counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ");
            set(&left, failed);
            Ok(State::Pending(format!("{state} left")))
        };
        if let State::Done(()) = read().await? {
            return Ok(Left::default());
        }
        match self.waiter(self.deadlines.settle).until("what controllers left", read).await {
            Ok(()) => Ok(Left::default()),
            Err(error) if error.kind() == platform_core::ErrorKind::Timeout => {
                Ok(left.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
            }
            Err(error) => Err(error),
        }
    }
}

fn set(left: &Mutex<Left>, to: Left) {
    *left.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = to;
}
