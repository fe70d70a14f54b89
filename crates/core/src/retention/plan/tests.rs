//! The decision on small records by hand, and its promises on random ones.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::record::ContentKind;
use crate::retention::facts::{Attempt, Content};
use crate::retention::rules::{DatasetPattern, InputsOf};

const NOW: Timestamp = Timestamp(1_000_000_000);

fn hash(content: usize) -> ContentHash {
    ContentHash::of(&content.to_le_bytes())
}

/// Keeps nothing on its own.
fn lax() -> ObjectRule {
    ObjectRule {
        datasets: DatasetPattern::new("*"),
        keep_versions: 0,
        younger_than: Duration::ZERO,
        cheaper_than: None,
        keep_inputs_of: InputsOf::default(),
    }
}

/// A record that is written down attempt by attempt.
#[derive(Debug, Clone, Default)]
struct Book {
    facts: Facts,
    next: i64,
}

impl Book {
    fn id(&mut self) -> NodeId {
        self.next += 1;
        NodeId(self.next)
    }

    /// An attempt that read publications and published `(dataset, content)`s. The newest is what `@latest` names.
    fn attempt(&mut self, kind: AttemptKind, reads: &[NodeId], outputs: &[(usize, usize)]) -> Vec<NodeId> {
        let id = self.id();
        let created = Timestamp(id.0);
        let (reusable, reused_from) = (true, None);
        self.facts.attempts.push(Attempt { id, kind, reusable, tainted: false, reused_from, created, wall_us: 1_000 });
        let mut reads = reads.to_vec();
        reads.sort_unstable();
        reads.dedup();
        self.facts.readings.extend(reads.into_iter().map(|read| (id, read)));
        outputs.iter().map(|(dataset, content)| self.publish(id, *dataset, *content)).collect()
    }

    fn publish(&mut self, attempt: NodeId, dataset: usize, content: usize) -> NodeId {
        while self.facts.datasets.len() <= dataset {
            self.facts.datasets.push(format!("p/{}", self.facts.datasets.len()));
        }
        let (id, hash) = (self.id(), hash(content));
        let of_dataset = || self.facts.publications.iter().filter(|one| one.dataset == dataset);
        let version = of_dataset().find(|one| one.hash == hash).map(|one| one.version);
        let version = version.unwrap_or_else(|| of_dataset().map(|one| one.version).max().unwrap_or(0) + 1);
        let content = Content { kind: ContentKind::File, size: 1, proof: false, stored: true };
        self.facts.contents.insert(hash, content);
        let older: Vec<NodeId> = of_dataset().map(|one| one.id).collect();
        older.iter().for_each(|one| _ = self.facts.latest.remove(one));
        self.facts.latest.insert(id);
        let (subset, created) = (String::new(), Timestamp(id.0));
        self.facts.publications.push(Publication { id, dataset, version, subset, hash, attempt, created });
        id
    }

    fn last(&mut self) -> &mut Attempt {
        self.facts.attempts.last_mut().unwrap()
    }

    fn decision(&self, rules: &[ObjectRule], dataset: usize, version: i64) -> Decision {
        let plan = plan(rules, &self.facts, NOW);
        plan.verdicts.into_iter().find(|it| (it.dataset, it.version) == (dataset, version)).unwrap().decision
    }
}

/// A source in two versions, a table made of each, a model made of each table.
fn story() -> Book {
    let mut book = Book::default();
    for version in 0..2 {
        let raw = book.attempt(AttemptKind::Ingest, &[], &[(0, version)]);
        let table = book.attempt(AttemptKind::Run, &raw, &[(1, 10 + version)]);
        book.attempt(AttemptKind::Run, &table, &[(2, 20 + version)]);
    }
    book
}

#[test]
fn without_rules_everything_stays() {
    let plan = plan(&[], &story().facts, NOW);
    assert_eq!(plan.evict, []);
    assert!(plan.verdicts.iter().all(|verdict| verdict.decision == Decision::Keep(Keep::NoRule)));
    assert_eq!(plan.verdicts.len(), 6);
}

