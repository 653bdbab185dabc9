//! `server.json` in the data folder: how commands on this machine find the server that runs there.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

const NAME: &str = "server.json";

/// The address by which this machine reaches a listener.
pub fn local_url(address: SocketAddr) -> String {
    let host = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    };
    format!("http://{}", SocketAddr::new(host, address.port()))
}

/// Written whole or not at all, so that nobody reads half of it.
pub fn write(data_dir: &Path, url: &str, brand: &str) -> std::io::Result<()> {
    let text = serde_json::json!({ "url": url, "pid": std::process::id(), "brand": brand }).to_string();
    let draft = data_dir.join(format!("{NAME}.new"));
    std::fs::write(&draft, text)?;
    std::fs::rename(draft, data_dir.join(NAME))
}

pub fn remove(data_dir: &Path) {
    let _ = std::fs::remove_file(data_dir.join(NAME));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_by_loopback() {
        for (address, url) in [
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:80", "http://[::1]:80"),
            ("10.0.0.1:7117", "http://10.0.0.1:7117"),
        ] {
            assert_eq!(local_url(address.parse().unwrap()), url);
        }
    }
}
