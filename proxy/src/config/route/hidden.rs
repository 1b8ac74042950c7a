//! Routes that take nothing, because an earlier one takes all that they would.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use http::Method;
use ipnet::IpNet;

use super::order::{Part, PathRank, Rank, order};
use super::{
    Action, Condition, Match, PathPattern, Route, SanPattern, Scheme, ServicePattern, ServicesAllowed,
};

/// A route that takes nothing, by its place among the routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hidden {
    pub(crate) route: usize,
    /// The one that hides it; with several hosts, under one of them.
    pub(crate) by: usize,
}

/// The path before which all that name none and all expressions are narrower: `/`, with everything below it.
const ALL_PATHS: PathKey<'_> = (PathRank::Prefix(Reverse(0), Part::Whole, ""), "");

/// The routes that are hidden.
///
/// A route is hidden if for each of its hosts one other does it that names this host, too, and is tried before it: with
/// the same path, or with `/` where it has an expression or no path; and with no condition that it does not have as
/// narrowly itself. Of the services that a path names, the other must allow all.
///
/// This claims too little rather than too much. Expressions count as equal only if their texts are, and what several
/// routes hide together counts as hidden by none. (One that names a wider host or a longer path is tried later or takes
/// less, so no other can hide anything.)
pub(crate) fn hidden(routes: &[Route]) -> Vec<Hidden> {
    let ranks = order(routes.iter().map(|route| &route.takes));
    // For each route: under how many of its places it is hidden, and by whom first.
    let mut found = vec![(0, None); routes.len()];
    for of_host in ranks.chunk_by(|a, b| a.host == b.host) {
        hidden_under_host(routes, of_host, &mut found);
    }
    let places = |takes: &Match| takes.hosts.len().max(1);
    let whole = routes.iter().zip(found).enumerate().filter_map(|(number, (route, (hidden, by)))| {
        let by = by.filter(|_| hidden == places(&route.takes))?;
        Some(Hidden { route: number, by })
    });
    whole.collect()
}

fn hidden_under_host(routes: &[Route], ranks: &[Rank<'_>], found: &mut [(usize, Option<usize>)]) {
    let mut shelves: HashMap<PathKey<'_>, Shelf<'_>> = HashMap::new();
    for rank in ranks {
        let (Some(route), Some(found)) = (routes.get(rank.number), found.get_mut(rank.number)) else {
            continue;
        };
        let key = path_key(rank.path, &route.takes);
        let is_within_all = matches!(rank.path, PathRank::Regex | PathRank::Any);
        let keys = std::iter::once(key).chain(is_within_all.then_some(ALL_PATHS));
        let by = keys.filter_map(|key| shelves.get(&key)?.covering(route)).min();
        match by {
            Some(by) => *found = (found.0 + 1, found.1.or(Some(by))),
            // Whatever one hides that is hidden itself, the one that hides it hides, too.
            None => shelves.entry(key).or_default().add(route, rank.number),
        }
    }
}

/// What two paths have in common that take the same.
type PathKey<'r> = (PathRank<'r>, &'r str);

fn path_key<'r>(rank: PathRank<'r>, takes: &'r Match) -> PathKey<'r> {
    match &takes.path {
        PathPattern::Regex(expression) => (rank, expression.as_str()),
        _ => (rank, ""),
    }
}

/// The routes of one host and one path, none of which hides another, so that those few are found which may hide a
/// further one: thousands may differ in nothing but the value of a header.
#[derive(Default)]
struct Shelf<'r> {
    /// Each of them by one of its conditions.
    by_condition: HashMap<Term<'r>, Vec<(usize, &'r Route)>>,
    /// How long the beginnings are for which they ask. So of a value no more of its beginnings are looked up than these.
    lengths: BTreeSet<usize>,
    /// Those without any.
    plain: Vec<(usize, &'r Route)>,
}

