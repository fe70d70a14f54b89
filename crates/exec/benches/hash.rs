//! Hashing and scanning against `b3sum` and against nothing to do, alternating in one run. Prints a table; asserts nothing.
//!
//! `cargo bench -p runstone-exec --bench hash [-- FOLDER]` writes about 4.5 GiB to FOLDER (default: the temporary
//! folder) and removes it again. Needs `b3sum` (Debian package of that name) for the comparison.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use runstone_exec::objects::{Batch, Checkouts, Expect, Limits, ObjectStore};
use runstone_exec::scan::{Scanner, SourcePattern};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const BIG: u64 = 4 << 30;
const SMALL_FILES: usize = 100_000;
const SMALL: usize = 4 << 10;
/// Alternations of which the median is shown.
const ROUNDS: usize = 7;

fn main() -> Outcome {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let base = folder.map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("runstone-bench-{}", std::process::id()));
    let result = run(&dir);
    fs::remove_dir_all(&dir)?;
    result
}

fn run(dir: &Path) -> Outcome {
    prepare(dir)?;
    hashing(dir)?;
    scanning(dir)?;
    storing(dir)
}

/// Files that do not compress and do not repeat, without a dependency on a source of randomness.
fn prepare(dir: &Path) -> Outcome {
    fs::create_dir_all(dir.join("small"))?;
    let mut stream = blake3::Hasher::new().finalize_xof();
    let mut piece = vec![0; 1 << 20];
    let mut big = fs::File::create(dir.join("big"))?;
    for _ in 0..BIG >> 20 {
        stream.fill(&mut piece);
        big.write_all(&piece)?;
    }
    for number in 0..SMALL_FILES {
        stream.fill(&mut piece[..SMALL]);
        let folder = dir.join("small").join(format!("{:03}", number / 1000));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("{number:06}.bin")), &piece[..SMALL])?;
    }
    Ok(())
}

fn scanner(dir: &Path, state: &str) -> Outcome<Scanner> {
    // The files were written just now; as far as the cache is concerned, that was a minute ago.
    Ok(Scanner::new(dir, &dir.join(state))?.with_clock(|| SystemTime::now() + Duration::from_secs(60)))
}

fn hashing(dir: &Path) -> Outcome {
    let big = |round: usize| {
        let state = format!("state-{round}");
        scanner(dir, &state)?.hash_file(Path::new("big"), Limits::NONE)?;
        Ok(fs::remove_dir_all(dir.join(state))?)
    };
    let small = |round: usize| {
        let state = format!("state-{round}");
        scanner(dir, &state)?.scan(&SourcePattern::parse("small")?, Limits::NONE)?;
        Ok(fs::remove_dir_all(dir.join(state))?)
    };
    compare("one file of 4 GiB", dir, &["big"], &big)?;
    compare("100,000 files of 4 KiB", dir, &["-r", "small"], &small)
}

/// Alternates with `b3sum` over the same files.
fn compare(what: &str, dir: &Path, files: &[&str], ours: &dyn Fn(usize) -> Outcome) -> Outcome {
    let theirs = || -> Outcome {
        let status = if files[0] == "-r" {
            let script = format!("find {} -type f -print0 | xargs -0 b3sum", files[1]);
            Command::new("sh").args(["-c", &script]).current_dir(dir).stdout(Stdio::null()).status()?
        } else {
            Command::new("b3sum").args(files).current_dir(dir).stdout(Stdio::null()).status()?
        };
        if status.success() { Ok(()) } else { Err("b3sum failed".into()) }
    };
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (our_time, their_time) = (time(|| ours(round))?, time(theirs)?);
        // The first round warms the cache.
        if round > 0 {
            our_times.push(our_time);
            their_times.push(their_time);
        }
    }
    let (ours, theirs) = (median(our_times), median(their_times));
    let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
    say(&format!("{what}: {ours:.3?}, b3sum {theirs:.3?}: {ratio:.2} of its speed"))
}

fn scanning(dir: &Path) -> Outcome {
    let mut times = Vec::new();
    for round in 0..=ROUNDS {
        let scanner = scanner(dir, "state")?;
        let pattern = SourcePattern::parse("small")?;
        let mut reused = 0;
        let taken = time(|| {
            reused = scanner.scan(&pattern, Limits::NONE)?.reused();
            Ok(())
        })?;
        if round > 0 {
            times.push(taken);
            assert_eq!(reused, SMALL_FILES as u64, "nothing is hashed again");
        }
    }
    say(&format!("unchanged folder of 100,000 files recognised: {:.3?}", median(times)))
}

fn storing(dir: &Path) -> Outcome {
    let store = ObjectStore::open(&dir.join("objects"))?;
    let checkouts = Checkouts::open(&dir.join("trees"))?;
    let scan = scanner(dir, "state")?.scan(&SourcePattern::parse("small")?, Limits::NONE)?;
    let snapshot = time(|| {
        let mut batch = Batch::default();
        scan.snapshot_into(&store, &mut batch)?;
        Ok(store.sync(batch)?)
    })?;
    let again = time(|| {
        let mut batch = Batch::default();
        scan.snapshot_into(&store, &mut batch)?;
        Ok(store.sync(batch)?)
    })?;
    say(&format!("100,000 files into the store, durable: {snapshot:.3?}; when they are there already: {again:.3?}"))?;
    let tree = scan.content().hash;
    let first = time(|| Ok(checkouts.get(&store, tree).map(|_| ())?))?;
    let second = time(|| Ok(checkouts.get(&store, tree).map(|_| ())?))?;
    say(&format!("checkout of 100,000 files: {first:.3?}, used again: {second:.3?}"))?;
    for (count, what) in
        [(1, "one at a time"), (2, "in twos"), (4, "in fours"), (5, "in fives"), (64, "in groups of 64")]
    {
        let groups = 256 / count;
        let taken =
            time(|| (0..groups).try_for_each(|group| put_group(dir, &store, &format!("{count}-{group}"), count)))?;
        let each = taken / u32::try_from(groups * count)?;
        say(&format!("outputs collected and synced {what}: {each:.3?} each"))?;
    }
    Ok(())
}

fn put_group(dir: &Path, store: &ObjectStore, name: &str, count: usize) -> Outcome {
    let mut batch = Batch::default();
    for number in 0..count {
        let relative = format!("out-{name}-{number}");
        fs::write(dir.join(&relative), &relative)?;
        store.collect(dir, Path::new(&relative), Expect::File, Limits::NONE, &mut batch)?;
    }
    Ok(store.sync(batch)?)
}

fn time(work: impl FnOnce() -> Outcome) -> Outcome<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn say(line: &str) -> Outcome {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
