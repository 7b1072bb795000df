//! Colours, dashes and markers. Every run differs from every other in all three, so that colour is never needed.
//!
//! The palette is that of Okabe and Ito (2008), "Color Universal Design"; number 0 is the neutral of runs that others began
//! from. Colours are written out (no CSS variables), so that programs other than browsers can show the figures too.

/// How many styles there are before they repeat.
pub const STYLES: usize = 7;

/// Lines on white: neutral, blue, vermillion, bluish green, reddish purple, orange, sky blue.
const LIGHT: [&str; STYLES] = ["#5f6670", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
/// Lines on near-black: the same hues where they are light enough, sky blue and yellow for blue and orange.
const DARK: [&str; STYLES] = ["#9aa2ad", "#56b4e9", "#e8702a", "#1fb58d", "#d68fb6", "#f0e442", "#4a90c2"];

/// Areas above each other: they differ in lightness as well as in hue.
const AREAS_LIGHT: [&str; 3] = ["#0072b2", "#f0a62a", "#dce0e6"];
const AREAS_DARK: [&str; 3] = ["#2f7fb8", "#f2c14e", "#3a404a"];

/// Dash patterns, in pixels.
const DASHES: [&str; STYLES] = ["", "", "9 4", "2.5 3", "11 3 2.5 3", "16 5", "6 2 1.5 2 1.5 2"];

/// The fonts of a system without loading any.
pub const FONTS: &str =
    "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','Noto Sans','Liberation Sans',Arial,sans-serif";

/// When the colours begin again, dashes and markers are shifted against them.
fn shifted(style: usize) -> usize {
    (style + style / STYLES) % STYLES
}

/// Dash pattern of a style, in pixels; empty for a solid line.
pub fn dashes(style: usize) -> &'static str {
    DASHES[shifted(style)]
}

