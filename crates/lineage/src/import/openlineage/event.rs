//! One event, from JSON to what it asserts. Pure; whatever is wrong is said with its place in the event.

use runstone_core::lineage::asserted::{
    Body, EventKind, EventType, NewAssertedEdge, NewAssertedEvent, NewAssertedRun, NewSymlinks, Qualified, Side,
};
use runstone_core::time::Timestamp;
use serde_json::Value;
use uuid::Uuid;

/// Namespace and name together, and a version, bytes: they stand in indexes.
const MAX_NAME: usize = 2000;
const MAX_VERSION: usize = 1000;
/// The largest column lineage that is kept beside its edge, bytes. A larger one stands in the body alone.
const MAX_COLUMNS: usize = 64 << 10;

/// An event that was understood. Its body and what it is recognised by are still to be filled in.
pub(super) struct Understood {
    pub(super) event: NewAssertedEvent,
    /// Whether its time had an offset.
    pub(super) has_zone: bool,
    /// Whether the identity of its run, where it has one, is a UUID.
    pub(super) has_uuid: bool,
}

type Outcome<T> = Result<T, String>;

/// # Errors
/// What is wrong with it, for people.
pub(super) fn read(body: &Value) -> Outcome<Understood> {
    let kind = match ["run", "job", "dataset"].map(|field| body.get(field).is_some_and(|it| !it.is_null())) {
        [true, ..] => EventKind::Run,
        [_, true, _] => EventKind::Job,
        [.., true] => EventKind::Dataset,
        _ => return Err("it has neither run, job nor dataset".to_owned()),
    };
    let given_time = text(body, "", "eventTime")?;
    let (time, has_zone) =
        Timestamp::parse_lenient(given_time).ok_or_else(|| format!("eventTime {given_time:?} is no time"))?;
    let mut event = NewAssertedEvent {
        dedup: [0; 32],
        kind,
        event_type: None,
        time,
        run: None,
        job: None,
        edges: Vec::new(),
        datasets: Vec::new(),
        symlinks: Vec::new(),
        body: Body::Text(String::new()),
    };
    if kind == EventKind::Dataset {
        let dataset = qualified(&body["dataset"], "dataset")?;
        event.symlinks.extend(symlinks(&body["dataset"], "dataset", &dataset)?);
        event.datasets.push(dataset);
        return Ok(Understood { event, has_zone, has_uuid: true });
    }
    let job = qualified(&body["job"], "job")?;
    let run = match kind {
        EventKind::Run => {
            event.event_type = Some(event_type(body)?);
            run(text(&body["run"], "run.", "runId")?, &job)
        }
        _ => NewAssertedRun { uuid: derived("job", &job, ""), given: None },
    };
    let has_uuid = run.given.is_none();
    (event.run, event.job) = (Some(run), Some(job));
    datasets(body, Side::Input, &mut event)?;
    datasets(body, Side::Output, &mut event)?;
    Ok(Understood { event, has_zone, has_uuid })
}

fn event_type(body: &Value) -> Outcome<EventType> {
    // The schema does not require it.
    let Some(given) = body.get("eventType").filter(|it| !it.is_null()) else { return Ok(EventType::Other) };
    let known = given.as_str().and_then(|text| EventType::parse(&text.to_ascii_uppercase()));
    known.ok_or_else(|| {
        let all: Vec<_> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("eventType {given} is none of {}", all.join(", "))
    })
}

/// Some producers send what is no UUID. The same text of the same job is the same run.
fn run(given: &str, job: &Qualified) -> NewAssertedRun {
    match Uuid::parse_str(given) {
        Ok(uuid) => NewAssertedRun { uuid, given: None },
        Err(_) => NewAssertedRun { uuid: derived("run", job, given), given: Some(given.to_owned()) },
    }
}

/// UUIDv5 of what a run or a job is called. No part holds a NUL.
fn derived(what: &str, job: &Qualified, run: &str) -> Uuid {
    let name = format!("openlineage {what}\0{}\0{}\0{run}", job.namespace, job.name);
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
}

fn datasets(body: &Value, side: Side, event: &mut NewAssertedEvent) -> Outcome<()> {
    let field = match side {
        Side::Input => "inputs",
        Side::Output => "outputs",
    };
    let list = match body.get(field) {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(format!("{field} is no list")),
    };
    for (position, given) in list.iter().enumerate() {
        let place = format!("{field}[{position}]");
        let dataset = qualified(given, &place)?;
        event.symlinks.extend(symlinks(given, &place, &dataset)?);
        let columns = if side == Side::Output { columns(given) } else { None };
        event.edges.push(NewAssertedEdge { side, version: version(given, &place)?, dataset, columns });
    }
    Ok(())
}

