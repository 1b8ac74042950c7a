//! A request's head, whoever has parsed it.

use http::{HeaderName, Method, Version};

/// What the gateway asks of a request's head.
pub(crate) trait Head {
    fn method(&self) -> &Method;

    /// The target as it stands in the request.
    fn target(&self) -> &[u8];

    /// The path of the target, without its query.
    fn path(&self) -> &str;

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
