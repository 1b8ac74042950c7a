//! Which bytes may stand where.

/// The small letter of each byte that a token may have (RFC 9110, 5.6.2), and 0 for all others.
const TOKEN: [u8; 256] = small(table(b"!#$%&'*+-.^_`|~"));
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

const fn small(bytes: [bool; 256]) -> [u8; 256] {
    let mut small = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if bytes[byte] {
            small[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    small
}

pub(super) const fn is_of_token(byte: u8) -> bool {
    TOKEN[byte as usize] != 0
}

/// Writes the token that a text begins with in small letters, as far as there is room: how many bytes it has.
pub(super) fn write_token(text: &[u8], room: &mut [u8]) -> usize {
    let mut length = 0;
    for (byte, place) in text.iter().zip(room) {
        let small = TOKEN[*byte as usize];
        if small == 0 {
            break;
        }
        *place = small;
        length += 1;
    }
    length
}

pub(super) const fn is_of_name(byte: u8) -> bool {
    NAME[byte as usize]
}

/// How many bytes there are before the first that is neither a visible one, one above ASCII, a space, nor a tab: such as no
/// line has (RFC 9110, 5.5).
pub(super) fn length_of_text(bytes: &[u8]) -> usize {
    let is_text = |byte: &u8| *byte >= b' ' && *byte != 0x7f || *byte == b'\t';
    let mut rest = bytes;
    while let Some((word, behind)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        let found = below(word, b' ') | are(word, 0x7f);
        if found == 0 {
            rest = behind;
            continue;
        }
        // (What seems to be found behind the first one may not be.)
        let (before, from) = rest.split_at_checked(found.trailing_zeros() as usize / 8).unwrap_or_default();
        let [b'\t', behind @ ..] = from else { return bytes.len() - rest.len() + before.len() };
        rest = behind;
    }
    bytes.len() - rest.len() + rest.iter().take_while(|byte| is_text(byte)).count()
}

/// Whether nothing but what a target may have stands here: visible bytes but `#`, and those above ASCII. (RFC 3986 wants
/// the latter escaped, and some of the former; browsers do not escape all of them.)
pub(super) fn is_target(bytes: &[u8]) -> bool {
    let is_target = |byte: &u8| *byte > b' ' && *byte != 0x7f && *byte != b'#';
    let is_good = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        below(word, b'!') | are(word, 0x7f) | are(word, b'#') == 0
    };
    match bytes.last_chunk() {
        None => bytes.iter().all(is_target),
        // (The last eight may be looked at twice, in part.)
        Some(last) => bytes.as_chunks().0.iter().all(is_good) && is_good(last),
    }
}

/// The highest bit of each of eight bytes that is below this one, which is at most 128; and perhaps of those behind the
/// first of them.
const fn below(word: u64, byte: u8) -> u64 {
    word.wrapping_sub(eight(byte)) & !word & eight(0x80)
}

/// The same of each that is this one.
const fn are(word: u64, byte: u8) -> u64 {
    below(word ^ eight(byte), 1)
}

const fn eight(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Without the spaces and tabs around it.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

pub(super) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let Some((first, rest)) = bytes.split_first()
        && is_space(*first)
    {
        bytes = rest;
    }
    bytes
}

pub(super) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let Some((last, rest)) = bytes.split_last()
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}

const fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
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
            bytes in proptest::collection::vec(prop_oneof![16 => b'!'..=b'~', 1 => Just(b'\t'), 1 => any::<u8>()], 0..40)
        ) {
            let is_text_byte = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
            let length = bytes.iter().take_while(|byte| is_text_byte(byte)).count();
            prop_assert_eq!(length_of_text(&bytes), length);
            let is_target_byte = |byte: &u8| matches!(byte, b'!'..=b'~' | 0x80..) && *byte != b'#';
            prop_assert_eq!(is_target(&bytes), bytes.iter().all(is_target_byte));
        }
    }
}
