//! Versions of Kubernetes: one at a time, nodes and addons after the control plane, and never back.

use crate::{
    seam::{self, NodeGroups},
    server::{Emulator, cluster},
    wire::Wire,
};
use async_trait::async_trait;
use aws_sdk_eks::{
    operation::{
        create_addon::builders::CreateAddonInputBuilder, update_addon::builders::UpdateAddonInputBuilder,
    },
    types::{Addon, AddonInfo, AddonVersionInfo, Compatibility, Update},
};
use platform_aws::{
    EksProvider,
    api::{AddonApi, ApiResult, Aws},
};
use platform_core::{
    ErrorKind,
    cluster::{ClusterChange, ClusterProvider, ClusterSpec},
    event::Progress,
};
use serde_json::json;
use std::sync::Arc;

const NAME: &str = "shop-testing";
const SETTINGS: &str = "
nodeGroups: [{ name: workers }, { name: more }]
addons: [{ name: vpc-cni }, { name: coredns, version: v9.9.9-eksbuild.1 }]
";

/// Addons that have a default version for each version of Kubernetes, as those of EKS.
#[derive(Debug)]
struct Catalogue(Arc<dyn AddonApi>);

#[async_trait]
impl AddonApi for Catalogue {
    async fn list(&self, cluster: &str) -> ApiResult<Vec<String>> {
        self.0.list(cluster).await
    }
    async fn describe(&self, cluster: &str, name: &str) -> ApiResult<Addon> {
        self.0.describe(cluster, name).await
    }
    async fn create(&self, request: CreateAddonInputBuilder) -> ApiResult<Addon> {
        self.0.create(request).await
    }
    async fn update(&self, request: UpdateAddonInputBuilder) -> ApiResult<Update> {
        self.0.update(request).await
    }
    async fn versions(&self, name: &str, kubernetes_version: &str) -> ApiResult<Vec<AddonInfo>> {
        let version = |version: String, is_default: bool| {
            let compatibility =
                Compatibility::builder().cluster_version(kubernetes_version).default_version(is_default);
            AddonVersionInfo::builder().addon_version(version).compatibilities(compatibility.build()).build()
        };
        let addon = AddonInfo::builder()
            .addon_name(name)
            .addon_versions(version(format!("v{kubernetes_version}.9-eksbuild.1"), false))
            .addon_versions(version(format!("v{kubernetes_version}.0-eksbuild.1"), true));
        Ok(vec![addon.build()])
    }
    async fn delete(&self, cluster: &str, name: &str) -> ApiResult<()> {
        self.0.delete(cluster, name).await
    }
}

fn at(version: &str) -> ClusterSpec {
    let mut spec = cluster(NAME);
    spec.kubernetes_version = Some(version.to_owned());
    spec
}

struct Ground {
    emulator: Emulator,
    provider: EksProvider,
    wire: Wire,
    groups: Arc<NodeGroups>,
}

/// A cluster of 1.31.
async fn ground() -> Ground {
    let emulator = Emulator::start().await;
    let mut groups = None;
    let (provider, wire) = seam::provider(&emulator, SETTINGS, |aws: &mut Aws| {
        let updatable = Arc::new(NodeGroups::new(aws));
        aws.node_groups = updatable.clone();
        aws.addons = Arc::new(Catalogue(aws.addons.clone()));
        groups = Some(updatable);
    })
    .await;
    provider.create(&at("1.31"), &Progress::silent()).await.unwrap();
    wire.take_calls();
    Ground { emulator, provider, wire, groups: groups.unwrap() }
}

impl Ground {
    async fn assert_at(&self, version: &str) {
        let aws = self.provider.aws();
        assert_eq!(aws.clusters.describe(NAME).await.unwrap().version(), Some(version));
        for group in ["workers", "more"] {
            let there = aws.node_groups.describe(NAME, group).await.unwrap();
            assert_eq!(there.version(), Some(version), "{group}");
        }
        let addon = async |name: &str| aws.addons.describe(NAME, name).await.unwrap().addon_version.unwrap();
        assert_eq!(addon("vpc-cni").await, format!("v{version}.0-eksbuild.1"));
        assert_eq!(addon("coredns").await, "v9.9.9-eksbuild.1", "it has a version of its own");
        assert_eq!(self.provider.changes(&at(version)).await.unwrap().unwrap().to_string(), "");
    }

