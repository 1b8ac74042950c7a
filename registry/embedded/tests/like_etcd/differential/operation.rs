//! Operations at random, in terms that mean the same on every registry: keys by number, leases by number,
//! revisions by their distance from the newest.

use proptest::prelude::*;

/// Few, so that operations meet. Of more than six, Go's sort need not leave equals in their order.
pub const KEYS: u8 = 6;
pub const LEASES: u8 = 3;

#[derive(Clone, Debug)]
pub enum Operation {
    Range(Range),
    Put(Put),
    Delete(Delete),
    Txn(Txn),
    Compact { revision: i64 },
    Grant { lease: u8, ttl: i64 },
    Revoke { lease: u8 },
    KeepAlive { lease: u8 },
    TimeToLive { lease: u8 },
    Leases,
    Watch(Watch),
    Cancel { watch: i64 },
}

/// Keys by number, as etcd's three kinds of range.
#[derive(Clone, Copy, Debug)]
pub enum Span {
    Key(u8),
    /// It may end before it starts.
    Between(u8, u8),
    From(u8),
}

#[derive(Clone, Debug)]
pub struct Range {
    pub span: Span,
    pub limit: i64,
    pub revision: Option<i64>,
    /// etcd's numbers.
    pub sort: (i32, i32),
    pub keys_only: bool,
    pub count_only: bool,
    /// min_mod, max_mod, min_create, max_create.
    pub filters: [Option<i64>; 4],
}

#[derive(Clone, Debug)]
pub struct Put {
    pub key: u8,
    pub value: u8,
    pub lease: Option<u8>,
    pub previous: bool,
    pub ignore_value: bool,
    pub ignore_lease: bool,
}

#[derive(Clone, Debug)]
pub struct Delete {
    pub span: Span,
    pub previous: bool,
}

#[derive(Clone, Debug)]
pub struct Txn {
    pub compares: Vec<Compare>,
    pub success: Vec<Part>,
    pub failure: Vec<Part>,
}

#[derive(Clone, Debug)]
pub enum Part {
    Range(Range),
    Put(Put),
    Delete(Delete),
    Txn(Txn),
}

#[derive(Clone, Debug)]
pub struct Compare {
    pub span: Span,
    /// etcd's number.
    pub result: i32,
    pub target: Target,
}

#[derive(Clone, Debug)]
pub enum Target {
    Version(i64),
    Create(i64),
    Mod(i64),
    Value(u8),
    Lease(Option<u8>),
}

#[derive(Clone, Debug)]
pub struct Watch {
    pub span: Span,
    pub id: i64,
    pub start: Option<i64>,
    pub without_puts: bool,
    pub without_deletes: bool,
    pub previous: bool,
    pub fragments: bool,
}

impl Watch {
    /// Whether it hears of puts, of deletes.
    pub fn hears(&self) -> (bool, bool) {
        (!self.without_puts, !self.without_deletes)
    }
}

impl Span {
    pub fn contains(self, key: u8) -> bool {
        match self {
            Self::Key(only) => key == only,
            Self::Between(start, end) => (start..end).contains(&key),
            Self::From(start) => key >= start,
        }
    }
}

pub fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => range().prop_map(Operation::Range),
        8 => put().prop_map(Operation::Put),
        3 => delete().prop_map(Operation::Delete),
        6 => txn(2).prop_map(Operation::Txn),
        1 => revision().prop_map(|revision| Operation::Compact { revision }),
        2 => (lease(), -1..1_000_i64).prop_map(|(lease, ttl)| Operation::Grant {
            lease,
            // Long enough not to end within a sequence, or more than etcd takes.
            ttl: if ttl < 0 { i64::MAX } else { 600 + ttl },
        }),
        1 => lease().prop_map(|lease| Operation::Revoke { lease }),
        1 => lease().prop_map(|lease| Operation::KeepAlive { lease }),
        1 => lease().prop_map(|lease| Operation::TimeToLive { lease }),
        1 => Just(Operation::Leases),
        2 => watch().prop_map(Operation::Watch),
        1 => (0..6_i64).prop_map(|watch| Operation::Cancel { watch }),
    ]
}

