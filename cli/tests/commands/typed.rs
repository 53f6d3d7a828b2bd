//! Methods of typed services, served by a program of its own.

use pointsub_tokio::service::{Cx, Failure, Router, Rx, Service, Tx};
use pointsub_tokio::{Discover, Node, ProtocolName};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::support::{HERE, Home};

const CHAT: ProtocolName = ProtocolName::from_static("/chat/1");

#[derive(Deserialize)]
struct Say {
    text: String,
}

#[derive(Serialize)]
struct Said {
    length: usize,
}

#[derive(Deserialize)]
struct Count {
    to: u32,
}

#[derive(Deserialize)]
struct Nothing {}

async fn say(_: Cx, say: Say) -> Result<Said, Failure> {
    match say.text.is_empty() {
        true => Err(Failure::new(7, "say something")),
        false => Ok(Said { length: say.text.len() }),
    }
}

async fn count(_: Cx, count: Count, mut numbers: Tx<u32>) -> Result<(), Failure> {
    for number in 1..=count.to {
        numbers.send(number).await?;
    }
    Ok(())
}

async fn sum(_: Cx, _: Nothing, mut numbers: Rx<u32>) -> Result<u32, Failure> {
    let mut sum = 0;
    while let Some(number) = numbers.recv().await? {
        sum += number;
    }
    Ok(sum)
}

/// A node with the service, and its address.
fn chat() -> (Runtime, Node, String) {
    chat_as(CHAT, Discover::manual())
}

/// The same under another name, perhaps announced.
pub(crate) fn chat_as(protocol: ProtocolName, discover: Discover) -> (Runtime, Node, String) {
    let runtime = Runtime::new().expect("threads");
    let (node, address) = runtime.block_on(async {
        let node = Node::builder().listen(HERE.parse().expect("an address")).discover(discover);
        let node = node.build().await.expect("a node");
        let service = Router::new(protocol).method("say", say).server_streaming("count", count);
        service.client_streaming("sum", sum).serve(node.server()).expect("it is new");
        let address = node.address().await.expect("it listens");
        (node, address.to_string())
    });
    (runtime, node, address)
}

#[test]
fn a_method_is_called_with_json() {
    let (_runtime, _node, address) = chat();
    let home = Home::new();
    let said = home.run(&["call", &address, "/chat/1", "say", r#"{"text":"hi"}"#]).well();
    assert_eq!(said.out(), "{\"length\":2}\n");
    let said = home.feed(&["call", &address, "/chat/1", "say", "-"], br#"{"text":"hello"}"#);
    assert_eq!(said.well().out(), "{\"length\":5}\n");
    let refused = ["call", &address, "/chat/1", "say", r#"{"text":""}"#];
    home.run(&refused).says(1, "say something");
    let json = home.run(&[&refused[..], &["--json"]].concat()).with_code(1).values();
    assert_eq!(json[0]["error"]["detail"], json!({ "code": 7, "message": "say something" }));
    home.run(&["call", &address, "/chat/1", "shout", "{}"]).says(1, "does not have the method");
    home.run(&["call", &address, "/chat/1", "say", "{}"]).says(1, "cannot read the arguments");
    home.run(&["call", &address, "/chat/1", "say", "hi"]).says(2, "no JSON");
}

#[test]
fn messages_of_the_server_are_lines() {
    let (_runtime, node, address) = chat();
    let home = Home::new();
    let counted = ["call", &address, "/chat/1", "count", r#"{"to":3}"#];
    assert_eq!(home.run(&counted).well().out(), "1\n2\n3\n");
    let json = home.run(&[&counted[..], &["--json"]].concat()).well().values();
    assert_eq!(json[0], json!({ "event": "message", "value": 1 }));
    let peer = node.peer_id().to_string();
    let result = json!({ "event": "result", "value": null, "peer": peer, "source": null });
    assert_eq!(json[3], result);
}

#[test]
fn lines_are_messages_to_the_server() {
    let (_runtime, _node, address) = chat();
    let home = Home::new();
    let sum = ["call", &address, "/chat/1", "sum", "{}", "--lines"];
    assert_eq!(home.feed(&sum, b"1\n2\n\n39\n").well().out(), "42\n");
    assert_eq!(home.feed(&sum, b"").well().out(), "0\n");
    home.feed(&sum, b"1\nx\n").says(2, "line 2 of the input is no JSON");
}

#[test]
fn info_shows_the_methods_of_a_service_that_describes_itself() {
    let (_runtime, node, address) = chat();
    let service = Router::new(CHAT).method("say", say);
    let info = pointsub_tokio::service::info::InfoService::new(node.server(), |_| true);
    info.describe_service(&service.description());
    info.serve().expect("it is new");
    let shown = Home::new().run(&["info", &address]).well().out();
    assert!(shown.contains("/chat/1") && shown.contains("  say("), "{shown}");
}
