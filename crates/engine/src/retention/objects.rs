//! Giving up bytes, so that nothing that anybody counts on ever goes.
//!
//! Content is given up in this order: the record says so; then its root goes, unless somebody has touched it; then the rest
//! of it. Whoever looks a result up [holds](runstone_exec::objects::ObjectStore::hold) its root first and looks for the rest
//! afterwards. So the removal of the root decides: who held it before finds all of it, who comes later finds none of it.
//! Where everything ends in between, what is left over is given up the next time.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use runstone_core::hash::ContentHash;
use runstone_core::retention::store::Candidate;
use runstone_core::retention::{Decision, Facts, Plan};
use runstone_exec::objects::{Checkouts, ObjectError, ObjectKind, ObjectStore, Removal, Unused};

use super::hands::Hands;
use super::{Amount, EvictedVersion, Progress, Report, RetentionError};
use crate::failpoint;
use crate::site::object_kind;

/// So much is given up in one transaction.
const AT_ONCE: usize = 256;

/// Times before which nobody may have touched what goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// What nobody who is at it now can have touched.
    pub(super) guard: SystemTime,
    /// The same, and older than what is spared for its age.
    pub(super) spare: SystemTime,
}

/// Content that is to be given up.
#[derive(Debug)]
struct Victim {
    candidate: Candidate,
    /// The rule that gives it up; none for what was given up before and is still there.
    rule: Option<usize>,
    is_tree: bool,
    /// Everything below the root.
    rest: Vec<ContentHash>,
}

/// What is in the content store, and what of it must stay.
pub(super) struct Stock<'a> {
    objects: &'a ObjectStore,
    facts: &'a Facts,
    /// Everything that is there, and when it was touched.
    pub(super) there: HashMap<ContentHash, SystemTime>,
    needed: HashSet<ContentHash>,
    victims: Vec<Victim>,
    /// Versions that go, by content: dataset and number.
    versions: HashMap<ContentHash, Vec<(usize, i64)>>,
}

impl<'a> Stock<'a> {
    /// Looks through the store. `facts` were read after `there` was listed: what came to be recorded in between is spared by
    /// its age.
    pub(super) fn take(
        objects: &'a ObjectStore,
        there: HashMap<ContentHash, SystemTime>,
        facts: &'a Facts,
        plan: &Plan,
    ) -> Result<Self, RetentionError> {
        let mut stock =
            Self { objects, facts, there, needed: HashSet::new(), victims: Vec::new(), versions: HashMap::new() };
        let goes: HashSet<&ContentHash> = plan.evict.iter().collect();
        for hash in facts.contents.iter().filter(|(hash, it)| it.stored && !goes.contains(hash)).map(|(hash, _)| hash) {
            stock.needed.insert(*hash);
            let needed = &mut stock.needed;
            // What a folder that cannot be read would need is not known, so nothing may be removed.
            let mut visit = |hash: ContentHash, root: bool| needed.insert(hash) || root;
            reach(objects, facts, *hash, &mut visit).map_err(RetentionError::Damaged)?;
        }
        stock.choose(plan);
        Ok(stock)
    }

    /// What is left over of what was given up before goes as well. What other content needs is left alone.
    fn choose(&mut self, plan: &Plan) {
        let uses = self.facts.uses();
        let mut rules: HashMap<ContentHash, usize> = HashMap::new();
        for verdict in plan.verdicts.iter().filter(|verdict| verdict.decision == Decision::Evict) {
            self.versions.entry(verdict.hash).or_default().push((verdict.dataset, verdict.version));
            if let Some(rule) = verdict.rule {
                rules.entry(verdict.hash).or_insert(rule);
            }
        }
        let is_left = |hash: &ContentHash| !self.facts.is_stored(hash) && self.there.contains_key(hash);
        let left = self.facts.contents.keys().filter(|hash| is_left(hash));
        let mut chosen: Vec<ContentHash> = plan.evict.iter().chain(left).copied().collect();
        chosen.retain(|hash| !self.needed.contains(hash));
        chosen.sort_unstable();
        chosen.dedup();
        self.victims = chosen
            .into_iter()
            .map(|hash| {
                let (publications, readings) = uses.get(&hash).copied().unwrap_or_default();
                let mut rest = Vec::new();
                let mut seen = HashSet::new();
                // What is damaged goes as far as it can be read; the remainder is found unneeded later.
                let _ = reach(self.objects, self.facts, hash, &mut |found, root| {
                    if found != hash && seen.insert(found) {
                        rest.push(found);
                        return true;
                    }
                    root
                });
                Victim {
                    candidate: Candidate { hash, publications, readings },
                    rule: rules.get(&hash).copied(),
                    is_tree: self.facts.contents.get(&hash).is_some_and(|it| object_kind(it.kind) == ObjectKind::Tree),
                    rest,
                }
            })
            .collect();
    }

    /// Gives up what was chosen, then removes what nothing needs.
    pub(super) fn give_up(
        mut self,
        hands: &mut dyn Hands,
        limits: Limits,
        checkouts: Option<&Checkouts>,
        report: &mut Report,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), RetentionError> {
        let victims = std::mem::take(&mut self.victims);
        let (total, mut gone) = (victims.len(), Vec::new());
        let mut victims = victims.into_iter().peekable();
        while victims.peek().is_some() {
            let some: Vec<Victim> = victims.by_ref().take(AT_ONCE).collect();
            gone.extend(self.remove_roots(hands, some, limits, report)?);
            progress(Progress::GivenUp { done: total - victims.len(), total });
        }
        failpoint::hit("gc_after_roots");
        self.remove_rest(hands, gone, limits, checkouts, report)?;
        failpoint::hit("gc_after_rest");
        self.remove_unneeded(hands, limits, report, progress)
    }

