//! Lines of costs, both axes logarithmic: ten times as much work is a step to the right, ten times
//! the cost a step up.

use crate::report::svg::Picture;
use crate::scenario::scale::curve::Curve;

const WIDTH: usize = 860;
const LEFT: usize = 64;
const TOP: usize = 40;
/// Ten times as much, in both directions.
const DECADE: usize = 90;
const FOOT: usize = 44;
const COLOURS: [&str; 5] = ["blue", "green", "red", "violet", "amber"];

/// The picture, if there is what it shows: one line for each curve.
pub(crate) fn picture(curves: &[Curve]) -> Option<String> {
    let steps = || curves.iter().flat_map(|curve| &curve.steps);
    let costs = || steps().map(|step| step.relative.median.log10());
    let (low, high) = (costs().reduce(f64::min)?.min(-0.1).floor(), costs().fold(1.0, f64::max));
    let (up, down) = (high.ceil() as usize, -low as usize);
    let longest = curves.iter().map(|curve| curve.steps.len()).max()?;
    let right = LEFT + longest.saturating_sub(1) * DECADE;
    let (one, bottom) = (TOP + up * DECADE, TOP + (up + down) * DECADE);
    let title = "Cost of a unit of work, as a multiple of that at the first step";
    let mut picture = Picture::new(WIDTH, bottom + FOOT, title);
    for line in 0..=up + down {
        let (y, exponent) = (TOP + line * DECADE, up as i32 - line as i32);
        picture.draw(format_args!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y}\" y2=\"{y}\"/>\
             <text class=\"faint\" x=\"{}\" y=\"{}\" text-anchor=\"end\">× {}</text>",
            LEFT - 8,
            y + 4,
            10_f64.powi(exponent)
        ));
    }
    for step in 0..longest {
        let x = LEFT + step * DECADE;
        picture.draw(format_args!(
            "<line class=\"grid\" x1=\"{x}\" x2=\"{x}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text class=\"faint\" x=\"{x}\" y=\"{}\" text-anchor=\"middle\">× {}</text>",
            bottom + 18,
            10_usize.pow(step as u32)
        ));
    }
    // Where work that is done one after the other would be if a unit of it were all there is.
    let diagonal = up.min(longest.saturating_sub(1)) * DECADE;
    picture.draw(format_args!(
        "<line class=\"one\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{one}\" y2=\"{}\"/>",
        LEFT + diagonal,
        one - diagonal
    ));
    let keys = right + 28;
    for (number, (curve, colour)) in curves.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let points = points(curve, one);
        let corners: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y:.1}")).collect();
        picture.draw(format_args!(
            "<polyline class=\"line {colour}\" points=\"{}\"/>",
            corners.join(" ")
        ));
        for (x, y) in points {
            picture.draw(format_args!(
                "<circle class=\"{colour}\" cx=\"{x}\" cy=\"{y:.1}\" r=\"3\"/>"
            ));
        }
        let from = curve.steps.first().map_or(0, |step| step.work);
        picture.key(keys, TOP + 20 + number * 22, colour, &format!("{}, from {from}", curve.what));
    }
    picture.draw(format_args!(
        "<text class=\"faint\" x=\"{keys}\" y=\"{}\">dashed: × 10 costs × 10</text>\
         <text class=\"faint\" x=\"{LEFT}\" y=\"{}\">work, as a multiple of the first step</text>",
        TOP + 20 + curves.len() * 22,
        bottom + 36
    ));
    Some(picture.end())
}

/// Where the steps of a curve are, if the first of them is at the height `one`.
fn points(curve: &Curve, one: usize) -> Vec<(usize, f64)> {
    let steps = curve.steps.iter().enumerate();
    let height = |relative: f64| one as f64 - relative.log10() * DECADE as f64;
    steps.map(|(at, step)| (LEFT + at * DECADE, height(step.relative.median))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(figures: &[f64]) -> Curve {
        let works: Vec<usize> = (0..figures.len() as u32).map(|step| 10_usize.pow(step)).collect();
        Curve::new("work", &works, &[figures.to_vec()]).expect("there is a round")
    }

    #[test]
    fn ten_times_the_cost_is_as_far_up_as_ten_times_the_work_is_to_the_right() {
        let points = points(&curve(&[2.0, 20.0, 2.0, 0.2]), 500);
        let height = |decades: f64| 500.0 - decades * DECADE as f64;
        let expected = [(0, 0.0), (1, 1.0), (2, 0.0), (3, -1.0)];
        for ((x, y), (right, up)) in points.into_iter().zip(expected) {
            assert_eq!(x, LEFT + right * DECADE);
            assert!((y - height(up)).abs() < 1e-9, "{y} is not at {up}");
        }
    }

    #[test]
    fn every_curve_has_its_line_and_its_name() {
        assert_eq!(picture(&[]), None);
        let drawn = picture(&[curve(&[1.0, 2.0]), curve(&[1.0, 0.5, 300.0])]).expect("two curves");
        assert_eq!(drawn.matches("<polyline").count(), 2);
        assert_eq!(drawn.matches("work, from 1<").count(), 2);
        assert_eq!(drawn.matches("<circle").count(), 5);
        // Up to the next power of ten, and down to the one below.
        assert!(drawn.contains("× 1000<") && drawn.contains("× 0.1<"), "{drawn}");
        assert!(!drawn.contains("NaN"), "{drawn}");
    }
}
