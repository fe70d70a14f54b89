//! What is known of the columns of what is published, where it is a table.
//!
//! Small tables are looked at when they are published, so that it stands with the version from the start; large ones when
//! somebody asks. A source that did not change is not looked at again: what was found out is remembered beside it.

use std::fs;
use std::path::PathBuf;

use runstone_exec::objects::Collected;
use runstone_lineage::tables;
use serde_json::Value;

use crate::site::{Site, content_kind};

/// What is known of a table.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) rows: u64,
    pub(crate) profile: Value,
}

/// What is known of content that was just stored; none where it is no table, or too large to look at now.
pub(crate) fn known(site: &Site, content: &Collected, file_name: &str) -> Option<Known> {
    if content.size > site.project.config().profile_limit.value {
        return None;
    }
    let table = tables::of_content(&site.objects, content.hash, content_kind(content.kind), file_name).ok()??;
    // What is called a table and cannot be read as one is published all the same: its reader may know better.
    let profile = tables::profile(&table, Some(site.stop.as_ref())).ok()?;
    Some(Known { rows: profile.rows(), profile: serde_json::from_str(&profile.to_json()).ok()? })
}

/// What is known of a source, read only when it is needed.
#[derive(Debug, Clone)]
pub(crate) struct Remembered(PathBuf);

/// Looks at a source, unless that was done before for the same content.
pub(crate) fn remember(site: &Site, content: &Collected, file_name: &str) -> Option<Remembered> {
    let ending = file_name.rsplit_once('.').map_or("folder", |(_, ending)| ending);
    if !ending.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let folder = site.project.cache_dir().join("profiles");
    let path = folder.join(format!("{}.{ending}", content.hash.to_hex()));
    if path.exists() {
        return Some(Remembered(path));
    }
    let known = known(site, content, file_name)?;
    // A cache that cannot be written costs the same again the next time.
    let draft = folder.join(uuid::Uuid::now_v7().to_string());
    let text = format!("{}\n{}", known.rows, known.profile);
    fs::create_dir_all(&folder).and_then(|()| fs::write(&draft, text)).and_then(|()| fs::rename(&draft, &path)).ok()?;
    Some(Remembered(path))
}

impl Remembered {
    pub(crate) fn load(&self) -> Option<Known> {
        let text = fs::read_to_string(&self.0).ok()?;
        let (rows, profile) = text.split_once('\n')?;
        Some(Known { rows: rows.parse().ok()?, profile: serde_json::from_str(profile).ok()? })
    }
}
