//! Hashes of values: equal values have equal hashes, whatever format they came from.
//!
//! Nothing here is seeded by chance, so that the same bytes give the same profile. Long values go through XXH3
//! (<https://github.com/Cyan4973/xxHash>, a stable specification); short ones through the finalizer of `SplitMix64`
//! (Steele, Lea and Flood 2014, with Stafford's variant 13), which maps different numbers to different hashes.
//! None of it resists somebody who looks for collisions.

use twox_hash::{XxHash3_64, XxHash3_128};

use super::Value;

const NULL: u64 = 0x8a5c_d789_635d_2dff;
const BOOLEAN: u64 = 0x1e4d_9b6a_03c7_f5b1;
const INTEGER: u64 = 0x0000_0000_0000_0000;
const FLOAT: u64 = 0x5bd1_e995_7c2f_a3d7;
const TIME: u64 = 0xc2b2_ae3d_27d4_eb4f;
const TEXT: u64 = 0x9e37_79b1_85eb_ca87;
const JSON: u64 = 0xd6e8_feb8_6659_fd93;
/// Makes the upper half of a long hash independent of the lower.
const UPPER: u64 = 0xa076_1d64_78bd_642f;

const NANOS_A_DAY: i128 = 86_400_000_000_000;

/// Spreads the bits of a number; no two numbers collide.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// What of a value is hashed: what it is about, and either 64 bits or bytes.
enum Essence<'a> {
    Short(u64, u64),
    Wide(u64, [u8; 16]),
    Long(u64, &'a [u8]),
}

/// A float that is a whole number within 64 bits.
pub(crate) fn whole(value: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    (value.trunc() == value && (-LIMIT..LIMIT).contains(&value)).then_some(value as i64)
}

fn of_float(value: f64) -> Essence<'static> {
    match whole(value) {
        Some(whole) => Essence::Short(INTEGER, whole.cast_unsigned()),
        None if value.is_nan() => Essence::Short(FLOAT, f64::NAN.to_bits()),
        None => Essence::Short(FLOAT, value.to_bits()),
    }
}

fn of_time(nanos: i128) -> Essence<'static> {
    i64::try_from(nanos)
        .map_or(Essence::Wide(TIME, nanos.to_le_bytes()), |nanos| Essence::Short(TIME, nanos.cast_unsigned()))
}

impl<'a> Value<'a> {
    fn essence(self) -> Essence<'a> {
        match self {
            Self::Null => Essence::Short(NULL, 0),
            Self::Boolean(value) => Essence::Short(BOOLEAN, u64::from(value)),
            Self::Integer(value) => Essence::Short(INTEGER, value.cast_unsigned()),
            Self::Wide(value) => {
                // A float may have the same value.
                let float = value as f64;
                if float as i128 == value { of_float(float) } else { Essence::Wide(INTEGER, value.to_le_bytes()) }
            }
            Self::Float(value) => of_float(value),
            Self::Date(days) => of_time(i128::from(days) * NANOS_A_DAY),
            Self::Timestamp(nanos) => of_time(nanos),
            Self::Text(text) => Essence::Long(TEXT, text.as_bytes()),
            Self::Json(text) => Essence::Long(JSON, text.as_bytes()),
        }
    }

    /// For estimates: among a million values one collision is to be expected once in 30 million tables.
    pub(crate) fn hash64(self) -> u64 {
        match self.essence() {
            Essence::Short(about, bits) => mix(about.wrapping_add(bits)),
            Essence::Wide(about, bytes) => mix(about ^ XxHash3_64::oneshot(&bytes)),
            Essence::Long(about, bytes) => mix(about ^ XxHash3_64::oneshot(bytes)),
        }
    }

    /// For identity: 128 bits, so that even 10^12 values do not collide.
    pub(crate) fn hash128(self) -> u128 {
        match self.essence() {
            Essence::Short(about, bits) => {
                let value = about.wrapping_add(bits);
                (u128::from(mix(value ^ UPPER)) << 64) | u128::from(mix(value))
            }
            Essence::Wide(about, bytes) => XxHash3_128::oneshot(&bytes) ^ u128::from(about),
            Essence::Long(about, bytes) => XxHash3_128::oneshot(bytes) ^ u128::from(about),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_equal_hashes() {
        let equal = [
            (Value::Integer(1), Value::Float(1.0)),
            (Value::Integer(0), Value::Float(-0.0)),
            (Value::Integer(i64::MIN), Value::Float(i64::MIN as f64)),
            (Value::Wide(1 << 100), Value::Float(2f64.powi(100))),
            (Value::Float(f64::NAN), Value::Float(-f64::NAN)),
            (Value::Date(1), Value::Timestamp(NANOS_A_DAY)),
            (Value::Date(i32::MIN), Value::Timestamp(i128::from(i32::MIN) * NANOS_A_DAY)),
        ];
        for (a, b) in equal {
            assert_eq!(a.hash64(), b.hash64(), "{a:?} {b:?}");
            assert_eq!(a.hash128(), b.hash128(), "{a:?} {b:?}");
        }
    }

    #[test]
    fn other_values_have_other_hashes() {
        let values = [
            Value::Null,
            Value::Boolean(false),
            Value::Boolean(true),
            Value::Integer(0),
            Value::Integer(1),
            Value::Integer(-1),
            Value::Wide(1 << 100),
            Value::Wide((1 << 100) + 1),
            Value::Float(0.5),
            Value::Float(f64::NAN),
            Value::Float(f64::INFINITY),
            Value::Date(0),
            Value::Timestamp(1),
            Value::Text(""),
            Value::Text("1"),
            Value::Text("[]"),
            Value::Json("[]"),
        ];
        for (at, a) in values.iter().enumerate() {
            for b in &values[..at] {
                assert_ne!(a.hash64(), b.hash64(), "{a:?} {b:?}");
                assert_ne!(a.hash128(), b.hash128(), "{a:?} {b:?}");
            }
        }
    }

    /// Hashes stand in stored profiles, so they never change.
    #[test]
    fn hashes_are_stable() {
        assert_eq!(Value::Integer(42).hash64(), mix(42));
        assert_eq!(Value::Text("hello").hash64(), 12_646_853_643_214_282_122);
    }
}
