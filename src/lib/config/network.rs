//! Networks: `192.0.2.0/24`, `2001:db8::/32`, or one address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network: all addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network of an address by the length of its prefix, IPv4 or IPv6. An IPv4 client of an IPv6 socket is what it is.
    pub(crate) fn of(address: IpAddr, v4: u8, v6: u8) -> Self {
        let address = address.to_canonical();
        let prefix = if address.is_ipv4() { v4.min(32) } else { v6.min(128) };
        Self { address: masked(address, prefix), prefix }
    }

    /// Whether the address is in it.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

/// The address with nothing but zeros behind the prefix.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no network such as 192.0.2.0/24, 2001:db8::/32 or 192.0.2.1");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= most).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        let first = masked(address, prefix);
        if first != address {
            return Err(format!("\"{text}\" has bits behind its prefix; {first}/{prefix} is the network"));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = if self.address.is_ipv4() { 32 } else { 128 };
        match self.prefix {
            whole if whole == most => self.address.fmt(f),
            prefix => write!(f, "{}/{prefix}", self.address),
        }
    }
}

/// Some networks, at least one: `192.0.2.0/24,2001:db8::/32`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Networks(Vec<Network>);

/// More than this is no list that somebody looks after.
const MOST: usize = 64;

impl Networks {
    /// Whether one of them has the address.
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let networks: Vec<Network> =
            text.split(',').map(|part| part.trim().parse()).collect::<Result<_, _>>()?;
        if networks.len() > MOST {
            return Err(format!("at most {MOST} networks can be named"));
        }
        Ok(Self(networks))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, network) in self.0.iter().enumerate() {
            write!(f, "{}{network}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_alike() {
        let networks: Networks = "192.0.2.0/24, 2001:db8::/32,198.51.100.7".parse().unwrap();
        for inside in ["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.9", "2001:db8:ffff::1", "198.51.100.7"] {
            assert!(networks.contain(ip(inside)), "{inside}");
        }
        for outside in ["192.0.3.0", "2001:db9::", "198.51.100.8", "::192.0.2.1", "::1"] {
            assert!(!networks.contain(ip(outside)), "{outside}");
        }
        assert_eq!(networks.to_string(), "192.0.2.0/24,2001:db8::/32,198.51.100.7");
        let all: Networks = "0.0.0.0/0".parse().unwrap();
        assert!(all.contain(ip("203.0.113.1")) && !all.contain(ip("::1")), "of one family");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in ["", "a", "192.0.2.0/33", "192.0.2.0/+8", "192.0.2.0/", "::/129", "192.0.2.1,", "1.2.3"]
        {
            assert!(wrong.parse::<Networks>().is_err(), "{wrong}");
        }
        let error = "192.0.2.1/24".parse::<Network>().unwrap_err();
        assert!(error.contains("192.0.2.0/24"), "{error}");
    }

    proptest! {
        #[test]
        fn an_address_is_in_its_own_network(bits: u128, v4: bool, prefix in 0_u8..=128) {
            let address = if v4 {
                IpAddr::from(Ipv4Addr::from_bits(u32::try_from(bits >> 96).unwrap()))
            } else {
                IpAddr::from(Ipv6Addr::from_bits(bits))
            };
            let network = Network::of(address, prefix, prefix);
            prop_assert!(network.contains(address));
            prop_assert_eq!(network.to_string().parse::<Network>().unwrap(), network);
        }
    }
}
