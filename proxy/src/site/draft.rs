//! The one way to a site: from a checked configuration and the site that serves, of which it keeps what it does not
//! change.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use openssl::error::ErrorStack;

use super::adoption::{Allowed, Places};
use super::by_path::{Adopted, ByPath};
use super::route::{Action, Route};
use super::routes::Routes;
use super::split::{Share, Split};
use super::sticky::{KnownServices, Sticky};
use super::target::Target;
use super::{Common, Ends, Lasting, Site};
use crate::config;
use crate::directory::{Directory, Policy, Service, Services};
use crate::health::checks::{CheckError, CheckedService};
use crate::health::findings::Findings;
use crate::health::probers::Probers;
use crate::health::service_health::{Rules, ServiceHealth};
use crate::health::stall_watch::StallWatch;
use crate::metrics::Metrics;
use crate::tls::{InstanceTls, TlsError};

/// What all sites of a process are made with.
#[derive(Clone)]
pub(crate) struct Materials {
    pub(crate) directory: Arc<Directory>,
    pub(crate) findings: Findings,
    pub(crate) stall_watch: Arc<StallWatch>,
    pub(crate) probers: Probers,
    pub(crate) metrics: Arc<Metrics>,
    /// For cookies, where a route has no key of its own.
    pub(crate) key: config::StickyKey,
}

