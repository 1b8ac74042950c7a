//! Quantiles of what was measured.

/// The least value that a share `share` (0 to 1) of ascending values does not exceed; none of none. At 0.5
/// that is the median, and of an even number the lower of the two in the middle.
pub fn quantile<T: Copy>(ascending: &[T], share: f64) -> Option<T> {
    let rank = (ascending.len() as f64 * share).ceil() as usize;
    ascending.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn the_rank_is_rounded_up() {
        let hundred: Vec<u32> = (1..=100).collect();
        assert_eq!(quantile(&hundred, 0.5), Some(50));
        assert_eq!(quantile(&hundred, 0.99), Some(99));
        assert_eq!(quantile(&hundred, 1.0), Some(100));
        assert_eq!(quantile(&[1, 2, 3], 0.5), Some(2));
        assert_eq!(quantile(&[7], 0.0), Some(7));
        assert_eq!(quantile::<u32>(&[], 0.5), None);
    }
}
