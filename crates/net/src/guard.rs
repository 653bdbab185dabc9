//! Which destinations may be called: URLs that operators enter are read strictly, and every address that a name resolves
//! to is checked before it is connected to, so that a name cannot lead inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why a destination is refused. The text is fit for the person who entered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    #[error("the URL must start with http:// or https://")]
    Scheme,
    #[error("the URL must be plain: a host, an optional port and an optional path, without user, query or fragment")]
    Form,
    #[error("the port belongs to another kind of service")]
    Port,
    #[error("the address is not public; an operator may allow private networks for this provider explicitly")]
    Private,
    #[error("the address serves machine metadata and is never called")]
    Metadata,
}

/// A base URL taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    pub tls: bool,
    /// A name, or an address without brackets.
    pub host: String,
    pub port: u16,
    /// What stands before the endpoint's path; without a slash at its end.
    pub prefix: String,
    pub allow_private: bool,
}

impl Destination {
    pub fn parse(url: &str, allow_private: bool) -> Result<Self, Forbidden> {
        let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(Forbidden::Scheme),
        };
        if !rest.bytes().all(|b| b.is_ascii_graphic()) || rest.contains(['?', '#', '@', '\\']) {
            return Err(Forbidden::Form);
        }
        let (authority, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = split_port(authority, if tls { 443 } else { 80 })?;
        let destination =
            Destination { tls, host, port, prefix: prefix.trim_end_matches('/').to_owned(), allow_private };
        destination.check_names()?;
        Ok(destination)
    }

    /// `host` or `host:port`, as the Host field has it.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.tls { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }

    /// What can be said without asking the DNS.
    fn check_names(&self) -> Result<(), Forbidden> {
        if !self.allow_private && BLOCKED_PORTS.contains(&self.port) {
            return Err(Forbidden::Port);
        }
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return check(address, self.allow_private);
        }
        let name = self.host.trim_end_matches('.').to_ascii_lowercase();
        if name == "metadata.google.internal" {
            return Err(Forbidden::Metadata);
        }
        if !self.allow_private && (name == "localhost" || name.ends_with(".localhost")) {
            return Err(Forbidden::Private);
        }
        Ok(())
    }

    /// Checks every answer of the DNS: one bad address refuses the name.
    pub fn check_answers(&self, addresses: &[SocketAddr]) -> Result<(), Forbidden> {
        addresses.iter().try_for_each(|a| check(a.ip(), self.allow_private))
    }
}

/// Mail, remote shells, databases and the like: never an HTTP provider.
const BLOCKED_PORTS: &[u16] = &[
    7, 9, 19, 20, 21, 22, 23, 25, 37, 53, 69, 110, 111, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 445, 465,
    512, 513, 514, 515, 587, 636, 873, 993, 995, 1433, 1521, 2049, 2375, 2376, 2379, 2380, 3306, 3389, 5432, 5672,
    5900, 6000, 6379, 6667, 9042, 9200, 11211, 27017,
];

fn split_port(authority: &str, default: u16) -> Result<(String, u16), Forbidden> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(Forbidden::Form)?;
            // A zone names an interface of this machine, so such an address is never a provider's.
            host.parse::<Ipv6Addr>().map_err(|_| Forbidden::Form)?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(Forbidden::Form)?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':');
    if host.is_empty() || host.len() > 253 || !host.bytes().all(name) {
        return Err(Forbidden::Form);
    }
    // `2130706433`, `0x7f.1`, `127.1`: spellings of addresses that only the resolver understands.
    let numeric = host.parse::<IpAddr>().is_err()
        && host.trim_end_matches('.').rsplit('.').next().is_some_and(|last| {
            last.bytes().all(|b| b.is_ascii_digit())
                || last.strip_prefix("0x").is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))
        });
    if numeric {
        return Err(Forbidden::Private);
    }
    let port = match port {
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().map_err(|_| Forbidden::Form)?,
        Some(_) => return Err(Forbidden::Form),
        None => default,
    };
    if port == 0 { Err(Forbidden::Form) } else { Ok((host.to_owned(), port)) }
}

/// Whether an address may be called.
pub fn check(address: IpAddr, allow_private: bool) -> Result<(), Forbidden> {
    let address = unmapped(address);
    if is_metadata(address) {
        Err(Forbidden::Metadata)
    } else if allow_private || is_public(address) {
        Ok(())
    } else {
        Err(Forbidden::Private)
    }
}

