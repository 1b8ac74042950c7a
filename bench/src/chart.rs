//! The chart: what a small request costs each proxy, in user mode and in the kernel. SVG by hand, for light and dark.

use std::fmt::Write as _;

use crate::{
    case::{Case, Column, Measure},
    results::Results,
    spread::number,
};

const WIDTH: f64 = 860.0;
/// Where bars begin, and where the longest one ends.
const LEFT: f64 = 200.0;
const RIGHT: f64 = 740.0;
const TOP: f64 = 92.0;
const ROW: f64 = 38.0;
const BAR: f64 = 20.0;
const AXIS: f64 = 30.0;
const FOOT: f64 = 36.0;
/// At most so many steps of the axis.
const STEPS: f64 = 8.0;

/// Colours: `own` is Leaseway's, `peer` the others'. An image has no page to take its scheme from but the reader's.
const STYLE: &str = "\
    text{font:14px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2328}\
    .title{font-size:19px;font-weight:600}.quiet{fill:#59636e}.small{font-size:12px}.bold{font-weight:600}\
    .grid{stroke:#d1d9e0}.range{stroke:#1f2328;stroke-width:1.5;opacity:.55}\
    .own.user{fill:#0f766e}.own.kernel{fill:#5eb8ab}.peer.user{fill:#475569}.peer.kernel{fill:#a3b1c4}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#9198a1}.grid{stroke:#3d444d}\
    .range{stroke:#e6edf3}.own.user{fill:#2dd4bf}.own.kernel{fill:#17665d}\
    .peer.user{fill:#94a3b8}.peer.kernel{fill:#475569}}";

/// A proxy's bar: as long as the median of its CPU time, and divided as the medians of both parts are.
struct Bar {
    name: String,
    class: &'static str,
    user: f64,
    kernel: f64,
    total: f64,
    least: f64,
    most: f64,
    beside: String,
}

/// The chart; none if no proxy has a figure for it.
pub(crate) fn svg(results: &Results) -> Option<String> {
    let bars = bars(results);
    let most = bars.iter().map(|bar| bar.most).fold(0.0, f64::max);
    let step = step(most);
    let steps = (most / step).ceil();
    if bars.is_empty() || !step.is_finite() || steps < 1.0 {
        return None;
    }
    let scale = (RIGHT - LEFT) / (steps * step);
    let bottom = TOP + ROW * bars.len() as f64;
    let height = bottom + AXIS + FOOT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n<title>CPU time of a request, by proxy</title>\n<style>{STYLE}</style>\n"
    );
    svg.push_str(&head());
    for at in 0..=steps as u32 {
        let value = f64::from(at) * step;
        svg.push_str(&grid(LEFT + value * scale, bottom, value));
    }
    for (place, bar) in bars.iter().enumerate() {
        svg.push_str(&row(bar, TOP + ROW * place as f64, scale));
    }
    let foot = escaped(&results.machine.line());
    let _ = writeln!(
        svg,
        "<text class=\"quiet small\" x=\"16\" y=\"{:.1}\">{foot}</text>\n</svg>",
        height - 14.0
    );
    Some(svg)
}

fn bars(results: &Results) -> Vec<Bar> {
    let bar = |name: &str| {
        let of = |measure| results.spread(Case::Small, name, Column::Of(measure));
        let cpu = of(Measure::Cpu);
        let (total, user, kernel) =
            (cpu.median()?, of(Measure::User).median()?, of(Measure::Kernel).median()?);
        let beside = results.spread(Case::Small, name, Column::Beside(Measure::Cpu)).median();
        Some(Bar {
            name: name.replace('`', ""),
            class: if name.starts_with("Leaseway") { "own" } else { "peer" },
            user: total * user / (user + kernel),
            kernel: total * kernel / (user + kernel),
            total,
            least: cpu.least()?,
            most: cpu.most()?,
            beside: beside.map(|ratio| format!("{}x", number(ratio))).unwrap_or_default(),
        })
    };
    results.proxies_in(Case::Small).filter_map(|proxy| bar(proxy.name)).collect()
}

