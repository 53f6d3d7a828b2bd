//! What stands between a decoder and the type that is decoded: limits on nesting and on the number of
//! elements.
//!
//! The limits hold for every codec alike, also for one that has none of its own, and for types that go
//! deeper without any input, such as `struct Endless(Option<Box<Endless>>)`.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// More elements are not made room for before they have come.
const MOST_IN_ADVANCE: usize = 4096;
/// So many elements of no bytes at all may come in a value, and as many more as it has bytes.
const FREE_ELEMENTS: usize = 1024;

/// What is left while a value is decoded.
#[derive(Debug)]
pub(super) struct Allowance {
    depth: Cell<u16>,
    elements: Cell<usize>,
    too_deep: Cell<bool>,
}

impl Allowance {
    pub(super) const fn new(max_depth: u16, len: usize) -> Self {
        let elements = Cell::new(len.saturating_add(FREE_ELEMENTS));
        Self { depth: Cell::new(max_depth), elements, too_deep: Cell::new(false) }
    }

    /// Whether the limit on nesting was met.
    pub(super) const fn too_deep(&self) -> bool {
        self.too_deep.get()
    }

    /// Runs something one level deeper.
    #[inline]
    fn deeper<T, E: Error>(&self, run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let Some(left) = self.depth.get().checked_sub(1) else {
            self.too_deep.set(true);
            return Err(E::custom("nested too deeply"));
        };
        self.depth.set(left);
        let outcome = run();
        self.depth.set(left + 1);
        outcome
    }

    /// Counts an element, unless there was none.
    #[inline]
    fn element<T, E: Error>(&self, element: Option<T>) -> Result<Option<T>, E> {
        if element.is_some() {
            let left = self.elements.get().checked_sub(1);
            self.elements.set(left.ok_or_else(|| E::custom("more elements than bytes"))?);
        }
        Ok(element)
    }

    /// How many elements to make room for, where a peer has announced so many.
    #[inline]
    fn hint(&self, announced: Option<usize>) -> Option<usize> {
        announced.map(|announced| announced.min(self.elements.get()).min(MOST_IN_ADVANCE))
    }
}

/// Anything of serde's, with limits.
pub(super) struct Guard<'a, T> {
    inner: T,
    allowance: &'a Allowance,
}

impl<'a, T> Guard<'a, T> {
    pub(super) const fn new(inner: T, allowance: &'a Allowance) -> Self {
        Self { inner, allowance }
    }
}

macro_rules! forwards {
    ($($method:ident($($argument:ident: $of:ty),*))*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(
            self, $($argument: $of,)* visitor: V,
        ) -> Result<V::Value, Self::Error> {
            self.inner.$method($($argument,)* Guard::new(visitor, self.allowance))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Guard<'_, D> {
    type Error = D::Error;

    forwards! {
        deserialize_any()
        deserialize_bool()
        deserialize_i8()
        deserialize_i16()
        deserialize_i32()
        deserialize_i64()
        deserialize_i128()
        deserialize_u8()
        deserialize_u16()
        deserialize_u32()
        deserialize_u64()
        deserialize_u128()
        deserialize_f32()
        deserialize_f64()
        deserialize_char()
        deserialize_str()
        deserialize_string()
        deserialize_bytes()
        deserialize_byte_buf()
        deserialize_option()
        deserialize_unit()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_seq()
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_map()
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
        deserialize_identifier()
        deserialize_ignored_any()
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visits {
    ($($method:ident($of:ty))*) => {$(
        #[inline]
        fn $method<E: Error>(self, value: $of) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Guard<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visits! {
        visit_bool(bool)
        visit_i8(i8)
        visit_i16(i16)
        visit_i32(i32)
        visit_i64(i64)
        visit_i128(i128)
        visit_u8(u8)
        visit_u16(u16)
        visit_u32(u32)
        visit_u64(u64)
        visit_u128(u128)
        visit_f32(f32)
        visit_f64(f64)
        visit_char(char)
        visit_str(&str)
        visit_borrowed_str(&'de str)
        visit_string(String)
        visit_bytes(&[u8])
        visit_borrowed_bytes(&'de [u8])
        visit_byte_buf(Vec<u8>)
    }

    #[inline]
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline]
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let Self { inner: visitor, allowance } = self;
        allowance.deeper(|| visitor.visit_some(Guard::new(inner, allowance)))
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let Self { inner: visitor, allowance } = self;
        allowance.deeper(|| visitor.visit_newtype_struct(Guard::new(inner, allowance)))
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        let Self { inner: visitor, allowance } = self;
        allowance.deeper(|| visitor.visit_seq(Guard::new(elements, allowance)))
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        let Self { inner: visitor, allowance } = self;
        allowance.deeper(|| visitor.visit_map(Guard::new(entries, allowance)))
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        let Self { inner: visitor, allowance } = self;
        allowance.deeper(|| visitor.visit_enum(Guard::new(variant, allowance)))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Guard<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, decoder: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Guard::new(decoder, self.allowance))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Guard<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let element = self.inner.next_element_seed(Guard::new(seed, self.allowance))?;
        self.allowance.element(element)
    }

    fn size_hint(&self) -> Option<usize> {
        self.allowance.hint(self.inner.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Guard<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let key = self.inner.next_key_seed(Guard::new(seed, self.allowance))?;
        self.allowance.element(key)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Guard::new(seed, self.allowance))
    }

    fn size_hint(&self) -> Option<usize> {
        self.allowance.hint(self.inner.size_hint())
    }
}

impl<'a, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Guard<'a, A> {
    type Error = A::Error;
    type Variant = Guard<'a, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.inner.variant_seed(Guard::new(seed, self.allowance))?;
        Ok((value, Guard::new(variant, self.allowance)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Guard<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(Guard::new(seed, self.allowance))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, Guard::new(visitor, self.allowance))
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, Guard::new(visitor, self.allowance))
    }
}
