//! What travels beside a body: `WIRE.md` section 2.10.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use bytes::Bytes;
use thiserror::Error;

use super::native::{Head, HeadReader, tag};

/// The most bytes that the META fields of a frame may take: the other fields need room too.
pub const MAX_METADATA: usize = 12 * 1024;
/// The longest key, and the longest method.
const MAX_NAME: usize = 255;

/// Keys with values that travel beside a request or an answer, in order. A key may occur more than
/// once.
///
/// ```
/// use pointsub_core::Metadata;
///
/// let mut metadata = Metadata::new();
/// metadata.insert("tenant", b"blue")?;
/// assert_eq!(metadata.get("tenant"), Some(&b"blue"[..]));
/// assert!(metadata.insert("Tenant", b"").is_err());
/// # Ok::<(), pointsub_core::MetadataError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// META fields as they lie in a frame, each of them well-formed.
    fields: Bytes,
}

/// A key, a value or a method that cannot travel.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// A key is 1 to 255 bytes of printable ASCII without capital letters and spaces.
    #[error("{key:?} is no key: use 1 to 255 bytes of lowercase ASCII without spaces")]
    Key {
        /// The key.
        key: String,
    },
    /// The metadata of a frame has at most [`MAX_METADATA`] bytes.
    #[error("{len} bytes of metadata, the limit is {MAX_METADATA}: send the rest in the body")]
    TooLarge {
        /// How many bytes there would be, with 4 bytes for each key.
        len: usize,
    },
    /// A method is 1 to 255 bytes without control characters.
    #[error("{method:?} is no method: use 1 to 255 bytes without control characters")]
    Method {
        /// The method.
        method: String,
    },
}

fn is_key(key: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
    (1..=MAX_NAME).contains(&key.len()) && key.iter().all(allowed)
}

/// The key and the value in the value of a META field, if it is well-formed.
fn split(value: &[u8]) -> Option<(&str, &[u8])> {
    let (&len, rest) = value.split_first()?;
    let (key, value) = rest.split_at_checked(usize::from(len))?;
    let key = core::str::from_utf8(key).ok().filter(|key| is_key(key.as_bytes()))?;
    Some((key, value))
}

impl Metadata {
    /// No metadata.
    #[must_use]
    pub const fn new() -> Self {
        Self { fields: Bytes::new() }
    }

    /// Adds a key with its value behind those that are there.
    ///
    /// # Errors
    /// [`MetadataError`] if the key cannot be used, or the metadata would become too large.
    pub fn insert(&mut self, key: &str, value: impl AsRef<[u8]>) -> Result<(), MetadataError> {
        self.insert_bytes(key, value.as_ref())
    }

    fn insert_bytes(&mut self, key: &str, value: &[u8]) -> Result<(), MetadataError> {
        if !is_key(key.as_bytes()) {
            return Err(MetadataError::Key { key: key.into() });
        }
        let field = 1 + key.len() + value.len();
        let len = self.fields.len() + 3 + field;
        if len > MAX_METADATA {
            return Err(MetadataError::TooLarge { len });
        }
        let mut fields = Vec::with_capacity(len);
        fields.extend_from_slice(&self.fields);
        fields.extend_from_slice(&[tag::META, (field >> 8) as u8, field as u8, key.len() as u8]);
        fields.extend_from_slice(key.as_bytes());
        fields.extend_from_slice(value);
        self.fields = fields.into();
        Ok(())
    }

    /// The value of the first `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.iter().find(|(found, _)| *found == key).map(|(_, value)| value)
    }

    /// All keys with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        HeadReader::new(&self.fields).filter_map(|field| split(field.ok()?.value))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// How many bytes it takes in a frame.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        self.fields.len()
    }

    #[cold]
    pub(crate) fn write(&self, head: &mut Head<'_>) {
        head.fields(&self.fields);
    }

    /// The metadata in the fields of a frame. What is malformed inside is left out, as is what goes
    /// beyond [`MAX_METADATA`].
    #[cold]
    pub(crate) fn read(head: &[u8]) -> Self {
        let mut fields = Vec::new();
        for field in HeadReader::new(head).flatten().filter(|field| field.tag == tag::META) {
            keep(field.value, &mut fields);
        }
        Self { fields: fields.into() }
    }
}

