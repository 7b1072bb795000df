//! Planted runs in, tables and figures out.

mod common;

use common::{four, loads_nothing, parsed, run, texts};
use temper_base::*;
use temper_record::event::Parent;
use temper_record::*;
use temper_report::*;

#[test]
fn tables_hold_the_planted_numbers() {
    let text = change_table(&four(), &ReportOptions::default()).unwrap().to_text();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = |run: &str, set: &str| rows.iter().find(|r| r[..2] == [run, set]).unwrap()[3..].join(" ");
    // e^3 = 20.09, e^4.25 = 70.11, e^3.5 = 33.12; 33.12 - 20.09 = 13.03
    assert_eq!(
        row("rewarmed", "web"),
        "3.0000 4.2500 3.5000 +0.5000 20.09 70.11 33.12 +13.03 1.5000 2.1250 1.7500 +0.2500"
    );
    assert!(row("constant", "law").starts_with("5.0000 5.0000 3.0000 -2.0000 148.4 148.4 20.09 -128.3 "));
    let text = final_table(&four(), &ReportOptions::default()).unwrap().to_text();
    let scratch = text.lines().last().unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(scratch, ["scratch", "7.0000", "1097", "3.5000", "2.7500", "15.64", "1.3750"]);
    assert_eq!(
        sentence(&four(), &ReportOptions::default()).unwrap(),
        "On law, rewarmed ends lowest, at perplexity 12.18 (scratch 15.64, constant 20.09); \
         on web, its perplexity rises from 20.09 to 33.12 (scratch 1097, constant 25.79)."
    );
}

#[test]
fn a_metric_that_is_not_in_the_table_of_metrics_is_shown() {
    let mut runs = four();
    for (_, points) in runs.iter_mut().flat_map(|run| &mut run.evals) {
        points.iter_mut().for_each(|point| point.values.set("new_score", 0.123456));
    }
    let options = ReportOptions { metric: "new_score".into(), table: vec!["new_score".into()], ..Default::default() };
    let text = final_table(&runs, &options).unwrap().to_text();
    assert!(text.contains("new score") && text.contains(" 0.1235"), "{text}");
    let curves = texts(&report(&runs, &options).unwrap().figures[0].1);
    assert!(curves.iter().any(|text| text == "web: new score on the old data"), "{curves:?}");
}

#[test]
fn figures_are_well_formed_and_name_every_run() {
    let mut runs = four();
    runs[2].phases.pop();
    let report = report(&runs, &ReportOptions::default()).unwrap();
    let names: Vec<&str> = report.figures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["curves", "plane", "training"]);
    for (name, svg) in &report.figures {
        let texts = texts(svg);
        for run in ["english", "rewarmed", "constant", "scratch"] {
            assert!(texts.iter().any(|t| t.contains(run)), "{run} is not named in {name}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name}");
    }
    let curves = texts(&report.figures[0].1);
    for label in
        ["warmup", "decay", "learning rate", "tokens since the branch", "Bands: the phases of rewarmed, scratch."]
    {
        assert!(curves.iter().any(|t| t == label), "{label}: {curves:?}");
    }
    // Cut at the frame, and said so.
    assert!(curves.iter().any(|t| t == "scratch from 9.00"), "{curves:?}");
}

#[test]
fn without_a_branch_no_data_is_old() {
    let report = report(&four()[..1], &ReportOptions::default()).unwrap();
    let names: Vec<&str> = report.figures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["curves", "training"]);
    assert!(!report.html.contains("(old)"));
    let named = ReportOptions { old: Some("law".into()), new: Some("web".into()), ..Default::default() };
    let sentence = sentence(&four()[..1], &named).unwrap();
    assert_eq!(sentence, "On web, english ends at perplexity 20.09; on law, its perplexity falls from 8103 to 148.4.");
}

#[test]
fn facts_say_how_far_a_run_got() {
    let mut runs = four();
    runs[3].steps.truncate(40);
    (runs[3].done, runs[3].stopped) = (None, Some("SIGINT".into()));
    let text = facts_table(&runs, &ReportOptions::default()).to_text();
    let line = |name: &str| {
        text.lines().find(|l| l.starts_with(name)).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("rewarmed"), "rewarmed demo/rewarmed english@100 7 100 1.00k – 12.0s complete – 0.1.0");
    assert_eq!(line("scratch"), "scratch demo/scratch random 7 40 of 100 400 – – stopped: SIGINT – 0.1.0");
}

