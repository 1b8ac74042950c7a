//! The example `conf/shop.yaml`: for each of its routes, that it takes what it is there for, and what comes of it.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::{
    backend::{Backend, Behaviour, Recorded, Reply},
    etcd::key,
    http::{Answer, Request},
    process::binary,
    stack::GatewayOptions,
};

use super::Fixture;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../conf/shop.yaml");
const SHOP: &str = include_str!("../../../conf/shop.yaml");
/// Addresses of services that do not register, as the file has them.
const GIVEN: [(&str, &str); 2] = [("payments", "127.0.0.1:8021"), ("legacy", "localhost:8022")];
const REGISTERED: [&str; 12] = [
    "website",
    "website-next",
    "goods",
    "goods-next",
    "search",
    "cart",
    "checkout",
    "api-v1",
    "orders",
    "orders-eu",
    "uploads",
    "dashboard",
];
const OFFICE: (&str, &str) = ("x-forwarded-for", "10.20.0.7");
const STRANGER: (&str, &str) = ("x-forwarded-for", "203.0.113.9");

/// What comes of a request.
enum Then {
    /// It goes to this service; with this target.
    To(&'static str, &'static str),
    /// To one of several services.
    ToOneOf(&'static [&'static str]),
    /// The client is sent there.
    Away(u16, &'static str),
    /// The gateway answers; this is in the body.
    Says(u16, &'static str),
}

use Then::{Away, Says, To, ToOneOf};

/// A request, and what comes of it.
struct Case {
    /// None: no route takes it.
    route: Option<&'static str>,
    method: &'static str,
    url: &'static str,
    headers: &'static [(&'static str, &'static str)],
    then: Then,
}

const fn get(route: &'static str, url: &'static str, then: Then) -> Case {
    with(route, url, &[], then)
}

const fn with(
    route: &'static str,
    url: &'static str,
    headers: &'static [(&'static str, &'static str)],
    then: Then,
) -> Case {
    Case { route: Some(route), method: "GET", url, headers, then }
}

const GOODS: [&str; 2] = ["goods", "goods-next"];
const BEARER: (&str, &str) = ("authorization", "Bearer x");

const CASES: [Case; 38] = [
    get("healthz", "http://10.0.0.5/healthz", Says(200, "ok\n")),
    get("healthz", "https://admin.example.com/healthz", Says(200, "ok\n")),
    get("former-host", "http://old.example.com/a?b=c", Away(308, "https://shop.example.com/a?b=c")),
    get("former-host", "https://www.old.example.com/", Away(308, "https://shop.example.com/")),
    get("bare-host", "http://EXAMPLE.com./x", Away(308, "https://shop.example.com/x")),
    get("website", "https://shop.example.com/", To("website", "/")),
    get("website", "https://shop.example.com/goods2", To("website", "/goods2")),
    get("goods", "https://shop.example.com/goods/7?x=1", ToOneOf(&GOODS)),
    with(
        "goods-for-testers",
        "https://shop.example.com/goods/7",
        &[("x-canary", "1")],
        To("goods-next", "/goods/7"),
    ),
    with("goods", "https://shop.example.com/goods/7", &[("x-canary", "0")], ToOneOf(&GOODS)),
    with(
        "goods-for-group",
        "https://shop.example.com/goods",
        &[("cookie", "a=b; group=beta")],
        To("goods-next", "/goods"),
    ),
    with(
        "goods-preview",
        "https://shop.example.com/goods?preview",
        &[OFFICE],
        To("goods-next", "/goods?preview"),
    ),
    with("goods", "https://shop.example.com/goods?preview", &[STRANGER], ToOneOf(&GOODS)),
    get("product-moved", "https://shop.example.com/products/4711?x", Away(301, "/goods/4711?x")),
    get("search", "https://shop.example.com/search?q=tea", To("search", "/search?q=tea")),
    get("search-for-nothing", "https://shop.example.com/search?q=", Away(302, "/goods?q=")),
    get("cart", "https://shop.example.com/cart", To("cart", "/cart")),
    get("checkout", "https://shop.example.com/checkout/pay", To("checkout", "/checkout/pay")),
    get("payments", "https://shop.example.com/payments/a%2Fb?c", To("payments", "/a%2Fb?c")),
    Case {
        method: "POST",
        ..with(
            "payment-notice",
            "https://shop.example.com/payments/notice",
            &[STRANGER],
            To("checkout", "/payments/notice"),
        )
    },
    Case {
        method: "POST",
        ..with("payments", "https://shop.example.com/payments/notice", &[OFFICE], To("payments", "/notice"))
    },
    get("account", "https://shop.example.com/account", To("legacy", "/cgi-bin/customer")),
    get(
        "account",
        "https://shop.example.com/account/orders?p=2",
        To("legacy", "/cgi-bin/customer/orders?p=2"),
    ),
    get("assets", "https://shop.example.com/assets/a.css", To("website", "/assets/a.css")),
    get("robots", "https://shop.example.com/robots.txt", Says(200, "User-agent: *\nDisallow: /cart\n")),
    get("to-https", "http://shop.example.com/cart?x", Away(308, "https://shop.example.com/cart?x")),
    get("branches", "http://feature-1.shop.example.com/cart", To("website-next", "/cart")),
    get("api-v1", "http://api.example.com/v1/goods/7", To("api-v1", "/goods/7")),
    get("api-goods", "http://api.example.com/v2/goods/7", To("goods", "/goods/7")),
    get("api-goods", "http://api.example.com/v3/goods", To("goods", "/goods")),
    with("api-orders", "http://api.example.com/v2/orders/7", &[BEARER], To("orders", "/v2/orders/7")),
    with(
        "api-orders-europe",
        "http://api.example.com/v2/orders",
        &[BEARER, ("x-tenant", "acme-eu")],
        To("orders-eu", "/v2/orders"),
    ),
    get(
        "api-orders-unauthorized",
        "http://api.example.com/v2/orders",
        Says(401, r#"{"error":"unauthorized"}"#),
    ),
    Case {
        method: "OPTIONS",
        ..with(
            "api-preflight",
            "http://api.example.com/v2/orders",
            &[("origin", "https://shop.example.com")],
            Says(204, ""),
        )
    },
    Case {
        method: "PUT",
        ..get("api-uploads", "http://api.example.com/v2/uploads/7", To("uploads", "/v2/uploads/7"))
    },
    get("api-v0", "http://api.example.com/v0/goods", Says(410, r#"{"error":"gone"}"#)),
    with("tools", "http://admin.example.com/dashboard/x", &[OFFICE], To("dashboard", "/dashboard/x")),
    with("tools-start", "http://admin.example.com/", &[OFFICE], Away(302, "/dashboard")),
];

/// What no route takes.
const NOBODYS: [Case; 6] = [
    Case {
        route: None,
        ..with("", "http://admin.example.com/dashboard/x", &[STRANGER], Says(404, r#""error":"not_found""#))
    },
    Case {
        route: None,
        ..with("", "http://admin.example.com/website", &[OFFICE], Says(404, r#""error":"not_found""#))
    },
    Case { route: None, ..get("", "http://api.example.com/v4/goods", Says(404, r#""path":"/v4/goods""#)) },
    Case {
        route: None,
        method: "DELETE",
        ..get("", "http://api.example.com/v2/uploads/7", Says(404, "trace"))
    },
    Case {
        route: None,
        ..with("", "http://api.example.com/v2/orders", &[("authorization", "Basic x")], Says(404, "trace"))
    },
    Case { route: None, ..get("", "http://elsewhere.example.com/x", Says(404, "trace")) },
];

impl Case {
    /// Host and target.
    fn parts(&self) -> Result<(&'static str, &'static str, &'static str)> {
        let (scheme, rest) = self.url.split_once("://").context("the URL has no scheme")?;
        let slash = rest.find('/').context("the URL has no path")?;
        Ok((scheme, &rest[..slash], &rest[slash..]))
    }

    /// As a load balancer sends it that is trusted.
    fn request(&self) -> Result<Request<Bytes>> {
        let (scheme, host, target) = self.parts()?;
        let request = Request::builder().method(self.method).uri(target);
        let request = request.header("host", host).header("x-forwarded-proto", scheme);
        let request =
            self.headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Ok(request.body(Bytes::new())?)
    }
}

/// As a repository tests its routes: nothing runs but the check.
fn matched(case: &Case) -> Result<Output> {
    let mut check = Command::new(binary("proxy")?);
    check.args(["-t", "-c", FILE, "--match", &format!("{} {}", case.method, case.url)]);
    for (name, value) in case.headers {
        match *name {
            "x-forwarded-for" => check.args(["--client", value]),
            _ => check.args(["-H", &format!("{name}: {value}")]),
        };
    }
    check.output().context("running the check")
}

/// The example's text, with these addresses in the place of its own.
fn text(given: &BTreeMap<&str, Backend>) -> Result<String> {
    let mut text = SHOP.to_owned();
    for (service, address) in GIVEN {
        let backend = given.get(service).context("it has no backend")?;
        let own = match address.split_once(':') {
            Some(("localhost", _)) => format!("localhost:{}", backend.address().port()),
            _ => backend.address().to_string(),
        };
        ensure!(text.contains(address), "the example does not say {address}");
        text = text.replace(address, &own);
    }
    Ok(text)
}

/// The site, with a backend for each of its services.
struct Shop {
    fixture: Fixture,
    backends: BTreeMap<&'static str, Backend>,
}

impl Shop {
    async fn start() -> Result<Self> {
        let mut backends = BTreeMap::new();
        for name in GIVEN.iter().map(|(name, _)| *name).chain(REGISTERED) {
            backends.insert(name, Backend::start(name, Reply::ok(name)).await?);
        }
        let fixture = Fixture::start(GatewayOptions::of_text(text(&backends)?)).await?;
        let shop = Self { fixture, backends };
        for name in REGISTERED {
            shop.fixture.register(name, &[&shop.backends[name]]).await?;
        }
        Ok(shop)
    }

    async fn send(&self, case: &Case) -> Result<Answer> {
        self.fixture.send(case.request()?).await.with_context(|| format!("{} {}", case.method, case.url))
    }

    fn last(&self, service: &str) -> Result<Recorded> {
        self.backends[service].last()
    }
}

#[test]
fn each_route_of_the_shop_matches_what_it_is_there_for() -> Result<()> {
    for case in CASES.iter().chain(&NOBODYS) {
        let Output { status, stdout, stderr } = matched(case)?;
        let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        let what = format!("{} {} {:?}\n{stderr}{stdout}", case.method, case.url, case.headers);
        let said = stdout.lines().find_map(|line| line.strip_prefix("route")).map(str::trim);
        match case.route {
            Some(route) => assert_eq!((status.code(), said), (Some(0), Some(route)), "{what}"),
            None => assert_eq!(status.code(), Some(2), "{what}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn each_route_of_the_shop_serves_what_it_is_there_for() -> Result<()> {
    let shop = Shop::start().await?;
    for case in CASES.iter().chain(&NOBODYS) {
        let what = format!("{} {} {:?}", case.method, case.url, case.headers);
        let answer = shop.send(case).await?;
        match case.then {
            To(service, target) => {
                assert_eq!((answer.status, answer.header("x-served-by")), (200, Some(service)), "{what}");
                assert_eq!(shop.last(service)?.target, target, "{what}");
            }
            ToOneOf(services) => {
                let service = answer.header("x-served-by").unwrap_or_default();
                assert!(answer.status == 200 && services.contains(&service), "{what}: {answer:?}");
            }
            Away(status, location) => {
                assert_eq!((answer.status, answer.header("location")), (status, Some(location)), "{what}");
            }
            Says(status, body) => {
                assert_eq!(answer.status, status, "{what}: {}", answer.text());
                assert!(answer.text().contains(body), "{what}: {}", answer.text());
            }
        }
    }
    let tested: Vec<_> = CASES.iter().filter_map(|case| case.route).collect();
    let names = SHOP
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("- name: "))
        .map(|rest| rest.split(' ').next().unwrap_or_default());
    let untested: Vec<_> = names.filter(|name| !tested.contains(name)).collect();
    assert!(untested.is_empty(), "no request shows {untested:?}");
    Ok(())
}

#[tokio::test]
async fn the_shops_headers_are_those_of_its_routes() -> Result<()> {
    let shop = Shop::start().await?;
    let secure = [("x-forwarded-proto", "https"), ("host", "shop.example.com")];
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        let request = Request::get(path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        shop.fixture.send(request.body(Bytes::new())?).await
    };
    let site = Reply::Answer(200, vec![("server", "x".into()), ("x-powered-by", "y".into())], "".into());
    shop.backends["website"].script([site]);
    let answer = ask("/", &secure).await?;
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000; includeSubDomains"));
    assert_eq!((answer.header("server"), answer.header("x-powered-by")), (None, None), "{answer:?}");

    let secrets = [("cookie", "a=b"), ("authorization", "Bearer x")];
    ask("/payments/7", &[&secure[..], &secrets].concat()).await?;
    let arrived = shop.last("payments")?;
    assert_eq!(arrived.header("host"), Some("api.payments.example"));
    assert_eq!(arrived.header("x-merchant"), Some("shop-4711"));
    assert_eq!((arrived.header("cookie"), arrived.header("authorization")), (None, None), "{arrived:?}");

    let answer = ask("/goods", &secure).await?;
    let service = answer.header("x-served-by").context("nobody has served it")?;
    assert_eq!(answer.header("x-instance"), Some(format!("{service}/0").as_str()));
    ask("/x", &[("host", "a.b.shop.example.com")]).await?;
    assert_eq!(shop.last("website-next")?.header("x-branch"), Some("a.b.shop.example.com"));
    ask("/v2/goods", &[("host", "api.example.com")]).await?;
    assert_eq!(shop.last("goods")?.header("x-route"), Some("api-goods"));
    Ok(())
}

/// A tenth of those who come for the first time, and all others where they were.
#[tokio::test]
async fn the_shops_canary_gets_its_share_and_its_clients_stay() -> Result<()> {
    const CLIENTS: usize = 600;
    let shop = Shop::start().await?;
    let mut next = 0;
    for client in 0..CLIENTS {
        let case = get("goods", "https://shop.example.com/goods", ToOneOf(&GOODS));
        let answer = shop.send(&case).await?;
        let first = answer.header("x-served-by").context("nobody has served it")?.to_owned();
        next += usize::from(first == "goods-next");
        if client % 20 > 0 {
            continue;
        }
        let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next());
        let cookie = cookie.context("no cookie is set")?.to_owned();
        for _ in 0..5 {
            let mut request = case.request()?;
            request.headers_mut().insert("cookie", cookie.parse()?);
            let again = shop.fixture.send(request).await?;
            assert_eq!(again.header("x-served-by"), Some(first.as_str()));
        }
    }
    // Ten standard deviations of 600 draws of a tenth are 73.
    assert!((1..133).contains(&next), "{next} of {CLIENTS}");
    Ok(())
}

#[tokio::test]
async fn a_route_of_the_shop_whose_service_is_gone_says_so_in_its_own_words() -> Result<()> {
    let shop = Shop::start().await?;
    shop.backends["orders"].behave(Behaviour::Refuse).await?;
    shop.fixture.etcd.delete(&key("orders", "0")).await?;
    shop.fixture.gateway.wait_services(|services| services.endpoints("orders").is_empty()).await?;
    let case = with("api-orders", "http://api.example.com/v2/orders", &[BEARER], Says(503, "try_again"));
    let answer = shop.send(&case).await?;
    let json = answer.json()?;
    assert_eq!(
        (answer.status, &json["error"], &json["service"]),
        (503, &"try_again".into(), &"orders".into())
    );
    assert_eq!(json["trace"].as_str(), answer.header("trace_id"));
    Ok(())
}
