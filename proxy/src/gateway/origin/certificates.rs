//! `X-Forwarded-Client-Cert`, in Envoy's form: a list of those who have shown a certificate on the way.

use http::{HeaderName, HeaderValue};

use super::value;
use crate::gateway::text::push_hex;
use crate::head::Head;
use crate::tls::Identity;

const NAME: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// Of somebody with more alternative names, or with names of more text, none is told: no server takes a head of any length,
/// and some of the names would look like all of them.
const MOST_NAMES: usize = 64;
const LONGEST: usize = 8 * 1024;

/// The list for the instance: what has come of it, and behind that who has connected. None: nobody has shown a certificate.
pub(super) fn list(came: Option<Vec<u8>>, identity: Option<&Identity>) -> Option<HeaderValue> {
    let mut list = came.unwrap_or_default();
    if let Some(identity) = identity {
        if !list.is_empty() {
            list.push(b',');
        }
        push_element(&mut list, identity);
    }
    if list.is_empty() { None } else { value(list) }
}

/// What a proxy says that is trusted, in one line. None: nothing, or not such that something can be added to it: a quotation
/// that somebody has opened could make text of what follows.
pub(super) fn told(head: &impl Head) -> Option<Vec<u8>> {
    let lines: Vec<_> = head.values(&NAME).map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).collect();
    // Some take a backslash for the begin of an escape wherever it stands in quotes, some only before a quotation mark.
    let is_whole = |line: &&[u8]| closes(line, |_| true) && closes(line, |escaped| escaped == b'"');
    (!lines.is_empty() && lines.iter().all(is_whole)).then(|| lines.join(&b","[..]))
}

/// Whether all quotations are closed at the end of a line, where a backslash escapes such bytes.
fn closes(line: &[u8], escapes: fn(u8) -> bool) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (n, byte) in line.iter().enumerate() {
        if is_escaped {
            is_escaped = false;
            continue;
        }
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\\' if is_quoted => is_escaped = line.get(n + 1).is_some_and(|next| escapes(*next)),
            _ => {}
        }
    }
    !is_quoted
}

/// Who has connected. (Envoy has no word for an address of mail, nor for an IP address.)
fn push_element(list: &mut Vec<u8>, identity: &Identity) {
    let begin = list.len();
    list.extend_from_slice(b"Hash=");
    push_hex(list, &identity.fingerprint);
    list.extend_from_slice(b";Subject=\"");
    list.extend_from_slice(identity.subject.as_bytes());
    list.push(b'"');
    if identity.uris.len() + identity.dns.len() > MOST_NAMES {
        return;
    }
    let without_names = list.len();
    let uris = identity.uris.iter().map(|uri| (b";URI=", uri));
    for (key, name) in uris.chain(identity.dns.iter().map(|name| (b";DNS=", name))) {
        list.extend_from_slice(key);
        push_name(list, name);
    }
    if list.len() - begin > LONGEST {
        list.truncate(without_names);
    }
}

