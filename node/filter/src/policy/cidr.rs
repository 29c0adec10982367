//! Networks, of IPv4 and of IPv6.

use std::net::IpAddr;

/// A network.
#[derive(Debug)]
pub(crate) struct Cidr {
    is_v6: bool,
    bits: u128,
    /// Ones where addresses of the network agree; IPv4 uses the low 32 bits.
    mask: u128,
}

impl Cidr {
    /// Reads `10.0.0.0/8` or `2001:db8::/32`. Bits behind the prefix don't count.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let (is_v6, bits) = bits_of(address)?;
        if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let width: u32 = if is_v6 { 128 } else { 32 };
        let host_bits = width.checked_sub(length.parse().ok()?)?;
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        Some(Self { is_v6, bits, mask })
    }

    pub(crate) fn contains(&self, address: &str) -> bool {
        let Some((is_v6, bits)) = bits_of(address) else { return false };
        is_v6 == self.is_v6 && (bits ^ self.bits) & self.mask == 0
    }
}

fn bits_of(address: &str) -> Option<(bool, u128)> {
    Some(match address.parse().ok()? {
        IpAddr::V4(address) => (false, u128::from(u32::from(address))),
        IpAddr::V6(address) => (true, u128::from(address)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_addresses() {
        let table = [
            ("10.0.0.0/24", "10.0.0.255", true),
            ("10.0.0.0/24", "10.0.1.0", false),
            ("10.0.0.77/24", "10.0.0.1", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.1/32", "192.0.2.1", true),
            ("192.0.2.1/32", "192.0.2.2", false),
            ("2001:db8::/32", "2001:db8:1::5", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("::/0", "2001:db9::", true),
            ("10.0.0.0/24", "10.0.0", false),
            ("10.0.0.0/24", "", false),
        ];
        for (network, address, expected) in table {
            let cidr = Cidr::parse(network).unwrap();
            assert_eq!(cidr.contains(address), expected, "{address} in {network}");
        }
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "::/129", "a/8", "10.0.0.0/+8"] {
            assert!(Cidr::parse(text).is_none(), "{text}");
        }
    }
}
