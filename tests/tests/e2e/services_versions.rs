//! Two versions of a service, whose peers talk to each other in both directions.

use pointsub_service::{CallError, Codec, Cx, Failure, Rejection, Tx, service};
use pointsub_swarm::ServerConfig;

use crate::common::*;

mod v1 {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Message {
        pub(super) text: String,
        /// Gone in the next version, where nobody misses it.
        pub(super) color: Option<u8>,
    }

    #[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
    pub(super) enum ChatError {
        #[error("empty")]
        Empty,
    }
    impl pointsub_service::ServiceError for ChatError {}

    #[service("/chat/1")]
    pub(super) trait Chat {
        async fn say(&self, cx: &Cx, message: Message) -> Result<u32, ChatError>;
        async fn history(&self, cx: &Cx, tx: Tx<Message>) -> Result<u32, ChatError>;
    }

    pub(super) struct Room;
    impl Chat for Room {
        async fn say(&self, _cx: &Cx, message: Message) -> Result<u32, ChatError> {
            match message.text.len() {
                0 => Err(ChatError::Empty),
                len => Ok(len as u32),
            }
        }

        async fn history(&self, _cx: &Cx, mut tx: Tx<Message>) -> Result<u32, ChatError> {
            let message = Message { text: "first".to_owned(), color: Some(1) };
            tx.send(message).await.map_err(|_| ChatError::Empty)?;
            Ok(1)
        }
    }
}

mod v2 {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    pub(super) struct Message {
        pub(super) text: String,
        /// New, and optional.
        pub(super) reply_to: Option<u64>,
        /// New, with a default.
        #[serde(default)]
        pub(super) tags: Vec<String>,
    }

    #[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
    pub(super) enum ChatError {
        #[error("empty")]
        Empty,
        #[error("more than {limit} bytes")]
        TooLong { limit: u32 },
    }
    impl pointsub_service::ServiceError for ChatError {}

    #[service("/chat/1")]
    pub(super) trait Chat {
        /// With a new argument, which old peers do not send.
        async fn say(
            &self,
            cx: &Cx,
            message: Message,
            #[serde(default)] loud: bool,
        ) -> Result<u32, ChatError>;
        async fn history(
            &self,
            cx: &Cx,
            tx: Tx<Message>,
            limit: Option<u32>,
        ) -> Result<u32, ChatError>;
        /// A new method.
        async fn rename(&self, cx: &Cx, name: String) -> Result<String, Failure>;
    }

    pub(super) struct Room;
    impl Chat for Room {
        async fn say(&self, _cx: &Cx, message: Message, loud: bool) -> Result<u32, ChatError> {
            assert_eq!((message.reply_to, message.tags.len()), (None, 0), "it was not sent");
            match message.text.len() as u32 {
                0 => Err(ChatError::Empty),
                10.. => Err(ChatError::TooLong { limit: 9 }),
                len => Ok(len + u32::from(loud)),
            }
        }

        async fn history(
            &self,
            _cx: &Cx,
            mut tx: Tx<Message>,
            limit: Option<u32>,
        ) -> Result<u32, ChatError> {
            let tags = vec!["new".to_owned()];
            let message = Message { text: "first".to_owned(), reply_to: Some(7), tags };
            tx.send(message).await.map_err(|_| ChatError::Empty)?;
            Ok(limit.unwrap_or(1))
        }

        async fn rename(&self, _cx: &Cx, name: String) -> Result<String, Failure> {
            Ok(name)
        }
    }
}

/// The codecs in which peers of different age understand each other.
const CODECS: [Codec; 2] = [Codec::Cbor, Codec::Json];

#[test]
fn an_old_client_talks_to_a_new_server() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        v2::ChatServer::new(v2::Room).serve(server.server()).expect("first");
        let node = client_of(&server, once()).await;
        for codec in CODECS {
            let client = v1::ChatClient::peer(node.client(), server.peer_id()).with_codec(codec);
            let say =
                |text: &str| client.say(v1::Message { text: text.to_owned(), color: Some(3) });
            assert_eq!(say("hello").await.expect("an answer"), 5);
            let empty = say("").await.expect_err("it is refused");
            assert_eq!(empty.service(), Some(&v1::ChatError::Empty));
            // An error that it does not know has its text.
            let long = say("a long message").await.expect_err("it is refused");
            assert_eq!(long.status().expect("a status").message, "more than 9 bytes");

            let mut history = client.history().await.expect("it is open");
            let first = history.recv().await.expect("it goes on").expect("a message");
            assert_eq!(first, v1::Message { text: "first".to_owned(), color: None });
            assert_eq!(history.finish().await.expect("a result"), 1);
        }
    });
}

#[test]
fn a_new_client_talks_to_an_old_server() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        v1::ChatServer::new(v1::Room).serve(server.server()).expect("first");
        let node = client_of(&server, once()).await;
        for codec in CODECS {
            let client = v2::ChatClient::peer(node.client(), server.peer_id()).with_codec(codec);
            let message = |text: &str| v2::Message {
                text: text.to_owned(),
                reply_to: Some(7),
                tags: vec!["tag".to_owned()],
            };
            // What the server does not know, it leaves out.
            assert_eq!(client.say(message("hello"), true).await.expect("an answer"), 5);
            let empty = client.say(message(""), true).await.expect_err("it is refused");
            assert_eq!(empty.service(), Some(&v2::ChatError::Empty));

            let mut history = client.history(Some(9)).await.expect("it is open");
            let first = history.recv().await.expect("it goes on").expect("a message");
            assert_eq!(first, v2::Message { text: "first".to_owned(), ..v2::Message::default() });
            assert_eq!(history.finish().await.expect("a result"), 1);

            let error = client.rename("bob".to_owned()).await.expect_err("it does not have that");
            assert!(error.is_unknown_method(), "{error}");
            let CallError::Rejected { reason, .. } = error else { panic!("{error}") };
            let message = error.status().map_or("", |status| &status.message);
            assert_eq!(reason, Rejection::UnknownMethod);
            let wanted = "there is no method \"rename\" in /chat/1, which has: say, history";
            assert_eq!(message, wanted);
        }
    });
}
