//! The controller of ClusterRoles that sum up others: their rules are those of the roles that their selectors match.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::CLUSTER_ROLES;
use crate::kubernetes::error::ApiError;
use crate::kubernetes::semantics::selector::LabelSelector;
use crate::kubernetes::state::Stored;
use crate::kubernetes::store::Store;

const MANAGER: &str = "clusterrole-aggregation-controller";
/// So many roles are changed before others get their turn.
const MOST_CHANGES: usize = 100;

/// Runs until `shutdown`.
pub(in crate::kubernetes) async fn run(store: Arc<Store>, shutdown: CancellationToken) {
    loop {
        let mut watch = store.watch(Some(&CLUSTER_ROLES), None, store.revision());
        loop {
            if let Err(error) = settle(&store) {
                // Another write came between: its event is the next one.
                tracing::debug!(%error, "the rules of ClusterRoles will be summed up again");
            }
            let event = tokio::select! {
                () = shutdown.cancelled() => return,
                event = watch.next() => event,
            };
            if let Err(expired) = event {
                tracing::debug!(%expired, "starting over");
                break;
            }
        }
    }
}

/// Sums up until nothing changes any more: a sum may be part of another one.
pub(in crate::kubernetes) fn settle(store: &Store) -> Result<(), ApiError> {
    // Roles that sum each other up need not come to an end.
    for _ in 0..MOST_CHANGES {
        let roles = store.list(&CLUSTER_ROLES, None).items;
        let sums = roles.iter().filter(|role| role["aggregationRule"].is_object());
        let outdated = sums.map(|role| (role, sum(role, &roles))).find(|(role, summed)| {
            role["rules"].as_array().map(Vec::as_slice).unwrap_or_default() != summed.as_slice()
        });
        let Some((role, summed)) = outdated else { return Ok(()) };
        let mut updated = role.value().clone();
        updated["rules"] = json!(summed);
        store.update(&CLUSTER_ROLES, updated, MANAGER)?;
    }
    Ok(())
}

/// The rules of all roles that `role` selects, in the order of their names and each once.
fn sum(role: &Stored, roles: &[Arc<Stored>]) -> Vec<Value> {
    let mut summed: Vec<Value> = Vec::new();
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array();
    for selector in selectors.into_iter().flatten() {
        let Ok(selector) = LabelSelector::from_json(selector) else { continue };
        for other in roles {
            let selected = selector.matches(other["metadata"]["labels"].as_object());
            if !selected || other["metadata"]["name"] == role["metadata"]["name"] {
                continue;
            }
            for rule in other["rules"].as_array().into_iter().flatten() {
                if !summed.contains(rule) {
                    summed.push(rule.clone());
                }
            }
        }
    }
    summed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::state::Key;

    #[test]
    fn a_role_has_the_rules_of_those_that_it_selects_and_of_theirs() {
        let store = Store::in_memory();
        let rule = |verb: &str| json!({"apiGroups": [""], "resources": ["pods"], "verbs": [verb]});
        let part = |name: &str, to: &str, verb: &str| {
            let metadata = json!({"name": name, "labels": {"to": to}});
            store
                .create(&CLUSTER_ROLES, json!({"metadata": metadata, "rules": [rule(verb)]}), "test")
                .unwrap();
        };
        let whole = |name: &str, to: &str, of: &str| {
            let selector = json!({"clusterRoleSelectors": [{"matchLabels": {"to": of}}]});
            let metadata = json!({"name": name, "labels": {"to": to}});
            let object = json!({"metadata": metadata, "aggregationRule": selector, "rules": [rule("own")]});
            store.create(&CLUSTER_ROLES, object, "test").unwrap();
        };
        whole("a-all", "nobody", "all");
        whole("b-some", "all", "some");
        part("c", "some", "get");
        part("d", "some", "get");
        part("e", "all", "delete");
        settle(&store).unwrap();
        let rules = |name: &str| store.get(&Key::new(&CLUSTER_ROLES, "", name)).unwrap()["rules"].clone();
        assert_eq!(rules("b-some"), json!([rule("get")]));
        assert_eq!(rules("a-all"), json!([rule("get"), rule("delete")]));
    }
}
