//! A request's head, whoever has parsed it.

use http::{HeaderName, Method, Version, header};

/// What the gateway asks of a request's head.
pub(crate) trait Head {
    fn method(&self) -> &Method;

    /// The target as it stands in the request.
    fn target(&self) -> &[u8];

    /// The path of the target, without its query.
    fn path(&self) -> &str;

    /// Whether there is a request line. Without one, method, target and version mean nothing.
    fn has_request_line(&self) -> bool {
        true
    }

    /// The host that the target itself names, with its port: where it is a URL, and in HTTP/2.
    fn authority(&self) -> Option<&[u8]>;

    /// The host that is asked for, with its port. (Where both the header and the target say it, they say the same: what
    /// differs is declined before.)
    fn host(&self) -> Option<&[u8]> {
        self.value(&header::HOST).or_else(|| self.authority())
    }

    /// The query of the target, without its question mark.
    fn query(&self) -> Option<&[u8]> {
        let target = self.target();
        let at = memchr::memchr(b'?', target)?;
        target.get(at + 1..)
    }

    /// The names and values of all cookies, as RFC 6265 (4.2) has them: pairs that a semicolon and a space divide.
    fn all_cookies(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = self.values(&header::COOKIE);
        let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
        pairs.filter_map(|pair| {
            let (name, value) = pair.split_at_checked(memchr::memchr(b'=', pair)?)?;
            Some((name, value.strip_prefix(b"=")?))
        })
    }

    /// The values of the cookies of this name.
    fn cookies<'h>(&'h self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        self.all_cookies().filter(move |(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
    }

    fn version(&self) -> Version;

    /// All fields; names are in small letters.
    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])>;

    /// The values of the fields of this name, in their order.
    fn values<'h>(&'h self, name: &HeaderName) -> impl Iterator<Item = &'h [u8]>;

    /// The first of these.
    fn value<'h>(&'h self, name: &HeaderName) -> Option<&'h [u8]> {
        self.values(name).next()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A head for tests.
    #[derive(Debug, Clone)]
    pub(crate) struct FakeHead {
        pub(crate) method: Method,
        pub(crate) target: &'static str,
        pub(crate) version: Version,
        pub(crate) fields: Vec<(&'static str, Vec<u8>)>,
    }

    /// A request in HTTP/1.1 with these fields; names in small letters.
    pub(crate) fn head(method: Method, target: &'static str, fields: &[(&'static str, &[u8])]) -> FakeHead {
        let fields = fields.iter().map(|(name, value)| (*name, value.to_vec())).collect();
        FakeHead { method, target, version: Version::HTTP_11, fields }
    }

    impl FakeHead {
        /// The same over HTTP/2.
        pub(crate) fn over_http2(self) -> Self {
            Self { version: Version::HTTP_2, ..self }
        }
    }

    impl Head for FakeHead {
        fn method(&self) -> &Method {
            &self.method
        }

        fn target(&self) -> &[u8] {
            self.target.as_bytes()
        }

        fn path(&self) -> &str {
            self.target.split('?').next().unwrap_or_default()
        }

        fn authority(&self) -> Option<&[u8]> {
            let (_, rest) = self.target.split_once("://")?;
            Some(rest.split(['/', '?']).next()?.as_bytes())
        }

        fn version(&self) -> Version {
            self.version
        }

        fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
            self.fields.iter().map(|(name, value)| (*name, &value[..]))
        }

        fn values<'h>(&'h self, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
            self.fields.iter().filter(move |(n, _)| name == n).map(|(_, value)| &value[..])
        }
    }
}