/// A condition, or one of the values of which a condition asks for any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Term<'r> {
    Named(Field, &'r str, Wanted<'r>),
    Method(&'r Method),
    Client(IpNet),
    Scheme(Scheme),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Field {
    Header,
    Query,
    Cookie,
    /// A DNS name in the client's certificate.
    Dns,
    /// The name above the first label of one.
    DnsAbove,
    Uri,
    Email,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wanted<'r> {
    Present,
    Absent,
    Exact(&'r str),
    Prefix(&'r str),
    Regex(&'r str),
}

impl<'r> Shelf<'r> {
    fn add(&mut self, route: &'r Route, number: usize) {
        let length = |term: &Term<'_>| self.by_condition.get(term).map_or(0, Vec::len);
        let rarest =
            conditions(&route.takes).into_iter().min_by_key(|terms| terms.iter().map(length).sum::<usize>());
        let Some(terms) = rarest else {
            self.plain.push((number, route));
            return;
        };
        for term in terms {
            if let Term::Named(_, _, Wanted::Prefix(prefix)) = term {
                self.lengths.insert(prefix.len());
            }
            self.by_condition.entry(term).or_default().push((number, route));
        }
    }

    /// One that covers this route: all that it takes, at the same path.
    fn covering(&self, route: &Route) -> Option<usize> {
        let wider = wider_terms(&route.takes, &self.lengths);
        let by_condition = wider.iter().filter_map(|term| self.by_condition.get(term)).flatten();
        let mut all = self.plain.iter().chain(by_condition);
        all.find(|(_, other)| covers(other, route)).map(|(number, _)| *number)
    }
}

/// The conditions of a route, each as the terms of which one must hold.
fn conditions(takes: &Match) -> Vec<Vec<Term<'_>>> {
    let mut conditions: Vec<_> =
        named(takes).map(|(field, name, is)| vec![Term::Named(field, name, wanted(is))]).collect();
    let others = [
        takes.methods.iter().map(Term::Method).collect::<Vec<_>>(),
        takes.clients.iter().map(|network| Term::Client(network.trunc())).collect(),
        takes.scheme.into_iter().map(Term::Scheme).collect(),
        names(takes).iter().map(of_name).collect(),
    ];
    conditions.extend(others.into_iter().filter(|terms| !terms.is_empty()));
    conditions
}

/// The terms of all conditions that may cover one of this route. `lengths`: those of the beginnings for which any asks.
fn wider_terms<'r>(takes: &'r Match, lengths: &BTreeSet<usize>) -> Vec<Term<'r>> {
    let mut terms = Vec::new();
    for (field, name, condition) in named(takes) {
        let mut term = |wanted| terms.push(Term::Named(field, name, wanted));
        term(wanted(condition));
        if *condition != Condition::Absent {
            term(Wanted::Present);
        }
        if let Condition::Exact(value) | Condition::Prefix(value) = condition {
            beginnings(value, lengths).for_each(|prefix| term(Wanted::Prefix(prefix)));
        }
    }
    // Whatever covers them covers each of them.
    terms.extend(takes.methods.first().map(Term::Method));
    let networks =
        takes.clients.first().map(|network| std::iter::successors(Some(network.trunc()), IpNet::supernet));
    terms.extend(networks.into_iter().flatten().map(Term::Client));
    terms.extend(takes.scheme.map(Term::Scheme));
    if let Some(name) = names(takes).first() {
        add_wider_names(&mut terms, name, lengths);
    }
    terms
}

fn add_wider_names<'r>(terms: &mut Vec<Term<'r>>, name: &'r SanPattern, lengths: &BTreeSet<usize>) {
    terms.push(of_name(name));
    match name {
        SanPattern::Dns(name) => {
            let above = name.split_once('.').map(|(_, above)| above);
            terms.extend(above.map(|above| Term::Named(Field::DnsAbove, "", Wanted::Exact(above))));
        }
        SanPattern::Uri(uri) | SanPattern::UriPrefix(uri) => {
            terms.extend(
                beginnings(uri, lengths).map(|part| Term::Named(Field::Uri, "", Wanted::Prefix(part))),
            );
        }
        SanPattern::DnsBelow(_) | SanPattern::Email(_) => {}
    }
}

/// The beginnings of a value that are as long as one of these.
fn beginnings<'r>(value: &'r str, lengths: &BTreeSet<usize>) -> impl Iterator<Item = &'r str> {
    lengths
        .iter()
        .map_while(|length| (*length <= value.len()).then_some(*length))
        .filter_map(|length| value.get(..length))
}

/// What the client's certificate has to have one of; nothing: anything.
fn names(takes: &Match) -> &[SanPattern] {
    takes.client_cert.as_ref().map_or(&[], |wanted| &wanted.san)
}

