//! Injected faults and request counts.

use std::time::{Duration, Instant};

use http::Method;
use kube::api::PatchParams;
use platform_testkit::kubernetes::{Effect, Fault};
use serde_json::json;

use crate::fixture::{Cluster, apply, config_map, refusal};

#[tokio::test]
async fn a_status_fault_answers_in_place_of_the_server() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let fault = Fault::new(Effect::Status(500)).method(Method::PATCH).path("/configmaps/a").times(2);
    cluster.api.faults().inject(fault);
    for _ in 0..2 {
        let (code, _, _) = refusal(apply(&maps, "a", "m", &config_map("a", json!({}))).await);
        assert_eq!(code, 500);
    }
    assert!(maps.get_opt("a").await.expect("an answer").is_none());
    apply(&maps, "a", "m", &config_map("a", json!({}))).await.expect("the fault is used up");
}

#[tokio::test]
async fn a_lost_answer_is_not_a_lost_write() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    cluster.api.faults().inject(Fault::new(Effect::Drop).method(Method::PATCH));
    let outcome = apply(&maps, "a", "m", &config_map("a", json!({}))).await;
    assert!(!matches!(outcome, Ok(_) | Err(kube::Error::Api(_))), "{outcome:?}");
    assert!(maps.get_opt("a").await.expect("an answer").is_none());
    cluster.api.faults().inject(Fault::new(Effect::DropAnswer).method(Method::PATCH));
    let outcome = apply(&maps, "a", "m", &config_map("a", json!({}))).await;
    assert!(!matches!(outcome, Ok(_) | Err(kube::Error::Api(_))), "{outcome:?}");
    assert!(maps.get_opt("a").await.expect("an answer").is_some());
}

#[tokio::test]
async fn a_delayed_request_is_served_later() {
    let cluster = Cluster::start().await;
    let wait = Duration::from_millis(300);
    cluster.api.faults().inject(Fault::new(Effect::Delay(wait)));
    let start = Instant::now();
    assert_eq!(cluster.raw("GET", "/version", "", "").await.0, 200);
    assert!(start.elapsed() >= wait);
}

#[tokio::test]
async fn requests_are_counted_by_verb() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let before = cluster.api.requests();
    apply(&maps, "a", "m", &config_map("a", json!({}))).await.expect("applied");
    maps.get("a").await.expect("read");
    let params = PatchParams { dry_run: true, ..PatchParams::apply("m") };
    maps.patch("a", &params, &kube::api::Patch::Apply(config_map("a", json!({})))).await.expect("accepted");
    let counts = cluster.api.requests().since(&before);
    let of = ["get", "patch", "dry-run", "create", "list"].map(|verb| counts.of(verb));
    assert_eq!((of, counts.writes()), ([1, 1, 1, 0, 0], 1));
}