/// The IPv4 address that an IPv6 one stands for, where it stands for one.
pub fn unmapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let s = v6.segments();
    let last = |hi: u16, lo: u16| IpAddr::V4(Ipv4Addr::from((u32::from(hi) << 16) | u32::from(lo)));
    match s {
        // ::ffff:a.b.c.d, ::a.b.c.d (but for :: and ::1), 64:ff9b::/96, 2002::/16
        [0, 0, 0, 0, 0, 0xffff, hi, lo] | [0x64, 0xff9b, 0, 0, 0, 0, hi, lo] => last(hi, lo),
        [0, 0, 0, 0, 0, 0, hi, lo] if hi != 0 => last(hi, lo),
        [0x2002, hi, lo, ..] => last(hi, lo),
        _ => address,
    }
}

fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let o = v4.octets();
            (o[0] == 169 && o[1] == 254) || o == [100, 100, 100, 200] || o == [192, 0, 0, 192]
        }
        IpAddr::V6(v6) => v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
    }
}

/// Outside every block of the IANA special-purpose registries.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(a == 0
                || a == 10
                || a == 127
                || a >= 224
                || (a == 100 && (64..128).contains(&b))
                || (a == 169 && b == 254)
                || (a == 172 && (16..32).contains(&b))
                || (a == 192 && b == 168)
                || (a == 192 && b == 0 && (c == 0 || c == 2))
                || (a == 192 && b == 88 && c == 99)
                || (a == 198 && (b == 18 || b == 19))
                || (a == 198 && b == 51 && c == 100)
                || (a == 203 && b == 0 && c == 113))
        }
        // Only 2000::/3 is global unicast; within it the protocol, benchmark and documentation blocks are not.
        IpAddr::V6(v6) => {
            let s = v6.segments();
            s[0] & 0xe000 == 0x2000
                && !(s[0] == 0x2001 && s[1] < 0x200)
                && !(s[0] == 0x2001 && s[1] == 0xdb8)
                && !(s[0] == 0x3fff && s[1] < 0x1000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<(), Forbidden> {
        Destination::parse(text, false).map(|_| ())
    }

    #[test]
    fn the_inside_is_not_reached_by_any_spelling() {
        for host in [
            "127.0.0.1",
            "[::1]",
            "0.0.0.0",
            "[::]",
            "localhost",
            "localhost.",
            "LOCALHOST",
            "a.localhost",
            "2130706433",
            "0177.0.0.1",
            "0x7f.0.0.1",
            "127.1",
            "0x7f000001",
            "[::ffff:127.0.0.1]",
            "[::ffff:a00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::a00:1]",
            "[2002:7f00:1::]",
            "[fec0::1]",
            "[fd00::1]",
            "[fe80::1]",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "metadata.google.internal",
            "[fd00:ec2::254]",
            "100.100.100.200",
            "[2001:db8::1]",
            "127.0.0.1.",
        ] {
            assert!(url(&format!("http://{host}/v1")).is_err(), "{host}");
        }
        for text in
            ["http://①②⑦.0.0.1", "http://127。0。0。1", "http://[fe80::1%25eth0]/", "http://a b/", "http://u@h/"]
        {
            assert!(url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_http_and_only_its_ports() {
        for text in ["gopher://a", "file:///etc/passwd", "unix:/x", "data:text/plain,a", "//a", "a", ""] {
            assert_eq!(url(text), Err(Forbidden::Scheme), "{text}");
        }
        for port in [22, 25, 6379, 5432] {
            assert_eq!(url(&format!("http://example.com:{port}")), Err(Forbidden::Port));
        }
        for text in
            ["http://a:0", "http://a:65536", "http://a:x", "http://a?b", "http://a#b", "http://[::1", "http://:80"]
        {
            assert!(url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn public_providers_pass() {
        let d = Destination::parse("https://api.openai.com/v1/", false).unwrap();
        assert_eq!((d.tls, d.port, d.prefix.as_str(), d.authority().as_str()), (true, 443, "/v1", "api.openai.com"));
        assert_eq!(url("http://8.8.8.8:8080"), Ok(()));
        assert_eq!(url("https://[2606:4700::1111]/x"), Ok(()));
    }

    #[test]
    fn allowing_private_networks_does_not_open_the_metadata() {
        assert!(Destination::parse("http://127.0.0.1:8080/v1", true).is_ok());
        assert!(Destination::parse("http://localhost:6379", true).is_ok());
        assert_eq!(Destination::parse("http://169.254.169.254", true), Err(Forbidden::Metadata));
        assert_eq!(Destination::parse("http://[::ffff:169.254.169.254]", true), Err(Forbidden::Metadata));
    }

    #[test]
    fn one_bad_answer_refuses_the_name() {
        let d = Destination::parse("https://example.com", false).unwrap();
        let public: SocketAddr = "93.184.216.34:443".parse().unwrap();
        let private: SocketAddr = "10.0.0.1:443".parse().unwrap();
        assert_eq!(d.check_answers(&[public]), Ok(()));
        assert_eq!(d.check_answers(&[public, private]), Err(Forbidden::Private));
    }
}
