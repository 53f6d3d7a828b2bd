//! What is kept for each method and outcome.

use std::hash::{Hash, Hasher};
use std::ptr;
use std::sync::OnceLock;

use hashbrown::{Equivalent, HashMap};
use parking_lot::RwLock;
use pointsub_swarm::telemetry::{Outcome, RpcMethod};

/// So many methods, each with so many outcomes, have series of their own. All further ones are
/// [`RpcMethod::OTHER`].
const MOST: usize = 2048;

/// By what series differ.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyRef<'a> {
    protocol: &'a str,
    method: Option<&'a str>,
    pub(crate) status: Option<&'static str>,
    pub(crate) error: Option<&'static str>,
}

impl<'a> KeyRef<'a> {
    pub(crate) const fn new(method: RpcMethod<'a>, outcome: Outcome) -> Self {
        let RpcMethod { protocol, method, .. } = method;
        Self { protocol, method, status: outcome.status, error: outcome.error }
    }

    /// One of something that has no outcome.
    pub(crate) const fn of(method: RpcMethod<'a>, status: Option<&'static str>) -> Self {
        let RpcMethod { protocol, method, .. } = method;
        Self { protocol, method, status, error: None }
    }

    /// As `rpc.method` has it.
    fn name(self) -> String {
        RpcMethod::new(self.protocol, self.method).to_string()
    }

    fn others(self) -> KeyRef<'static> {
        let Self { status, error, .. } = self;
        KeyRef { protocol: RpcMethod::OTHER, method: None, status, error }
    }
}

/// Whether they are the same. Nearly always they lie at the same place then.
fn same(one: Option<&'static str>, other: Option<&'static str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => ptr::eq(one, other) || one == other,
        (None, None) => true,
        _ => false,
    }
}

impl PartialEq for KeyRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        same(self.status, other.status)
            && same(self.error, other.error)
            && self.method == other.method
            && self.protocol == other.protocol
    }
}

impl Eq for KeyRef<'_> {}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { protocol, method, status, error } = self;
        (protocol, method, status, error).hash(state);
    }
}

/// The same for keeps.
#[derive(Debug)]
struct Key {
    protocol: Box<str>,
    method: Option<Box<str>>,
    status: Option<&'static str>,
    error: Option<&'static str>,
}

impl Key {
    fn as_ref(&self) -> KeyRef<'_> {
        let Self { protocol, method, status, error } = self;
        KeyRef { protocol, method: method.as_deref(), status: *status, error: *error }
    }
}

// As `KeyRef` has it.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.as_ref()
    }
}

impl From<KeyRef<'_>> for Key {
    fn from(key: KeyRef<'_>) -> Self {
        let KeyRef { protocol, method, status, error } = key;
        Self { protocol: protocol.into(), method: method.map(Into::into), status, error }
    }
}

/// Most programs have no more than these, which are found without a lock and without a hash.
const FIRST: usize = 8;

/// Something for each method and outcome.
#[derive(Debug)]
pub(crate) struct Table<T> {
    /// Filled from the beginning.
    first: [OnceLock<(Key, T)>; FIRST],
    rest: RwLock<HashMap<Key, T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { first: [const { OnceLock::new() }; FIRST], rest: RwLock::default() }
    }
}

impl<T> Table<T> {
    /// Uses what there is for a key. It is made from the method's name when the key is new.
    pub(crate) fn with(
        &self,
        key: KeyRef<'_>,
        make: impl FnOnce(&str) -> T,
        then: impl FnOnce(&T),
    ) {
        if let Some(value) = self.among_first(key) {
            return then(value);
        }
        if let Some(value) = self.rest.read().get(&key) {
            return then(value);
        }
        let mut rest = self.rest.write();
        // Nobody else adds any now. Somebody may have added this one.
        if let Some(value) = self.among_first(key) {
            return then(value);
        }
        if let Some(free) = self.first.iter().find(|row| row.get().is_none()) {
            let (_, value) = free.get_or_init(|| (Key::from(key), make(&key.name())));
            return then(value);
        }
        let key = if FIRST + rest.len() < MOST { key } else { key.others() };
        then(rest.entry(Key::from(key)).or_insert_with(|| make(&key.name())));
    }

    fn among_first(&self, key: KeyRef<'_>) -> Option<&T> {
        let rows = self.first.iter().map_while(OnceLock::get);
        rows.into_iter().find(|(of, _)| key.equivalent(of)).map(|(_, value)| value)
    }

    /// Looks at all, in the order of their names.
    #[cfg(feature = "prometheus")]
    pub(crate) fn try_each<E>(
        &self,
        mut look: impl FnMut(&str, KeyRef<'_>, &T) -> Result<(), E>,
    ) -> Result<(), E> {
        let rest = self.rest.read();
        let first = self.first.iter().map_while(OnceLock::get).map(|(key, value)| (key, value));
        let rows = first.chain(rest.iter());
        let mut sorted: Vec<(String, KeyRef<'_>, &T)> =
            rows.map(|(key, value)| (key.as_ref().name(), key.as_ref(), value)).collect();
        sorted.sort_by(|(name, key, _), (other_name, other, _)| {
            (name, key.status, key.error).cmp(&(other_name, other.status, other.error))
        });
        sorted.into_iter().try_for_each(|(name, key, value)| look(&name, key, value))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn names_beyond_the_most_are_others() {
        let table = Table::default();
        let (mut made, mut others) = (0, 0);
        for number in 0..MOST + 10 {
            let method = number.to_string();
            let method = RpcMethod::new("/a/1", Some(&method));
            let make = |name: &str| {
                others += usize::from(name == RpcMethod::OTHER);
                made += 1;
            };
            table.with(KeyRef::of(method, None), make, |()| {});
        }
        assert_eq!((made, others), (MOST + 1, 1));
    }

    #[test]
    fn each_name_has_one_row_wherever_it_lies() {
        let table = Table::<Cell<u32>>::default();
        let methods: Vec<String> = (0..3 * FIRST).map(|number| number.to_string()).collect();
        for _ in 0..3 {
            for method in &methods {
                let key = KeyRef::of(RpcMethod::new("/a/1", Some(method)), Some("ok"));
                table.with(key, |_| Cell::new(0), |count| count.set(count.get() + 1));
            }
        }
        let of = |method: &str, status| {
            let mut found = None;
            let key = KeyRef::of(RpcMethod::new("/a/1", Some(method)), status);
            table.with(key, |_| Cell::new(0), |count| found = Some(count.get()));
            found
        };
        for method in &methods {
            assert_eq!(of(method, Some("ok")), Some(3), "{method}");
        }
        assert_eq!(of("0", None), Some(0), "the outcome is another");
    }
}
