//! What was read a moment ago, so that one plan reads it once.

use crate::lifecycle::observe::Observed;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// For how long it is taken for the present: a plan reads a cluster, then asks how it is and how to reach it.
const MOMENT: Duration = Duration::from_secs(5);

/// Clusters as they were a moment ago. Only reading methods take it; whatever writes looks anew.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<HashMap<String, (Instant, Arc<Observed>)>>);

impl Recent {
    pub(super) fn keep(&self, observed: Observed) {
        if let Some(name) = observed.cluster.name().map(str::to_owned) {
            self.clusters().insert(name, (Instant::now(), Arc::new(observed)));
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Observed>> {
        let mut clusters = self.clusters();
        clusters.retain(|_, (read, _)| read.elapsed() < MOMENT);
        clusters.get(name).map(|(_, observed)| observed.clone())
    }

    pub(super) fn forget(&self, name: &str) {
        self.clusters().remove(name);
    }

    fn clusters(&self) -> MutexGuard<'_, HashMap<String, (Instant, Arc<Observed>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
