mod naive;

use super::*;
use crate::config::{
    Action, CertificateMatch, Condition, Expression, HostPattern, PathPattern, SanPattern, ServicePattern,
};
use crate::head::tests::{FakeHead, head};
use crate::tls::Identity;
use http::{HeaderName, Method};

/// A route that takes this, and answers.
fn answers(takes: Match) -> config::Route {
    let action = Action::Answer(config::FixedAnswer::default());
    config::Route { takes, action, ..config::Route::plain("/", "goods") }
}

fn matcher(routes: &[config::Route]) -> Routes<usize> {
    Routes::new(routes.iter().zip(0..))
}

fn prefix(path: &str) -> PathPattern {
    PathPattern::Prefix(path.into())
}

fn get(host: &str, target: &'static str) -> FakeHead {
    head(Method::GET, target, &[("host", host.as_bytes())])
}

fn find(routes: &Routes<usize>, head: &FakeHead) -> Option<usize> {
    routes.find(&Asked::new(head, head.path())).copied()
}

#[test]
fn a_route_takes_whole_segments_and_the_longest_wins() {
    let paths = ["/goods/list", "/goods", "/a%2Fb", "/goods-new"];
    let routes = matcher(&paths.map(|path| answers(Match::at("", prefix(path)))));
    for (path, expected) in [
        ("/goods", Some(1)),
        ("/goods/", Some(1)),
        ("/goods/x", Some(1)),
        ("/goods/list", Some(0)),
        ("/goods/list/1", Some(0)),
        ("/goods/listing", Some(1)),
        ("/goods-new/1", Some(3)),
        ("/goods-newer", None),
        ("/goods2", None),
        ("/", None),
        ("/a%2Fb/c", Some(2)),
        ("//goods", None),
    ] {
        assert_eq!(find(&routes, &get("any", path)), expected, "{path}");
    }
}

#[test]
fn the_root_takes_what_no_other_route_does() {
    let routes = matcher(&["/", "/goods"].map(|path| answers(Match::at("", prefix(path)))));
    for (path, expected) in [("/", 0), ("/goods2/x", 0), ("/goods/", 1)] {
        assert_eq!(find(&routes, &get("any", path)), Some(expected), "{path}");
    }
}

#[test]
fn an_exact_path_a_prefix_an_expression_and_none_are_tried_in_this_order() {
    let expression = Expression::parse("/api/v[0-9]+(/.*)?").unwrap();
    let paths = [
        PathPattern::Any,
        PathPattern::Regex(expression),
        prefix("/api/v2"),
        PathPattern::Exact("/api/v2".into()),
    ];
    let routes = matcher(&paths.map(|path| answers(Match::at("", path))));
    for (path, expected) in [("/api/v2", 3), ("/api/v2/", 2), ("/api/v3/x", 1), ("/api/v", 0), ("/", 0)] {
        assert_eq!(find(&routes, &get("any", path)), Some(expected), "{path}");
    }
}

#[test]
fn what_no_route_of_its_host_takes_is_tried_on_the_wider_ones() {
    let routes = matcher(&[
        answers(Match::at("a.shop.example.com", prefix("/a"))),
        answers(Match::at("*.shop.example.com", prefix("/b"))),
        answers(Match::at("*.example.com", prefix("/c"))),
        answers(Match::at("", prefix("/"))),
    ]);
    for (host, path, expected) in [
        ("A.shop.Example.com.:443", "/a", 0),
        ("a.shop.example.com", "/b", 1),
        ("a.shop.example.com", "/c", 2),
        ("a.shop.example.com", "/d", 3),
        ("b.c.shop.example.com", "/b", 1),
        ("shop.example.com", "/b", 3),
        ("shop.example.com", "/c", 2),
        ("example.com", "/c", 3),
        (".example.com", "/c", 3),
        ("xexample.com", "/c", 3),
        ("..example.com", "/c", 3),
        ("a..example.com", "/c", 3),
        ("x,y.example.com", "/c", 3),
        ("x y.example.com", "/c", 3),
        ("a.shop.example.com:x", "/a", 3),
        ("", "/a", 3),
    ] {
        assert_eq!(find(&routes, &get(host, path)), Some(expected), "{host}{path}");
    }
}

