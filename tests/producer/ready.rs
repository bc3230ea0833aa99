//! `ready`: whether a broker is up, and why none is.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use tokio_rdkafka::{
    ClientConfig, ConnectFailure, KafkaError, MockCluster, Producer, ProducerRecord,
    RDKafkaErrorCode, TransactionalProducer,
};

use crate::support::mock::{DEADLINE, Errors, blocking_until, cluster, config, until};

/// Far below `DEADLINE`, far above what a loaded machine needs.
const AT_ONCE: Duration = Duration::from_secs(20);

fn producer(bootstrap_servers: &str) -> Producer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap_servers)
        .create()
        .unwrap()
}

/// An address where nobody listens.
const REFUSING: &str = "127.0.0.1:1";

/// Takes connections, and never answers.
pub(crate) fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Waits until a client has connected there and has asked something.
fn asked(listener: &TcpListener) -> TcpStream {
    let accepted = OnceCell::new();
    blocking_until(|| {
        let connection = listener.accept();
        connection.is_ok_and(|(connection, _)| accepted.set(connection).is_ok())
    });
    let mut connection = accepted.into_inner().unwrap();
    connection.set_read_timeout(Some(DEADLINE)).unwrap();
    connection.read_exact(&mut [0]).unwrap();
    connection
}

/// Not ready, and said so before the time was over.
async fn failure_of(producer: &Producer) -> KafkaError {
    let started = Instant::now();
    let error = producer.ready(DEADLINE).await.unwrap_err();
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    assert!(!error.is_timed_out(), "{error:?}");
    error
}

#[tokio::test]
async fn a_running_cluster_is_ready_for_all_who_wait() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    let waiting = (0..20).map(|_| producer.ready(DEADLINE));
    for result in futures::future::join_all(waiting).await {
        result.unwrap();
    }
    producer.ready(DEADLINE).await.unwrap();
    let record = ProducerRecord::to("t").payload("v");
    producer.send(record).await.unwrap();
    producer.ready(Duration::MAX).await.unwrap();
    producer.close().await;
}

#[tokio::test]
async fn a_transactional_producer_is_ready_before_its_init() {
    let cluster = cluster("t", 1);
    let mut producer: TransactionalProducer = config(&cluster)
        .set("transactional.id", "id")
        .create()
        .unwrap();
    producer.ready(DEADLINE).await.unwrap();
    producer.init(DEADLINE).await.unwrap();
    producer.ready(DEADLINE).await.unwrap();
    producer.close().await;
}

#[tokio::test]
async fn a_broker_that_refuses_is_reported_each_time() {
    let producer = producer(REFUSING);
    for _ in 0..3 {
        let error = failure_of(&producer).await;
        assert_eq!(error.connect_failure(), Some(ConnectFailure::Refused));
        assert_eq!(error.code(), Some(RDKafkaErrorCode::BrokerTransportFailure));
        assert!(error.is_retriable());
        assert!(error.to_string().contains(REFUSING), "{error}");
    }
    producer.close().await;
}

#[tokio::test]
async fn a_failure_before_the_call_is_still_reported() {
    let context = Arc::new(Errors::default());
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", REFUSING);
    let producer: Producer<_> = config.create_with_context(Arc::clone(&context)).unwrap();
    let count = || context.all().len();
    // The broker's, and that all are down.
    until(|| count() >= 2).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = count();
    let error = producer.ready(DEADLINE).await.unwrap_err();
    assert_eq!(error.connect_failure(), Some(ConnectFailure::Refused));
    // Not because it was raised again.
    let errors = context.all();
    let again = errors[before..]
        .iter()
        .filter(|error| error.connect_failure().is_some());
    assert_eq!(again.count(), 0, "{errors:?}");
    let refused = ConnectFailure::Refused;
    assert!(
        errors
            .iter()
            .any(|error| error.connect_failure() == Some(refused))
    );
}

#[tokio::test]
async fn a_host_without_an_address_is_reported() {
    let producer = producer("nowhere.invalid:9092");
    let error = failure_of(&producer).await;
    assert_eq!(error.connect_failure(), Some(ConnectFailure::UnknownHost));
    assert!(error.is_retriable());
    assert!(error.to_string().contains("nowhere.invalid"), "{error}");
    producer.close().await;
}

#[tokio::test]
async fn one_broker_that_is_up_is_enough() {
    let cluster = cluster("t", 1);
    for _ in 0..5 {
        let up = cluster.bootstrap_servers();
        let servers = format!("{REFUSING},{up},nowhere.invalid:1");
        let producer = producer(&servers);
        producer.ready(DEADLINE).await.unwrap();
        producer.close().await;
    }
}

