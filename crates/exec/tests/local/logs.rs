//! Logs: bounded, masked, and never in the way of the step.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use runstone_core::attempt::{AttemptSpec, LogLimit};
use runstone_core::executor::{Executor, SecretEnv};
use runstone_exec::local::{ForkServer, LogPiece, read_log};

use crate::Test;
use crate::rig::{Rig, read};

pub(crate) const TESTS: &[Test] = &[
    ("a_flood_is_bounded_while_it_lasts", a_flood_is_bounded_while_it_lasts),
    ("a_flood_through_the_mask_is_bounded", a_flood_through_the_mask_is_bounded),
    ("any_bytes_may_be_logged", any_bytes_may_be_logged),
    ("secrets_are_masked_however_they_are_written", secrets_are_masked_however_they_are_written),
    ("secrets_are_nowhere_else", secrets_are_nowhere_else),
    ("a_masked_step_is_not_held_by_its_daemons", a_masked_step_is_not_held_by_its_daemons),
    ("a_full_disk_does_not_fail_the_step", a_full_disk_does_not_fail_the_step),
];

const SMALL: LogLimit = LogLimit { head: 64 << 10, tail: 128 << 10 };

/// 200 MB of numbered lines.
const FLOOD: &str = "seq 100000000 | head -c 200000000; echo; echo the end";

fn check_flood(spec: &AttemptSpec) {
    let path = Path::new(&spec.folder).join("stdout");
    let found = fs::metadata(&path).unwrap();
    assert_eq!(found.len(), 200_000_000 + 9);
    assert!(found.blocks() * 512 < 1 << 20, "{} bytes on disk", found.blocks() * 512);
    let log = read_log(&path, 0, SMALL).unwrap();
    let [LogPiece::Bytes(head), LogPiece::Cut(cut), LogPiece::Bytes(tail)] = &log.pieces[..] else {
        panic!("{} pieces", log.pieces.len());
    };
    assert!(head.starts_with(b"1\n2\n3\n"));
    assert!(tail.ends_with(b"\nthe end\n"));
    assert_eq!((head.len() as u64, tail.len() as u64), (SMALL.head, SMALL.tail));
    assert_eq!(*cut, found.len() - SMALL.head - SMALL.tail);
    assert!(!tail.contains(&0) && !head.contains(&0));
}

fn a_flood_is_bounded_while_it_lasts(server: ForkServer) {
    let mut rig = Rig::new(server);
    // The step itself looks what its log takes on the disk, now and then: never much more than one interval's worth.
    let mut spec = rig.script(&format!(
        "(for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do stat -c %b \"$0/stdout\" >> blocks; sleep 0.03; done) &
         {FLOOD}; wait"
    ));
    spec.argv.push(spec.folder.clone());
    spec.log_limit = SMALL;
    let outcome = rig.run(&spec);
    assert!(outcome.is_clean_exit());
    assert_eq!(outcome.stdout_bytes, 200_000_000 + 9);
    check_flood(&spec);
    let blocks = fs::read_to_string(rig.path("blocks")).unwrap();
    let most = blocks.lines().map(|line| line.parse::<u64>().unwrap() * 512).max().unwrap();
    assert!(most < 130 << 20, "{most} bytes on disk at some time");
}

fn a_flood_through_the_mask_is_bounded(server: ForkServer) {
    let mut rig = Rig::new(server);
    let mut spec = rig.script(FLOOD);
    spec.log_limit = SMALL;
    rig.executor.start(&spec, &SecretEnv(vec![("TOKEN".into(), "never-seen-here".into())])).unwrap();
    let outcome = rig.outcome();
    assert!(outcome.is_clean_exit());
    assert_eq!(outcome.stdout_bytes, 200_000_000 + 9);
    check_flood(&spec);
}