fn of_name(name: &SanPattern) -> Term<'_> {
    let (field, wanted) = match name {
        SanPattern::Dns(name) => (Field::Dns, Wanted::Exact(name)),
        SanPattern::DnsBelow(above) => (Field::DnsAbove, Wanted::Exact(above)),
        SanPattern::Uri(uri) => (Field::Uri, Wanted::Exact(uri)),
        SanPattern::UriPrefix(beginning) => (Field::Uri, Wanted::Prefix(beginning)),
        SanPattern::Email(address) => (Field::Email, Wanted::Exact(address)),
    };
    Term::Named(field, "", wanted)
}

fn named(takes: &Match) -> impl Iterator<Item = (Field, &str, &Condition)> {
    let headers = takes.headers.iter().map(|(name, is)| (Field::Header, name.as_str(), is));
    let query = takes.query.iter().map(|(name, is)| (Field::Query, name.as_str(), is));
    let cookies = takes.cookies.iter().map(|(name, is)| (Field::Cookie, name.as_str(), is));
    headers.chain(query).chain(cookies)
}

fn wanted(condition: &Condition) -> Wanted<'_> {
    match condition {
        Condition::Present => Wanted::Present,
        Condition::Absent => Wanted::Absent,
        Condition::Exact(value) => Wanted::Exact(value),
        Condition::Prefix(prefix) => Wanted::Prefix(prefix),
        Condition::Regex(expression) => Wanted::Regex(expression.as_str()),
    }
}

/// Whether all that one takes of a path the other takes of it, too.
fn covers(wider: &Route, narrower: &Route) -> bool {
    let (wide, narrow) = (&wider.takes, &narrower.takes);
    let is_asked = |(field, name, is): (Field, &str, &Condition)| {
        named(narrow)
            .any(|(other, named, narrow)| (field, name) == (other, named) && covers_condition(is, narrow))
    };
    let methods = narrow.methods.iter().all(|method| wide.methods.contains(method));
    let clients =
        narrow.clients.iter().all(|client| wide.clients.iter().any(|network| network.contains(client)));
    (wide.methods.is_empty() || !narrow.methods.is_empty() && methods)
        && (wide.clients.is_empty() || !narrow.clients.is_empty() && clients)
        && (wide.scheme.is_none() || wide.scheme == narrow.scheme)
        && covers_names(names(wide), names(narrow))
        && named(wide).all(is_asked)
        && covers_services(&wider.action, &narrower.action)
}

fn covers_names(wider: &[SanPattern], narrower: &[SanPattern]) -> bool {
    let is_covered = |name: &SanPattern| wider.iter().any(|wide| wide.covers(name));
    wider.is_empty() || !narrower.is_empty() && narrower.iter().all(is_covered)
}

fn covers_condition(wider: &Condition, narrower: &Condition) -> bool {
    match (wider, narrower) {
        (Condition::Present, narrower) => *narrower != Condition::Absent,
        (Condition::Prefix(prefix), Condition::Exact(value) | Condition::Prefix(value)) => {
            value.starts_with(prefix.as_str())
        }
        (wider, narrower) => wider == narrower,
    }
}

/// Whether of the services that a path names one allows all that the other does. (One that asks for none allows all.)
fn covers_services(wider: &Action, narrower: &Action) -> bool {
    let Action::ForwardByPath(wider) = wider else { return true };
    let Action::ForwardByPath(narrower) = narrower else { return false };
    narrower.patterns.iter().all(|pattern| match pattern {
        ServicePattern::Exact(name) => wider.allow(name),
        ServicePattern::Prefix(prefix) => allow_all(wider, prefix),
    })
}

