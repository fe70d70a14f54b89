//! Asserted lineage around versions of ours.

use runstone_core::record::{Cut, NodeId};
use runstone_core::store::{Direction, WalkLimit};
use runstone_lineage::asserted::{AssertedView, neighbours};
use serde_json::json;

use crate::rig::{Rig, dataset, event};

fn walk(rig: &mut Rig, from: NodeId, direction: Direction, limit: WalkLimit) -> AssertedView {
    neighbours(&mut *rig.store, &[from], direction, limit).unwrap()
}

fn names(view: &AssertedView) -> Vec<String> {
    view.points.iter().map(|it| format!("{}@{}", it.name, it.version.as_deref().unwrap_or("-"))).collect()
}

fn hash(rig: &mut Rig, node: NodeId) -> String {
    rig.store.materializations_by_id(&[node]).unwrap()[0].hash.to_string()
}

#[test]
fn down_leads_to_who_read_our_version_and_back_to_us() {
    let mut rig = Rig::new();
    let raw = rig.step("raw", &[], "raw");
    let table = rig.step("table", &[], "of others");
    let (read, made) = (hash(&mut rig, raw), hash(&mut rig, table));
    let mut output = dataset("export", &made);
    output["facets"]["columnLineage"] = json!({"fields": {"x": {"inputFields": []}}});
    rig.tell(&[
        event(1, "COMPLETE", 1, &[dataset("copy of raw", &read)], &[dataset("mid", "3"), dataset("log", "")]),
        event(2, "COMPLETE", 2, &[dataset("mid", "3"), dataset("log", "")], &[output]),
        event(3, "COMPLETE", 3, &[dataset("mid", "4")], &[dataset("unrelated", "1")]),
    ]);
    let down = walk(&mut rig, raw, Direction::Down, WalkLimit::NONE);
    assert_eq!(names(&down), [&format!("copy of raw@{read}"), &format!("export@{made}"), "log@-", "mid@3"]);
    assert_eq!(
        (down.points[0].is.clone(), down.points[1].is.clone()),
        (vec!["lab/raw@v1".to_owned()], vec!["lab/table@v1".to_owned()])
    );
    assert_eq!(down.runs.iter().map(|run| run.job.as_str()).collect::<Vec<_>>(), ["job1", "job2"]);
    assert!(down.edges.iter().any(|edge| edge.point == 1 && edge.columns.is_some()), "{:?}", down.edges);
    assert!(!down.partial);
    let up = walk(&mut rig, table, Direction::Up, WalkLimit::NONE);
    assert_eq!(names(&up), names(&down));
    assert_eq!((up.start, up.direction, down.start), (vec![1], "up", vec![0]));
}

#[test]
fn our_own_name_says_which_of_equal_contents_is_meant() {
    let mut rig = Rig::new();
    let one = rig.step("one", &[], "same");
    let two = rig.step("two", &[], "same");
    let version = hash(&mut rig, one);
    let mut named = dataset("lab/one", &version);
    named["namespace"] = json!("runstone/lab");
    rig.tell(&[event(1, "COMPLETE", 1, &[named], &[dataset("a", "1")])]);
    assert_eq!(walk(&mut rig, one, Direction::Down, WalkLimit::NONE).runs.len(), 1);
    assert_eq!(walk(&mut rig, two, Direction::Down, WalkLimit::NONE).runs.len(), 0);
}

#[test]
fn limits_cut_and_say_so() {
    let mut rig = Rig::new();
    let raw = rig.step("raw", &[], "raw");
    let version = hash(&mut rig, raw);
    let mut events = vec![event(0, "COMPLETE", 0, &[dataset("raw", &version)], &[dataset("d0", "1")])];
    for number in 0..20 {
        let (from, to) = (dataset(&format!("d{number}"), "1"), dataset(&format!("d{}", number + 1), "1"));
        events.push(event(number + 1, "COMPLETE", 1, &[from], &[to]));
    }
    // A ring.
    events.push(event(30, "COMPLETE", 2, &[dataset("d20", "1")], &[dataset("d0", "1")]));
    rig.tell(&events);
    let all = walk(&mut rig, raw, Direction::Down, WalkLimit::NONE);
    assert_eq!((all.points.len(), all.runs.len(), all.partial), (22, 22, false));
    let near = walk(&mut rig, raw, Direction::Down, WalkLimit { depth: Some(2), ..WalkLimit::NONE });
    assert_eq!((near.points.len(), near.runs.len(), near.cut), (3, 2, Some(Cut::Depth)));
    let few = walk(&mut rig, raw, Direction::Down, WalkLimit { nodes: 5, ..WalkLimit::NONE });
    assert_eq!((few.points.len(), few.cut), (5, Some(Cut::Nodes)));
    let here = walk(&mut rig, raw, Direction::Down, WalkLimit { depth: Some(0), ..WalkLimit::NONE });
    assert_eq!((here.points.len(), here.runs.len(), here.partial), (1, 0, true));
}

#[test]
fn nothing_is_the_same_everywhere_and_means_nothing() {
    let mut rig = Rig::new();
    let empty = rig.step("empty", &[], "");
    let version = hash(&mut rig, empty);
    rig.tell(&[event(1, "COMPLETE", 1, &[dataset("_SUCCESS", &version)], &[])]);
    assert_eq!(walk(&mut rig, empty, Direction::Down, WalkLimit::NONE).points.len(), 0);
}
