//! hyper against a server of HTTP/2: checks of bench/interop/run.ts, as one line of JSON. `interop <origin> <file of the CA>`

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures_util::{future::join_all, stream};
use http_body_util::{combinators::BoxBody, BodyExt, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2::{handshake, SendRequest},
    HeaderMap, Method, Request, Response,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::{
    rustls::{
        pki_types::{pem::PemObject, CertificateDer, ServerName},
        ClientConfig, RootCertStore,
    },
    TlsConnector,
};

type Body = BoxBody<Bytes, Infallible>;
type Sender = SendRequest<Body>;

const STREAMS: usize = 100;
const ABORTED: usize = 20;

fn text(stream: bool, padding: usize) -> Bytes {
    let messages = serde_json::json!([{ "role": "user", "content": "Hello" }]);
    Bytes::from(serde_json::json!({ "model": "m", "stream": stream, "user": "u".repeat(padding), "messages": messages }).to_string())
}

fn plain(text: Bytes) -> Body {
    Full::new(text).boxed()
}

async fn connect(address: &str, secure: bool, ca: &str) -> Sender {
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    if !secure {
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        return sender;
    }
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let encrypted = TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(encrypted)).await.unwrap();
    tokio::spawn(connection);
    sender
}

struct Server {
    origin: String,
    sender: Sender,
}

impl Server {
    async fn ask(&self, method: Method, path: &str, tokens: usize, body: Body) -> Response<Incoming> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.origin))
            .header("x-fakeai-output-tokens", tokens)
            .body(body)
            .unwrap();
        let mut sender = self.sender.clone();
        sender.ready().await.unwrap();
        sender.send_request(request).await.unwrap()
    }

    async fn chat(&self, body: Body) -> Response<Incoming> {
        self.ask(Method::POST, "/v1/chat/completions", 50, body).await
    }

    /// Whether a stream has all its tokens and its end.
    async fn is_whole(&self, body: Body) -> bool {
        let answer = self.chat(body).await;
        let status = answer.status();
        let Ok(body) = answer.into_body().collect().await else { return false };
        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        status == 200 && text.matches("\"content\":\"").count() == 51 && text.ends_with("data: [DONE]\n\n")
    }

    async fn give_up(&self) {
        let mut answer = self.ask(Method::POST, "/v1/chat/completions", 100_000, plain(text(true, 0))).await;
        answer.frame().await.unwrap().unwrap();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (scheme, address) = arguments[1].split_once("://").unwrap();
    let sender = connect(address, scheme == "https", &arguments[2]).await;
    let server = Server { origin: arguments[1].clone(), sender };
    let first = server.chat(plain(text(true, 0))).await;
    let protocol = format!("{:?}", first.version());
    first.into_body().collect().await.unwrap();
    let complete = join_all((0..STREAMS).map(|_| server.is_whole(plain(text(true, 0))))).await;
    let upload = server.chat(plain(text(false, 300_000))).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "1".parse().unwrap());
    let frames = [Frame::data(text(true, 0)), Frame::trailers(trailers)].map(Ok::<_, Infallible>);
    let trailed = server.is_whole(BodyExt::boxed(StreamBody::new(stream::iter(frames)))).await;
    let missing = server.ask(Method::GET, "/nowhere", 1, plain(Bytes::new())).await;
    join_all((0..ABORTED).map(|_| server.give_up())).await;
    let after = server.is_whole(plain(text(true, 0))).await;
    println!(
        "{}",
        serde_json::json!({
            "client": "Rust hyper",
            "protocol": protocol,
            "complete": complete.iter().filter(|whole| **whole).count(),
            "upload": upload.status().as_u16(),
            "trailers": trailed,
            "missing": missing.status().as_u16(),
            "afterAborts": after,
        })
    );
}
