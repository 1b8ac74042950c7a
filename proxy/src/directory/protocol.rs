//! What a registration says of how its instance is spoken to.

use std::str::FromStr;

use registry::contract::Metadata;

/// By which name it is said.
const NAME: &str = "protocol";

/// What an instance speaks, as its registration says: `protocol` in the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Http1,
    /// HTTP/2 in clear.
    H2c,
    /// HTTP/2 under TLS.
    H2,
    /// gRPC, and so HTTP/2.
    Grpc,
}

/// What is said is none of the protocols.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no protocol of an instance: expected http1, h2c, h2 or grpc")]
pub(crate) struct UnknownProtocol(Box<str>);

impl Protocol {
    /// None: the registration says nothing of it.
    ///
    /// # Errors
    /// When it says something else.
    pub(crate) fn of(metadata: &Metadata) -> Result<Option<Self>, UnknownProtocol> {
        metadata.get(NAME).map(str::parse).transpose()
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        match text {
            "http1" => Ok(Self::Http1),
            "h2c" => Ok(Self::H2c),
            "h2" => Ok(Self::H2),
            "grpc" => Ok(Self::Grpc),
            _ => Err(UnknownProtocol(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[(&str, &str)]) -> Result<Option<Protocol>, UnknownProtocol> {
        Protocol::of(&Metadata::new(entries.iter().copied()).unwrap())
    }

    #[test]
    fn each_protocol_has_its_name_by_which_it_is_shown_again() {
        let known = [
            ("http1", Protocol::Http1),
            ("h2c", Protocol::H2c),
            ("h2", Protocol::H2),
            ("grpc", Protocol::Grpc),
        ];
        for (name, protocol) in known {
            assert_eq!(of(&[("a", "h2"), ("protocol", name)]), Ok(Some(protocol)));
            assert_eq!(serde_json::to_value(protocol).unwrap(), name);
        }
        assert_eq!((of(&[]), of(&[("Protocol", "h2c"), ("zone", "a")])), (Ok(None), Ok(None)));
    }

    #[test]
    fn what_is_none_of_them_is_an_error_that_names_them() {
        for name in ["", "http", "H2C", "http2", " h2c", "thrift"] {
            let told = of(&[("protocol", name)]).unwrap_err().to_string();
            assert_eq!(
                told,
                format!("{name:?} is no protocol of an instance: expected http1, h2c, h2 or grpc")
            );
        }
    }
}