fn any_bytes_may_be_logged(server: ForkServer) {
    let mut rig = Rig::new(server);
    let spec = rig.script("printf 'a\\000\\377\\033[31m\\r\\n'; printf 'e\\000' >&2");
    let outcome = rig.run(&spec);
    assert_eq!((outcome.stdout_bytes, outcome.stderr_bytes), (10, 2));
    let folder = Path::new(&spec.folder);
    assert_eq!(fs::read(folder.join("stdout")).unwrap(), b"a\0\xff\x1b[31m\r\n");
    assert_eq!(fs::read(folder.join("stderr")).unwrap(), b"e\0");
}

fn secrets_are_masked_however_they_are_written(server: ForkServer) {
    let mut rig = Rig::new(server);
    let spec = rig.script(
        "printf 'one %s two\\n' \"$TOKEN\"
         for half in 'p@ss' 'word/1'; do printf %s \"$half\"; sleep 0.02; done; echo
         printf 'user:%s' \"$TOKEN\" | base64 >&2
         echo '?q=p%40ssword%2F1' >&2
         printf %s \"$KEY\" | while read -r line; do echo \"[$line]\"; done",
    );
    let secrets = SecretEnv(vec![
        ("TOKEN".into(), "p@ssword/1".into()),
        ("KEY".into(), "-----BEGIN-----\nMIIEvQIBADANB\n-----END-----\n".into()),
    ]);
    rig.executor.start(&spec, &secrets).unwrap();
    let outcome = rig.outcome();
    assert!(outcome.is_clean_exit());
    assert_eq!(read(&spec, "stdout"), "one *** two\n***\n[***]\n[***]\n[***]\n");
    let stderr = read(&spec, "stderr");
    assert!(
        stderr.ends_with("?q=***\n") && stderr.starts_with("dXNlc") && stderr.matches("***").count() == 2,
        "{stderr}"
    );
}

fn secrets_are_nowhere_else(server: ForkServer) {
    let mut rig = Rig::new(server);
    let canary = "canary-2f9c41";
    let mut spec = rig.script("cat /proc/*/cmdline > args 2>&1; echo $TOKEN; exit 1");
    spec.cwd = rig.folder.path().to_str().unwrap().into();
    rig.executor.start(&spec, &SecretEnv(vec![("TOKEN".into(), canary.into())])).unwrap();
    assert_eq!(rig.outcome().exit_code, Some(1));
    spec = rig.script("echo never");
    spec.argv = vec![format!("/bin/{canary}")];
    rig.executor.start(&spec, &SecretEnv(vec![("TOKEN".into(), canary.into())])).unwrap();
    assert!(rig.outcome().message.unwrap().contains("/bin/***"));
    let found = Command::new("grep").args(["-rl", canary]).arg(rig.folder.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

fn a_masked_step_is_not_held_by_its_daemons(server: ForkServer) {
    let mut rig = Rig::new(server);
    let spec = rig.script("setsid sleep 1000 & echo done");
    rig.executor.start(&spec, &SecretEnv(vec![("TOKEN".into(), "something".into())])).unwrap();
    let outcome = rig.outcome();
    assert!(outcome.is_clean_exit());
    assert_eq!(outcome.leftovers, 1);
    assert_eq!(read(&spec, "stdout"), "done\n");
}

fn a_full_disk_does_not_fail_the_step(server: ForkServer) {
    let mut rig = Rig::new(server);
    let disk = rig.path("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&disk).output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        println!("skipped: mounting a small disk needs root");
        return;
    }
    let mut spec = rig.script("head -c 3000000 /dev/zero && echo survived >&2 && echo survived > result");
    spec.folder = disk.join("attempt").to_str().unwrap().into();
    rig.start(&spec);
    let report = rig.report();
    let size = fs::metadata(disk.join("attempt/stdout")).map(|found| found.blocks() * 512);
    Command::new("umount").arg(&disk).status().unwrap();
    let runstone_core::executor::Report::Ended(outcome) = report else { panic!("{report:?}") };
    assert!(outcome.is_clean_exit(), "{outcome:?}");
    assert_eq!(outcome.stdout_bytes, 3_000_000);
    assert!(outcome.message.unwrap().contains("no space"));
    assert!(size.unwrap() <= 1 << 20);
    assert_eq!(fs::read_to_string(rig.path("result")).unwrap(), "survived\n");
}
