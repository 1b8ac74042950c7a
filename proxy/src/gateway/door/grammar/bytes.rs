//! Which bytes may stand where.

/// Of a token: RFC 9110, 5.6.2.
const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");
/// Of a host that is a name, but for escapes: RFC 3986, 3.2.2.
const NAME: [bool; 256] = table(b"-._~!$&'()*+,;=");

/// Letters, digits and these.
const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut n = 0;
    while n < others.len() {
        table[others[n] as usize] = true;
        n += 1;
    }
    table
}

pub(super) const fn is_of_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

pub(super) const fn is_of_name(byte: u8) -> bool {
    NAME[byte as usize]
}

/// Whether nothing but what a field's value may have stands here: visible bytes, those above ASCII, spaces and tabs
/// (RFC 9110, 5.5).
pub(super) fn is_text(bytes: &[u8]) -> bool {
    let is_text = |byte: &u8| *byte >= b' ' && *byte != 0x7f || *byte == b'\t';
    // A word that has a tab is looked at byte by byte.
    all_words(bytes, |word| !has_below(word, b' ') && !has(word, 0x7f), is_text)
}

/// Whether nothing but what a target may have stands here: visible bytes but `#`, and those above ASCII. (RFC 3986 wants
/// the latter escaped, and some of the former; browsers do not escape all of them.)
pub(super) fn is_target(bytes: &[u8]) -> bool {
    let is_target = |byte: &u8| *byte > b' ' && *byte != 0x7f && *byte != b'#';
    all_words(bytes, |word| !has_below(word, b'!') && !has(word, 0x7f) && !has(word, b'#'), is_target)
}

/// Whether all bytes are good: eight at once, where all of these are.
fn all_words(bytes: &[u8], is_good_word: impl Fn(u64) -> bool, is_good: impl Fn(&u8) -> bool) -> bool {
    let are_good = |word: &[u8; 8]| is_good_word(u64::from_ne_bytes(*word)) || word.iter().all(&is_good);
    match bytes.last_chunk() {
        None => bytes.iter().all(&is_good),
        // (The last eight may be looked at twice, in part.)
        Some(last) => bytes.as_chunks().0.iter().all(are_good) && are_good(last),
    }
}

/// Whether one of the eight bytes is below this one, which is at most 128.
const fn has_below(word: u64, byte: u8) -> bool {
    word.wrapping_sub(eight(byte)) & !word & eight(0x80) != 0
}

const fn has(word: u64, byte: u8) -> bool {
    has_below(word ^ eight(byte), 1)
}

const fn eight(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Without the spaces and tabs around it.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

pub(super) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

pub(super) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The members of a list, without the white space around them: RFC 9110, 5.6.1. Empty ones, too.
pub(super) fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(trim)
}

/// The number that digits, and nothing else, write: below 2^63, as many a server keeps lengths in such a number.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut number = 0_u64;
    for digit in digits {
        let value = digit.checked_sub(b'0').filter(|value| *value < 10)?;
        number = number.checked_mul(10)?.checked_add(u64::from(value))?;
    }
    (number <= LARGEST).then_some(number)
}

/// The largest length of a body or of a chunk.
pub(super) const LARGEST: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_has_what_the_rfc_lists() {
        let tokens: Vec<u8> = (0..=255).filter(|byte| is_of_token(*byte)).collect();
        assert_eq!(tokens, b"!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~");
    }

    #[test]
    fn a_number_is_digits_and_below_2_to_the_63() {
        for (digits, expected) in [
            ("0", Some(0)),
            ("010", Some(10)),
            ("9223372036854775807", Some(LARGEST)),
            ("00000000000000000000000000003", Some(3)),
            ("9223372036854775808", None),
            ("18446744073709551619", None),
            ("99999999999999999999999", None),
            ("", None),
            ("+3", None),
            ("-3", None),
            ("3.0", None),
            ("1_0", None),
            ("3 ", None),
            ("0x3", None),
        ] {
            assert_eq!(number(digits.as_bytes()), expected, "{digits:?}");
        }
    }

    #[test]
    fn members_stand_between_commas() {
        let list: Vec<_> = members(b"a, b\t,, c d ,").collect();
        assert_eq!(list, [&b"a"[..], b"b", b"", b"c d", b""]);
    }

    proptest! {
        #[test]
        fn eight_bytes_at_once_are_as_each_of_them(
            bytes in proptest::collection::vec(prop_oneof![8 => b'!'..=b'~', 1 => any::<u8>()], 0..40)
        ) {
            let is_text_byte = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
            prop_assert_eq!(is_text(&bytes), bytes.iter().all(is_text_byte));
            let is_target_byte = |byte: &u8| matches!(byte, b'!'..=b'~' | 0x80..) && *byte != b'#';
            prop_assert_eq!(is_target(&bytes), bytes.iter().all(is_target_byte));
        }
    }
}
