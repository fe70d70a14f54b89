//! What an attempt made now, beside what is on record: output by output, number by number.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use runstone_core::name::Name;
use runstone_core::record::{MaterializationRecord, Metric};
use runstone_core::reproduction::{FirstDifference, MetricDifference, OutputComparison, Verdict};
use runstone_core::spec::model::{Normalizer, Step};
use runstone_core::store::{RunFilter, Store, StoreError};
use runstone_exec::normalize::normal_hash;
use runstone_exec::objects::{Batch, Limits, ObjectError, ObjectKind, Surveyed};

use super::ReproduceError;
use super::closure::Link;
use super::recall::Recalled;
use crate::derive::Thing;
use crate::prepare::Home;
use crate::recorded::Recorded;
use crate::site::{Site, object_kind};
use crate::staging::output_place;

/// Compares all outputs, in the order of the step. Those that are the same and not in the content store any more are put
/// aside for others to read, where `folder`, the attempt's, is given.
pub(super) fn outputs(
    recalled: &Recalled,
    store: &mut dyn Store,
    link: &Link,
    found: Vec<(&Name, Surveyed)>,
    folder: Option<&Path>,
) -> Result<Vec<OutputComparison>, ReproduceError> {
    let mut found: BTreeMap<&str, Surveyed> =
        found.into_iter().map(|(name, surveyed)| (name.as_str(), surveyed)).collect();
    let mut all = Vec::new();
    for (name, output) in &recalled.step.outputs {
        let expected = link.published.iter().find(|record| record.output == name.as_str());
        let found = found.remove(name.as_str());
        if expected.is_none() && found.is_none() {
            continue;
        }
        let mut comparison = OutputComparison {
            output: name.to_string(),
            expected: expected.map(|record| record.hash),
            found: found.as_ref().map(|surveyed| surveyed.content().hash),
            verdict: Verdict::Differs,
            expected_size: expected.map(|record| record.size),
            found_size: found.as_ref().map(|surveyed| surveyed.content().size),
            difference: None,
            message: None,
        };
        match (expected, &found) {
            (Some(record), Some(surveyed)) if comparison.expected == comparison.found => {
                comparison.verdict = Verdict::Identical;
                if let Some(folder) = folder {
                    put_aside(&recalled.site, record, &folder.join(output_place(name, output)))
                        .map_err(|error| ReproduceError::objects(&error))?;
                }
            }
            (Some(record), Some(surveyed)) => {
                let words = normalizers(recalled, store, name)?;
                differ(&recalled.site, record, surveyed, &words, &mut comparison)?;
            }
            (Some(_), None) => comparison.message = Some("it was not written this time".to_owned()),
            (None, _) => comparison.message = Some("it was not written when the attempt was recorded".to_owned()),
        }
        all.push(comparison);
    }
    Ok(all)
}

/// Says in what respect two versions with different hashes differ, if that counts.
fn differ(
    site: &Site,
    record: &MaterializationRecord,
    surveyed: &Surveyed,
    words: &[Normalizer],
    comparison: &mut OutputComparison,
) -> Result<(), ReproduceError> {
    let holder = site.holder(&Thing::from(record)).map_err(|error| ReproduceError::objects(&error))?;
    let mut trouble = None;
    let mut same = |one: File, other: File| same(one, other, words, &mut trouble);
    let difference = match holder {
        None => Err(None),
        Some(shelf) => {
            let content = (record.hash, object_kind(record.kind));
            match shelf.objects.first_difference(content, surveyed, &mut same) {
                Err(ObjectError::NotStored { .. } | ObjectError::Altered { .. } | ObjectError::BadNode { .. }) => {
                    Err(None)
                }
                result => result.map_err(Some),
            }
        }
    };
    match difference {
        Ok(None) => comparison.verdict = Verdict::LogicallyIdentical,
        Ok(Some(difference)) => {
            comparison.message = trouble.map(|trouble| about(&difference, &trouble));
            comparison.difference = Some(difference);
        }
        Err(None) => comparison.message = Some("the bytes on record are gone, so only the hashes tell".to_owned()),
        Err(Some(error)) => return Err(ReproduceError::objects(&error)),
    }
    Ok(())
}

