//! Works a profile out: batches of rows are read on one thread while the columns of the batch before go through
//! their statistics on all threads. Each column sees its values in the order of the rows.

use rayon::prelude::*;

use super::column::{ColumnBuilder, ColumnProfile, Statistics};
use super::{ColumnType, Profile};
use crate::scan::{self, Batch, Scan, Visit};
use crate::{ReadOptions, Table, TableError};

/// Profiles a table in one pass. Memory depends on the number of columns (about 200 KiB each) and on the limits, not
/// on the number of rows.
///
/// # Errors
/// The bytes cannot be read or are not of the format, a limit is exceeded, or the caller stopped it.
pub fn profile(table: &Table, options: &ReadOptions<'_>) -> Result<Profile, TableError> {
    let mut whole: Option<Profile> = None;
    for part in table.parts() {
        let of_part = scan::with(table.format(), part, options, ProfilePart { options })?;
        match &mut whole {
            None => whole = Some(of_part),
            Some(whole) => whole.merge(&of_part),
        }
    }
    Ok(whole.unwrap_or_else(|| Profile::empty(table.format().is_typed())))
}

struct ProfilePart<'a> {
    options: &'a ReadOptions<'a>,
}

impl Visit for ProfilePart<'_> {
    type Output = Profile;

    fn visit<S: Scan>(self, mut scan: S) -> Result<Profile, TableError> {
        let mut builders: Vec<ColumnBuilder> = Vec::new();
        let mut rows = 0;
        let (mut batch, mut next) = (S::Batch::default(), S::Batch::default());
        scan.read(&mut batch)?;
        while batch.rows() > 0 {
            self.options.check()?;
            rows += batch.rows() as u64;
            builders.resize_with(batch.columns(), ColumnBuilder::default);
            let take = || {
                builders.par_iter_mut().enumerate().for_each(|(column, builder)| {
                    batch.visit(column, |_, value| builder.push(value));
                });
            };
            let (read, ()) = rayon::join(|| scan.read(&mut next), take);
            read?;
            std::mem::swap(&mut batch, &mut next);
        }
        let columns = scan.columns();
        builders.resize_with(columns.len(), ColumnBuilder::default);
        let finished: Vec<Statistics> = builders
            .into_par_iter()
            .zip(columns.par_iter())
            .map(|(builder, column)| builder.finish(column.declared))
            .collect();
        let column = |(column, statistics): (&scan::Column, Statistics)| ColumnProfile {
            name: column.name.clone(),
            column_type: ColumnType::Null,
            nulls: 0,
            statistics,
        };
        let mut profile = Profile { rows, problems: scan.problems(), ..Profile::empty(S::TYPED) };
        profile.columns = columns.iter().zip(finished).map(column).collect();
        profile.settle();
        Ok(profile)
    }
}
