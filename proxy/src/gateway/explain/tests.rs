use super::explanation::passed;
use super::*;
use crate::config::{self, Config, Environment};
use crate::head::Head;
use crate::site::Asked;
use proptest::prelude::*;

const SITE: &str = r#"version: 1
gateway:
  listen: ["127.0.0.1:1"]
  registry: {endpoints: ["http://127.0.0.1:2"]}
  routes:
    - {name: old, match: {host: old.example.com}, redirect: {scheme: https, host: shop.example.com, status: 308}}
    - name: canary
      match: {host: [shop.example.com, "*.shop.example.com"], path: /api, headers: {x-canary: "1"}}
      service: goods-next
    - name: api
      match: {host: [shop.example.com, "*.shop.example.com"], path: /api}
      services: [{service: goods, weight: 90}, {service: goods-next, weight: 10}]
      sticky: {cookie: lw}
      strip_prefix: /api
      host: goods.internal
      request_headers: {set: {x-route: "{route}"}, remove: [x-internal]}
      response_headers: {add: {vary: origin}}
    - {name: admin, match: {path: {regex: "/admin(/.*)?"}, client: ["10.0.0.0/8"]}, service: admin}
    - {name: up, match: {path: /up}, rewrite: {regex: "/up/(.*)", to: "/$1"}, service: goods}
    - {path: /healthz, answer: {status: 200, headers: {content-type: text/plain}, body: ok}}
    - {name: teams, path: "/{service}", services_allowed: ["shop-*"]}
"#;

fn site() -> Config {
    Config::parse(SITE, "conf.yaml", &Environment::of_this_process()).unwrap()
}

fn asked(request: &str, headers: &[&str], client: Option<&str>) -> Result<Question, QuestionError> {
    let headers: Vec<_> = headers.iter().map(|header| (*header).to_owned()).collect();
    Question::parse(request, &headers, client)
}

fn explained(request: &str, headers: &[&str], client: Option<&str>) -> (bool, String) {
    let explanation = explain(&site(), &asked(request, headers, client).unwrap());
    (explanation.is_taken, explanation.to_string())
}