/// Whether two files are the same once what does not count is left out. What has no normal form is not.
fn same(one: File, other: File, words: &[Normalizer], trouble: &mut Option<String>) -> bool {
    if words.is_empty() {
        return false;
    }
    let hashes = normal_hash(one, words).and_then(|one| Ok(one == normal_hash(other, words)?));
    hashes.unwrap_or_else(|error| {
        *trouble = Some(crate::text(&error));
        false
    })
}

fn about(difference: &FirstDifference, trouble: &str) -> String {
    let name = if difference.path.is_empty() { "it" } else { difference.path.as_str() };
    format!("{name} was compared byte by byte: {trouble}")
}

/// What does not count about an output: as the newest run of the pipeline declares it, since that can be said afterwards,
/// else as the run on record did.
fn normalizers(recalled: &Recalled, store: &mut dyn Store, output: &Name) -> Result<Vec<Normalizer>, StoreError> {
    let pipeline = recalled.prepared.pipeline.name.to_string();
    let filter = RunFilter { pipeline: Some(pipeline), limit: Some(1), ..RunFilter::default() };
    let of = |step: &Step| step.outputs.get(output).map(|output| output.normalize.clone());
    let newest = match store.runs(&filter)?.pop() {
        Some(run) => match Recorded::read(store, &run) {
            Ok(recorded) => recorded.prepare(&Home::of_record(&recalled.site.project)).ok(),
            Err(StoreError::Damaged(_)) => None,
            Err(error) => return Err(error),
        },
        None => None,
    };
    let declared = newest.and_then(|(prepared, _)| of(prepared.pipeline.steps.get(&recalled.step.name)?));
    Ok(declared.or_else(|| of(&recalled.step)).unwrap_or_default())
}

/// Copies an output to where readers find it, unless they find it in the content store.
fn put_aside(site: &Site, record: &MaterializationRecord, place: &Path) -> Result<(), ObjectError> {
    let Some(aside) = &site.aside else { return Ok(()) };
    if site.holder(&Thing::from(record))?.is_some() {
        return Ok(());
    }
    let shelf = aside.make()?;
    let mut batch = Batch::default();
    let content = match object_kind(record.kind) {
        ObjectKind::File => shelf.objects.import_file(place, Limits::default(), &mut batch)?,
        ObjectKind::Tree => shelf.objects.import_dir(place, Limits::default(), &mut batch)?,
    };
    shelf.objects.sync(batch)?;
    if content.hash == record.hash { Ok(()) } else { Err(ObjectError::Changed { path: place.to_owned() }) }
}

/// The numbers that came out otherwise, by name and slice.
pub(super) fn metrics(recorded: &[Metric], found: &[Metric]) -> Vec<MetricDifference> {
    let by_name = |metrics: &[Metric]| -> BTreeMap<(String, String), f64> {
        metrics.iter().map(|metric| ((metric.name.clone(), metric.slice.clone()), metric.value)).collect()
    };
    let (recorded, mut found) = (by_name(recorded), by_name(found));
    let mut differences = Vec::new();
    let mut tell = |(name, slice): (String, String), expected: Option<f64>, found: Option<f64>| {
        if expected.map(f64::to_bits) != found.map(f64::to_bits) {
            differences.push(MetricDifference { name, slice, expected, found });
        }
    };
    for (key, expected) in recorded {
        let now = found.remove(&key);
        tell(key, Some(expected), now);
    }
    for (key, now) in found {
        tell(key, None, Some(now));
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_came_out_otherwise_are_told_by_name_and_slice() {
        let metric = |name: &str, slice: &str, value| Metric { name: name.into(), slice: slice.into(), value, n: None };
        let recorded = [metric("f1", "", 0.5), metric("f1", "sex=f", 0.25), metric("gone", "", 1.0)];
        let found = [metric("f1", "", 0.5), metric("f1", "sex=f", 0.5), metric("new", "", 2.0)];
        let told: Vec<_> = metrics(&recorded, &found)
            .into_iter()
            .map(|it| (format!("{} {}", it.name, it.slice), it.expected, it.found))
            .collect();
        let expected = [
            ("f1 sex=f".to_owned(), Some(0.25), Some(0.5)),
            ("gone ".to_owned(), Some(1.0), None),
            ("new ".to_owned(), None, Some(2.0)),
        ];
        assert_eq!(told, expected);
        assert_eq!(metrics(&recorded, &recorded), []);
    }
}
