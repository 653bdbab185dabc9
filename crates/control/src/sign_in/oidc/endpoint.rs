//! URLs at an issuer: https, or http on this very machine where private networks are allowed, and past the guard like every
//! other destination.

use anykey_net::guard::Destination;

/// Something at an issuer that this server calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub to: Destination,
    /// Path and query, exactly as they were given.
    pub path: String,
}

impl Endpoint {
    pub fn parse(url: &str, allow_private: bool) -> Result<Self, String> {
        let scheme_end = url.find("://").map_or(0, |at| at + 3);
        let path_at = url[scheme_end..].find(['/', '?', '#']).map_or(url.len(), |at| scheme_end + at);
        let (origin, path) = url.split_at(path_at);
        if path.contains(['#', '\\']) || !path.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("the URL has a fragment or signs that are not part of URLs".into());
        }
        let to = Destination::parse(origin, allow_private).map_err(|why| why.to_string())?;
        if !to.tls && !is_loopback(&origin[scheme_end..]) {
            return Err("the URL must start with https://; only on this machine itself may it be http://".into());
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Endpoint { to, path })
    }
}

/// Whether an authority, with whatever stands behind it, is this very machine.
pub(super) fn is_loopback(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_kept_to_the_letter() {
        for (url, path) in [
            ("https://a.example.com", "/"),
            ("https://a.example.com/", "/"),
            ("https://a.example.com/x/token/", "/x/token/"),
            ("https://a.example.com/t?p=policy", "/t?p=policy"),
            ("https://a.example.com?p=policy", "/?p=policy"),
        ] {
            assert_eq!(Endpoint::parse(url, false).map(|e| e.path), Ok(path.to_owned()), "{url}");
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear_and_only_where_that_is_allowed() {
        for url in ["http://127.0.0.1:1/x", "http://localhost/x", "http://[::1]:9/x"] {
            assert!(Endpoint::parse(url, true).is_ok(), "{url}");
            assert!(Endpoint::parse(url, false).is_err(), "{url}");
        }
        for url in [
            "http://10.0.0.1/x",
            "http://a.example.com/x",
            "http://127.0.0.1.example.com/",
            "https://a.example.com/#x",
            "https://a.example.com/ x",
            "https://u@a.example.com/",
            "https://169.254.169.254/",
            "ftp://a.example.com/",
            "a.example.com",
            "",
        ] {
            assert!(Endpoint::parse(url, true).is_err(), "{url}");
        }
        assert!(Endpoint::parse("https://10.0.0.1/x", false).is_err());
    }
}
