//! Whom a client's certificate names.
//!
//! What stands in a certificate, somebody has written who only had to have it signed. So nothing is taken over that could
//! end a field, a quotation or a line: of the subject such letters are written in digits, and an alternative name that has
//! any is nobody's name.

use openssl::asn1::Asn1ObjectRef;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::x509::{X509NameEntryRef, X509NameRef, X509Ref};

/// A subject that is longer, as it is written, is none.
const LONGEST_SUBJECT: usize = 2048;
const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];

/// Whom a client's certificate names. Its authority was verified, and that it has not expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// As RFC 2253 writes it, in visible ASCII and spaces, without a quotation mark. Empty: it has none, or one of more than
    /// 2 KiB.
    pub(crate) subject: String,
    /// The alternative names that are DNS names. Each is of visible ASCII, without a quotation mark and a backslash, as are
    /// the next two.
    pub(crate) dns: Vec<String>,
    /// Those that are URIs, such as SPIFFE's.
    pub(crate) uris: Vec<String>,
    /// Those that are addresses of mail.
    pub(crate) emails: Vec<String>,
    /// The SHA-256 of its DER.
    pub(crate) fingerprint: [u8; 32],
}

impl Identity {
    /// None: the certificate cannot be read.
    pub(crate) fn of(certificate: &X509Ref) -> Option<Self> {
        let digest = certificate.digest(MessageDigest::sha256()).ok()?;
        let fingerprint = (*digest).try_into().ok()?;
        let subject = subject(certificate.subject_name()).unwrap_or_default();
        let (mut dns, mut uris, mut emails) = (Vec::new(), Vec::new(), Vec::new());
        for name in certificate.subject_alt_names().iter().flatten() {
            dns.extend(name.dnsname().and_then(alternative));
            uris.extend(name.uri().and_then(alternative));
            emails.extend(name.email().and_then(alternative));
        }
        Some(Self { subject, dns, uris, emails, fingerprint })
    }
}

/// An alternative name; none: it has what no such name has, such as a NUL, behind which some would read no further.
fn alternative(name: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    (!name.is_empty() && name.bytes().all(is_plain)).then(|| name.to_owned())
}

/// A subject: what was written last stands first (RFC 4514, section 2.1). None: it is too long. (What the crate shows of it
/// does not tell several values of one name from several names.)
fn subject(name: &X509NameRef) -> Option<String> {
    let entries: Vec<_> = name.entries().collect();
    let mut text = String::new();
    for entry in entries.into_iter().rev() {
        if !text.is_empty() {
            text.push(',');
        }
        push_escaped(&mut text, &kind(entry.object()));
        text.push('=');
        push_escaped(&mut text, &value(entry));
        if text.len() > LONGEST_SUBJECT {
            return None;
        }
    }
    Some(text)
}

/// What an entry says something of: by its short name, such as `CN`, or else by its number.
fn kind(object: &Asn1ObjectRef) -> String {
    match object.nid() {
        Nid::UNDEF => object.to_string(),
        known => known.short_name().map_or_else(|_| object.to_string(), str::to_owned),
    }
}

/// What cannot be read as its own type of text is, as far as possible, as UTF-8.
fn value(entry: &X509NameEntryRef) -> String {
    let data = entry.data();
    data.to_string().unwrap_or_else(|_| String::from_utf8_lossy(data.as_slice()).into_owned())
}

/// Appends a text as RFC 4514 (section 2.4) has it. A quotation mark and a backslash are written in digits, too: no reader
/// can take one for the end of what it has put in quotes, whether or not it knows of escapes in there.
fn push_escaped(text: &mut String, value: &str) {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'\\' => push_hex(text, byte),
            b'+' | b',' | b';' | b'<' | b'>' => text.extend(['\\', char::from(byte)]),
            b'#' if at == 0 => text.push_str("\\#"),
            b' ' if at == 0 || at == last => text.push_str("\\ "),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => push_hex(text, byte),
        }
    }
}

