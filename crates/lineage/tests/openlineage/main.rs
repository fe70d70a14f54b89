//! OpenLineage both ways: what we say to others is valid and complete, and what others say is taken as they said it.
#![expect(clippy::unwrap_used, reason = "what cannot be prepared or read fails the test")]

mod bugs;
mod clients;
mod export;
mod import;
mod order;
mod rig;
mod roundtrip;
mod schemas;
mod walk;
