//! From results of earlier tasks to what is asked of the next one: its inputs, its derivation, its pins.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use runstone_core::cell::{Cell, task_name};
use runstone_core::derivation::{CollectedContent, Derivation, InputContent, Work};
use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::name::Name;
use runstone_core::record::{ContentKind, MaterializationRecord, Metric, Trust};
use runstone_core::scalar::Scalar;
use runstone_core::spec::model::{Action, InputRef, Source, Step};
use runstone_core::store::{Pin, PinSource};

use crate::facts::StepFacts;
use crate::ledger::{Entry, Ledger, Published};
use crate::prepare::Prepared;

/// A task with everything known that decides its result.
#[derive(Debug, Clone)]
pub(crate) struct Derived {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) canonical: Vec<u8>,
    pub(crate) inputs: Vec<(Name, Given)>,
    pub(crate) facts: Arc<StepFacts>,
    pub(crate) cell: Cell,
}

/// What an input turned out to hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Given {
    /// Nothing.
    Absent,
    /// A file or folder.
    One(Thing),
    /// The collected outputs of an expanded step, in the order of their keys.
    Many(Vec<Collected>),
}

/// A file or folder with its place in the record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Thing {
    pub(crate) hash: ContentHash,
    pub(crate) kind: ContentKind,
    pub(crate) size: u64,
    pub(crate) file_name: String,
    pub(crate) source: PinSource,
    /// See [`Published::tainted`].
    pub(crate) tainted: bool,
}

/// One entry of a collected list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Collected {
    pub(crate) key: String,
    pub(crate) cell: Vec<(String, Scalar)>,
    pub(crate) output: String,
    pub(crate) thing: Thing,
    pub(crate) metrics: Vec<Metric>,
}

/// An item of a `foreach`: what its tasks see of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    /// Its value, which is also its key.
    pub(crate) value: Scalar,
    /// The bytes it stands for, where it stands for any.
    pub(crate) thing: Option<Thing>,
}

/// The items of a `foreach`, in order, each once.
#[derive(Debug, Default)]
pub(crate) struct Items {
    list: Vec<Item>,
    /// Where each stands, by its spelling within a cell.
    places: HashMap<String, usize>,
}

impl Items {
    /// Later items of a value that was there before are left out.
    pub(crate) fn new(items: impl IntoIterator<Item = Item>) -> Self {
        let mut all = Self::default();
        for item in items {
            let place = all.list.len();
            if let std::collections::hash_map::Entry::Vacant(free) = all.places.entry(spelling(&item.value)) {
                free.insert(place);
                all.list.push(item);
            }
        }
        all
    }

    pub(crate) fn values(&self) -> impl ExactSizeIterator<Item = &Scalar> {
        self.list.iter().map(|item| &item.value)
    }

    /// The item of this value.
    pub(crate) fn get(&self, value: &Scalar) -> Option<&Item> {
        self.places.get(&spelling(value)).map(|&place| &self.list[place])
    }
}

/// A text that only this value has: 1, 1.0 and "1" differ.
fn spelling(value: &Scalar) -> String {
    format!("{value:?}")
}

/// What derivations look at.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) prepared: &'a Prepared,
    pub(crate) ledger: &'a Ledger,
    /// Publications of other pipelines, pinned when the run began: (name, version) → what was found.
    pub(crate) external: &'a HashMap<(String, String), Vec<MaterializationRecord>>,
    /// By node: the items of `foreach` steps that have opened.
    pub(crate) items: &'a HashMap<usize, Items>,
}

impl From<&Published> for Thing {
    fn from(published: &Published) -> Self {
        Self {
            hash: published.hash,
            kind: published.kind,
            size: published.size,
            file_name: published.file_name.clone(),
            source: published.source.clone(),
            tainted: published.tainted,
        }
    }
}

impl From<&MaterializationRecord> for Thing {
    fn from(record: &MaterializationRecord) -> Self {
        Self::from(&Published::on_record(record))
    }
}

