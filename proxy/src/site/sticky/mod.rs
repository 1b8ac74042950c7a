//! How a client comes back to the instance that answered it: a cookie that tells the instance, and its service.
//!
//! The cookie names neither. It holds a tag of each, `1.SERVICE.INSTANCE`: what a key makes of the names (HMAC-SHA256, the
//! first 64 bits). So all gateways that have the key agree, whatever they know of an instance beside its name, and who
//! has only the cookie learns nothing. The first number is that of this form.
//!
//! A client may send any tag. One that is nobody's is no cookie; and one that is somebody's leads to an instance at which
//! balance could have sent the client anyway. So nothing is to be won by guessing, nor by measuring how long it takes to
//! find out that a tag is nobody's: tags are looked up like any other key, not compared in constant time.

mod places;
mod secret;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::HeaderValue;
use openssl::error::ErrorStack;

use crate::config;
use crate::directory::{Endpoints, Entry};

use places::Places;
use secret::{Secret, Tag};

pub(crate) use secret::key_of_this_process;

/// What cookies of this form begin with.
const FORM: &str = "1";

/// How the clients of a route come back.
#[derive(Debug)]
pub(crate) struct Sticky {
    /// The cookie's name.
    pub(crate) cookie: Box<str>,
    secret: Secret,
    /// The route's services, in its order.
    services: Box<[Arc<Known>]>,
}

/// A service to which clients come back. Routes that have the same key share it, those of the next site as well.
#[derive(Debug)]
struct Known {
    name: Arc<str>,
    tag: Tag,
    /// Where its instances stand among its endpoints, by their tags. Made when it is asked for first, and again when it
    /// is asked for and the endpoints have changed.
    places: ArcSwapOption<Places>,
    /// Held by whoever makes them. The others wait for a few milliseconds at most, which each would need to do the same.
    making: Mutex<()>,
}

/// The services that are known, by their names and tags. (No two keys make the same tag of a name, but by a chance of one
/// in 2^64.)
#[derive(Debug, Default)]
pub(super) struct KnownServices(HashMap<(Arc<str>, Tag), Arc<Known>>);

impl KnownServices {
    /// Those of such routes.
    pub(super) fn of<'s>(routes: impl Iterator<Item = &'s Sticky>) -> Self {
        let services = routes.flat_map(|sticky| &sticky.services);
        Self(services.map(|known| ((known.name.clone(), known.tag), known.clone())).collect())
    }

    fn get(&mut self, name: Arc<str>, tag: Tag) -> Arc<Known> {
        let new = |(name, tag): &(Arc<str>, Tag)| {
            let (name, places, making) = (name.clone(), ArcSwapOption::empty(), Mutex::default());
            Arc::new(Known { name, tag: *tag, places, making })
        };
        self.0.entry((name, tag)).or_insert_with_key(new).clone()
    }
}

impl Known {
    /// Where the instance of this tag stands among these endpoints. `tag`: that of a name. The places are made once,
    /// however many ask at the same time.
    fn place(
        &self,
        instance: Tag,
        endpoints: &Arc<Endpoints>,
        tag: impl Fn(&str) -> Option<Tag>,
    ) -> Option<usize> {
        let made = || {
            let places = self.places.load();
            places.as_ref().filter(|places| places.are_of(endpoints)).map(|places| places.get(instance))
        };
        made().unwrap_or_else(|| {
            let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
            made().unwrap_or_else(|| {
                let places = Places::new(endpoints, self.places.load().as_deref(), tag);
                let place = places.get(instance);
                self.places.store(Some(Arc::new(places)));
                place
            })
        })
    }
}

/// What a client's cookie says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// The service, by its place among the route's.
    pub(crate) service: usize,
    instance: Tag,
}

impl Sticky {
    /// `key`: of this process, for a route that has none of its own. `services`: the route's. `known`: those of other
    /// routes.
    pub(super) fn new(
        sticky: &config::Sticky,
        key: &config::StickyKey,
        services: impl Iterator<Item = Arc<str>>,
        known: &mut KnownServices,
    ) -> Result<Self, ErrorStack> {
        let secret = Secret::new(sticky.key.as_ref().unwrap_or(key))?;
        let services = services.map(|name| {
            let tag = secret.service(&name)?;
            Ok(known.get(name, tag))
        });
        let services = services.collect::<Result<_, ErrorStack>>()?;
        Ok(Self { cookie: sticky.cookie.as_str().into(), secret, services })
    }

    /// Whether it shares what it knows of services with another route.
    #[cfg(test)]
    pub(crate) fn shares_with(&self, other: &Self) -> bool {
        std::iter::zip(&self.services, &other.services).all(|(ours, other)| Arc::ptr_eq(ours, other))
    }

    /// What a cookie says. None: it is not one of ours, or of a service that the route does not lead to.
    pub(crate) fn remembered(&self, cookie: &[u8]) -> Option<Remembered> {
        let mut parts = cookie.split(|byte| *byte == b'.');
        let (form, service, instance) = (parts.next()?, parts.next()?, parts.next()?);
        if form != FORM.as_bytes() || parts.next().is_some() {
            return None;
        }
        let (service, instance) = (Tag::parse(service)?, Tag::parse(instance)?);
        let service = self.services.iter().position(|known| known.tag == service)?;
        Some(Remembered { service, instance })
    }

    /// The instance that a cookie tells, among the endpoints of its service. None: it is gone.
    pub(crate) fn find<'e>(&self, client: Remembered, endpoints: &'e Arc<Endpoints>) -> Option<&'e Entry> {
        let known = self.services.get(client.service)?;
        let tag = |instance: &str| self.secret.instance(&known.name, instance).ok();
        endpoints.entries().get(known.place(client.instance, endpoints, tag)?)
    }

    /// The value of a `Set-Cookie` by which a client comes back to this instance. None: the route does not lead to its
    /// service, or OpenSSL has no memory left.
    pub(crate) fn set_cookie(&self, service: &str, instance: &str, is_secure: bool) -> Option<HeaderValue> {
        let known = self.services.iter().find(|known| *known.name == *service)?;
        let tag = self.secret.instance(service, instance).ok()?;
        let secure = if is_secure { "; Secure" } else { "" };
        let (name, service) = (&self.cookie, known.tag);
        let value = format!("{name}={FORM}.{service}.{tag}; Path=/; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::from_maybe_shared(Bytes::from(value)).ok()
    }
}

#[cfg(test)]
mod tests;