/// In quotes where it must be. What would have to be escaped in there is in no [`Identity`].
fn push_name(list: &mut Vec<u8>, name: &str) {
    if name.contains([',', ';', '=']) {
        list.push(b'"');
        list.extend_from_slice(name.as_bytes());
        list.push(b'"');
    } else {
        list.extend_from_slice(name.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::tests::head;
    use crate::tls::certificate;
    use http::Method;
    use openssl::nid::Nid;
    use proptest::prelude::*;

    const HASH: &str = "0707070707070707070707070707070707070707070707070707070707070707";

    fn identity(subject: &str, uris: &[&str], dns: &[&str]) -> Identity {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (uris, dns) = (owned(uris), owned(dns));
        Identity {
            subject: subject.to_owned(),
            dns,
            uris,
            emails: vec!["a@b".to_owned()],
            fingerprint: [7; 32],
        }
    }

    fn told(lines: &[&str]) -> Option<String> {
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-client-cert", line.as_bytes())).collect();
        super::told(&head(Method::GET, "/", &lines)).map(|line| String::from_utf8(line).unwrap())
    }

    fn listed(came: Option<&str>, identity: Option<&Identity>) -> Option<String> {
        let list = list(came.map(|came| came.as_bytes().to_vec()), identity)?;
        Some(list.to_str().unwrap().to_owned())
    }

    /// Elements of pairs, as the form is described: in quotes a backslash stands before a quotation mark.
    fn parsed(list: &str) -> Vec<Vec<(String, String)>> {
        let mut elements = vec![vec![(String::new(), None::<String>)]];
        let (mut is_quoted, mut letters) = (false, list.chars().peekable());
        while let Some(letter) = letters.next() {
            let element = elements.last_mut().unwrap();
            let (key, value) = element.last_mut().unwrap();
            match (letter, &mut *value) {
                ('\\', Some(value)) if is_quoted && letters.peek() == Some(&'"') => {
                    value.extend(letters.next())
                }
                ('"', Some(_)) => is_quoted = !is_quoted,
                (letter, Some(value)) if is_quoted => value.push(letter),
                (',', _) => elements.push(vec![(String::new(), None)]),
                (';', _) => element.push((String::new(), None)),
                ('=', None) => *value = Some(String::new()),
                (letter, None) => key.push(letter),
                (letter, Some(value)) => value.push(letter),
            }
        }
        assert!(!is_quoted, "{list}");
        let whole = |element: Vec<(String, Option<String>)>| {
            element.into_iter().map(|(key, value)| (key, value.unwrap())).collect()
        };
        elements.into_iter().map(whole).collect()
    }

    #[test]
    fn a_certificate_is_told_in_envoys_form() {
        let of = |identity| listed(None, Some(&identity)).unwrap();
        assert_eq!(of(identity("", &[], &[])), format!("Hash={HASH};Subject=\"\""));
        assert_eq!(
            of(identity("CN=pay,O=Shop", &["spiffe://shop/pay"], &["pay.shop", "pay"])),
            format!("Hash={HASH};Subject=\"CN=pay,O=Shop\";URI=spiffe://shop/pay;DNS=pay.shop;DNS=pay")
        );
        assert_eq!(
            of(identity("CN=a", &["urn:a?b=c", "urn:a,b", "urn:a;b"], &["a"])),
            format!("Hash={HASH};Subject=\"CN=a\";URI=\"urn:a?b=c\";URI=\"urn:a,b\";URI=\"urn:a;b\";DNS=a")
        );
        assert_eq!(listed(None, None), None);
    }

    #[test]
    fn of_too_many_names_or_too_long_ones_none_is_told() {
        let none = format!("Hash={HASH};Subject=\"CN=a\"");
        let of = |uris: usize, dns: usize, length: usize| {
            let name = "x".repeat(length);
            listed(None, Some(&identity("CN=a", &vec![&*name; uris], &vec![&*name; dns]))).unwrap()
        };
        assert_eq!(of(32, 33, 1), none);
        assert_eq!(of(32, 32, 1).len(), none.len() + 64 * 6);
        let most = LONGEST - none.len() - ";URI=".len();
        assert_eq!(of(1, 0, most).len(), LONGEST);
        assert_eq!(of(1, 0, most + 1), none);
        let before = "x=y".repeat(3000);
        let list = listed(Some(&before), Some(&identity("CN=a", &[], &["b"]))).unwrap();
        assert!(list.ends_with(";DNS=b"), "what came before does not count");
    }

    #[test]
    fn what_a_trusted_proxy_says_goes_on_with_the_new_one_behind_it() {
        let one = format!("Hash={HASH};Subject=\"CN=a\"");
        let new = identity("CN=a", &[], &[]);
        let came = told(&["By=x;Hash=1", "", " Hash=2;Subject=\"a, \\\"b\\\"\" "]).unwrap();
        assert_eq!(came, "By=x;Hash=1,Hash=2;Subject=\"a, \\\"b\\\"\"");
        assert_eq!(listed(Some(&came), Some(&new)).unwrap(), format!("{came},{one}"));
        assert_eq!(listed(Some(&came), None).unwrap(), came);
        assert_eq!(listed(None, Some(&new)).unwrap(), one);
        assert_eq!(told(&[]), None);
        assert_eq!(told(&["", " "]), None);
    }

    #[test]
    fn what_could_swallow_the_next_one_does_not_go_on() {
        for open in ["Subject=\"a", "Subject=\"a\\\"", "Subject=\"a\\\\\"", "\"", "a\"b\"c\""] {
            assert_eq!(told(&[open]), None, "{open}");
            assert_eq!(told(&["Hash=1", open]), None, "{open}");
            assert_eq!(told(&[open, "x\""]), None, "{open}");
        }
    }

    fn names() -> impl Strategy<Value = Vec<(&'static str, String)>> {
        let kind = prop::sample::select(vec!["uri", "dns", "email"]);
        let name = "[a-z:/,;=\"\\\\ ]{1,12}|[a-z:/,;=]{1,12}|.{1,12}|[\\x00-\\x7f]{1,6}";
        prop::collection::vec((kind, name), 0..8)
    }

    proptest! {
        #[test]
        fn whatever_a_certificate_says_can_be_read_back(
            subject in prop::collection::vec("[a-zA-Z,;=+\"\\\\ #]{1,12}|.{1,12}|[\\x00-\\x7f]{1,6}", 0..4),
            names in names(),
            came in prop::option::of("[a-zA-Z,;=\"\\\\]{1,12}"),
        ) {
            let subject: Vec<_> = subject.iter().map(|value| (Nid::COMMONNAME, &**value)).collect();
            let of_kind = |kind| names.iter().filter(move |(known, _)| *known == kind).map(|(_, name)| name);
            let named: Vec<_> = names.iter().map(|(kind, name)| (*kind, &**name)).collect();
            let identity = Identity::of(&certificate(&subject, &named)).unwrap();
            let came: Vec<_> = came.iter().map(|line| ("x-forwarded-client-cert", line.as_bytes())).collect();
            let came = super::told(&head(Method::GET, "/", &came));
            let list = list(came.clone(), Some(&identity)).unwrap();
            let text = list.to_str().unwrap();
            prop_assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{}", text);
            let came = came.map(|came| String::from_utf8(came).unwrap() + ",").unwrap_or_default();
            let [element] = &parsed(text.strip_prefix(&*came).unwrap())[..] else { panic!("{text}") };
            let values = |kind: &str| {
                let of_kind = element.iter().filter(|(key, _)| key == kind).map(|(_, value)| value.clone());
                of_kind.collect::<Vec<_>>()
            };
            let plain = |name: &&String| name.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\".contains(&b));
            prop_assert_eq!(values("Subject"), [&*identity.subject]);
            prop_assert_eq!(values("URI"), of_kind("uri").filter(plain).cloned().collect::<Vec<_>>());
            prop_assert_eq!(values("DNS"), of_kind("dns").filter(plain).cloned().collect::<Vec<_>>());
            prop_assert_eq!(element.len(), 2 + values("URI").len() + values("DNS").len());
        }
    }
}
