//! Where a server listens: `192.0.2.1:110`, `[2001:db8::1]:110`, or a port alone for all addresses.

use serde::Deserialize;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// An address and a port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Address(pub(crate) SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = text.parse::<u16>().map(|port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
        all.or_else(|_| text.parse()).map(Self).map_err(|_| {
            format!("\"{text}\" is no address to listen on; write 192.0.2.1:110, [2001:db8::1]:110 or 110")
        })
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_all_addresses() {
        assert_eq!("110".parse::<Address>().unwrap().to_string(), "[::]:110");
        assert_eq!("127.0.0.1:0".parse::<Address>().unwrap().to_string(), "127.0.0.1:0");
        assert!("mail.example.org:110".parse::<Address>().unwrap_err().contains("no address"));
    }
}
