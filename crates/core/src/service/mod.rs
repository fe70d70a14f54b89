//! The service: many runs of many pipelines, by themselves, for as long as anybody likes.
//!
//! Pure, like everything here. [`machine`] decides what one scheduler does next; [`queue`], [`overlap`] and [`pool`] are
//! the rules that it and the stores share; [`record`] is what is on record, [`store`] how it is read and changed, and
//! [`oracle`] what must be true of it whatever happened.

pub mod launch;
pub mod machine;
pub mod oracle;
pub mod overlap;
pub mod pool;
pub mod queue;
pub mod record;
pub mod store;
