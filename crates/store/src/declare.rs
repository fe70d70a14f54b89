//! What has to be written so that the record says what pipeline files declare. Pure, the same for every database.

use std::collections::{HashMap, HashSet};

use runstone_core::hash::ContentHash;
use runstone_core::service::record::{DeclaredPipeline, DeclaredSchedule, PipelineRecord, ScheduleId, ScheduleRecord};

/// What is on record of a project.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) pipelines: Vec<PipelineRecord>,
    pub(crate) schedules: Vec<ScheduleRecord>,
}

/// What has to be written: nothing that is so already.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan<'a> {
    /// Rows of pipelines as they are to be, new ones included; [`PipelineRecord::changed`] is the time of the writing.
    pub(crate) pipelines: Vec<PipelineWrite<'a>>,
    /// Schedules that are new: generation 1, not paused.
    pub(crate) added: Vec<(&'a str, &'a DeclaredSchedule)>,
    /// Schedules that change.
    pub(crate) changed: Vec<ScheduleWrite<'a>>,
}

/// A pipeline's row as it is to be.
#[derive(Debug, PartialEq)]
pub(crate) struct PipelineWrite<'a> {
    pub(crate) name: &'a str,
    pub(crate) definition: ContentHash,
    /// The text of a definition that may not be on record.
    pub(crate) text: Option<&'a str>,
    pub(crate) definition_path: &'a str,
    pub(crate) active: bool,
    pub(crate) error: Option<&'a str>,
}

/// How a schedule changes.
#[derive(Debug, PartialEq)]
pub(crate) struct ScheduleWrite<'a> {
    pub(crate) id: ScheduleId,
    pub(crate) active: bool,
    /// None leaves timing and specification as they are.
    pub(crate) declared: Option<&'a DeclaredSchedule>,
    /// Whether a new generation begins: `activated` and `cursor` at the present, and what a trigger has seen forgotten.
    pub(crate) renewed: bool,
}

/// Whether a file is in a folder; the empty one has them all.
pub(crate) fn is_under(folder: &str, path: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Compares what files under a folder declare with what is on record. `broken` are files with what is wrong with them.
pub(crate) fn plan<'a>(
    known: &'a Known,
    folder: &str,
    declared: &'a [DeclaredPipeline],
    broken: &'a [(String, String)],
) -> Plan<'a> {
    let mut plan = Plan::default();
    let on_record: HashMap<&str, &PipelineRecord> =
        known.pipelines.iter().map(|pipeline| (pipeline.pipeline.as_str(), pipeline)).collect();
    let mut schedules: HashMap<&str, HashMap<&str, &ScheduleRecord>> = HashMap::new();
    for schedule in &known.schedules {
        schedules.entry(&schedule.pipeline).or_default().insert(&schedule.name, schedule);
    }
    for pipeline in declared {
        let old = on_record.get(pipeline.pipeline.as_str()).copied();
        plan.pipelines.extend(declared_pipeline(pipeline, old));
        plan.declare_schedules(pipeline, schedules.get(pipeline.pipeline.as_str()));
    }
    let declared: HashSet<&str> = declared.iter().map(|pipeline| pipeline.pipeline.as_str()).collect();
    let broken: HashMap<&str, &str> = broken.iter().map(|(path, error)| (path.as_str(), error.as_str())).collect();
    for old in known.pipelines.iter().filter(|old| !declared.contains(old.pipeline.as_str())) {
        if let Some(error) = broken.get(old.definition_path.as_str()) {
            plan.rewrite(old, old.active, Some(error));
        } else if is_under(folder, &old.definition_path) {
            plan.rewrite(old, false, None);
            for schedule in schedules.get(old.pipeline.as_str()).into_iter().flat_map(HashMap::values) {
                plan.deactivate(schedule);
            }
        }
    }
    plan.changed.sort_by_key(|write| write.id);
    plan
}

fn declared_pipeline<'a>(new: &'a DeclaredPipeline, old: Option<&PipelineRecord>) -> Option<PipelineWrite<'a>> {
    let definition = ContentHash::of(new.definition.as_bytes());
    let is_so = old.is_some_and(|old| {
        old.definition == definition && old.definition_path == new.definition_path && old.active && old.error.is_none()
    });
    (!is_so).then_some(PipelineWrite {
        name: &new.pipeline,
        definition,
        text: Some(&new.definition),
        definition_path: &new.definition_path,
        active: true,
        error: None,
    })
}

impl<'a> Plan<'a> {
    fn declare_schedules(&mut self, pipeline: &'a DeclaredPipeline, old: Option<&HashMap<&str, &ScheduleRecord>>) {
        let find = |name: &str| old.and_then(|old| old.get(name)).copied();
        for new in &pipeline.schedules {
            let Some(old) = find(&new.name) else {
                self.added.push((&pipeline.pipeline, new));
                continue;
            };
            let renewed = old.timing != new.timing || (new.enabled && !old.active);
            if renewed || old.spec != new.spec || old.active != new.enabled {
                let write = ScheduleWrite { id: old.id, active: new.enabled, declared: Some(new), renewed };
                self.changed.push(write);
            }
        }
        let names: HashSet<&str> = pipeline.schedules.iter().map(|schedule| schedule.name.as_str()).collect();
        for old in old.into_iter().flat_map(HashMap::values).filter(|old| !names.contains(old.name.as_str())) {
            self.deactivate(old);
        }
    }

    fn deactivate(&mut self, schedule: &ScheduleRecord) {
        if schedule.active {
            self.changed.push(ScheduleWrite { id: schedule.id, active: false, declared: None, renewed: false });
        }
    }

    fn rewrite(&mut self, old: &'a PipelineRecord, active: bool, error: Option<&'a str>) {
        if old.active == active && old.error.as_deref() == error {
            return;
        }
        self.pipelines.push(PipelineWrite {
            name: &old.pipeline,
            definition: old.definition,
            text: None,
            definition_path: &old.definition_path,
            active,
            error,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_holds_what_is_below_it_and_nothing_beside_it() {
        for folder in ["pipelines", "pipelines/", ""] {
            assert!(is_under(folder, "pipelines/a.yaml"), "{folder}");
        }
        for (folder, path) in [("pipelines", "pipelines2/a.yaml"), ("pipelines/b", "pipelines/a.yaml")] {
            assert!(!is_under(folder, path), "{folder} {path}");
        }
        assert!(is_under("a.yaml", "a.yaml"));
    }
}
