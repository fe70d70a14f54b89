//! The decision: which versions keep their bytes, and why, and which may go.
//!
//! A version goes only where nothing speaks for it and its bytes can be made again from what stays. What can be made again
//! does not depend on the rules, so a stricter rule never gives up more than a laxer one.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::facts::{Facts, Publication};
use super::rules::ObjectRule;
use crate::hash::ContentHash;
use crate::record::{AttemptKind, NodeId};
use crate::time::{Timestamp, micros};

/// What is to become of every version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// One for each version, by dataset and number.
    pub verdicts: Vec<Verdict>,
    /// Contents that may be given up, in the order of hashes.
    pub evict: Vec<ContentHash>,
}

/// What is to become of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Its dataset's place in the facts.
    pub dataset: usize,
    /// Its number.
    pub version: i64,
    /// Its content.
    pub hash: ContentHash,
    /// The place of the rule that counts for it.
    pub rule: Option<usize>,
    /// The decision.
    pub decision: Decision,
}

/// What is to become of the bytes of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// They stay.
    Keep(Keep),
    /// They may go.
    Evict,
    /// They are gone.
    Evicted {
        /// Whether running again makes the same ones.
        remakeable: bool,
    },
    /// They were never in this content store.
    Elsewhere,
}

/// What speaks for keeping bytes. The first that holds is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// No rule matches the dataset.
    NoRule,
    /// A tag leads to it.
    Tagged(String),
    /// `@latest` names it.
    Latest,
    /// It is among so many newest versions of its cell.
    Newest(u32),
    /// It was published or read last at this time.
    Young(Timestamp),
    /// This version of this dataset was made of it, directly or not.
    InputOf(usize, i64),
    /// A run that is going on rests on it, or is making it.
    Held,
    /// It is proof of what ran.
    Proof,
    /// It cannot be made again.
    Unmakeable(Unmakeable),
    /// Making it took so long, microseconds.
    Costly(u64),
    /// This version of this dataset has the same bytes and keeps them.
    Same(usize, i64),
}

/// Why bytes cannot be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmakeable {
    /// They came from outside.
    Source,
    /// Inputs or code changed while they were made.
    Tainted,
    /// Their step is one whose results do not stand for others (`cache: never`).
    NotReusable,
    /// Something that they were made of is gone and cannot be made again.
    Inputs,
    /// What they were made of was made of the same bytes.
    Circular,
}

/// Decides about every version on record.
#[must_use]
pub fn plan(rules: &[ObjectRule], facts: &Facts, now: Timestamp) -> Plan {
    let look = Look::new(facts);
    let mut verdicts: Vec<Verdict> = look.versions.iter().map(|version| look.judge(version, rules, now)).collect();
    // The same bytes stay where any version keeps them.
    let keeping: HashMap<ContentHash, (usize, i64)> = verdicts
        .iter()
        .filter(|verdict| matches!(verdict.decision, Decision::Keep(_)))
        .map(|verdict| (verdict.hash, (verdict.dataset, verdict.version)))
        .collect();
    let mut evict = Vec::new();
    for verdict in verdicts.iter_mut().filter(|verdict| verdict.decision == Decision::Evict) {
        match keeping.get(&verdict.hash) {
            Some((dataset, version)) => verdict.decision = Decision::Keep(Keep::Same(*dataset, *version)),
            None => evict.push(verdict.hash),
        }
    }
    evict.sort_unstable();
    evict.dedup();
    Plan { verdicts, evict }
}

/// A version with its publications, in the order of ids.
struct Version<'f> {
    dataset: usize,
    number: i64,
    hash: ContentHash,
    publications: Vec<&'f Publication>,
}

/// The facts, arranged for the questions that are asked of every version.
struct Look<'f> {
    facts: &'f Facts,
    versions: Vec<Version<'f>>,
    /// How many versions of its cell are newer, of each publication that is the newest of its version there.
    ranks: HashMap<NodeId, u32>,
    /// When each publication was read last.
    read: HashMap<NodeId, Timestamp>,
    of_latest: Upstream,
    of_tags: Upstream,
    remakeable: Remakeable,
}

