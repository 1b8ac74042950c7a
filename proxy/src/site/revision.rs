//! What a configuration's file said, as a short text that two different files do not share.

use std::fmt;

use openssl::sha::sha256;

/// How many bytes of the digest are shown, in two hexadecimal digits each.
const SHOWN: usize = 8;

/// The first 64 bits of the SHA-256 of a configuration's bytes, in hexadecimal: `sha256sum FILE | cut -c-16` says the
/// same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision(String);

impl Revision {
    /// Of a file with this content.
    pub(crate) fn of(content: &[u8]) -> Self {
        Self(sha256(content).iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_sha256sum_begins_with() {
        assert_eq!(Revision::of(b"").as_str(), "e3b0c44298fc1c14");
        assert_eq!(Revision::of(b"abc").to_string(), "ba7816bf8f01cfea");
    }
}
