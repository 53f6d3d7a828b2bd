//! What a service is made of, read from a trait.

use proc_macro2::Span;
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{
    Attribute, Block, Error, Expr, ExprLit, FnArg, GenericArgument, Ident, ItemTrait, Lit, LitBool,
    LitStr, Meta, Pat, Path, PathArguments, Result, ReturnType, Token, TraitItem, TraitItemFn,
    Type, Visibility,
};

/// What stands in the attribute.
pub(crate) struct Arguments {
    protocol: LitStr,
    runtime: Option<Path>,
}

const NOTHING_ELSE: &str = "there is nothing to say here but `crate = path::to::service`";

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let protocol: LitStr = input.parse().map_err(|error| {
            Error::new(error.span(), "say under which protocol: `#[service(\"/chat/1\")]`")
        })?;
        let mut runtime = None;
        if input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
            if !input.peek(Token![crate]) {
                return Err(input.error(NOTHING_ELSE));
            }
            input.parse::<Token![crate]>()?;
            input.parse::<Token![=]>()?;
            runtime = Some(input.parse()?);
        }
        match input.is_empty() {
            true => Ok(Self { protocol, runtime }),
            false => Err(input.error(NOTHING_ELSE)),
        }
    }
}

/// A service.
pub(crate) struct Service {
    pub(crate) protocol: LitStr,
    /// The path of `pointsub_service`.
    pub(crate) runtime: Path,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) documentation: String,
    pub(crate) visibility: Visibility,
    pub(crate) name: Ident,
    pub(crate) supertraits: Vec<syn::TypeParamBound>,
    pub(crate) methods: Vec<Method>,
}

/// A method of a service.
pub(crate) struct Method {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) documentation: String,
    pub(crate) name: Ident,
    /// As it travels.
    pub(crate) wire_name: LitStr,
    pub(crate) idempotent: Option<bool>,
    pub(crate) context: (Pat, Type),
    pub(crate) arguments: Vec<Argument>,
    pub(crate) messages: Messages,
    pub(crate) takes: Vec<Taken>,
    pub(crate) returns: Type,
    pub(crate) body: Option<Block>,
}

/// An argument that travels.
pub(crate) struct Argument {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) name: Ident,
    pub(crate) of: Type,
}

/// The types of the messages of a method, and what the method takes in which order.
#[derive(Default)]
pub(crate) struct Messages {
    /// `Rx<…>`: what the server receives.
    pub(crate) receives: Option<Type>,
    /// `Tx<…>`: what the server sends.
    pub(crate) sends: Option<Type>,
}

/// What a method takes after the context.
pub(crate) struct Taken {
    pub(crate) name: Ident,
    pub(crate) of: Type,
    pub(crate) kind: Kind,
}

/// What it is.
#[derive(Copy, Clone)]
pub(crate) enum Kind {
    Argument,
    Sender,
    Receiver,
}

/// Collects all mistakes, so that they are told at once.
struct Mistakes(Option<Error>);

impl Mistakes {
    fn note(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn at(&mut self, place: &impl ToTokens, text: &str) {
        self.note(Error::new_spanned(place, text));
    }

    fn taken<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.note(error)).ok()
    }
}

impl Service {
    pub(crate) fn new(arguments: &Arguments, item: &ItemTrait, default: Path) -> Result<Self> {
        let mut mistakes = Mistakes(None);
        check_protocol(&arguments.protocol, &mut mistakes);
        if !item.generics.params.is_empty() {
            let text = "a service has no parameters: peers could not agree on them";
            mistakes.at(&item.generics, text);
        }
        if let Some(unsafety) = &item.unsafety {
            mistakes.at(unsafety, "a service is no unsafe trait");
        }
        let mut methods: Vec<Method> = Vec::new();
        for part in &item.items {
            let TraitItem::Fn(function) = part else {
                let text = "a service has methods alone: put this into another trait";
                mistakes.at(part, text);
                continue;
            };
            let Some(method) = mistakes.taken(Method::new(function)) else { continue };
            if methods.iter().any(|other| other.wire_name.value() == method.wire_name.value()) {
                mistakes.at(&method.wire_name, "there is another method of this name");
            }
            methods.push(method);
        }
        if let Some(error) = mistakes.0 {
            return Err(error);
        }
        Ok(Self {
            protocol: arguments.protocol.clone(),
            runtime: arguments.runtime.clone().unwrap_or(default),
            attributes: item.attrs.clone(),
            documentation: documentation(&item.attrs),
            visibility: item.vis.clone(),
            name: item.ident.clone(),
            supertraits: item.supertraits.iter().cloned().collect(),
            methods,
        })
    }
}