/// Whether all services whose names begin so are allowed.
fn allow_all(allowed: &ServicesAllowed, beginning: &str) -> bool {
    allowed.patterns.iter().any(|pattern| match pattern {
        ServicePattern::Exact(_) => false,
        ServicePattern::Prefix(prefix) => beginning.starts_with(prefix.as_str()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CertificateMatch, Expression, HostPattern};
    use http::HeaderName;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    fn prefix(path: &str) -> Match {
        Match { path: PathPattern::Prefix(path.into()), ..Match::default() }
    }

    fn regex(text: &str) -> Match {
        Match { path: PathPattern::Regex(Expression::parse(text).unwrap()), ..Match::default() }
    }

    fn tenant(condition: Condition) -> Match {
        Match { headers: vec![(HeaderName::from_static("x-tenant"), condition)], ..prefix("/a") }
    }

    fn of_hosts(hosts: &[&str]) -> Match {
        let host = |host: &&str| match host.strip_prefix("*.") {
            Some(below) => HostPattern::Below(below.into()),
            None => HostPattern::Exact((*host).into()),
        };
        Match { hosts: hosts.iter().map(host).collect(), ..prefix("/a") }
    }

    fn routes(takes: impl IntoIterator<Item = Match>) -> Vec<Route> {
        takes.into_iter().map(|takes| Route { takes, ..Route::plain("/", "goods") }).collect()
    }

    fn hidden_by(takes: impl IntoIterator<Item = Match>) -> Vec<(usize, usize)> {
        hidden(&routes(takes)).iter().map(|hidden| (hidden.route, hidden.by)).collect()
    }

    #[test]
    fn the_second_of_two_that_take_the_same_is_hidden() {
        assert_eq!(hidden_by([prefix("/a"), prefix("/b"), prefix("/a"), prefix("/a")]), [(2, 0), (3, 0)]);
        assert_eq!(hidden_by([regex("/a+"), regex("/a+"), regex("/aa*")]), [(1, 0)]);
        let exact = Match { path: PathPattern::Exact("/a".into()), ..Match::default() };
        assert_eq!(hidden_by([prefix("/a"), exact]), []);
    }

    #[test]
    fn the_root_hides_expressions_and_routes_without_a_path() {
        assert_eq!(hidden_by([regex("/a+"), Match::default(), prefix("/")]), [(0, 2), (1, 2)]);
        assert_eq!(hidden_by([regex("/a+"), Match::default()]), []);
        let of_get = Match { methods: vec![Method::GET], ..prefix("/") };
        let posts = Match { methods: vec![Method::POST], ..regex("/a") };
        let gets = Match { methods: vec![Method::GET], ..regex("/a") };
        assert_eq!(hidden_by([of_get, posts, gets, Match::default()]), [(2, 0)]);
    }

    #[test]
    fn one_whose_conditions_are_as_wide_hides_a_later_one() {
        let exact = |value: &str| Condition::Exact(value.into());
        let begins = |value: &str| Condition::Prefix(value.into());
        let matches = |value: &str| Condition::Regex(Expression::parse(value).unwrap());
        for (wider, narrower, hides) in [
            (Condition::Present, exact("a"), true),
            (Condition::Present, matches("a"), true),
            (Condition::Present, Condition::Absent, false),
            (Condition::Absent, Condition::Absent, true),
            (Condition::Absent, Condition::Present, false),
            (begins("ab"), exact("abc"), true),
            (begins("ab"), begins("abc"), true),
            (begins("abc"), begins("ab"), false),
            (begins("b"), exact("abc"), false),
            (exact("abc"), exact("abc"), true),
            (exact("abc"), begins("abc"), false),
            (matches("a+"), matches("a+"), true),
            (matches("a+"), exact("a"), false),
        ] {
            let expected: &[_] = if hides { &[(1, 0)] } else { &[] };
            let takes = [tenant(wider.clone()), tenant(narrower.clone())];
            assert_eq!(hidden_by(takes), expected, "{wider:?} {narrower:?}");
        }
    }

    #[test]
    fn methods_and_networks_are_compared_by_what_they_take() {
        let methods = |methods: &[Method]| Match { methods: methods.to_vec(), ..prefix("/a") };
        let clients = |networks: &[&str]| Match {
            clients: networks.iter().map(|network| network.parse().unwrap()).collect(),
            ..prefix("/a")
        };
        assert_eq!(hidden_by([methods(&[Method::GET, Method::PUT]), methods(&[Method::PUT])]), [(1, 0)]);
        assert_eq!(hidden_by([methods(&[Method::GET]), methods(&[Method::PUT, Method::GET])]), []);
        let wide = clients(&["192.0.2.0/24", "10.0.0.0/8"]);
        assert_eq!(hidden_by([wide.clone(), clients(&["10.1.0.0/16", "10.2.0.0/16"])]), [(1, 0)]);
        assert_eq!(hidden_by([wide, clients(&["10.1.0.0/16", "11.0.0.0/8"])]), []);
        let https = Match { scheme: Some(Scheme::Https), ..prefix("/a") };
        assert_eq!(
            hidden_by([https.clone(), Match { scheme: Some(Scheme::Http), ..https.clone() }, https]),
            [(2, 0)]
        );
    }

    fn with_names(names: &[SanPattern]) -> Match {
        Match { client_cert: Some(CertificateMatch { san: names.to_vec() }), ..prefix("/a") }
    }

    #[test]
    fn certificates_are_compared_by_the_names_that_they_take() {
        let below = |name: &str| SanPattern::DnsBelow(name.into());
        let dns = |name: &str| SanPattern::Dns(name.into());
        let (uri, begins) =
            (|uri: &str| SanPattern::Uri(uri.into()), |uri: &str| SanPattern::UriPrefix(uri.into()));
        for (wider, narrower, hides) in [
            (vec![below("b.c")], vec![dns("a.b.c"), dns("b.b.c")], true),
            (vec![below("b.c")], vec![dns("a.b.c"), dns("a.c")], false),
            (vec![dns("x"), begins("a:b")], vec![uri("a:bc"), begins("a:bd")], true),
            (vec![begins("a:bc")], vec![begins("a:b")], false),
            (vec![uri("a:b")], vec![SanPattern::Email("a:b".into())], false),
            (vec![SanPattern::Email("a@b".into())], vec![SanPattern::Email("a@b".into())], true),
        ] {
            let expected: &[_] = if hides { &[(1, 0)] } else { &[] };
            assert_eq!(
                hidden_by([with_names(&wider), with_names(&narrower)]),
                expected,
                "{wider:?} {narrower:?}"
            );
        }
        let named = with_names(&[dns("a.b.c")]);
        assert_eq!(hidden_by([prefix("/a"), named.clone()]), [], "it is tried before");
        let gets = Match { methods: vec![Method::GET], ..prefix("/a") };
        assert_eq!(hidden_by([named, gets]), [], "who shows no certificate is left to the other");
    }

    #[test]
    fn one_with_more_conditions_hides_nothing() {
        let get = Match { methods: vec![Method::GET], ..prefix("/a") };
        assert_eq!(hidden_by([get.clone(), prefix("/a")]), []);
        assert_eq!(hidden_by([prefix("/a"), get]), [], "it is tried before");
    }

    #[test]
    fn a_route_of_several_hosts_is_hidden_under_each_of_them() {
        assert_eq!(hidden_by([of_hosts(&["a"]), of_hosts(&["a", "b"])]), []);
        assert_eq!(hidden_by([of_hosts(&["a"]), of_hosts(&["b"]), of_hosts(&["a", "b"])]), [(2, 0)]);
        assert_eq!(
            hidden_by([of_hosts(&["*.example.com"]), of_hosts(&["a.example.com"])]),
            [],
            "it is tried before"
        );
        assert_eq!(hidden_by([of_hosts(&[]), of_hosts(&["a"]), of_hosts(&[])]), [(2, 0)]);
    }

    #[test]
    fn services_in_the_path_are_hidden_by_one_that_allows_them_all() {
        let exact = |name: &str| ServicePattern::Exact(name.into());
        let begins = |name: &str| ServicePattern::Prefix(name.into());
        for (wider, narrower, hides) in [
            (vec![exact("a"), begins("shop-")], vec![exact("a"), exact("shop-b"), begins("shop-c")], true),
            (vec![exact("a")], vec![exact("a"), exact("b")], false),
            (vec![begins("shop-")], vec![begins("shop")], false),
            (vec![begins("")], vec![begins("shop"), exact("b")], true),
        ] {
            let route = |patterns| Route {
                takes: Match { path: PathPattern::Service(String::new()), ..Match::default() },
                action: Action::ForwardByPath(ServicesAllowed { patterns, most: 100 }),
                ..Route::plain("/", "goods")
            };
            assert_eq!(hidden(&[route(wider), route(narrower)]).len(), usize::from(hides));
        }
    }

    #[test]
    fn ten_thousand_routes_of_one_path_are_looked_through_in_no_time() {
        let tenants = (0..10_000).map(|n| tenant(Condition::Exact(format!("tenant-{n}"))));
        let networks = (0..10_000_u32).map(|n| {
            let network = IpNet::new(std::net::Ipv4Addr::from(n << 8).into(), 24).unwrap();
            Match { clients: vec![network], ..prefix("/a") }
        });
        let begun = Instant::now();
        assert_eq!(hidden_by(tenants.chain(networks)), []);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    #[test]
    fn long_values_are_looked_through_in_no_time() {
        let ends = |n: usize| format!("{}{n:04}", "x".repeat(1020));
        let values = (0..10_000).map(|n| tenant(Condition::Exact(ends(n))));
        let begins =
            [tenant(Condition::Prefix("x".repeat(1020) + "9")), tenant(Condition::Exact(ends(9000)))];
        let begun = Instant::now();
        assert_eq!(hidden_by(begins.into_iter().chain(values)).len(), 1_001);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    /// Few of everything, so that much of it meets.
    fn any_condition() -> impl Strategy<Value = Condition> {
        prop_oneof![
            Just(Condition::Present),
            Just(Condition::Absent),
            "[ab]{0,2}".prop_map(Condition::Exact),
            "[ab]{0,2}".prop_map(Condition::Prefix),
            "[ab]".prop_map(|text| Condition::Regex(Expression::parse(&text).unwrap())),
        ]
    }

    fn any_name() -> impl Strategy<Value = SanPattern> {
        prop_oneof![
            "[ab]\\.[ab]".prop_map(SanPattern::Dns),
            "[ab]".prop_map(SanPattern::DnsBelow),
            "a:[ab]{1,2}".prop_map(SanPattern::Uri),
            "a:[ab]{0,2}".prop_map(SanPattern::UriPrefix),
            Just(SanPattern::Email("a@b".into())),
        ]
    }

    prop_compose! {
        fn any_takes()(
            path in prop_oneof![
                Just(PathPattern::Any),
                "/[ab]?".prop_map(PathPattern::Prefix),
                "/[ab]".prop_map(PathPattern::Exact),
                "/[ab]".prop_map(|text| PathPattern::Regex(Expression::parse(&text).unwrap())),
            ],
            hosts in proptest::collection::btree_set("[ab]", 0..3),
            methods in proptest::sample::subsequence(vec![Method::GET, Method::PUT], 0..=2),
            query in proptest::collection::btree_map("[xy]", any_condition(), 0..3),
            clients in proptest::collection::vec(0_u8..3, 0..3),
            scheme in prop_oneof![Just(None), Just(Some(Scheme::Http))],
            names in proptest::collection::vec(any_name(), 0..3),
        ) -> Match {
            let network = |length: u8| IpNet::new([10, 0, 0, 0].into(), length * 8).unwrap().trunc();
            Match {
                hosts: hosts.into_iter().map(HostPattern::Exact).collect(),
                path,
                methods,
                query: query.into_iter().collect(),
                clients: clients.into_iter().map(network).collect(),
                scheme,
                client_cert: Some(CertificateMatch { san: names }).filter(|wanted| !wanted.san.is_empty()),
                ..Match::default()
            }
        }
    }

    proptest! {
        /// What is found in some of them is what a look at each pair finds.
        #[test]
        fn all_that_are_hidden_are_found(takes in proptest::collection::vec(any_takes(), 1..12)) {
            let routes = routes(takes);
            let ranks = order(routes.iter().map(|route| &route.takes));
            let hides = |a: &Rank<'_>, b: &Rank<'_>| {
                let [first, second] = [a, b].map(|rank| &routes[rank.number]);
                let is_wider = first.takes.path == second.takes.path
                    || first.takes.path == PathPattern::Prefix("/".into())
                        && matches!(second.takes.path, PathPattern::Regex(_) | PathPattern::Any);
                a < b && a.host == b.host && is_wider && covers(first, second)
            };
            let is_hidden = |number: usize| {
                let mut places = ranks.iter().filter(|rank| rank.number == number);
                places.all(|rank| ranks.iter().any(|other| hides(other, rank)))
            };
            let expected: Vec<_> = (0..routes.len()).filter(|number| is_hidden(*number)).collect();
            let found: Vec<_> = hidden(&routes).iter().map(|hidden| hidden.route).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
