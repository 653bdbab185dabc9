//! Where callers are: ranges of addresses, and which address a call came from when trusted proxies stand before us.

use crate::refusal::echo;
use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A range in CIDR form. Addresses of IPv4 that are written in IPv6 (`::ffff:10.0.0.1`) are IPv4 here, in ranges and in
/// what is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressRange(IpNet);

/// Why a text is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRange {
    #[error("`{0}` is neither an IP address nor a range such as 10.0.0.0/8 or 2001:db8::/32")]
    Form(String),
    #[error("`{given}` names one address and a range; write {range} for the range, or the address alone")]
    HostBits { given: String, range: String },
    #[error("`{0}` mixes IPv4 and IPv6; write the IPv4 part as such, for example 0.0.0.0/0")]
    Mixed(String),
}

impl AddressRange {
    pub fn parse(text: &str) -> Result<Self, BadRange> {
        let form = || BadRange::Form(echo(text));
        let net = match text.split_once('/') {
            // A prefix is digits alone: what else could be read as a number was meant as something else.
            Some((_, length)) if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) => return Err(form()),
            Some(_) => IpNet::from_str(text).map_err(|_| form())?,
            None => IpNet::from(IpAddr::from_str(text).map_err(|_| form())?),
        };
        let net = unmapped(net).ok_or_else(|| BadRange::Mixed(echo(text)))?;
        if net.addr() != net.network() {
            return Err(BadRange::HostBits { given: echo(text), range: net.trunc().to_string() });
        }
        Ok(AddressRange(net))
    }

    /// One address and no other.
    pub fn one(address: IpAddr) -> Self {
        AddressRange(IpNet::from(address.to_canonical()))
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    pub(super) fn covers(&self, narrower: &AddressRange) -> bool {
        self.0.contains(&narrower.0)
    }
}

/// IPv4 in IPv6 as IPv4; `None` for a range that holds some of both.
fn unmapped(net: IpNet) -> Option<IpNet> {
    const MAPPED: u8 = 96;
    let IpNet::V6(v6) = net else { return Some(net) };
    match v6.addr().to_ipv4_mapped() {
        Some(v4) if v6.prefix_len() >= MAPPED => IpNet::new(IpAddr::V4(v4), v6.prefix_len() - MAPPED).ok(),
        Some(_) => None,
        None => Some(net),
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

impl fmt::Debug for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AddressRange {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<Self, BadRange> {
        AddressRange::parse(text)
    }
}

impl Serialize for AddressRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AddressRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        AddressRange::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Where a call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The caller's address; where a trusted proxy named none that can be read, the proxy's.
    pub address: IpAddr,
    /// Whether `address` is the caller's.
    pub known: bool,
}

impl Client {
    pub const fn ip(&self) -> IpAddr {
        self.address
    }
}

/// The caller behind the trusted proxies. `forwarded` are the values of `X-Forwarded-For` in the order of their lines;
/// they are believed only from a trusted peer, and only from right to left up to the first address that is not a trusted
/// proxy, since everything to the left of it is what the caller wrote.
pub fn client_of<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &[AddressRange],
) -> Client {
    let is_trusted = |address| trusted.iter().any(|range| range.contains(address));
    let mut client = Client { address: peer.to_canonical(), known: true };
    if !is_trusted(client.address) {
        return client;
    }
    for hop in forwarded.rev().flat_map(|line| line.rsplit(|b| *b == b',')) {
        match read_hop(hop) {
            Some(address) => client.address = address,
            None => return Client { known: false, ..client },
        }
        if !is_trusted(client.address) {
            break;
        }
    }
    client
}

