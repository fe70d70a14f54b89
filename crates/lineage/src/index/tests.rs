//! The index against a small record of its own: transactions that overlap, commit out of order or not at all, refreshes in
//! between. Everything the index says must be what a plain walk over the committed rows says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use runstone_core::record::Cut;

use super::*;

const LIMITS: [WalkLimit; 5] = [
    WalkLimit::NONE,
    WalkLimit { depth: Some(1), ..WalkLimit::NONE },
    WalkLimit { depth: Some(0), nodes: 3, time: None },
    WalkLimit { nodes: 4, ..WalkLimit::NONE },
    WalkLimit { time: Some(Duration::ZERO), ..WalkLimit::NONE },
];

/// What is committed.
#[derive(Debug, Clone, Default)]
struct Rows {
    /// Attempts: what they read, and what became of them.
    attempts: BTreeMap<NodeId, (BTreeSet<NodeId>, Option<bool>)>,
    /// Publications, with who made them.
    made: BTreeMap<NodeId, NodeId>,
}

impl Rows {
    fn newest(&self) -> NodeId {
        let last = self.attempts.keys().next_back().max(self.made.keys().next_back());
        last.copied().unwrap_or(NodeId(0))
    }

    fn edges(&self, after: NodeId, ids: u32) -> Edges {
        let until = NodeId((after.0 + i64::from(ids)).min(self.newest().0).max(after.0));
        let mut edges = Edges { attempts: Vec::new(), consumed: Vec::new(), produced: Vec::new(), until };
        for (id, (read, outcome)) in self.attempts.iter().filter(|(id, _)| **id > after && **id <= until) {
            edges.attempts.push((*id, *outcome));
            edges.consumed.extend(read.iter().map(|read| (*read, *id)));
        }
        let made = self.made.iter().filter(|(id, _)| **id > after && **id <= until);
        edges.produced = made.map(|(id, maker)| (*maker, *id)).collect();
        edges
    }

    /// As stores walk.
    fn closure(&self, from: &[NodeId], direction: Direction, limit: WalkLimit) -> Closure {
        let (mut publications, mut attempts, mut cut) = (BTreeSet::new(), BTreeSet::new(), None);
        let mut visit = |ids: BTreeSet<NodeId>, cut: &mut Option<Cut>| {
            let mut fresh = Vec::new();
            for id in ids {
                if publications.contains(&id) {
                    continue;
                }
                if publications.len() >= limit.nodes as usize {
                    cut.get_or_insert(Cut::Nodes);
                    break;
                }
                publications.insert(id);
                fresh.push(id);
            }
            fresh
        };
        let mut frontier = visit(from.iter().copied().filter(|id| self.made.contains_key(id)).collect(), &mut cut);
        for depth in 0.. {
            let beyond = |id: &NodeId| -> Vec<NodeId> {
                match direction {
                    Direction::Up => vec![self.made[id]],
                    Direction::Down => {
                        let readers =
                            self.attempts.iter().filter(|(_, (read, end))| *end == Some(true) && read.contains(id));
                        readers.map(|(id, _)| *id).collect()
                    }
                }
            };
            let fresh: BTreeSet<NodeId> =
                frontier.iter().flat_map(beyond).filter(|id| !attempts.contains(id)).collect();
            if fresh.is_empty() {
                break;
            }
            if limit.depth == Some(depth) {
                cut.get_or_insert(Cut::Depth);
                break;
            }
            if limit.time.is_some() {
                cut.get_or_insert(Cut::Time);
                break;
            }
            let met = fresh.iter().flat_map(|attempt| match direction {
                Direction::Up => self.attempts[attempt].0.iter().copied().collect::<Vec<_>>(),
                Direction::Down => self.made.iter().filter(|(_, maker)| *maker == attempt).map(|(id, _)| *id).collect(),
            });
            let met = met.collect();
            attempts.extend(fresh);
            frontier = visit(met, &mut cut);
        }
        Closure { materializations: publications.into_iter().collect(), attempts: attempts.into_iter().collect(), cut }
    }
}

/// A transaction under way.
#[derive(Debug)]
struct Transaction {
    number: u64,
    starts: Vec<(NodeId, BTreeSet<NodeId>)>,
    /// Attempts that end here, with what they publish.
    ends: Vec<(NodeId, bool, Vec<NodeId>)>,
}