#[test]
fn a_branch_begins_where_its_parent_ended() {
    let report = report(&four(), &ReportOptions::default()).unwrap();
    let document = parsed(&report.figures[0].1);
    let paths: Vec<&str> = document
        .descendants()
        .filter(|n| {
            n.attribute("class").is_some_and(|c| c.starts_with("curve"))
                && n.ancestors().any(|a| a.has_tag_name(("http://www.w3.org/2000/svg", "g")))
        })
        .filter_map(|n| n.attribute("d"))
        .collect();
    let (english, rewarmed) = (paths[0], paths[1]);
    let end = &english[english.rfind('L').unwrap() + 1..];
    let start = &rewarmed[1..rewarmed.find('L').unwrap()];
    assert_eq!(end, start);
}

#[test]
fn the_page_loads_nothing() {
    let report = report(&four(), &ReportOptions::default()).unwrap();
    loads_nothing(&report);
    assert!(report.html.contains("<td class=\"right\">+0.5000</td>"));
}

#[test]
fn odd_runs_are_drawn() {
    let nan = f64::NAN;
    let evil = run("<b>&\"'\u{1}𝔘 ünï", None, [nan; 5], [1.0, nan, f64::INFINITY, 1.0, 1.0]);
    let flat = run("flat", None, [2.0; 5], [2.0; 5]);
    let one = RunSeries::from_events(
        "one",
        [Event::Eval { step: 0, tokens: 0, set: "web".into(), values: Values::new().with("loss", 2.0) }],
    )
    .unwrap();
    let ring = {
        let mut ring = run("ring", Some("flat"), [2.0; 5], [2.0; 5]);
        ring.info.parent.as_mut().unwrap().run = "ring".into();
        ring
    };
    let mut runs = [evil, flat.clone(), flat, one, ring];
    runs[1].info.parent = Some(Parent { run: "ring".into(), step: 5, tokens: 50 });
    runs[4].info.parent = Some(Parent { run: "flat".into(), step: 5, tokens: 50 });
    for chosen in [&runs[..], &runs[..1], &runs[3..4]] {
        for origin in [Origin::Branch, Origin::Beginning] {
            let report = report(chosen, &ReportOptions { origin, x: XAxis::Steps, ..Default::default() }).unwrap();
            for (_, svg) in &report.figures {
                parsed(svg);
                assert!(!svg.contains("NaN,") && !svg.contains(" NaN") && !svg.contains("MNaN"), "{svg}");
            }
            assert!(!report.html.contains("<b>"));
        }
    }
    let both = texts(&report(&runs[1..3], &ReportOptions::default()).unwrap().figures[0].1);
    assert!(both.iter().any(|t| t == "flat (2)"), "{both:?}");
}

#[test]
fn what_cannot_be_reported_is_said() {
    let fail = |runs: &[RunSeries], options: ReportOptions| {
        let problem = report(runs, &options).unwrap_err();
        assert!(problem.kind == Kind::Input && problem.hint.is_some(), "{problem}");
        problem
    };
    let default = ReportOptions::default;
    assert!(fail(&[], default()).why.contains("nothing"));
    let empty = RunSeries::from_events("empty", []).unwrap();
    let problem = fail(&[four().remove(0), empty], default());
    assert!(problem.place == "empty" && problem.why.contains("the run is empty"), "{problem}");
    let mut blind = four().remove(0);
    blind.evals.clear();
    assert!(fail(&[blind], default()).why.contains("no evaluations"));
    let problem = fail(&four(), ReportOptions { old: Some("wbe".into()), ..default() });
    assert!(problem.place == "wbe" && problem.hint.unwrap().contains("web, law"));
    assert!(fail(&four(), ReportOptions { metric: "error".into(), ..default() }).why.contains("`error`"));
}

