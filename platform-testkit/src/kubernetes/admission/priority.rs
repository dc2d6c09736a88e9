//! Priority: from the class of a pod to its number.

use serde_json::{Value, json};

use crate::kubernetes::error::ApiError;
use crate::kubernetes::resource::GroupResource;
use crate::kubernetes::state::Key;
use crate::kubernetes::store::Store;

const PRIORITY_CLASSES: GroupResource = GroupResource::new("scheduling.k8s.io", "priorityclasses");

/// Gives a new pod the priority of its class, or of the class that is the default.
pub(super) fn set(store: &Store, key: &Key, pod: &mut Value) -> Result<(), ApiError> {
    let forbidden = |why: String| ApiError::forbidden(&key.resource, &key.name, &why);
    let given = pod["spec"]["priorityClassName"].as_str().filter(|name| !name.is_empty());
    let class = if let Some(name) = given {
        let class = store.find(&Key::new(&PRIORITY_CLASSES, "", name));
        Some(class.ok_or_else(|| forbidden(format!("no PriorityClass with name {name} was found")))?)
    } else {
        let defaults = store.list(&PRIORITY_CLASSES, None).items;
        let defaults = defaults.into_iter().filter(|class| class["globalDefault"] == true);
        defaults.min_by_key(|class| class["value"].as_i64())
    };
    let value = class.as_ref().and_then(|class| class["value"].as_i64()).unwrap_or(0);
    let preemption =
        class.as_ref().and_then(|class| class["preemptionPolicy"].as_str()).unwrap_or("PreemptLowerPriority");
    if let Some(given) = pod["spec"]["priority"].as_i64()
        && given != value
    {
        return Err(forbidden(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {value} from the given PriorityClass name"
        )));
    }
    if let Some(given) = pod["spec"]["preemptionPolicy"].as_str()
        && given != preemption
    {
        return Err(forbidden(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
             controller computed {preemption} from the given PriorityClass name"
        )));
    }
    if let Some(class) = &class
        && pod["spec"]["priorityClassName"].as_str().is_none_or(str::is_empty)
    {
        pod["spec"]["priorityClassName"] = class["metadata"]["name"].clone();
    }
    pod["spec"]["priority"] = json!(value);
    pod["spec"]["preemptionPolicy"] = json!(preemption);
    Ok(())
}