/// 1, 2 or 5 times a power of ten, so that at most [`STEPS`] of them reach `most`.
fn step(most: f64) -> f64 {
    let power = 10f64.powf((most / STEPS).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().find(|step| most <= step * STEPS).unwrap_or(f64::NAN)
}

fn head() -> String {
    let legend = |x: f64, class: &str, text: &str| {
        format!(
            "<rect class=\"own {class}\" x=\"{x}\" y=\"69\" width=\"9\" height=\"11\"/>\
             <rect class=\"peer {class}\" x=\"{}\" y=\"69\" width=\"9\" height=\"11\"/>\
             <text class=\"small\" x=\"{}\" y=\"79\">{text}</text>\n",
            x + 9.0,
            x + 25.0
        )
    };
    format!(
        "<text class=\"title\" x=\"16\" y=\"30\">CPU time of a request, in microseconds</text>\n\
         <text class=\"quiet\" x=\"16\" y=\"52\">Answers of 60 bytes, 64 keep-alive connections, one core. Less is \
         better. Line: all rounds; x: beside nginx.</text>\n{}{}",
        legend(LEFT, "user", "user mode"),
        legend(LEFT + 112.0, "kernel", "kernel")
    )
}

fn grid(x: f64, bottom: f64, value: f64) -> String {
    let value =
        if value < 10.0 && value.fract() > 0.0 { format!("{value:.1}") } else { format!("{value:.0}") };
    format!(
        "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
         <text class=\"quiet small\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value}</text>\n",
        bottom + 18.0
    )
}

fn row(bar: &Bar, top: f64, scale: f64) -> String {
    let (y, middle) = (top + (ROW - BAR) / 2.0, top + ROW / 2.0);
    let (class, name) = (bar.class, escaped(&bar.name));
    let weight = if class == "own" { " class=\"bold\"" } else { "" };
    let (user, kernel) = (bar.user * scale, bar.kernel * scale);
    let mut text = format!(
        "<text{weight} x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\n\
         <rect class=\"{class} user\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{user:.1}\" height=\"{BAR}\"/>\
         <rect class=\"{class} kernel\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{kernel:.1}\" height=\"{BAR}\"/>\n",
        LEFT - 12.0,
        middle + 5.0,
        LEFT + user,
    );
    let (least, most) = (LEFT + bar.least * scale, LEFT + bar.most * scale);
    let _ = writeln!(
        text,
        "<line class=\"range\" x1=\"{least:.1}\" y1=\"{middle:.1}\" x2=\"{most:.1}\" y2=\"{middle:.1}\"/>\
         <text{weight} x=\"{:.1}\" y=\"{:.1}\">{} <tspan class=\"quiet small\">{}</tspan></text>",
        most.max(LEFT + user + kernel) + 8.0,
        middle + 5.0,
        number(bar.total),
        bar.beside,
    );
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::example;

    /// Reads it as XML without entities of its own: what is open is closed, in order, and attributes are quoted.
    fn ensure_well_formed(svg: &str) {
        let mut open = Vec::new();
        let mut rest = svg;
        while let Some((text, after)) = rest.split_once('<') {
            assert!(!text.contains('>'), "a > in {text:?}");
            for entity in text.split('&').skip(1) {
                assert!(
                    ["amp;", "lt;", "gt;", "quot;"].iter().any(|known| entity.starts_with(known)),
                    "{text}"
                );
            }
            let (tag, after) = after.split_once('>').expect("a tag ends");
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "</{name}>");
                continue;
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
            let name = tag.split([' ', '/']).next().unwrap();
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "never closed: {open:?}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn it_is_well_formed_and_has_a_bar_for_each_proxy_that_has_figures() {
        let svg = svg(&example()).unwrap();
        ensure_well_formed(&svg);
        assert_eq!(svg.matches("class=\"own user\" x=\"200\"").count(), 2, "one in the legend");
        assert_eq!(svg.matches("class=\"peer kernel\"").count(), 3, "one in the legend");
        for part in [">Leaseway</text>", ">60.0 <tspan", ">3.00x<", "abc &amp; &lt;def&gt;"] {
            assert!(svg.contains(part), "{part} is not in\n{svg}");
        }
    }

    #[test]
    fn user_and_kernel_are_as_long_as_they_should_be() {
        let svg = svg(&example()).unwrap();
        // 60 us: the axis has six steps of 10, and ends where the longest bar may.
        assert!(svg.contains("class=\"peer user\" x=\"200\" y=\"177.0\" width=\"360.0\""), "{svg}");
        assert!(svg.contains("class=\"peer kernel\" x=\"560.0\" y=\"177.0\" width=\"180.0\""), "{svg}");
    }

    #[test]
    fn steps_of_the_axis_are_round() {
        for (most, expected) in
            [(60.0, 10.0), (15.0, 2.0), (8.0, 1.0), (0.9, 0.2), (161.0, 50.0), (801.0, 200.0)]
        {
            assert!((step(most) - expected).abs() < 1e-9, "{most}: {}", step(most));
        }
    }

    #[test]
    fn without_figures_there_is_none() {
        let mut results = example();
        results.proxies.clear();
        assert!(svg(&results).is_none());
    }
}