/// The same rules as `ProtocolName::from_static` has, which could only say so elsewhere.
fn check_protocol(protocol: &LitStr, mistakes: &mut Mistakes) {
    let name = protocol.value();
    if !name.starts_with('/') || name.len() < 2 || name.len() > 255 {
        let text = "a protocol begins with '/' and has 2 to 255 bytes, such as \"/chat/1\"";
        mistakes.at(protocol, text);
    } else if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        mistakes.at(protocol, "a protocol has printable ASCII characters alone, and no spaces");
    } else if name.starts_with("/pointsub/") {
        mistakes.at(protocol, "names under \"/pointsub/\" are reserved: choose another one");
    }
}

impl Method {
    fn new(function: &TraitItemFn) -> Result<Self> {
        let mut mistakes = Mistakes(None);
        let signature = &function.sig;
        if signature.asyncness.is_none() {
            mistakes.at(&signature.fn_token, "a method of a service is `async fn`");
        }
        if !signature.generics.params.is_empty() {
            let text = "a method of a service has no parameters: name the types that travel";
            mistakes.at(&signature.generics, text);
        }
        let mut inputs = signature.inputs.iter();
        match inputs.next() {
            Some(FnArg::Receiver(receiver))
                if receiver.reference.is_some() && receiver.mutability.is_none() => {}
            Some(other) => mistakes.at(other, "a method of a service takes `&self` first"),
            None => mistakes.at(&signature.ident, "a method of a service takes `&self` first"),
        }
        let context = mistakes.taken(context(inputs.next(), &signature.ident));
        let (mut arguments, mut messages, mut takes) = (vec![], Messages::default(), vec![]);
        for input in inputs {
            let argument = mistakes.taken(Argument::new(input));
            let Some(argument) = argument else { continue };
            let Some(kind) = mistakes.taken(messages.take(&argument)) else { continue };
            let (name, of) = (argument.name.clone(), argument.of.clone());
            takes.push(Taken { name, of, kind });
            if let Kind::Argument = kind {
                arguments.push(argument);
            }
        }
        let returns = mistakes.taken(returns(&signature.output, &signature.ident));
        let helper = mistakes.taken(Helper::new(&function.attrs));
        let (None, Some(context), Some(returns), Some(helper)) =
            (&mistakes.0, context, returns, helper)
        else {
            let nothing = || Error::new(Span::call_site(), "this method cannot be read");
            return Err(mistakes.0.unwrap_or_else(nothing));
        };
        let attributes: Vec<_> =
            function.attrs.iter().filter(|at| !is_helper(at)).cloned().collect();
        let wire_name = LitStr::new(&unraw(&signature.ident), signature.ident.span());
        Ok(Self {
            documentation: documentation(&attributes),
            attributes,
            name: signature.ident.clone(),
            wire_name: helper.name.unwrap_or(wire_name),
            idempotent: helper.idempotent.map(|idempotent| idempotent.value),
            context,
            arguments,
            messages,
            takes,
            returns,
            body: function.default.clone(),
        })
    }
}

/// The second argument: the context.
fn context(input: Option<&FnArg>, method: &Ident) -> Result<(Pat, Type)> {
    let text = "the first argument after `&self` is the context: `cx: &Cx`";
    let Some(input) = input else { return Err(Error::new_spanned(method, text)) };
    if let FnArg::Typed(typed) = input
        && let Type::Reference(reference) = &*typed.ty
        && reference.mutability.is_none()
        && last_segment(&reference.elem).is_some_and(|segment| segment.ident == "Cx")
    {
        return Ok(((*typed.pat).clone(), (*typed.ty).clone()));
    }
    Err(Error::new_spanned(input, text))
}

