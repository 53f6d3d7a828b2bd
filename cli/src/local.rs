//! Addresses of this machine as people write them.

use crate::error::Failure;

/// `HOST:PORT`, or a port of this machine.
pub(crate) fn address(text: &str) -> Result<String, Failure> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(format!("127.0.0.1:{port}"));
    }
    let port = text
        .rsplit_once(':')
        .and_then(|(host, port)| port.parse::<u16>().ok().filter(|_| !host.is_empty()));
    match port {
        Some(_) => Ok(text.to_owned()),
        None => Err(Failure::usage(format_args!("{text:?} is neither PORT nor HOST:PORT"))
            .next("such as 8080, or 192.0.2.7:8080")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_one_of_this_machine() {
        assert_eq!(address("8080").ok().as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(address("[::1]:80").ok().as_deref(), Some("[::1]:80"));
        assert_eq!(address("example.org:80").ok().as_deref(), Some("example.org:80"));
        for wrong in ["", "host", ":80", "host:", "host:99999"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