#[test]
fn another_kind_of_task_needs_only_other_options() {
    let mut events = Vec::new();
    for step in 0..=20_u64 {
        if step > 0 {
            let values =
                Values::new().with("loss", 1.0).with("eps", 0.01 * step as f64).with("epoch", step as f64 / 4.0);
            events.push(Event::Step { step, tokens: step * 128, values });
        }
        if step % 10 == 0 {
            let values = Values::new().with("error", 0.9 - step as f64 / 100.0).with("certified_error", 0.95);
            events.push(Event::Eval { step, tokens: step * 128, set: "test".into(), values });
        }
    }
    let runs = [RunSeries::from_events("ibp", events).unwrap()];
    let options = ReportOptions {
        metric: "error".into(),
        table: vec!["error".into(), "certified_error".into()],
        x: XAxis::Metric("epoch".into()),
        ..Default::default()
    };
    let report = report(&runs, &options).unwrap();
    let labels = texts(&report.figures[0].1);
    assert!(["test: error", "epsilon", "epoch"].iter().all(|want| labels.iter().any(|t| t == want)), "{labels:?}");
    assert!(!labels.iter().any(|t| t == "learning rate"));
    let table = change_table(&runs, &options).unwrap().to_markdown();
    assert!(table.contains("| 0.9000 | 0.9000 | 0.7000 | -0.2000 | 0.9500 |"), "{table}");
}

#[test]
fn a_schedule_is_drawn() {
    let points: Vec<(f64, f64)> = (0..=100_000).map(|n| (f64::from(n), (f64::from(n) / 1000.0).sin().abs())).collect();
    let curve = ScheduleCurve { quantity: "learning rate".into(), points };
    let svg = schedule_svg(
        "rewarm/<small>",
        "steps",
        &[curve],
        &[("warmup".into(), 0.0, 1000.0), ("decay".into(), 1000.0, 1e5)],
    );
    let labels = texts(&svg);
    assert!(
        labels.contains(&"rewarm/<small>: learning rate".to_owned()) && labels.contains(&"100k".to_owned()),
        "{labels:?}"
    );
    assert!(svg.len() < 200_000, "{} bytes", svg.len());
    parsed(&schedule_svg("empty", "steps", &[], &[]));
}

#[test]
fn tables_align() {
    let mut table = Table::new().text_column("run").number_column("loss", "a").number_column("loss", "b");
    table.row(["größe", "1.5", "-2"]);
    table.row(["日本", "10.25", "3|4"]);
    assert_eq!(
        table.to_text(),
        "          loss\nrun        a    b\n─────  ─────  ───\ngröße    1.5   -2\n日本   10.25  3|4\n"
    );
    assert_eq!(
        table.to_markdown(),
        "| run | loss a | loss b |\n|---|---:|---:|\n| größe | 1.5 | -2 |\n| 日本 | 10.25 | 3\\|4 |\n"
    );
}

#[test]
fn axes_have_round_numbers() {
    use temper_report::scale::{Kind, Scale};
    use temper_report::text::{Format, tick_labels};
    let labels = |kind, range, pixels, format| tick_labels(&Scale::new(kind, range, (0.0, pixels)).ticks(50.0), format);
    assert_eq!(labels(Kind::Linear, (0.0, 1.0), 250.0, Format::Plain), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
    assert_eq!(labels(Kind::Linear, (0.0, 3e-4), 150.0, Format::Plain), ["0", "1e-4", "2e-4", "3e-4"]);
    assert_eq!(labels(Kind::Linear, (-5e5, 1e6), 150.0, Format::Count), ["−0.5M", "0", "0.5M", "1.0M"]);
    assert_eq!(labels(Kind::Log, (1.0, 1000.0), 200.0, Format::Plain), ["1", "10", "100", "1000"]);
    assert_eq!(
        labels(Kind::Log, (15.0, 150.0), 500.0, Format::Plain),
        ["15", "20", "30", "40", "50", "60", "80", "100", "150"]
    );
    // Nothing to span, and nothing that a logarithm takes.
    assert!(!labels(Kind::Linear, (2.0, 2.0), 200.0, Format::Plain).is_empty());
    assert!(!labels(Kind::Log, (0.0, 5.0), 200.0, Format::Plain).is_empty());
    assert!(!labels(Kind::Linear, (f64::NAN, f64::INFINITY), 200.0, Format::Plain).is_empty());
}

#[test]
fn a_report_is_written() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("a/report");
    let page = report(&four(), &ReportOptions::default()).unwrap().write(&dir).unwrap();
    assert_eq!(page, dir.join("report.html"));
    assert!(dir.join("plane.svg").exists());
    let in_the_way = tmp.path().join("file");
    std::fs::write(&in_the_way, "").unwrap();
    assert!(report(&four(), &ReportOptions::default()).unwrap().write(&in_the_way).is_err());
}

