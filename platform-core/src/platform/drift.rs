//! What others made of what was applied.

use super::{
    Inner, Platform, READING,
    layout::{ClusterLayout, Layout},
    within,
};
use crate::{
    clock::Timestamp,
    cluster::{ClusterPhase, ObjectDrift},
    error::Result,
    name::{ClusterName, PlatformName},
    plan::SetSubject,
};
use futures::future::try_join_all;
use serde::Serialize;
use std::fmt;

/// What of a platform is not as it was applied. Made by [`Platform::drift`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DriftReport {
    /// When it was looked at.
    pub at: Timestamp,
    /// The platform.
    pub platform: PlatformName,
    /// Where something drifted; empty if nothing did.
    pub sets: Vec<SetDrift>,
}

/// What of a set is not as it was applied.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SetDrift {
    /// Its cluster.
    pub cluster: ClusterName,
    /// What it is.
    #[serde(flatten)]
    pub subject: SetSubject,
    /// The objects, in the order of the set.
    pub objects: Vec<ObjectDrift>,
}

impl DriftReport {
    /// Whether everything is as it was applied.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// How many objects are not as they were applied.
    pub fn objects(&self) -> usize {
        self.sets.iter().map(|set| set.objects.len()).sum()
    }
}

impl fmt::Display for DriftReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cluster = None;
        for set in &self.sets {
            if cluster != Some(&set.cluster) {
                writeln!(f, "cluster {}", set.cluster)?;
                cluster = Some(&set.cluster);
            }
            writeln!(f, "    {}", set.subject)?;
            for line in set.objects.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").lines() {
                writeln!(f, "        {line}")?;
            }
        }
        match self.objects() {
            0 => write!(f, "Platform {} is as it was applied.", self.platform),
            1 => write!(f, "1 object of platform {} is not as it was applied.", self.platform),
            n => write!(f, "{n} objects of platform {} are not as they were applied.", self.platform),
        }
    }
}

impl Platform {
    /// What others made of what was applied: which fields of which objects, who did it and when. Reads only. Clusters that do not run are left out,
    /// and what the spec changed since the last apply is no drift.
    ///
    /// [`apply`](Self::apply) repairs what was removed or deleted; fields that somebody else owns now are a conflict, which only
    /// [`ApplyOptions::force`](crate::cluster::ApplyOptions::force) ends.
    ///
    /// Fails if a provider or a running cluster does not answer, with [`Timeout`](crate::ErrorKind::Timeout) after 2 minutes for each cluster.
    pub async fn drift(&self) -> Result<DriftReport> {
        let inner = &self.0;
        let clusters = Layout::new(&inner.spec).clusters();
        let looking = clusters.iter().map(|layout| {
            let name = &layout.spec.name;
            within(READING, "look for drift in", format!("cluster {name}"), inner.drift_in(layout))
        });
        let sets = try_join_all(looking).await?.into_iter().flatten().collect();
        Ok(DriftReport { at: inner.clock.now(), platform: inner.spec.name.clone(), sets })
    }
}

impl Inner {
    async fn drift_in(&self, layout: &ClusterLayout) -> Result<Vec<SetDrift>> {
        let name = &layout.spec.name;
        let status = self.provider.describe(&self.spec.name, name).await?;
        if status.is_none_or(|status| status.phase != ClusterPhase::Running) {
            return Ok(Vec::new());
        }
        let cluster = self.connect(name).await?;
        let options = self.apply_options();
        let sets = self.sets(layout, Some(&*cluster)).await?;
        let looking = sets.into_iter().map(|(subject, set, _)| {
            let (cluster, options) = (&cluster, &options);
            async move {
                let objects = cluster.drift(&set, options).await?;
                Ok(SetDrift { cluster: name.clone(), subject, objects })
            }
        });
        let drifted = try_join_all(looking).await?;
        Ok(drifted.into_iter().filter(|set| !set.objects.is_empty()).collect())
    }
}
