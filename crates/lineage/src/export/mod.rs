//! What is on record, in the formats of other systems: in-toto statements with SLSA provenance, W3C PROV, OpenLineage. Each
//! takes facts and gives values; where they are written is the caller's business.
//!
//! The archive, which can be verified whole, is [`archive`](crate::archive).

pub mod in_toto;
pub mod openlineage;
pub mod prov;
mod selection;

pub use selection::{Selection, attempts};

/// Where this program comes from; the beginning of every address that names something of it.
pub(crate) const HOME: &str = env!("CARGO_PKG_REPOSITORY");