/// Publications that roots were made of, each with the root it was met from.
type Upstream = HashMap<NodeId, NodeId>;

impl<'f> Look<'f> {
    fn new(facts: &'f Facts) -> Self {
        let mut versions: BTreeMap<(usize, i64), Version<'f>> = BTreeMap::new();
        for one in &facts.publications {
            let (dataset, number, hash) = (one.dataset, one.version, one.hash);
            let new = || Version { dataset, number, hash, publications: Vec::new() };
            versions.entry((dataset, number)).or_insert_with(new).publications.push(one);
        }
        let mut read: HashMap<NodeId, Timestamp> = HashMap::new();
        for (reader, publication) in &facts.readings {
            if let Some(attempt) = facts.attempt(*reader) {
                let last = read.entry(*publication).or_insert(attempt.created);
                *last = attempt.created.max(*last);
            }
        }
        Self {
            facts,
            versions: versions.into_values().collect(),
            ranks: ranks(facts),
            read,
            of_latest: upstream(facts, facts.latest.iter().copied()),
            of_tags: upstream(facts, facts.tagged.keys().copied()),
            remakeable: Remakeable::of(facts),
        }
    }

    fn judge(&self, version: &Version<'_>, rules: &[ObjectRule], now: Timestamp) -> Verdict {
        let name = &self.facts.datasets[version.dataset];
        let rule = rules.iter().position(|rule| rule.datasets.matches(name));
        let decision = match (self.facts.contents.get(&version.hash), rule) {
            (None, _) => Decision::Elsewhere,
            (Some(content), _) if !content.stored => {
                Decision::Evicted { remakeable: self.remakeable.why_not(self.facts, version).is_none() }
            }
            (Some(_), None) => Decision::Keep(Keep::NoRule),
            (Some(_), Some(at)) => self.reason(version, &rules[at], now).map_or(Decision::Evict, Decision::Keep),
        };
        Verdict { dataset: version.dataset, version: version.number, hash: version.hash, rule, decision }
    }

    /// What speaks for a version, whatever others with the same bytes say.
    fn reason(&self, version: &Version<'_>, rule: &ObjectRule, now: Timestamp) -> Option<Keep> {
        let facts = self.facts;
        let of = &version.publications;
        if let Some(tag) = of.iter().find_map(|one| facts.tagged.get(&one.id)) {
            return Some(Keep::Tagged(tag.clone()));
        }
        if of.iter().any(|one| facts.latest.contains(&one.id)) {
            return Some(Keep::Latest);
        }
        let newest = of.iter().filter_map(|one| self.ranks.get(&one.id)).min();
        if newest.is_some_and(|newer| *newer < rule.keep_versions) {
            return Some(Keep::Newest(rule.keep_versions));
        }
        let last = of.iter().map(|one| self.last_use(one)).max()?;
        if now.since(last) < micros(rule.younger_than) {
            return Some(Keep::Young(last));
        }
        let root = |upstream: &Upstream| of.iter().find_map(|one| upstream.get(&one.id)).copied();
        let latest = rule.keep_inputs_of.latest.then(|| root(&self.of_latest)).flatten();
        let tagged = || rule.keep_inputs_of.tags.then(|| root(&self.of_tags)).flatten();
        if let Some(root) = latest.or_else(tagged).and_then(|root| facts.publication(root)) {
            return Some(Keep::InputOf(root.dataset, root.version));
        }
        if facts.held.contains(&version.hash) {
            return Some(Keep::Held);
        }
        if facts.contents.get(&version.hash).is_some_and(|content| content.proof) {
            return Some(Keep::Proof);
        }
        if let Some(why) = self.remakeable.why_not(facts, version) {
            return Some(Keep::Unmakeable(why));
        }
        let cost = of.iter().filter_map(|one| facts.attempt(facts.attempt(one.attempt)?.origin())).map(|it| it.wall_us);
        let cost = cost.max().unwrap_or(0);
        rule.cheaper_than.filter(|limit| cost > micros(*limit)).map(|_| Keep::Costly(cost))
    }

