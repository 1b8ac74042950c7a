//! The page `/routes`: what each route takes and does, what came of it, and whether somebody is there to answer.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::config::{FixedAnswer, Redirect};
use crate::directory::{Directory, Endpoints, State};
use crate::site::{Action, Route, Share, Site, Target};

/// Of the services for which a route has no place, so many are named.
const NAMED: usize = 100;

const NOT_READ: &str = "the registry has not been read yet, so no endpoint is known";

/// The page as JSON: the routes that lead to nothing, then the others, each in the order in which routes are tried.
///
/// # Errors
/// None that is known: all of it is text and numbers.
pub(super) fn page(site: &Site, directory: &Directory) -> serde_json::Result<Vec<u8>> {
    let tried = site.routes().zip(1..);
    let mut routes: Vec<_> = tried.map(|(route, order)| RouteFields::of(route, order, directory)).collect();
    let leads_to_nothing = |route: &RouteFields<'_>| route.up == Some(false);
    let without_endpoint = routes.iter().filter(|route| leads_to_nothing(route)).count();
    routes.sort_by_key(|route| !leads_to_nothing(route));
    serde_json::to_vec(&Page { count: routes.len(), without_endpoint, routes })
}

#[derive(Serialize)]
struct Page<'s> {
    /// How many there are.
    count: usize,
    /// How many of them lead to nothing.
    without_endpoint: usize,
    routes: Vec<RouteFields<'s>>,
}

/// A route. What does not apply is not shown.
#[derive(Serialize)]
struct RouteFields<'s> {
    name: &'s str,
    /// Its place among those that are tried.
    order: usize,
    #[serde(rename = "match")]
    takes: &'s RawValue,
    #[serde(flatten)]
    does: Does<'s>,
    /// Whether a service that it leads to has an endpoint that is up; none: it leads to no service.
    #[serde(skip_serializing_if = "Option::is_none")]
    up: Option<bool>,
    /// Why it leads to no service, where its paths name them.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    /// How many services there are that its paths may name, and for which it has no place.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out_count: Option<usize>,
    /// The first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
    requests: u64,
    errors: u64,
}

/// What happens to a request.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Does<'s> {
    Services(Vec<ServiceFields>),
    Redirect(&'s Redirect),
    Answer(&'s FixedAnswer),
}

/// A service to which a route leads.
#[derive(Serialize)]
struct ServiceFields {
    service: String,
    /// Its share, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
    up: bool,
    /// Why it is not up.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl<'s> RouteFields<'s> {
    fn of(route: &'s Route, order: usize, directory: &Directory) -> Self {
        let does = match &route.action {
            Action::Forward(target) => Does::Services(vec![ServiceFields::of(target, None, directory)]),
            Action::Split(split) => {
                let of = |share: &Share| ServiceFields::of(&share.target, Some(share.weight), directory);
                Does::Services(split.shares().iter().map(of).collect())
            }
            Action::ForwardByPath(by_path) => {
                let targets = by_path.targets();
                let of = |target: &Arc<Target>| ServiceFields::of(target, None, directory);
                Does::Services(targets.iter().map(of).collect())
            }
            Action::Redirect { to, .. } => Does::Redirect(to),
            Action::Answer(answer) => Does::Answer(answer),
        };
        let left_out = route.action.left_out();
        Self {
            name: &route.name,
            order,
            takes: &route.takes,
            does,
            up: route.action.is_up(),
            why: why_to_none(&route.action, directory),
            left_out_count: Some(left_out.len()).filter(|count| *count > 0),
            left_out: left_out.iter().take(NAMED).map(ToString::to_string).collect(),
            requests: route.metrics.requests(),
            errors: route.metrics.errors(),
        }
    }
}

impl ServiceFields {
    fn of(target: &Target, weight: Option<u16>, directory: &Directory) -> Self {
        let endpoints = target.service.endpoints();
        let up = endpoints.any_up();
        let service = target.service.name().to_string();
        Self { service, weight, up, why: (!up).then(|| why(target, &endpoints, directory)) }
    }
}

/// Why a route whose paths name services leads to none.
fn why_to_none(action: &Action, directory: &Directory) -> Option<&'static str> {
    match action {
        Action::ForwardByPath(by_path) if by_path.targets().is_empty() => Some(match directory.is_filled() {
            true => "nobody is registered under a name that it allows",
            false => NOT_READ,
        }),
        _ => None,
    }
}

