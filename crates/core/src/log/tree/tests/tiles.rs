//! Tiles and their names. Source of the examples: <https://c2sp.org/tlog-tiles>.

use super::*;

fn path(level: u8, index: u64, width: u16) -> String {
    Tile::new(level, index, width).unwrap().path()
}

#[test]
fn tiles_have_the_names_of_the_specification() {
    assert_eq!(path(0, 1_234_067, 256), "tile/0/x001/x234/067");
    assert_eq!(path(0, 0, 256), "tile/0/000");
    assert_eq!(path(3, 999, 255), "tile/3/999.p/255");
    assert_eq!(path(0, 1000, 1), "tile/0/x001/000.p/1");
    assert_eq!(path(1, 1234, 256), "tile/1/x001/234");
    // The partial tiles of a tree of 70,000 leaves.
    assert_eq!(path(0, 273, 112), "tile/0/273.p/112");
    assert_eq!(path(1, 1, 17), "tile/1/001.p/17");
    assert_eq!(path(2, 0, 1), "tile/2/000.p/1");
}

#[test]
fn tiles_hold_the_roots_of_the_tiles_below() {
    let log = Log::counting(600);
    let bytes = |level, index, width| {
        let tile = Tile::new(level, index, width).unwrap();
        tile.bytes(log.read(tile.needed())).unwrap()
    };
    let leaves = |span: std::ops::Range<usize>| -> Vec<u8> {
        log.leaves[span].iter().flat_map(|leaf| *leaf.as_bytes()).collect()
    };
    assert_eq!(bytes(0, 1, 256), leaves(256..512));
    assert_eq!(bytes(0, 2, 88), leaves(512..600));
    let below = |index: u64| {
        let mut tree = Appender::new();
        (256 * index..256 * (index + 1)).for_each(|leaf| drop(tree.append(log.leaf(leaf))));
        *tree.root().as_bytes()
    };
    assert_eq!(bytes(1, 0, 2), [below(0), below(1)].concat());
}

#[test]
fn tiles_that_no_log_has_are_refused() {
    for (level, index, width) in [(0, 0, 0), (0, 0, 257), (8, 0, 1), (255, 0, 1), (7, 0, 128), (0, u64::MAX, 256)] {
        assert_eq!(Tile::new(level, index, width), Err(TileError { level, index, width }));
    }
    assert_eq!(Tile::new(7, 0, 127).unwrap().needed().last(), Some(&((127 << 56) - 1)));
    assert!(Tile::new(0, MAX_SIZE / 256, 255).is_ok());
}