/// Outline of a marker of about `r` pixels around the origin, as path data.
pub fn marker(style: usize, r: f64) -> String {
    let polygon = |points: &[(f64, f64)]| {
        let mut path = String::new();
        for (i, (x, y)) in points.iter().enumerate() {
            path += &format!("{}{:.2} {:.2}", if i == 0 { 'M' } else { 'L' }, x * r, y * r);
        }
        path + "Z"
    };
    match shifted(style) {
        2 => polygon(&[(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]),
        3 => polygon(&[(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)]),
        4 => polygon(&[(0.0, -1.3), (1.1, 0.0), (0.0, 1.3), (-1.1, 0.0)]),
        5 => polygon(&[(0.0, 1.2), (1.1, -0.8), (-1.1, -0.8)]),
        6 => {
            let (a, b) = (0.4, 1.15);
            polygon(&[
                (-a, -b),
                (a, -b),
                (a, -a),
                (b, -a),
                (b, a),
                (a, a),
                (a, b),
                (-a, b),
                (-a, a),
                (-b, a),
                (-b, -a),
                (-a, -a),
            ])
        }
        _ => format!("M{r:.2} 0A{r:.2} {r:.2} 0 1 1 {:.2} 0A{r:.2} {r:.2} 0 1 1 {r:.2} 0Z", -r),
    }
}

/// The style sheet of the figures, for a separate file or inside a page.
pub fn figure_css() -> String {
    let mut css = format!(
        "svg.fig{{font-family:{FONTS};font-size:13px;font-variant-numeric:tabular-nums}}\
         .fig .curve{{fill:none;stroke-width:2.2;stroke-linejoin:round;stroke-linecap:butt}}\
         .fig .faint{{stroke-width:1.6;stroke-opacity:.75}}\
         .fig .title{{font-size:14px;font-weight:600}}.fig .small{{font-size:12px}}\
         .fig .halo{{paint-order:stroke;stroke-width:4px;stroke-linejoin:round}}\
         .fig .hit{{fill:transparent;stroke:none}}.fig .ring{{fill:none;stroke-width:1.8}}\
         .fig .area{{stroke-width:1}}.fig .bound{{stroke:#1c1e22;stroke-opacity:.55;stroke-dasharray:2 2.5;fill:none}}\
         .fig .lead{{stroke-width:1;fill:none;stroke-opacity:.8}}"
    );
    css += &colours(["#ffffff", "#1c1e22", "#565c66", "#e4e6ea", "#aab0b9", "#f0f3f7"], LIGHT);
    css += &areas("#ffffff", AREAS_LIGHT);
    css += "@media (prefers-color-scheme:dark){";
    css += &colours(["#15171b", "#e9ebee", "#a4abb6", "#2b2f36", "#5a616c", "#1e2229"], DARK);
    css += &areas("#15171b", AREAS_DARK);
    css + "}"
}

fn areas(paper: &str, fills: [&str; 3]) -> String {
    let each = fills.iter().enumerate();
    each.map(|(i, fill)| format!(".fig .a{i}{{fill:{fill};stroke:{paper}}}")).collect()
}

fn colours([paper, ink, soft, grid, axis, band]: [&str; 6], lines: [&str; STYLES]) -> String {
    let mut css = format!(
        ".fig .paper{{fill:{paper}}}.fig text{{fill:{ink}}}.fig text.soft{{fill:{soft}}}.fig .grid{{stroke:{grid}}}\
         .fig .axis{{stroke:{axis};fill:none}}.fig .band{{fill:{band}}}.fig .halo{{stroke:{paper}}}"
    );
    for (i, colour) in lines.iter().enumerate() {
        css += &format!(".fig .s{i}{{stroke:{colour}}}.fig .f{i}{{fill:{colour};stroke:{paper}}}");
        css += &format!(".fig .h{i}{{fill:{paper};stroke:{colour}}}");
    }
    css
}

/// The style sheet of the page around the figures.
pub fn page_css() -> String {
    format!(
        ":root{{color-scheme:light dark;--paper:#fff;--ink:#1c1e22;--soft:#565c66;--line:#d9dce1;--head:#f5f6f8;--link:#0b62a8}}\
         @media (prefers-color-scheme:dark){{:root{{--paper:#15171b;--ink:#e9ebee;--soft:#a4abb6;--line:#333841;--head:#1e2229;\
         --link:#7cc0f0}}}}\
         *{{box-sizing:border-box}}\
         body{{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 {FONTS}}}\
         main{{max-width:1120px;margin:0 auto;padding:40px 28px 64px}}\
         h1{{font-size:30px;line-height:1.2;margin:0 0 8px;letter-spacing:-.01em}}\
         h2{{font-size:20px;margin:44px 0 6px}}\
         p{{margin:6px 0 14px;max-width:76ch}}.lead{{font-size:18px}}.soft,figcaption{{color:var(--soft)}}\
         figure{{margin:18px 0 8px;overflow-x:auto}}figure svg{{display:block;width:100%;min-width:760px;height:auto}}\
         h3{{font-size:17px;margin:34px 0 4px}}.part{{margin-top:64px;border-top:2px solid var(--line);padding-top:22px;font-size:24px}}\
         figcaption{{font-size:14.5px;margin-top:6px;max-width:84ch}}\
         .wide{{overflow-x:auto;margin:14px min(0px,(1120px - 100vw)/2) 14px 0}}\
         table{{border-collapse:collapse;font-size:13.5px;font-variant-numeric:tabular-nums;line-height:1.35}}\
         th,td{{padding:5px 7.5px;text-align:left;white-space:nowrap;border-bottom:1px solid var(--line)}}\
         thead th{{font-weight:600;background:var(--head);border-bottom:1px solid var(--line)}}\
         th.group{{text-align:center}}th.first,td.first{{border-left:1px solid var(--line)}}\
         .right{{text-align:right}}td.long{{white-space:normal;min-width:15em;overflow-wrap:break-word}}tbody tr.new td{{border-top:2px solid var(--line)}}\
         .dense{{font-size:12.5px}}.dense th,.dense td{{padding:5px 6px}}\
         code{{font-size:.92em}}footer{{margin-top:52px;font-size:14px;color:var(--soft)}}\
         @media (max-width:600px){{main{{padding:20px 14px 48px}}h1{{font-size:24px}}}}\
         @media (max-width:600px){{.wide{{margin-right:0}}.stack,.stack tbody,.stack tr,.stack td{{display:block}}.stack thead,.stack td:empty{{display:none}}\
         .stack td{{border:0;padding:2px 0;text-align:left;white-space:normal;min-width:0;overflow-wrap:anywhere}}\
         .stack td::before{{content:attr(data-name)\": \";color:var(--soft)}}.stack tr{{border-top:1px solid var(--line);padding:6px 0}}\
         table:not(.stack) td:first-child,table:not(.stack) tr:last-child th:first-child{{position:sticky;left:0;background:var(--paper);\
         white-space:normal;min-width:6em;max-width:9em;overflow-wrap:anywhere}}}}\
         .broad+.narrow{{display:none}}@media (max-width:600px){{figure .broad{{display:none}}figure .broad+.narrow{{display:block;min-width:0}}}}\
         .keys{{display:none}}@media (max-width:840px){{.keys{{display:block;font-size:14px;margin:0}}}}.keys span{{display:inline-block;margin-right:14px;overflow-wrap:anywhere}}\
         figure .keys svg{{display:inline-block;width:32px;min-width:0;height:12px;vertical-align:-1px;margin-right:4px}}\
         @media print{{main{{padding:0}}figure,table{{break-inside:avoid}}}}"
    )
}
