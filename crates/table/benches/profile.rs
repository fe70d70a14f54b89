//! How fast tables are profiled and compared. Prints a table; asserts nothing.
//!
//! `cargo bench -p runstone-table --bench profile [-- ROWS [FOLDER]]` writes a table of ROWS (default: 10,000,000) rows
//! and 20 columns as Parquet (about 130 bytes a row), and of a tenth of the rows as CSV and JSON Lines, to FOLDER
//! (default: the temporary folder), and removes them again. The values come from a fixed seed.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use runstone_table::{DiffOptions, Profile, ReadOptions, Table, TableDiff, diff, profile};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Rows of a row group.
const GROUP: usize = 500_000;

const SCHEMA: &str = "message table {
    required int64 id;
    required int64 customer;
    required int32 category;
    optional int32 quantity;
    required boolean active;
    optional boolean confirmed;
    required double price;
    required double score;
    optional double discount;
    required double skewed;
    required float weight;
    required int64 created (TIMESTAMP(MICROS,true));
    optional int64 updated (TIMESTAMP(MILLIS,true));
    required int32 day (DATE);
    required int64 amount (DECIMAL(12,2));
    required binary country (STRING);
    required binary city (STRING);
    required binary name (STRING);
    required binary token (STRING);
    optional binary comment (STRING);
}";

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let rows: usize = arguments.next().map_or(Ok(10_000_000), |rows| rows.parse())?;
    let base = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("runstone-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let result = run(&dir, rows);
    fs::remove_dir_all(&dir)?;
    result
}

fn run(dir: &Path, rows: usize) -> Outcome {
    let parquet = dir.join("table.parquet");
    write_parquet(&parquet, rows)?;
    let profile = measure(&parquet)?;
    compare((&parquet, &profile), (&parquet, &profile))?;
    let (csv, jsonl) = (dir.join("table.csv"), dir.join("table.jsonl"));
    write_text(&csv, rows / 10)?;
    write_text(&jsonl, rows / 10)?;
    let (of_csv, of_jsonl) = (measure(&csv)?, measure(&jsonl)?);
    compare((&csv, &of_csv), (&jsonl, &of_jsonl))
}

/// By a key that is found, with profiles at hand.
fn compare((old, of_old): (&Path, &Profile), (new, of_new): (&Path, &Profile)) -> Outcome {
    let table = |path: &Path| Table::of_file(path).ok_or("a known format");
    let options = DiffOptions { profiles: Some((of_old, of_new)), ..DiffOptions::default() };
    forget_peak()?;
    let (start, processor) = (Instant::now(), processor()?);
    let found = diff(&table(old)?, &table(new)?, &options)?;
    let (seconds, processor) = (start.elapsed().as_secs_f64(), self::processor()? - processor);
    let TableDiff { key, changed, unchanged, .. } = &found;
    say(&format!(
        "difference of {} and {} rows: {seconds:.2} s (processor {processor:.2} s), peak {} MiB, {key:?}, {unchanged} \
         unchanged, {changed} changed",
        found.old_rows,
        found.new_rows,
        peak()?,
    ))
}

fn measure(path: &Path) -> Outcome<Profile> {
    let table = Table::of_file(path).ok_or("a known format")?;
    let mib = fs::metadata(path)?.len() as f64 / f64::from(1 << 20);
    forget_peak()?;
    let (start, processor) = (Instant::now(), processor()?);
    let profile = profile(&table, &ReadOptions::default())?;
    let (seconds, processor) = (start.elapsed().as_secs_f64(), self::processor()? - processor);
    let json = profile.to_json().len() >> 10;
    let per_second = profile.rows() as f64 / seconds / 1e6;
    say(&format!(
        "profile of {} rows of {} ({mib:.0} MiB): {seconds:.2} s (processor {processor:.2} s), {per_second:.2} million rows/s, {:.0} MiB/s, peak {} MiB, stored {json} KiB",
        profile.rows(),
        table.format(),
        mib / seconds,
        peak()?,
    ))?;
    Ok(profile)
}

/// A stream of numbers from a seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// One row. The same number gives the same row.
struct Row {
    id: i64,
    customer: i64,
    category: i32,
    quantity: Option<i32>,
    active: bool,
    confirmed: Option<bool>,
    price: f64,
    score: f64,
    discount: Option<f64>,
    skewed: f64,
    weight: f32,
    created: i64,
    updated: Option<i64>,
    day: i32,
    amount: i64,
    country: String,
    city: String,
    name: String,
    token: String,
    comment: Option<String>,
}

fn row(number: usize) -> Row {
    let mut dice = Dice(number as u64);
    let share = dice.share();
    Row {
        id: number as i64,
        customer: dice.below(1_000_000) as i64,
        category: dice.below(12) as i32,
        quantity: (dice.below(10) > 0).then(|| dice.below(1000) as i32),
        active: dice.below(3) > 0,
        confirmed: (dice.below(2) > 0).then(|| dice.below(2) > 0),
        price: dice.below(1_000_000) as f64 / 100.0,
        score: (0..12).map(|_| dice.share()).sum::<f64>() - 6.0,
        discount: (dice.below(4) == 0).then(|| dice.share()),
        skewed: 1.0 / (share + 1e-6),
        weight: dice.below(10_000) as f32 / 8.0,
        created: 1_700_000_000_000_000 + number as i64 * 1_000_003,
        updated: (dice.below(5) > 0).then(|| 1_700_000_000_000 + dice.below(1 << 32) as i64),
        day: 19_000 + dice.below(1000) as i32,
        amount: dice.below(100_000_000) as i64,
        country: format!("country {}", dice.below(60)),
        city: format!("city {:04}", dice.below(5000)),
        name: format!("name {:05}", dice.below(100_000)),
        token: format!("{:016x}{:08x}", dice.next(), number),
        comment: (dice.below(3) == 0).then(|| "lorem ipsum dolor ".repeat(1 + dice.below(4) as usize)),
    }
}