/// A server: its rows, and what is under way.
#[derive(Debug, Default)]
struct Server {
    rows: Rows,
    under_way: Vec<Transaction>,
    ids: i64,
    transactions: u64,
    /// What happens between the calls of a refresh.
    meanwhile: Vec<Step>,
}

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    /// A transaction begins.
    Begin,
    /// One that is under way starts an attempt on some of the publications that are there.
    Start(usize, Vec<usize>),
    /// One that is under way ends an attempt, and publishes so much where that succeeds.
    End(usize, usize, bool, usize),
    Commit(usize),
    RollBack(usize),
    Refresh,
    /// Refreshes while these happen.
    RefreshAmid(Vec<Step>),
}

impl Server {
    fn id(&mut self) -> NodeId {
        // Other projects take some.
        self.ids += 1 + self.ids % 3;
        NodeId(self.ids)
    }

    fn number(&mut self) -> u64 {
        self.transactions += 1;
        self.transactions
    }

    fn take(&mut self, step: &Step) {
        let pick = |at: usize, len: usize| (len > 0).then(|| at % len);
        match step {
            Step::Begin => {
                let number = self.number();
                self.under_way.push(Transaction { number, starts: Vec::new(), ends: Vec::new() });
            }
            Step::Start(at, reads) => {
                let Some(at) = pick(*at, self.under_way.len()) else { return };
                let there: Vec<NodeId> = self.rows.made.keys().copied().collect();
                let read = reads.iter().filter_map(|read| Some(there[pick(*read, there.len())?])).collect();
                let id = self.id();
                self.under_way[at].starts.push((id, read));
            }
            Step::End(at, which, succeeds, publishes) => {
                let Some(at) = pick(*at, self.under_way.len()) else { return };
                // Its row is locked by whoever ends it.
                let taken: Vec<NodeId> =
                    self.under_way.iter().flat_map(|it| it.ends.iter().map(|(attempt, ..)| *attempt)).collect();
                let live = self.rows.attempts.iter().filter(|(_, (_, outcome))| outcome.is_none()).map(|(id, _)| *id);
                let own = self.under_way[at].starts.iter().map(|(id, _)| *id);
                let open: Vec<NodeId> = live.chain(own).filter(|id| !taken.contains(id)).collect();
                let Some(which) = pick(*which, open.len()) else { return };
                let made = (0..if *succeeds { *publishes } else { 0 }).map(|_| self.id()).collect();
                self.under_way[at].ends.push((open[which], *succeeds, made));
            }
            Step::Commit(at) => {
                let Some(at) = pick(*at, self.under_way.len()) else { return };
                let done = self.under_way.swap_remove(at);
                for (id, read) in done.starts {
                    self.rows.attempts.insert(id, (read, None));
                }
                for (attempt, succeeded, made) in done.ends {
                    self.rows.attempts.get_mut(&attempt).unwrap().1 = Some(succeeded);
                    self.rows.made.extend(made.into_iter().map(|id| (id, attempt)));
                }
            }
            Step::RollBack(at) => {
                if let Some(at) = pick(*at, self.under_way.len()) {
                    self.under_way.swap_remove(at);
                }
            }
            Step::Refresh | Step::RefreshAmid(_) => unreachable!("these are about the index"),
        }
    }

    fn something_happens(&mut self) {
        if let Some(step) = self.meanwhile.pop() {
            self.take(&step);
        }
    }
}

impl Source for Server {
    fn horizon(&mut self) -> StoreResult<Horizon> {
        self.something_happens();
        let fence = self.number();
        let oldest = self.under_way.iter().map(|it| it.number).min().unwrap_or(fence);
        Ok(Horizon { newest: self.rows.newest(), fence, oldest })
    }

    fn edges(&mut self, after: NodeId, ids: u32) -> StoreResult<Edges> {
        self.something_happens();
        // Pages are small, so that there are several.
        Ok(self.rows.edges(after, if ids == u32::MAX { ids } else { ids.min(5) }))
    }

    fn ended(&mut self, attempts: &[NodeId]) -> StoreResult<Vec<(NodeId, bool)>> {
        self.something_happens();
        let outcome = |id: &NodeId| Some((*id, self.rows.attempts.get(id)?.1?));
        Ok(attempts.iter().filter_map(outcome).collect())
    }
}

