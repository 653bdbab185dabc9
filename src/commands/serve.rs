//! `anykey serve`: the flags of the gateway. What is not given here comes from the settings file, so all are optional.

use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// Settings file (anykey.toml)
    #[arg(long, short, env = "ANYKEY_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address to listen on [default: 127.0.0.1:7117]
    #[arg(long, env = "ANYKEY_LISTEN", hide_env_values = true, value_name = "ADDR")]
    pub listen: Option<String>,

    /// `sqlite:` in the data folder, or `postgres://user@host/db` [default: sqlite:]
    #[arg(long, env = "ANYKEY_DATABASE", hide_env_values = true, value_name = "URL")]
    pub database: Option<String>,

    /// What keys begin with; fixed at the first start [default: ak]
    #[arg(long, env = "ANYKEY_BRAND", hide_env_values = true, value_name = "WORD")]
    pub brand: Option<String>,

    /// The URL that callers use, where it is not the address listened on
    #[arg(long, env = "ANYKEY_PUBLIC_URL", hide_env_values = true, value_name = "URL")]
    pub public_url: Option<String>,

    /// Proxies in front whose X-Forwarded-For is believed, as addresses or ranges with commas between them
    #[arg(long, env = "ANYKEY_TRUSTED_PROXIES", hide_env_values = true, value_name = "RANGES")]
    pub trusted_proxies: Option<String>,

    /// The certificate to show, in PEM, with those between it and an authority; calls then come by https://
    #[arg(long, env = "ANYKEY_TLS_CERT", hide_env_values = true, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of that certificate, in PEM
    #[arg(long, env = "ANYKEY_TLS_KEY", hide_env_values = true, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Where /metrics is: an address, that of --listen, or `off` [default: 127.0.0.1:7118]
    #[arg(long, env = "ANYKEY_METRICS_LISTEN", hide_env_values = true, value_name = "ADDR")]
    pub metrics_listen: Option<String>,

    /// The data folder, from the global `--data-dir` or ANYKEY_DATA_DIR
    #[arg(skip)]
    pub data_dir: Option<PathBuf>,
}

impl ServeArgs {
    pub fn in_folder(self, data_dir: Option<PathBuf>) -> Self {
        Self { data_dir, ..self }
    }
}
