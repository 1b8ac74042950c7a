//! What a route takes and does, in the words of the configuration, for operators to read.

use http::HeaderName;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{CertificateMatch, Condition, FixedAnswer, HostPattern, Match, PathPattern, Redirect};

impl Serialize for Match {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        add_list(&mut map, "host", &self.hosts, |host| match host {
            HostPattern::Exact(name) => name.clone(),
            HostPattern::Below(name) => format!("*.{name}"),
        })?;
        if self.path != PathPattern::Any {
            map.serialize_entry("path", &self.path)?;
        }
        add_list(&mut map, "methods", &self.methods, ToString::to_string)?;
        add_conditions(&mut map, "headers", &self.headers, HeaderName::as_str)?;
        add_conditions(&mut map, "query", &self.query, String::as_str)?;
        add_conditions(&mut map, "cookies", &self.cookies, String::as_str)?;
        add_list(&mut map, "client", &self.clients, ToString::to_string)?;
        if let Some(scheme) = self.scheme {
            map.serialize_entry("scheme", scheme.as_str())?;
        }
        if let Some(wanted) = &self.client_cert {
            map.serialize_entry("client_cert", wanted)?;
        }
        map.end()
    }
}

impl Serialize for CertificateMatch {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        single(to, "san", self.san.iter().map(ToString::to_string).collect::<Vec<_>>())
    }
}

/// Nothing where there is nothing.
fn add_list<M: SerializeMap, T>(
    map: &mut M,
    key: &str,
    values: &[T],
    text: impl Fn(&T) -> String,
) -> Result<(), M::Error> {
    if values.is_empty() {
        return Ok(());
    }
    map.serialize_entry(key, &values.iter().map(text).collect::<Vec<_>>())
}

fn add_conditions<M: SerializeMap, N>(
    map: &mut M,
    key: &str,
    conditions: &[(N, Condition)],
    name: impl Fn(&N) -> &str,
) -> Result<(), M::Error> {
    if conditions.is_empty() {
        return Ok(());
    }
    let named = conditions.iter().map(|(of, condition)| (name(of), condition));
    map.serialize_entry(key, &InOrder(named.collect()))
}

/// A map whose order is that of the configuration.
struct InOrder<'c>(Vec<(&'c str, &'c Condition)>);

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().copied())
    }
}

/// `{key: value}`.
fn single<S: Serializer>(to: S, key: &str, value: impl Serialize) -> Result<S::Ok, S::Error> {
    to.collect_map([(key, value)])
}

impl Serialize for PathPattern {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => to.serialize_unit(),
            Self::Exact(path) => single(to, "exact", path),
            Self::Prefix(path) => to.serialize_str(path),
            Self::Regex(expression) => single(to, "regex", expression.as_str()),
            Self::Service(below) => to.collect_str(&format_args!("{below}/{{service}}")),
        }
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Present => single(to, "present", true),
            Self::Absent => single(to, "present", false),
            Self::Exact(value) => to.serialize_str(value),
            Self::Prefix(value) => single(to, "prefix", value),
            Self::Regex(expression) => single(to, "regex", expression.as_str()),
        }
    }
}

impl Serialize for Redirect {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        if let Some(scheme) = self.scheme {
            map.serialize_entry("scheme", scheme.as_str())?;
        }
        for (key, value) in [("host", &self.host), ("path", &self.path)] {
            if let Some(value) = value {
                map.serialize_entry(key, value)?;
            }
        }
        map.serialize_entry("status", &self.status)?;
        map.end()
    }
}

/// Without its headers and its body, which may be long.
impl Serialize for FixedAnswer {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        single(to, "status", self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expression, SanPattern, Scheme};
    use super::*;
    use crate::config::{Config, Environment};
    use http::Method;

