//! The code of a service: the trait as it is implemented, its client, its server, its description.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Type;

use crate::parse::{Kind, Method, Service, Taken, place, unraw};

pub(crate) fn service(service: &Service) -> TokenStream {
    let (implemented, types) = (implemented(service), types(service));
    let structures = service.methods.iter().map(|method| arguments(service, method));
    let (client, server) = (client(service), server(service));
    quote! {
        #implemented
        #types
        #[allow(dead_code)]
        const _: () = {
            #(#structures)*
            #client
            #server
        };
    }
}

/// The client and the server.
fn types(service: &Service) -> TokenStream {
    let Service { runtime, visibility, name, .. } = service;
    let (client, server) = (client_name(service), server_name(service));
    let of_client = format!(
        "Calls the methods of [`{name}`] at a peer, at the closest server, or in this program."
    );
    let of_server = format!("Serves an implementation of [`{name}`].");
    quote! {
        #[doc = #of_client]
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #visibility struct #client(#runtime::Stub);

        #[doc = #of_server]
        #visibility struct #server<S> {
            service: ::std::sync::Arc<S>,
            limits: #runtime::Limits,
        }
    }
}

fn client_name(service: &Service) -> Ident {
    format_ident!("{}Client", service.name)
}

fn server_name(service: &Service) -> Ident {
    format_ident!("{}Server", service.name)
}

/// The trait with futures that are `Send`, which an `async fn` implements.
fn implemented(service: &Service) -> TokenStream {
    let Service { attributes, visibility, name, supertraits, .. } = service;
    let methods = service.methods.iter().map(|method| {
        let Method { attributes, name, context: (cx, cx_type), returns, body, .. } = method;
        let takes = method.takes.iter().map(|Taken { name, of, .. }| quote! { #name: #of });
        let end = match body {
            Some(body) => quote! { { async move #body } },
            None => quote! { ; },
        };
        quote! {
            #(#attributes)*
            fn #name(
                &self, #cx: #cx_type, #(#takes,)*
            ) -> impl ::core::future::Future<Output = #returns> + ::core::marker::Send #end
        }
    });
    quote! {
        #(#attributes)*
        #visibility trait #name:
            ::core::marker::Send + ::core::marker::Sync + 'static #(+ #supertraits)*
        {
            #(#methods)*
        }
    }
}

/// The structure of a method's arguments.
fn structure(method: &Method) -> Ident {
    format_ident!("__{}Arguments", unraw(&method.name))
}

fn client(service: &Service) -> TokenStream {
    let Service { protocol, runtime, visibility, name, .. } = service;
    let (client, server) = (client_name(service), server_name(service));
    let calls = service.methods.iter().map(|method| call(service, method));
    quote! {
        impl #client {
            /// The protocol of the service.
            #visibility const PROTOCOL: #runtime::ProtocolName =
                #runtime::ProtocolName::from_static(#protocol);

            /// Calls the service at this peer.
            #[must_use]
            #visibility fn peer(
                client: impl ::std::borrow::Borrow<#runtime::Client>,
                peer: #runtime::PeerId,
            ) -> Self {
                Self(#runtime::Stub::peer(client, peer, Self::PROTOCOL))
            }

            /// Calls the service at the closest of its servers.
            #[must_use]
            #visibility fn closest(client: impl ::std::borrow::Borrow<#runtime::Client>) -> Self {
                Self(#runtime::Stub::closest(client, Self::PROTOCOL))
            }

            /// Calls a service in this program, for tests: without a network, and nothing is encoded.
            #[must_use]
            #visibility fn local<S: #name>(service: S) -> Self {
                Self(#runtime::Stub::local(#server::new(service)))
            }

            /// Who calls, where the service is local.
            #[must_use]
            #visibility fn as_caller(self, peer: #runtime::PeerId) -> Self {
                Self(self.0.as_caller(peer))
            }

            /// Encodes calls like this from now on.
            #[must_use]
            #visibility fn with_codec(self, codec: #runtime::Codec) -> Self {
                Self(self.0.with_codec(codec))
            }

            /// Sets how much is taken of what servers answer.
            #[must_use]
            #visibility fn with_limits(self, limits: #runtime::Limits) -> Self {
                Self(self.0.with_limits(limits))
            }

            #(#calls)*
        }

        /// Calls the service as the stub does, such as through layers. Its protocol is that of the stub.
        impl ::core::convert::From<#runtime::Stub> for #client {
            fn from(stub: #runtime::Stub) -> Self {
                Self(stub)
            }
        }
    }
}

