//! The plan of an unchanged platform: four clusters with about 250 objects each.

use crate::measure::{Sample, measure};
use platform_core::{Application, Environment, Image, Platform, application::Promotion, plan::Plan};
use platform_k8s::Kubernetes;
use platform_testkit::EmbeddedProvider;
use std::time::Duration;

/// How many applications make about 250 objects in a cluster, their namespaces with what isolates them included.
const APPLICATIONS: usize = 21;

/// Brings the platform up on embedded clusters, and measures plans of it. Answers with the number of its objects too.
pub(crate) async fn plans(times: usize) -> (usize, Vec<Sample>) {
    let provider = EmbeddedProvider::in_memory();
    let mut builder = Platform::builder("bench").unwrap();
    for name in ["testing", "staging", "production", "canary"] {
        // More than one node's worth of requests.
        builder = builder.environment(Environment::new(name).unwrap().nodes(2));
    }
    for i in 0..APPLICATIONS {
        let image = Image::parse(format!("registry.example.com/app-{i}:1")).unwrap();
        let application = Application::new(format!("app-{i}"), image).unwrap();
        builder = builder.application(application.port(8080).promotion(Promotion::Automatic));
    }
    let platform = builder
        .provider(provider)
        .orchestrator(Kubernetes::default())
        .ready_deadline(Duration::from_secs(300))
        .build()
        .unwrap();
    let plan = platform.plan().await.unwrap();
    platform.apply(&plan).unwrap().await.unwrap();
    let mut samples = Vec::new();
    let mut objects = 0;
    for _ in 0..times {
        let (plan, sample) = measure(platform.plan()).await;
        let plan = plan.unwrap();
        objects = count(&plan);
        assert_eq!(plan.summary().objects_unchanged, objects, "{plan}");
        samples.push(sample);
    }
    (objects, samples)
}

fn count(plan: &Plan) -> usize {
    plan.clusters.iter().flat_map(|cluster| &cluster.sets).map(|set| set.objects.len()).sum()
}
