//! What the API answers.

use crate::fixture::{Fixture, NOW, status};
use platform_core::{
    dashboard::DashboardTarget,
    telemetry::{Batch, LogPage, LogRecord, Severity, TelemetrySink},
};
use serde_json::{Value, json};

#[tokio::test]
async fn status_and_stats_are_passed_on() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.get("api/v1/status").await, status());
    let stats = fixture.get("api/v1/stats").await;
    assert!(stats["samples"].as_u64().unwrap() >= 124, "{stats}");
    assert!(stats["logRecords"].as_u64().unwrap() >= 5, "{stats}");
    fixture.stop().await;
}

#[tokio::test]
async fn alerts_come_with_their_rules_as_promql() {
    let fixture = Fixture::start().await;
    fixture.wait_until_firing().await;
    let alerts = fixture.get("api/v1/alerts").await;
    let rule =
        |name: &str| alerts["rules"].as_array().unwrap().iter().find(|rule| rule["name"] == name).unwrap();
    assert_eq!(rule("Hot")["promql"], "temperature > 50");
    assert_eq!(rule("Hot")["state"], "firing");
    assert_eq!(rule("Hot")["severity"], "critical");
    assert_eq!(rule("Cold")["state"], "inactive");
    assert_eq!(rule("Cold")["pendingFor"], 300_000);
    assert_eq!(rule("Cold")["lastError"], Value::Null);
    let active = alerts["active"].as_array().unwrap();
    assert_eq!(active.len(), 1, "{alerts}");
    assert_eq!(active[0]["summary"], "testing is hot");
    assert_eq!(active[0]["labels"]["environment"], "testing");
    assert_eq!(active[0]["value"], 71.5);
    fixture.stop().await;
}

#[tokio::test]
async fn dashboards_are_listed_with_their_queries() {
    let fixture = Fixture::start().await;
    let dashboards = fixture.get("api/v1/dashboards").await;
    assert_eq!(dashboards[0]["uid"], "house");
    assert_eq!(dashboards[0]["window"], 300_000);
    let panels = dashboards[0]["panels"].as_array().unwrap();
    let kinds: Vec<_> = panels.iter().map(|panel| panel["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["timeSeries", "timeSeries", "stat", "logs"]);
    assert_eq!(panels[0]["threshold"], 50.0);
    assert_eq!(
        panels[1]["queries"],
        json!([{
            "promql": "sum by (environment) (rate(requests_total[1m]))",
            "legend": "{{environment}} per second",
        }])
    );
    fixture.stop().await;
}

#[tokio::test]
async fn a_panel_is_evaluated_on_one_grid_with_legends() {
    let fixture = Fixture::start().await;
    let to = NOW.as_millis();
    let path = format!("api/v1/dashboards/house/panels/1?from={}&to={to}&step=60000", to - 240_000);
    let data = fixture.get(&path).await;
    assert_eq!(data["type"], "series");
    let times: Vec<i64> = (0..=4).map(|minute| to - 240_000 + minute * 60_000).collect();
    assert_eq!(data["times"], json!(times));
    let series = data["series"].as_array().unwrap();
    let legends: Vec<_> = series.iter().map(|line| line["legend"].as_str().unwrap()).collect();
    assert_eq!(legends, ["production per second", "testing per second"]);
    // 40 requests each 10 seconds.
    assert_eq!(series[0]["values"][4], 4.0);
    assert_eq!(series[0]["values"].as_array().unwrap().len(), times.len());

    // The dashboard's own window, which ends now.
    let data = fixture.get("api/v1/dashboards/house/panels/0").await;
    let times = data["times"].as_array().unwrap();
    assert!(times[0].as_i64().unwrap() <= to - 300_000 + 1, "{}", times[0]);
    assert_eq!(times.last().unwrap(), &json!(to));
    assert_eq!(data["series"][1]["values"].as_array().unwrap().last().unwrap(), 71.5);

    let stat = fixture.get("api/v1/dashboards/house/panels/2").await;
    assert_eq!(stat["series"][0]["legend"], "production");
    let logs = fixture.get("api/v1/dashboards/house/panels/3").await;
    assert_eq!((&logs["type"], &logs["total"]), (&json!("logs"), &json!(3)));
    fixture.stop().await;
}

#[tokio::test]
async fn logs_are_found_by_words_labels_severity_and_time() {
    let fixture = Fixture::start().await;
    let search = async |parameters: &str| -> (Vec<String>, u64) {
        let page = fixture.get(&format!("api/v1/logs?{parameters}")).await;
        let page: LogPage = serde_json::from_value(page).unwrap();
        (page.records.into_iter().map(|record| record.body).collect(), page.total)
    };
    let own = "cluster=shop-testing";
    assert_eq!(search(own).await.0, ["payment was slow", "started the payment service"]);
    assert_eq!(search("text=PAYMENT&severity=warn&environment=testing").await.0, ["payment was slow"]);
    assert_eq!(search("text=payment+-slow&cluster=shop-testing").await.0, ["started the payment service"]);
    let (records, total) = search("cluster=shop-testing&limit=1").await;
    assert_eq!((records.len(), total), (1, 2));
    let long_ago = NOW.as_millis() - 7_300_000;
    let parameters = format!("cluster=shop-testing&from={long_ago}&to={}", long_ago + 200_000);
    assert_eq!(search(&parameters).await.0, ["two hours ago"]);
    fixture.stop().await;
}

#[tokio::test]
async fn an_overlong_record_is_cut_between_characters() {
    let fixture = Fixture::start().await;
    let body = format!("xylophone {}", "ü".repeat(20_000));
    let labels = platform_core::telemetry::Labels::empty();
    let record = LogRecord { timestamp: NOW, severity: Severity::Info, body, labels };
    fixture.store.write(Batch::logs(vec![record])).await.unwrap();
    let page = fixture.get("api/v1/logs?text=xylophone").await;
    let body = page["records"][0]["body"].as_str().unwrap();
    assert!(body.starts_with("xylophone üü"), "{body}");
    assert!(body.ends_with("… (23626 more bytes)"), "{}", &body[body.len() - 40..]);
    fixture.stop().await;
}

#[tokio::test]
async fn a_console_without_alerts_has_an_empty_list_of_them() {
    let fixture = Fixture::start().await;
    let other = platform_telemetry::console::Console::builder(
        fixture.store.clone() as _,
        fixture.platform.clone() as _,
    );
    let other = other.start().await.unwrap();
    assert_eq!(other.name(), "console");
    let url = format!("{}api/v1/alerts", other.url());
    let alerts: Value = crate::fixture::client().get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!((&alerts["rules"], &alerts["active"]), (&json!([]), &json!([])));
    other.stop().await;
    fixture.stop().await;
}