/// Final numbers over seeds, and a curve with its spread: well-formed, with every name, and nothing that is not a number.
#[test]
fn dots_and_spreads_are_drawn() {
    let rows = [("x1", vec![3.0, 3.2, 3.1]), ("a <strange> & long name of a variant", vec![4.0]), ("failed", vec![])];
    let dots = Dots {
        name: "final".into(),
        title: "At the end".into(),
        description: "d".into(),
        columns: vec!["new: loss".into(), "old: loss".into()],
        rows: rows.iter().map(|(name, values)| ((*name).to_owned(), vec![values.clone(), vec![f64::NAN]])).collect(),
    };
    let svg = dots.to_svg();
    let found = texts(&svg);
    for text in ["x1", "failed", "new: loss", "old: loss"] {
        assert!(found.iter().any(|t| t == text), "{text}: {found:?}");
    }
    assert_eq!(svg.matches("<circle").count(), 4, "a ring for every seed");
    assert!(svg.contains("x1: 3.1000 ± 0.100 (3 seeds)"), "{svg}");
    assert!(!svg.contains("NaN") && !svg.contains("inf"));

    let points = |values: [f64; 3]| (0..3).zip(values).map(|(x, y)| chart::Point { x: f64::from(x), y, tip: None });
    let line = chart::Line {
        name: "mean".into(),
        style: 1,
        points: points([3.0, 2.0, 1.0]).collect(),
        spread: vec![(0.0, 2.9, 3.1), (1.0, 1.8, 2.2), (2.0, f64::NAN, 1.0)],
        ..chart::Line::default()
    };
    let panel = chart::Panel { height: 100.0, lines: vec![line], ..chart::Panel::default() };
    let svg = Figure { name: "curves".into(), panels: vec![panel], ..Figure::default() }.to_svg();
    assert_eq!(svg.matches("fill-opacity").count(), 1, "an area of the two places that have a spread");
    assert!(!svg.contains("NaN"));
    texts(&svg);
}

/// Every mark, bar and label of a figure of dots lies in the panel it belongs to, however wide the spread and whatever the number of columns.
#[test]
fn dots_stay_inside_their_panels() {
    for columns in [1, 3, 6] {
        let values = |scale: f64| vec![vec![100_000.0, 100_000.0 + scale, 100_000.0 - scale]; columns];
        let dots = Dots {
            name: "final".into(),
            columns: vec!["a rather long name of a data set: perplexity".into(); columns],
            rows: vec![("narrow".into(), values(0.5)), ("wide".into(), values(3.0)), ("far".into(), values(9.0))],
            ..Dots::default()
        };
        let svg = dots.to_svg();
        let document = parsed(&svg);
        let number = |n: roxmltree::Node, name: &str| n.attribute(name).and_then(|v| v.parse::<f64>().ok());
        let titles: Vec<f64> = document
            .descendants()
            .filter(|n| n.attribute("class") == Some("title"))
            .map(|n| number(n, "x").unwrap())
            .collect();
        assert_eq!(titles.len(), columns);
        let end = |i: usize| titles.get(i + 1).map_or(1000.0 - 16.0, |next| *next) - 24.0;
        let inside = |low: f64, high: f64| (0..columns).any(|i| low >= titles[i] - 0.1 && high <= end(i) + 0.1);
        let bars = document.descendants().filter(|n| n.attribute("class").is_some_and(|c| c.starts_with("curve")));
        let bars: Vec<(f64, f64)> = bars
            .map(|n| {
                let d = n.attribute("d").unwrap();
                let (from, to) = d[1..].split_once('H').unwrap();
                (from.split_whitespace().next().unwrap().parse().unwrap(), to.parse().unwrap())
            })
            .collect();
        assert_eq!(bars.len(), 3 * columns);
        for (low, high) in bars {
            assert!(inside(low, high), "{columns}: a bar from {low} to {high}, panels from {titles:?}");
        }
        let ticks: Vec<(f64, f64)> = document
            .descendants()
            .filter(|n| n.attribute("class") == Some("soft small"))
            .map(|n| (number(n, "x").unwrap(), text::pixels(n.text().unwrap(), 12.0) / 2.0))
            .collect();
        assert!(ticks.len() >= 2 * columns, "{columns}: single ticks: {ticks:?}");
        for pair in ticks.windows(2) {
            assert!(pair[0].0 + pair[0].1 < pair[1].0 - pair[1].1, "{columns}: {pair:?} run together");
        }
    }
}

