//! `server.json` in the data folder: how commands on this machine find the server that runs there.

use anykey_net::Certificate;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

const NAME: &str = "server.json";

/// The address by which this machine reaches a listener.
pub fn url(address: SocketAddr, tls: bool) -> String {
    let host = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    };
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{}", SocketAddr::new(host, address.port()))
}

/// What commands need to know of the server.
pub struct Running {
    pub url: String,
    /// Its name is that of the public address, so commands on this machine know the server by the certificate itself.
    pub certificate: Option<Certificate>,
    pub metrics_url: Option<String>,
    pub brand: String,
}

impl Running {
    /// Written whole or not at all, so that nobody reads half of it.
    pub fn write(&self, data_dir: &Path) -> std::io::Result<()> {
        let mut said = serde_json::json!({ "url": self.url, "pid": std::process::id(), "brand": self.brand });
        if let Some(url) = &self.metrics_url {
            said["metrics_url"] = url.as_str().into();
        }
        if let Some(certificate) = &self.certificate {
            said["certificate_sha256"] = crate::cli::fingerprint(&certificate.own()).into();
        }
        let draft = data_dir.join(format!("{NAME}.new"));
        std::fs::write(&draft, said.to_string())?;
        std::fs::rename(draft, data_dir.join(NAME))
    }
}

pub fn remove(data_dir: &Path) {
    let _ = std::fs::remove_file(data_dir.join(NAME));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_by_loopback() {
        for (address, tls, there) in [
            ("0.0.0.0:80", false, "http://127.0.0.1:80"),
            ("[::]:443", true, "https://[::1]:443"),
            ("10.0.0.1:7117", false, "http://10.0.0.1:7117"),
        ] {
            assert_eq!(url(address.parse().unwrap(), tls), there);
        }
    }
}
