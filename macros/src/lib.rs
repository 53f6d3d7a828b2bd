//! The attribute macro of `pointsub-service`, which re-exports it and documents it.
//!
//! * `parse` reads a trait, and says at the user's line what is not as it has to be.
//! * `expand` writes the client, the server and the description. What they do is in `pointsub-service`;
//!   the macro only names types and methods.

mod expand;
mod parse;

use proc_macro::TokenStream;
use quote::quote;
use syn::{ItemTrait, Path, parse_macro_input, parse_quote};

/// Makes a service of a trait. `pointsub_service::service` has the documentation.
#[proc_macro_attribute]
pub fn service(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(arguments, item, parse_quote!(::pointsub_service))
}

/// The same for users of `pointsub-tokio`, who need not name `pointsub-service`.
#[proc_macro_attribute]
pub fn service_on_tokio(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(arguments, item, parse_quote!(::pointsub_tokio::service))
}

/// The same for users of `pointsub-async-std`.
#[proc_macro_attribute]
pub fn service_on_async_std(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(arguments, item, parse_quote!(::pointsub_async_std::service))
}

fn expand(arguments: TokenStream, item: TokenStream, runtime: Path) -> TokenStream {
    let item = parse_macro_input!(item as ItemTrait);
    let arguments = syn::parse::<parse::Arguments>(arguments);
    let service = arguments.and_then(|arguments| parse::Service::new(&arguments, &item, runtime));
    let output = match service {
        Ok(service) => expand::service(&service),
        Err(error) => {
            // With the trait itself, so that whatever names it is not a mistake too.
            let (errors, item) = (error.into_compile_error(), parse::without_helpers(item));
            quote! { #[allow(async_fn_in_trait, dead_code, missing_docs)] #item #errors }
        }
    };
    output.into()
}
