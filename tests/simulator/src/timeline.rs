//! A history as a picture: lanes from left to right, in SVG that needs nothing but itself.

use std::{collections::BTreeMap, fmt::Write};

use guardrail_core::control::table::Control;

use crate::{
    clock::{SECOND, Time},
    notes::{Note, Shows, What},
    world::Writer,
};

const LEFT: f64 = 120.0;
const LANE: f64 = 50.0;
const TOP: f64 = 34.0;

/// Light and dark: the colours are of middle brightness.
const STYLE: &str = "
    text { font: 11px ui-sans-serif, system-ui, sans-serif; fill: #57606a }
    .lane { font-weight: 600 } .time { font-size: 9px }
    .rule { stroke: #8b949e; stroke-width: .5; stroke-dasharray: 2 3 }
    .link { stroke: #8b949e; stroke-width: 1; fill: none }
    .way { stroke: #8b949e; stroke-width: 4 } .queue { stroke: #b08800; stroke-width: 6 }
    .look { fill: #4393e6; fill-opacity: .25; stroke: #4393e6 }
    .other { fill: #d1242f } .drift { fill: #d1242f } .good { fill: #2da44e } .write { fill: #4393e6 } .told { fill: #8250df }
    @media (prefers-color-scheme: dark) { text { fill: #b1bac4 } }
";

/// What is drawn of an event.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    called: Time,
    arrived: Option<Time>,
    taken: Option<Time>,
}

/// What is drawn of an invocation.
#[derive(Clone, Debug, Default)]
struct Bar {
    begins: Time,
    ends: Time,
    generation: u8,
    reads: Vec<(Time, Control, Shows)>,
}

/// The picture of what happens from the first call on until the next sweep.
pub fn svg(trace: &[Note]) -> String {
    let is_call = |it: &Note| matches!(it.what, What::Called { .. });
    let first = trace.iter().position(is_call).unwrap_or_default();
    let is_sweep = |it: &&Note| !matches!(it.what, What::Swept);
    Picture::of(trace[first..].iter().take_while(is_sweep)).drawn()
}

/// The places of everything.
#[derive(Debug, Default)]
struct Picture {
    /// Where each time is: what happens close together is drawn apart.
    places: BTreeMap<Time, f64>,
    begin: Time,
    ways: BTreeMap<usize, Way>,
    bars: BTreeMap<usize, Bar>,
    /// Marks by lane: time, kind, words.
    calls: Vec<(Time, &'static str, String)>,
    writes: Vec<(Time, &'static str, String)>,
    told: Vec<(Time, &'static str, String)>,
    out: String,
}

impl Picture {
    fn of<'a>(notes: impl Iterator<Item = &'a Note>) -> Self {
        let mut this = Self::default();
        for Note { at, what, .. } in notes {
            let at = *at;
            match what {
                What::Called { writer, control, drifts, event } => {
                    this.ways.insert(*event, Way { called: at, ..Way::default() });
                    let deed = if *drifts && *writer != Writer::Owner { "breaks" } else { "changes" };
                    let kind = if deed == "breaks" { "other" } else { "good" };
                    this.calls.push((at, kind, format!("{writer} {deed} {control} (event {event})")));
                }
                What::Arrived { event } => {
                    if let Some(way) = this.ways.get_mut(event) {
                        way.arrived = Some(at);
                    }
                }
                What::Invoked { by, events, .. } => {
                    this.bars.insert(*by, Bar { begins: at, ends: at, ..Bar::default() });
                    for event in events {
                        if let Some(way) = this.ways.get_mut(event) {
                            way.taken = Some(at);
                        }
                    }
                }
                What::Looked { by, generation } => {
                    if let Some(bar) = this.bars.get_mut(by) {
                        bar.generation = *generation;
                    }
                }
                What::Read { by, control, shows, .. } => {
                    let Some(bar) = this.bars.get_mut(by) else { continue };
                    bar.ends = at;
                    let is_worth_it = *shows != Shows::Good || bar.reads.iter().any(|it| it.1 == *control);
                    if !is_worth_it {
                        continue;
                    }
                    bar.reads.push((at, *control, *shows));
                }
                What::Restored { by, control, event } => {
                    this.ways.insert(*event, Way { called: at, ..Way::default() });
                    this.writes.push((at, "write", format!("look {by} restores {control} (event {event})")));
                }
                What::Told { control, outcome, .. } => this.told.push((at, "told", format!("{control} {outcome}"))),
                What::Deleted { by, .. } | What::Back { by, .. } => {
                    if let Some(bar) = this.bars.get_mut(by) {
                        bar.ends = at;
                    }
                }
                _ => continue,
            }
            this.places.insert(at, 0.0);
        }
        this.begin = this.places.keys().next().copied().unwrap_or_default();
        let (mut x, mut before) = (LEFT + 20.0, this.begin);
        for (at, place) in &mut this.places {
            x += if *at == before { 0.0 } else { 12.0 + 17.0 * ((*at - before) as f64).log10() };
            (*place, before) = (x, *at);
        }
        this
    }

    fn x(&self, at: Time) -> f64 {
        self.places.get(&at).copied().unwrap_or(LEFT)
    }

    fn drawn(mut self) -> String {
        let width = self.places.values().last().copied().unwrap_or(LEFT) + 190.0;
        let looks = self.bars.len();
        let height = TOP + LANE * (looks as f64 + 5.0) + 26.0;
        self.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" role=\"img\">\n<title>Calls, their events, looks, writes and alerts, from left to \
             right</title>\n<style>{STYLE}</style>"
        ));
        let y = |lane: usize| TOP + LANE * lane as f64;
        let mut names = vec!["calls of others".to_owned(), "CloudTrail".to_owned(), "queue".to_owned()];
        names.extend(self.bars.keys().map(|it| format!("look {it}")));
        names.extend(["writes".to_owned(), "people hear".to_owned()]);
        for (lane, name) in names.iter().enumerate() {
            let y = y(lane);
            self.put(format_args!("<text class=\"lane\" x=\"8\" y=\"{:.0}\">{name}</text>", y + 4.0));
            let right = width - 10.0;
            self.put(format_args!("<line class=\"rule\" x1=\"{LEFT}\" y1=\"{y}\" x2=\"{right:.0}\" y2=\"{y}\"/>"));
        }
        let (writes, told) = (3 + looks, 4 + looks);
        for (slot, (event, way)) in self.ways.clone().into_iter().enumerate() {
            self.draw_way(event, way, slot % 3, y(1), y(2));
        }
        let lanes: BTreeMap<_, _> = self.bars.keys().enumerate().map(|(lane, by)| (*by, y(3 + lane))).collect();
        for (by, bar) in self.bars.clone() {
            self.draw_bar(&bar, lanes[&by]);
        }
        for (lane, marks) in [(0, self.calls.clone()), (writes, self.writes.clone()), (told, self.told.clone())] {
            self.draw_marks(&marks, y(lane));
        }
        self.draw_times(y(told) + 32.0);
        self.put(format_args!("</svg>"));
        self.out
    }

    fn put(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.out, "{line}").expect("a string takes all");
    }

    /// An event on its way, and its message in the queue.
    fn draw_way(&mut self, event: usize, way: Way, slot: usize, way_y: f64, queue_y: f64) {
        let Some(arrived) = way.arrived else { return };
        let [from, to] = [way.called, arrived].map(|it| self.x(it));
        let offset = 13.0 * slot as f64 - 13.0;
        let y = way_y + offset;
        self.put(format_args!("<line class=\"way\" x1=\"{from:.1}\" y1=\"{y}\" x2=\"{to:.1}\" y2=\"{y}\"/>"));
        self.put(format_args!("<text class=\"time\" x=\"{:.1}\" y=\"{}\">event {event}</text>", from + 4.0, y - 3.0));
        let Some(taken) = way.taken.map(|it| self.x(it)) else { return };
        let y = queue_y + offset;
        self.put(format_args!("<line class=\"queue\" x1=\"{to:.1}\" y1=\"{y}\" x2=\"{taken:.1}\" y2=\"{y}\"/>"));
        self.put(format_args!("<path class=\"link\" d=\"M{to:.1} {} V{y}\"/>", way_y + offset));
    }

    /// A look, and what it reads that says something.
    fn draw_bar(&mut self, bar: &Bar, y: f64) {
        let [from, to] = [bar.begins, bar.ends].map(|it| self.x(it));
        let width = (to - from).max(6.0);
        let top = y - 9.0;
        self.put(format_args!(
            "<rect class=\"look\" x=\"{from:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"18\" rx=\"3\"/>"
        ));
        for (at, _, shows) in &bar.reads {
            let (x, kind) = (self.x(*at), if *shows == Shows::Good { "good" } else { "drift" });
            self.put(format_args!("<circle class=\"{kind}\" cx=\"{x:.1}\" cy=\"{y}\" r=\"4\"/>"));
        }
        let found = match bar.reads.as_slice() {
            [] => "all as it should be".to_owned(),
            [(_, control, _)] => format!("{control} has drifted"),
            [(_, control, _), .., _] => format!("{control} has drifted; read again right before its write"),
        };
        let of = ["others' call", "our write", "our second write in a row"][usize::from(bar.generation.min(2))];
        let x = from + width + 6.0;
        self.put(format_args!("<text x=\"{x:.1}\" y=\"{:.1}\">of {of}: {found}</text>", y + 4.0));
    }

    /// Marks with their words, which give way to those before.
    fn draw_marks(&mut self, marks: &[(Time, &'static str, String)], y: f64) {
        let mut free = [f64::MIN; 3];
        for (at, kind, words) in marks {
            let x = self.x(*at);
            self.put(format_args!("<circle class=\"{kind}\" cx=\"{x:.1}\" cy=\"{y}\" r=\"5\"/>"));
            let row = free.iter().position(|it| *it <= x).unwrap_or(2);
            free[row] = x + 16.0 + 5.6 * words.len() as f64;
            let text_y = y + [4.0, -9.0, 17.0][row];
            self.put(format_args!("<text x=\"{:.1}\" y=\"{text_y:.1}\">{words}</text>", x + 9.0));
        }
    }

    /// When it was, as far as there is room for it.
    fn draw_times(&mut self, y: f64) {
        let mut free = f64::MIN;
        for (at, x) in self.places.clone() {
            if x < free {
                continue;
            }
            free = x + 44.0;
            let seconds = (at - self.begin) as f64 / SECOND as f64;
            self.put(format_args!("<text class=\"time\" x=\"{x:.1}\" y=\"{y:.0}\">{seconds:.2} s</text>"));
        }
    }
}
