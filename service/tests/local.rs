//! Services in one program, without a network.

use std::time::Duration;

use futures::executor::block_on;
use futures::{StreamExt, TryStreamExt};
use pointsub_service::{
    CallError, Cx, Failure, Never, PeerId, ProtocolName, Rejection, Router, Rx, Service, Stub, Tx,
    service,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
struct Event {
    number: u32,
}

/// Counts.
///
/// Up and down.
#[service("/counter/1")]
trait Counter {
    /// Who asks.
    async fn who(&self, cx: &Cx) -> Result<String, Failure>;

    #[method(name = "Half", idempotent = false)]
    async fn half(&self, cx: &Cx, number: u32) -> Result<u32, Failure>;

    // Messages stand where one likes.
    async fn up(&self, cx: &Cx, events: Tx<Event>, last: u32) -> Result<String, Failure>;

    async fn sum(&self, cx: &Cx, numbers: Rx<u32>) -> Result<u64, Failure>;

    async fn double(&self, cx: &Cx, tx: Tx<u32>, first: u32, rx: Rx<u32>) -> Result<u32, Failure>;

    async fn version(&self, _cx: &Cx) -> Result<u32, Failure> {
        Ok(1)
    }

    async fn never(&self, cx: &Cx) -> Result<(), Failure>;
}

struct Mine;

impl Counter for Mine {
    async fn who(&self, cx: &Cx) -> Result<String, Failure> {
        let tenant = cx.metadata().get("tenant").unwrap_or(b"nobody");
        Ok(format!("{} {}", cx.peer(), String::from_utf8_lossy(tenant)))
    }

    async fn half(&self, _cx: &Cx, number: u32) -> Result<u32, Failure> {
        match number % 2 {
            0 => Ok(number / 2),
            _ => Err(Failure::new(7, "odd")),
        }
    }

    async fn up(&self, cx: &Cx, mut events: Tx<Event>, last: u32) -> Result<String, Failure> {
        if last == 0 {
            return Err(Failure::new(1, "nothing to count"));
        }
        let first = cx.resume().map_or(1, |cursor| u32::from(cursor[0]) + 1);
        for number in first..=last {
            events.send_with_cursor(Event { number }, vec![number as u8]).await?;
        }
        if last == 200 { Err(Failure::new(2, "too far")) } else { Ok("counted".to_owned()) }
    }

    async fn sum(&self, _cx: &Cx, mut numbers: Rx<u32>) -> Result<u64, Failure> {
        let mut sum = 0;
        while let Some(number) = numbers.recv().await? {
            sum += u64::from(number);
        }
        Ok(sum)
    }

    async fn double(
        &self,
        _cx: &Cx,
        mut tx: Tx<u32>,
        first: u32,
        rx: Rx<u32>,
    ) -> Result<u32, Failure> {
        tx.send(first * 2).await?;
        let doubled = rx.map_ok(|number| number * 2).try_collect::<Vec<_>>().await?;
        let count = doubled.len() as u32;
        for number in doubled {
            tx.send(number).await?;
        }
        Ok(count)
    }

    async fn never(&self, _cx: &Cx) -> Result<(), Failure> {
        futures::future::pending().await
    }
}

#[test]
fn methods_without_messages_are_called() {
    block_on(async {
        let me = PeerId::random();
        let client = CounterClient::local(Mine).as_caller(me);
        let who = client.who().metadata("tenant", "blue").await.expect("an answer");
        assert_eq!(who, format!("{me} blue"));
        assert_eq!(client.half(8).await.expect("it is even"), 4);
        let error = client.half(7).await.expect_err("it is odd");
        assert_eq!(error.service(), Some(&Failure::new(7, "odd")), "{error}");
        assert_eq!(client.version().await.expect("it has a body"), 1);
    });
}

#[test]
fn methods_send_messages() {
    block_on(async {
        let client = CounterClient::local(Mine);
        let mut events = client.up(100).await.expect("it is open");
        for number in 1..=100 {
            assert_eq!(events.recv().await.expect("it goes on"), Some(Event { number }));
        }
        assert_eq!(events.recv().await.expect("it has ended"), None);
        assert_eq!(events.finish().await.expect("a result"), "counted");

        let refused = client.up(0).await.expect_err("it is refused");
        assert_eq!(refused.service(), Some(&Failure::new(1, "nothing to count")));

        let mut failing = client.up(200).await.expect("it is open");
        assert_eq!(
            failing.by_ref().filter(|event| std::future::ready(event.is_ok())).count().await,
            200
        );
        let failed = client.up(200).await.expect("it is open").finish().await;
        assert_eq!(failed.expect_err("it fails").service(), Some(&Failure::new(2, "too far")));
    });
}

#[test]
fn a_call_goes_on_behind_a_cursor() {
    block_on(async {
        let client = CounterClient::local(Mine);
        let mut events = client.up(9).await.expect("it is open");
        for _ in 1..=4 {
            events.recv().await.expect("it goes on");
        }
        let cursor = events.cursor().expect("it has one").clone();
        drop(events);
        let mut events = client.up(9).resume(cursor).await.expect("it is open again");
        assert_eq!(events.recv().await.expect("it goes on"), Some(Event { number: 5 }));
    });
}

#[test]
fn methods_receive_messages() {
    block_on(async {
        let client = CounterClient::local(Mine);
        let mut call = client.sum().await.expect("it is open");
        for number in 1..=100 {
            call.send(number).await.expect("it takes more");
        }
        assert_eq!(call.finish().await.expect("a sum"), 5050);
    });
}

#[test]
fn messages_go_both_ways_in_two_tasks() {
    block_on(async {
        let client = CounterClient::local(Mine);
        let mut call = client.double(4).await.expect("it is open");
        assert_eq!(call.recv().await.expect("it goes on"), Some(8));
        let (mut tx, mut rx) = call.split();
        let sending = async {
            for number in 0..100 {
                tx.send(number).await.expect("it takes more");
            }
            tx.finish();
        };
        let receiving = async {
            let mut doubled = Vec::new();
            while let Some(number) = rx.recv().await.expect("it goes on") {
                doubled.push(number);
            }
            doubled
        };
        let ((), doubled) = futures::join!(sending, receiving);
        assert_eq!(doubled, (0..100).map(|number| number * 2).collect::<Vec<_>>());
    });
}

#[test]
fn time_runs_out_here_too() {
    block_on(async {
        let client = CounterClient::local(Mine);
        let late = client.never().timeout(Duration::from_millis(1)).await;
        assert!(late.expect_err("it never answers").is_timeout());
        // What is left of another call is the most that there is.
        let cx = Cx::new(PeerId::random()).with_remaining(Duration::from_millis(1));
        let late = client.never().timeout(Duration::from_secs(3600)).child_of(&cx).await;
        assert!(late.expect_err("it never answers").is_timeout());
    });
}

#[test]
fn what_a_service_does_not_have_is_said() {
    block_on(async {
        let client = Stub::local(CounterServer::new(Mine));
        let error = client.call::<_, (), Failure>("third", ()).await.expect_err("there is none");
        assert!(error.is_unknown_method(), "{error}");
        let wanted = "there is no method \"third\" in /counter/1, which has: who, Half, up, sum, double, version, never";
        assert!(error.to_string().ends_with(wanted), "{error}");
        let error = client.call::<_, u32, Failure>("sum", ()).await.expect_err("it has messages");
        assert!(
            matches!(error, CallError::Rejected { reason: Rejection::NotStreaming, .. }),
            "{error}"
        );
        // No panic where somebody names another type.
        let error = client.call::<_, u32, Failure>("version", 5u8).await.expect_err("no arguments");
        assert!(error.status().is_some(), "{error}");
        let echo = Router::new(ProtocolName::from_static("/echo/1"))
            .method("echo", |_: Cx, text: String| async move { Ok::<_, Never>(text) });
        let error = Stub::local(echo).call::<_, u32, Never>("echo", "a".to_owned()).await;
        assert!(error.expect_err("it is no number").status().is_some());
    });
}

#[test]
fn a_service_describes_itself() {
    let description = CounterServer::<Mine>::DESCRIPTION;
    assert_eq!(description, CounterServer::new(Mine).description());
    assert_eq!(description.protocol, CounterClient::PROTOCOL.as_str());
    assert_eq!(description.documentation, "Counts.\n\nUp and down.");
    let [who, half, up, sum, double, ..] = &description.methods[..] else {
        panic!("there are more")
    };
    assert_eq!((who.name, who.documentation, who.arguments), ("who", "Who asks.", &[][..]));
    assert_eq!((half.name, half.idempotent), ("Half", Some(false)));
    assert_eq!((half.arguments, half.returns), (&[("number", "u32")][..], "Result<u32, Failure>"));
    assert_eq!(
        (up.sends, up.receives, up.arguments),
        (Some("Event"), None, &[("last", "u32")][..])
    );
    assert_eq!((sum.sends, sum.receives), (None, Some("u32")));
    assert_eq!((double.sends, double.receives), (Some("u32"), Some("u32")));
}
