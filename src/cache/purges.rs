//! How often each source was purged, as the names of empty files: known after a restart, and never
//! the same number twice, whichever of the processes that share the folder gives it.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use weir_plan::Key;

/// The numbers of purges.
pub(super) struct Purges {
    folder: PathBuf,
    at_start: HashMap<String, u64>,
}

impl Purges {
    /// Reads the numbers in a folder that is there.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        let mut at_start = HashMap::new();
        for (name, number) in numbers(&folder)? {
            let greatest = at_start.entry(name).or_default();
            *greatest = number.max(*greatest);
        }
        Ok(Self { folder, at_start })
    }

    /// How often `source` had been purged when the numbers were read.
    pub(super) fn at_start(&self, source: &str) -> u64 {
        self.at_start.get(&name(source)).copied().unwrap_or(0)
    }

    /// Gives the next purge of `source` a number: greater than `known` and than every other's.
    pub(super) fn next(&self, source: &str, known: u64) -> io::Result<u64> {
        let name = name(source);
        let path = |number: u64| self.folder.join(format!("{name}.{number}"));
        let mut number = known;
        loop {
            number = number.max(self.greatest(&name)?) + 1;
            match OpenOptions::new().write(true).create_new(true).open(path(number)) {
                Ok(file) => file.sync_all()?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            // Others may have gone past this number and tidied it away before it was made here.
            if self.greatest(&name)? == number {
                break;
            }
        }
        // Not every system lets a folder be opened.
        let _ = File::open(&self.folder).and_then(|folder| folder.sync_all());
        for (other, lower) in numbers(&self.folder)? {
            if other == name && lower < number {
                let _ = fs::remove_file(path(lower));
            }
        }
        Ok(number)
    }

    fn greatest(&self, name: &str) -> io::Result<u64> {
        let of_source = numbers(&self.folder)?.into_iter().filter(|(other, _)| other == name);
        Ok(of_source.map(|(_, number)| number).max().unwrap_or(0))
    }
}

/// A source's name in files.
fn name(source: &str) -> String {
    Key::new(source.to_owned()).short_hex()
}

/// Names and numbers, in no order; other files are left alone.
fn numbers(folder: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.file_name();
        let parts = file.to_str().and_then(|file| file.split_once('.'));
        if let Some((name, number)) = parts.and_then(|(name, number)| Some((name, number.parse::<u32>().ok()?))) {
            numbers.push((name.to_owned(), number.into()));
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> Purges {
        Purges::open(folder.to_owned()).unwrap()
    }

    #[test]
    fn numbers_outlive_the_process_and_belong_to_one_source() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        let purges = open(folder.path());
        assert_eq!((purges.at_start("a"), purges.next("a", 0).unwrap()), (0, 1));
        assert_eq!(purges.next("a", 1).unwrap(), 2);
        let again = open(folder.path());
        assert_eq!((again.at_start("a"), again.at_start("b")), (2, 0));
        assert_eq!(again.next("b", 0).unwrap(), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "the last of each, and what is not ours");
    }

    #[test]
    fn no_number_is_given_twice() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (open(folder.path()), open(folder.path()));
        assert_eq!(one.next("a", 0).unwrap(), 1);
        assert_eq!(other.next("a", 0).unwrap(), 2, "though it knew of none");
        assert_eq!(one.next("a", 7).unwrap(), 8, "a number that only this process knows is past too");
        let numbers: Vec<u64> = std::thread::scope(|scope| {
            let threads = [&one, &other, &one, &other]
                .map(|purges| scope.spawn(move || (0..20).map(|_| purges.next("a", 0).unwrap()).collect::<Vec<_>>()));
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let mut different = numbers.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), numbers.len());
        assert_eq!(open(folder.path()).at_start("a"), *different.last().unwrap());
    }
}
