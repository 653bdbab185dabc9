//! Journeys through the real binary: each starts a gateway of its own in front of upstreams that keep books or
//! misbehave, and looks at it from outside only. They share one test binary, so that there is one link step.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

mod approvals;
mod audit;
mod calls;
mod controls;
mod crash;
mod disconnect;
mod http2;
mod keys;
mod leaks;
mod notices;
mod people;
mod raw;
mod refusals;
mod replicas;
mod sign_in;
mod storage;
mod support;
mod surface;
mod teams;
mod translate;
mod verbatim;