/// Why a configuration makes no site.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The check of a service cannot be made into a request.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The directory was made, or changed, by another configuration.
    #[error("the directory does not know the service {0} of a route: this is a fault of the gateway")]
    NotRouted(String),
    /// What a listener's `tls` names cannot be used.
    #[error("cannot speak TLS as gateway.listen says")]
    Listener(#[from] TlsError),
    /// What a section `tls` of services names cannot be used.
    #[error("cannot speak TLS as gateway.{0}.tls says")]
    Tls(String, #[source] TlsError),
    /// OpenSSL declines.
    #[error("cannot make the key that signs the cookies of sticky routes")]
    Key(#[from] ErrorStack),
}

/// A site that does not serve yet, and what comes into force with it.
pub(crate) struct Draft {
    pub(crate) site: Site,
    /// What each of its services' health goes by.
    pub(super) rules: Vec<(Arc<ServiceHealth>, Rules)>,
    /// The services whose endpoints are asked whether they are well.
    pub(crate) checked: Arc<Vec<CheckedService>>,
}

/// The services that a configuration names, each once, with what it says of their endpoints: those that its routes lead
/// to, and those that paths may name and of which it gives the addresses. (Others that paths may name it does not know.)
pub(crate) fn policies(config: &config::Gateway) -> BTreeMap<Arc<str>, Policy> {
    let allowed: Vec<_> = config.routes.iter().filter_map(config::Route::allowed).collect();
    let given = config.services.given().filter(|name| allowed.iter().any(|allowed| allowed.allow(name)));
    let named = config.routes.iter().flat_map(config::Route::services).chain(given);
    named.map(|name| (Arc::from(name), Policy::from(config.services.get(name)))).collect()
}

/// What routes by path go on leading to under another configuration, by the routes' names.
#[derive(Debug, Default)]
pub(crate) struct Carried(HashMap<String, Places>);

impl Carried {
    /// A service that the former site's routes named may be one that a path of the next one's names.
    pub(super) fn over(config: &config::Gateway, former: &Site) -> Self {
        let mut before: Vec<_> = former.by_path.iter().map(|route| route.adopted().places.clone()).collect();
        let is_there = |lasting: &Lasting| !lasting.service.endpoints().entries().is_empty();
        let named = former.services.iter().filter(|(_, lasting)| is_there(lasting));
        before.push(Places::of(named.map(|(name, _)| name.clone())));
        let carry = |route: &config::Route| {
            let allowed = Allowed::new(route.allowed()?, &config.services);
            let places = Places::carried(&before, &allowed);
            Some((route.name.clone(), places))
        };
        Self(config.routes.iter().filter_map(carry).collect())
    }

    /// The services, each once or more.
    pub(super) fn services(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.values().flat_map(Places::services)
    }

    fn adopted(
        &self,
        route: &config::Route,
        target: impl Fn(&str) -> Result<Arc<Target>, DraftError>,
    ) -> Result<Adopted, DraftError> {
        let places = self.0.get(&route.name).cloned().unwrap_or_default();
        let targets = places.services().map(|name| Ok((name.clone(), target(name)?)));
        let targets = targets.collect::<Result<_, DraftError>>()?;
        Ok(Adopted { places, targets, has_looked: false })
    }
}

impl Draft {
    /// `services`: those of the configuration's [`policies`] and those that are carried over, which the directory has
    /// routed. `ends`: what was made of files for it. `serving`: the site that serves; the first one follows upon an empty one.
    ///
    /// # Errors
    /// When the configuration makes no site. Nothing has changed.
    pub(crate) fn new(
        config: &config::Gateway,
        Ends { listeners, tls }: Ends,
        (services, carried): (&Services, &Carried),
        serving: &Site,
        materials: &Materials,
    ) -> Result<Self, DraftError> {
        let lasting = |(name, service): (&Arc<str>, &Arc<Service>)| {
            let rules = Rules::of(config.services.get(name));
            (name.clone(), materials.lasting(service, rules, serving.lasting(name)))
        };
        let mut services: BTreeMap<_, _> = services.iter().map(lasting).collect();
        let of = |name: &Arc<str>| config.services.get(name);
        let check =
            |(name, lasting): (&Arc<str>, &Lasting)| materials.checked(lasting, of(name), tls.of(name));
        let checked = services.iter().filter_map(check).collect::<Result<_, _>>()?;
        let rules = |(name, lasting): (&Arc<str>, &Lasting)| (lasting.health.clone(), Rules::of(of(name)));
        let rules = services.iter().map(rules).collect();
        let target = |name: &str| {
            let lasting = services.get(name).ok_or_else(|| DraftError::NotRouted(name.to_owned()))?;
            Ok::<_, DraftError>(Arc::new(Target::new(lasting, config.services.get(name), tls.of(name))))
        };
        let mut known = KnownServices::of(serving.routes().filter_map(|route| route.sticky()));
        let mut action = |route: &config::Route| match &route.action {
            config::Action::Forward(shares) => {
                materials.forward(shares, route.sticky.as_ref(), &mut known, target)
            }
            config::Action::ForwardByPath(allowed) => {
                let adopted = carried.adopted(route, target)?;
                let allowed = Allowed::new(allowed, &config.services);
                Ok(Action::ForwardByPath(Arc::new(ByPath::new(route, allowed, adopted))))
            }
            config::Action::Redirect(to) => {
                Ok(Action::Redirect { to: to.clone(), hosts: route.takes.hosts.as_slice().into() })
            }
            config::Action::Answer(answer) => Ok(Action::Answer(answer.clone())),
        };
        let routes = config.routes.iter().map(|route| {
            let made = Route::new(route, action(route)?, &materials.metrics);
            Ok((route, Arc::new(made)))
        });
        let routes = routes.collect::<Result<Vec<_>, DraftError>>()?;
        let by_path = routes.iter().filter_map(|(_, route)| route.by_path().cloned()).collect();
        let named = policies(config);
        services.retain(|name, _| named.contains_key(name));
        let site = Site {
            routes: Routes::new(routes),
            by_path,
            services,
            listeners,
            tls,
            common: Arc::new(Common::of(config)),
        };
        Ok(Self { site, rules, checked: Arc::new(checked) })
    }
}

impl Common {
    fn of(config: &config::Gateway) -> Self {
        Self {
            timeouts: config.timeouts,
            trace_header: Bytes::copy_from_slice(config.trace_header.as_str().as_bytes()),
            connections: config.connections,
            max_requests: config.max_requests.get(),
            errors: config.errors.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            forwarded: config.forwarded,
            via: config.via,
            proxy_status: config.proxy_status,
            http1: config.http1.carrier,
            http2: config.http2,
            client_abort: config.http1.client_abort,
            paths: config.http1.paths,
        }
    }
}

impl Materials {
    /// `known`: the services of sticky routes. `target`: the service of a name.
    fn forward(
        &self,
        shares: &[config::Share],
        sticky: Option<&config::Sticky>,
        known: &mut KnownServices,
        target: impl Fn(&str) -> Result<Arc<Target>, DraftError>,
    ) -> Result<Action, DraftError> {
        if let ([share], None) = (shares, sticky) {
            return target(&share.service).map(Action::Forward);
        }
        let share = |share: &config::Share| {
            Ok::<_, DraftError>(Share { target: target(&share.service)?, weight: share.weight })
        };
        let shares = shares.iter().map(share).collect::<Result<Vec<_>, _>>()?;
        let names = shares.iter().map(|share| share.target.service.name().clone());
        let sticky = sticky.map(|sticky| Sticky::new(sticky, &self.key, names, known)).transpose()?;
        Ok(Action::Split(Split::new(shares, sticky)))
    }

    /// How a service's endpoints are asked whether they are well; none: they are not.
    pub(super) fn checked(
        &self,
        lasting: &Lasting,
        rules: &config::Service,
        tls: Option<&Arc<InstanceTls>>,
    ) -> Option<Result<CheckedService, CheckError>> {
        let check = rules.check.as_ref()?;
        Some(CheckedService::new(lasting.service.clone(), (check, tls), &self.directory, &self.probers))
    }

    /// What a service has lasts for as long as it is the same object of the directory.
    pub(super) fn lasting(&self, service: &Arc<Service>, rules: Rules, before: Option<Lasting>) -> Lasting {
        if let Some(before) = before.filter(|before| Arc::ptr_eq(&before.service, service)) {
            return before;
        }
        let (findings, watch) = (self.findings.clone(), self.stall_watch.clone());
        Lasting {
            service: service.clone(),
            health: Arc::new(ServiceHealth::new(service.clone(), rules, findings, watch, Instant::now())),
            metrics: self.metrics.service(service.name()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::{Config, Environment, Http2Carrier, ListenerTls};
    use crate::directory::{self, Writer};
    use crate::head::tests::head;
    use crate::health::findings;
    use crate::site::{Asked, Current};
    use crate::tls::fixture::Realm;
    use http::Method;

    const TWO: &str = "[{path: /goods, service: goods}, {path: /carts, service: carts}]";

    pub(crate) fn config(routes: &str, services: &str) -> config::Gateway {
        let text = format!(
            "version: 1\ngateway:\n  listen: [\"127.0.0.1:1\"]\n  registry: {{endpoints: [\"http://127.0.0.1:2\"]}}\n  \
             routes: {routes}\n  services: {services}\n"
        );
        Config::parse(&text, "conf.yaml", &Environment::of_this_process()).unwrap().gateway
    }

    pub(crate) fn bench(config: &config::Gateway) -> (Materials, Writer) {
        let policies = policies(config);
        let (directory, writer) =
            directory::with_routed(policies.iter().map(|(name, policy)| (&**name, policy.clone())));
        let (findings, _) = findings::channel();
        let metrics = Arc::new(Metrics::new().unwrap());
        (
            Materials {
                directory,
                findings,
                stall_watch: Arc::default(),
                probers: Probers::new(),
                metrics,
                key: config::StickyKey(Arc::new([7; 32])),
            },
            writer,
        )
    }

    pub(crate) fn draft(config: &config::Gateway, serving: &Site, materials: &Materials) -> Draft {
        drafted(config, serving, materials).unwrap()
    }

    fn drafted(config: &config::Gateway, serving: &Site, materials: &Materials) -> Result<Draft, DraftError> {
        let ends = Ends::next((&config.listen, &config.services), serving)?;
        let services = materials.directory.services();
        Draft::new(config, ends, (&services, &Carried::default()), serving, materials)
    }

    /// Has the site that follows by this configuration serve from now on.
    pub(crate) fn replace(current: &Current, config: &config::Gateway, materials: &Materials) {
        current.set(draft(config, &current.get(), materials).site);
    }

    fn of<'s>(site: &'s Site, path: &'static str) -> Option<&'s Arc<Target>> {
        Some(site.route(&Asked::new(&head(Method::GET, path, &[]), path))?.target())
    }

    #[test]
    fn routes_to_one_service_share_what_lasts_of_it() {
        let config = config("[{path: /a, service: goods}, {path: /b, service: goods}]", "{}");
        let (materials, _writer) = bench(&config);
        let site = draft(&config, &Site::default(), &materials).site;
        let [a, b] = ["/a", "/b"].map(|path| of(&site, path).unwrap());
        assert!(Arc::ptr_eq(&a.health, &b.health) && Arc::ptr_eq(&a.metrics, &b.metrics));
        assert_eq!(site.services.len(), 1);
    }

    #[test]
    fn the_next_site_keeps_what_is_known_of_a_service_and_goes_by_its_new_rules() {
        let former = config(TWO, "{}");
        let (materials, _writer) = bench(&former);
        let serving = draft(&former, &Site::default(), &materials).site;
        let rules = "{goods: {ejection: off, limits: {endpoint: 7}, budget: {percent: 1}}}";
        let next = draft(&config(TWO, rules), &serving, &materials);
        let [before, after] = [&serving, &next.site].map(|site| of(site, "/goods").unwrap());
        assert!(Arc::ptr_eq(&before.health, &after.health) && Arc::ptr_eq(&before.metrics, &after.metrics));
        assert_eq!(after.limits.endpoint.unwrap().get(), 7);
        assert_eq!((before.budget.percent, after.budget.percent), (20, 1));
        let of = |name: &str| {
            next.rules.iter().find(|(health, _)| Arc::ptr_eq(health, &next.site.services[name].health))
        };
        assert_ne!(of("goods").unwrap().1, Rules::of(&config::Service::default()));
        assert_eq!(of("carts").unwrap().1, Rules::of(&config::Service::default()));
    }

    #[test]
    fn what_is_said_of_http2_and_grpc_reaches_whoever_asks_a_site() {
        let routes =
            "[{path: /goods, service: goods, grpc_web: true, retry: {idempotent: true, grpc: [ABORTED]}}]";
        let keys = "{goods: {protocol: h2c}}\n  http2: pingora\n  connections: {max_age: 5m, streams: 7}";
        let config = config(routes, keys);
        let (materials, _writer) = bench(&config);
        let site = draft(&config, &Site::default(), &materials).site;
        assert_eq!(of(&site, "/goods").unwrap().protocol, config::Protocol::H2c);
        let route = site.routes().next().unwrap();
        assert_eq!((route.grpc_web, &route.retry), (true, &config.routes[0].retry));
        let common = site.common();
        assert_eq!((common.http2, common.connections), (Http2Carrier::Pingora, config.connections));
    }

    #[test]
    fn the_next_site_goes_on_counting_for_routes_of_the_same_name() {
        let former = config(TWO, "{}");
        let (materials, _writer) = bench(&former);
        let serving = draft(&former, &Site::default(), &materials).site;
        let next = draft(&config("[{path: /goods, service: carts}]", "{}"), &serving, &materials).site;
        let of = |site: &Site| site.routes().last().unwrap().metrics.clone();
        assert_eq!(&*serving.routes().last().unwrap().name, "/goods");
        assert!(Arc::ptr_eq(&of(&serving), &of(&next)));
    }

    #[test]
    fn a_service_that_left_and_came_back_begins_anew() {
        let both = config(TWO, "{}");
        let (materials, _writer) = bench(&both);
        let serving = draft(&both, &Site::default(), &materials).site;
        let (other, _writer) = bench(&both);
        let next = draft(&both, &serving, &other).site;
        assert!(!Arc::ptr_eq(&serving.services["goods"].health, &next.services["goods"].health));
    }

    #[test]
    fn those_services_are_checked_that_say_so() {
        let config = config(TWO, "{carts: {check: {probe: tcp}}}");
        let (materials, _writer) = bench(&config);
        assert_eq!(draft(&config, &Site::default(), &materials).checked.len(), 1);
    }

    #[test]
    fn tls_to_a_service_goes_on_as_long_as_the_configuration_says_the_same_of_it() {
        let (realm, other) = (Realm::new("one"), Realm::new("two"));
        let tls = |realm: &Realm, verify: bool| {
            format!("{{goods: {{tls: {{ca: {:?}, verify: {verify}}}}}}}", realm.ca())
        };
        let config = |services: &str| config(TWO, services);
        let (materials, _writer) = bench(&config("{}"));
        let mut site = draft(&config(&tls(&realm, true)), &Site::default(), &materials).site;
        let tls_of = |site: &Site, path| of(site, path).unwrap().tls.clone();
        assert!(tls_of(&site, "/carts").is_none());
        for (services, goes_on) in [
            (tls(&realm, true), true),
            (tls(&realm, false), false),
            (tls(&other, false), false),
            (tls(&other, false), true),
        ] {
            let before = tls_of(&site, "/goods").unwrap();
            site = draft(&config(&services), &site, &materials).site;
            let after = tls_of(&site, "/goods").unwrap();
            assert_eq!(Arc::ptr_eq(&before, &after), goes_on, "{services}");
            assert_eq!(before.generation() == after.generation(), goes_on, "{services}");
        }
        site = draft(&config("{}"), &site, &materials).site;
        assert!(tls_of(&site, "/goods").is_none());
    }

    #[test]
    fn what_is_said_of_all_services_is_one_object_for_all_that_are_not_named() {
        let realm = Realm::new("one");
        let config = config(TWO, &format!("{{}}\n  defaults: {{tls: {{ca: {:?}}}}}", realm.ca()));
        let (materials, _writer) = bench(&config);
        let site = draft(&config, &Site::default(), &materials).site;
        let [goods, carts] = ["/goods", "/carts"].map(|path| of(&site, path).unwrap().tls.clone().unwrap());
        assert!(Arc::ptr_eq(&goods, &carts));
        assert_eq!(site.tls.all().count(), 1);
    }

    #[test]
    fn what_a_service_goes_by_from_then_on_that_was_not_named_before_is_looked_at_once() {
        let realm = Realm::new("one");
        let tls = format!("{{ca: {:?}}}", realm.ca());
        let former = config(TWO, &format!("{{}}\n  defaults: {{tls: {tls}}}"));
        let (materials, _writer) = bench(&former);
        let serving = draft(&former, &Site::default(), &materials).site;
        let named = config(TWO, &format!("{{goods: {{tls: {tls}}}}}\n  defaults: {{tls: {tls}}}"));
        let site = draft(&named, &serving, &materials).site;
        let [goods, carts] = ["/goods", "/carts"].map(|path| of(&site, path).unwrap().tls.clone().unwrap());
        assert!(Arc::ptr_eq(&goods, &carts));
        assert_eq!((site.tls.all().count(), site.watched().len()), (1, 1));
    }

    /// With this listener alone.
    fn listening(realm: &Realm, http2: bool, routes: &str) -> config::Gateway {
        let certificates = vec![realm.sign("shop.net")];
        listening_with(ListenerTls { certificates, client: None }, http2, routes)
    }

    fn listening_with(tls: ListenerTls, http2: bool, routes: &str) -> config::Gateway {
        let mut config = config(routes, "{}");
        config.listen[0].tls = Some(tls);
        config.listen[0].http2 = http2;
        config
    }

    #[test]
    fn handshakes_with_clients_go_on_as_long_as_the_configuration_says_the_same_of_them() {
        let realm = Realm::new("one");
        let former = listening(&realm, false, TWO);
        let (materials, _writer) = bench(&former);
        let serving = draft(&former, &Site::default(), &materials).site;
        let tls_of = |site: &Site| site.listeners[0].tls.clone().unwrap();
        let mut next = former.clone();
        next.routes.truncate(1);
        next.listen[0].proxy_protocol = vec!["10.0.0.0/8".parse().unwrap()];
        let site = draft(&next, &serving, &materials).site;
        assert!(Arc::ptr_eq(&tls_of(&serving), &tls_of(&site)));
        assert_eq!(site.listeners[0].rules, next.listen[0]);
        for other in [listening(&realm, true, TWO), {
            let certificates = vec![realm.sign("shop.net"), realm.sign("pay.net")];
            listening_with(ListenerTls { certificates, client: None }, false, TWO)
        }] {
            let site = draft(&other, &serving, &materials).site;
            assert!(!Arc::ptr_eq(&tls_of(&serving), &tls_of(&site)));
        }
    }

    #[test]
    fn a_certificate_that_has_expired_is_used_by_the_first_site_alone() {
        let realm = Realm::new("one");
        let certificates = vec![realm.sign_expired("shop.net")];
        let expired = listening_with(ListenerTls { certificates, client: None }, false, TWO);
        let (materials, _writer) = bench(&expired);
        assert!(Ends::first(&expired).is_ok());
        let in_clear = draft(&config(TWO, "{}"), &Site::default(), &materials).site;
        assert!(matches!(drafted(&expired, &in_clear, &materials), Err(DraftError::Listener(_))));
        let shown = realm.sign_expired("gateway");
        let services = format!(
            "{{goods: {{tls: {{ca: {:?}, cert: {:?}, key: {:?}}}}}}}",
            realm.ca(),
            shown.cert,
            shown.key
        );
        let shown = config(TWO, &services);
        assert!(Ends::first(&shown).is_ok());
        assert!(matches!(drafted(&shown, &in_clear, &materials), Err(DraftError::Tls(..))));
    }

    #[test]
    fn a_file_for_tls_that_cannot_be_used_is_an_error_that_names_the_section_and_the_file() {
        let config = config(TWO, "{goods: {tls: {ca: /nowhere/ca.pem}}}");
        let (materials, _writer) = bench(&config);
        let Err(error) = drafted(&config, &Site::default(), &materials) else { panic!("it is used") };
        let causes = format!("{:#}", anyhow::Error::from(error));
        assert!(causes.starts_with("cannot speak TLS as gateway.services.goods.tls says: "), "{causes}");
        assert!(causes.contains("/nowhere/ca.pem"), "{causes}");
    }

    #[test]
    fn a_service_that_the_directory_does_not_know_is_an_error_and_not_a_route_less() {
        let (materials, _writer) = bench(&config("[{path: /goods, service: goods}]", "{}"));
        let error = drafted(&config(TWO, "{}"), &Site::default(), &materials);
        assert!(matches!(error, Err(DraftError::NotRouted(name)) if name == "carts"));
    }
}
