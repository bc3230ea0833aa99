//! The works.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::Client;
use crate::job::{Job, Work};

/// Sends `messages`, and returns their latencies if the work has any.
pub(crate) async fn work<C: Client>(
    client: &Arc<C>,
    payload: &Bytes,
    job: &Job,
    messages: u64,
) -> Vec<Duration> {
    match job.work {
        Work::Window => {
            window(client, payload, job.in_flight, messages).await;
            Vec::new()
        }
        Work::Sends => sends(client, payload, job.in_flight, messages).await,
    }
}

async fn window<C: Client>(client: &Arc<C>, payload: &Bytes, size: u64, messages: u64) {
    let mut in_flight = VecDeque::with_capacity(size as usize);
    for _ in 0..messages {
        if in_flight.len() == size as usize {
            in_flight.pop_front().expect("a window is not empty").await;
        }
        in_flight.push_back(client.enqueue(payload).await);
    }
    for delivery in in_flight {
        delivery.await;
    }
}

async fn sends<C: Client>(
    client: &Arc<C>,
    payload: &Bytes,
    tasks: u64,
    messages: u64,
) -> Vec<Duration> {
    let sent = Arc::new(AtomicU64::new(0));
    let task = |_| {
        let (client, payload, sent) = (client.clone(), payload.clone(), sent.clone());
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while sent.fetch_add(1, Ordering::Relaxed) < messages {
                let start = Instant::now();
                client.send(&payload).await;
                latencies.push(start.elapsed());
            }
            latencies
        })
    };
    let tasks: Vec<_> = (0..tasks).map(task).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("no panic"));
    }
    latencies
}
