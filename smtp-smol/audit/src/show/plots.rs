//! Plots as inline SVG. Places across are in per cent of the width and places down in pixels, so that a plot fits a
//! phone and a page alike while its letters keep their size. All text is escaped here.

use std::fmt::Write as _;

use super::side::{Sender, Side};
use super::values::{Point, ratio};
use super::words::{counted, number, percent, range, require_of, required, share};

/// Text, fit for HTML and SVG.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(char),
        }
    }
    // A number and its sign stay on one line.
    out.replace(" %", "\u{a0}%")
}

/// The start of a plot, with what it shows for those who cannot see it.
pub(crate) fn open(height: u32, id: &str, title: &str, description: &str) -> String {
    format!(
        "<svg class=\"plot\" role=\"img\" width=\"100%\" height=\"{height}\" aria-labelledby=\"{id}-t {id}-d\">\
         <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>\n",
        escape(title),
        escape(description)
    )
}

/// Each policy's share with its interval, on a scale of powers of ten: 0.4 % and 97 % are both to be read.
pub(crate) fn what_ifs(side: &Side, policy: &str) -> String {
    const ROW: u32 = 58;
    let told: Vec<_> = side.what_if.iter().filter(|what_if| what_if.wanted.is_told(what_if.policy)).collect();
    // From the power of ten below the smallest bound that is not nothing.
    let least = told
        .iter()
        .flat_map(|what_if| [share(&what_if.wanted), what_if.wanted.interval.map_or(1.0, |[low, _]| low)])
        .filter(|share| *share > 0.0)
        .fold(0.01, f64::min)
        .max(1e-6);
    let decades = -least.log10().floor();
    let place = |share: f64| {
        if share <= 0.0 { 0.0 } else { ((share.log10() + decades) / decades).clamp(0.0, 1.0) * 94.0 + 3.0 }
    };
    let rows = u32::try_from(told.len()).unwrap_or(5);
    let described: Vec<String> = told
        .iter()
        .map(|what_if| format!("{}: {}", required(require_of(what_if.policy)), percent(share(&what_if.wanted))))
        .collect();
    let height = rows * ROW + 30;
    let mut svg = open(
        height,
        &format!("w-{}", side.direction),
        "Share of wanted mail that each policy would have lost",
        &described.join("; "),
    );
    let mut tick = -decades;
    while tick <= 0.0 {
        // On a phone every other label would touch the next where there are many.
        let class = if decades > 3.0 && tick.rem_euclid(2.0) > 0.5 { "tick wide" } else { "tick" };
        let (x, label) = (place(10_f64.powf(tick)), format!("{} %", 10_f64.powf(tick + 2.0)));
        let anchor = if x > 90.0 {
            "end"
        } else if x < 10.0 {
            "start"
        } else {
            "middle"
        };
        let text = if x > 90.0 {
            100.0
        } else if x < 10.0 {
            0.0
        } else {
            x
        };
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"{}\"/>\
             <text class=\"{class}\" x=\"{text:.2}%\" y=\"{}\" text-anchor=\"{anchor}\">{label}</text>",
            height - 24,
            height - 6
        );
        tick += 1.0;
    }
    for (index, what_if) in told.iter().enumerate() {
        let y = u32::try_from(index).unwrap_or_default() * ROW + 40;
        let part = &what_if.wanted;
        let class = if what_if.policy == policy { "mark asked" } else { "mark" };
        let x = place(share(part));
        let name = required(require_of(what_if.policy));
        let bounds = part.interval.map_or_else(String::new, |[low, high]| format!(" ({})", range(low, high, " – ")));
        let _ = write!(
            svg,
            "<g class=\"{class}\"><text class=\"name\" x=\"0\" y=\"{}\">{}</text>\
             <text class=\"value\" x=\"100%\" y=\"{}\" text-anchor=\"end\">{}<tspan class=\"soft\">{bounds}</tspan></text>\
             <line class=\"rail\" x1=\"0\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/>",
            y - 14,
            escape(name),
            y - 14,
            percent(share(part))
        );
        if let Some([low, high]) = part.interval {
            let _ = write!(
                svg,
                "<line class=\"interval\" x1=\"{:.2}%\" x2=\"{:.2}%\" y1=\"{y}\" y2=\"{y}\"/>",
                place(low),
                place(high)
            );
        }
        let _ = writeln!(svg, "<circle cx=\"{x:.2}%\" cy=\"{y}\" r=\"6\"/></g>");
    }
    svg.push_str("</svg>\n");
    svg
}