/// A report of thousands of sets shows those that moved most, says how many more there are, and stays small.
#[test]
fn thousands_of_sets_are_bounded() {
    let mut run = run("many", None, [2.0; 5], [2.0; 5]);
    let at = |step: u64, loss: f64| EvalPoint { step, tokens: step * 10, values: Values::new().with("loss", loss) };
    for set in 0..3000_u32 {
        let moved = if set == 1234 { 2.0 } else { 0.001 };
        run.evals.push((format!("set{set}"), vec![at(0, 3.0), at(100, 3.0 - moved)]));
    }
    let report = report(&[run], &ReportOptions::default()).unwrap();
    assert!(report.html.len() < 1_000_000, "{} bytes", report.html.len());
    assert!(report.html.contains("set1234"));
    assert!(report.html.contains("2978 more are in evals.csv"));
}

/// Base, law, medicine: one axis, a band for each, and what every corpus came to after each.
#[test]
fn a_chain_of_runs_has_stages() {
    let mut runs = vec![
        run("base", None, [9.0, 5.0, 4.0, 3.5, 3.0], [9.0, 6.0, 5.5, 5.1, 5.0]),
        run("law", Some("base"), [3.0, 4.25, 4.0, 3.75, 3.5], [5.0, 4.0, 3.5, 3.0, 2.5]),
        run("medicine", Some("law"), [3.5, 3.6, 3.7, 3.8, 3.9], [2.5, 2.6, 2.7, 2.8, 2.9]),
    ];
    runs[0].evals.retain(|(set, _)| set == "web");
    let table = stage_table(&runs, &ReportOptions::default()).unwrap().unwrap().to_text();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = |set: &str| rows.iter().find(|row| row[0] == set).unwrap().join(" ");
    assert!(row("web").ends_with("9.0000 8103 3.0000 20.09 3.5000 33.12 3.9000 49.40"), "{table}");
    // The base was not judged by law; the next stage was before its first update.
    assert!(row("law").ends_with("– – 5.0000 148.4 2.5000 12.18 2.9000 18.17"), "{table}");
    let curves = texts(&report(&runs, &ReportOptions::default()).unwrap().figures[0].1);
    for words in ["base", "law", "medicine", "tokens", "Bands: one run after the other."] {
        assert!(curves.iter().any(|t| t == words), "{words}: {curves:?}");
    }
    assert!(stage_table(&four(), &ReportOptions::default()).unwrap().is_none());
}

/// What reads the same is no order.
#[test]
fn a_sentence_says_when_runs_end_level() {
    let mut runs = four();
    runs[2] = run("constant", Some("english"), [3.0; 5], [5.0, 4.5, 4.0, 3.5, 2.500_001]);
    assert_eq!(
        sentence(&runs, &ReportOptions::default()).unwrap(),
        "On law, rewarmed and constant end level and lowest, at perplexity 12.18 (scratch 15.64); on web, the perplexity of \
         rewarmed rises from 20.09 to 33.12, that of constant stays at 20.09 (scratch 1097)."
    );
    let two = sentence(&runs[..3], &ReportOptions::default()).unwrap();
    assert!(two.starts_with("On law, rewarmed and constant end level, at perplexity 12.18; on web, "), "{two}");
}

