//! Identifiers: 16 bytes that sort by time of making, shown with a prefix that says what they name.

use std::fmt;

/// Crockford's base 32 in lower case: sorts like the bytes and has no look-alikes.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TEXT_LEN: usize = 26;

fn encode(bytes: [u8; 16]) -> [u8; TEXT_LEN] {
    let mut n = u128::from_be_bytes(bytes);
    let mut text = [0u8; TEXT_LEN];
    for slot in text.iter_mut().rev() {
        *slot = ALPHABET[(n & 31) as usize];
        n >>= 5;
    }
    text
}

fn decode(text: &str) -> Option<[u8; 16]> {
    if text.len() != TEXT_LEN {
        return None;
    }
    let mut n: u128 = 0;
    for (i, b) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|a| *a == b)? as u128;
        if i == 0 && digit > 7 {
            return None;
        }
        n = n << 5 | digit;
    }
    Some(n.to_be_bytes())
}

/// 48 bits of milliseconds since 1970, then 80 bits that only have to be unique.
fn stamped(now_ms: i64, tail: [u8; 10]) -> [u8; 16] {
    let mut bytes = [0u8; 16];
    bytes[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&tail);
    bytes
}

/// An identifier as text.
#[derive(Clone, Copy)]
pub struct IdText<const LEN: usize>([u8; LEN]);

impl<const LEN: usize> IdText<LEN> {
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn as_str(&self) -> &str {
        // Made of a prefix and the alphabet alone.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// `now_ms` is milliseconds since 1970; `tail` is random.
            pub fn new(now_ms: i64, tail: [u8; 10]) -> Self {
                Self(stamped(now_ms, tail))
            }

            /// Makes one with a tail from the operating system's random source.
            pub fn random(now_ms: i64) -> Result<Self, getrandom::Error> {
                let mut tail = [0u8; 10];
                getrandom::fill(&mut tail)?;
                Ok(Self::new(now_ms, tail))
            }

            pub fn parse(text: &str) -> Option<Self> {
                decode(text.strip_prefix($prefix)?).map(Self)
            }

            /// As it is shown, without a trip through the heap.
            pub fn text(&self) -> IdText<{ $prefix.len() + TEXT_LEN }> {
                let mut text = [0u8; $prefix.len() + TEXT_LEN];
                let (prefix, rest) = text.split_at_mut($prefix.len());
                prefix.copy_from_slice($prefix.as_bytes());
                rest.copy_from_slice(&encode(self.0));
                IdText(text)
            }

            /// When it was made, in milliseconds since 1970.
            pub fn made_at_ms(&self) -> i64 {
                let mut ms = [0u8; 8];
                ms[2..].copy_from_slice(&self.0[..6]);
                i64::from_be_bytes(ms)
            }

            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text().as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// One call, as `x-request-id` shows it.
    RequestId, "req_"
);
id!(
    /// One key; stays the same through rotation and regeneration.
    KeyId, "key_"
);
id!(
    /// One organisation.
    OrganisationId, "org_"
);
id!(
    /// One project of an organisation.
    ProjectId, "proj_"
);
id!(
    /// One person, whatever the number of organisations.
    PersonId, "person_"
);
id!(
    /// One person in one organisation.
    MemberId, "mem_"
);
id!(
    /// One service account, which owns keys where no person should.
    ServiceAccountId, "svc_"
);
id!(
    /// One time that a person signed in.
    SessionId, "sess_"
);
id!(
    /// One piece of work on many keys.
    JobId, "job_"
);
id!(
    /// One place that notices go to.
    DestinationId, "dst_"
);
id!(
    /// One notice, whoever gets it.
    NoticeId, "msg_"
);
id!(
    /// One notice on its way to one receiver.
    DeliveryId, "dlv_"
);
id!(
    /// One request for more than a key has.
    ApprovalId, "apr_"
);

impl OrganisationId {
    /// The organisation of keys that were made without one; every installation has it.
    pub const DEFAULT: OrganisationId = OrganisationId([0; 16]);
}

impl ProjectId {
    /// The project of keys that were made without one; it is in [`OrganisationId::DEFAULT`].
    pub const DEFAULT: ProjectId = ProjectId([0; 16]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_round_trips_and_sorts_like_the_bytes(a: [u8; 16], b: [u8; 16]) {
            let (a, b) = (RequestId(a), RequestId(b));
            prop_assert_eq!(RequestId::parse(&a.to_string()), Some(a));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn the_time_is_kept(ms in 0i64..(1 << 47), tail: [u8; 10]) {
            prop_assert_eq!(KeyId::new(ms, tail).made_at_ms(), ms);
        }
    }

    #[test]
    fn prefixes_may_have_any_length() {
        let text = PersonId([0; 16]).to_string();
        assert_eq!(text, "person_00000000000000000000000000");
        assert_eq!(PersonId::parse(&text), Some(PersonId([0; 16])));
        assert_eq!(JobId([0; 16]).text().as_str(), "job_00000000000000000000000000");
    }

    #[test]
    fn foreign_text_is_refused() {
        for text in [
            "",
            "req_",
            "key_00000000000000000000000000",
            "req_8zzzzzzzzzzzzzzzzzzzzzzzzz",
            "req_0000000000000000000000000!",
        ] {
            assert_eq!(RequestId::parse(text), None, "{text}");
        }
    }
}
