//! What a request wants to do, from its method and its path alone: whether it may is decided before anything else is
//! looked at.

use http::Method;

use super::request::{Parameters, percent_decoded};
use crate::kubernetes::auth::{Access, ResourceAccess};
use crate::kubernetes::semantics::selector::FieldSelector;

/// `segments` are the decoded parts of `path`.
pub(super) fn of(method: &Method, path: &str, segments: &[&str], query: &Parameters) -> Access {
    let (group, rest) = match segments {
        ["api", _, rest @ ..] if !rest.is_empty() => ("", rest),
        ["apis", group, _, rest @ ..] if !rest.is_empty() => (*group, rest),
        _ => {
            let path = percent_decoded(path).unwrap_or_else(|| path.to_owned());
            return Access::Path { verb: method.as_str().to_lowercase(), path };
        }
    };
    let (verb, rest) = match rest {
        // The old form of a watch; it is not served any more, but it is still forbidden as one.
        ["watch", rest @ ..] if !rest.is_empty() => ("watch", rest),
        rest => (verb_of(method), rest),
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, "status" | "finalize"] => (*namespace, rest),
        ["namespaces", namespace, inside @ ..] if !inside.is_empty() => (*namespace, inside),
        ["namespaces", namespace] => (*namespace, rest),
        _ => ("", rest),
    };
    let part = |index: usize| rest.get(index).copied().unwrap_or_default();
    let access =
        ResourceAccess::new(verb, group, part(0)).subresource(part(2)).within(namespace).named(part(1));
    Access::Resource(if access.name.is_empty() { on_collection(access, query) } else { access })
}

fn verb_of(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" | "HEAD" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

/// Requests on collections have verbs of their own, and a name if they are for the one object with that name.
fn on_collection(access: ResourceAccess, query: &Parameters) -> ResourceAccess {
    let verb = match access.verb.as_str() {
        // What is no boolean is refused later, to whoever may watch.
        "get" if query.flag("watch").unwrap_or(true) => "watch",
        "get" => "list",
        "delete" => "deletecollection",
        _ => return access,
    };
    let selector = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default());
    let name = match &selector {
        Ok(selector) if verb != "deletecollection" => selector.required("metadata.name"),
        _ => None,
    };
    let name = name.filter(|name| !matches!(*name, "." | "..") && !name.contains(['/', '%']));
    ResourceAccess { verb: verb.to_owned(), name: name.unwrap_or_default().to_owned(), ..access }
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;

    fn access(method: &str, uri: &'static str) -> Access {
        let uri = Uri::from_static(uri);
        let segments: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let query = Parameters::parse(&uri).unwrap();
        of(&method.parse().unwrap(), uri.path(), &segments, &query)
    }

    #[test]
    fn paths_name_what_is_asked_for() {
        let on = ResourceAccess::new;
        for (method, path, expected) in [
            ("GET", "/api/v1/pods", on("list", "", "pods")),
            ("GET", "/api/v1/pods?watch=true", on("watch", "", "pods")),
            (
                "GET",
                "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dx",
                on("list", "", "pods").within("a").named("x"),
            ),
            (
                "GET",
                "/api/v1/namespaces/a/pods/x/log",
                on("get", "", "pods").subresource("log").within("a").named("x"),
            ),
            (
                "POST",
                "/apis/apps/v1/namespaces/a/deployments",
                on("create", "apps", "deployments").within("a"),
            ),
            (
                "DELETE",
                "/apis/apps/v1/namespaces/a/deployments",
                on("deletecollection", "apps", "deployments").within("a"),
            ),
            ("PATCH", "/api/v1/nodes/n", on("patch", "", "nodes").named("n")),
            ("DELETE", "/api/v1/namespaces/a", on("delete", "", "namespaces").within("a").named("a")),
            (
                "PUT",
                "/api/v1/namespaces/a/finalize",
                on("update", "", "namespaces").subresource("finalize").within("a").named("a"),
            ),
            ("GET", "/api/v1/namespaces", on("list", "", "namespaces")),
            ("GET", "/api/v1/watch/namespaces/a/pods", on("watch", "", "pods").within("a")),
            ("OPTIONS", "/api/v1/namespaces/a/pods", on("", "", "pods").within("a")),
        ] {
            assert_eq!(access(method, path), expected.into(), "{method} {path}");
        }
    }

    #[test]
    fn other_paths_are_what_they_are() {
        for path in ["/", "/api", "/apis/apps/v1", "/healthz/etcd", "/metrics"] {
            assert_eq!(access("GET", path), Access::Path { verb: "get".to_owned(), path: path.to_owned() });
        }
        let posted = Access::Path { verb: "post".to_owned(), path: "/version/".to_owned() };
        assert_eq!(access("POST", "/version/"), posted);
    }
}
