//! Rendered configuration, checked by the programs that read it.

use crate::{
    programs::{program, run, said},
    target,
    variants::{self, Variant},
};
use platform_core::{
    alert::{AlertRule, Condition},
    dashboard::{PanelContent, stock},
    telemetry::metric,
};
use serde_json::json;
use std::{ffi::OsStr, fs, path::Path, time::Duration};

fn written(variant: &Variant, directory: &Path) {
    for (file, text) in variant.files(variant.name()) {
        fs::write(directory.join(file), text.as_str().unwrap()).unwrap();
    }
}

fn promtool(args: &[&OsStr]) -> (bool, String) {
    let output = run(&program("PLATFORM_PROMTOOL"), args);
    (output.status.success(), said(&output))
}

#[test]
#[ignore = "needs prometheus"]
fn promtool_takes_the_configuration_and_rules_of_every_variant() {
    let mut checked = 0;
    for environments in [&["testing"][..], &["prod", "prod-eu"]] {
        for variant in variants::all(&target(environments)) {
            if variant.name() != "prometheus" {
                continue;
            }
            let directory = tempfile::tempdir().unwrap();
            written(&variant, directory.path());
            let file = directory.path().join("prometheus.yml");
            let text = fs::read_to_string(&file).unwrap();
            // The credentials are in pods alone.
            let check = ["check", "config", "--syntax-only"].map(OsStr::new);
            let (taken, said) = promtool(&[&check[..], &[file.as_os_str()]].concat());
            assert!(taken, "{said}\n{text}");
            let rules = directory.path().join("rules.yml");
            if rules.exists() {
                let check = ["check", "rules", "--lint=all", "--lint-fatal"].map(OsStr::new);
                let (taken, said) = promtool(&[&check[..], &[rules.as_os_str()]].concat());
                assert!(taken && said.contains("2 rules found"), "{said}");
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 2);
}

#[test]
#[ignore = "needs prometheus"]
fn promtool_takes_our_rules_and_refuses_what_is_no_promql() {
    let rule = AlertRule::new("Odd", metric("up").eq("job", "a\"b"), Condition::Above(0.5))
        .unwrap()
        .pending_for(Duration::from_secs(90))
        .label("note", "{{ not a template")
        .summary("{{instance}} is {{value}}, {{ odd label }}, {{");
    let document = |rules| json!({"name": "prometheus", "settings": {"rules": rules}});
    let check = |document| {
        let variant = Variant::new(document, &target(&["testing"]));
        let directory = tempfile::tempdir().unwrap();
        written(&variant, directory.path());
        let rules = directory.path().join("rules.yml");
        promtool(&[OsStr::new("check"), OsStr::new("rules"), rules.as_os_str()])
    };
    let rules: Vec<platform_core::alert::PrometheusRule> =
        vec![(&rule).into(), (&AlertRule::high_cpu(80.0)).into()];
    let (taken, said) = check(document(serde_json::to_value(rules).unwrap()));
    assert!(taken, "{said}");
    let (taken, said) = check(document(json!([{"alert": "Broken", "expr": "up >> 1"}])));
    assert!(!taken && said.contains("could not parse expression"), "{said}");
}

#[test]
#[ignore = "needs prometheus"]
fn promtool_takes_the_queries_of_the_stock_dashboards() {
    let queries =
        stock::all().into_iter().flat_map(|dashboard| dashboard.panels).flat_map(|panel| {
            match panel.content {
                PanelContent::TimeSeries { queries, .. } => queries,
                PanelContent::Stat { query, .. } => vec![query],
                _ => Vec::new(),
            }
        });
    let mut count = 0;
    for query in queries {
        let expression = query.expression.to_string();
        let args = ["promql", "format", &expression, "--experimental"].map(OsStr::new);
        let (taken, said) = promtool(&args);
        assert!(taken, "{expression}: {said}");
        count += 1;
    }
    assert!(count > 20, "{count}");
}

#[test]
#[ignore = "needs alertmanager"]
fn amtool_takes_the_configuration_of_every_variant() {
    let mut receivers = Vec::new();
    for variant in variants::all(&target(&["testing"])) {
        if variant.name() != "alertmanager" {
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        written(&variant, directory.path());
        let file = directory.path().join("alertmanager.yml");
        let output = run(&program("PLATFORM_AMTOOL"), &[OsStr::new("check-config"), file.as_os_str()]);
        let text = fs::read_to_string(&file).unwrap();
        assert!(output.status.success(), "{}\n{text}", said(&output));
        // Which receiver an alert goes to.
        let config = format!("--config.file={}", file.display());
        let route = |labels: &[&str]| {
            let args: Vec<&OsStr> = ["config", "routes", "test", &config]
                .into_iter()
                .chain(labels.iter().copied())
                .map(OsStr::new)
                .collect();
            said(&run(&program("PLATFORM_AMTOOL"), &args)).trim().to_owned()
        };
        receivers.push(route(&["severity=critical", r#"odd="a\"b\\c\n""#]));
        receivers.push(route(&["alertname=HighCpu"]));
    }
    assert_eq!(receivers, ["nobody", "nobody", "on-call", "team"]);
}
