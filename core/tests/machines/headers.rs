//! What travels beside the bodies of requests and answers: methods and metadata.

use pointsub_core::endpoint::Offer;
use pointsub_core::wire::Headers;
use pointsub_core::{
    Body, Cause, ClientConfig, ClientEvent, Delivery, Format, Metadata, Method, Phase, RequestId,
    ServerConfig, ServerEvent, Status, StatusCode,
};

use crate::support::{
    ClientScript, PROTOCOL, ServerScript, failure, id, request, response, settings, without_retries,
};

fn headers(method: Option<&str>, metadata: &[(&str, &[u8])]) -> Headers {
    let mut found = Metadata::new();
    for (key, value) in metadata {
        found.insert(key, value).expect("it fits");
    }
    let method = method.map(|method| Method::new(method).expect("a method"));
    Headers { method, metadata: found }
}

fn sends(c: &mut ClientScript, headers: Headers) -> RequestId {
    let body = Body::uncompressed("a".into()).with_headers(headers);
    c.try_send(1, PROTOCOL, body, None).expect("accepted")
}

fn refused_as_unimplemented(c: &mut ClientScript, asked: RequestId) {
    let error = c.expect_error(asked);
    let Cause::Remote(Status { code, .. }) = error.cause else { panic!("{error}") };
    assert_eq!(code, StatusCode::Unimplemented);
    assert_eq!((error.phase, error.delivery), (Phase::Connect, Delivery::NotProcessed));
}

#[test]
fn a_request_has_its_method_and_metadata_before_settings_have_come() {
    let mut c = ClientScript::new(ClientConfig::default());
    let asked = sends(&mut c, headers(Some("users.Get"), &[("tenant", b"blue"), ("b", b"")]));
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Native);
    let wanted = request(id(1, 0), "a").field(7, b"users.Get");
    c.expect_sent(s, [c.settings(), wanted.meta("tenant", b"blue").meta("b", b"")]);
    // The capital letter makes that no key: it is left out.
    let answer = response(id(1, 0), "A").meta("by", b"me").meta("No", b"").meta("by", b"us");
    c.receives(s, [settings(32 << 20, 10).features(2), answer]);
    let ClientEvent::Response { request, mut payload } = c.expect_event() else { panic!("none") };
    assert_eq!(request, asked);
    let wanted = headers(None, &[("by", b"me"), ("by", b"us")]);
    assert_eq!(payload.headers(), Some(&wanted));
    assert_eq!(payload.take_headers(), wanted);
    assert_eq!(payload.into_bytes(), Ok("A".into()));
}

#[test]
fn a_peer_that_does_not_take_methods_is_not_asked() {
    let (mut c, s) = ClientScript::native(without_retries());
    for headers in [headers(Some("m"), &[]), headers(None, &[("k", b"v")])] {
        let asked = sends(&mut c, headers);
        refused_as_unimplemented(&mut c, asked);
    }
    // Settings may come again.
    c.receives(s, [settings(32 << 20, 10).features(2)]);
    let asked = sends(&mut c, headers(Some("m"), &[]));
    c.expect_sent(s, [request(id(2, 0), "a").field(7, b"m")]);
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(asked, "A");
}

#[test]
fn a_plain_peer_is_not_asked_either() {
    let (mut c, s) = ClientScript::plain(without_retries());
    let asked = sends(&mut c, headers(None, &[("k", b"v")]));
    refused_as_unimplemented(&mut c, asked);
    let asked = c.send("b");
    c.expect_sent(s, [crate::support::plain("b")]);
    c.receives(s, [crate::support::plain("B")]);
    c.expect_response(asked, "B");
}

#[test]
fn a_handler_gets_them_and_answers_with_metadata() {
    let (mut s, stream) = ServerScript::native(ServerConfig::default());
    let asked = request(1, "a").meta("k", b"1").field(7, b"m").meta("k", b"\xff");
    s.receives(stream, [asked.timeout(1000)]);
    let ServerEvent::Request { request, payload, .. } = s.expect_event() else { panic!("none") };
    let wanted = headers(Some("m"), &[("k", b"1"), ("k", b"\xff")]);
    assert_eq!(payload.headers(), Some(&wanted));
    // The method stays where it is: an answer has none.
    s.respond_body(request, Body::uncompressed("A".into()).with_headers(wanted));
    s.expect_sent(stream, [response(1, "A").meta("k", b"1").meta("k", b"\xff")]);
}

#[test]
fn a_method_that_is_none_is_answered_so() {
    for method in [&b""[..], &[b'm'; 256], b"a\nb", b"\xff"] {
        let (mut s, stream) = ServerScript::native(ServerConfig::default());
        s.receives(stream, [request(1, "a").field(7, method)]);
        let refused = failure(1, 10).message("a method that is none").unprocessed();
        s.expect_sent(stream, [refused]);
        s.receives(stream, [request(2, "b")]);
        s.expect_request("b");
    }
}

#[test]
fn what_came_beside_a_request_is_counted_while_it_is_at_work() {
    let held = |beside: usize| {
        let (mut s, stream) = ServerScript::native(ServerConfig::default());
        let asked = request(1, "a");
        let asked = if beside > 0 { asked.meta("k", &vec![7; beside]) } else { asked };
        s.receives(stream, [asked]);
        s.expect_request("a");
        // Another report says what the stream holds.
        s.receives(stream, [request(2, "b")]);
        s.expect_request("b");
        s.stats().memory
    };
    assert_eq!(held(10_000), held(0) + 10_000 + 5);
}

/// Names that lie in place and names that do not are the same to whoever uses them.
#[test]
fn methods_of_every_length_are_what_they_were_made_of() {
    let names = ["m", " ~", "a name of 22 bytes ok!", "a name of 23 bytes, too", "ü", "größe/5"];
    let long = "l".repeat(255);
    let methods = names.into_iter().chain([&*long]).map(|name| {
        let method = Method::new(name).expect("it is one");
        assert_eq!(method.as_str(), name);
        assert_eq!(method, Method::new(name).expect("it is one"));
        assert_eq!(format!("{method} {method:?}"), format!("{name} Method({name:?})"));
        method
    });
    let mut methods: Vec<_> = methods.collect();
    methods.sort();
    let sorted = methods.iter().map(Method::as_str);
    assert!(sorted.is_sorted(), "they are in the order of their names");
    for none in ["", "\u{1f}", "a\u{7f}", "ü\u{9f}", &"l".repeat(256), "a name of 23 bytes, \n"] {
        Method::new(none).expect_err("it is none");
    }
}
