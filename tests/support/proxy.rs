//! A proxy between a client and the brokers, which can hold a request back.
//!
//! It has a port for each broker. In the brokers' answers it replaces their ports with these, so
//! the client comes through it for all that it does. A request that it holds stays under way, as in
//! a slow network, even if the client has given up the connection meanwhile.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

use super::kafka::{Cluster, DEADLINE};

pub const PRODUCE: i16 = 0;
pub const END_TXN: i16 = 26;

const HOST: &[u8] = b"127.0.0.1";

#[derive(Debug)]
pub struct Proxy {
    ports: Arc<Vec<Port>>,
    armed: Arc<Armed>,
}

/// A broker's own port, and the proxy's.
#[derive(Debug)]
struct Port {
    of_broker: u16,
    of_proxy: u16,
}

/// The requests that are to be held, by their API keys.
type Armed = Mutex<VecDeque<(i16, Arc<Request>)>>;

#[derive(Debug)]
struct Request {
    phase: watch::Sender<Phase>,
    is_released: Mutex<bool>,
    released: Condvar,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Awaited,
    Held,
    /// The broker's answer, behind its correlation id.
    Answered(Vec<u8>),
}

/// A request that is held back, or will be. If this is dropped, it is delivered.
#[derive(Debug)]
pub struct Held(Arc<Request>);

impl Held {
    /// Waits until there is such a request.
    pub async fn is_held(&self) {
        self.wait_for(|phase| *phase != Phase::Awaited).await;
    }

    /// Delivers it. Returns the broker's answer.
    pub async fn deliver(&self) -> Vec<u8> {
        self.0.release();
        let answered = self.wait_for(|phase| matches!(phase, Phase::Answered(_)));
        match answered.await {
            Phase::Answered(answer) => answer,
            phase => unreachable!("{phase:?}"),
        }
    }

    async fn wait_for(&self, is_so: impl FnMut(&Phase) -> bool) -> Phase {
        let mut phase = self.0.phase.subscribe();
        let reached = timeout(DEADLINE, phase.wait_for(is_so)).await;
        reached.expect("in time").expect("the sender").clone()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Request {
    fn release(&self) {
        *lock(&self.is_released) = true;
        self.released.notify_all();
    }

    fn hold(&self) {
        self.phase.send_replace(Phase::Held);
        let is_released = lock(&self.is_released);
        let wait = self.released.wait_while(is_released, |it| !*it);
        drop(wait.unwrap_or_else(PoisonError::into_inner));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    pub fn new(cluster: &Cluster) -> Self {
        let config = cluster.config();
        let servers = config.get("bootstrap.servers").expect("brokers");
        let mut listeners = Vec::new();
        let mut ports = Vec::new();
        for server in servers.split(',') {
            let (host, port) = server.rsplit_once(':').expect("a port");
            assert_eq!(host.as_bytes(), HOST);
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            ports.push(Port {
                of_broker: port.parse().expect("a port"),
                of_proxy: listener.local_addr().expect("an address").port(),
            });
            listeners.push(listener);
        }
        let proxy = Self {
            ports: Arc::new(ports),
            armed: Arc::default(),
        };
        for (index, listener) in listeners.into_iter().enumerate() {
            let (ports, armed) = (Arc::clone(&proxy.ports), Arc::clone(&proxy.armed));
            // They end with the process.
            thread::spawn(move || accept(&listener, index, &ports, &armed));
        }
        proxy
    }

    pub fn bootstrap_servers(&self) -> String {
        let addresses = self
            .ports
            .iter()
            .map(|port| format!("127.0.0.1:{}", port.of_proxy));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// Holds the next request of that kind, or the one after those that are to be held already.
    pub fn hold(&self, api_key: i16) -> Held {
        let request = Arc::new(Request {
            phase: watch::Sender::new(Phase::Awaited),
            is_released: Mutex::new(false),
            released: Condvar::new(),
        });
        lock(&self.armed).push_back((api_key, Arc::clone(&request)));
        Held(request)
    }

    /// Holds no more requests than those that it has.
    pub fn hold_no_more(&self) {
        lock(&self.armed).clear();
    }
}

fn accept(listener: &TcpListener, index: usize, ports: &Arc<Vec<Port>>, armed: &Arc<Armed>) {
    for client in listener.incoming() {
        let client = client.expect("a connection");
        // A broker that is down: the client's connection breaks, too.
        let Ok(broker) = TcpStream::connect(("127.0.0.1", ports[index].of_broker)) else {
            continue;
        };
        for stream in [&client, &broker] {
            stream.set_nodelay(true).expect("an option");
        }
        let held = Arc::new(Mutex::new(Vec::new()));
        let streams = (client.try_clone(), broker.try_clone());
        let (to_client, from_broker) = (streams.0.expect("a socket"), streams.1.expect("a socket"));
        let (ports, answers) = (Arc::clone(ports), Arc::clone(&held));
        thread::spawn(move || forward_answers(from_broker, to_client, &ports, &answers));
        let armed = Arc::clone(armed);
        thread::spawn(move || forward_requests(client, broker, &armed, &held));
    }
}

/// The requests of a connection that were held, by their correlation ids.
type OfConnection = Mutex<Vec<([u8; 4], Arc<Request>)>>;

fn forward_requests(
    mut client: TcpStream,
    mut broker: TcpStream,
    armed: &Armed,
    held: &OfConnection,
) {
    while let Ok(frame) = read_frame(&mut client) {
        // The API key, its version, the correlation id.
        let api_key = i16::from_be_bytes([frame[0], frame[1]]);
        let wanted = {
            let mut armed = lock(armed);
            let index = armed.iter().position(|(key, _)| *key == api_key);
            index.and_then(|index| armed.remove(index))
        };
        if let Some((_, request)) = wanted {
            let id = frame[4..8].try_into().expect("four bytes");
            lock(held).push((id, Arc::clone(&request)));
            request.hold();
        }
        if write_frame(&mut broker, &frame).is_err() {
            return;
        }
    }
    // A broker answers nothing more to a connection that is closed.
    let started = Instant::now();
    while !lock(held).is_empty() && started.elapsed() < DEADLINE {
        thread::sleep(Duration::from_millis(1));
    }
    let _ = broker.shutdown(Shutdown::Write);
}

fn forward_answers(
    mut broker: TcpStream,
    mut client: TcpStream,
    ports: &[Port],
    held: &OfConnection,
) {
    while let Ok(mut frame) = read_frame(&mut broker) {
        let answered = {
            let mut held = lock(held);
            let index = held.iter().position(|(id, _)| frame[..4] == *id);
            index.map(|index| held.remove(index).1)
        };
        if let Some(request) = answered {
            let answer = frame[4..].to_vec();
            request.phase.send_replace(Phase::Answered(answer));
        }
        replace_ports(&mut frame, ports);
        // The client may have given up.
        let _ = write_frame(&mut client, &frame);
    }
    let _ = client.shutdown(Shutdown::Both);
}

/// Replaces the port behind each address of a broker.
fn replace_ports(frame: &mut [u8], ports: &[Port]) {
    let length = HOST.len() + 4;
    for start in 0..frame.len().saturating_sub(length - 1) {
        let (host, port) = frame[start..start + length].split_at_mut(HOST.len());
        let found = ports
            .iter()
            .find(|it| host == HOST && *port == u32::from(it.of_broker).to_be_bytes());
        if let Some(found) = found {
            port.copy_from_slice(&u32::from(found.of_proxy).to_be_bytes());
        }
    }
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

fn write_frame(stream: &mut TcpStream, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).expect("a length");
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(frame);
    stream.write_all(&bytes)
}
