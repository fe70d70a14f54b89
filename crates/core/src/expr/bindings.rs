//! Ready-made tables of names: types for the check, values for the evaluation.
//!
//! Both know the short form of a step's own metrics: `f1` is `metrics.f1`.

use std::collections::{BTreeMap, BTreeSet};

use super::check::Scope;
use super::eval::{Env, Slice};
use super::names::{METRICS, full_metric};
use super::value::{Type, Value};

/// A [`Scope`] made of names with types, and of groups in which any name may appear later.
#[derive(Debug, Clone, Default)]
pub struct Declarations {
    names: BTreeMap<String, Type>,
    groups: BTreeMap<String, Type>,
    sliced: BTreeSet<String>,
}

impl Declarations {
    /// Nothing but literals and functions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a dotted name: `params.mode`.
    pub fn declare(&mut self, name: impl Into<String>, found: Type) {
        self.names.insert(name.into(), found);
    }

    /// Declares that any name below this one has this type, and may exist or not: `steps.split.metrics`.
    pub fn declare_group(&mut self, group: impl Into<String>, found: Type) {
        self.groups.insert(group.into(), found);
    }

    /// Declares the metrics of the step itself, with their slices: `f1`, `metrics.f1`, `slice_min(f1)`.
    pub fn declare_metrics(&mut self) {
        self.declare_group(METRICS, Type::Number);
        self.sliced.insert(METRICS.to_owned());
    }

    /// The groups a name lies in, the innermost first.
    fn enclosing(name: &str) -> impl Iterator<Item = &str> {
        let own_metric = (!name.contains('.')).then_some(METRICS);
        name.rmatch_indices('.').map(|(at, _)| &name[..at]).chain(own_metric)
    }
}

impl Scope for Declarations {
    fn type_of(&self, name: &str) -> Option<Type> {
        let declared = self.names.get(name).copied();
        declared.or_else(|| Self::enclosing(name).find_map(|group| self.groups.get(group).copied()))
    }

    fn has_slices(&self, metric: &str) -> bool {
        Self::enclosing(metric).any(|group| self.sliced.contains(group))
    }

    fn names(&self) -> Box<dyn Iterator<Item = String> + '_> {
        Box::new(self.names.keys().cloned())
    }
}

/// An [`Env`] made of names with values.
#[derive(Debug, Clone, Default)]
pub struct Bindings {
    values: BTreeMap<String, Value>,
    slices: BTreeMap<String, Vec<Slice>>,
}

impl Bindings {
    /// No values.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a dotted name a value: `params.mode`, `metrics.f1`.
    pub fn bind(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.values.insert(name.into(), value.into());
    }

    /// Gives a metric, by its full name (`metrics.f1`), its values by slice.
    pub fn bind_slices(&mut self, metric: impl Into<String>, slices: impl IntoIterator<Item = Slice>) {
        self.slices.entry(metric.into()).or_default().extend(slices);
    }
}

impl Env for Bindings {
    fn value(&self, name: &str) -> Option<Value> {
        let short = || full_metric(name).and_then(|full| self.values.get(&full));
        self.values.get(name).or_else(short).cloned()
    }

    fn slices(&self, metric: &str) -> &[Slice] {
        let short = || full_metric(metric).and_then(|full| self.slices.get(&full));
        self.slices.get(metric).or_else(short).map_or(&[], Vec::as_slice)
    }

    fn names(&self) -> Box<dyn Iterator<Item = String> + '_> {
        Box::new(self.values.keys().cloned())
    }
}