#[test]
fn the_host_of_a_url_is_that_of_the_request() {
    let routes = matcher(&[answers(Match::at("shop.example.com", prefix("/")))]);
    let asked = head(Method::GET, "http://shop.example.com:80/goods", &[]);
    assert_eq!(routes.find(&Asked::new(&asked, "/goods")), Some(&0));
}

#[test]
fn a_path_names_a_service_that_is_allowed() {
    let patterns = vec![ServicePattern::Prefix("shop-".into()), ServicePattern::Exact("goods".into())];
    let by_path = |prefix: &str| {
        let action = Action::ForwardByPath(ServicesAllowed { patterns: patterns.clone(), most: 100 });
        config::Route { action, ..answers(Match::at("", PathPattern::Service(prefix.into()))) }
    };
    let routes = matcher(&[by_path(""), by_path("/api"), answers(Match::at("", prefix("/shop-a/x")))]);
    for (path, expected) in [
        ("/goods", Some(0)),
        ("/shop-a/", Some(0)),
        ("/shop-a/x/y", Some(2)),
        ("/carts", None),
        ("/", None),
        ("//goods", None),
        ("/api/goods/7", Some(1)),
        ("/api", None),
        ("/api/", None),
        ("/api/carts", None),
    ] {
        assert_eq!(find(&routes, &get("any", path)), expected, "{path}");
    }
}

