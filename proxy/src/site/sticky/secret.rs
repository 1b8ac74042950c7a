//! What a key makes of names.

use std::fmt;
use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rand::rand_bytes;
use openssl::sign::Signer;

use crate::config;

/// In bytes: that of SHA-256, beyond which a key of HMAC adds nothing.
const KEY: usize = 32;

/// A key that nobody has but this process.
pub(crate) fn key_of_this_process() -> Result<config::StickyKey, ErrorStack> {
    let mut key = [0; KEY];
    rand_bytes(&mut key)?;
    Ok(config::StickyKey(Arc::new(key)))
}

/// A key, ready for use.
#[derive(Debug)]
pub(super) struct Secret(PKey<Private>);

/// What a key makes of a name. Of ten thousand names, two have the same with a probability of one in 300 thousand
/// million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tag(u64);

impl Secret {
    pub(super) fn new(key: &config::StickyKey) -> Result<Self, ErrorStack> {
        PKey::hmac(&key.0).map(Self)
    }

    pub(super) fn service(&self, service: &str) -> Result<Tag, ErrorStack> {
        self.tag(service.into())
    }

    pub(super) fn instance(&self, service: &str, instance: &str) -> Result<Tag, ErrorStack> {
        // Names hold no control characters, so nothing else has the same text.
        self.tag([service, instance].join("\0"))
    }

    fn tag(&self, text: String) -> Result<Tag, ErrorStack> {
        let mut hash = [0; KEY];
        Signer::new(MessageDigest::sha256(), &self.0)?.sign_oneshot(&mut hash, text.as_bytes())?;
        Ok(Tag(hash.iter().take(8).fold(0, |tag, byte| tag << 8 | u64::from(*byte))))
    }
}

impl Tag {
    /// As it is displayed, and in no other way.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let is_ours = text.len() == 16 && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let text = std::str::from_utf8(text).ok().filter(|_| is_ours)?;
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret(key: &[u8]) -> Secret {
        Secret::new(&config::StickyKey(key.into())).unwrap()
    }

    #[test]
    fn a_tag_is_what_another_implementation_of_hmac_sha256_says() {
        // printf 'goods' | openssl dgst -sha256 -hmac 0123456789abcdef
        let secret = secret(b"0123456789abcdef");
        assert_eq!(secret.service("goods").unwrap().to_string(), "4d997d39e7dcbba5");
        assert_eq!(secret.instance("goods", "a").unwrap().to_string(), "9058c4a6fdbb8caf");
    }

    #[test]
    fn another_key_another_service_and_another_instance_have_other_tags() {
        let (ours, other) = (secret(b"0123456789abcdef"), secret(b"0123456789abcdeg"));
        let tag = ours.instance("goods", "a").unwrap();
        for different in [
            other.instance("goods", "a"),
            ours.instance("goods", "b"),
            ours.instance("carts", "a"),
            ours.instance("good", "sa"),
            ours.service("goods"),
            ours.service("goodsa"),
        ] {
            assert_ne!(different.unwrap(), tag);
        }
    }

    #[test]
    fn no_two_processes_have_the_same_key_by_themselves() {
        let [a, b] = [(); 2].map(|()| key_of_this_process().unwrap());
        assert!(a != b && a.0.len() == KEY);
    }

    proptest! {
        #[test]
        fn a_tag_is_read_as_it_is_written_and_nothing_else_is_one(tag: u64, text: Vec<u8>) {
            prop_assert_eq!(Tag::parse(Tag(tag).to_string().as_bytes()), Some(Tag(tag)));
            if let Some(tag) = Tag::parse(&text) {
                prop_assert_eq!(tag.to_string().into_bytes(), text);
            }
        }
    }
}
