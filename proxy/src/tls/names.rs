//! Which certificate goes by the name that a client asks for. Pure.

use std::collections::HashMap;

/// The names of several certificates, which are told by their places.
#[derive(Debug, Default)]
pub(super) struct ByName {
    exact: HashMap<String, usize>,
    /// `*.example.net` as `example.net`.
    wildcards: HashMap<String, usize>,
}

impl ByName {
    /// The names are in small letters. One that several have goes to the first of them.
    pub(super) fn new<'a>(certificates: impl IntoIterator<Item = &'a [String]>) -> Self {
        let mut by_name = Self::default();
        for (place, names) in certificates.into_iter().enumerate() {
            for name in names {
                let (all, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut by_name.wildcards, parent),
                    None => (&mut by_name.exact, name.as_str()),
                };
                all.entry(name.to_owned()).or_insert(place);
            }
        }
        by_name
    }

    /// The place of the certificate that has this very name, else of the one whose wildcard stands for its first label, else
    /// of the first one.
    pub(super) fn place(&self, name: Option<&str>) -> usize {
        let Some(name) = name else { return 0 };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let by_wildcard = || self.wildcards.get(parent(&name)?);
        self.exact.get(&name).or_else(by_wildcard).copied().unwrap_or(0)
    }
}

/// Whether there is a host that both names of the one and names of the other stand for. Who has no names may be anybody.
pub(super) fn share(one: &[String], other: &[String]) -> bool {
    let stands_for = |name: &String, other: &String| {
        let by_wildcard = || name.strip_prefix("*.").is_some_and(|name| parent(other) == Some(name));
        name == other || by_wildcard()
    };
    let is_shared = |name| other.iter().any(|other| stands_for(name, other) || stands_for(other, name));
    one.is_empty() || other.is_empty() || one.iter().any(is_shared)
}

/// What comes after the first label.
fn parent(name: &str) -> Option<&str> {
    name.split_once('.').filter(|(first, _)| !first.is_empty()).map(|(_, parent)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_very_name_goes_before_a_wildcard_and_both_before_the_first() {
        let certificates =
            [names(&["first.net"]), names(&["*.shop.net", "shop.net"]), names(&["pay.shop.net", "shop.net"])];
        let by_name = ByName::new(certificates.iter().map(Vec::as_slice));
        let cases = [
            (Some("first.net"), 0),
            (Some("pay.shop.net"), 2),
            (Some("other.shop.net"), 1),
            // Of two that have it, the first.
            (Some("shop.net"), 1),
            // A wildcard stands for one label, and not for none.
            (Some("a.b.shop.net"), 0),
            (Some(".shop.net"), 0),
            (Some("PAY.Shop.Net"), 2),
            (Some("pay.shop.net."), 2),
            (Some("Other.shop.net."), 1),
            (Some("elsewhere.net"), 0),
            (Some(""), 0),
            (None, 0),
        ];
        for (name, place) in cases {
            assert_eq!(by_name.place(name), place, "{name:?}");
        }
    }

    #[test]
    fn certificates_share_a_name_when_they_stand_for_the_same_host() {
        let cases = [
            (&["a.net"][..], &["b.net", "a.net"][..], true),
            (&["*.a.net"], &["x.a.net"], true),
            (&["x.a.net"], &["*.a.net"], true),
            (&["*.a.net"], &["*.a.net"], true),
            (&["*.a.net"], &["a.net"], false),
            (&["*.a.net"], &["x.y.a.net"], false),
            (&["a.net"], &["b.net"], false),
            (&[], &["b.net"], true),
            (&["a.net"], &[], true),
        ];
        for (one, other, is_so) in cases {
            assert_eq!(share(&names(one), &names(other)), is_so, "{one:?} {other:?}");
        }
    }
}