fn qualified(given: &Value, place: &str) -> Outcome<Qualified> {
    let prefix = format!("{place}.");
    let (namespace, name) = (text(given, &prefix, "namespace")?, text(given, &prefix, "name")?);
    if namespace.len() + name.len() > MAX_NAME {
        return Err(format!("{place} has a name of more than {MAX_NAME} bytes"));
    }
    Ok(Qualified { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// A text that says something.
fn text<'v>(given: &'v Value, prefix: &str, field: &str) -> Outcome<&'v str> {
    match given.get(field) {
        None | Some(Value::Null) => Err(format!("{prefix}{field} is missing")),
        Some(Value::String(text)) if text.is_empty() => Err(format!("{prefix}{field} is empty")),
        Some(Value::String(text)) if text.contains('\0') => Err(format!("{prefix}{field} holds a NUL")),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("{prefix}{field} is no text but {}", kind_of(other))),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A facet of a dataset, and whether it was withdrawn.
fn facet<'v>(dataset: &'v Value, name: &str) -> Option<(&'v Value, bool)> {
    let facet = dataset.get("facets")?.get(name).filter(|facet| facet.is_object())?;
    Some((facet, facet.get("_deleted") == Some(&Value::Bool(true))))
}

/// Exactly what the producer says that it read or wrote; nothing is made up where it says nothing.
fn version(dataset: &Value, place: &str) -> Outcome<Option<String>> {
    let Some((facet, false)) = facet(dataset, "version") else { return Ok(None) };
    let given = match facet.get("datasetVersion") {
        Some(Value::String(text)) => text.clone(),
        // Table formats count their snapshots.
        Some(Value::Number(number)) => number.to_string(),
        _ => return Err(format!("{place}.facets.version.datasetVersion is no text")),
    };
    if given.len() > MAX_VERSION || given.contains('\0') {
        return Err(format!("{place} has a version of more than {MAX_VERSION} bytes, or with a NUL in it"));
    }
    Ok(Some(given).filter(|given| !given.is_empty()))
}

fn symlinks(given: &Value, place: &str, dataset: &Qualified) -> Outcome<Option<NewSymlinks>> {
    let Some((facet, is_deleted)) = facet(given, "symlinks") else { return Ok(None) };
    let mut names = Vec::new();
    if !is_deleted {
        let identifiers = facet.get("identifiers").and_then(Value::as_array);
        for (position, identifier) in identifiers.into_iter().flatten().enumerate() {
            names.push(qualified(identifier, &format!("{place}.facets.symlinks.identifiers[{position}]"))?);
        }
    }
    Ok(Some(NewSymlinks { dataset: dataset.clone(), names }))
}

fn columns(dataset: &Value) -> Option<Value> {
    match facet(dataset, "columnLineage")? {
        (_, true) => Some(Value::Null),
        (facet, false) => (facet.to_string().len() <= MAX_COLUMNS).then(|| facet.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({
            "eventType": "START", "eventTime": "2026-11-23T09:00:00.123456789Z", "producer": "https://example.org",
            "run": {"runId": "0190a1b2-c3d4-7000-8000-000000000001"},
            "job": {"namespace": "spark", "name": "daily"},
            "inputs": [{"namespace": "s3://b", "name": "in", "facets": {"version": {"datasetVersion": "7"}}}],
            "outputs": [{"namespace": "s3://b", "name": "out", "facets": {"unknown": {"deep": [1]}}}],
        })
    }

    fn with(pointer: &str, value: Value) -> Value {
        let mut event = event();
        *event.pointer_mut(pointer).unwrap() = value;
        event
    }

    fn wrong(event: &Value) -> String {
        read(event).err().unwrap_or_else(|| panic!("understood: {event}"))
    }

    #[test]
    fn an_event_says_who_read_and_wrote_exactly_what() {
        let understood = read(&event()).unwrap();
        let asserted = understood.event;
        assert!(understood.has_zone && understood.has_uuid);
        assert_eq!((asserted.kind, asserted.event_type), (EventKind::Run, Some(EventType::Start)));
        assert_eq!(asserted.time, Timestamp(1_795_424_400_123_456), "nanoseconds are cut");
        let edges: Vec<_> =
            asserted.edges.iter().map(|it| (it.side, it.dataset.name.as_str(), it.version.as_deref())).collect();
        assert_eq!(edges, [(Side::Input, "in", Some("7")), (Side::Output, "out", None)]);
    }

    #[test]
    fn what_producers_really_send_is_understood() {
        let same = |given: &str| {
            let understood = read(&with("/run/runId", json!(given))).unwrap();
            (understood.has_uuid, understood.event.run.unwrap())
        };
        assert!(same("0190A1B2C3D470008000000000000001").0, "other spellings of a UUID");
        let (has_uuid, run) = same("run_id");
        assert!(!has_uuid && run.given.as_deref() == Some("run_id") && run.uuid.get_version_num() == 5);
        assert_eq!(same("run_id").1, run);
        let mut other = with("/run/runId", json!("run_id"));
        other["job"]["name"] = json!("other");
        assert_ne!(read(&other).unwrap().event.run.unwrap(), run, "the same text of another job is another run");
        assert!(!read(&with("/eventTime", json!("2026-11-23T09:00:00"))).unwrap().has_zone);
        assert_eq!(read(&with("/eventType", Value::Null)).unwrap().event.event_type, Some(EventType::Other));
        assert_eq!(read(&with("/eventType", json!("complete"))).unwrap().event.event_type, Some(EventType::Complete));
        assert_eq!(read(&with("/inputs", Value::Null)).unwrap().event.edges.len(), 1);
        let numbered = with("/inputs/0/facets/version/datasetVersion", json!(7));
        assert_eq!(read(&numbered).unwrap().event.edges[0].version.as_deref(), Some("7"));
    }

    #[test]
    fn jobs_and_datasets_are_understood_without_a_run() {
        let mut job = event();
        job.as_object_mut().unwrap().remove("run");
        let asserted = read(&job).unwrap().event;
        assert_eq!((asserted.kind, asserted.event_type, asserted.edges.len()), (EventKind::Job, None, 2));
        let dataset = json!({"eventTime": "2026-11-23T09:00:00Z", "dataset": {"namespace": "n", "name": "a", "facets": {
            "symlinks": {"identifiers": [{"namespace": "hive", "name": "t", "type": "TABLE"}]}}}});
        let asserted = read(&dataset).unwrap().event;
        assert_eq!((asserted.kind, asserted.run, asserted.datasets.len()), (EventKind::Dataset, None, 1));
        assert_eq!(asserted.symlinks[0].names[0].name, "t");
    }

    #[test]
    fn facets_that_were_withdrawn_say_so() {
        let mut event = event();
        event["inputs"][0]["facets"]["version"]["_deleted"] = json!(true);
        event["outputs"][0]["facets"] = json!({"columnLineage": {"_deleted": true}, "symlinks": {"_deleted": true}});
        let asserted = read(&event).unwrap().event;
        assert_eq!(asserted.edges[0].version, None);
        assert_eq!(asserted.edges[1].columns, Some(Value::Null));
        assert_eq!(asserted.symlinks[0].names, []);
    }

    #[test]
    fn what_cannot_be_understood_is_said_with_its_place() {
        for (pointer, value, message) in [
            ("/eventTime", json!("yesterday"), "eventTime \"yesterday\" is no time"),
            ("/eventTime", Value::Null, "eventTime is missing"),
            ("/eventType", json!("BEGIN"), "eventType \"BEGIN\" is none of START"),
            ("/run/runId", json!(7), "run.runId is no text but a number"),
            ("/run/runId", json!(""), "run.runId is empty"),
            ("/job/name", json!("a\0b"), "job.name holds a NUL"),
            ("/inputs", json!({}), "inputs is no list"),
            ("/inputs/0/name", Value::Null, "inputs[0].name is missing"),
            ("/inputs/0", json!("x"), "inputs[0].namespace is missing"),
            ("/outputs/0/name", json!("x".repeat(3000)), "outputs[0] has a name of more than 2000 bytes"),
            ("/inputs/0/facets/version", json!({}), "inputs[0].facets.version.datasetVersion is no text"),
        ] {
            let said = wrong(&with(pointer, value));
            assert!(said.starts_with(message), "{said}");
        }
        assert_eq!(wrong(&json!({"eventTime": "2026-11-23T09:00:00Z"})), "it has neither run, job nor dataset");
        assert_eq!(
            wrong(&json!({"run": {"runId": "x"}, "eventTime": "2026-11-23T09:00:00Z"})),
            "job.namespace is missing"
        );
    }
}