fn write_parquet(path: &Path, rows: usize) -> Outcome {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    let mut writer = SerializedFileWriter::new(File::create(path)?, schema, properties)?;
    for first in (0..rows).step_by(GROUP) {
        let rows: Vec<Row> = (first..rows.min(first + GROUP)).map(row).collect();
        write_group(&mut writer, &rows)?;
    }
    writer.close()?;
    Ok(())
}

fn write_group(writer: &mut SerializedFileWriter<File>, rows: &[Row]) -> Outcome {
    let mut group = writer.next_row_group()?;
    macro_rules! column {
        ($kind:ty, $of:expr) => {{
            let values: Vec<Option<_>> = rows.iter().map($of).collect();
            let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
            let values: Vec<_> = values.into_iter().flatten().collect();
            let mut column = group.next_column()?.ok_or("one column more")?;
            column.typed::<$kind>().write_batch(&values, Some(&levels), None)?;
            column.close()?;
        }};
    }
    let text = |text: &String| ByteArray::from(text.as_str());
    column!(Int64Type, |row| Some(row.id));
    column!(Int64Type, |row| Some(row.customer));
    column!(Int32Type, |row| Some(row.category));
    column!(Int32Type, |row| row.quantity);
    column!(BoolType, |row| Some(row.active));
    column!(BoolType, |row| row.confirmed);
    column!(DoubleType, |row| Some(row.price));
    column!(DoubleType, |row| Some(row.score));
    column!(DoubleType, |row| row.discount);
    column!(DoubleType, |row| Some(row.skewed));
    column!(FloatType, |row| Some(row.weight));
    column!(Int64Type, |row| Some(row.created));
    column!(Int64Type, |row| row.updated);
    column!(Int32Type, |row| Some(row.day));
    column!(Int64Type, |row| Some(row.amount));
    column!(ByteArrayType, |row| Some(text(&row.country)));
    column!(ByteArrayType, |row| Some(text(&row.city)));
    column!(ByteArrayType, |row| Some(text(&row.name)));
    column!(ByteArrayType, |row| Some(text(&row.token)));
    column!(ByteArrayType, |row| row.comment.as_ref().map(text));
    group.close()?;
    Ok(())
}

/// The same rows as CSV or JSON Lines, by the ending of the name.
fn write_text(path: &Path, rows: usize) -> Outcome {
    let names: Vec<&str> = SCHEMA.lines().filter_map(|line| line.trim().split([' ', ';']).nth(2)).collect();
    let names = &names[1..];
    let is_csv = path.extension().is_some_and(|ending| ending == "csv");
    let mut file = BufWriter::new(File::create(path)?);
    if is_csv {
        writeln!(file, "{}", names.join(","))?;
    }
    for number in 0..rows {
        let cells = cells(&row(number));
        if is_csv {
            let words: Vec<&str> = cells.iter().map(|cell| cell.trim_matches('"')).collect();
            writeln!(file, "{}", words.join(","))?;
            continue;
        }
        let pairs: Vec<String> = names
            .iter()
            .zip(&cells)
            .filter(|(_, cell)| !cell.is_empty())
            .map(|(name, cell)| format!("\"{name}\":{cell}"))
            .collect();
        writeln!(file, "{{{}}}", pairs.join(","))?;
    }
    Ok(file.flush()?)
}

/// As JSON writes them; empty where there is none.
fn cells(row: &Row) -> [String; 20] {
    fn some<T: ToString>(value: Option<T>) -> String {
        value.map_or(String::new(), |value| value.to_string())
    }
    let text = |text: &str| format!("\"{text}\"");
    let moment = |seconds: i64| {
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        text(&format!("{}T{:02}:{:02}:{:02}Z", day(days), rest / 3600, rest / 60 % 60, rest % 60))
    };
    [
        row.id.to_string(),
        row.customer.to_string(),
        row.category.to_string(),
        some(row.quantity),
        row.active.to_string(),
        some(row.confirmed),
        format!("{:?}", row.price),
        format!("{:?}", row.score),
        some(row.discount),
        format!("{:?}", row.skewed),
        format!("{:?}", row.weight),
        moment(row.created / 1_000_000),
        row.updated.map_or(String::new(), |millis| moment(millis / 1000)),
        text(&day(row.day.into())),
        format!("{}.{:02}", row.amount / 100, row.amount % 100),
        text(&row.country),
        text(&row.city),
        text(&row.name),
        text(&row.token),
        row.comment.as_deref().map_or(String::new(), text),
    ]
}

/// A day since 1970 by the calendar, for days after 2000 and months of 30 days: it only has to look like one.
fn day(days: i64) -> String {
    let days = days % 10_000;
    format!("{:04}-{:02}-{:02}", 2000 + days / 360, 1 + days / 30 % 12, 1 + days % 28)
}

/// Makes the system count the peak of memory anew.
fn forget_peak() -> Outcome {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}

/// The most memory that was in use, in MiB.
fn peak() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("the system counts memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? >> 10)
}

/// Seconds of processor time used so far, by all threads. It says more than the clock where others work too.
fn processor() -> Outcome<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("the system counts time")?;
    let ticks: Vec<&str> = fields.split_whitespace().skip(11).take(2).collect();
    // Linux counts in hundredths of a second everywhere.
    Ok(ticks.iter().filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0)
}

fn say(line: &str) -> Outcome {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