fn key() -> impl Strategy<Value = u8> {
    0..KEYS
}

fn lease() -> impl Strategy<Value = u8> {
    0..LEASES
}

/// From the newest revision: the past, or a little of the future.
fn revision() -> impl Strategy<Value = i64> {
    -12..3_i64
}

fn span() -> impl Strategy<Value = Span> {
    prop_oneof![
        3 => key().prop_map(Span::Key),
        2 => (key(), key()).prop_map(|(start, end)| Span::Between(start, end)),
        1 => key().prop_map(Span::From),
    ]
}

fn range() -> impl Strategy<Value = Range> {
    let filters = proptest::array::uniform4(proptest::option::weighted(0.15, revision()));
    let shape = (any::<bool>(), proptest::bool::weighted(0.2), filters);
    let revision = proptest::option::weighted(0.3, revision());
    (span(), -1..5_i64, revision, (0..3_i32, 0..5_i32), shape).prop_map(
        |(span, limit, revision, sort, (keys_only, count_only, filters))| Range {
            span,
            limit,
            revision,
            sort,
            keys_only,
            count_only,
            filters,
        },
    )
}

fn put() -> impl Strategy<Value = Put> {
    let rarely = || proptest::bool::weighted(0.1);
    let lease = proptest::option::weighted(0.3, lease());
    (key(), any::<u8>(), lease, any::<bool>(), rarely(), rarely()).prop_map(
        |(key, value, lease, previous, ignore_value, ignore_lease)| Put {
            key,
            value,
            lease,
            previous,
            ignore_value,
            ignore_lease,
        },
    )
}

fn delete() -> impl Strategy<Value = Delete> {
    (span(), any::<bool>()).prop_map(|(span, previous)| Delete { span, previous })
}

fn txn(depth: u32) -> BoxedStrategy<Txn> {
    let part = move || {
        let plain = prop_oneof![
            2 => range().prop_map(|range| Part::Range(Range { sort: (0, 0), ..range })),
            3 => put().prop_map(Part::Put),
            1 => delete().prop_map(Part::Delete).prop_filter("it may end etcd", |part| {
                // A put that keeps the value, behind a delete of all that follow: etcd ends in a panic.
                !matches!(part, Part::Delete(Delete { span: Span::From(_), .. }))
            }),
        ];
        if depth == 0 {
            plain.boxed()
        } else {
            prop_oneof![6 => plain, 1 => txn(depth - 1).prop_map(Part::Txn)].boxed()
        }
    };
    let parts = move || proptest::collection::vec(part(), 0..4);
    let compares = proptest::collection::vec(compare(), 0..3);
    (compares, parts(), parts())
        .prop_map(|(compares, success, failure)| Txn { compares, success, failure })
        .boxed()
}

fn compare() -> impl Strategy<Value = Compare> {
    let target = prop_oneof![
        (0..4_i64).prop_map(Target::Version),
        revision().prop_map(Target::Create),
        revision().prop_map(Target::Mod),
        any::<u8>().prop_map(Target::Value),
        proptest::option::of(lease()).prop_map(Target::Lease),
    ];
    (span(), 0..4_i32, target).prop_map(|(span, result, target)| Compare { span, result, target })
}

fn watch() -> impl Strategy<Value = Watch> {
    let rarely = || proptest::bool::weighted(0.2);
    let start = proptest::option::weighted(0.5, revision());
    (span(), 0..6_i64, start, rarely(), rarely(), any::<(bool, bool)>()).prop_map(
        |(span, id, start, without_puts, without_deletes, (previous, fragments))| {
            // Of a watch of the past that hears nothing, nobody can tell whether etcd has come to it.
            let without_deletes = without_deletes && !(without_puts && start.is_some());
            Watch { span, id, start, without_puts, without_deletes, previous, fragments }
        },
    )
}