impl View<'_> {
    /// The inputs of a task of a step whose needs are settled. `Err` names an input that must be there and is not.
    pub(crate) fn inputs(&self, node: usize, step: &Step, cell: &Cell) -> Result<Vec<(Name, Given)>, String> {
        step.inputs
            .iter()
            .map(|(name, input)| {
                let given = self.given(node, step, cell, &input.from);
                match given {
                    Given::Absent if !input.optional => {
                        Err(format!("input `{name}` is absent: {}", self.absent(&input.from)))
                    }
                    given => Ok((name.clone(), given)),
                }
            })
            .collect()
    }

    /// Why a step cannot have what it needs: an optional output of a step that went well was not written. Where this is
    /// none, what the step needs of other steps is there.
    pub(crate) fn missing_output(&self, step: &Step) -> Option<String> {
        step.inputs.iter().filter(|(_, input)| !input.optional).find_map(|(name, input)| match &input.from {
            InputRef::Step { step, output } => match self.of_step(*step, output) {
                Given::Absent if self.prepared.selection.nodes[*step].runs() => {
                    Some(format!("input `{name}` is absent: {}", self.absent(&input.from)))
                }
                Given::Absent | Given::One(_) | Given::Many(_) => None,
            },
            InputRef::Dataset { .. } | InputRef::Path(_) | InputRef::Item => None,
        })
    }

    fn given(&self, node: usize, step: &Step, cell: &Cell, from: &InputRef) -> Given {
        match from {
            InputRef::Step { step: source, output } => self.of_step(*source, output),
            InputRef::Dataset { name, version } => self.of_dataset(name, version),
            InputRef::Path(path) => self.of_path(path),
            InputRef::Item => {
                let wanted = step.foreach.as_ref().and_then(|foreach| cell.get(foreach.item.as_str()));
                let item = self.items.get(&node).zip(wanted).and_then(|(items, wanted)| items.get(wanted));
                item.and_then(|item| item.thing.clone()).map_or(Given::Absent, Given::One)
            }
        }
    }

    /// What an output of a step turned out to hold.
    pub(crate) fn of_step(&self, source: usize, output: &Name) -> Given {
        let entries = self.ledger.of(source);
        let step = &self.prepared.pipeline.steps[source];
        if step.matrix.is_none() && step.foreach.is_none() {
            return entries
                .first()
                .and_then(|entry| entry.output(output))
                .map_or(Given::Absent, |one| Given::One(one.into()));
        }
        let mut list: Vec<Collected> =
            entries.iter().filter_map(|entry| Some(collected(step, entry, output, entry.output(output)?))).collect();
        list.sort_by(|a, b| a.key.cmp(&b.key));
        Given::Many(list)
    }

    fn of_dataset(&self, name: &str, version: &str) -> Given {
        match self.external.get(&(name.to_owned(), version.to_owned())).map(Vec::as_slice) {
            None | Some([]) => Given::Absent,
            Some([one]) if self.prepared.within(&one.subset).values().is_empty() => Given::One(one.into()),
            Some(many) => Given::Many(
                many.iter()
                    .map(|record| Collected {
                        key: task_name(name, &self.prepared.within(&record.subset).key()),
                        cell: Vec::new(),
                        output: record.output.clone(),
                        thing: record.into(),
                        metrics: Vec::new(),
                    })
                    .collect(),
            ),
        }
    }

    fn of_path(&self, path: &str) -> Given {
        let entry = self.prepared.files.get(path).and_then(|node| self.ledger.of(*node).first());
        entry.and_then(|entry| entry.outputs.first()).map_or(Given::Absent, |one| Given::One(one.into()))
    }

    fn absent(&self, from: &InputRef) -> String {
        match from {
            InputRef::Step { step, output } => {
                format!("`{}` did not publish `{output}`", self.prepared.pipeline.steps[*step].name)
            }
            InputRef::Dataset { name, version } => format!("nothing is on record as {name}@{version}"),
            InputRef::Path(path) => format!("{path} is not there"),
            InputRef::Item => "the item stands for no file".to_owned(),
        }
    }

    /// What is asked of a task that runs a command.
    pub(crate) fn derive(
        &self,
        node: usize,
        step: &Step,
        cell: &Cell,
        facts: &Arc<StepFacts>,
    ) -> Result<Derived, String> {
        let inputs = self.inputs(node, step, cell)?;
        let Action::Run(command) = &step.action else { unreachable!("sources are read, not run") };
        let derivation = Derivation {
            work: Work::Command(command.clone()),
            code: facts.code_files().map(|(path, file)| (path.clone(), file.hash)).collect(),
            params: facts.params_for(cell).into_iter().collect(),
            cell: cell.clone(),
            partition: self.prepared.partition.as_ref().map(ToString::to_string),
            env: step.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            python: facts.python.as_ref().map(|python| python.lock.clone()),
            platform: crate::facts::platform(),
            inputs: inputs.iter().map(|(name, given)| (name.clone(), content(given))).collect(),
            outputs: step.outputs.iter().map(|(name, output)| (name.clone(), output.clone())).collect(),
        };
        let (fingerprint, canonical) = derivation.seal();
        Ok(Derived { fingerprint, canonical, inputs, facts: Arc::clone(facts), cell: cell.clone() })
    }
}

