//! The dashboard asks for what `/metrics` serves.
//!
//! A binary of its own: it installs the recorder of the process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use serde_json::Value;
use service::{Service, install_prometheus};
use tokio_rdkafka::{ApiKey, ClientConfig, MockCluster, Producer, RDKafkaErrorCode};
use tower::ServiceExt;

const DEADLINE: Duration = Duration::from_secs(60);

async fn answer(router: &Router, request: Request<Body>) -> (StatusCode, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The queries of the panels and of the variables.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(include_str!("../dashboard.json")).unwrap();
    let array = |value: &Value| value.as_array().unwrap().clone();
    let targets = array(&dashboard["panels"]).into_iter();
    let targets = targets.flat_map(|panel| array(&panel["targets"]));
    let exprs = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    let variables = array(&dashboard["templating"]["list"]).into_iter();
    let variables = variables.filter(|variable| variable["type"] == "query");
    let variables = variables.map(|variable| {
        let query = variable["query"].as_str().unwrap();
        let query = query.strip_prefix("label_values(").unwrap();
        // As a selector of the label.
        query.replace(", ", "{").replace(')', "=~\".+\"}")
    });
    exprs.chain(variables).collect()
}

/// The metrics of a query, each with the labels that it needs.
fn selectors(query: &str) -> Vec<(String, BTreeSet<String>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in query.match_indices('{') {
        let before = &query[..at];
        let name = &before[before.rfind(|c| !is_name(c)).map_or(0, |it| it + 1)..];
        let (matchers, _) = query[at + 1..].split_once('}').unwrap();
        let matchers = matchers.split(',');
        // A matcher for the empty text wants the label to be absent.
        let matchers = matchers.filter(|matcher| !matcher.ends_with("=\"\""));
        let label = |matcher: &str| matcher[..matcher.find(|c| !is_name(c)).unwrap()].to_owned();
        found.push((name.to_owned(), matchers.map(label).collect()));
    }
    found
}

/// Each metric that is served, with the sets of labels that it has.
fn served(metrics: &str) -> BTreeMap<&str, Vec<BTreeSet<String>>> {
    let mut served: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, rest)) = line.split_once('{') else {
            continue;
        };
        let (labels, _) = rest.split_once('}').unwrap();
        let labels = labels.split(',').map(|it| it.split_once('=').unwrap().0);
        let labels = labels.map(str::to_owned).collect();
        served.entry(name).or_default().push(labels);
    }
    served
}

#[tokio::test]
async fn each_query_asks_for_a_metric_with_labels_that_is_served() {
    let prometheus = install_prometheus().unwrap();
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("events", 1, 1).unwrap();
    let producer: Producer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("client.id", "service")
        .set("message.max.bytes", "2000")
        .create()
        .unwrap();
    let router = Service::new(producer, "events", DEADLINE, prometheus).router();
    let event = |length: usize| Request::post("/events").body(Body::from(vec![0; length]));
    let get = || Request::get("/metrics").body(Body::empty()).unwrap();

    // Before anything has failed: an alert sees the first failure.
    let zeros = ["failed", "refused"];
    let zeros = zeros.map(|it| format!("kafka_producer_{it}_messages{{client=\"service\"}} 0\n"));
    let wait = async {
        loop {
            let (_, metrics) = answer(&router, get()).await;
            if zeros.iter().all(|zero| metrics.contains(zero)) {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap();

    // One of each: delivered, refused, failed.
    let (status, body) = answer(&router, event(1).unwrap()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let (status, body) = answer(&router, event(3_000).unwrap()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    cluster.request_errors(ApiKey::Produce, &[RDKafkaErrorCode::InvalidRecord]);
    let (status, body) = answer(&router, event(1).unwrap()).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{body}");

    let wanted: Vec<_> = queries().iter().flat_map(|it| selectors(it)).collect();
    assert!(wanted.len() > 20, "{wanted:?}");
    let missing = |metrics: &str| {
        let served = served(metrics);
        let is_missing = |(name, labels): &&(String, BTreeSet<String>)| {
            let mut series = served.get(name.as_str()).into_iter().flatten();
            !series.any(|it| labels.is_subset(it))
        };
        wanted
            .iter()
            .filter(is_missing)
            .cloned()
            .collect::<Vec<_>>()
    };
    let mut last = Vec::new();
    let wait = async {
        loop {
            let (_, metrics) = answer(&router, get()).await;
            last = missing(&metrics);
            if last.is_empty() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    let result = tokio::time::timeout(DEADLINE, wait).await;
    assert!(result.is_ok(), "not served: {last:?}");
}