fn small_steps() -> impl Strategy<Value = Step> {
    let at = 0..8_usize;
    prop_oneof![
        2 => Just(Step::Begin),
        5 => (at.clone(), prop::collection::vec(0..64_usize, 0..4)).prop_map(|(at, reads)| Step::Start(at, reads)),
        5 => (at.clone(), 0..64_usize, prop::bool::weighted(0.8), 0..4_usize)
            .prop_map(|(at, which, succeeds, publishes)| Step::End(at, which, succeeds, publishes)),
        4 => at.clone().prop_map(Step::Commit),
        1 => at.prop_map(Step::RollBack),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => small_steps(),
        2 => Just(Step::Refresh),
        1 => prop::collection::vec(small_steps(), 0..8).prop_map(Step::RefreshAmid),
    ];
    prop::collection::vec(step, 0..120)
}

/// Everything that may be asked, and what there is no answer to.
fn questions(rows: &Rows) -> Vec<Vec<NodeId>> {
    let mut all: Vec<Vec<NodeId>> = (-1..rows.newest().0 + 2).map(|id| vec![NodeId(id)]).collect();
    let every: Vec<NodeId> = rows.made.keys().rev().copied().collect();
    all.extend([every.clone(), every.iter().chain(&every).step_by(3).copied().collect(), Vec::new()]);
    all
}

fn same_answers(index: &Index, rows: &Rows) {
    for from in questions(rows) {
        for direction in [Direction::Up, Direction::Down] {
            for limit in LIMITS {
                let (found, expected) = (index.closure(&from, direction, limit), rows.closure(&from, direction, limit));
                assert_eq!(found, expected, "{from:?} {direction:?} {limit:?} of {rows:?}");
            }
        }
    }
}

/// It lies between what was on record before the refresh and what is after it, and is closed.
fn lies_between(index: &Index, before: &Rows, after: &Rows) {
    for id in after.made.keys() {
        let ask = |direction| index.closure(&[*id], direction, WalkLimit::NONE);
        let truth = |rows: &Rows, direction| rows.closure(&[*id], direction, WalkLimit::NONE);
        let up = ask(Direction::Up);
        if up.materializations.is_empty() {
            assert!(!before.made.contains_key(id), "{id:?} is lost");
            continue;
        }
        assert_eq!(up, truth(after, Direction::Up));
        let (down, most) = (ask(Direction::Down), truth(after, Direction::Down));
        assert!(down.materializations.iter().all(|id| most.materializations.contains(id)), "{id:?}");
        assert!(down.attempts.iter().all(|id| most.attempts.contains(id)), "{id:?}");
        let least = truth(before, Direction::Down);
        assert!(least.materializations.iter().all(|id| down.materializations.contains(id)), "{id:?}");
        assert!(least.attempts.iter().all(|id| down.attempts.contains(id)), "{id:?}");
    }
}

fn play(steps: &[Step], sort: bool) {
    let (mut server, mut index) = (Server::default(), Index::empty());
    for step in steps {
        match step {
            Step::Refresh => {
                index.read_on(&mut server).unwrap();
                same_answers(&index, &server.rows);
            }
            Step::RefreshAmid(happens) => {
                let before = server.rows.clone();
                server.meanwhile.clone_from(happens);
                index.read_on(&mut server).unwrap();
                server.meanwhile.clear();
                lies_between(&index, &before, &server.rows);
            }
            step => server.take(step),
        }
        if sort && index.mark == index.graph.mark() {
            index.graph.sort();
        }
    }
    index.read_on(&mut server).unwrap();
    same_answers(&index, &server.rows);
    assert_eq!(index.graph.nodes(), server.rows.attempts.len() + server.rows.made.len());
    let read: usize = server.rows.attempts.values().map(|(read, _)| read.len()).sum();
    assert_eq!(index.graph.edges(), read + server.rows.made.len());

    // Nothing is under way any more, and everything is settled.
    server.under_way.clear();
    index.read_on(&mut server).unwrap();
    assert_eq!((index.settled, index.mark), (server.rows.newest(), index.graph.mark()));
    same_answers(&index, &server.rows);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn an_index_says_what_the_record_says(steps in steps(), sort in any::<bool>()) {
        play(&steps, sort);
    }
}