/// The structure that travels as the arguments of a method.
fn arguments(service: &Service, method: &Method) -> TokenStream {
    let (runtime, structure) = (&service.runtime, structure(method));
    let serde = quote! { #runtime::__private::serde }.to_string().replace(' ', "");
    let fields = method.arguments.iter().map(|argument| {
        let (attributes, name, of) = (&argument.attributes, &argument.name, &argument.of);
        quote! { #(#attributes)* #name: #of }
    });
    let name = unraw(&method.name);
    quote! {
        #[allow(non_camel_case_types)]
        #[derive(#runtime::__private::serde::Serialize, #runtime::__private::serde::Deserialize)]
        #[serde(crate = #serde, rename = #name)]
        struct #structure { #(#fields,)* }
    }
}

/// The method of the client.
fn call(service: &Service, method: &Method) -> TokenStream {
    let (runtime, visibility) = (&service.runtime, &service.visibility);
    let Method { name, wire_name, attributes, returns, messages, .. } = method;
    let documentation = attributes.iter().filter(|attribute| attribute.path().is_ident("doc"));
    let deprecated = attributes.iter().filter(|attribute| attribute.path().is_ident("deprecated"));
    let names: Vec<&Ident> = method.arguments.iter().map(|argument| &argument.name).collect();
    let types = method.arguments.iter().map(|argument| &argument.of);
    let structure = structure(method);
    let idempotent = method.idempotent.map(|idempotent| quote! { .idempotent(#idempotent) });
    // At the user's line, for types that cannot travel.
    let value = quote_spanned! { place(returns)=> <#returns as #runtime::MethodResult>::Value };
    let error = quote_spanned! { place(returns)=> <#returns as #runtime::MethodResult>::Error };
    let (of, how) = match (&messages.receives, &messages.sends) {
        (None, None) => (quote! { #runtime::UnaryCall<#value, #error> }, quote! { call }),
        (None, Some(received)) => {
            let of = quote! { #runtime::OpenCall<#runtime::Never, #received, #value, #error> };
            (of, quote! { watch })
        }
        (Some(sent), received) => {
            let never = quote! { #runtime::Never };
            let received = received.as_ref().map_or(never, |received| quote! { #received });
            let of = quote! { #runtime::OpenCall<#sent, #received, #value, #error> };
            (of, quote! { open })
        }
    };
    quote! {
        #(#documentation)*
        #(#deprecated)*
        #visibility fn #name(&self, #(#names: #types),*) -> #of {
            self.0.#how(#wire_name, #structure { #(#names),* }) #idempotent
        }
    }
}

fn server(service: &Service) -> TokenStream {
    let Service { protocol, runtime, visibility, name, documentation, .. } = service;
    let (server, client) = (server_name(service), client_name(service));
    let arms = service.methods.iter().map(|method| arm(service, method));
    let methods = service.methods.iter().map(|method| description(service, method));
    let messages = service.methods.iter().flat_map(|method| {
        let messages = [&method.messages.receives, &method.messages.sends];
        messages.into_iter().flatten().map(|message| {
            // At the user's line, for messages that cannot travel.
            quote_spanned! { place(message)=> #runtime::__private::travels::<#message>(); }
        })
    });
    quote! {
        const __METHODS: &[#runtime::MethodDescription] = &[#(#methods),*];

        fn __messages() {
            #(#messages)*
        }

        impl<S: #name> #server<S> {
            /// What the service offers.
            #visibility const DESCRIPTION: #runtime::ServiceDescription =
                #runtime::ServiceDescription::new(#protocol, __METHODS)
                    .with_documentation(#documentation);

            /// A server of this implementation.
            #[must_use]
            #visibility fn new(service: S) -> Self {
                Self::shared(::std::sync::Arc::new(service))
            }

            /// A server of an implementation that the application uses too.
            #[must_use]
            #visibility fn shared(service: ::std::sync::Arc<S>) -> Self {
                Self { service, limits: #runtime::Limits::new() }
            }

            /// Sets how much is taken of what callers send.
            #[must_use]
            #visibility fn with_limits(mut self, limits: #runtime::Limits) -> Self {
                self.limits = limits;
                self
            }

            /// Serves it from now on.
            ///
            /// # Errors
            /// If the protocol has a handler already, or the server is stopping.
            #visibility fn serve(
                self,
                server: impl ::std::borrow::Borrow<#runtime::Server>,
            ) -> ::core::result::Result<(), #runtime::RegisterError> {
                #runtime::Service::serve(self, server)
            }
        }

        impl<S: #name> #runtime::Service for #server<S> {
            fn protocol(&self) -> #runtime::ProtocolName {
                #client::PROTOCOL
            }

            fn description(&self) -> #runtime::ServiceDescription {
                Self::DESCRIPTION
            }

            fn limits(&self) -> #runtime::Limits {
                self.limits
            }

            fn dispatch(&self, method: &str, call: #runtime::Incoming) -> #runtime::Handling {
                match method {
                    #(#arms)*
                    _ => call.unknown_method(method, &Self::DESCRIPTION),
                }
            }
        }

        impl<S> ::core::fmt::Debug for #server<S> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(::core::stringify!(#server)).finish_non_exhaustive()
            }
        }
    }
}

/// How the server runs a method.
fn arm(service: &Service, method: &Method) -> TokenStream {
    let (runtime, trait_name) = (&service.runtime, &service.name);
    let Method { name, wire_name, messages, .. } = method;
    let names: Vec<&Ident> = method.arguments.iter().map(|argument| &argument.name).collect();
    let structure = structure(method);
    let (how, takes) = match (&messages.receives, &messages.sends) {
        (None, None) => (quote! { unary }, quote! {}),
        (None, Some(_)) => (quote! { server_streaming }, quote! { , __tx }),
        (Some(_), None) => (quote! { client_streaming }, quote! { , __rx }),
        (Some(_), Some(_)) => (quote! { bidirectional }, quote! { , __rx, __tx }),
    };
    let given = method.takes.iter().map(|taken| match taken.kind {
        Kind::Argument => taken.name.clone(),
        Kind::Sender => format_ident!("__tx"),
        Kind::Receiver => format_ident!("__rx"),
    });
    quote! {
        #wire_name => call.#how(
            &self.service,
            |__service, __cx: #runtime::Cx, #structure { #(#names),* } #takes| async move {
                #trait_name::#name(&*__service, &__cx, #(#given),*).await
            },
        ),
    }
}

fn description(service: &Service, method: &Method) -> TokenStream {
    let (runtime, messages) = (&service.runtime, &method.messages);
    let Method { wire_name, documentation, returns, .. } = method;
    let arguments = method.arguments.iter().map(|argument| {
        let (name, of) = (unraw(&argument.name), spelled(&argument.of));
        quote! { (#name, #of) }
    });
    let option = |direction: &Option<Type>| match direction {
        Some(message) => {
            let of = spelled(message);
            quote! { ::core::option::Option::Some(#of) }
        }
        None => quote! { ::core::option::Option::None },
    };
    let (receives, sends) = (option(&messages.receives), option(&messages.sends));
    let returns = spelled(returns);
    let idempotent = method.idempotent.map(|idempotent| quote! { .with_idempotent(#idempotent) });
    quote! {
        #runtime::MethodDescription::new(#wire_name)
            .with_documentation(#documentation)
            .with_types(&[#(#arguments),*], #returns)
            .with_messages(#receives, #sends)
            #idempotent
    }
}

/// A type as one writes it.
fn spelled(of: &Type) -> String {
    let spaced = quote! { #of }.to_string();
    let closed = [(" < ", "<"), (" >", ">"), (" :: ", "::"), (" ,", ","), ("& ", "&"), ("< ", "<")];
    let text = closed.iter().fold(spaced, |text, (from, to)| text.replace(from, to));
    text.replace("( ", "(").replace(" )", ")").replace("[ ", "[").replace(" ]", "]")
}