/// Why none of a service's endpoints is up.
fn why(target: &Target, endpoints: &Endpoints, directory: &Directory) -> String {
    if endpoints.entries().is_empty() {
        let why = match directory.is_filled() {
            _ if target.is_given => "none of its addresses can be used: the log says why",
            true => "no endpoint is registered",
            false => NOT_READ,
        };
        return why.to_owned();
    }
    let count = |state| endpoints.entries().iter().filter(|entry| entry.state() == state).count();
    let counts = State::ALL.map(|state| (state, count(state)));
    let there = counts.into_iter().filter(|(_, count)| *count > 0);
    let states: Vec<_> = there.map(|(state, count)| format!("{count} {}", state.as_str())).collect();
    format!("no endpoint is up: {}", states.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Writer;
    use crate::site::drafts::{bench, config, draft};
    use registry::contract::{Instance, Record};
    use registry::watch::Update;
    use serde_json::{Value, json};
    use std::sync::Arc;
    use std::time::Instant;

    struct Fixture {
        site: Site,
        directory: Arc<Directory>,
        writer: Writer,
    }

    impl Fixture {
        fn new(routes: &str) -> Self {
            Self::with(routes, "{}")
        }

        fn with(routes: &str, services: &str) -> Self {
            let config = config(routes, services);
            let (materials, writer) = bench(&config);
            let site = draft(&config, &Site::default(), &materials).site;
            Self { site, directory: materials.directory.clone(), writer }
        }

        /// An instance each.
        fn register(&mut self, services: &[(&str, u16)]) {
            let instance = |(place, (service, weight)): (usize, &(&str, u16))| Instance {
                service: (*service).into(),
                id: place.to_string().into(),
                record: Record { weight: *weight, ..Record::new(([10, 0, 0, 1], 80).into()) },
                lease: 7,
                revision: 3,
            };
            let instances = services.iter().enumerate().map(instance).collect();
            self.writer.hear(Update::Reset { instances, refused: Vec::new(), revision: 3 });
            self.writer.publish(Instant::now);
        }

        fn page(&self) -> Value {
            serde_json::from_slice(&page(&self.site, &self.directory).unwrap()).unwrap()
        }

        fn answered(&self, route: &str, statuses: &[u16]) {
            let mut routes = self.site.routes();
            let metrics = &routes.find(|known| *known.name == *route).unwrap().metrics;
            statuses.iter().for_each(|status| metrics.answered(*status));
        }
    }

    #[test]
    fn the_page_is_as_the_guide_shows_it() {
        let guide = include_str!("../../../docs/observability.md");
        let (_, sample) = guide.split_once("### Routes").unwrap();
        let sample = sample.split("```").nth(1).unwrap().strip_prefix("json").unwrap();
        let mut fixture = Fixture::new(
            "[{name: basket, match: {host: shop.example.com, path: /cart}, service: carts}, \
             {name: shop, match: {host: shop.example.com, path: /goods, methods: [GET]}, \
              services: [{service: goods, weight: 90}, {service: goods-next, weight: 10}]}, \
             {match: {host: old.example.com}, redirect: {scheme: https, host: shop.example.com, status: 308}}, \
             {path: /healthz, answer: {status: 200, body: ok}}]",
        );
        fixture.register(&[("goods", 1), ("goods-next", 0)]);
        fixture.answered("shop", &[200, 404]);
        fixture.answered("basket", &[503]);
        assert_eq!(fixture.page(), serde_json::from_str::<Value>(sample).unwrap());
    }

    #[test]
    fn a_route_shows_whose_certificate_it_wants() {
        let fixture = Fixture::new("[{match: {client_cert: {san: a.b}}, answer: {status: 200}}]");
        assert_eq!(fixture.page()["routes"][0]["match"], json!({"client_cert": {"san": ["a.b"]}}));
    }

    #[test]
    fn a_route_to_nothing_says_why() {
        let mut fixture = Fixture::new("[{path: /goods, service: goods}]");
        let why = |fixture: &Fixture| fixture.page()["routes"][0]["services"][0]["why"].clone();
        assert_eq!(why(&fixture), "the registry has not been read yet, so no endpoint is known");
        fixture.register(&[("goods", 0), ("goods", 0)]);
        assert_eq!(why(&fixture), "no endpoint is up: 2 draining");
        let mut fixture = Fixture::new("[{path: /goods, service: goods}]");
        fixture.register(&[]);
        assert_eq!(why(&fixture), "no endpoint is registered");
        let given =
            Fixture::with("[{path: /old, service: old}]", "{old: {addresses: [\"nobody.invalid:80\"]}}");
        assert_eq!(why(&given), "none of its addresses can be used: the log says why");
    }

    #[test]
    fn a_route_whose_paths_name_services_is_not_missed_by_anybody_while_nobody_has_registered() {
        let mut fixture = Fixture::new("[{path: \"/{service}\", services_allowed: [\"shop-*\"]}]");
        let of = |fixture: &Fixture| fixture.page()["routes"][0]["why"].clone();
        assert_eq!(of(&fixture), NOT_READ);
        fixture.register(&[]);
        assert_eq!(of(&fixture), "nobody is registered under a name that it allows");
        let page = fixture.page();
        assert_eq!((&page["without_endpoint"], page["routes"][0].get("up")), (&json!(0), None));
        assert_eq!(fixture.site.without_endpoint(), 0);
    }

    #[test]
    fn ten_thousand_routes_are_shown_those_to_nothing_first() {
        let routes: Vec<_> =
            (0..10_000).map(|n| format!("{{path: /team/{n}, service: s-{}}}", n % 50)).collect();
        let mut fixture = Fixture::new(&format!("[{}]", routes.join(", ")));
        fixture.register(&[("s-49", 1)]);
        let page = fixture.page();
        assert_eq!((&page["count"], &page["without_endpoint"]), (&json!(10_000), &json!(9_800)));
        let orders = page["routes"].as_array().unwrap().iter().map(|route| route["order"].as_u64().unwrap());
        let orders: Vec<_> = orders.collect();
        let (nothing, others) = orders.split_at(9_800);
        assert!(nothing.is_sorted() && others.is_sorted());
    }
}
