//! Damaged files: cut off, with flipped bits, with bytes of anything. They are read or refused; nothing panics, and
//! memory stays within limits. One test alone in its process, because it watches the memory of the process.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::fs;
use std::path::Path;

use runstone_table::{DiffOptions, Format, Limits, Part, Profile, ReadOptions, Table, diff, profile};

/// A stream of numbers from a seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((value ^ (value >> 31)) % end as u64) as usize
    }
}

fn options<'a>() -> ReadOptions<'a> {
    ReadOptions { limits: Limits { columns: 100, row_bytes: 1 << 16, page_bytes: 1 << 20 }, stop: None }
}

/// Reads in every way. What comes of it does not matter here.
fn read(format: Format, bytes: Vec<u8>) {
    let table = Table::new(format, vec![Part::bytes(bytes)]);
    if let Ok(profile) = profile(&table, &options()) {
        let text = profile.to_json();
        assert_eq!(Profile::from_json(&text).unwrap().to_json(), text);
        diff(&table, &table, &DiffOptions { read: options(), ..DiffOptions::default() }).unwrap();
    }
}

fn damage(format: Format, whole: &[u8], rounds: usize, seed: u64) {
    let mut dice = Dice(seed);
    for round in 0..rounds {
        let mut bytes = whole.to_vec();
        match round % 4 {
            0 => bytes.truncate(dice.below(whole.len())),
            1 => {
                let at = dice.below(whole.len());
                bytes[at] ^= 1 << dice.below(8);
            }
            2 => {
                for _ in 0..1 + dice.below(8) {
                    let at = dice.below(whole.len());
                    bytes[at] = dice.below(256) as u8;
                }
            }
            _ => {
                // The footer of a Parquet file is near its end, and decides most.
                let at = whole.len() - 1 - dice.below(whole.len().min(1500));
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff][dice.below(5)];
            }
        }
        read(format, bytes);
    }
}

/// The most memory that was in use, in MiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[test]
fn damaged_files_are_read_or_refused() {
    let rounds: usize = std::env::var("DAMAGE_ROUNDS").map_or(60, |rounds| rounds.parse().unwrap());
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut names: Vec<_> = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let mut files = 0;
    for (seed, path) in names.iter().enumerate() {
        let Some(format) = Format::of_name(&path.to_string_lossy()) else { continue };
        damage(format, &fs::read(path).unwrap(), rounds, seed as u64);
        files += 1;
    }
    assert!(files >= 12, "the files are there");
    let csv = "id,\"na\"\"me\",n\n1,\"a\nb\",1.5\n2,é,\n\"3\",x,2024-01-01\n".repeat(50);
    damage(Format::Csv, csv.as_bytes(), 5 * rounds, 1);
    let mut dice = Dice(7);
    for round in 0..5 * rounds {
        let bytes: Vec<u8> = (0..dice.below(3000)).map(|_| dice.below(256) as u8).collect();
        read([Format::Csv, Format::Tsv, Format::JsonLines, Format::Parquet][round % 4], bytes);
    }
    for deep in ["[", "{\"a\":", "\""] {
        read(Format::JsonLines, format!("{{\"a\":{}", deep.repeat(200_000)).into_bytes());
        read(Format::Csv, deep.repeat(100_000).into_bytes());
    }
    let peak = peak();
    assert!(peak < 512, "{peak} MiB were in use");
}
