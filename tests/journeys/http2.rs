//! HTTP/2 with prior knowledge: the same decisions and the same answers as over HTTP/1.1, through another client.

use crate::support::setup;
use anykey_testkit::TestSim;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};

async fn post_on(address: std::net::SocketAddr, secret: &str, body: &'static str) -> (u16, String) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::post(format!("http://{address}/v1/chat/completions"))
        .header("authorization", format!("Bearer {secret}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The kit has a runtime of its own, so each call gets one for itself.
fn post(address: std::net::SocketAddr, secret: &str, body: &'static str) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(post_on(address, secret, body))
}

#[test]
fn calls_streams_and_refusals() {
    let sim = TestSim::start();
    let gateway = setup().sim(&sim).start();
    let key = gateway.key("journey");
    let plain = r#"{"model":"openai/echo","messages":[{"role":"user","content":"over two"}]}"#;
    let stream = r#"{"model":"openai/echo","stream":true,"messages":[{"role":"user","content":"over two"}]}"#;
    let (status, body) = post(gateway.address(), &key.secret, plain);
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("over two"), "{body}");
    let (status, body) = post(gateway.address(), &key.secret, stream);
    assert_eq!(status, 200, "{body}");
    assert!(body.ends_with("data: [DONE]\n\n"), "{body}");
    let (status, body) = post(gateway.address(), "nobody", plain);
    assert_eq!(status, 401, "{body}");
    assert!(body.contains("invalid_api_key"), "{body}");
    assert_eq!(gateway.records_of(&key).len(), 2);
}
