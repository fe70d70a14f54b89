//! Executions as they were seen from outside, against what is on record.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use runstone_core::record::{AttemptKind, AttemptRecord, AttemptState, RunId};
use runstone_core::service::oracle::Snapshot;

/// One line.
struct Entry {
    what: String,
    attempt: String,
    run: i64,
    /// Microseconds since 1970.
    at: i64,
}

/// All lines, in the order in which they were written.
pub(crate) struct Ledger(Vec<Entry>);

impl Ledger {
    /// Reads the file. A line that is not whole is a finding.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        Self::parse(&std::fs::read_to_string(path).unwrap_or_default())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let entry = |line: &str| {
            let fields: Vec<&str> = line.split(' ').collect();
            let [what, attempt, run, at] = fields[..] else { return None };
            let (run, at) = (run.parse().ok()?, at.parse().ok()?);
            Some(Entry { what: what.to_owned(), attempt: attempt.to_owned(), run, at })
        };
        let parsed = text.lines().map(|line| entry(line).ok_or_else(|| format!("the ledger has the line {line:?}")));
        parsed.collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn begun(&self) -> usize {
        self.0.iter().filter(|entry| entry.what == "begin").count()
    }

    pub(crate) fn attempts(&self) -> BTreeSet<&str> {
        self.0.iter().map(|entry| entry.attempt.as_str()).collect()
    }

    /// What the record does not bear out.
    pub(crate) fn check(&self, snapshot: &Snapshot) -> Vec<String> {
        let attempts: BTreeMap<String, &AttemptRecord> =
            snapshot.attempts.iter().map(|attempt| (attempt.uuid.to_string(), attempt)).collect();
        let mut findings = Vec::new();
        self.check_attempts(&attempts, &mut findings);
        self.check_order(&attempts, &mut findings);
        self.check_ends_of_runs(snapshot, &mut findings);
        findings
    }

    /// Each attempt began at most once and is on record; one that succeeded began once and ended once.
    fn check_attempts(&self, attempts: &BTreeMap<String, &AttemptRecord>, findings: &mut Vec<String>) {
        let mut seen: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        for entry in &self.0 {
            let counts = seen.entry(&entry.attempt).or_default();
            match entry.what.as_str() {
                "begin" => counts.0 += 1,
                "end" => counts.1 += 1,
                _ => {}
            }
        }
        for (uuid, (begun, ended)) in &seen {
            if *begun != 1 || *ended > 1 {
                findings.push(format!("attempt {uuid} began {begun} times and ended {ended} times"));
            }
            if !attempts.contains_key(*uuid) {
                findings.push(format!("attempt {uuid} was executed and is not on record"));
            }
        }
        let succeeded =
            attempts.iter().filter(|(_, one)| one.kind == AttemptKind::Run && one.state == AttemptState::Succeeded);
        for (uuid, attempt) in succeeded {
            let counts = seen.get(uuid.as_str()).copied().unwrap_or_default();
            if counts != (1, 1) {
                findings.push(format!(
                    "{} succeeded on record, and began {} times and ended {} times",
                    name(attempt),
                    counts.0,
                    counts.1
                ));
            }
        }
    }

    /// Attempts of one task follow each other: once the next one has begun, the one before says nothing more.
    fn check_order(&self, attempts: &BTreeMap<String, &AttemptRecord>, findings: &mut Vec<String>) {
        let mut tasks: BTreeMap<(RunId, u32), Vec<&AttemptRecord>> = BTreeMap::new();
        for entry in &self.0 {
            let Some(attempt) = attempts.get(&entry.attempt).copied() else { continue };
            let before = tasks.entry((attempt.run, attempt.task)).or_default();
            match before.iter().position(|one| one.uuid == attempt.uuid) {
                Some(place) if place + 1 < before.len() => {
                    findings.push(format!("{} went on while {} was running", name(attempt), name(before[place + 1])));
                }
                Some(_) => {}
                None => before.push(attempt),
            }
        }
    }

    /// Nothing is executed for a run that is over.
    fn check_ends_of_runs(&self, snapshot: &Snapshot, findings: &mut Vec<String>) {
        let ends: BTreeMap<i64, i64> =
            snapshot.runs.iter().filter_map(|run| Some((run.number, run.ended?.0))).collect();
        for entry in &self.0 {
            match ends.get(&entry.run) {
                Some(end) if entry.at <= *end => {}
                Some(end) => findings.push(format!(
                    "`{}` of attempt {} at {} is after the end of its run #{} at {end}",
                    entry.what, entry.attempt, entry.at, entry.run
                )),
                None => findings.push(format!("run #{} executed something and is not over on record", entry.run)),
            }
        }
    }
}

