//! Finds the name that somebody probably meant.

/// The candidate nearest to `word`: at most a third of its letters changed, in any case and with or
/// without underscores.
pub(crate) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-', ' '], "");
    let word = plain(word);
    let near = candidates.iter().map(|candidate| (distance(&word, &plain(candidate)), *candidate));
    let (distance, candidate) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= candidate.len() / 3).then_some(candidate)
}

/// `; did you mean "x"?` where a candidate is near to `word`, else nothing.
pub(crate) fn hint(word: &str, candidates: &[&str]) -> String {
    nearest(word, candidates).map(|name| format!("; did you mean {name:?}?")).unwrap_or_default()
}

/// Letters to insert, delete, replace or swap with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_find_their_neighbour_and_strange_ones_none() {
        const KNOWN: [&str; 5] = ["format", "from", "to", "maximumBytesBilled", "params"];
        let check = |word: &str, expected: Option<&str>| assert_eq!(nearest(word, &KNOWN), expected, "{word}");
        check("fromat", Some("format"));
        check("frm", Some("from"));
        check("parms", Some("params"));
        check("maximum_bytes_billed", Some("maximumBytesBilled"));
        check("TO", Some("to"));
        check("x", None);
        check("query", None);
        check("", None);
    }
}
