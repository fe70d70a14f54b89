//! The tree as tiles: static files of 256 hashes, from which anybody can make proofs without asking the log.
//!
//! Source: <https://c2sp.org/tlog-tiles>. A tile of level l holds hashes of the tree's level 8 l. Not here: which tiles
//! exist for a tree, and bundles of entries.

use super::layout::{Node, Records, leaves};
use super::{HASH_LEN, MAX_SIZE, ReadError};

/// The hashes of a full tile.
pub const TILE_WIDTH: u16 = 256;

/// The levels of the tree that a tile stands for: the binary logarithm of its width.
const HEIGHT: u32 = 8;

/// A tile that no log can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no tile {index} of level {level} with {width} hashes: a tile has 1 to {TILE_WIDTH}, and a log at most \
    {MAX_SIZE} leaves"
)]
pub struct TileError {
    /// The level, counted in tiles.
    pub level: u8,
    /// The index within the level.
    pub index: u64,
    /// The number of hashes.
    pub width: u16,
}

/// A tile, which may be partial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

impl Tile {
    /// Tile `index` of `level`, of which the first `width` hashes exist.
    ///
    /// # Errors
    /// [`TileError`] where the width is not 1 to 256, or no log is that large.
    pub fn new(level: u8, index: u64, width: u16) -> Result<Self, TileError> {
        let end = u128::from(index) * u128::from(TILE_WIDTH) + u128::from(width);
        let bits = HEIGHT * u32::from(level);
        let exists = (1..=TILE_WIDTH).contains(&width) && bits < u64::BITS && end <= u128::from(MAX_SIZE >> bits);
        exists.then_some(Self { level, index, width }).ok_or(TileError { level, index, width })
    }

    /// Where the tile is served, below the prefix of the log: `tile/0/x001/x234/067`, and `tile/0/000.p/5` for the
    /// first five hashes.
    #[must_use]
    pub fn path(&self) -> String {
        let mut number = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            number = format!("x{:03}/{number}", rest % 1000);
            rest /= 1000;
        }
        let partial = if self.width < TILE_WIDTH { format!(".p/{}", self.width) } else { String::new() };
        format!("tile/{}/{number}{partial}", self.level)
    }

    /// The leaves whose records [`bytes`](Self::bytes) needs, in order: one for each hash.
    #[must_use]
    pub fn needed(&self) -> Vec<u64> {
        leaves(self.nodes())
    }

    /// The tile itself: its hashes without anything between them. `read` is called once, with the leaves that
    /// [`needed`](Self::needed) names, and returns their records in that order.
    ///
    /// # Errors
    /// [`ReadError`] where `read` fails, as it must for a leaf that the log does not have, or where records do not have
    /// the right form.
    pub fn bytes<E>(&self, read: impl FnOnce(&[u64]) -> Result<Vec<Vec<u8>>, E>) -> Result<Vec<u8>, ReadError<E>> {
        let records = Records::read(self.nodes(), read)?;
        let mut bytes = Vec::with_capacity(usize::from(self.width) * HASH_LEN);
        for node in self.nodes() {
            bytes.extend_from_slice(records.node(node).as_bytes());
        }
        Ok(bytes)
    }

    fn nodes(self) -> impl Iterator<Item = Node> {
        let first = self.index * u64::from(TILE_WIDTH);
        (first..first + u64::from(self.width)).map(move |index| Node { level: HEIGHT * u32::from(self.level), index })
    }
}
