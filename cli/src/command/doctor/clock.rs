//! Whether the clock is right.

use std::time::{Duration, SystemTime};

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Check, State};

/// When this was written: no clock that is right shows less.
const WRITTEN: Duration = Duration::from_secs(1_793_000_000);
/// How long a web server may take.
const ANSWER: Duration = Duration::from_secs(5);
/// More is wrong. The date of a web server has whole seconds, and travels.
const TOLERATED: Duration = Duration::from_secs(60);

/// Compares it with the date that a web server sends with its answers, if one is named.
pub(super) async fn check(server: Option<&str>) -> Check {
    let now = SystemTime::now();
    if now < SystemTime::UNIX_EPOCH + WRITTEN {
        let found =
            format!("it shows {}", httpdate::fmt_http_date(now.max(SystemTime::UNIX_EPOCH)));
        return Check::new("clock", State::Bad, found).next("set it: `timedatectl set-ntp true`");
    }
    let Some(server) = server else {
        return Check::new("clock", State::Unknown, "compared with nothing")
            .next("--clock HOST compares it with a web server");
    };
    let with_port = if server.contains(':') { server.to_owned() } else { format!("{server}:80") };
    match timeout(ANSWER, date(&with_port)).await {
        Ok(Ok(date)) => compare(SystemTime::now(), date, server),
        Ok(Err(error)) => Check::new("clock", State::Unknown, format_args!("{server}: {error}")),
        Err(_) => Check::new("clock", State::Unknown, format_args!("{server} does not answer")),
    }
}

async fn date(server: &str) -> Result<SystemTime, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(server).await?;
    let (mut requests, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = hyper::Request::head("/").header("host", server).body(Empty::<Bytes>::new())?;
    let answer = requests.send_request(request).await;
    connection.abort();
    let answer = answer?;
    let date = answer.headers().get("date").ok_or("it does not say what time it is")?;
    Ok(httpdate::parse_http_date(date.to_str()?)?)
}

fn compare(ours: SystemTime, theirs: SystemTime, server: &str) -> Check {
    let (by, which) = match ours.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    if by <= TOLERATED {
        return Check::new("clock", State::Good, format_args!("as that of {server}"));
    }
    let (minutes, seconds) = (by.as_secs() / 60, by.as_secs() % 60);
    let found = format!("{minutes} min {seconds} s {which} that of {server}");
    Check::new("clock", State::Bad, found)
        .next("set one of them: `timedatectl set-ntp true`. Deadlines and logs go by it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_too_much() {
        let now = SystemTime::UNIX_EPOCH + WRITTEN;
        let hour = Duration::from_secs(3600);
        assert_eq!(compare(now, now + TOLERATED, "it").state, State::Good);
        let behind = compare(now, now + hour, "it");
        assert_eq!((behind.state, &*behind.found), (State::Bad, "60 min 0 s behind that of it"));
        assert_eq!(compare(now + hour, now, "it").found, "60 min 0 s ahead of that of it");
    }
}
