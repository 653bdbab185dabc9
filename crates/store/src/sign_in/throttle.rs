//! How often somebody may try: each attempt is counted before it is looked at, so that many at once count as many.

use crate::Store;
use crate::db::params;
use crate::error::Result;
use std::net::IpAddr;

/// Without a failure for so long, all is forgotten.
const FORGOTTEN_MS: i64 = 60 * 60 * 1000;

/// What attempts are counted by.
#[derive(Clone, Copy)]
struct Rule {
    /// So many failures cost nothing.
    free: i64,
    /// The wait doubles from a second up to this.
    longest_ms: i64,
}

/// Short at its longest, since anybody can make somebody else's account wait.
const ACCOUNT: Rule = Rule { free: 5, longest_ms: 60 * 1000 };
/// Many people may come from one address.
const ADDRESS: Rule = Rule { free: 20, longest_ms: 15 * 60 * 1000 };

impl Rule {
    fn wait_ms(self, failures: i64) -> i64 {
        let over = failures - self.free;
        if over < 0 { 0 } else { (1000i64 << over.min(20)).min(self.longest_ms) }
    }
}

impl Store {
    /// Counts an attempt on an account from an address, or says for how many milliseconds there shall be none.
    pub async fn attempt_sign_in(&self, email: &str, from: Option<IpAddr>) -> Result<std::result::Result<(), i64>> {
        let mut subjects = vec![(format!("account {}", email.to_lowercase()), ACCOUNT)];
        // In one order for all, so that two attempts never wait for each other.
        subjects.extend(address(from).map(|subject| (subject, ADDRESS)));
        self.attempt(subjects).await
    }

    /// The same where no account is named, as on the way back from an issuer.
    pub async fn attempt_from(&self, from: Option<IpAddr>) -> Result<std::result::Result<(), i64>> {
        match address(from) {
            Some(subject) => self.attempt(vec![(subject, ADDRESS)]).await,
            None => Ok(Ok(())),
        }
    }

    async fn attempt(&self, subjects: Vec<(String, Rule)>) -> Result<std::result::Result<(), i64>> {
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            let mut wait = 0;
            for (subject, rule) in &subjects {
                // Locks the row, whether it is new or not.
                let found: Option<(i64, i64, i64)> = tx
                    .one(
                        "INSERT INTO throttle (subject, failures, last_at, open_at) VALUES ($1, 0, $2, 0) \
                         ON CONFLICT (subject) DO UPDATE SET subject = excluded.subject \
                         RETURNING failures, last_at, open_at",
                        params![subject, now],
                    )
                    .await?;
                let (failures, last_at, open_at) = found.unwrap_or_default();
                let failures = if now - last_at > FORGOTTEN_MS { 0 } else { failures };
                wait = wait.max(open_at - now);
                tx.exec(
                    "UPDATE throttle SET failures = $2, last_at = $3, open_at = $4 WHERE subject = $1",
                    params![subject, failures + 1, now, now + rule.wait_ms(failures + 1)],
                )
                .await?;
            }
            // Who must wait and comes too early has not tried: nothing of it is kept.
            if wait > 0 {
                tx.roll_back().await?;
                return Ok(Err(wait));
            }
            tx.commit().await?;
            Ok(Ok(()))
        })
        .await
    }

    /// The attempt was a good one.
    pub async fn forgive_sign_in(&self, email: &str, from: Option<IpAddr>) -> Result<()> {
        self.db
            .exec("DELETE FROM throttle WHERE subject = $1", params![format!("account {}", email.to_lowercase())])
            .await?;
        self.forgive_from(from).await
    }

    /// The same where no account was named.
    pub async fn forgive_from(&self, from: Option<IpAddr>) -> Result<()> {
        if let Some(subject) = address(from) {
            // One good attempt does not pardon the others from there, among which may be guesses at other accounts.
            let one = "UPDATE throttle SET failures = failures - 1, open_at = 0 WHERE subject = $1 AND failures > 0";
            self.db.exec(one, params![subject]).await?;
        }
        Ok(())
    }
}

fn address(from: Option<IpAddr>) -> Option<String> {
    counted(from).map(|ip| format!("address {}", network(ip)))
}

/// This machine's own address is a proxy's, which stands for all who come through it, or an operator's.
fn counted(from: Option<IpAddr>) -> Option<IpAddr> {
    from.filter(|ip| !ip.to_canonical().is_loopback())
}

/// Whoever has an IPv6 address has a network of them.
fn network(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_longest() {
        let waits: Vec<i64> = (4..13).map(|failures| ACCOUNT.wait_ms(failures)).collect();
        assert_eq!(waits, [0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!((ADDRESS.wait_ms(19), ADDRESS.wait_ms(20), ADDRESS.wait_ms(i64::MAX)), (0, 1000, 900_000));
    }

    #[test]
    fn a_proxy_on_this_machine_is_nobody() {
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(counted(Some(ip.parse().unwrap())), None, "{ip}");
        }
        let there = "192.0.2.1".parse().ok();
        assert_eq!((counted(there), counted(None)), (there, None));
    }

    #[test]
    fn an_address_is_its_network() {
        assert_eq!(network("2001:db8:1:2:3::4".parse().unwrap()), "2001:db8:1:2::/64");
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), "192.0.2.1");
    }
}
