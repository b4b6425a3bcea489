//! A share of requests, and which of them it takes.

/// A number from 0 (none) to 1 (all).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

impl Ratio {
    /// All.
    pub const ALL: Self = Self(1.0);

    /// A ratio, if the number is one.
    #[must_use]
    pub fn new(number: f64) -> Option<Self> {
        (0.0..=1.0).contains(&number).then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Whether it is less than all.
    #[must_use]
    pub fn is_partial(self) -> bool {
        self.0 < 1.0
    }

    /// Whether it takes what has this number, of evenly spread ones: always the same answer for the same number, and what
    /// a ratio takes a larger one takes, too.
    #[must_use]
    pub fn takes(self, number: u64) -> bool {
        let high = u32::try_from(number >> 32).unwrap_or(u32::MAX);
        f64::from(high) < self.0 * (f64::from(u32::MAX) + 1.0)
    }

    /// Whether it takes what has this name.
    #[must_use]
    pub fn takes_name(self, name: &str) -> bool {
        // FNV-1a, and the last steps of MurmurHash3, without which names that end alike stay close together.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        self.takes(mixed ^ (mixed >> 33))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::Ratio;

    #[test]
    fn all_takes_all_and_nothing_takes_none() {
        let none = Ratio::new(0.0).unwrap();
        for number in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(Ratio::ALL.takes(number) && !none.takes(number), "{number}");
        }
        for number in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Ratio::new(number), None);
        }
    }

    #[test]
    fn it_takes_its_share_of_consecutive_names_and_a_larger_one_takes_those_too() {
        let (tenth, third) = (Ratio::new(0.1).unwrap(), Ratio::new(0.333).unwrap());
        let names: Vec<String> = (0..20_000)
            .map(|count| format!("e035ed53aae90115{count:08x}"))
            .collect();
        let taken = |ratio: Ratio| names.iter().filter(|name| ratio.takes_name(name)).count();
        assert!((1_800..2_200).contains(&taken(tenth)), "{}", taken(tenth));
        assert!((6_260..7_060).contains(&taken(third)), "{}", taken(third));
        assert!(
            names
                .iter()
                .all(|name| !tenth.takes_name(name) || third.takes_name(name))
        );
    }
}