    /// Notes contents as given up and removes their roots. Gives those that are gone.
    fn remove_roots(
        &mut self,
        hands: &mut dyn Hands,
        victims: Vec<Victim>,
        limits: Limits,
        report: &mut Report,
    ) -> Result<Vec<Victim>, RetentionError> {
        // Noting what was touched already would only be taken back.
        let is_young = |victim: &Victim| {
            let hash = &victim.candidate.hash;
            self.facts.is_stored(hash) && self.there.get(hash).is_some_and(|touched| *touched >= limits.guard)
        };
        let (young, old): (Vec<Victim>, Vec<Victim>) = victims.into_iter().partition(is_young);
        let candidates: Vec<Candidate> = old.iter().map(|victim| victim.candidate).collect();
        let given_up: HashSet<ContentHash> = hands.give_up(&candidates)?.into_iter().collect();
        failpoint::hit("gc_after_mark");
        let (old, held): (Vec<Victim>, Vec<Victim>) =
            old.into_iter().partition(|victim| given_up.contains(&victim.candidate.hash));
        let roots: Vec<ContentHash> = old.iter().map(|victim| victim.candidate.hash).collect();
        let removals = hands.remove(&roots, limits.guard)?;
        let (mut gone, mut spared) = (Vec::new(), Vec::new());
        for (victim, removal) in old.into_iter().zip(removals) {
            match removal {
                Removal::Spared => spared.push(victim),
                Removal::Missing => gone.push(victim),
                Removal::Removed { freed } => {
                    report.count(victim.rule, freed);
                    gone.push(victim);
                }
            }
        }
        hands.revive(&spared.iter().map(|victim| victim.candidate.hash).collect::<Vec<_>>())?;
        for victim in young.iter().chain(&held).chain(&spared) {
            self.needed.insert(victim.candidate.hash);
            self.needed.extend(&victim.rest);
        }
        Ok(gone)
    }

    /// Removes what only those contents needed whose roots are gone.
    fn remove_rest(
        &mut self,
        hands: &mut dyn Hands,
        gone: Vec<Victim>,
        limits: Limits,
        checkouts: Option<&Checkouts>,
        report: &mut Report,
    ) -> Result<(), RetentionError> {
        for victim in gone {
            if let Some(rule) = victim.rule {
                report.rules[rule].contents += 1;
                report.evicted.extend(self.versions(victim.candidate.hash));
            }
            let mut rest = victim.rest;
            rest.retain(|hash| !self.needed.contains(hash) && self.there.remove(hash).is_some());
            self.there.remove(&victim.candidate.hash);
            for removal in hands.remove(&rest, limits.guard)? {
                if let Removal::Removed { freed } = removal {
                    report.count(victim.rule, freed);
                }
            }
            // After the objects, which it touches when it goes. Nobody can have it made any more, so its age says nothing.
            let checkout = checkouts.filter(|_| victim.is_tree).and_then(|all| all.of(victim.candidate.hash));
            if let Some(checkout) = checkout
                && let Some(freed) = hands.remove_checkout(&checkout, far_future())?
            {
                report.checkouts.count += 1;
                report.of(victim.rule).bytes += freed;
            }
        }
        Ok(())
    }

    /// Removes what no content needs: what was made and never recorded, and what is left over.
    fn remove_unneeded(
        &mut self,
        hands: &mut dyn Hands,
        limits: Limits,
        report: &mut Report,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), RetentionError> {
        let mut unneeded: Vec<ContentHash> = self
            .there
            .iter()
            .filter(|(hash, changed)| !self.needed.contains(hash) && **changed < limits.spare)
            .map(|(hash, _)| *hash)
            .collect();
        unneeded.sort_unstable();
        let total = unneeded.len();
        for (at, some) in unneeded.chunks(AT_ONCE).enumerate() {
            for removal in hands.remove(some, limits.spare)? {
                if let Removal::Removed { freed } = removal {
                    report.count(None, freed);
                }
            }
            progress(Progress::Removed { done: at * AT_ONCE + some.len(), total });
        }
        Ok(())
    }

    /// The versions that go with a content.
    fn versions(&self, hash: ContentHash) -> impl Iterator<Item = EvictedVersion> {
        let size_bytes = self.facts.contents.get(&hash).map_or(0, |content| content.size);
        let versions = self.versions.get(&hash).into_iter().flatten();
        versions.map(move |(dataset, version)| EvictedVersion {
            dataset: self.facts.datasets[*dataset].clone(),
            version: *version,
            hash: hash.to_string(),
            size_bytes,
        })
    }
}

/// Removes checkouts that nobody asked for lately and that no run may be using.
pub(super) fn tidy_checkouts(
    hands: &mut dyn Hands,
    unused: &[Unused],
    limits: Limits,
    report: &mut Report,
) -> Result<(), RetentionError> {
    for unused in unused {
        if let Some(freed) = hands.remove_checkout(unused, limits.spare)? {
            report.checkouts.add(Amount { count: 1, bytes: freed });
        }
    }
    Ok(())
}

fn far_future() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

/// Visits everything that a content needs, itself first. `visit` hears whether it is the root.
fn reach(
    objects: &ObjectStore,
    facts: &Facts,
    hash: ContentHash,
    visit: &mut dyn FnMut(ContentHash, bool) -> bool,
) -> Result<(), ObjectError> {
    let Some(content) = facts.contents.get(&hash) else { return Ok(()) };
    objects.reach(hash, object_kind(content.kind), &mut |reached| Ok(visit(reached.hash, reached.hash == hash)))
}