/// An address, perhaps with a port and brackets, as proxies write it.
fn read_hop(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim_matches([' ', '\t']);
    let address = IpAddr::from_str(text)
        .or_else(|_| SocketAddr::from_str(text).map(|socket| socket.ip()))
        .ok()
        .or_else(|| IpAddr::from_str(text.strip_prefix('[')?.strip_suffix(']')?).ok())?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AddressRange {
        AddressRange::parse(text).unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_hold_both_families_and_the_one_in_the_other() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.0.0.1", "11.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
            ("2000::/3", "2001:db8::1", "203.0.113.1"),
        ] {
            assert!(range(text).contains(address(inside)), "{text} {inside}");
            assert!(!range(text).contains(address(outside)), "{text} {outside}");
        }
        assert_eq!(range("::ffff:10.0.0.0/104").to_string(), "10.0.0.0/8");
        assert_eq!(range("192.0.2.7/32").to_string(), "192.0.2.7");
        assert!(range("::/0").contains(address("2001:db8::1")) && !range("::/0").contains(address("10.0.0.1")));
    }

    #[test]
    fn what_is_no_range_is_told_what_would_be() {
        for (text, says) in [
            ("10.0.0.1/8", "10.0.0.0/8 for the range"),
            ("10.0.0.0/33", "neither"),
            ("10.0.0/8", "neither"),
            ("010.0.0.1", "neither"),
            ("10.0.0.0/+8", "neither"),
            ("10.0.0.0/", "neither"),
            ("fe80::1%eth0", "neither"),
            ("localhost", "neither"),
            ("", "neither"),
            ("::ffff:0:0/90", "mixes IPv4 and IPv6"),
        ] {
            let error = AddressRange::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn forwarded_addresses_are_read_from_the_right_and_only_from_trusted_proxies() {
        let trusted = [range("10.0.0.0/8"), range("2001:db8::/64")];
        let client = |peer: &str, lines: &[&str]| {
            let found = client_of(address(peer), lines.iter().map(|l| l.as_bytes()), &trusted);
            (found.address.to_string(), found.known)
        };
        let known = |text: &str| (text.to_owned(), true);
        // The peer is nobody's proxy: what it writes is ignored.
        assert_eq!(client("203.0.113.9", &["192.0.2.1"]), known("203.0.113.9"));
        assert_eq!(client("10.0.0.1", &[]), known("10.0.0.1"));
        assert_eq!(client("10.0.0.1", &["192.0.2.1"]), known("192.0.2.1"));
        assert_eq!(client("::ffff:10.0.0.1", &["192.0.2.1"]), known("192.0.2.1"));
        // The caller wrote the left part itself.
        assert_eq!(client("10.0.0.1", &["198.51.100.1, 192.0.2.1"]), known("192.0.2.1"));
        assert_eq!(client("10.0.0.1", &["198.51.100.1", "192.0.2.1, 10.9.9.9"]), known("192.0.2.1"));
        assert_eq!(client("10.0.0.1", &["junk, 192.0.2.1"]), known("192.0.2.1"));
        assert_eq!(client("10.0.0.1", &["10.1.1.1, 10.2.2.2"]), known("10.1.1.1"));
        assert_eq!(client("2001:db8::1", &["[2001:db9::5]:4711"]), known("2001:db9::5"));
        assert_eq!(client("10.0.0.1", &["[2001:db9::5]"]), known("2001:db9::5"));
        assert_eq!(client("10.0.0.1", &["::ffff:192.0.2.1"]), known("192.0.2.1"));
        assert_eq!(client("10.0.0.1", &["192.0.2.1:443"]), known("192.0.2.1"));
        // What cannot be read ends the search, and nobody knows who called.
        for junk in ["192.0.2.1, junk", "192.0.2.1,", "fe80::1%eth0", "unknown", "192.0.2.1, 10.0.0.2, _x"] {
            assert!(!client("10.0.0.1", &[junk]).1, "{junk}");
        }
        assert_eq!(client("10.0.0.1", &["192.0.2.1, \u{e9}"]), ("10.0.0.1".to_owned(), false));
    }

    #[test]
    fn fifty_hops_are_read_to_their_end() {
        let hops = (1..=50).map(|n| format!("10.0.0.{n}")).collect::<Vec<_>>().join(", ");
        let line = format!("198.51.100.7, 192.0.2.1, {hops}");
        let client = client_of(address("10.0.0.1"), std::iter::once(line.as_bytes()), &[range("10.0.0.0/8")]);
        assert_eq!(client, Client { address: address("192.0.2.1"), known: true });
    }
}
