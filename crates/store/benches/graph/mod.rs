//! A large lineage graph, the same one each time: which attempts there are, what each reads and publishes.
//!
//! Most attempts read two or three of the last thousand publications of their component and publish one to three. A
//! component is small (900 publications) or large (110,000), half of all publications each. Among them are four
//! chains, each link of which reads the one before, and five hubs that ten thousand attempts read besides.

pub(crate) mod load;
pub(crate) mod rows;

/// How far back an attempt looks.
const WINDOW: usize = 1_000;
const SMALL: usize = 900;
const LARGE: usize = 110_000;
/// Small components between large ones.
const SMALL_ONES: usize = LARGE / SMALL;
const HUBS: usize = 5;
const HUB_READERS: usize = 10_000;
const CHAINS: usize = 4;

/// An attempt that succeeded.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// From 0.
    pub(crate) index: usize,
    pub(crate) id: i64,
    pub(crate) reads: Vec<i64>,
    pub(crate) publishes: std::ops::Range<i64>,
}

/// Nodes that are worth asking about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Questions {
    /// First and last publication of each small component.
    pub(crate) small: Vec<(i64, i64)>,
    /// The same of large ones.
    pub(crate) large: Vec<(i64, i64)>,
    /// The last link of each chain.
    pub(crate) chains: Vec<i64>,
    /// What ten thousand attempts read.
    pub(crate) hubs: Vec<i64>,
    /// The largest id there is.
    pub(crate) last: i64,
    pub(crate) attempts: usize,
    pub(crate) publications: usize,
    /// Readings.
    pub(crate) consumed: usize,
}

/// All attempts, in the order of ids.
#[derive(Debug, Clone)]
pub(crate) struct Attempts {
    edges: usize,
    random: u64,
    /// Publications of the component so far.
    component: Vec<i64>,
    components: usize,
    chains: [Option<i64>; CHAINS],
    pub(crate) questions: Questions,
}

/// As many as it takes for so many readings.
pub(crate) fn attempts(edges: usize) -> Attempts {
    Attempts {
        edges,
        random: 7,
        component: Vec::new(),
        components: 0,
        chains: [None; CHAINS],
        questions: Questions::default(),
    }
}

impl Attempts {
    /// `SplitMix64`, see <https://prng.di.unimi.it/splitmix64.c>.
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % bound
    }

    fn reads(&mut self) -> Vec<i64> {
        let window = self.component.len().min(WINDOW);
        let many = 2 + self.below(2);
        let mut reads: Vec<i64> = (0..many.min(window))
            .map(|_| {
                let back = self.below(window);
                self.component[self.component.len() - 1 - back]
            })
            .collect();
        let hub = self.below(self.edges * 2 / 5);
        if hub < HUBS * HUB_READERS && !reads.is_empty() {
            reads.push(self.questions.hubs[hub % HUBS]);
        }
        reads.sort_unstable();
        reads.dedup();
        reads
    }

    fn close_component(&mut self) {
        let is_large = self.components % (SMALL_ONES + 1) == SMALL_ONES;
        if self.component.len() < if is_large { LARGE } else { SMALL } {
            return;
        }
        let ends = (self.component[0], self.component[self.component.len() - 1]);
        if is_large { &mut self.questions.large } else { &mut self.questions.small }.push(ends);
        self.component.clear();
        self.components += 1;
    }
}

impl Iterator for Attempts {
    type Item = Attempt;

    fn next(&mut self) -> Option<Attempt> {
        if self.questions.consumed >= self.edges {
            return None;
        }
        let index = self.questions.attempts;
        let id = self.questions.last + 1;
        let chain = (index % 16 == 15).then_some(index / 16 % CHAINS);
        let (reads, many) = match chain {
            _ if index < HUBS => (Vec::new(), 1),
            Some(chain) => (self.chains[chain].into_iter().collect(), 1),
            None => (self.reads(), 1 + self.below(3)),
        };
        let publishes = id + 1..id + 1 + many as i64;
        match chain {
            _ if index < HUBS => self.questions.hubs.push(id + 1),
            Some(chain) => self.chains[chain] = Some(id + 1),
            None => {
                self.component.extend(publishes.clone());
                self.close_component();
            }
        }
        self.questions.chains = self.chains.iter().flatten().copied().collect();
        self.questions.last = publishes.end - 1;
        self.questions.attempts += 1;
        self.questions.publications += many;
        self.questions.consumed += reads.len();
        Some(Attempt { index, id, reads, publishes })
    }
}

/// What there is to ask about a graph of so many readings.
pub(crate) fn questions(edges: usize) -> Questions {
    let mut attempts = attempts(edges);
    attempts.by_ref().for_each(drop);
    attempts.questions
}
