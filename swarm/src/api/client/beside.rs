//! What callers say beside a body.

#[cfg(feature = "tower")]
use pointsub_core::Metadata;
use pointsub_core::{Headers, MetadataError, Method, SendError};

/// What a caller says beside a body, until the request is sent: the first mistake is told then.
#[derive(Debug, Clone, Default)]
pub(in crate::api) struct Beside {
    headers: Headers,
    invalid: Option<Box<MetadataError>>,
}

impl Beside {
    #[inline]
    pub(in crate::api) fn method(&mut self, method: &str) {
        match Method::new(method) {
            Ok(method) => self.headers.method = Some(method),
            Err(error) => self.note(error),
        }
    }

    pub(in crate::api) fn metadata(&mut self, key: &str, value: &[u8]) {
        if let Err(error) = self.headers.metadata.insert(key, value) {
            self.note(error);
        }
    }

    fn note(&mut self, error: MetadataError) {
        self.invalid.get_or_insert_with(|| Box::new(error));
    }

    #[cfg(feature = "tower")]
    pub(in crate::api) const fn headers(&self) -> &Headers {
        &self.headers
    }

    #[cfg(feature = "tower")]
    pub(in crate::api) const fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.headers.metadata
    }

    pub(in crate::api) fn into_headers(self) -> Result<Headers, SendError> {
        self.invalid.map_or(Ok(self.headers), |error| Err((*error).into()))
    }
}

#[cfg(feature = "tower")]
impl From<Headers> for Beside {
    fn from(headers: Headers) -> Self {
        Self { headers, invalid: None }
    }
}
