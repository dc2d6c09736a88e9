//! Autoscalers, which keep workloads within their limits, and disruption budgets, which count healthy pods.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::error::ApiError;
use super::super::semantics::selector::LabelSelector;
use super::super::store::{Key, Stored};
use super::cluster::Cluster;
use super::object::{
    AUTOSCALERS, CONTROLLER_MANAGER, DEPLOYMENTS, DISRUPTION_BUDGETS, PODS, REPLICA_SETS, STATEFUL_SETS,
    has_ended, is_active, is_being_deleted, is_ready, items, labels, name, namespace, number, put_condition,
    scaled, text, written,
};

impl Cluster {
    /// There are no metrics: an autoscaler only keeps its target between its smallest and largest size.
    pub(super) fn autoscaler(&mut self, autoscaler: &Stored) -> Result<(), ApiError> {
        let resource = match text(autoscaler, "/spec/scaleTargetRef/kind") {
            "Deployment" => DEPLOYMENTS,
            "StatefulSet" => STATEFUL_SETS,
            "ReplicaSet" => REPLICA_SETS,
            _ => return Ok(()),
        };
        let target = text(autoscaler, "/spec/scaleTargetRef/name");
        let target = self.store.find(&Key::new(&resource, namespace(autoscaler), target));
        let mut conditions = items(autoscaler, "/status/conditions").to_vec();
        let now = written(Timestamp::now());
        let mut put = |kind: &str, status: &str, reason: &str, message: &str| {
            let condition = json!({"type": kind, "status": status, "reason": reason, "message": message});
            put_condition(&mut conditions, condition, &now);
        };
        let (mut current, mut desired) = (0, 0);
        match &target {
            None => put(
                "AbleToScale",
                "False",
                "FailedGetScale",
                "the HPA controller was unable to get the target's current scale",
            ),
            Some(target) => {
                current = number(target, "/spec/replicas");
                let (min, max) =
                    (number(autoscaler, "/spec/minReplicas"), number(autoscaler, "/spec/maxReplicas"));
                // At zero an autoscaler is off.
                desired = if current == 0 { 0 } else { current.clamp(min.min(max), max) };
                put(
                    "AbleToScale",
                    "True",
                    "SucceededGetScale",
                    "the HPA controller was able to get the target's current scale",
                );
                put(
                    "ScalingActive",
                    "False",
                    "FailedGetResourceMetric",
                    "the HPA was unable to compute the replica count: no metrics are served",
                );
                if desired != current {
                    self.scale(&resource, target, desired)?;
                    let message = format!(
                        "New size: {desired}; reason: the size was outside of the limits of {}",
                        name(autoscaler)
                    );
                    self.events.normal(
                        autoscaler,
                        "horizontal-pod-autoscaler",
                        "SuccessfulRescale",
                        &message,
                    );
                }
            }
        }
        let mut status = json!({
            "currentReplicas": current,
            "desiredReplicas": desired,
            "currentMetrics": null,
            "conditions": conditions,
        });
        if let Some(last) = autoscaler.pointer("/status/lastScaleTime") {
            status["lastScaleTime"] = last.clone();
        }
        if desired != current {
            status["lastScaleTime"] = json!(now);
        }
        status.as_object_mut().into_iter().for_each(|fields| fields.retain(|_, value| !value.is_null()));
        self.put_status(&AUTOSCALERS, autoscaler, status, CONTROLLER_MANAGER)
    }

    pub(super) fn disruption_budget(&mut self, budget: &Stored) -> Result<(), ApiError> {
        if is_being_deleted(budget) {
            return Ok(());
        }
        let selector = budget.pointer("/spec/selector").filter(|selector| selector.is_object());
        let selector = selector.and_then(|selector| LabelSelector::from_json(selector).ok());
        let mut pods = self.store.list(&PODS, Some(namespace(budget))).items;
        // A pod that is ending counts as one that should be there, until its replacement is.
        pods.retain(|pod| {
            !has_ended(pod) && selector.as_ref().is_some_and(|selector| selector.matches(labels(pod)))
        });
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let expected = count(pods.len());
        let healthy = count(pods.iter().filter(|pod| is_active(pod) && is_ready(pod)).count());
        let desired = match budget.pointer("/spec/maxUnavailable") {
            Some(unavailable) => (expected - scaled(Some(unavailable), expected, true)).max(0),
            None => scaled(budget.pointer("/spec/minAvailable"), expected, true),
        };
        let allowed = (healthy - desired).max(0);
        let (state, reason) =
            if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
        let mut conditions = items(budget, "/status/conditions").to_vec();
        let generation = number(budget, "/metadata/generation");
        let condition = json!({
            "type": "DisruptionAllowed", "status": state, "reason": reason, "message": "", "observedGeneration": generation,
        });
        put_condition(&mut conditions, condition, &written(Timestamp::now()));
        let status: Value = json!({
            "observedGeneration": generation,
            "expectedPods": expected,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "disruptionsAllowed": allowed,
            "conditions": conditions,
        });
        self.put_status(&DISRUPTION_BUDGETS, budget, status, CONTROLLER_MANAGER)
    }
}