#[tokio::test]
async fn a_broker_that_comes_back_is_ready_and_its_error_forgotten() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("reconnect.backoff.max.ms", "200")
        .create()
        .unwrap();
    for _ in 0..2 {
        producer.ready(DEADLINE).await.unwrap();
        cluster.broker_down(-1).unwrap();
        let error = failure_of(&producer).await;
        assert!(error.is_retriable(), "{error:?}");
        cluster.broker_up(-1).unwrap();
        let started = Instant::now();
        while producer.ready(DEADLINE).await.is_err() {
            assert!(started.elapsed() < DEADLINE);
        }
    }
    let record = ProducerRecord::to("t").payload("v");
    producer.send(record).await.unwrap();
    producer.close().await;
}

#[tokio::test]
async fn nobody_down_while_one_of_three_is_up() {
    let cluster = MockCluster::new(3).unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    producer.ready(DEADLINE).await.unwrap();
    cluster.broker_down(1).unwrap();
    cluster.broker_down(2).unwrap();
    producer.ready(DEADLINE).await.unwrap();
    producer.close().await;
}

/// Each call has a time of its own, and others have the worker meanwhile.
#[tokio::test(flavor = "current_thread")]
async fn asked_again_at_once_it_does_not_spin() {
    let producer = producer(REFUSING);
    failure_of(&producer).await;
    let other = tokio::spawn(tokio::time::sleep(Duration::from_millis(300)));
    let mut calls = 0;
    while !other.is_finished() {
        failure_of(&producer).await;
        calls += 1;
        assert!(calls < 100);
    }
}

#[tokio::test]
async fn a_silent_broker_takes_all_the_time_and_no_worker() {
    let (_listener, address) = silent();
    let producer = producer(&address);
    let timeout = Duration::from_secs(2);
    let mut ticks = 0;
    let mut ready = Box::pin(producer.ready(timeout));
    let error = loop {
        tokio::select! {
            result = &mut ready => break result.unwrap_err(),
            () = tokio::time::sleep(Duration::from_millis(1)) => ticks += 1,
        }
    };
    assert!(error.is_timed_out() && error.connect_failure().is_none());
    let text = error.to_string();
    assert!(text.starts_with("no broker was up within 2s ("), "{text}");
    assert!(ticks >= 5, "{ticks}");
    let error = producer.ready(Duration::ZERO).await.unwrap_err();
    assert!(error.is_timed_out());
    producer.close().await;
}

/// Its answers take longer than the first questions wait for them.
#[tokio::test]
async fn a_slow_broker_is_ready() {
    let cluster = cluster("t", 1);
    let slow = Duration::from_millis(1_200);
    cluster.broker_round_trip_time(1, slow).unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    producer.ready(DEADLINE).await.unwrap();
    producer.close().await;
}

#[tokio::test]
async fn a_timeout_has_the_reason_as_its_source() {
    let (_listener, address) = silent();
    let producer = producer(&format!("{address},{REFUSING}"));
    // The two are connected to in turn, in an order of chance.
    let started = Instant::now();
    let error = loop {
        let error = producer
            .ready(Duration::from_millis(200))
            .await
            .unwrap_err();
        assert!(error.is_timed_out(), "{error:?}");
        if error.connect_failure().is_some() {
            break error;
        }
        assert!(started.elapsed() < DEADLINE);
    };
    assert_eq!(error.connect_failure(), Some(ConnectFailure::Refused));
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("Connection refused"), "{source}");
    producer.close().await;
}

#[tokio::test]
async fn it_can_be_dropped_whenever_it_has_been_polled() {
    let cluster = cluster("t", 1);
    for servers in [cluster.bootstrap_servers(), REFUSING.to_owned()] {
        for polls in 0..20 {
            let producer = producer(&servers);
            let mut ready = Box::pin(producer.ready(DEADLINE));
            let mut left = polls;
            let result = poll_fn(|cx| {
                if left == 0 {
                    return Poll::Ready(None);
                }
                left -= 1;
                ready.as_mut().poll(cx).map(Some)
            });
            let result = result.await;
            drop(ready);
            // Others are not disturbed.
            let next = producer.ready(DEADLINE).await;
            assert!(result.is_none_or(|result| result.is_ok() == next.is_ok()));
            let report = tokio::time::timeout(AT_ONCE, producer.close()).await;
            assert_eq!(report.unwrap().failed, 0);
            if polls > 8 {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_closed_producer_is_never_ready() {
    let (listener, address) = silent();
    let producer = producer(&address);
    let mut waiting = Box::pin(producer.ready(DEADLINE));
    assert!(futures::poll!(&mut waiting).is_pending());
    let _connection = asked(&listener);
    let started = Instant::now();
    producer.close().await;
    assert!(waiting.await.unwrap_err().is_closed());
    assert!(started.elapsed() < AT_ONCE);
    let error = producer.ready(DEADLINE).await.unwrap_err();
    assert!(error.is_closed());
}

#[test]
fn a_runtime_may_end_while_somebody_waits() {
    let (listener, address) = silent();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let producer = runtime.block_on(async { producer(&address) });
    let (is_waiting, waits) = mpsc::channel();
    runtime.spawn({
        let producer = producer.clone();
        async move {
            let mut waiting = Box::pin(producer.ready(DEADLINE));
            is_waiting
                .send(futures::poll!(&mut waiting).is_pending())
                .unwrap();
            waiting.await
        }
    });
    assert!(waits.recv_timeout(DEADLINE).unwrap());
    let _connection = asked(&listener);
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let closed = runtime.block_on(async { tokio::time::timeout(AT_ONCE, producer.close()).await });
    closed.expect("the end");
}

/// Starts a server for `bootstrap.servers` that is none of the cluster's brokers: it passes requests
/// on, and changes the port of the broker in each response. Returns its address.
pub(crate) fn bootstrap(cluster: &MockCluster, advertised: u16) -> String {
    let broker = cluster.bootstrap_servers();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // It ends with the process.
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, broker) = (client.unwrap(), broker.clone());
            thread::spawn(move || pass_on(&client, &broker, advertised));
        }
    });
    address
}