#[test]
fn each_reason_to_keep_is_said() {
    let rules = [lax()];
    let story = story();
    let keep = |book: &Book, rules: &[ObjectRule]| book.decision(rules, 1, 1);
    assert_eq!(keep(&story, &rules), Decision::Evict);
    assert_eq!(story.decision(&rules, 1, 2), Decision::Keep(Keep::Latest));
    assert_eq!(story.decision(&rules, 0, 1), Decision::Keep(Keep::Unmakeable(Unmakeable::Source)));
    let table = story.facts.publications.iter().find(|one| (one.dataset, one.version) == (1, 1)).unwrap().id;

    let with = |change: &dyn Fn(&mut Book)| {
        let mut book = story.clone();
        change(&mut book);
        keep(&book, &rules)
    };
    let tag = |book: &mut Book| _ = book.facts.tagged.insert(table, "gold".to_owned());
    assert_eq!(with(&tag), Decision::Keep(Keep::Tagged("gold".to_owned())));
    assert_eq!(with(&|book| _ = book.facts.held.insert(hash(10))), Decision::Keep(Keep::Held));
    let proof = |book: &mut Book| book.facts.contents.get_mut(&hash(10)).unwrap().proof = true;
    assert_eq!(with(&proof), Decision::Keep(Keep::Proof));
    let tainted = |book: &mut Book| book.facts.attempts[1].tainted = true;
    assert_eq!(with(&tainted), Decision::Keep(Keep::Unmakeable(Unmakeable::Tainted)));
    let never = |book: &mut Book| book.facts.attempts[1].reusable = false;
    assert_eq!(with(&never), Decision::Keep(Keep::Unmakeable(Unmakeable::NotReusable)));
    let lost = |book: &mut Book| book.facts.contents.get_mut(&hash(0)).unwrap().stored = false;
    assert_eq!(with(&lost), Decision::Keep(Keep::Unmakeable(Unmakeable::Inputs)));
    let gone = |book: &mut Book| book.facts.contents.get_mut(&hash(10)).unwrap().stored = false;
    assert_eq!(with(&gone), Decision::Evicted { remakeable: true });
    assert_eq!(with(&|book| _ = book.facts.contents.remove(&hash(10))), Decision::Elsewhere);
    let same = |book: &mut Book| drop(book.attempt(AttemptKind::Ingest, &[], &[(3, 10)]));
    assert_eq!(with(&same), Decision::Keep(Keep::Same(3, 1)));

    let by = |rule: ObjectRule| keep(&story, &[rule]);
    assert_eq!(by(ObjectRule { keep_versions: 2, ..lax() }), Decision::Keep(Keep::Newest(2)));
    let second = Duration::from_secs(1_000);
    let read = Timestamp(story.facts.attempts[2].created.0);
    assert_eq!(by(ObjectRule { younger_than: second, ..lax() }), Decision::Keep(Keep::Young(read)));
    let cheap = Some(Duration::from_micros(999));
    assert_eq!(by(ObjectRule { cheaper_than: cheap, ..lax() }), Decision::Keep(Keep::Costly(1_000)));
    let exactly = Some(Duration::from_micros(1_000));
    assert_eq!(by(ObjectRule { cheaper_than: exactly, ..lax() }), Decision::Evict);

    let model = story.facts.publications.iter().find(|one| (one.dataset, one.version) == (2, 1)).unwrap().id;
    let inputs = ObjectRule { keep_inputs_of: InputsOf { latest: true, tags: true }, ..lax() };
    let mut tagged = story.clone();
    tagged.facts.tagged.insert(model, "gold".to_owned());
    assert_eq!(keep(&tagged, std::slice::from_ref(&inputs)), Decision::Keep(Keep::InputOf(2, 1)));
    assert_eq!(keep(&story, &[inputs]), Decision::Evict, "the latest model was made of another table");
}

#[test]
fn the_first_rule_that_matches_counts() {
    let only =
        |pattern: &str, keep_versions| ObjectRule { datasets: DatasetPattern::new(pattern), keep_versions, ..lax() };
    let story = story();
    let rules = [only("p/1", 2), only("p/*", 0)];
    assert_eq!(story.decision(&rules, 1, 1), Decision::Keep(Keep::Newest(2)));
    assert_eq!(story.decision(&rules, 2, 1), Decision::Evict);
    let plan = plan(&rules, &story.facts, NOW);
    assert_eq!(plan.verdicts.iter().map(|it| it.rule.unwrap()).collect::<Vec<_>>(), [1, 1, 0, 0, 1, 1]);
}

