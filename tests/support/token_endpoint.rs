//! Where OpenID Connect gets its tokens from, in this process.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// A token endpoint that gives this answer to each request: a status, and a body of JSON.
pub fn token_endpoint(status: &str, body: &str) -> String {
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{body}"
    );
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let serve = move |mut stream: TcpStream| {
        let mut request = [0; 8192];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(answer.as_bytes());
    };
    std::thread::spawn(move || listener.incoming().flatten().for_each(serve));
    format!("http://{address}/token")
}

/// One that gives this token.
pub fn token_endpoint_with(token: &str) -> String {
    let body = format!(r#"{{"access_token":"{token}","token_type":"bearer"}}"#);
    token_endpoint("200 OK", &body)
}