impl Argument {
    fn new(input: &FnArg) -> Result<Self> {
        let FnArg::Typed(typed) = input else {
            return Err(Error::new_spanned(input, "`self` comes first"));
        };
        let Pat::Ident(name) = &*typed.pat else {
            let text =
                "an argument has a name, under which it travels: take it apart in the method";
            return Err(Error::new_spanned(&typed.pat, text));
        };
        let text = match &*typed.ty {
            Type::Reference(_) => {
                "an argument is owned, since it comes from elsewhere: `String` for `&str`, `Vec<T>` for `&[T]`"
            }
            Type::ImplTrait(_) => "name the type that travels, in place of `impl …`",
            _ => {
                let (name, of) = (name.ident.clone(), (*typed.ty).clone());
                return Ok(Self { attributes: typed.attrs.clone(), name, of });
            }
        };
        Err(Error::new_spanned(&typed.ty, text))
    }
}

impl Messages {
    /// Looks whether an argument is a `Tx<…>` or `Rx<…>`.
    fn take(&mut self, argument: &Argument) -> Result<Kind> {
        let Some(segment) = last_segment(&argument.of) else { return Ok(Kind::Argument) };
        let (direction, kind) = match &*segment.ident.to_string() {
            "Tx" => (&mut self.sends, Kind::Sender),
            "Rx" => (&mut self.receives, Kind::Receiver),
            _ => return Ok(Kind::Argument),
        };
        let parameters: Vec<_> = match &segment.arguments {
            PathArguments::AngleBracketed(parameters) => parameters.args.iter().collect(),
            _ => Vec::new(),
        };
        let [GenericArgument::Type(message)] = parameters[..] else {
            let text =
                "say which messages: `Tx<Event>` are sent to the client, `Rx<Part>` come from it";
            return Err(Error::new_spanned(&argument.of, text));
        };
        if direction.is_some() {
            let text = "a method has one `Tx` and one `Rx` at most: make an enum of all messages";
            return Err(Error::new_spanned(&argument.of, text));
        }
        *direction = Some(message.clone());
        Ok(kind)
    }
}

/// What a method returns.
fn returns(output: &ReturnType, method: &Ident) -> Result<Type> {
    let text = "a method returns a `Result`: `-> Result<Receipt, ChatError>`. `Failure` is an error for services without their own";
    let ReturnType::Type(_, of) = output else { return Err(Error::new_spanned(method, text)) };
    match last_segment(of) {
        Some(segment) if segment.ident.to_string().ends_with("Result") => Ok((**of).clone()),
        _ => Err(Error::new_spanned(of, text)),
    }
}

/// What `#[method(…)]` says.
#[derive(Default)]
struct Helper {
    name: Option<LitStr>,
    idempotent: Option<LitBool>,
}

impl Helper {
    fn new(attributes: &[Attribute]) -> Result<Self> {
        let mut helper = Self::default();
        for attribute in attributes {
            if attribute.path().is_ident("cfg") {
                let text = "a method is there for all peers, or in another service";
                return Err(Error::new_spanned(attribute, text));
            }
            if !is_helper(attribute) {
                continue;
            }
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    let name: LitStr = meta.value()?.parse()?;
                    let (len, text) = (name.value().len(), "a name has 1 to 255 bytes");
                    if !(1..=255).contains(&len) || name.value().chars().any(char::is_control) {
                        return Err(Error::new_spanned(&name, text));
                    }
                    helper.name = Some(name);
                } else if meta.path.is_ident("idempotent") {
                    helper.idempotent = Some(meta.value()?.parse()?);
                } else {
                    let text = "there are `name = \"…\"` and `idempotent = false`";
                    return Err(meta.error(text));
                }
                Ok(())
            })?;
        }
        Ok(helper)
    }
}

fn is_helper(attribute: &Attribute) -> bool {
    attribute.path().is_ident("method")
}

/// The trait without what only this macro understands.
pub(crate) fn without_helpers(mut item: ItemTrait) -> ItemTrait {
    for part in &mut item.items {
        if let TraitItem::Fn(function) = part {
            function.attrs.retain(|attribute| !is_helper(attribute));
            for input in &mut function.sig.inputs {
                if let FnArg::Typed(typed) = input {
                    typed.attrs.clear();
                }
            }
        }
    }
    item
}

fn last_segment(of: &Type) -> Option<&syn::PathSegment> {
    match of {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    }
}

/// An identifier as it travels.
pub(crate) fn unraw(name: &Ident) -> String {
    name.to_string().trim_start_matches("r#").to_owned()
}

/// The text of doc comments.
fn documentation(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) => Some(line.value()),
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
    lines.join("\n")
}

/// Where a type stands, for mistakes that the compiler finds in it.
pub(crate) fn place(of: &Type) -> Span {
    of.span()
}