/// A run that was stopped between two evaluations has numbers of the earlier one, not of its end.
#[test]
fn a_report_says_which_evaluation_it_is_about() {
    let mut stopped = four();
    for run in &mut stopped[1..] {
        run.evals.iter_mut().for_each(|(_, points)| points.truncate(4));
        run.done = None;
    }
    assert_eq!(
        sentence(&stopped[..2], &ReportOptions::default()).unwrap(),
        "On law, rewarmed (last evaluated at step 75 of 100) is at perplexity 20.09; on web, its perplexity rises from 20.09 to \
         42.52."
    );
    let all = sentence(&stopped, &ReportOptions::default()).unwrap();
    assert!(all.contains("rewarmed (last evaluated at step 75 of 100) is lowest, at perplexity 20.09"), "{all}");
    assert!(all.contains("constant 33.12 at step 75 of 100"), "{all}");
    let page = report(&stopped, &ReportOptions::default()).unwrap().html;
    assert!(
        page.contains("rewarmed was trained to step 100; its final values are those of step 75, its last evaluation.")
    );
    let complete = report(&four(), &ReportOptions::default()).unwrap().html;
    assert!(!complete.contains("its last evaluation."));
}

/// On a narrow screen a row of texts is a block of lines, each with the name of its column.
#[test]
fn tables_of_texts_name_their_cells() {
    let mut table = Table::new().text_column("claim").text_column("verdict").text_column("compared");
    table.row(["a", "holds", "b < c"]);
    let html = table.to_html();
    assert!(html.contains("<table class=\"stack\">"), "{html}");
    assert!(html.contains("<td data-name=\"verdict\">holds</td>"), "{html}");
    let numbers = Table::new().text_column("run").number_column("law", "loss").to_html();
    assert!(!numbers.contains("stack") && !numbers.contains("data-name"), "{numbers}");
}

/// Beside every figure stands one for narrow screens, in which no title and no label leaves the drawing.
#[test]
fn narrow_figures_stay_inside() {
    let title = "a title that is much longer than the narrow screen of a telephone is wide, in bold letters".to_owned();
    let points = (0..10).map(|n| chart::Point { x: n as f64, y: 10f64.powi(n), tip: Some("tip".into()) }).collect();
    let line =
        chart::Line { name: "a run with a long name".into(), points, value: "1.2345".into(), ..Default::default() };
    let panel = chart::Panel { title: title.clone(), height: 100.0, lines: vec![line], ..Default::default() };
    let figure = Figure { name: "curves".into(), panels: vec![panel], ..Figure::default() };
    let both = format!("<div>{}</div>", figure.to_inline_svg());
    let document = parsed(&both);
    let svgs: Vec<_> = document.descendants().filter(|n| n.has_tag_name("svg")).collect();
    let classes: Vec<_> = svgs.iter().map(|svg| svg.attribute("class").unwrap()).collect();
    assert_eq!(classes, ["fig broad", "fig narrow"]);
    let number = |n: &roxmltree::Node, name: &str| n.attribute(name).and_then(|x| x.parse::<f64>().ok());
    let mut titles = Vec::new();
    for node in svgs[1].descendants().filter(|n| n.has_tag_name("text") && n.attribute("transform").is_none()) {
        let words = node.text().unwrap_or_default();
        let (bold, size) = if node.attribute("class") == Some("title") { (1.1, 14.0) } else { (1.0, 13.0) };
        let (x, width) = (number(&node, "x").unwrap(), bold * text::pixels(words, size));
        let end = match node.attribute("text-anchor") {
            Some("middle") => x + width / 2.0,
            Some("end") => x,
            _ => x + width,
        };
        assert!(end <= 420.0, "{words} ends at {end}");
        if node.attribute("class") == Some("title") {
            titles.push(words);
        }
    }
    assert!(titles.len() > 1);
    assert_eq!(titles.join(" "), title);
    assert!(!svgs[1].descendants().any(|n| n.text() == Some("tip")), "no tips without a pointer");
}

/// Ticks over several powers of ten are short.
#[test]
fn ticks_over_many_powers_of_ten_are_short() {
    let labels = text::tick_labels(&[200.0, 2000.0, 20_000.0, 2e6, 5e9], text::Format::Each);
    assert_eq!(labels, ["200", "2000", "20k", "2M", "5G"]);
}