/// Ends with an error when one of the two has closed the connection.
fn pass_on(client: &TcpStream, broker: &str, advertised: u16) -> io::Result<()> {
    let to_broker = TcpStream::connect(broker)?;
    let (mut requests, mut from_client) = (to_broker.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut requests);
        requests.shutdown(Shutdown::Both)
    });
    let (host, port) = broker.split_once(':').unwrap();
    let end_point = |port: u16| [host.as_bytes(), &u32::from(port).to_be_bytes()].concat();
    let (real, shown) = (end_point(port.parse().unwrap()), end_point(advertised));
    let mut responses = &to_broker;
    let mut to_client = client;
    loop {
        let mut size = [0; 4];
        responses.read_exact(&mut size)?;
        let mut response = vec![0; u32::from_be_bytes(size) as usize];
        responses.read_exact(&mut response)?;
        for at in 0..response.len().saturating_sub(real.len()) {
            if response[at..].starts_with(&real) {
                response[at..at + real.len()].copy_from_slice(&shown);
            }
        }
        to_client.write_all(&size)?;
        to_client.write_all(&response)?;
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", with_sources(source)),
        None => error.to_string(),
    }
}

/// An answer of the bootstrap server is not enough, for as long as the address that it advertises
/// refuses.
#[tokio::test]
async fn an_advertised_address_that_refuses_is_never_ready() {
    let cluster = cluster("t", 1);
    let bootstrap = bootstrap(&cluster, 1);
    let producer = producer(&bootstrap);
    for _ in 0..3 {
        let error = failure_of(&producer).await;
        assert_eq!(error.connect_failure(), Some(ConnectFailure::Refused));
        assert!(error.is_retriable());
        let text = error.to_string();
        assert!(text.contains(REFUSING), "{text}");
        assert!(text.contains("advertised.listeners"), "{text}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("Connection refused"), "{source}");
        assert!(!text.contains(&source), "{text}");
    }
    producer.close().await;
}

/// A timeout names them, too.
#[tokio::test]
async fn an_advertised_address_that_does_not_answer_is_named() {
    let cluster = cluster("t", 1);
    let (_listener, silent) = silent();
    let (_, port) = silent.split_once(':').unwrap();
    let bootstrap = bootstrap(&cluster, port.parse().unwrap());
    let mut config = config(&cluster);
    config
        .set("bootstrap.servers", &bootstrap)
        .set("api.version.request.timeout.ms", "100");
    let producer: Producer = config.create().unwrap();
    let started = Instant::now();
    let text = loop {
        let error = producer.ready(Duration::from_millis(500)).await;
        let error = error.unwrap_err();
        if std::error::Error::source(&error).is_some() {
            break with_sources(&error);
        }
        assert!(started.elapsed() < DEADLINE, "{error:?}");
    };
    assert!(text.contains(&silent), "{text}");
    assert!(text.contains("advertised.listeners"), "{text}");
    producer.close().await;
}

#[tokio::test]
async fn a_bootstrap_server_that_is_no_broker_leads_to_one_that_is_ready() {
    let cluster = MockCluster::new(1).unwrap();
    let real = cluster.bootstrap_servers();
    let (_, port) = real.split_once(':').unwrap();
    let bootstrap = bootstrap(&cluster, port.parse().unwrap());
    let producer = producer(&bootstrap);
    producer.ready(DEADLINE).await.unwrap();
    producer.close().await;
}

#[tokio::test]
async fn a_server_that_speaks_http_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // It ends with the process.
    thread::spawn(move || {
        for client in listener.incoming() {
            thread::spawn(move || -> io::Result<()> {
                let mut client = client?;
                let mut request = [0; 1_000];
                while client.read(&mut request)? > 0 {
                    client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")?;
                }
                Ok(())
            });
        }
    });
    let producer = producer(&address);
    for _ in 0..2 {
        let error = failure_of(&producer).await;
        let failure = error.connect_failure();
        assert_eq!(failure, Some(ConnectFailure::NotKafka), "{error:?}");
        assert!(!error.is_retriable());
        let text = error.to_string();
        assert!(text.contains("HTTP") && text.contains(&address), "{text}");
    }
    producer.close().await;
}