#[test]
fn a_version_is_young_while_it_stands_for_tasks() {
    let mut story = story();
    let rule = [ObjectRule { younger_than: Duration::from_micros(10), ..lax() }];
    assert_eq!(story.decision(&rule, 1, 1), Decision::Evict);
    let maker = story.facts.attempts[1].id;
    story.facts.stood.insert(maker, Timestamp(NOW.0 - 9));
    assert_eq!(story.decision(&rule, 1, 1), Decision::Keep(Keep::Young(Timestamp(NOW.0 - 9))));
}

#[test]
fn of_two_that_were_made_of_each_other_one_stays() {
    let mut book = Book::default();
    let raw = book.attempt(AttemptKind::Ingest, &[], &[(0, 1)]);
    // Packed and unpacked again, where the packed bytes were known before.
    let packed = book.attempt(AttemptKind::Ingest, &[], &[(1, 2)]);
    let unpacked = book.attempt(AttemptKind::Run, &packed, &[(2, 3)]);
    book.attempt(AttemptKind::Run, &unpacked, &[(3, 2)]);
    book.attempt(AttemptKind::Run, &raw, &[(1, 9), (2, 9), (3, 9)]);
    assert_eq!(plan(&[lax()], &book.facts, NOW).evict, [hash(3)]);
}

#[test]
fn other_cells_do_not_push_a_version_out() {
    let mut book = Book::default();
    let raw = book.attempt(AttemptKind::Ingest, &[], &[(0, 1)]);
    for content in 10..14 {
        let made = book.attempt(AttemptKind::Run, &raw, &[(1, content)])[0];
        let cell = format!("n={}", content % 2);
        book.facts.publications.iter_mut().find(|one| one.id == made).unwrap().subset = cell;
    }
    let rules = [ObjectRule { keep_versions: 1, ..lax() }];
    let latest = book.facts.publications.iter().rev().take(2).map(|one| one.id).collect();
    book.facts.latest = latest;
    assert_eq!(book.decision(&rules, 1, 1), Decision::Evict);
    assert_eq!(book.decision(&rules, 1, 3), Decision::Keep(Keep::Latest));
}

/// A random record: few contents and datasets, so that bytes come back, also in circles.
fn any_book() -> impl Strategy<Value = Book> {
    let attempt = (0..10u8, prop::collection::vec(any::<prop::sample::Index>(), 0..3), 0..12usize, 0..5usize, 0..9u8);
    prop::collection::vec(attempt, 1..30).prop_map(|attempts| {
        let mut book = Book::default();
        for (kind, reads, content, dataset, oddity) in attempts {
            let all: Vec<NodeId> = book.facts.publications.iter().map(|one| one.id).collect();
            let reads: Vec<NodeId> =
                if all.is_empty() { Vec::new() } else { reads.iter().map(|read| *read.get(&all)).collect() };
            let kind = if kind < 2 { AttemptKind::Ingest } else { AttemptKind::Run };
            let reads = if kind == AttemptKind::Ingest { Vec::new() } else { reads };
            let made = book.attempt(kind, &reads, &[(dataset, content), (dataset + 1, content + 1)]);
            match oddity {
                0 => book.last().tainted = true,
                1 => book.last().reusable = false,
                2 => _ = book.facts.tagged.insert(made[0], "t".to_owned()),
                3 => _ = book.facts.held.insert(hash(content)),
                4 => book.facts.contents.get_mut(&hash(content)).unwrap().proof = true,
                5 => book.last().wall_us = 9_000,
                _ => {}
            }
            if oddity == 0 {
                made.iter().for_each(|one| _ = book.facts.latest.remove(one));
            }
        }
        book
    })
}

fn any_rule() -> impl Strategy<Value = ObjectRule> {
    (prop::sample::select(vec!["*", "p/1", "p/?"]), 0..3u32, 0..60u64, prop::option::of(0..9u64), any::<(bool, bool)>())
        .prop_map(|(pattern, keep_versions, age, cost, (latest, tags))| ObjectRule {
            datasets: DatasetPattern::new(pattern),
            keep_versions,
            younger_than: Duration::from_micros(age),
            cheaper_than: cost.map(Duration::from_millis),
            keep_inputs_of: InputsOf { latest, tags },
        })
}

