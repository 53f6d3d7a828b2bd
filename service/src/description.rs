//! What a service says of itself.

use std::borrow::Cow;

use serde::Serialize;

/// What a service offers, for tools and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ServiceDescription {
    /// Its protocol.
    pub protocol: Cow<'static, str>,
    /// What its documentation says.
    pub documentation: &'static str,
    /// Its methods, in the order in which they were declared.
    pub methods: Cow<'static, [MethodDescription]>,
}

impl ServiceDescription {
    /// A service of this protocol with these methods.
    #[must_use]
    pub const fn new(protocol: &'static str, methods: &'static [MethodDescription]) -> Self {
        Self {
            protocol: Cow::Borrowed(protocol),
            documentation: "",
            methods: Cow::Borrowed(methods),
        }
    }

    /// Adds documentation.
    #[must_use]
    pub const fn with_documentation(mut self, documentation: &'static str) -> Self {
        self.documentation = documentation;
        self
    }

    /// The names of its methods.
    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> = self.methods.iter().map(|method| method.name).collect();
        names.join(", ")
    }
}

/// One method of a service. Types are named as they are in the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MethodDescription {
    /// Its name, as it travels.
    pub name: &'static str,
    /// What its documentation says.
    pub documentation: &'static str,
    /// The names and types of its arguments.
    pub arguments: &'static [(&'static str, &'static str)],
    /// The type of the messages that the client sends, if it sends any.
    pub receives: Option<&'static str>,
    /// The type of the messages that the server sends, if it sends any.
    pub sends: Option<&'static str>,
    /// What it returns.
    pub returns: &'static str,
    /// Whether executing it twice does no harm, if the service says so.
    pub idempotent: Option<bool>,
}

impl MethodDescription {
    /// A method of this name, without arguments.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            documentation: "",
            arguments: &[],
            receives: None,
            sends: None,
            returns: "",
            idempotent: None,
        }
    }

    /// Adds documentation.
    #[must_use]
    pub const fn with_documentation(mut self, documentation: &'static str) -> Self {
        self.documentation = documentation;
        self
    }

    /// Sets the arguments, and what is returned.
    #[must_use]
    pub const fn with_types(
        mut self,
        arguments: &'static [(&'static str, &'static str)],
        returns: &'static str,
    ) -> Self {
        (self.arguments, self.returns) = (arguments, returns);
        self
    }

    /// Sets the types of the messages that the server receives and sends.
    #[must_use]
    pub const fn with_messages(
        mut self,
        receives: Option<&'static str>,
        sends: Option<&'static str>,
    ) -> Self {
        (self.receives, self.sends) = (receives, sends);
        self
    }

    /// Says whether executing it twice does no harm.
    #[must_use]
    pub const fn with_idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }
}
