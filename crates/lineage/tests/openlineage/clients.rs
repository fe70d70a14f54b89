//! What a real client library sends.

use runstone_core::lineage::asserted::{EventKind, EventType, Qualified};

use crate::rig::Rig;

const CLIENT: &str = include_str!("fixtures/client.jsonl");

#[test]
fn events_of_the_python_client_are_understood() {
    let mut rig = Rig::new();
    let report = rig.import(CLIENT);
    assert_eq!((report.received, report.new, report.failures.len()), (7, 7, 0), "{report:?}");
    assert_eq!((report.without_zone, report.without_uuid), (0, 0));
    let content = format!("b3:{}", "0123456789abcdef".repeat(4));
    let (one, two) = ("01940000-0000-7000-8000-000000000001", "01940000-0000-7000-8000-000000000002");
    let graph = rig.graph();
    for line in [
        format!("{one} \"orders.daily\" Some(Complete)"),
        format!("{one} input postgres://db:5432 shop.public.orders snapshot-17"),
        format!("{one} output s3://lake daily/orders.csv {content}"),
        format!("{two} \"orders.export\" Some(Fail)"),
        // Read by its other name.
        format!("{two} input s3://lake daily/orders.csv {content}"),
    ] {
        assert!(graph.contains(&line), "{line}: {graph:#?}");
    }
    let kinds: Vec<_> = rig.store.asserted_events(0, 10).unwrap().iter().map(|it| (it.kind, it.event_type)).collect();
    assert_eq!(kinds[5..], [(EventKind::Job, None), (EventKind::Dataset, None)]);
    assert_eq!(kinds[1], (EventKind::Run, Some(EventType::Running)));
    let events = rig.store.asserted_events(0, 10).unwrap();
    let columns = rig.store.asserted_columns(&[events[0].run.unwrap()]).unwrap();
    assert_eq!(columns[0].2["fields"]["total"]["inputFields"][0]["field"], "total");
    let table = Qualified { namespace: "hive://meta:9083".to_owned(), name: "lake.daily_orders".to_owned() };
    let file = Qualified { namespace: "s3://lake".to_owned(), name: "daily/orders.csv".to_owned() };
    assert_eq!(rig.store.asserted_dataset(&table).unwrap(), rig.store.asserted_dataset(&file).unwrap());
}
