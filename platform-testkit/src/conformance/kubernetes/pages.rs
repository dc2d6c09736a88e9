//! Lists in pages and of versions.

use super::{check::checks, expect::*, scope::Scope};
use crate::conformance::{Outcome, ensure, ensure_eq};
use serde_json::json;

checks! {
    "a list comes in pages that together are the whole" => pages,
    "the pages of a list are of one version" => consistent,
    "a page says how many items remain" => remaining,
    "a selected page does not say how many remain" => remaining_selected,
    "a last page has no continue token" => last,
    "an unreadable continue token is refused" => unreadable,
    "a list of exactly a version is of that version" => exactly,
    "resourceVersionMatch without a resourceVersion is refused" => match_without_version,
    "an unknown resourceVersionMatch is refused" => unknown_match,
    "a list of at least version 0 is served" => any_version,
    "a list of a version that is still to come is refused" => future,
}

async fn five(scope: &Scope<'_>) -> Outcome {
    for name in ["a", "b", "c", "d", "e"] {
        scope.create(&labelled(name, json!({"suite": "x"}))).await?;
    }
    Ok(())
}

async fn pages(scope: &Scope<'_>) -> Outcome {
    five(scope).await?;
    let all = scope.get(scope.all("v1", "configmaps")).query("labelSelector", "suite").query("limit", 2);
    let (mut found, mut sizes, mut request) = (Vec::new(), Vec::new(), all.clone());
    loop {
        let page = request.ok().await?;
        sizes.push(names(&page).len());
        found.extend(names(&page));
        let Some(next) = page["metadata"]["continue"].as_str() else { break };
        request = all.clone().query("continue", next);
    }
    ensure_eq(&found, &["a", "b", "c", "d", "e"].map(str::to_owned).to_vec(), "the names")?;
    ensure_eq(&sizes, &vec![2, 2, 1], "the sizes of the pages")
}

async fn consistent(scope: &Scope<'_>) -> Outcome {
    five(scope).await?;
    let all = scope.get(scope.all("v1", "configmaps")).query("labelSelector", "suite").query("limit", 3);
    let first = all.clone().ok().await?;
    scope.delete(scope.map("d")).ok().await?;
    scope.create(&labelled("f", json!({"suite": "x"}))).await?;
    let second = all.query("continue", text(&first, "/metadata/continue")?).ok().await?;
    lists(&second, &["d", "e"])?;
    let version = &first["metadata"]["resourceVersion"];
    equal(&second, "/metadata/resourceVersion", version.clone())
}

async fn remaining(scope: &Scope<'_>) -> Outcome {
    for name in ["a", "b", "c", "d", "e"] {
        scope.create(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}})).await?;
    }
    let page = scope.get(scope.all("v1", "secrets")).query("limit", 2).ok().await?;
    equal(&page, "/metadata/remainingItemCount", json!(3))
}

async fn remaining_selected(scope: &Scope<'_>) -> Outcome {
    five(scope).await?;
    let request = scope.get(scope.all("v1", "configmaps")).query("labelSelector", "suite").query("limit", 2);
    absent(&request.ok().await?, "/metadata/remainingItemCount")
}

async fn last(scope: &Scope<'_>) -> Outcome {
    five(scope).await?;
    let request = scope.get(scope.all("v1", "configmaps")).query("labelSelector", "suite").query("limit", 5);
    let page = request.ok().await?;
    ensure_eq(&names(&page).len(), &5, "the number of items")?;
    absent(&page, "/metadata/continue")
}

async fn unreadable(scope: &Scope<'_>) -> Outcome {
    let request = scope.get(scope.all("v1", "configmaps")).query("limit", 1).query("continue", "nonsense");
    let status = request.refused(400, "BadRequest").await?;
    says(&status, "continue key is not valid")
}

async fn exactly(scope: &Scope<'_>) -> Outcome {
    five(scope).await?;
    let all = scope.all("v1", "configmaps");
    let now = scope.get(&all).query("labelSelector", "suite").ok().await?;
    scope.delete(scope.map("a")).ok().await?;
    let version = text(&now, "/metadata/resourceVersion")?;
    let request = scope.get(&all).query("labelSelector", "suite").query("resourceVersion", version);
    let then = request.query("resourceVersionMatch", "Exact").ok().await?;
    lists(&then, &["a", "b", "c", "d", "e"])?;
    equal(&then, "/metadata/resourceVersion", json!(version))
}

async fn match_without_version(scope: &Scope<'_>) -> Outcome {
    let request = scope.get(scope.all("v1", "configmaps")).query("resourceVersionMatch", "Exact");
    let status = request.refused(422, "Invalid").await?;
    blames(&status, "resourceVersionMatch", "FieldValueForbidden")
}

async fn unknown_match(scope: &Scope<'_>) -> Outcome {
    let request = scope.get(scope.all("v1", "configmaps")).query("resourceVersion", 1);
    let status = request.query("resourceVersionMatch", "Roughly").refused(422, "Invalid").await?;
    blames(&status, "resourceVersionMatch", "FieldValueNotSupported")
}

async fn any_version(scope: &Scope<'_>) -> Outcome {
    let list = scope.get(scope.all("v1", "configmaps")).query("resourceVersion", 0).ok().await?;
    equal(&list, "/kind", json!("ConfigMapList"))
}

async fn future(scope: &Scope<'_>) -> Outcome {
    let list = scope.get(scope.all("v1", "configmaps")).ok().await?;
    let version: u64 = text(&list, "/metadata/resourceVersion")?.parse().map_err(|e| format!("{e}"))?;
    let request = scope.get(scope.all("v1", "configmaps")).query("resourceVersion", version + 1_000_000);
    let status = request.refused(504, "Timeout").await?;
    says(&status, "Too large resource version")?;
    let causes = status["details"]["causes"].to_string();
    ensure(causes.contains("ResourceVersionTooLarge"), || causes.clone())
}
