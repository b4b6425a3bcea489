//! Networks: ranges of IP addresses in CIDR notation (RFC 4632, RFC 4291 section 2.3).

// The addresses of `core` are values and nothing more.
use core::net::{IpAddr, Ipv6Addr};
use std::fmt;
use std::str::FromStr;

/// All addresses that begin with the same bits. IPv4 and IPv6 are apart, but an IPv4 address that is written as an IPv6 one
/// (`::ffff:192.0.2.1`, as sockets for both see their peers) counts as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// It is not of the form ADDRESS/PREFIX.
    Form,
    /// It is an address; this network holds only that.
    Address(Network),
    /// The prefix has more bits than the address.
    Prefix(u8),
    /// The address has bits beyond the prefix; this network was probably meant.
    HostBits(Network),
    /// It holds IPv4 addresses written as IPv6 ones.
    Mapped,
}

impl Network {
    /// How many bits its addresses have in common.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether it is one of IPv4 addresses.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.first.is_ipv4()
    }

    /// Whether it holds the address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.prefix) == self.first
    }

    fn of(address: IpAddr, prefix: u8) -> Self {
        Self {
            first: masked(address, prefix),
            prefix,
        }
    }
}

/// The address with all bits beyond the prefix cleared.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let Some((address, prefix)) = text.split_once('/') else {
            let address: IpAddr = text.parse().map_err(|_| NetworkError::Form)?;
            let address = address.to_canonical();
            return Err(NetworkError::Address(Self::of(address, bits(address))));
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Form)?;
        let plain = prefix.bytes().all(|byte| byte.is_ascii_digit()) && (prefix == "0" || !prefix.starts_with('0'));
        let prefix: u8 = prefix.parse().ok().filter(|_| plain).ok_or(NetworkError::Form)?;
        if prefix > bits(address) {
            return Err(NetworkError::Prefix(bits(address)));
        }
        let network = Self::of(address, prefix);
        let mapped = Self::of(IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0)), 96);
        if address.is_ipv6() && prefix >= mapped.prefix && masked(address, mapped.prefix) == mapped.first {
            return Err(NetworkError::Mapped);
        }
        if network.first != address {
            return Err(NetworkError::HostBits(network));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// What counts as one client: an address, of IPv6 its first 64 bits, since whoever has one of them has all behind it.
#[must_use]
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        let network: Network = network.parse().unwrap();
        network.contains(address.parse().unwrap())
    }

    #[test]
    fn who_has_one_address_of_a_network_of_ipv6_has_all() {
        let counts = |address: &str| counted(address.parse().unwrap()).to_string();
        assert_eq!(counts("192.0.2.7"), "192.0.2.7");
        assert_eq!(counts("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(counts("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[test]
    fn a_network_holds_exactly_the_addresses_that_begin_with_its_bits() {
        for (network, inside, outside) in [
            (
                "10.0.0.0/8",
                ["10.0.0.0", "10.255.255.255"],
                ["9.255.255.255", "11.0.0.0"],
            ),
            (
                "192.0.2.128/25",
                ["192.0.2.128", "192.0.2.255"],
                ["192.0.2.127", "192.0.3.0"],
            ),
            (
                "192.0.2.7/32",
                ["192.0.2.7", "::ffff:192.0.2.7"],
                ["192.0.2.6", "192.0.2.8"],
            ),
            (
                "2001:db8::/33",
                ["2001:db8::", "2001:db8:7fff::1"],
                ["2001:db8:8000::", "10.0.0.0"],
            ),
            ("::1/128", ["::1", "0:0::1"], ["::2", "127.0.0.1"]),
            (
                "0.0.0.0/0",
                ["255.255.255.255", "::ffff:1.2.3.4"],
                ["::1", "2001:db8::"],
            ),
            ("::/0", ["::1", "ffff::"], ["1.2.3.4", "::ffff:1.2.3.4"]),
        ] {
            assert!(inside.iter().all(|address| contains(network, address)), "{network}");
            assert!(!outside.iter().any(|address| contains(network, address)), "{network}");
            assert_eq!(network.parse::<Network>().unwrap().to_string(), network);
        }
    }

    #[test]
    fn other_texts_are_no_networks_and_what_was_meant_is_known() {
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "/8",
            "10.0.0/8",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "010.0.0.0/8",
            "10.0.0.0/ 8",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0/256",
            "fe80::%eth0/64",
            "[::1]/128",
            "localhost",
            "10.0.0.*",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Form), "{text}");
        }
        let meant = |text: &str| match text.parse::<Network>() {
            Err(NetworkError::Address(network) | NetworkError::HostBits(network)) => network.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(meant("10.1.2.3"), "10.1.2.3/32");
        assert_eq!(meant("::ffff:10.1.2.3"), "10.1.2.3/32");
        assert_eq!(meant("2001:db8::1"), "2001:db8::1/128");
        assert_eq!(meant("10.1.2.3/8"), "10.0.0.0/8");
        assert_eq!(meant("2001:db8::1/64"), "2001:db8::/64");
        assert_eq!("10.0.0.0/33".parse::<Network>(), Err(NetworkError::Prefix(32)));
        assert_eq!("::/129".parse::<Network>(), Err(NetworkError::Prefix(128)));
        assert_eq!("::ffff:0:0/96".parse::<Network>(), Err(NetworkError::Mapped));
        assert_eq!("::ffff:10.0.0.0/104".parse::<Network>(), Err(NetworkError::Mapped));
    }
}