    fn updates(&self) -> Vec<String> {
        let mut updates = std::mem::take(&mut *self.groups.updates.lock().unwrap());
        // Groups are updated at the same time.
        for pair in updates.chunks_mut(2) {
            pair.sort();
        }
        updates
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn an_upgrade_goes_by_every_version_between_and_never_back() {
    let ground = ground().await;
    let spec = at("1.33");
    let ClusterChange::Update { differences } = ground.provider.plan(&spec).await.unwrap() else {
        panic!("it is no update")
    };
    assert_eq!(differences, ["kubernetes version: 1.31 -> 1.32", "kubernetes version: 1.32 -> 1.33"]);
    ground.provider.create(&spec, &Progress::silent()).await.unwrap();
    let versions = ground.wire.take_calls();
    let versions =
        versions.iter().filter(|call| call.what.ends_with("/updates") && call.status == 200).count();
    assert_eq!(versions, 2);
    assert_eq!(ground.updates(), ["more to 1.32", "workers to 1.32", "more to 1.33", "workers to 1.33"]);
    ground.assert_at("1.33").await;

    let back = at("1.32");
    let ClusterChange::Recreate { differences } = ground.provider.plan(&back).await.unwrap() else {
        panic!("it is no recreation")
    };
    assert_eq!(differences, ["kubernetes version: 1.33 -> 1.32 (EKS does not go back)"]);
    ground.wire.take_calls();
    let refused = ground.provider.create(&back, &Progress::silent()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    assert!(refused.to_string().contains("1.33 -> 1.32"), "{refused}");
    assert!(
        ground
            .wire
            .take_calls()
            .iter()
            .all(|call| call.what.starts_with("GET") || call.what.contains("Describe"))
    );
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn an_upgrade_that_ends_at_any_write_is_completed_by_the_next_run() {
    let ground = ground().await;
    let silent = Progress::silent();
    let refusal = |call: &str, after: usize| {
        json!({"match": call, "status": 403, "times": after, "type": "AccessDeniedException", "body": {"message": "no"}})
            .to_string()
    };
    // Before the control plane; after it, before addons; after addons, before they are noted.
    let mut version = 31;
    for call in ["POST /clusters/shop-testing/updates", "POST /clusters/shop-testing/addons/vpc-cni/update"] {
        version += 1;
        let spec = at(&format!("1.{version}"));
        ground.emulator.fault(&refusal(call, 1));
        let error = ground.provider.create(&spec, &silent).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{call}: {error}");
        let there = ground.provider.aws().node_groups.describe(NAME, "workers").await.unwrap();
        assert_eq!(there.version(), Some(format!("1.{}", version - 1).as_str()), "{call}");
        let left = ground.provider.changes(&spec).await.unwrap().unwrap();
        assert!(!left.is_empty(), "{call}");
        ground.provider.create(&spec, &silent).await.unwrap();
        ground.assert_at(&format!("1.{version}")).await;
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn groups_that_an_earlier_run_had_updated_are_waited_for() {
    let ground = ground().await;
    let silent = Progress::silent();
    ground.provider.create(&at("1.32"), &silent).await.unwrap();
    ground.updates();
    // A run ended after it had asked for the update of one group: its version changes at the end.
    let aws = ground.provider.aws();
    let update =
        aws_sdk_eks::operation::update_cluster_version::builders::UpdateClusterVersionInputBuilder::default()
            .name(NAME)
            .version("1.33");
    aws.clusters.update_version(update).await.unwrap();
    let tag = [("platform.dev/upgrade".to_owned(), "1.33".to_owned())].into();
    let arn = aws.clusters.describe(NAME).await.unwrap().arn.unwrap();
    aws.clusters.tag(&arn, &tag).await.unwrap();
    ground.groups.is_updating("workers", "1.33", 12);
    ground.provider.create(&at("1.33"), &silent).await.unwrap();
    assert_eq!(ground.updates(), ["more to 1.33"]);
    ground.assert_at("1.33").await;
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn versions_out_of_support_are_warned_of() {
    let ground = ground().await;
    let spec = at("1.31");
    // Nobody says until when: nothing is warned of, and the emulator's word for that is not asked for again.
    assert_eq!(ground.provider.warnings(&spec).await.unwrap(), [""; 0]);
    assert_eq!(ground.provider.warnings(&spec).await.unwrap(), [""; 0]);
    let asked = ground.wire.take_calls();
    assert_eq!(asked.iter().filter(|call| call.what.contains("cluster-versions")).count(), 1);

    let (provider, wire) = seam::provider(&ground.emulator, SETTINGS, |_| {}).await;
    ground.emulator.fault(
        &json!({"match": "GET /cluster-versions", "status": 200, "body": {"clusterVersions": [
            {"clusterVersion": "1.33", "versionStatus": "STANDARD_SUPPORT", "endOfStandardSupportDate": 4_102_444_800_i64},
            {"clusterVersion": "1.31", "versionStatus": "EXTENDED_SUPPORT",
             "endOfStandardSupportDate": 1_764_115_200_i64, "endOfExtendedSupportDate": 4_102_444_800_i64},
        ]}})
        .to_string(),
    );
    for _ in 0..2 {
        let warnings = provider.warnings(&spec).await.unwrap();
        assert_eq!(
            warnings,
            [
                "cluster shop-testing runs Kubernetes 1.31, whose standard support ended on 2025-11-26: extended support costs six times as \
              much, until EKS upgrades it on 2100-01-01; upgrade it"
            ]
        );
    }
    assert_eq!(provider.warnings(&cluster("shop-production")).await.unwrap(), [""; 0], "there is none");
    let asked = wire.take_calls();
    assert_eq!(asked.iter().filter(|call| call.what.contains("cluster-versions")).count(), 1);
}