/// A rule that keeps at least what the other keeps.
fn stricter(rule: &ObjectRule, more: u32) -> ObjectRule {
    ObjectRule {
        keep_versions: rule.keep_versions + more % 2,
        younger_than: rule.younger_than + Duration::from_micros(u64::from(more)),
        cheaper_than: match more % 3 {
            0 => rule.cheaper_than,
            _ => Some(rule.cheaper_than.unwrap_or(Duration::from_millis(9)).saturating_sub(Duration::from_millis(1))),
        },
        keep_inputs_of: InputsOf {
            latest: rule.keep_inputs_of.latest || more.is_multiple_of(2),
            tags: rule.keep_inputs_of.tags || more.is_multiple_of(5),
        },
        ..rule.clone()
    }
}

/// All contents that are stored or can be made, by trying for as long as anything new comes of it.
fn obtainable(facts: &Facts) -> HashSet<ContentHash> {
    let mut have: HashSet<ContentHash> =
        facts.contents.iter().filter(|(_, content)| content.stored).map(|(hash, _)| *hash).collect();
    loop {
        let before = have.len();
        for attempt in facts.attempts.iter().filter(|attempt| attempt.is_repeatable()) {
            let mut reads = facts.readings.iter().filter(|(reader, _)| *reader == attempt.id);
            if reads.all(|(_, read)| have.contains(&facts.publication(*read).unwrap().hash)) {
                have.extend(facts.publications.iter().filter(|one| one.attempt == attempt.id).map(|one| one.hash));
            }
        }
        if have.len() == before {
            return have;
        }
    }
}

fn carry_out(book: &mut Book, plan: &Plan) {
    for hash in &plan.evict {
        book.facts.contents.get_mut(hash).unwrap().stored = false;
    }
}

proptest! {
    #[test]
    fn what_goes_can_be_made_again_however_often_rules_change(
        mut book in any_book(), rounds in prop::collection::vec(prop::collection::vec(any_rule(), 0..3), 1..4),
    ) {
        let before = obtainable(&book.facts);
        for rules in rounds {
            let plan = plan(&rules, &book.facts, Timestamp(80));
            carry_out(&mut book, &plan);
            prop_assert_eq!(&obtainable(&book.facts), &before);
        }
    }

    #[test]
    fn what_is_named_needed_or_proof_stays(book in any_book(), rules in prop::collection::vec(any_rule(), 0..3)) {
        let plan = plan(&rules, &book.facts, Timestamp(80));
        let facts = &book.facts;
        for hash in &plan.evict {
            prop_assert!(!facts.held.contains(hash) && !facts.contents[hash].proof);
            let of = facts.publications.iter().filter(|one| one.hash == *hash);
            for one in of {
                prop_assert!(!facts.latest.contains(&one.id) && !facts.tagged.contains_key(&one.id));
            }
            let said = plan.verdicts.iter().filter(|verdict| verdict.hash == *hash);
            prop_assert!(said.into_iter().all(|verdict| verdict.decision == Decision::Evict));
        }
        let said = plan.verdicts.iter().filter(|verdict| verdict.decision == Decision::Evict);
        prop_assert!(said.into_iter().all(|verdict| plan.evict.contains(&verdict.hash)));
    }

    #[test]
    fn a_stricter_rule_never_gives_up_more(
        book in any_book(), rules in prop::collection::vec(any_rule(), 1..3), more in 0..30u32, at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(rules.len());
        let mut strict = rules.clone();
        strict[at] = stricter(&rules[at], more);
        let lax: HashSet<ContentHash> = plan(&rules, &book.facts, Timestamp(80)).evict.into_iter().collect();
        let strict: HashSet<ContentHash> = plan(&strict, &book.facts, Timestamp(80)).evict.into_iter().collect();
        prop_assert!(strict.is_subset(&lax), "{:?} is not within {:?}", strict, lax);
    }

    #[test]
    fn a_plan_that_was_carried_out_leaves_nothing_to_do(book in any_book(), rules in prop::collection::vec(any_rule(), 0..3)) {
        let mut book = book;
        let first = plan(&rules, &book.facts, Timestamp(80));
        carry_out(&mut book, &first);
        let second = plan(&rules, &book.facts, Timestamp(80));
        prop_assert_eq!(second.evict, Vec::new());
    }
}