fn push_hex(text: &mut String, byte: u8) {
    text.push('\\');
    text.extend([byte >> 4, byte & 0xf].map(|digit| HEX[usize::from(digit)]));
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use openssl::asn1::Asn1Time;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::pkey::{PKey, Private};
    use openssl::x509::extension::SubjectAlternativeName;
    use openssl::x509::{X509, X509Name};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static KEY: LazyLock<PKey<Private>> = LazyLock::new(|| {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    });

    /// A certificate of this subject, in the order in which it is written, and these alternative names: each with its kind.
    pub(crate) fn certificate(subject: &[(Nid, &str)], names: &[(&str, &str)]) -> X509 {
        let mut name = X509Name::builder().unwrap();
        for (kind, value) in subject {
            name.append_entry_by_nid(*kind, value).unwrap();
        }
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_subject_name(&name.build()).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        builder.set_pubkey(&KEY).unwrap();
        if !names.is_empty() {
            let mut all = SubjectAlternativeName::new();
            for (kind, name) in names {
                match *kind {
                    "dns" => all.dns(name),
                    "uri" => all.uri(name),
                    "email" => all.email(name),
                    _ => all.ip(name),
                };
            }
            let extension = all.build(&builder.x509v3_context(None, None)).unwrap();
            builder.append_extension(extension).unwrap();
        }
        builder.sign(&KEY, MessageDigest::sha256()).unwrap();
        builder.build()
    }

    fn subject_of(subject: &[(Nid, &str)]) -> String {
        Identity::of(&certificate(subject, &[])).unwrap().subject
    }

    #[test]
    fn a_subject_is_written_from_its_end_and_escaped() {
        let (country, organization, name) = (Nid::COUNTRYNAME, Nid::ORGANIZATIONNAME, Nid::COMMONNAME);
        let all = [(country, "DE"), (organization, "Shop, Inc"), (Nid::SURNAME, "x"), (name, "pay")];
        assert_eq!(subject_of(&all), "CN=pay,SN=x,O=Shop\\, Inc,C=DE");
        assert_eq!(subject_of(&[]), "");
        for (value, expected) in [
            ("a\"b\\", "a\\22b\\5C"),
            ("a\";URI=spiffe://b", "a\\22\\;URI=spiffe://b"),
            (" #a b ", "\\ #a b\\ "),
            ("#a", "\\#a"),
            (" ", "\\ "),
            ("a+b<c>=d", "a\\+b\\<c\\>=d"),
            ("a\r\nX: y", "a\\0D\\0AX: y"),
            ("a\0b\u{7f}", "a\\00b\\7F"),
            ("\u{e9}", "\\C3\\A9"),
        ] {
            assert_eq!(subject_of(&[(name, value)]), format!("CN={expected}"), "{value:?}");
        }
    }

    #[test]
    fn a_subject_that_is_too_long_is_none_and_the_rest_is_known() {
        let part = "x".repeat(64);
        let of = |count| {
            let subject = vec![(Nid::ORGANIZATIONALUNITNAME, &*part); count];
            Identity::of(&certificate(&subject, &[("dns", "a")])).unwrap()
        };
        assert_eq!(of(30).subject.len(), 30 * 68 - 1);
        let long = of(31);
        assert_eq!((&*long.subject, &*long.dns), ("", &["a".to_owned()][..]));
    }

    #[test]
    fn alternative_names_are_known_by_their_kinds_and_the_certificate_by_its_fingerprint() {
        let names = [
            ("uri", "spiffe://shop.example/pay"),
            ("dns", "*.shop.example"),
            ("email", "pay@shop.example"),
            ("ip", "192.0.2.7"),
            ("dns", "b"),
        ];
        let certificate = certificate(&[], &names);
        let identity = Identity::of(&certificate).unwrap();
        assert_eq!(identity.dns, ["*.shop.example", "b"]);
        assert_eq!(identity.uris, ["spiffe://shop.example/pay"]);
        assert_eq!(identity.emails, ["pay@shop.example"]);
        assert_eq!(identity.fingerprint, openssl::sha::sha256(&certificate.to_der().unwrap()));
    }

    #[test]
    fn what_is_no_name_is_nobodys() {
        for odd in ["", "a\0.b", "a b", "a\r\nb", "a\"b", "a\\b", "\u{e9}", "a\t"] {
            let names = [("dns", odd), ("uri", odd), ("email", odd), ("dns", "good")];
            let identity = Identity::of(&certificate(&[], &names)).unwrap();
            assert_eq!(identity.dns, ["good"], "{odd:?}");
            assert!(identity.uris.is_empty() && identity.emails.is_empty(), "{odd:?}");
        }
    }

    proptest! {
        /// And can be read back.
        #[test]
        fn whatever_a_subject_says_is_written_in_visible_ascii(value in "[\\x00-\\x7f]{1,20}|.{1,20}") {
            let text = subject_of(&[(Nid::COMMONNAME, &value)]);
            prop_assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"'), "{}", text);
            let mut rest = text.strip_prefix("CN=").unwrap().as_bytes();
            let mut read = Vec::new();
            while let [first, after @ ..] = rest {
                rest = after;
                if *first != b'\\' {
                    read.push(*first);
                } else if let Some(digits) = after.get(..2).filter(|d| d.iter().all(u8::is_ascii_hexdigit)) {
                    read.push(u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
                    rest = &after[2..];
                } else {
                    read.push(after[0]);
                    rest = &after[1..];
                }
            }
            prop_assert_eq!(String::from_utf8(read).unwrap(), value);
        }
    }
}
