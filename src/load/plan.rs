//! The pieces of many files -> parts, each one put stream and one transaction.
//! Runs on: any thread; pure values. Never: cuts a piece, or puts files that send other columns into one part.

use crate::files::input::Piece;

/// Rows that a part is filled up to; a single piece may be larger. A commit costs a few milliseconds, a million rows take
/// about a second, and what is read again after a failure is at most this much.
const PART_ROWS: u64 = 1_000_000;
/// Bytes of files that a part is filled up to, for files that do not say how many rows they have, and for wide rows.
const PART_BYTES: u64 = 256 << 20;
/// Pieces of a part: what the server is told of each is kept until the commit.
const PART_PIECES: usize = 20_000;

/// A piece of a file, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) piece: usize,
}

/// What goes into one put stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Part {
    pub(super) pieces: Vec<Place>,
}

/// A file to be planned: which columns it sends, as a number that is the same for the same columns, and its pieces.
pub(super) struct Planned<'a> {
    pub(super) file: usize,
    pub(super) shape: usize,
    pub(super) pieces: &'a [Piece],
}

/// Fills parts in the order of the files. A file without rows has no piece, so it is in no part.
pub(super) fn parts<'a>(files: impl IntoIterator<Item = Planned<'a>>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let (mut rows, mut bytes, mut shape) = (0_u64, 0_u64, None);
    for Planned { file, shape: own, pieces } in files {
        for (number, piece) in pieces.iter().enumerate() {
            let place = Place { file, piece: number };
            let more = piece.rows.unwrap_or(0);
            let fits = shape == Some(own)
                && rows.saturating_add(more) <= PART_ROWS
                && bytes.saturating_add(piece.bytes) <= PART_BYTES;
            match parts.last_mut() {
                Some(part) if fits && part.pieces.len() < PART_PIECES => {
                    part.pieces.push(place);
                    rows = rows.saturating_add(more);
                    bytes = bytes.saturating_add(piece.bytes);
                }
                _ => {
                    parts.push(Part { pieces: vec![place] });
                    (rows, bytes, shape) = (more, piece.bytes, Some(own));
                }
            }
        }
    }
    parts
}

impl Part {
    /// The numbers of its files, in order, each once.
    pub(super) fn files(&self) -> Vec<usize> {
        let mut files: Vec<usize> = self.pieces.iter().map(|place| place.file).collect();
        files.dedup();
        files
    }

    /// All but one file.
    pub(super) fn without(mut self, file: usize) -> Part {
        self.pieces.retain(|place| place.file != file);
        self
    }

    /// The first half of its files and the second one.
    pub(super) fn halves(self) -> (Part, Part) {
        let files = self.files();
        let middle = files.get(files.len() / 2).copied().unwrap_or_default();
        let (first, second) = self.pieces.into_iter().partition(|place| place.file < middle);
        (Part { pieces: first }, Part { pieces: second })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(rows: u64) -> Piece {
        Piece { rows: Some(rows), bytes: 1, held: 1 }
    }

    /// Pieces are joined up to a million rows, over files that send the same columns, and never cut.
    #[test]
    fn parts_are_whole_pieces() {
        let check = |files: &[(usize, &[u64])], expected: &[usize]| {
            let pieces: Vec<Vec<Piece>> =
                files.iter().map(|(_, rows)| rows.iter().map(|rows| piece(*rows)).collect()).collect();
            let planned = files.iter().zip(&pieces).enumerate();
            let planned = planned.map(|(file, ((shape, _), pieces))| Planned { file, shape: *shape, pieces });
            let found: Vec<usize> = parts(planned).iter().map(|part| part.pieces.len()).collect();
            assert_eq!(found, expected, "{files:?}");
        };
        check(&[], &[]);
        check(&[(0, &[])], &[]);
        check(&[(0, &[1_000_000])], &[1]);
        check(&[(0, &[1_000_001, 1])], &[1, 1]);
        check(&[(0, &[600_000, 400_000, 1, 3_000_000, 5])], &[2, 1, 1, 1]);
        check(&[(0, &[u64::MAX, u64::MAX])], &[1, 1]);
        check(&[(0, &[1]), (0, &[1, 1]), (1, &[1]), (1, &[]), (0, &[1])], &[3, 1, 1]);
    }

    /// Files that do not know their rows are parted by their bytes, and very many small ones by their number.
    #[test]
    fn parts_are_bounded_without_rows() {
        let blocks = vec![Piece { rows: None, bytes: PART_BYTES / 2, held: 1 }; 5];
        let found = parts([Planned { file: 0, shape: 0, pieces: &blocks }]);
        assert_eq!(found.iter().map(|part| part.pieces.len()).collect::<Vec<_>>(), [2, 2, 1]);
        let small = vec![piece(1); PART_PIECES + 1];
        let found = parts([Planned { file: 7, shape: 0, pieces: &small }]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].files(), [7]);
    }

    #[test]
    fn a_part_falls_apart_into_files() {
        let one = [piece(1), piece(1)];
        let files = (4..7).map(|file| Planned { file, shape: 0, pieces: &one });
        let part = parts(files).remove(0);
        assert_eq!(part.files(), [4, 5, 6]);
        assert_eq!(part.clone().without(5).files(), [4, 6]);
        let (first, second) = part.halves();
        assert_eq!((first.files(), second.files()), (vec![4], vec![5, 6]));
        assert_eq!(second.pieces.len(), 4);
        let (first, second) = second.halves();
        assert_eq!((first.files(), second.files()), (vec![5], vec![6]));
    }
}
