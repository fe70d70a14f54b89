//! The items of a `foreach`: entries of a folder, elements of a JSON list, or the cells of an expanded step.

use std::sync::Arc;

use runstone_core::cell::Cell;
use runstone_core::graph;
use runstone_core::record::ContentKind;
use runstone_core::scalar::Scalar;
use runstone_core::spec::model::{Foreach, Step};
use runstone_exec::objects::ObjectStore;
use runstone_exec::objects::tree::TreeItem;
use serde_json::Value as Json;

use crate::derive::{Collected, Given, Item, Items, Thing, View};
use crate::site::Site;

/// The most items of one step.
const MAX_ITEMS: usize = 200_000;
/// The largest list that is read, in bytes.
const MAX_LIST: u64 = 64 << 20;

/// The items, each once, in an order that does not depend on chance.
///
/// # Errors
/// A sentence: the output is absent, too large, or holds no list.
pub(crate) fn items(site: &Site, view: &View<'_>, foreach: &Foreach) -> Result<Items, String> {
    let items: Vec<Item> = match view.of_step(foreach.step, &foreach.output) {
        Given::Absent => return Err(format!("there is nothing to go through: `{}` is absent", foreach.output)),
        Given::One(thing) if thing.kind == ContentKind::Dir => entries(site, &thing)?,
        Given::One(thing) => elements(site, &thing)?,
        Given::Many(list) => list.into_iter().map(from_cell).collect(),
    };
    if items.len() > MAX_ITEMS {
        return Err(format!("`{}` has {} items, more than {MAX_ITEMS}", foreach.output, items.len()));
    }
    Ok(Items::new(items))
}

/// The cells of a `foreach` step over these items.
pub(crate) fn cells(step: &Step, foreach: &Foreach, items: &Items) -> Vec<Cell> {
    let values: Vec<Scalar> = items.values().cloned().collect();
    graph::item_cells(step, &foreach.item, &values)
}

/// The entries of a folder, by name.
fn entries(site: &Site, folder: &Thing) -> Result<Vec<Item>, String> {
    let entries = objects(site, folder)?.entries(folder.hash).map_err(|error| crate::text(&error))?;
    entries
        .into_iter()
        .map(|entry| {
            let name = String::from_utf8(entry.name)
                .map_err(|_| "a folder that is gone through must have names in UTF-8".to_owned())?;
            let (hash, kind, size) = match entry.item {
                TreeItem::File { hash, size, .. } => (hash, ContentKind::File, size),
                TreeItem::Dir { hash, size, .. } => (hash, ContentKind::Dir, size),
                TreeItem::Symlink { .. } => return Err(format!("{name} is a link; a step cannot go through links")),
            };
            let thing = Thing {
                hash,
                kind,
                size,
                file_name: name.clone(),
                source: folder.source.clone(),
                tainted: folder.tainted,
            };
            Ok(Item { value: Scalar::Text(name), thing: Some(thing) })
        })
        .collect()
}

/// The elements of a JSON list. Scalars stand for themselves, everything else for its canonical text.
fn elements(site: &Site, file: &Thing) -> Result<Vec<Item>, String> {
    let bytes = objects(site, file)?.read_verified(file.hash, MAX_LIST).map_err(|error| crate::text(&error))?;
    let list: Vec<Json> = serde_json::from_slice(&bytes)
        .map_err(|error| format!("{} must hold a JSON list to be gone through: {error}", file.file_name))?;
    Ok(list
        .into_iter()
        .map(|element| {
            let value = match element {
                Json::Bool(value) => Scalar::Bool(value),
                Json::String(text) => Scalar::Text(text),
                Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                    (Some(whole), _) => Scalar::Int(whole),
                    (None, Some(float)) => Scalar::Float(float),
                    (None, None) => Scalar::Text(number.to_string()),
                },
                // Objects of serde_json are sorted by key, so that the text does not depend on the order written.
                other => Scalar::Text(other.to_string()),
            };
            Item { value, thing: None }
        })
        .collect())
}

/// The content store that has what is gone through.
fn objects(site: &Site, thing: &Thing) -> Result<Arc<ObjectStore>, String> {
    let holder = site.holder(thing).map_err(|error| crate::text(&error))?;
    let gone = || format!("the content of {} is no longer in the store; run again to make it anew", thing.file_name);
    Ok(holder.ok_or_else(gone)?.objects)
}

fn from_cell(entry: Collected) -> Item {
    Item { value: Scalar::Text(entry.key), thing: Some(entry.thing) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    const PIPELINE: &str = "
pipeline: p
steps:
  from: {run: 'true', out: {list: {}, dir: {dir: true}}}
  each: {foreach: {item: from.OUTPUT}, run: 'true'}
";

    fn values(output: &str, publish: impl Fn(&Fixture) -> crate::ledger::Published) -> Result<Vec<String>, String> {
        let mut fixture = Fixture::new(&PIPELINE.replace("OUTPUT", output));
        let published = publish(&fixture);
        fixture.enter("from", "", vec![published]);
        let foreach = fixture.prepared.pipeline.steps["each"].foreach.clone().unwrap();
        let items = items(&fixture.site, &fixture.view(), &foreach)?;
        Ok(items.values().map(ToString::to_string).collect())
    }

    #[test]
    fn a_folder_is_gone_through_by_the_names_in_it() {
        let found = values("dir", |f| f.dir("dir", &[("b.txt", "2"), ("a.txt", "1"), ("sub/x", "3")]));
        assert_eq!(found.unwrap(), ["a.txt", "b.txt", "sub"]);
        assert_eq!(values("dir", |f| f.dir("dir", &[])).unwrap(), [""; 0]);
    }

    #[test]
    fn a_list_is_gone_through_element_by_element_each_once() {
        let list = r#"["x", 1, 1.0, true, "x", {"b": 1, "a": [2]}, {"a": [2], "b": 1}, 18446744073709551615]"#;
        let found = values("list", |f| f.file("list", list)).unwrap();
        assert_eq!(found, ["x", "1", "1.0", "true", r#"{"a":[2],"b":1}"#, "1.8446744073709552e19"]);
    }

    #[test]
    fn what_is_no_list_says_so() {
        for text in ["{}", "[1", "", "1"] {
            let message = values("list", |f| f.file("list", text)).unwrap_err();
            assert!(message.contains("list must hold a JSON list"), "{message}");
        }
    }
}
