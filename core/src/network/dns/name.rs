//! Names of lists.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use thiserror::Error;

/// What the name of the records has before that of the list.
const PREFIX: &str = "_dnsaddr.";
/// The longest name there is (RFC 1035, section 2.3.4), as text without the dot at its end.
const MAX_NAME: usize = 253;
/// The longest part of a name in the DNS.
const MAX_LABEL: usize = 63;

/// The name of a list of servers, such as `example.org`: the records are those of `_dnsaddr.example.org`.
/// Cheap to clone. Upper and lower case are the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(Arc<str>);

/// A text that is no name of a list.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{name:?} is no name in the DNS: it takes letters, digits, `-` and `_` in parts of 1 to {MAX_LABEL} \
     characters between dots, 244 characters in all; write others in punycode (xn--…), and leave out \
     `_dnsaddr.`"
)]
pub struct DnsNameError {
    name: String,
}

impl DnsName {
    /// Takes a name, with or without a dot at its end.
    ///
    /// # Errors
    /// [`DnsNameError`] if it is none, or too long for the records of a list.
    pub fn new(name: &str) -> Result<Self, DnsNameError> {
        let text = name.strip_suffix('.').unwrap_or(name);
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let label =
            |label: &str| (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(letter);
        let repeats = text.get(..PREFIX.len()).is_some_and(|s| s.eq_ignore_ascii_case(PREFIX));
        if repeats || text.len() > MAX_NAME - PREFIX.len() || !text.split('.').all(label) {
            // It may be a stranger's.
            return Err(DnsNameError { name: name.chars().take(MAX_NAME).collect() });
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The name in lower case, without a dot at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the `TXT` records, complete, with a dot at its end.
    #[must_use]
    pub fn txt_name(&self) -> String {
        [PREFIX, &self.0, "."].concat()
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DnsName({self})")
    }
}
