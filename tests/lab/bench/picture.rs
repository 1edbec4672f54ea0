//! The figures as a picture: one panel a measure, one bar a system.

use super::figures::{Figures, rounded};
use std::fmt::Write as _;

/// The width of the whole, in pixels.
const WIDTH: f64 = 860.0;
/// Where the bars begin, and how long the longest is.
const LEFT: f64 = 270.0;
const LONGEST: f64 = 460.0;
/// The height of a bar with the gap below it, and of a panel's title.
const ROW: f64 = 22.0;
const TITLE: f64 = 40.0;

/// Draws the measures that more than one of `systems` has, in the order of `systems`; those whose
/// name `is_ours` are drawn in another colour.
pub fn draw(figures: &Figures, systems: &[&str], is_ours: &dyn Fn(&str) -> bool) -> String {
    let mut body = String::new();
    let mut y = 10.0;
    for measure in figures.measures() {
        let rows: Vec<(&str, f64)> =
            systems.iter().filter_map(|system| Some((*system, figures.median(measure, system)?))).collect();
        if rows.len() < 2 {
            continue;
        }
        let unit = figures.unit(measure);
        let most = rows.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
        let _ =
            writeln!(body, "<text class=\"title\" x=\"10\" y=\"{:.0}\">{} ({unit})</text>", y + 24.0, escaped(measure));
        y += TITLE;
        for (system, value) in rows {
            let class = if is_ours(system) { "ours" } else { "other" };
            let width = (value / most * LONGEST).max(1.0);
            let middle = y + ROW / 2.0 + 3.0;
            let _ = writeln!(
                body,
                "<text class=\"name\" x=\"{:.0}\" y=\"{middle:.0}\">{}</text>\
                 <rect class=\"{class}\" x=\"{LEFT}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{:.0}\"/>\
                 <text x=\"{:.0}\" y=\"{middle:.0}\">{}</text>",
                LEFT - 8.0,
                escaped(system),
                ROW - 5.0,
                LEFT + width + 6.0,
                rounded(value)
            );
            y += ROW;
        }
        y += 8.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y:.0}\" viewBox=\"0 0 {WIDTH} {y:.0}\">\n\
         <style>text {{ font: 12px sans-serif; fill: #222 }} .title {{ font-weight: bold; font-size: 14px }} \
         .name {{ text-anchor: end }} .ours {{ fill: #1f6f8b }} .other {{ fill: #b8bfc6 }}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values_and_names_cannot_break_out() {
        let mut figures = Figures::default();
        figures.note("TCP <up>", "ours", "Gbit/s", 4.0);
        figures.note("TCP <up>", "other", "Gbit/s", 8.0);
        figures.note("alone", "ours", "ms", 1.0);
        let svg = draw(&figures, &["ours", "other"], &|system| system == "ours");
        assert!(svg.contains("TCP &lt;up&gt; (Gbit/s)") && !svg.contains("alone"), "{svg}");
        assert!(svg.contains("class=\"ours\" x=\"270\" y=\"50\" width=\"230.0\""), "{svg}");
        assert!(svg.contains("class=\"other\" x=\"270\" y=\"72\" width=\"460.0\""), "{svg}");
    }
}
