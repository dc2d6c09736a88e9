//! What every [`ClusterProvider`] must do.

use super::{Outcome, Report, ensure, ensure_eq, ensure_fails};
use platform_core::{
    ErrorKind,
    cluster::{ClusterChange, ClusterPhase, ClusterProvider, ClusterRole, ClusterSpec, Deletion},
    event::Progress,
    name::{ClusterName, EnvironmentName, PlatformName},
};

/// Runs the suite on a provider. It makes at most two clusters at a time, whose names begin with `platform`, and deletes them.
pub async fn run(provider: &dyn ClusterProvider, platform: &PlatformName) -> Report {
    let suite = match Suite::new(provider, platform) {
        Ok(suite) => suite,
        Err(error) => {
            let mut report = Report::new("provider");
            report.check("names can be made", async { Err(error.to_string()) }).await;
            return report;
        }
    };
    let mut report = Report::new("provider");
    report.check("preflight passes where the suite is run", suite.preflight()).await;
    report.check("what does not exist is planned as create and described as none", suite.absent()).await;
    report.check("reading leaves nothing behind", suite.reading_is_free()).await;
    report.check("a created cluster runs, is listed and can be reached", suite.create()).await;
    report.check("creating it again changes nothing", suite.create_is_idempotent()).await;
    report.check("a change of nodes is planned before it is made", suite.nodes()).await;
    report.check("a cluster of another platform is neither shown nor touched", suite.foreign()).await;
    report
        .check("two clusters are made at the same time and do not know each other", suite.two_at_once())
        .await;
    report.check("a deleted cluster is gone, and deleting it again is fine", suite.delete()).await;
    suite.clean_up().await;
    report
}

struct Suite<'a> {
    provider: &'a dyn ClusterProvider,
    platform: PlatformName,
    stranger: PlatformName,
    first: ClusterSpec,
    second: ClusterSpec,
    progress: Progress,
}

impl<'a> Suite<'a> {
    fn new(provider: &'a dyn ClusterProvider, platform: &PlatformName) -> platform_core::Result<Self> {
        let spec = |suffix: &str, role: ClusterRole| -> platform_core::Result<ClusterSpec> {
            let name = ClusterName::new(format!("{platform}-{suffix}"))?;
            Ok(ClusterSpec::new(platform.clone(), name, role))
        };
        let environment = EnvironmentName::new("first")?;
        Ok(Self {
            provider,
            platform: platform.clone(),
            stranger: PlatformName::new("stranger")?,
            first: spec("first", ClusterRole::Environments(vec![environment]))?,
            second: spec("second", ClusterRole::ControlPlane)?,
            progress: Progress::silent(),
        })
    }

    async fn preflight(&self) -> Outcome {
        self.provider.preflight().await.map_err(|e| e.to_string())
    }

    async fn absent(&self) -> Outcome {
        let plan = self.provider.plan(&self.first).await.map_err(|e| e.to_string())?;
        ensure_eq(&plan, &ClusterChange::Create, "the plan")?;
        let described =
            self.provider.describe(&self.platform, &self.first.name).await.map_err(|e| e.to_string())?;
        ensure_eq(&described, &None, "the description")?;
        let access = self.provider.access(&self.platform, &self.first.name).await;
        ensure_fails(access, ErrorKind::NotFound, "access to it")
    }

    async fn reading_is_free(&self) -> Outcome {
        let listed = self.provider.list(&self.platform).await.map_err(|e| e.to_string())?;
        ensure(listed.is_empty(), || format!("after reading alone there is {listed:?}"))
    }

    async fn create(&self) -> Outcome {
        let status = self.provider.create(&self.first, &self.progress).await.map_err(|e| e.to_string())?;
        ensure_eq(&status.phase, &ClusterPhase::Running, "the phase")?;
        ensure_eq(&status.name, &self.first.name, "the name")?;
        ensure(status.kubernetes_version.as_ref().is_some_and(|v| v.starts_with("v1.")), || {
            format!("the version is {:?}", status.kubernetes_version)
        })?;
        let names: Vec<ClusterName> = self
            .provider
            .list(&self.platform)
            .await
            .map_err(|e| e.to_string())?
            .into_iter()
            .map(|s| s.name)
            .collect();
        ensure_eq(&names, &vec![self.first.name.clone()], "the list")?;
        let access =
            self.provider.access(&self.platform, &self.first.name).await.map_err(|e| e.to_string())?;
        ensure(access.server.starts_with("http"), || format!("the server is {:?}", access.server))?;
        access.credentials.credential().await.map(drop).map_err(|e| e.to_string())
    }