#[test]
fn the_routes_are_in_the_order_in_which_they_are_tried_one_for_each_host() {
    let expected = "\
HOST                PATH               CONDITIONS          DOES                                                 NAME
old.example.com     *                  -                   redirect 308 scheme=https host=shop.example.com      old
shop.example.com    /api               header:x-canary=1   to goods-next                                        canary
shop.example.com    /api               -                   to goods 90, goods-next 10                           api
*.shop.example.com  /api               header:x-canary=1   to goods-next                                        canary
*.shop.example.com  /api               -                   to goods 90, goods-next 10                           api
*                   /healthz           -                   answer 200                                           /healthz
*                   /up                -                   to goods                                             up
*                   /{service}         -                   to {service} of shop-*                               teams
*                   ~\"/admin(/.*)?\"  client=10.0.0.0/8   to admin                                             admin
";
    let words = |text: &str| -> Vec<Vec<String>> {
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let table = table(&site());
    assert_eq!(words(&table), words(expected));
    let names = table.lines().map(|line| line.rfind("  ").unwrap());
    assert!(names.collect::<std::collections::BTreeSet<_>>().len() == 1, "{table}");
}

#[test]
fn a_request_is_told_its_route_what_happens_to_it_and_why_none_before_it_took_it() {
    let (is_taken, told) = explained("GET https://shop.example.com/api/goods/7?x=1", &[], None);
    assert!(is_taken);
    assert_eq!(
        told,
        "\
route     api
key       gateway.routes[2]
service   goods 90, goods-next 10
sticky    cookie lw
target    /goods/7?x=1
host      goods.internal
request   remove x-internal
request   set x-route: {route}
response  add vary: origin
not  old     host is not old.example.com
not  canary  header x-canary is not \"1\"
"
    );
}

#[test]
fn what_a_header_a_client_and_a_path_decide_is_told() {
    let route = |request: &str, headers: &[&str], client| {
        let (is_taken, told) = explained(request, headers, client);
        assert!(is_taken, "{told}");
        told.lines().next().unwrap().trim_start_matches("route").trim().to_owned()
    };
    let api = "GET http://a.shop.example.com:8080/api";
    assert_eq!(route(api, &["X-Canary: 1"], None), "canary");
    assert_eq!(route("GET /api", &["host: Shop.Example.com."], None), "api");
    assert_eq!(route("GET http://other/api", &["host: shop.example.com"], None), "api", "as curl has it");
    assert_eq!(route("GET http://a/admin/x", &[], Some("10.1.2.3")), "admin");
    assert_eq!(route("GET http://a/shop-a/x", &[], None), "teams");
}

#[test]
fn what_is_answered_without_an_instance_is_told() {
    for (request, expected) in [
        ("GET http://old.example.com/a//b?c=d", "redirect  308 https://shop.example.com/a//b?c=d"),
        ("GET http://a/healthz", "answer  200 with 2 bytes"),
        ("GET http://a/healthz", "header  content-type: text/plain"),
        ("GET http://a/up/%252e%252e/x", "target   /%252e%252e/x"),
        ("GET http://a/up/goods", "target   /goods"),
        ("GET http://a/shop-a/x", "service  shop-a"),
    ] {
        let (is_taken, told) = explained(request, &[], None);
        assert!(is_taken && told.lines().any(|line| line == expected), "{told}");
    }
}

#[test]
fn what_no_route_takes_is_told_with_all_that_did_not() {
    let (is_taken, told) = explained("POST http://a/admin", &[], None);
    assert!(!is_taken);
    assert!(told.contains("answer  404 no route takes this request\n"), "{told}");
    assert_eq!(told.lines().filter(|line| line.starts_with("not  ")).count(), 9);
    assert!(
        told.contains("not  admin     client is not known to be in 10.0.0.0/8: say --client\n"),
        "{told}"
    );
    let (is_taken, told) = explained("GET http://a/", &[], Some("192.0.2.1"));
    assert!(!is_taken && told.contains("answer  200 by the gateway for itself"), "{told}");
}

#[test]
fn a_route_that_wants_a_certificate_says_so() {
    let text =
        SITE.replace("match: {host: old", "match: {client_cert: {san: [\"spiffe://a/*\", a.b]}, host: old");
    let config = Config::parse(&text, "conf.yaml", &Environment::of_this_process()).unwrap();
    let question = asked("GET http://old.example.com/", &[], None).unwrap();
    let explanation = explain(&config, &question);
    let told = explanation.to_string();
    let why = "not  old       client has shown no certificate of spiffe://a/* or a.b\n";
    assert!(!explanation.is_taken && told.contains(why), "{told}");
    let row = table(&config).lines().find(|row| row.ends_with("  old")).unwrap().to_owned();
    assert!(row.contains("spiffe://a/*"), "{row}");
}

#[test]
fn what_is_declined_before_any_route_is_told_as_such() {
    for (request, headers, expected) in [
        ("GET http://a/api/../../x", &[][..], "400 the path climbs above the root or is malformed"),
        ("GET http://a/%zz", &[], "400 the path climbs above the root or is malformed"),
        ("GET http://a/api", &["connection: Host"], "400 the Connection header names what it must not"),
        ("CONNECT http://a/", &[], "501"),
    ] {
        let (is_taken, told) = explained(request, headers, None);
        assert!(!is_taken && told.ends_with(&format!("answer  {expected}\n")), "{told}");
        assert!(told.starts_with("route   none is tried"), "{told}");
    }
}

#[test]
fn what_is_no_request_is_told() {
    for (request, headers, client, expected) in [
        ("/goods", &[][..], None, QuestionError::Form),
        ("G@T http://a/", &[], None, QuestionError::Method("G@T".into())),
        ("GET ftp://a/", &[], None, QuestionError::Target("ftp://a/".into())),
        ("GET *", &[], None, QuestionError::Target("*".into())),
        ("GET http:///x", &[], None, QuestionError::Host(String::new())),
        ("GET http://me@a/x", &[], None, QuestionError::Host("me@a".into())),
        ("GET http://a/b c", &[], None, QuestionError::Character(' ')),
        ("GET http://a/ü", &[], None, QuestionError::Character('ü')),
        ("GET http://a/", &["x-a"], None, QuestionError::Header("x-a".into())),
        ("GET http://a/", &["x a: b"], None, QuestionError::Header("x a: b".into())),
        ("GET http://a/", &["x-a: \u{1}"], None, QuestionError::Header("x-a: \u{1}".into())),
        ("GET http://a/", &[], Some("10.0.0.0/8"), QuestionError::Client("10.0.0.0/8".into())),
    ] {
        assert_eq!(asked(request, headers, client).unwrap_err(), expected);
    }
}

/// A site of one route that asks for these, and for nothing else.
fn one_route(value: &str, host: &str, service: &str) -> Option<Config> {
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let text = format!(
        "version: 1\ngateway:\n  listen: [\"127.0.0.1:1\"]\n  registry: {{endpoints: [\"http://127.0.0.1:2\"]}}\n  routes:\n    \
         - {{match: {{host: {}, headers: {{x-a: {}}}}}, service: {}}}\n",
        quoted(host),
        quoted(value),
        quoted(service),
    );
    Config::parse(&text, "conf.yaml", &Environment::of_this_process()).ok()
}

#[test]
fn what_is_long_is_cut_where_it_would_push_the_rest_out_of_sight_and_nowhere_else() {
    let long = "x".repeat(1_024);
    let site = one_route(&long, "a", "goods").unwrap();
    let table = table(&site);
    let row = table.lines().nth(1).unwrap();
    assert!(row.contains("header:x-a=x") && row.contains("x...  to goods"), "{row}");
    assert!(row.len() < 600, "{}", row.len());
    let told = explain(&site, &asked("GET http://a/", &[], None).unwrap()).to_string();
    assert!(told.contains(&format!("header x-a is not {long:?}")), "whole: it is why");
}

proptest! {
    #[test]
    fn no_configuration_makes_it_panic(
        value in "(.|x{300}|\u{1}){0,3}",
        host in "(\\*\\.)?[a-z.ü]{1,5}",
        service in "[a-z-]{1,70}",
    ) {
        if let Some(site) = one_route(&value, &host, &service) {
            prop_assert_eq!(table(&site).lines().count(), 2);
            let _ = explain(&site, &asked("GET http://a/", &[], None).unwrap()).to_string();
        }
    }

    #[test]
    fn no_text_makes_it_panic(request in "(GET |http://)?.*", header in ".*", client in "[0-9a-f.:]*") {
        if let Ok(question) = Question::parse(&request, &[header], Some(&client)) {
            let _ = explain(&site(), &question).to_string();
        }
    }

    /// Those that are told to have been passed over are all that come before the one that the matcher finds.
    #[test]
    fn the_explanation_and_the_matcher_agree(
        host in "(old|shop|(a\\.)?shop|b)(\\.example\\.com)?",
        path in "/(api|admin|up|healthz|shop-a|b)?(/[a-c])?",
        canary in proptest::option::of("[12]"),
        client in proptest::option::of("1[01]\\.0\\.0\\.1"),
    ) {
        let config = site();
        let headers: Vec<_> = canary.iter().map(|value| format!("x-canary: {value}")).collect();
        let question = Question::parse(&format!("GET http://{host}{path}"), &headers, client.as_deref()).unwrap();
        let head = &question.head;
        let asked = Asked::of(head, head.path(), question.scheme, question.client, None);
        let order = config::order(config.gateway.routes.iter().map(|route| &route.takes));
        let next = order.get(passed(&config.gateway, &asked).count()).map(|rank| rank.number);
        prop_assert_eq!(Matcher::new(&config).of(&question, head.path()), next);
    }
}
