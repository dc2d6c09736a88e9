//! The two lanes, from the same input to the same documents: the platform's own sources, and Fluent Bit with what the catalogue renders for it. What
//! Fluent Bit's plug-ins make of the input is stated here by its documentation; the script that makes documents of that is run by a real Lua,
//! which `PLATFORM_LUA` names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

mod cluster;
mod logs;
mod lua;
mod metrics;

use platform_core::{
    cluster::ClusterRole,
    component::{Component, ComponentTarget, SYSTEM_NAMESPACE},
    name::{ClusterName, Namespace, PlatformName},
    telemetry::{Batch, TelemetrySource, channel},
};
use platform_k8s::components::{FluentBit, FluentBitSettings};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const CLUSTER: &str = "shop-testing";
/// Long enough for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

fn role(environments: &[&str]) -> ClusterRole {
    ClusterRole::Environments(environments.iter().map(|name| (*name).try_into().unwrap()).collect())
}

/// The script that the catalogue renders for a cluster of these environments.
fn script(environments: &[&str]) -> String {
    let target = ComponentTarget::new(
        PlatformName::new("shop").unwrap(),
        ClusterName::new(CLUSTER).unwrap(),
        role(environments),
        Namespace::new(SYSTEM_NAMESPACE).unwrap(),
    );
    let fluent_bit = FluentBit::new().unwrap().with_settings(FluentBitSettings::to_brokers("k:1"));
    let manifests = fluent_bit.manifests(&target).unwrap();
    let files = manifests.iter().find(|manifest| manifest.reference().kind == "ConfigMap").unwrap();
    files.object()["data"]["documents.lua"].as_str().unwrap().to_owned()
}

/// Runs a source until what it emitted is enough.
async fn emitted(source: Arc<dyn TelemetrySource>, is_enough: impl Fn(&Batch) -> bool) -> Batch {
    let (emitter, mut envelopes) = channel(16);
    let shutdown = CancellationToken::new();
    let running = {
        let shutdown = shutdown.clone();
        tokio::spawn(async move { source.run(&emitter, &shutdown).await })
    };
    let mut all = Batch::default();
    let gather = async {
        while !is_enough(&all) {
            let (batch, acknowledge) = envelopes.recv().await.expect("the source goes on").open();
            all.samples.extend(batch.samples);
            all.logs.extend(batch.logs);
            acknowledge(Ok(()));
        }
    };
    tokio::time::timeout(PATIENCE, gather).await.expect("enough is emitted");
    shutdown.cancel();
    drop(envelopes);
    let _ended = running.await.unwrap();
    all
}
