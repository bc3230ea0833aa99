//! The handlers of the service. `main.rs` puts them behind a port.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use tokio::time::timeout;
use tokio_rdkafka::{Health, Producer, ProducerRecord};
use tracing::Instrument;

/// How often the producer's numbers go to Prometheus' recorder.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the handlers share.
#[derive(Clone)]
pub struct Service {
    pub producer: Producer,
    pub topic: String,
    /// How long a request waits for the delivery of its event.
    pub deadline: Duration,
    /// What `/ready` answers.
    pub health: tokio::sync::watch::Receiver<Health>,
    pub prometheus: PrometheusHandle,
}

impl Service {
    pub fn new(
        producer: Producer,
        topic: impl Into<String>,
        deadline: Duration,
        prometheus: PrometheusHandle,
    ) -> Self {
        // One line of set-up: the recorder has been installed before.
        producer.record_metrics(INTERVAL);
        Self {
            health: producer.health(),
            producer,
            topic: topic.into(),
            deadline,
            prometheus,
        }
    }

    pub fn router(self) -> Router {
        Router::new()
            .route("/events", post(post_event))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self)
    }
}

/// Installs the recorder of Prometheus.
pub fn install_prometheus() -> Result<PrometheusHandle, BuildError> {
    let seconds = [
        0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
        300.0,
    ];
    let reports = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0];
    PrometheusBuilder::new()
        .set_buckets(&seconds)?
        .set_buckets_for_metric(Matcher::Suffix("reports_per_turn".to_owned()), &reports)?
        .install_recorder()
}

/// Sends the body as an event, with the key of the header `event-key`.
///
/// - 202: it is delivered, with its partition and offset.
/// - 503: the queue is full, or the service stops. Nothing was sent: try again later.
/// - 504: it is not known yet whether it will be delivered. Another attempt may write it twice.
async fn post_event(State(service): State<Service>, headers: HeaderMap, body: Bytes) -> Response {
    let key = headers.get("event-key").map(|key| key.as_bytes().to_vec());
    let span = tracing::info_span!("POST /events", bytes = body.len());
    let answer = async {
        let record = ProducerRecord::to(service.topic.as_str())
            .key(key)
            .payload(body);
        // It does not wait: a full queue is the client's sign to slow down.
        let delivery = match service.producer.try_enqueue(record) {
            Ok(delivery) => delivery,
            Err(refused) => return refuse(refused.error()),
        };
        match timeout(service.deadline, delivery).await {
            Ok(Ok(delivery)) => {
                let (partition, offset) = (delivery.partition(), delivery.offset());
                tracing::info!(partition, offset, latency = ?delivery.latency(), "delivered");
                let body = json!({ "partition": partition, "offset": offset });
                (StatusCode::ACCEPTED, Json(body)).into_response()
            }
            Ok(Err(failed)) => {
                tracing::warn!(error = %failed, "not delivered");
                problem(StatusCode::BAD_GATEWAY, &failed.to_string())
            }
            // Dropping the future does not cancel the event. If it fails later, the producer logs it.
            Err(_elapsed) => {
                tracing::warn!("no delivery report within the deadline");
                problem(
                    StatusCode::GATEWAY_TIMEOUT,
                    "it is not known yet whether it is delivered",
                )
            }
        }
    };
    answer.instrument(span).await
}

/// The event was not enqueued.
fn refuse(error: &tokio_rdkafka::KafkaError) -> Response {
    tracing::warn!(%error, "refused");
    if error.is_queue_full() || error.is_closed() || error.is_fatal() {
        let response = problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string());
        return ([("retry-after", "1")], response).into_response();
    }
    // Its fault: too large, for instance.
    problem(StatusCode::BAD_REQUEST, &error.to_string())
}

fn problem(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "error": text }))).into_response()
}

/// The readiness probe.
async fn ready(State(service): State<Service>) -> Response {
    let health = service.health.borrow().clone();
    let status = match health.is_ready() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, format!("{health}\n")).into_response()
}

/// What Prometheus scrapes.
async fn metrics(State(service): State<Service>) -> String {
    service.prometheus.run_upkeep();
    service.prometheus.render()
}