    async fn create_is_idempotent(&self) -> Outcome {
        let before =
            self.provider.describe(&self.platform, &self.first.name).await.map_err(|e| e.to_string())?;
        ensure_eq(
            &self.provider.plan(&self.first).await.map_err(|e| e.to_string())?,
            &ClusterChange::Unchanged,
            "the plan",
        )?;
        self.provider.create(&self.first, &self.progress).await.map_err(|e| e.to_string())?;
        let after =
            self.provider.describe(&self.platform, &self.first.name).await.map_err(|e| e.to_string())?;
        ensure_eq(&after, &before, "the cluster")
    }

    async fn nodes(&self) -> Outcome {
        let mut wider = self.first.clone();
        wider.nodes += 1;
        match self.provider.plan(&wider).await.map_err(|e| e.to_string())? {
            ClusterChange::Update { differences } => {
                ensure(differences.iter().any(|d| d.contains("nodes")), || {
                    format!("it says {differences:?}")
                })?;
                let status = self.provider.create(&wider, &self.progress).await.map_err(|e| e.to_string())?;
                ensure_eq(&status.nodes, &wider.nodes, "the nodes")?;
                let plan = self.provider.plan(&wider).await.map_err(|e| e.to_string())?;
                ensure_eq(&plan, &ClusterChange::Unchanged, "the plan afterwards")?;
                self.provider.create(&self.first, &self.progress).await.map(drop).map_err(|e| e.to_string())
            }
            ClusterChange::Recreate { differences } => {
                ensure(differences.iter().any(|d| d.contains("nodes")), || {
                    format!("it says {differences:?}")
                })?;
                let refused = self.provider.create(&wider, &self.progress).await;
                ensure_fails(refused, ErrorKind::Unsupported, "creating it")
            }
            other => Err(format!("the plan is {other:?}")),
        }
    }

    async fn foreign(&self) -> Outcome {
        let described =
            self.provider.describe(&self.stranger, &self.first.name).await.map_err(|e| e.to_string())?;
        ensure_eq(&described, &None, "the description for a stranger")?;
        let listed = self.provider.list(&self.stranger).await.map_err(|e| e.to_string())?;
        ensure(listed.is_empty(), || format!("a stranger is shown {listed:?}"))?;
        let access = self.provider.access(&self.stranger, &self.first.name).await;
        ensure_fails(access, ErrorKind::NotFound, "a stranger's access")?;
        let mut taken = self.first.clone();
        taken.platform = self.stranger.clone();
        let created = self.provider.create(&taken, &self.progress).await;
        ensure_fails(created, ErrorKind::AlreadyExists, "a stranger's create")?;
        let deleted = self.provider.delete(&self.stranger, &self.first.name, &self.progress).await;
        ensure_fails(deleted, ErrorKind::AlreadyExists, "a stranger's delete")?;
        let described =
            self.provider.describe(&self.platform, &self.first.name).await.map_err(|e| e.to_string())?;
        ensure(described.is_some(), || "a stranger deleted the cluster".to_owned())
    }

    async fn two_at_once(&self) -> Outcome {
        let (first, second) = tokio::join!(
            self.provider.create(&self.first, &self.progress),
            self.provider.create(&self.second, &self.progress),
        );
        let (first, second) = (first.map_err(|e| e.to_string())?, second.map_err(|e| e.to_string())?);
        ensure(first.server != second.server, || format!("both are at {:?}", first.server))?;
        let names: Vec<ClusterName> = self
            .provider
            .list(&self.platform)
            .await
            .map_err(|e| e.to_string())?
            .into_iter()
            .map(|s| s.name)
            .collect();
        ensure_eq(&names, &vec![self.first.name.clone(), self.second.name.clone()], "the list, by name")
    }

    async fn delete(&self) -> Outcome {
        for wanted in [Deletion::Deleted, Deletion::Absent] {
            let deletion = self.provider.delete(&self.platform, &self.first.name, &self.progress).await;
            ensure_eq(&deletion.map_err(|e| e.to_string())?, &wanted, "the deletion")?;
        }
        self.absent().await?;
        let names: Vec<ClusterName> = self
            .provider
            .list(&self.platform)
            .await
            .map_err(|e| e.to_string())?
            .into_iter()
            .map(|s| s.name)
            .collect();
        ensure_eq(&names, &vec![self.second.name.clone()], "what is left")
    }

    async fn clean_up(&self) {
        for spec in [&self.first, &self.second] {
            if let Err(error) = self.provider.delete(&self.platform, &spec.name, &self.progress).await {
                tracing::warn!(cluster = %spec.name, %error, "a cluster of the conformance suite is left behind");
            }
        }
    }
}