    /// When a publication was made, read, or stood for a task last.
    fn last_use(&self, one: &Publication) -> Timestamp {
        let times = [self.read.get(&one.id), self.facts.stood.get(&one.attempt)];
        times.into_iter().flatten().copied().fold(one.created, Timestamp::max)
    }
}

/// How many versions of the same dataset and cell were published later.
fn ranks(facts: &Facts) -> HashMap<NodeId, u32> {
    let mut seen: HashMap<(usize, &str), HashSet<i64>> = HashMap::new();
    let mut ranks = HashMap::new();
    for one in facts.publications.iter().rev() {
        let newer = seen.entry((one.dataset, &one.subset)).or_default();
        let rank = u32::try_from(newer.len()).unwrap_or(u32::MAX);
        if newer.insert(one.version) {
            ranks.insert(one.id, rank);
        }
    }
    ranks
}

fn upstream(facts: &Facts, roots: impl Iterator<Item = NodeId>) -> Upstream {
    let mut roots: Vec<NodeId> = roots.collect();
    roots.sort_unstable();
    let mut found = Upstream::new();
    let mut todo: Vec<(NodeId, NodeId)> = roots.into_iter().map(|root| (root, root)).collect();
    while let Some((at, root)) = todo.pop() {
        let Some(publication) = facts.publication(at) else { continue };
        for read in read_by(facts, publication.attempt) {
            if let Entry::Vacant(new) = found.entry(read) {
                new.insert(root);
                todo.push((read, root));
            }
        }
    }
    found
}

fn read_by(facts: &Facts, attempt: NodeId) -> impl Iterator<Item = NodeId> {
    let start = facts.readings.partition_point(|(reader, _)| *reader < attempt);
    facts.readings[start..].iter().take_while(move |(reader, _)| *reader == attempt).map(|(_, read)| *read)
}

/// Contents that can be made again even where everything goes that can be made again.
struct Remakeable {
    /// An attempt that can be repeated made them.
    made: HashSet<ContentHash>,
    /// Something was made of them before they could be made themselves: they would be needed to make themselves.
    first: HashSet<ContentHash>,
}

impl Remakeable {
    /// Goes through the attempts in the order in which they were made. Ids grow along every edge, so whatever is made from
    /// what is stored for ever, and from what was made so far, rests on no circle.
    fn of(facts: &Facts) -> Self {
        let (mut made, mut first) = (HashSet::new(), HashSet::new());
        let mut published = facts.publications.iter().collect::<Vec<_>>();
        published.sort_by_key(|one| (one.attempt, one.id));
        for attempt in facts.attempts.iter().filter(|attempt| attempt.is_repeatable()) {
            let start = published.partition_point(|one| one.attempt < attempt.id);
            let outputs = published[start..].iter().take_while(|one| one.attempt == attempt.id);
            let inputs: Option<Vec<ContentHash>> =
                read_by(facts, attempt.id).map(|read| facts.publication(read).map(|one| one.hash)).collect();
            let Some(inputs) = inputs else { continue };
            if inputs.iter().all(|input| made.contains(input) || facts.is_stored(input)) {
                first.extend(inputs.into_iter().filter(|input| !made.contains(input)));
                made.extend(outputs.map(|one| one.hash));
            }
        }
        Self { made, first }
    }

    /// Why a version cannot be made again, where it cannot.
    fn why_not(&self, facts: &Facts, version: &Version<'_>) -> Option<Unmakeable> {
        if self.made.contains(&version.hash) {
            return self.first.contains(&version.hash).then_some(Unmakeable::Circular);
        }
        let origins = version.publications.iter().filter_map(|one| facts.attempt(facts.attempt(one.attempt)?.origin()));
        let mut why = origins.map(|origin| match origin {
            origin if matches!(origin.kind, AttemptKind::Ingest | AttemptKind::Observe) => Unmakeable::Source,
            origin if origin.tainted => Unmakeable::Tainted,
            origin if !origin.reusable => Unmakeable::NotReusable,
            _ => Unmakeable::Inputs,
        });
        Some(why.next_back().unwrap_or(Unmakeable::Inputs))
    }
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
