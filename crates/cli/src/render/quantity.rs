//! Durations, sizes and numbers as people read them.

/// A duration given in microseconds, in two units at most: `850 µs`, `12 ms`, `1.23 s`, `2m 05s`, `1h 02m`, `3d 04h`.
pub(crate) fn duration(micros: u64) -> String {
    let tenths = micros / 100_000;
    let seconds = micros / 1_000_000;
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..10_000_000 => format!("{}.{:02} s", seconds, micros % 1_000_000 / 10_000),
        10_000_000..60_000_000 => format!("{}.{} s", seconds, tenths % 10),
        60_000_000..3_600_000_000 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600_000_000..86_400_000_000 => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Whole seconds, for what is still moving: `7s`, `2m 05s`, `1h 02m`.
pub(crate) fn coarse_duration(micros: u64) -> String {
    if micros < 60_000_000 { format!("{}s", micros / 1_000_000) } else { duration(micros) }
}

/// A number of bytes with a binary unit and three digits at least: `512 B`, `12.3 KiB`, `4.00 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Hundredths of the unit, rounded down, in whole numbers: floats would round 1023.999 up to the next unit.
    let mut unit = 0;
    while unit + 1 < UNITS.len() && bytes >> (10 * (unit + 2)) > 0 {
        unit += 1;
    }
    let hundredths = (u128::from(bytes) * 100) >> (10 * (unit + 1));
    let (whole, part) = (hundredths / 100, hundredths % 100);
    match whole {
        0..10 => format!("{whole}.{part:02} {}", UNITS[unit]),
        10..100 => format!("{whole}.{} {}", part / 10, UNITS[unit]),
        _ => format!("{whole} {}", UNITS[unit]),
    }
}

/// A reported number, short but never misleading: whole numbers as they are, others to six significant digits.
pub(crate) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if value == value.trunc() && magnitude < 1e15 {
        return format!("{value:.0}");
    }
    if !(1e-4..1e15).contains(&magnitude) {
        return format!("{value:.5e}");
    }
    // 0.0001 ≤ magnitude < 1e15, so the exponent is between -4 and 14.
    #[expect(clippy::cast_possible_truncation, reason = "a logarithm of this range is small")]
    let exponent = magnitude.log10().floor() as i32;
    let decimals = usize::try_from(5 - exponent).unwrap_or(0).max(1);
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_use_two_units_at_most() {
        let cases = [
            (0, "0 µs"),
            (850, "850 µs"),
            (12_345, "12 ms"),
            (1_239_999, "1.23 s"),
            (59_990_000, "59.9 s"),
            (125_000_000, "2m 05s"),
            (3_720_000_000, "1h 02m"),
            (273_600_000_000, "3d 04h"),
        ];
        for (micros, text) in cases {
            assert_eq!(duration(micros), text);
        }
        assert_eq!(coarse_duration(7_900_000), "7s");
        assert_eq!(coarse_duration(65_000_000), "1m 05s");
    }

    #[test]
    fn sizes_have_binary_units() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (12_600, "12.3 KiB"),
            (1024 * 1024 - 1, "1023 KiB"),
            (1 << 20, "1.00 MiB"),
            (4 << 30, "4.00 GiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn numbers_are_short_and_never_misleading() {
        let cases = [
            (3.0, "3"),
            (-0.5, "-0.5"),
            (0.912_345_678, "0.912346"),
            (12_345.678_9, "12345.7"),
            (1_234_567.8, "1234567.8"),
            (0.000_01, "1.00000e-5"),
            (1e20, "1.00000e20"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }
}
