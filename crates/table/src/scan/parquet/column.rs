//! Reads the rows of one column chunk: levels and values, over the borders of pages.

use super::Fault;
use super::leaf::Leaf;
use super::packed::Hybrid;
use super::page::{Data, Page, Pages};
use super::values::{self, Decoder, Values};

/// Entries of a page of a list, whose levels are kept as a whole.
const MAX_REPEATED: usize = 1 << 24;
/// Entries of the lists of one batch.
const MAX_ENTRIES: usize = 1 << 26;

/// Some rows of a column: for each entry its definition and repetition level, and the values of those that have one.
#[derive(Debug)]
pub(super) struct Entries {
    /// Empty where every entry has a value.
    pub(super) def: Vec<u8>,
    /// Empty where every entry is a row.
    pub(super) rep: Vec<u8>,
    pub(super) values: Values,
}

/// Reads a column chunk from its beginning to its end.
#[derive(Debug)]
pub(super) struct ColumnReader {
    leaf: Leaf,
    pages: Pages,
    dictionary: Option<Values>,
    page: Option<OpenPage>,
}

#[derive(Debug)]
struct OpenPage {
    /// Entries that are not read yet.
    left: usize,
    def: Option<Hybrid>,
    /// Of all entries, and the next of them.
    rep: Vec<u8>,
    at: usize,
    values: Decoder,
}

fn width(max: u8) -> u32 {
    u8::BITS - max.leading_zeros()
}

impl OpenPage {
    fn new(leaf: &Leaf, data: Data) -> Result<Self, Fault> {
        let mut rep = Vec::new();
        if leaf.max_rep > 0 {
            if data.entries > MAX_REPEATED {
                return Err(Fault::TooLarge("a page of a list has too many entries".to_owned()));
            }
            Hybrid::new(data.rep, width(leaf.max_rep))?.take(data.entries, |level| rep.push(level as u8))?;
        }
        let def = if leaf.max_def > 0 { Some(Hybrid::new(data.def, width(leaf.max_def))?) } else { None };
        let values = Decoder::new(leaf.physical, data.encoding, data.values)?;
        Ok(Self { left: data.entries, def, rep, at: 0, values })
    }
}

impl ColumnReader {
    pub(super) fn new(leaf: &Leaf, pages: Pages) -> Self {
        Self { leaf: *leaf, pages, dictionary: None, page: None }
    }

    /// Reads exactly so many rows, in place of those that are in `entries`.
    pub(super) fn read(&mut self, rows: usize, entries: &mut Entries) -> Result<(), Fault> {
        entries.def.clear();
        entries.rep.clear();
        entries.values.clear();
        let mut begun = 0;
        loop {
            let Some(page) = self.open()? else {
                return if begun == rows { Ok(()) } else { Err(Fault::Damaged("rows are missing")) };
            };
            let (count, is_end) = if page.rep.is_empty() {
                let count = page.left.min(rows - begun);
                begun += count;
                (count, begun == rows)
            } else {
                // A row goes on until the next one begins.
                let next = &page.rep[page.at..];
                let count = next.iter().position(|level| {
                    begun += usize::from(*level == 0);
                    begun > rows
                });
                begun = begun.min(rows);
                (count.unwrap_or(next.len()), count.is_some())
            };
            self.take(count, entries)?;
            if is_end {
                return Ok(());
            }
        }
    }

    /// The page that has the next entry, if there is one more.
    fn open(&mut self) -> Result<Option<&OpenPage>, Fault> {
        while self.page.as_ref().is_none_or(|page| page.left == 0) {
            match self.pages.next()? {
                None => return Ok(None),
                Some(Page::Data(data)) => self.page = Some(OpenPage::new(&self.leaf, data)?),
                Some(Page::Dictionary { count, values }) => {
                    self.dictionary = Some(values::dictionary(self.leaf.physical, &values, count)?);
                }
            }
        }
        Ok(self.page.as_ref())
    }

    /// Takes entries of the open page.
    fn take(&mut self, count: usize, entries: &mut Entries) -> Result<(), Fault> {
        let Some(page) = self.page.as_mut().filter(|_| count > 0) else { return Ok(()) };
        let mut present = count;
        if let Some(def) = &mut page.def {
            let max = u32::from(self.leaf.max_def);
            present = 0;
            def.take(count, |level| {
                present += usize::from(level == max);
                entries.def.push(level as u8);
            })?;
        }
        if !page.rep.is_empty() {
            if entries.rep.len() + count > MAX_ENTRIES {
                return Err(Fault::TooLarge("a list has too many entries".to_owned()));
            }
            if entries.rep.is_empty() && page.rep[page.at] != 0 {
                return Err(Fault::Damaged("a list goes on before its row begins"));
            }
            entries.rep.extend_from_slice(&page.rep[page.at..page.at + count]);
            page.at += count;
        }
        page.left -= count;
        page.values.take(present, self.dictionary.as_ref(), &mut entries.values)
    }
}