/// The share over time as columns; how much mail there was, below.
pub(crate) fn trend(points: &[Point], id: &str, title: &str) -> String {
    const HEIGHT: u32 = 210;
    /// Where the columns stand.
    const GROUND: f64 = 140.0;
    let [first, .., last] = points else { return String::new() };
    let of = |point: &Point| ratio(point.lost, point.of);
    let top = nice(points.iter().map(of).fold(0.0, f64::max));
    let most = points.iter().map(|point| point.of).max().unwrap_or(1).max(1);
    let description = format!(
        "From {} {} to {} {}, at most {}.",
        first.from,
        percent(of(first)),
        last.from,
        percent(of(last)),
        percent(points.iter().map(of).fold(0.0, f64::max))
    );
    // The scale has a width of its own, in letters and not in parts of the page.
    let mut scale = format!("<svg class=\"plot\" aria-hidden=\"true\" width=\"54\" height=\"{HEIGHT}\">");
    let mut svg = open(HEIGHT, &format!("t-{id}"), title, &description);
    for part in [1.0, 0.5, 0.0] {
        let y = GROUND - part * (GROUND - 20.0);
        let _ = writeln!(svg, "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/>");
        let label = percent(top * part);
        let _ = write!(scale, "<text class=\"tick\" x=\"46\" y=\"{}\" text-anchor=\"end\">{label}</text>", y + 4.0);
    }
    let _ =
        writeln!(scale, "<text class=\"tick\" x=\"46\" y=\"{}\" text-anchor=\"end\">all</text></svg>", GROUND + 24.0);
    #[expect(clippy::cast_precision_loss, reason = "a place")]
    let step = 100.0 / points.len() as f64;
    for (index, point) in points.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a place")]
        let x = step * index as f64 + step * 0.14;
        let width = step * 0.72;
        let height = of(point) / top * (GROUND - 20.0);
        let volume = ratio(point.of, most) * 26.0;
        let _ = writeln!(
            svg,
            "<g><title>{}: {} of {} ({})</title>\
             <rect class=\"column\" x=\"{x:.2}%\" y=\"{:.1}\" width=\"{width:.2}%\" height=\"{height:.1}\" rx=\"2\"/>\
             <rect class=\"volume\" x=\"{x:.2}%\" y=\"{}\" width=\"{width:.2}%\" height=\"{volume:.1}\"/></g>",
            escape(&point.from),
            number(point.lost),
            number(point.of),
            percent(of(point)),
            GROUND - height,
            GROUND + 6.0
        );
    }
    let _ = writeln!(
        svg,
        "<text class=\"tick\" x=\"0\" y=\"{0}\">{1}</text>\
         <text class=\"tick\" x=\"100%\" y=\"{0}\" text-anchor=\"end\">{2}</text></svg>",
        HEIGHT - 14,
        escape(&first.from),
        escape(&last.from)
    );
    format!("<div class=\"scaled\">{scale}{svg}</div>\n")
}

/// How much of the loss the heaviest senders make up: the steeper, the fewer letters are to be written.
pub(crate) fn concentration(side: &Side, lost: u64, senders: u64) -> String {
    const HEIGHT: u32 = 230;
    const GROUND: f64 = 200.0;
    const TOP: f64 = 24.0;
    if side.heaviest.len() < 3 || lost == 0 {
        return String::new();
    }
    let all = senders.max(side.heaviest.len() as u64);
    // The first 100 points are enough for a curve.
    let shown: Vec<&Sender> = side.heaviest.iter().collect();
    let every = shown.len().div_ceil(100);
    let mut sum = 0;
    let mut path = format!("M0 {GROUND}");
    let (mut half, mut at_half) = (0, 0);
    for (index, sender) in shown.iter().enumerate() {
        sum += sender.lost;
        let rank = index as u64 + 1;
        if half == 0 && sum * 2 >= lost {
            (half, at_half) = (rank, sum);
        }
        if index % every == 0 || index + 1 == shown.len() {
            let (x, y) = (ratio(rank, all) * 1000.0, GROUND - ratio(sum, lost).min(1.0) * (GROUND - TOP));
            let _ = write!(path, "L{x:.1} {y:.1}");
        }
    }
    if (shown.len() as u64) < all {
        let _ = write!(path, "L1000 {TOP}");
    }
    let title = "How much of the loss the heaviest senders make up";
    let described = format!("{} of {} senders make up half of it.", number(half), number(all));
    let mut svg = open(HEIGHT, &format!("c-{}", side.direction), title, &described);
    // Labels stand where the curve never is: above it, and right below it.
    for (part, label, below) in [(1.0, "all that is lost", -7.0), (0.5, "half", 16.0), (0.0, "", 0.0)] {
        let y = GROUND - part * (GROUND - TOP);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/>\
             <text class=\"tick\" x=\"100%\" y=\"{}\" text-anchor=\"end\">{label}</text>",
            y + below
        );
    }
    let x = ratio(half, all) * 100.0;
    let _ = writeln!(
        svg,
        "<svg width=\"100%\" height=\"{HEIGHT}\" viewBox=\"0 0 1000 {HEIGHT}\" preserveAspectRatio=\"none\">\
         <path class=\"area\" d=\"{path}L1000 {GROUND}Z\"/>\
         <line class=\"even\" x1=\"0\" y1=\"{GROUND}\" x2=\"1000\" y2=\"{TOP}\"/>\
         <path class=\"curve\" d=\"{path}\"/></svg>\
         <circle class=\"half\" cx=\"{x:.2}%\" cy=\"{}\" r=\"5\"/>\
         <text class=\"tick\" x=\"0\" y=\"{1}\">heaviest</text>\
         <text class=\"tick\" x=\"100%\" y=\"{1}\" text-anchor=\"end\">{2}</text></svg>",
        GROUND - ratio(at_half, lost).min(1.0) * (GROUND - TOP),
        HEIGHT - 10,
        counted(all, if side.direction == "inbound" { "sender" } else { "domain" })
    );
    svg
}

/// How many of the heaviest make up half of what is lost.
pub(crate) fn half(side: &Side, lost: u64) -> u64 {
    let mut sum = 0;
    let reached = side.heaviest.iter().position(|sender| {
        sum += sender.lost;
        sum * 2 >= lost
    });
    reached.map_or(0, |index| index as u64 + 1)
}

/// The next round number above.
fn nice(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.01;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|top| *top >= value).unwrap_or(1.0).min(1.0)
}
