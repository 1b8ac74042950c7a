//! Numbers and addresses as text. `fmt`'s machinery costs more than the digits, and every request writes
//! a dozen of them.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Appends an integer.
pub(super) fn push_number(text: &mut Vec<u8>, number: impl itoa::Integer) {
    text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends milliseconds at microseconds' precision: `12.034`.
pub(super) fn push_millis(text: &mut Vec<u8>, duration: Duration) {
    // Of 64 bits: those of 128 are divided and written by a loop.
    let micros =
        duration.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(duration.subsec_micros()));
    push_number(text, micros / 1000);
    let fraction = micros % 1000 + 1000;
    let at = text.len();
    push_number(text, fraction);
    // The leading 1 kept the zeros.
    if let Some(point) = text.get_mut(at) {
        *point = b'.';
    }
}

/// Appends a byte as `%XX`.
pub(super) fn push_escape(text: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let [high, low] = [byte >> 4, byte & 0xf].map(|digit| DIGITS[usize::from(digit)]);
    text.extend_from_slice(&[b'%', high, low]);
}

/// Appends bytes as hex digits.
pub(super) fn push_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.extend([byte >> 4, byte & 0xf].map(|digit| DIGITS[usize::from(digit)]));
    }
}

/// Appends an address without a port.
pub(super) fn push_ip(text: &mut Vec<u8>, ip: IpAddr) {
    text.extend_from_slice(IpText::of(ip).as_bytes());
}

/// An address as text, without a port, in place: every request has its client's.
#[derive(Debug, Clone, Copy)]
pub(super) struct IpText {
    bytes: [u8; Self::LONGEST],
    length: usize,
}

impl IpText {
    /// Eight groups of four digits, and what stands between them.
    const LONGEST: usize = 39;
    /// Of none.
    pub(super) const NONE: Self = Self { bytes: [0; Self::LONGEST], length: 0 };

    pub(super) fn of(ip: IpAddr) -> Self {
        let mut text = Self::NONE;
        match ip {
            IpAddr::V4(ip) => {
                let [first, second, third, fourth] = ip.octets();
                text.push_octet(first);
                for octet in [second, third, fourth] {
                    text.push(b'.');
                    text.push_octet(octet);
                }
            }
            IpAddr::V6(ip) => {
                let mut room = &mut text.bytes[..];
                // Writing to memory cannot fail, and there is room for the longest.
                let _ = write!(room, "{ip}");
                text.length = Self::LONGEST - room.len();
            }
        }
        text
    }

    fn push_octet(&mut self, octet: u8) {
        if octet >= 100 {
            self.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            self.push(b'0' + octet / 10 % 10);
        }
        self.push(b'0' + octet % 10);
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub(super) fn as_str(&self) -> &str {
        // It is digits and what stands between them.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// Appends an address with its port.
pub(super) fn push_address(text: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(v4) => push_ip(text, IpAddr::V4(*v4.ip())),
        SocketAddr::V6(v6) => drop(write!(text, "[{}]", v6.ip())),
    }
    text.push(b':');
    push_number(text, address.port());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut text = Vec::new();
        push(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn milliseconds_keep_their_zeros() {
        for (micros, expected) in [(0, "0.000"), (7, "0.007"), (12_034, "12.034"), (1_000_000, "1000.000")] {
            assert_eq!(text(|t| push_millis(t, Duration::from_micros(micros))), expected);
        }
    }

    proptest! {
        #[test]
        fn addresses_read_as_they_do_everywhere(v4 in any::<[u8; 4]>(), v6 in any::<[u16; 8]>(), port in any::<u16>()) {
            for ip in [IpAddr::from(v4), IpAddr::from(v6)] {
                prop_assert_eq!(text(|t| push_ip(t, ip)), ip.to_string());
                let address = SocketAddr::new(ip, port);
                prop_assert_eq!(text(|t| push_address(t, address)), address.to_string());
            }
        }
    }
}