    fn shown(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    /// What a route takes of which the configuration says this.
    fn read(takes: &str) -> Match {
        let routes = format!("[{{match: {takes}, services_allowed: [a], answer: {{status: 200}}}}]");
        let routes = match takes.contains("{service}") {
            true => routes.replace(", answer: {status: 200}", ""),
            false => routes.replace(", services_allowed: [a]", ""),
        };
        let text = format!(
            "version: 1\ngateway:\n  listen: [\"127.0.0.1:1\"]\n  registry: {{endpoints: [\"http://127.0.0.1:2\"]}}\n  \
             routes: {routes}\n"
        );
        let config = Config::parse(&text, "conf.yaml", &Environment::of_this_process()).unwrap();
        config.gateway.routes[0].takes.clone()
    }

    fn all() -> Match {
        let expression = |text: &str| Expression::parse(text).unwrap();
        Match {
            hosts: vec![
                HostPattern::Exact("shop.example.com".into()),
                HostPattern::Below("example.com".into()),
            ],
            path: PathPattern::Regex(expression("/api/v[0-9]+")),
            methods: vec![Method::GET, Method::POST],
            headers: vec![
                (HeaderName::from_static("x-tenant"), Condition::Regex(expression("[a-z]+"))),
                (HeaderName::from_static("x-debug"), Condition::Absent),
            ],
            query: vec![("beta".into(), Condition::Present), ("v".into(), Condition::Prefix("2.".into()))],
            cookies: vec![("group".into(), Condition::Exact("a \"b\"".into()))],
            clients: vec!["10.0.0.0/8".parse().unwrap()],
            scheme: Some(Scheme::Https),
            client_cert: Some(CertificateMatch {
                san: vec![
                    SanPattern::Dns("a.b".into()),
                    SanPattern::DnsBelow("b.c".into()),
                    SanPattern::UriPrefix("spiffe://a/".into()),
                ],
            }),
        }
    }

    #[test]
    fn what_a_route_takes_is_told_as_it_is_written() {
        let expected = concat!(
            r#"{"host":["shop.example.com","*.example.com"],"path":{"regex":"/api/v[0-9]+"},"#,
            r#""methods":["GET","POST"],"headers":{"x-tenant":{"regex":"[a-z]+"},"x-debug":{"present":false}},"#,
            r#""query":{"beta":{"present":true},"v":{"prefix":"2."}},"cookies":{"group":"a \"b\""},"#,
            r#""client":["10.0.0.0/8"],"scheme":"https","#,
            r#""client_cert":{"san":["a.b","*.b.c","spiffe://a/*"]}}"#,
        );
        assert_eq!(shown(&all()), expected);
        assert_eq!(read(expected), all(), "the configuration has the same words");
    }

    #[test]
    fn each_kind_of_path_is_told_as_it_is_written() {
        for (path, expected) in [
            (PathPattern::Any, "{}"),
            (PathPattern::Exact("/a".into()), r#"{"path":{"exact":"/a"}}"#),
            (PathPattern::Prefix("/".into()), r#"{"path":"/"}"#),
            (PathPattern::Service(String::new()), r#"{"path":"/{service}"}"#),
            (PathPattern::Service("/api".into()), r#"{"path":"/api/{service}"}"#),
        ] {
            let takes = Match { path, ..Match::default() };
            assert_eq!(shown(&takes), expected);
            // A route that takes everything has no `match`: an empty one is refused.
            if takes != Match::default() {
                assert_eq!(read(expected), takes);
            }
        }
    }

    #[test]
    fn a_redirect_and_an_answer_are_told_without_what_is_not_set() {
        let redirect = Redirect {
            scheme: Some(Scheme::Https),
            path: Some("/new".into()),
            status: 308,
            ..Redirect::unsaid()
        };
        assert_eq!(shown(&redirect), r#"{"scheme":"https","path":"/new","status":308}"#);
        assert_eq!(shown(&FixedAnswer { status: 200, ..FixedAnswer::default() }), r#"{"status":200}"#);
    }
}