/// One transaction has low ids and stays; others overtake it.
#[test]
fn what_a_long_transaction_holds_back_is_read_again() {
    let mut server = Server::default();
    let mut index = Index::empty();
    let attempt_of = |server: &mut Server, at| {
        server.take(&Step::Start(at, vec![0]));
        server.take(&Step::End(at, usize::MAX, true, 2));
        server.take(&Step::Commit(at));
    };
    server.take(&Step::Begin);
    attempt_of(&mut server, 0);
    server.take(&Step::Begin);
    server.take(&Step::Start(0, vec![1]));
    for _ in 0..5 {
        server.take(&Step::Begin);
        attempt_of(&mut server, 1);
        index.read_on(&mut server).unwrap();
        same_answers(&index, &server.rows);
    }
    let held = index.settled;
    assert!(held < server.rows.newest());
    server.take(&Step::Commit(0));
    index.read_on(&mut server).unwrap();
    assert_eq!(index.settled, server.rows.newest());
    same_answers(&index, &server.rows);
}

/// Nothing began between the transaction that is held back and the horizon: the fence is the very next number.
#[test]
fn the_newest_transaction_may_be_the_one_that_stays() {
    let (mut server, mut index) = (Server::default(), Index::empty());
    server.take(&Step::Begin);
    server.take(&Step::Begin);
    server.take(&Step::Start(1, Vec::new()));
    server.take(&Step::Start(0, Vec::new()));
    server.take(&Step::Commit(0));
    index.read_on(&mut server).unwrap();
    assert_eq!(index.settled, NodeId(0));
    server.take(&Step::End(0, 1, true, 1));
    server.take(&Step::Commit(0));
    index.read_on(&mut server).unwrap();
    same_answers(&index, &server.rows);
    assert_eq!(index.graph.nodes(), 3);
}

#[test]
fn a_record_that_was_taken_back_is_refused() {
    let mut server = Server::default();
    server.take(&Step::Begin);
    server.take(&Step::Start(0, Vec::new()));
    server.take(&Step::End(0, 0, true, 1));
    server.take(&Step::Commit(0));
    let mut index = Index::empty();
    index.read_on(&mut server).unwrap();
    let size = index.size();
    server.rows = Rows::default();
    assert_eq!(index.read_on(&mut server).unwrap_err().kind, Kind::Refused);
    assert_eq!((index.size().nodes, index.size().edges), (size.nodes, size.edges));
}

/// What a store must not give is an error, and leaves what was there.
#[test]
fn edges_that_do_not_fit_change_nothing() {
    let node = NodeId;
    let edges = |attempts: &[(i64, Option<bool>)], consumed: &[(i64, i64)], produced: &[(i64, i64)]| Edges {
        attempts: attempts.iter().map(|(id, outcome)| (node(*id), *outcome)).collect(),
        consumed: consumed.iter().map(|(a, b)| (node(*a), node(*b))).collect(),
        produced: produced.iter().map(|(a, b)| (node(*a), node(*b))).collect(),
        until: node(99),
    };
    let mut index = Index::empty();
    index.append(&edges(&[(1, Some(true)), (3, None)], &[(2, 3)], &[(1, 2)])).unwrap();
    index.mark = index.graph.mark();
    for bad in [
        edges(&[(3, None)], &[], &[]),
        edges(&[(5, None)], &[(4, 5)], &[]),
        edges(&[(5, None)], &[(2, 6)], &[]),
        edges(&[(5, None)], &[], &[(9, 10)]),
        edges(&[(5, None), (4, None)], &[], &[]),
        edges(&[(5 + (1 << 32), None)], &[], &[]),
    ] {
        index.append(&bad).unwrap_err();
        assert_eq!((index.graph.nodes(), index.graph.edges()), (3, 2), "{bad:?}");
        assert_eq!(index.closure(&[node(2)], Direction::Up, WalkLimit::NONE).attempts, [node(1)]);
        assert_eq!(index.closure(&[node(2)], Direction::Down, WalkLimit::NONE).attempts, []);
    }
    index.append(&edges(&[], &[], &[(3, 4)])).unwrap();
    assert_eq!(index.closure(&[node(2)], Direction::Down, WalkLimit::NONE).materializations, [node(2), node(4)]);
}
