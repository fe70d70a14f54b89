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
        let text = std::fs::read_to_string(path).unwrap_or_default();
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
