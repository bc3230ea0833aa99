//! The handlers, without a port, on the mock cluster.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use metrics_exporter_prometheus::PrometheusBuilder;
use service::Service;
use tokio_rdkafka::{ClientConfig, MockCluster, Producer};
use tower::ServiceExt;

const DEADLINE: Duration = Duration::from_secs(30);

fn cluster() -> MockCluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("events", 1, 1).unwrap();
    cluster
}

fn router(producer: &Producer, deadline: Duration) -> Router {
    // Not installed: the tests share a process.
    let prometheus = PrometheusBuilder::new().build_recorder().handle();
    Service::new(producer.clone(), "events", deadline, prometheus).router()
}

fn producer(cluster: &MockCluster, properties: &[(&str, &str)]) -> Producer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers());
    for (name, value) in properties {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

async fn answer(router: &Router, request: Request<Body>) -> (StatusCode, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn event(body: impl Into<Body>) -> Request<Body> {
    let request = Request::post("/events").header("event-key", "k");
    request.body(body.into()).unwrap()
}

#[tokio::test]
async fn an_event_is_accepted_with_its_place() {
    let cluster = cluster();
    let router = router(&producer(&cluster, &[]), DEADLINE);
    for offset in 0..3 {
        let (status, body) = answer(&router, event("three apples")).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        assert_eq!(body, format!(r#"{{"offset":{offset},"partition":0}}"#));
    }
    let records = cluster.records("events").await.unwrap();
    assert_eq!(records[0].payload(), Some(&b"three apples"[..]));
    assert_eq!(records[0].key(), Some(&b"k"[..]));
}

#[tokio::test]
async fn a_full_queue_is_unavailable_and_a_silent_broker_times_out() {
    let cluster = cluster();
    let one = [("queue.buffering.max.messages", "1")];
    let producer = producer(&cluster, &one);
    let router = router(&producer, Duration::from_millis(50));
    cluster.broker_down(1).unwrap();
    let (status, body) = answer(&router, event("1")).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{body}");
    // The first one is still in the queue.
    let response = router.clone().oneshot(event("2")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    cluster.broker_up(1).unwrap();
    assert_eq!(producer.close().await.delivered, 1);
    let (status, _) = answer(&router, event("3")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn an_event_that_can_never_be_sent_is_the_clients_fault() {
    let cluster = cluster();
    let router = router(
        &producer(&cluster, &[("message.max.bytes", "2000")]),
        DEADLINE,
    );
    let (status, body) = answer(&router, event(vec![0; 3_000])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
}

#[tokio::test]
async fn it_is_ready_while_a_broker_answers() {
    let cluster = cluster();
    let producer = producer(&cluster, &[]);
    let router = router(&producer, DEADLINE);
    let mut health = producer.health();
    let ready = || Request::get("/ready").body(Body::empty()).unwrap();
    health.wait_for(|it| it.is_ready()).await.unwrap();
    assert_eq!(
        answer(&router, ready()).await,
        (StatusCode::OK, "up\n".to_owned())
    );
    cluster.broker_down(1).unwrap();
    health.wait_for(|it| !it.is_ready()).await.unwrap();
    let (status, body) = answer(&router, ready()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.starts_with("failing: "), "{body}");
}