/// What was asked of a task that read a source, once it has been read.
pub(crate) fn derive_read(source: &str, content: ContentHash, facts: &Arc<StepFacts>) -> Derived {
    let derivation = Derivation {
        work: Work::Read { source: source.to_owned(), content },
        code: BTreeMap::new(),
        params: BTreeMap::new(),
        cell: Cell::default(),
        // It is part of the source's text where it counts.
        partition: None,
        env: BTreeMap::new(),
        python: None,
        // The bytes of a source are the same on every machine.
        platform: String::new(),
        inputs: BTreeMap::new(),
        outputs: BTreeMap::new(),
    };
    let (fingerprint, canonical) = derivation.seal();
    Derived { fingerprint, canonical, inputs: Vec::new(), facts: Arc::clone(facts), cell: Cell::default() }
}

/// What a source is called in a derivation.
pub(crate) fn source_text(source: &Source) -> &str {
    match source {
        Source::Path(path) => path,
        Source::Url(url) => url,
    }
}

fn collected(step: &Step, entry: &Entry, output: &Name, published: &Published) -> Collected {
    Collected {
        key: task_name(step.name.as_str(), &entry.cell.key()),
        cell: entry.cell.values().iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
        output: output.to_string(),
        thing: published.into(),
        metrics: entry.metrics.clone(),
    }
}

fn content(given: &Given) -> InputContent {
    match given {
        Given::Absent => InputContent::Absent,
        Given::One(thing) => InputContent::One { hash: thing.hash, name: thing.file_name.clone() },
        Given::Many(list) => InputContent::Many(
            list.iter()
                .map(|entry| CollectedContent {
                    key: entry.key.clone(),
                    hash: entry.thing.hash,
                    name: entry.thing.file_name.clone(),
                    metrics: entry.metrics.clone(),
                })
                .collect(),
        ),
    }
}

impl Derived {
    /// All that is known of a task whose inputs or code cannot be looked at any more. Enough to judge an attempt of it.
    pub(crate) fn outline(asked: Fingerprint, prepared: &Prepared, step: &Step, cell: &Cell) -> Self {
        let facts = Arc::new(StepFacts::outline(prepared, step));
        Self { fingerprint: asked, canonical: Vec::new(), inputs: Vec::new(), facts, cell: cell.clone() }
    }

    /// Everything the task reads, each thing once for each input that names it.
    pub(crate) fn things(&self) -> impl Iterator<Item = (&Name, &Thing)> {
        self.inputs.iter().flat_map(|(name, given)| {
            let things: Vec<&Thing> = match given {
                Given::Absent => Vec::new(),
                Given::One(thing) => vec![thing],
                Given::Many(list) => list.iter().map(|entry| &entry.thing).collect(),
            };
            things.into_iter().map(move |thing| (name, thing))
        })
    }