fn name(attempt: &AttemptRecord) -> String {
    let task = runstone_core::cell::task_name(&attempt.step, &attempt.cell);
    format!("attempt {} of #{}/{task} ({})", attempt.number, attempt.run_number, attempt.uuid)
}

#[cfg(test)]
mod tests {
    use runstone_core::hash::{ContentHash, Fingerprint};
    use runstone_core::record::{NodeId, RunEnvironment, RunRecord, RunState};
    use runstone_core::time::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn run() -> RunRecord {
        RunRecord {
            id: RunId(Uuid::from_u128(1)),
            number: 7,
            pipeline: "p".to_owned(),
            definition: ContentHash::of(b""),
            definition_path: "p.yaml".to_owned(),
            params: serde_json::json!({}),
            request: serde_json::json!({}),
            trigger: "manual".to_owned(),
            state: RunState::Succeeded,
            reason: None,
            created: Timestamp(0),
            ended: Some(Timestamp(100)),
            epoch: 1,
            store_marker: Uuid::from_u128(2),
            partition: None,
            environment: RunEnvironment::default(),
            cancel: None,
        }
    }

    /// The attempts of one task: the last one succeeded.
    fn snapshot(attempts: u32) -> Snapshot {
        let attempt = |number: u32| AttemptRecord {
            id: NodeId(number.into()),
            uuid: uuid(number),
            run: run().id,
            run_number: 7,
            task: 0,
            pipeline: "p".to_owned(),
            step: "s".to_owned(),
            cell: String::new(),
            number,
            kind: AttemptKind::Run,
            state: if number == attempts { AttemptState::Succeeded } else { AttemptState::Failed },
            fingerprint: Fingerprint::from_bytes([0; 32]),
            created: Timestamp(0),
            end: None,
            reusable: false,
            reused_from: None,
        };
        Snapshot { runs: vec![run()], attempts: (1..=attempts).map(attempt).collect(), ..Snapshot::default() }
    }

    fn uuid(number: u32) -> Uuid {
        Uuid::from_u128(0xa0 + u128::from(number))
    }

    fn findings(attempts: u32, lines: &[(&str, u32, i64)]) -> Vec<String> {
        let line = |(what, attempt, at): &(&str, u32, i64)| format!("{what} {} 7 {at}\n", uuid(*attempt));
        Ledger::parse(&lines.iter().map(line).collect::<String>()).unwrap().check(&snapshot(attempts))
    }

    #[track_caller]
    fn assert_finds(part: &str, attempts: u32, lines: &[(&str, u32, i64)]) {
        let found = findings(attempts, lines);
        assert!(found.iter().any(|one| one.contains(part)), "{found:?}");
    }

    #[test]
    fn what_agrees_is_no_finding() {
        assert_eq!(findings(2, &[("begin", 1, 1), ("goes_on", 1, 2), ("begin", 2, 3), ("end", 2, 4)]), [""; 0]);
    }

    #[test]
    fn what_does_not_agree_is_one() {
        assert_finds("began 2 times", 1, &[("begin", 1, 1), ("begin", 1, 2), ("end", 1, 3)]);
        assert_finds("is not on record", 1, &[("begin", 1, 1), ("end", 1, 2), ("begin", 2, 3)]);
        assert_finds("ended 0 times", 1, &[("begin", 1, 1)]);
        assert_finds("succeeded on record, and began 0 times", 1, &[]);
        assert_finds(
            "went on while attempt 2",
            2,
            &[("begin", 1, 1), ("begin", 2, 2), ("goes_on", 1, 3), ("end", 2, 4)],
        );
        assert_finds("is after the end of its run #7", 1, &[("begin", 1, 99), ("end", 1, 101)]);
        assert!(Ledger::parse("begin \n").is_err());
    }
}
