//! A few hexadecimal digits that stand for a whole id or hash, as a range of byte strings.

/// The smallest and the largest value of `N` bytes that start with these digits; none where `digits` is no such prefix
/// (empty, too long, or with other characters in it).
pub(crate) fn range<const N: usize>(digits: &str) -> Option<([u8; N], [u8; N])> {
    if digits.is_empty() || digits.len() > 2 * N {
        return None;
    }
    let (mut low, mut high) = ([0x00; N], [0xff; N]);
    for (at, digit) in digits.chars().enumerate() {
        let digit = u8::try_from(digit.to_digit(16)?).expect("a hexadecimal digit is below 16");
        if at % 2 == 0 {
            low[at / 2] = digit << 4;
            high[at / 2] = digit << 4 | 0x0f;
        } else {
            low[at / 2] |= digit;
            high[at / 2] = high[at / 2] & 0xf0 | digit;
        }
    }
    Some((low, high))
}

/// The digits of a content hash as people give them: with or without `b3:`, in any case.
pub(crate) fn hash_range(given: &str) -> Option<([u8; 32], [u8; 32])> {
    range(given.strip_prefix(runstone_core::hash::CONTENT_PREFIX).unwrap_or(given))
}

/// The digits of a run's id as people give them: at least four, hyphens where they like.
pub(crate) fn run_range(given: &str) -> Option<([u8; 16], [u8; 16])> {
    let digits = given.replace('-', "");
    if digits.len() < 4 { None } else { range(&digits) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_the_range_of_all_that_start_with_it() {
        assert_eq!(range::<2>("a"), Some(([0xa0, 0x00], [0xaf, 0xff])));
        assert_eq!(range::<2>("aB"), Some(([0xab, 0x00], [0xab, 0xff])));
        assert_eq!(range::<2>("abc"), Some(([0xab, 0xc0], [0xab, 0xcf])));
        assert_eq!(range::<2>("abcd"), Some(([0xab, 0xcd], [0xab, 0xcd])));
        for bad in ["", "abcde", "g", "é", "-1"] {
            assert_eq!(range::<2>(bad), None, "{bad}");
        }
    }

    #[test]
    fn runs_need_four_digits_and_hashes_may_carry_their_prefix() {
        assert_eq!(run_range("123"), None);
        assert_eq!(run_range("1-2-3"), None);
        assert_eq!(run_range("0192-ab").map(|(low, _)| low[..3].to_vec()), Some(vec![0x01, 0x92, 0xab]));
        assert_eq!(hash_range("b3:af"), hash_range("AF"));
    }
}
