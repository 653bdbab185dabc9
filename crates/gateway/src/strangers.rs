//! How many unknown keys one address may have looked up: guessing must cost the guesser, and not the database. Who calls
//! with a key that is in memory never comes here.

use anykey_core::{Code, Refusal};
use foldhash::{HashMap, HashMapExt as _};
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Unknown keys that an address may have looked up in a second, on each thread.
const EACH_SECOND: u32 = 100;
/// Addresses that are told apart within a second; those beyond count as one.
const ADDRESSES: usize = 4096;
const EVERYBODY_ELSE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// One thread's count of the strangers of this second.
#[derive(Default)]
pub(crate) struct Strangers(RefCell<Second>);

#[derive(Default)]
struct Second {
    at: i64,
    guesses: HashMap<IpAddr, u32>,
}

impl Strangers {
    /// Refuses to look up a key for an address that has guessed too often.
    pub fn admit(&self, from: IpAddr, now_ms: i64) -> Result<(), Refusal> {
        let second = self.0.borrow();
        let guesses = if second.at == now_ms.div_euclid(1000) { second.count(from) } else { 0 };
        if guesses < EACH_SECOND {
            return Ok(());
        }
        let message = format!(
            "Too many unknown API keys came from this address: {EACH_SECOND} a second are looked up. Wait a second, and \
             check the key."
        );
        Err(Refusal::new(Code::RateLimited, message).retry_after(1))
    }

    /// Counts a key that nobody knows.
    pub fn guessed(&self, from: IpAddr, now_ms: i64) {
        let mut second = self.0.borrow_mut();
        let at = now_ms.div_euclid(1000);
        if second.at != at {
            second.at = at;
            second.guesses = HashMap::new();
        }
        let place = second.place(from);
        *second.guesses.entry(place).or_insert(0) += 1;
    }
}

impl Second {
    fn count(&self, from: IpAddr) -> u32 {
        self.guesses.get(&self.place(from)).copied().unwrap_or(0)
    }

    fn place(&self, from: IpAddr) -> IpAddr {
        let place = network(from);
        let has_room = self.guesses.len() < ADDRESSES || self.guesses.contains_key(&place);
        if has_room { place } else { EVERYBODY_ELSE }
    }
}

/// One subscriber of IPv6 has a whole network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn guess_until_refused(strangers: &Strangers, from: IpAddr, now_ms: i64) -> u32 {
        let mut guesses = 0;
        while strangers.admit(from, now_ms).is_ok() {
            strangers.guessed(from, now_ms);
            guesses += 1;
        }
        guesses
    }

    #[test]
    fn an_address_guesses_so_often_in_a_second_and_again_in_the_next() {
        let strangers = Strangers::default();
        let (one, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        assert_eq!(guess_until_refused(&strangers, one, NOW), EACH_SECOND);
        assert!(strangers.admit(one, NOW + 999).is_err());
        assert!(strangers.admit(other, NOW + 999).is_ok(), "another address is another guesser");
        assert_eq!(guess_until_refused(&strangers, one, NOW + 1000), EACH_SECOND);
    }

    #[test]
    fn a_network_of_ipv6_is_one_guesser() {
        let strangers = Strangers::default();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        guess_until_refused(&strangers, address("2001:db8::1"), NOW);
        assert!(strangers.admit(address("2001:db8::ffff:1"), NOW).is_err());
        assert!(strangers.admit(address("2001:db8:0:1::1"), NOW).is_ok());
        guess_until_refused(&strangers, address("::ffff:192.0.2.1"), NOW);
        assert!(strangers.admit(address("192.0.2.1"), NOW).is_err());
    }

    #[test]
    fn many_addresses_take_no_more_memory() {
        let strangers = Strangers::default();
        for n in 0..20_000_u32 {
            strangers.guessed(Ipv4Addr::from(0x0A00_0000 + n).into(), NOW);
        }
        assert!(strangers.0.borrow().guesses.len() <= ADDRESSES + 1);
        assert!(strangers.admit([10, 0, 0, 1].into(), NOW).is_ok(), "who is told apart is judged alone");
        assert!(strangers.admit([11, 0, 0, 1].into(), NOW).is_err());
    }
}
