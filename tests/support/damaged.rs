//! What real clients send, damaged: seeds from `tests/corpus`, and the changes that are made to them.
#![allow(unreachable_pub, dead_code, reason = "included by test programs and by unit tests")]

use std::fs;
use std::path::Path;

use proptest::prelude::*;

/// Numbers that length fields, counts and offsets are tried with.
const NUMBERS: [i64; 14] =
    [0, 1, -1, 7, 8, 63, 127, 255, 1 << 15, i32::MAX as i64, i32::MIN as i64, 1 << 40, i64::MAX, i64::MIN];

/// What nests, when it is written often enough.
const OPENING: [&[u8]; 12] =
    [b"[", b"{", b"(", b"\"", b"'", b"{\"a\":", b"list<", b"CASE WHEN ", b"-", b"NOT ", b"\0", b"\xff"];

/// One change of some bytes; what does not fit into them is taken by its remainder.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    pub kind: u8,
    pub at: usize,
    pub other: usize,
    pub number: usize,
}

/// Any change.
pub fn change() -> impl Strategy<Value = Change> {
    (any::<u8>(), any::<usize>(), any::<usize>(), any::<usize>())
        .prop_map(|(kind, at, other, number)| Change { kind, at, other, number })
}

impl Change {
    /// Makes it.
    pub fn make(self, bytes: &mut Vec<u8>) {
        let Self { kind, at, other, number } = self;
        let place = at % (bytes.len() + 1);
        let end = bytes.len().min(place + other % 64);
        match kind % 8 {
            0 | 1 => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= (number % 255 + 1) as u8;
                }
            }
            // Fields of flatbuffers lie at multiples of their width.
            2 => write(bytes, place & !7, &NUMBERS[number % NUMBERS.len()].to_le_bytes()),
            3 => write(bytes, place & !3, &(NUMBERS[number % NUMBERS.len()] as i32).to_le_bytes()),
            4 => {
                bytes.drain(place..end);
            }
            5 => {
                let piece = bytes[place..end].to_vec();
                let to = number % (bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            6 => bytes.truncate(place),
            _ => {
                let times = [1, 2, 100, 5000][other % 4];
                bytes.splice(place..place, OPENING[number % OPENING.len()].repeat(times));
            }
        }
    }
}

fn write(bytes: &mut [u8], at: usize, number: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + number.len()) {
        place.copy_from_slice(number);
    }
}

/// One of the seeds with some changes, or none.
pub fn damaged(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(seeds), prop::collection::vec(change(), 0..6)).prop_map(|(mut bytes, changes)| {
        changes.into_iter().for_each(|change| change.make(&mut bytes));
        bytes
    })
}

/// As [`damaged`], for what is text by the time it is read.
pub fn damaged_text(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = String> {
    damaged(seeds).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn corpus(name: &str) -> std::path::PathBuf {
    // Crates of the workspace lie two folders deeper.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found =
        here.ancestors().map(|folder| folder.join("tests/corpus").join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!("there is no tests/corpus/{name}; tests/corpus/make.py writes what is not text")
    })
}

/// The files of a folder of the corpus, in the order of their names.
pub fn files(folder: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> =
        fs::read_dir(corpus(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// The lines of a file of the corpus.
pub fn lines(file: &str) -> Vec<Vec<u8>> {
    fs::read_to_string(corpus(file)).unwrap().lines().map(|line| line.as_bytes().to_vec()).collect()
}

/// The paragraphs of a file of the corpus.
pub fn paragraphs(file: &str) -> Vec<Vec<u8>> {
    fs::read_to_string(corpus(file)).unwrap().split("\n\n").map(|text| text.as_bytes().to_vec()).collect()
}

/// A message of a stream: its header and its body.
pub type Message = (Vec<u8>, Vec<u8>);

/// The streams of the corpus, each cut into its messages. `body_length` reads a header.
pub fn streams(body_length: impl Fn(&[u8]) -> usize) -> Vec<Vec<Message>> {
    files("streams").iter().map(|stream| messages(stream, &body_length)).collect()
}

/// Cuts an IPC stream: a marker, the length of the header, the header, and the body as long as the header says.
fn messages(mut stream: &[u8], body_length: &impl Fn(&[u8]) -> usize) -> Vec<Message> {
    let mut found = Vec::new();
    while let Some((prefix, rest)) = stream.split_first_chunk::<8>() {
        let length = u32::from_le_bytes(prefix[4..].try_into().unwrap()) as usize;
        if length == 0 {
            break;
        }
        let (header, rest) = rest.split_at(length);
        let (body, rest) = rest.split_at(body_length(header));
        found.push((header.to_vec(), body.to_vec()));
        stream = rest;
    }
    found
}
