//! A list of endpoints, as a bit set that is written as names.

use crate::Endpoint;
use crate::refusal::echo;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of endpoints that is not empty when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointSet(u64);

impl EndpointSet {
    pub const fn contains(self, endpoint: Endpoint) -> bool {
        self.0 & (1 << endpoint as u8) != 0
    }

    pub const fn is_within(self, above: EndpointSet) -> bool {
        self.0 & !above.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Endpoint> {
        Endpoint::ALL.into_iter().filter(move |endpoint| self.contains(*endpoint))
    }

    /// Names of endpoints; the error names one that is not known.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        names.into_iter().try_fold(EndpointSet(0), |set, name| {
            Endpoint::from_name(name).map(|e| EndpointSet(set.0 | 1 << e as u8)).ok_or(name)
        })
    }
}

impl FromIterator<Endpoint> for EndpointSet {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        EndpointSet(endpoints.into_iter().fold(0, |set, endpoint| set | 1 << endpoint as u8))
    }
}

impl Serialize for EndpointSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Endpoint::name))
    }
}

impl<'de> Deserialize<'de> for EndpointSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        if names.is_empty() {
            return Err(D::Error::custom(super::BadControls::Empty("endpoints")));
        }
        EndpointSet::from_names(names.iter().map(String::as_str)).map_err(|name| {
            let known = Endpoint::ALL.map(Endpoint::name).join(", ");
            D::Error::custom(format_args!("there is no endpoint `{}`; there are {known}", echo(name)))
        })
    }
}
