//! The page's files, as any client gets them.

use crate::fixture::{Fixture, client};
use std::collections::BTreeSet;

#[tokio::test]
async fn everything_that_the_page_refers_to_is_served() {
    let fixture = Fixture::start().await;
    let mut known = BTreeSet::from([String::new()]);
    let mut waiting: Vec<String> = known.iter().cloned().collect();
    while let Some(path) = waiting.pop() {
        let response = client().get(fixture.url(&path)).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let expected = match path.rsplit('.').next() {
            Some("css") => "text/css",
            Some("js") => "text/javascript",
            Some("svg") => "image/svg+xml",
            Some("LICENSE") => "text/plain",
            _ => "text/html",
        };
        assert!(kind.starts_with(expected), "{path}: {kind}");
        let text = response.text().await.unwrap();
        for reference in references(&text) {
            let reference =
                reference.strip_prefix("./").map_or(reference.clone(), |name| format!("assets/{name}"));
            if known.insert(reference.clone()) {
                waiting.push(reference);
            }
        }
        // Nothing from elsewhere: the name of the SVG namespace and where the chart library comes from are no requests.
        let foreign =
            text.replace("http://www.w3.org/2000/svg", "").replace("https://github.com/leeoniya/uPlot", "");
        assert!(!foreign.contains("http://") && !foreign.contains("https://"), "{path}");
    }
    assert!(known.len() >= 12, "{known:?}");
    fixture.stop().await;
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let fixture = Fixture::start().await;
    for path in ["", "assets/main.js", "api/v1/status", "api/v1/logs?limit=0", "nowhere"] {
        for host in ["localhost", "attacker.example"] {
            let request = client().get(fixture.url(path)).header("host", host);
            let headers = request.send().await.unwrap().headers().clone();
            let policy = headers["content-security-policy"].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{path}: {policy}");
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
            assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
            assert_eq!(headers["cross-origin-resource-policy"], "same-origin", "{path}");
            assert_eq!(headers["cache-control"], "no-store", "{path}");
            assert!(!headers.contains_key("access-control-allow-origin"), "{path}");
        }
    }
    fixture.stop().await;
}

/// What `src`, `href` and `import … from` name, fragments left out.
fn references(text: &str) -> BTreeSet<String> {
    let quoted = |before: &'static str| {
        text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned)
    };
    let all = quoted("src=\"").chain(quoted("href=\"")).chain(quoted("} from \""));
    all.filter(|reference| !reference.starts_with('#')).collect()
}