/// Adds the value of a META field to others, if it is well-formed and there is room.
fn keep(value: &[u8], fields: &mut Vec<u8>) {
    let len = value.len();
    if split(value).is_some() && fields.len() + 3 + len <= MAX_METADATA {
        fields.extend_from_slice(&[tag::META, (len >> 8) as u8, len as u8]);
        fields.extend_from_slice(value);
    }
}

/// Keys and lengths: values may be secrets.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(key, value)| (key, value.len()))).finish()
    }
}

/// What is asked for within a protocol, such as the name of a method of a service. Cheap to clone.
#[derive(Clone)]
pub struct Method(Name);

/// Longer names, and those with other letters than ASCII's, are apart: a request with a short one takes no
/// memory for it.
const SHORT: usize = 22;

#[derive(Clone)]
enum Name {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Arc<str>),
}

impl Method {
    /// A method of that name.
    ///
    /// # Errors
    /// [`MetadataError::Method`] if it is empty, longer than 255 bytes, or has control characters.
    pub fn new(name: &str) -> Result<Self, MetadataError> {
        if let Some(short) = Self::short(name.as_bytes()) {
            return Ok(short);
        }
        let usable = (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
        match usable {
            true => Ok(Self(Name::Long(Arc::from(name)))),
            false => Err(MetadataError::Method { method: name.into() }),
        }
    }

    /// Most are short, of ASCII: one look at each byte says that.
    fn short(name: &[u8]) -> Option<Self> {
        let mut bytes = [0; SHORT];
        let short = bytes.get_mut(..name.len()).filter(|short| !short.is_empty())?;
        for (to, byte) in short.iter_mut().zip(name) {
            if !matches!(byte, b' '..=b'~') {
                return None;
            }
            *to = *byte;
        }
        Some(Self(Name::Short { len: name.len() as u8, bytes }))
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // It is ASCII.
            Name::Short { len, bytes } => bytes
                .get(..usize::from(*len))
                .and_then(|name| core::str::from_utf8(name).ok())
                .unwrap_or_default(),
            Name::Long(name) => name,
        }
    }

    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        Self::short(value).or_else(|| Self::new(core::str::from_utf8(value).ok()?).ok())
    }
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Method {}

impl PartialOrd for Method {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Method {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Method {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Method").field(&self.as_str()).finish()
    }
}

/// What travels beside the body of a request or of an answer. An answer has no method.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// What is asked for within the protocol.
    pub method: Option<Method>,
    /// Keys with values.
    pub metadata: Metadata,
}

impl Headers {
    /// Whether there is nothing beside the body.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.method.is_none() && self.metadata.is_empty()
    }

    /// How many bytes it takes in a frame.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        let method = self.method.as_ref().map_or(0, |method| 3 + method.as_str().len());
        method + self.metadata.wire_len()
    }

    /// What lies in the fields of a request; `None` if the method is none.
    pub(crate) fn read(head: &[u8]) -> Option<Self> {
        let (mut method, mut fields) = (None, Vec::new());
        for field in HeadReader::new(head).flatten() {
            match field.tag {
                tag::METHOD => method = Some(Method::read(field.value)?),
                tag::META => keep(field.value, &mut fields),
                _ => {}
            }
        }
        Some(Self { method, metadata: Metadata { fields: fields.into() } })
    }

    /// Adds the fields of a request.
    #[cold]
    pub(crate) fn write(&self, head: &mut Head<'_>) {
        if let Some(method) = &self.method {
            head.bytes(tag::METHOD, method.as_str().as_bytes());
        }
        self.metadata.write(head);
    }
}

impl From<Metadata> for Headers {
    fn from(metadata: Metadata) -> Self {
        Self { method: None, metadata }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