    /// What the attempt is pinned to. A thing read twice under one name is one pin.
    pub(crate) fn pins(&self) -> Vec<Pin> {
        let mut pins: Vec<Pin> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for (name, thing) in self.things() {
            let key = match &thing.source {
                PinSource::Materialization(id) => (name.as_str(), id.0, ""),
                PinSource::Task { task, output } => (name.as_str(), -1 - i64::from(*task), output.as_str()),
            };
            if seen.insert(key) {
                pins.push(Pin { slot: name.to_string(), source: thing.source.clone(), trust: Trust::Verified });
            }
        }
        pins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    const LIST: &str = "
pipeline: p
steps:
  cell: {matrix: {n: [10, 2, 33]}, run: 'true'}
  all: {in: {cells: cell}, run: 'true'}
";

    #[test]
    fn a_collected_list_is_in_the_order_of_keys_however_it_came_in() {
        let orders = [["n=10", "n=2", "n=33"], ["n=33", "n=10", "n=2"]];
        let derived = orders.map(|order| {
            let mut fixture = Fixture::new(LIST);
            for cell in order {
                let file = fixture.file("cell", cell);
                fixture.enter("cell", cell, vec![file]);
            }
            fixture.derive("all", "").unwrap()
        });
        assert_eq!(derived[0].fingerprint, derived[1].fingerprint);
        let Given::Many(list) = &derived[0].inputs[0].1 else { panic!("a matrix is read as a list") };
        let keys: Vec<&str> = list.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["cell{n=10}", "cell{n=2}", "cell{n=33}"]);
    }

    #[test]
    fn what_a_cell_reported_counts_for_who_reads_the_list_and_where_it_came_from_does_not() {
        let derive = |value: f64, source: PinSource| {
            let mut fixture = Fixture::new(LIST);
            let file = Published { source, ..fixture.file("cell", "x") };
            let metrics = vec![Metric { name: "f1".into(), slice: String::new(), value, n: None }];
            let node = fixture.node("cell");
            let entry = Entry { task: None, cell: Cell::parse("n=2"), outputs: vec![file], metrics };
            fixture.ledger.enter(node, entry);
            fixture.derive("all", "").unwrap().fingerprint
        };
        let (one, other) = (
            PinSource::Materialization(runstone_core::record::NodeId(7)),
            PinSource::Task { task: 3, output: "cell".into() },
        );
        assert_eq!(derive(0.5, one.clone()), derive(0.5, other));
        assert_ne!(derive(0.5, one.clone()), derive(0.6, one));
    }

    #[test]
    fn an_input_that_must_be_there_and_is_not_is_named() {
        let fixture = Fixture::new(
            "
pipeline: p
steps:
  one: {run: 'true', out: {a: {}, b: {optional: true}}}
  two: {in: {x: one.b}, run: 'true'}
  three: {in: {x: {from: one.b, optional: true}}, run: 'true'}
",
        );
        let message = fixture.derive("two", "").unwrap_err();
        assert!(message.contains("`x`") && message.contains("`one`") && message.contains("`b`"), "{message}");
        assert_eq!(fixture.derive("three", "").unwrap().inputs[0].1, Given::Absent);
        let steps = &fixture.prepared.pipeline.steps;
        assert!(fixture.view().missing_output(&steps["two"]).is_some());
        assert!(fixture.view().missing_output(&steps["three"]).is_none());
    }

    #[test]
    fn a_thing_that_is_read_twice_under_one_name_is_one_pin() {
        let mut fixture = Fixture::new(LIST);
        for cell in ["n=2", "n=10"] {
            let file = fixture.file("cell", "same");
            fixture.enter("cell", cell, vec![file]);
        }
        let derived = fixture.derive("all", "").unwrap();
        assert_eq!((derived.things().count(), derived.pins().len()), (2, 1));
    }

    #[test]
    fn items_of_one_value_are_one_and_of_another_type_another() {
        let item = |value| Item { value, thing: None };
        let values = [Scalar::Int(1), Scalar::Float(1.0), Scalar::Text("1".into()), Scalar::Int(1)];
        let items = Items::new(values.iter().cloned().map(item));
        assert_eq!(items.values().collect::<Vec<_>>(), values[..3].iter().collect::<Vec<_>>());
        assert_eq!(items.get(&Scalar::Float(1.0)), Some(&item(Scalar::Float(1.0))));
        assert_eq!(items.get(&Scalar::Int(2)), None);
    }
}
