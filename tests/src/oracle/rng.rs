//! A small seeded generator: the same seed gives each mutator the same numbers.

/// SplitMix64.
pub struct Rng(u64);

/// A bijection that scatters: what a number's checksum and filling are made of.
pub fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(mix(seed))
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.draw()) * n as u128) >> 64) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// From 1 to `max`, short ones as likely as long ones: the logarithm is even.
    pub fn length(&mut self, max: usize) -> usize {
        let bits = self.below(max.max(1).ilog2() as usize + 1);
        ((1 << bits) + self.below(1 << bits)).min(max)
    }
}