#[test]
fn conditions_are_on_methods_headers_parameters_and_cookies() {
    let header = |condition| (HeaderName::from_static("x-tenant"), condition);
    let exact = |value: &str| Condition::Exact(value.into());
    let further = [
        Match { methods: vec![Method::PUT, Method::POST], ..Match::default() },
        Match { headers: vec![header(exact("a"))], ..Match::default() },
        Match {
            headers: vec![header(Condition::Regex(Expression::parse("b+").unwrap()))],
            ..Match::default()
        },
        Match { query: vec![("a b".into(), exact("c&d"))], ..Match::default() },
        Match { cookies: vec![("group".into(), Condition::Prefix("x".into()))], ..Match::default() },
        Match { headers: vec![header(Condition::Absent)], ..Match::default() },
    ];
    let routes = matcher(&further.map(answers));
    let asked =
        |method, target, fields: &[(&'static str, &[u8])]| find(&routes, &head(method, target, fields));
    assert_eq!(asked(Method::POST, "/", &[]), Some(0));
    assert_eq!(asked(Method::GET, "/", &[("x-tenant", b"z"), ("x-tenant", b"a")]), Some(1));
    assert_eq!(asked(Method::GET, "/", &[("x-tenant", b"bbb")]), Some(2));
    assert_eq!(asked(Method::GET, "/?x&a+b=&%61%20b=c%26d", &[("x-tenant", b"z")]), Some(3));
    assert_eq!(asked(Method::GET, "/?a%20b=c", &[("x-tenant", b"z")]), None);
    assert_eq!(asked(Method::GET, "/", &[("x-tenant", b"z"), ("cookie", b"a=1; group=xy")]), Some(4));
    assert_eq!(asked(Method::GET, "/", &[]), Some(5));
}

#[test]
fn conditions_are_on_the_client_and_on_what_it_speaks() {
    let clients = vec!["10.0.0.0/8".parse().unwrap()];
    let further = [
        Match { clients, ..Match::default() },
        Match { scheme: Some(config::Scheme::Https), ..Match::default() },
    ];
    let routes = matcher(&further.map(answers));
    let head = get("any", "/");
    for (client, scheme, expected) in [
        (Some("10.1.2.3"), config::Scheme::Http, Some(0)),
        (Some("::ffff:10.1.2.3"), config::Scheme::Http, Some(0)),
        (Some("11.1.2.3"), config::Scheme::Https, Some(1)),
        (Some("11.1.2.3"), config::Scheme::Http, None),
        (None, config::Scheme::Http, None),
    ] {
        let client = client.map(|client| client.parse().unwrap());
        assert_eq!(
            routes.find(&Asked::of(&head, "/", scheme, client, None)).copied(),
            expected,
            "{client:?}"
        );
    }
}

/// Of these alternative names, each known by what stands in it.
fn identity(names: &[&str]) -> Identity {
    let of_kind =
        |is: fn(&str) -> bool| names.iter().filter(|name| is(name)).map(|n| (*n).to_owned()).collect();
    Identity {
        subject: String::new(),
        dns: of_kind(|name| !name.contains([':', '@'])),
        uris: of_kind(|name| name.contains(':')),
        emails: of_kind(|name| name.contains('@')),
        fingerprint: [0; 32],
    }
}

#[test]
fn a_condition_is_on_the_certificate_that_the_client_has_shown() {
    let wants = |san| Match { client_cert: Some(CertificateMatch { san }), ..Match::default() };
    let routes = matcher(&[
        answers(wants(vec![SanPattern::Uri("spiffe://a/b".into()), SanPattern::Email("a@b".into())])),
        answers(wants(vec![SanPattern::UriPrefix("spiffe://a/".into()), SanPattern::DnsBelow("a.b".into())])),
        answers(wants(vec![SanPattern::Dns("a.b".into())])),
    ]);
    let head = get("any", "/");
    for (names, expected) in [
        (Some(&["spiffe://a/b"][..]), Some(0)),
        (Some(&["x", "a@b"]), Some(0)),
        (Some(&["spiffe://a/c"]), Some(1)),
        (Some(&["X.A.b", "a.b"]), Some(1)),
        (Some(&["A.B"]), Some(2)),
        (Some(&["spiffe://b/a", "b.a", "b@a"]), None),
        (Some(&[]), None),
        (None, None),
    ] {
        let identity = names.map(identity);
        let asked = Asked::of(&head, "/", config::Scheme::Https, None, identity.as_ref());
        assert_eq!(routes.find(&asked).copied(), expected, "{names:?}");
    }
}

#[test]
fn each_route_comes_once_in_the_order_in_which_they_are_tried() {
    let two = Match {
        hosts: vec![HostPattern::Below("example.com".into()), HostPattern::Exact("shop.example.com".into())],
        ..Match::at("", prefix("/"))
    };
    let routes = [
        Match::at("", prefix("/")),
        Match::at("a.example.com", prefix("/")),
        two,
        Match::at("", prefix("/a")),
    ];
    let routes = matcher(&routes.map(answers));
    assert_eq!(routes.in_order().copied().collect::<Vec<_>>(), [1, 2, 3, 0]);
}

#[test]
fn what_a_query_and_cookies_say_is_read_once_for_all_routes() {
    let exact = |number: usize| Condition::Exact(format!("{number}"));
    let of_query = (0..5_000).map(|n| Match { query: vec![("x".into(), exact(n))], ..Match::default() });
    let of_cookie = (0..5_000).map(|n| Match { cookies: vec![("x".into(), exact(n))], ..Match::default() });
    let routes = matcher(&of_query.chain(of_cookie).map(answers).collect::<Vec<_>>());
    let target: &'static str = Box::leak(format!("/?{}", "%61&".repeat(2_000)).into_boxed_str());
    let asked = head(Method::GET, target, &[("cookie", "a=1;".repeat(2_000).as_bytes())]);
    let begun = std::time::Instant::now();
    assert_eq!(find(&routes, &asked), None);
    assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn one_of_several_parameters_and_cookies_of_a_name_suffices() {
    let exact = || vec![("x".into(), Condition::Exact("1".into()))];
    let routes = matcher(&[
        answers(Match { query: exact(), ..Match::default() }),
        answers(Match { cookies: exact(), ..Match::default() }),
    ]);
    assert_eq!(find(&routes, &head(Method::GET, "/?x=2&y=3&x=1&w=1", &[])), Some(0));
    assert_eq!(find(&routes, &head(Method::GET, "/?y=1&w=1", &[("cookie", b"x=2; y=2; x=1")])), Some(1));
    assert_eq!(find(&routes, &head(Method::GET, "/?y=1&w=1&xx=1", &[("cookie", b"y=1; w=1")])), None);
}

/// The first route that takes it, of all in their order, as it is explained to people.
fn tried_one_by_one(routes: &[config::Route], asked: &Asked<'_, impl Head>) -> Option<usize> {
    let order = config::order(routes.iter().map(|route| &route.takes));
    let mut takes = order.iter().filter(|rank| first_unmet(rank, &routes[rank.number], asked).is_none());
    takes.next().map(|rank| rank.number)
}

/// Few of everything, so that much of it meets.
mod few {
    use super::*;
    use http::HeaderValue;
    use pingora::http::RequestHeader;
    use proptest::collection::{btree_map, btree_set, vec};
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::LazyLock;

    /// Compiled once: the first three for paths, the others for values.
    static EXPRESSIONS: LazyLock<[Expression; 5]> = LazyLock::new(|| {
        ["/a.*", "/[ab]+", "(/a|/b)+/?", "a+", "[^a]*"].map(|text| Expression::parse(text).unwrap())
    });

    fn path() -> impl Strategy<Value = PathPattern> {
        prop_oneof![
            1 => Just(PathPattern::Any),
            2 => Just(PathPattern::Prefix("/".into())),
            3 => "(/(a|b|ab|a-b)){1,3}".prop_map(PathPattern::Prefix),
            2 => "(/(a|b|ab|a-b)){0,3}/?".prop_map(|path| PathPattern::Exact(format!("/{}", path.trim_start_matches('/')))),
            1 => "(/(a|b)){0,2}".prop_map(PathPattern::Service),
            2 => (0..3_usize).prop_map(|n| PathPattern::Regex(EXPRESSIONS[n].clone())),
        ]
    }

    fn host() -> impl Strategy<Value = HostPattern> {
        prop_oneof![
            "(a\\.|b\\.){0,2}[ab]".prop_map(HostPattern::Exact),
            "(a\\.|b\\.){0,2}[ab]".prop_map(HostPattern::Below),
        ]
    }

    fn condition() -> impl Strategy<Value = Condition> {
        prop_oneof![
            Just(Condition::Present),
            Just(Condition::Absent),
            "([ab]( [ab])?)?".prop_map(Condition::Exact),
            "[ab]{0,2}".prop_map(Condition::Prefix),
            (3..5_usize).prop_map(|n| Condition::Regex(EXPRESSIONS[n].clone())),
        ]
    }

    fn certificate() -> impl Strategy<Value = CertificateMatch> {
        let pattern = prop_oneof![
            "([ab]\\.)?[ab]".prop_map(SanPattern::Dns),
            "([ab]\\.)?[ab]".prop_map(SanPattern::DnsBelow),
            "x:[ab]{0,2}".prop_map(SanPattern::Uri),
            "x:[ab]{0,1}".prop_map(SanPattern::UriPrefix),
            "[ab]@a".prop_map(SanPattern::Email),
        ];
        vec(pattern, 1..3).prop_map(|san| CertificateMatch { san })
    }

    prop_compose! {
        fn takes()(
            hosts in btree_set(host(), 0..3),
            path in path(),
            methods in proptest::sample::subsequence(vec![Method::GET, Method::PUT], 0..=1),
            headers in btree_map("x-[ab]", condition(), 0..2),
            query in btree_map("[ab]", condition(), 0..2),
            cookies in btree_map("[ab]", condition(), 0..2),
            clients in vec(0_u8..4, 0..2),
            scheme in prop_oneof![3 => Just(None), 1 => Just(Some(config::Scheme::Https))],
            client_cert in proptest::option::weighted(0.2, certificate()),
        ) -> Match {
            let network = |n: u8| format!("10.0.0.{n}/31").parse::<ipnet::IpNet>().unwrap().trunc();
            let header = |(name, is): (String, Condition)| (HeaderName::try_from(name).unwrap(), is);
            Match {
                hosts: hosts.into_iter().collect(),
                path,
                methods,
                headers: headers.into_iter().map(header).collect(),
                query: query.into_iter().collect(),
                cookies: cookies.into_iter().collect(),
                clients: clients.into_iter().map(network).collect(),
                scheme,
                client_cert,
            }
        }
    }

    /// Half of them ask for nothing but a host and a path.
    pub(super) fn route() -> impl Strategy<Value = config::Route> {
        (takes(), any::<bool>()).prop_map(|(takes, is_plain)| {
            let plain = Match { hosts: takes.hosts.clone(), path: takes.path.clone(), ..Match::default() };
            let route = answers(if is_plain { plain } else { takes });
            let patterns = vec![ServicePattern::Exact("b".into()), ServicePattern::Prefix("a".into())];
            let by_path = Action::ForwardByPath(ServicesAllowed { patterns, most: 100 });
            match route.takes.path {
                PathPattern::Service(_) => config::Route { action: by_path, ..route },
                _ => route,
            }
        })
    }

    #[derive(Debug)]
    pub(super) struct Request {
        pub(super) head: RequestHeader,
        scheme: config::Scheme,
        client: Option<IpAddr>,
        identity: Option<Identity>,
    }

    impl Request {
        pub(super) fn asked<'r>(&'r self, path: &'r str) -> Asked<'r, RequestHeader> {
            Asked::of(&self.head, path, self.scheme, self.client, self.identity.as_ref())
        }
    }

    prop_compose! {
        pub(super) fn request()(
            host in "((a\\.|b\\.){0,3}[ab]|A\\.b)(\\.|:80)?|",
            path in "(/(a|b|ab|a-b|aa)?){1,4}",
            query in "(\\?((a|b|%61)(=[ab%2+ ]{0,2})?&?){0,3})?",
            is_put in any::<bool>(),
            fields in vec(("x-[ab]|cookie", "[ab]{0,2}|[ab]=[ab]{0,2}(; [ab]=a)?"), 0..3),
            is_https in any::<bool>(),
            client in proptest::option::of(0_u8..6),
            names in proptest::option::of(vec("([abA]\\.){0,2}[ab]|\\.a|x:[ab]{0,2}|[ab]@[ab]", 0..3)),
        ) -> Request {
            let target = format!("{path}{}", query.replace(' ', "+"));
            let method = if is_put { Method::PUT } else { Method::GET };
            let mut head = RequestHeader::build(method, target.as_bytes(), None).unwrap();
            head.insert_header("host", host).unwrap();
            for (name, value) in fields {
                head.append_header(name, HeaderValue::try_from(value).unwrap()).unwrap();
            }
            Request {
                head,
                scheme: if is_https { config::Scheme::Https } else { config::Scheme::Http },
                client: client.map(|n| Ipv4Addr::new(10, 0, 0, n).into()),
                identity: names.map(|names| identity(&names.iter().map(|name| &**name).collect::<Vec<_>>())),
            }
        }
    }

    /// Requests that a route takes if no earlier one does: one for each of its hosts.
    fn made_for(takes: &Match) -> Vec<Request> {
        let value = |is: &Condition| match is {
            Condition::Absent => None,
            Condition::Present => Some("b".to_owned()),
            Condition::Exact(value) => Some(value.clone()),
            Condition::Prefix(value) => Some(format!("{value}b")),
            Condition::Regex(regex) => Some(if regex.as_str() == "a+" { "aa" } else { "b" }.to_owned()),
        };
        let mut hosts: Vec<_> = takes.hosts.iter().map(|host| host.to_string().replace('*', "b.a")).collect();
        if hosts.is_empty() {
            hosts.push("c".to_owned());
        }
        let path = match &takes.path {
            PathPattern::Any => "/c".to_owned(),
            PathPattern::Exact(path) | PathPattern::Prefix(path) => path.clone(),
            PathPattern::Service(above) => format!("{above}/b"),
            PathPattern::Regex(_) => "/a".to_owned(),
        };
        let named = |named: &[(String, Condition)]| -> Vec<String> {
            named.iter().filter_map(|(name, is)| Some(format!("{name}={}", value(is)?))).collect()
        };
        let query = named(&takes.query).join("&").replace(' ', "+");
        let cookies = named(&takes.cookies);
        let request = |host: String| {
            let method = takes.methods.first().unwrap_or(&Method::GET).clone();
            let mut head = RequestHeader::build(method, format!("{path}?{query}").as_bytes(), None).unwrap();
            head.insert_header("host", host).unwrap();
            for (name, is) in &takes.headers {
                value(is).map(|value| head.append_header(name, value).unwrap());
            }
            for cookie in &cookies {
                head.append_header("cookie", cookie).unwrap();
            }
            let scheme = takes.scheme.unwrap_or(config::Scheme::Http);
            let shown = takes.client_cert.as_ref().and_then(|wanted| wanted.san.first());
            let identity = shown.map(|san| match san {
                SanPattern::UriPrefix(begin) => identity(&[begin]),
                SanPattern::DnsBelow(above) => identity(&[&format!("a.{above}")]),
                of_one => identity(&[&of_one.to_string()]),
            });
            Request { head, scheme, client: takes.clients.first().map(ipnet::IpNet::addr), identity }
        };
        hosts.into_iter().map(request).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn the_matcher_finds_what_a_try_of_each_route_in_order_does(
            routes in vec(route(), 0..20),
            request in request(),
        ) {
            let path = request.head.path().to_owned();
            let asked = request.asked(&path);
            let found = matcher(&routes).find(&asked).copied();
            prop_assert_eq!(found, naive::first(&routes, &asked));
            prop_assert_eq!(found, tried_one_by_one(&routes, &asked));
        }

        #[test]
        fn a_hidden_route_takes_nothing(
            routes in vec(route(), 2..30),
            twice in any::<proptest::sample::Index>(),
            requests in vec(request(), 1..20),
        ) {
            // One that is hidden, as a rule: by itself.
            let again = twice.get(&routes).clone();
            let routes = [&routes[..], &[again]].concat();
            let hidden = config::hidden(&routes);
            prop_assert!(hidden.iter().any(|hidden| hidden.route == routes.len() - 1));
            let matcher = matcher(&routes);
            for request in requests {
                let path = request.head.path().to_owned();
                let found = matcher.find(&request.asked(&path)).copied();
                prop_assert!(hidden.iter().all(|hidden| Some(hidden.route) != found));
            }
            for hidden in hidden {
                let hidden = hidden.route;
                for request in made_for(&routes[hidden].takes) {
                    let path = request.head.path().to_owned();
                    let asked = request.asked(&path);
                    prop_assert!(naive::takes(&routes[hidden], &asked), "{:?} {:?}", routes[hidden], request);
                    let found = matcher.find(&asked).copied();
                    prop_assert!(found.is_some() && found != Some(hidden), "{:?} {:?}", routes, request);
                }
            }
        }

        /// With one request that no condition of the others is made for, at a path that none of them names.
        #[test]
        fn a_plain_route_that_is_not_hidden_takes_something(routes in vec(route(), 1..20)) {
            let is_far = |route: &config::Route| {
                let conditions = (&route.takes.headers, &route.takes.query, &route.takes.cookies);
                let named = conditions.0.iter().map(|(_, is)| is);
                let named = named.chain(conditions.1.iter().chain(conditions.2).map(|(_, is)| is));
                let mut absent = named.filter(|is| **is == Condition::Absent);
                absent.next().is_none() && !matches!(route.takes.path, PathPattern::Regex(_))
            };
            let routes: Vec<_> = routes.into_iter().filter(is_far).collect();
            let hidden = config::hidden(&routes);
            let matcher = matcher(&routes);
            for (number, route) in routes.iter().enumerate() {
                let is_plain = route.takes.conditions() == 0 && !matches!(route.action, Action::ForwardByPath(_));
                if !is_plain || hidden.iter().any(|hidden| hidden.route == number) {
                    continue;
                }
                let path = match &route.takes.path {
                    PathPattern::Exact(path) => path.clone(),
                    PathPattern::Prefix(path) => format!("{}/~", path.trim_end_matches('/')),
                    _ => "/~".into(),
                };
                let hosts = route.takes.hosts.iter().map(|host| match host {
                    HostPattern::Exact(host) => host.clone(),
                    HostPattern::Below(host) => format!("~.{host}"),
                });
                let any = route.takes.hosts.is_empty().then(|| "~".to_owned());
                let takes = |host: String| {
                    let mut head = RequestHeader::build("OPTIONS", path.as_bytes(), None).unwrap();
                    head.insert_header("host", host).unwrap();
                    matcher.find(&Asked::new(&head, &path)) == Some(&number)
                };
                prop_assert!(hosts.chain(any).any(takes), "{:?}", route.takes);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(
            routes in vec(route(), 0..10),
            target in vec(any::<u8>(), 0..40),
            path in ".{0,20}",
            host in vec(0x20_u8..=0xff, 0..20),
            cookie in vec(0x80_u8..=0xff, 0..20),
        ) {
            let target = [b"/", &target[..]].concat();
            let Ok(mut head) = RequestHeader::build("GET", &target, None) else { return Ok(()) };
            for (name, value) in [("host", &host), ("cookie", &cookie), ("x-a", &cookie)] {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    head.insert_header(name, value).unwrap();
                }
            }
            let asked = Asked::new(&head, &path);
            prop_assert_eq!(matcher(&routes).find(&asked).copied(), tried_one_by_one(&routes, &asked));
        }
    }
}
