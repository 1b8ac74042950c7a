use super::*;
use crate::config::{Action, Condition, Expression, HostPattern, PathPattern, ServicePattern};
use crate::head::tests::{FakeHead, head};
use http::{HeaderName, Method};

/// A route that takes this, and answers.
fn answers(takes: Match) -> config::Route {
    let action = Action::Answer(config::FixedAnswer::default());
    config::Route { takes, action, ..config::Route::plain("/", "goods") }
}

fn matcher(routes: &[config::Route]) -> Routes<usize> {
    Routes::new(routes.iter().zip(0..))
}

fn at(host: &str, path: PathPattern) -> Match {
    let hosts = match host {
        "" => Vec::new(),
        host => vec![match host.strip_prefix("*.") {
            Some(below) => HostPattern::Below(below.into()),
            None => HostPattern::Exact(host.into()),
        }],
    };
    Match { hosts, path, ..Match::default() }
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
    let routes = matcher(&paths.map(|path| answers(at("", prefix(path)))));
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
    let routes = matcher(&["/", "/goods"].map(|path| answers(at("", prefix(path)))));
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
    let routes = matcher(&paths.map(|path| answers(at("", path))));
    for (path, expected) in [("/api/v2", 3), ("/api/v2/", 2), ("/api/v3/x", 1), ("/api/v", 0), ("/", 0)] {
        assert_eq!(find(&routes, &get("any", path)), Some(expected), "{path}");
    }
}

#[test]
fn what_no_route_of_its_host_takes_is_tried_on_the_wider_ones() {
    let routes = matcher(&[
        answers(at("a.shop.example.com", prefix("/a"))),
        answers(at("*.shop.example.com", prefix("/b"))),
        answers(at("*.example.com", prefix("/c"))),
        answers(at("", prefix("/"))),
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
        ("", "/a", 3),
    ] {
        assert_eq!(find(&routes, &get(host, path)), Some(expected), "{host}{path}");
    }
}

#[test]
fn the_host_of_a_url_is_that_of_the_request() {
    let routes = matcher(&[answers(at("shop.example.com", prefix("/")))]);
    let asked = head(Method::GET, "http://shop.example.com:80/goods", &[]);
    assert_eq!(routes.find(&Asked::new(&asked, "/goods")), Some(&0));
}

#[test]
fn a_path_names_a_service_that_is_allowed() {
    let patterns = vec![ServicePattern::Prefix("shop-".into()), ServicePattern::Exact("goods".into())];
    let by_path = |prefix: &str| {
        let action = Action::ForwardByPath(ServicesAllowed { patterns: patterns.clone(), most: 100 });
        config::Route { action, ..answers(at("", PathPattern::Service(prefix.into()))) }
    };
    let routes = matcher(&[by_path(""), by_path("/api"), answers(at("", prefix("/shop-a/x")))]);
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
    let plain = Asked::new(&head, "/");
    for (client, scheme, expected) in [
        (Some("10.1.2.3"), config::Scheme::Http, Some(0)),
        (Some("::ffff:10.1.2.3"), config::Scheme::Http, Some(0)),
        (Some("11.1.2.3"), config::Scheme::Https, Some(1)),
        (Some("11.1.2.3"), config::Scheme::Http, None),
        (None, config::Scheme::Http, None),
    ] {
        let client = client.map(|client| client.parse().unwrap());
        assert_eq!(routes.find(&Asked { client, scheme, ..plain }).copied(), expected, "{client:?}");
    }
}

#[test]
fn each_route_comes_once_in_the_order_in_which_they_are_tried() {
    let two = Match {
        hosts: vec![HostPattern::Below("example.com".into()), HostPattern::Exact("shop.example.com".into())],
        ..at("", prefix("/"))
    };
    let routes = [at("", prefix("/")), at("a.example.com", prefix("/")), two, at("", prefix("/a"))];
    let routes = matcher(&routes.map(answers));
    assert_eq!(routes.in_order().copied().collect::<Vec<_>>(), [1, 2, 3, 0]);
}
