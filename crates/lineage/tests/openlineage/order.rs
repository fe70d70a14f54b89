//! Neither the order of events nor repetitions make a difference.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::rig::{Rig, dataset, event, symlinks};

fn any_dataset() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec!["a", "b", "t"]);
    let versions = prop::sample::select(vec!["", "1", "2"]);
    let aliases = prop::collection::vec(prop::sample::select(vec!["t", "u"]), 0..3);
    (names, versions, prop::option::weighted(0.3, aliases), any::<bool>()).prop_map(|(name, version, aliases, hive)| {
        let mut it = dataset(name, version);
        if hive {
            it["namespace"] = json!("hive://meta");
        }
        if let Some(aliases) = aliases {
            it = symlinks(it, &aliases);
        }
        it
    })
}

fn any_event() -> impl Strategy<Value = Value> {
    let kinds = prop::sample::select(vec!["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]);
    let some = || prop::collection::vec(any_dataset(), 0..3);
    (1..3_u32, kinds, 0..4_u32, some(), some())
        .prop_map(|(run, kind, second, inputs, outputs)| event(run, kind, second, &inputs, &outputs))
}

/// Events, the order in which they come the second time, and where that is cut into two imports.
fn any_story() -> impl Strategy<Value = (Vec<Value>, Vec<prop::sample::Index>, usize)> {
    let order = prop::collection::vec(any::<prop::sample::Index>(), 12);
    (prop::collection::vec(any_event(), 1..7), order, 0..12_usize)
}

#[test]
fn any_permutation_and_repetition_gives_the_same_graph() {
    let rig = std::cell::RefCell::new((Rig::new(), 0));
    let config = ProptestConfig { cases: 64, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&any_story(), |(events, order, cut)| {
        let (rig, number) = &mut *rig.borrow_mut();
        let mut fresh = |first: &[Value], second: &[Value]| {
            *number += 1;
            rig.empty_project(*number);
            rig.tell(first);
            // They meet what is on record already.
            rig.tell(second);
            rig.graph()
        };
        let mut turned: Vec<Value> = order.iter().map(|index| index.get(&events).clone()).collect();
        turned.extend(events.iter().rev().cloned());
        let (first, second) = turned.split_at(cut);
        prop_assert_eq!(fresh(&events, &[]), fresh(first, second));
        Ok(())
    });
    outcome.unwrap();
}
