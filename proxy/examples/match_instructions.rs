//! What it takes to find the route of a request: instructions, counted by callgrind, which are the same whatever else the
//! machine does, and time. (An optimised build: `cargo run --release --package proxy --example match_instructions`.)
//!
//! With a case, a number of routes and how many look-ups: does just that, and prints the nanoseconds of one.

#![allow(clippy::print_stdout)]

use std::fmt::Write;
use std::hint::black_box;
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use proxy::config::{Environment, Purpose};
use proxy::explain::{Matcher, Question};
use proxy::site::Source;

/// What is looked for.
const CASES: [(&str, &str); 8] = [
    ("plain", "a prefix, of routes that name no host"),
    ("usual", "a prefix, of 100 hosts"),
    ("regex", "what the one expression of a host takes"),
    ("none", "what no route takes"),
    ("capital", "a host that is written in capitals"),
    ("deep", "worst: 500 prefixes of one another above the path"),
    ("values", "worst: all routes at one path, each for another value of a header"),
    ("regexes", "worst: each hundredth route an expression, all of one host, none of which takes it"),
];
const ROUTES: [usize; 3] = [10, 1_000, 10_000];
const LOOK_UPS: usize = 2_000;
const TIMED: usize = 200_000;
/// The function whose instructions are counted, with all that it calls.
const COUNTED: &str = "*match_instructions::look_up*";

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => show(),
        [case, routes, look_ups] => {
            let (matcher, questions) = prepare(case, routes.parse()?)?;
            let look_ups = look_ups.parse()?;
            let begun = Instant::now();
            look_up(&matcher, &questions, look_ups);
            println!("{:.1}", begun.elapsed().as_nanos() as f64 / look_ups as f64);
            Ok(())
        }
        _ => bail!("give nothing, or a case, a number of routes and a number of look-ups"),
    }
}

fn show() -> Result<()> {
    println!("instructions and nanoseconds of a look-up, of {LOOK_UPS} and {TIMED}, at so many routes");
    println!("  {:10}{:>18}{:>18}{:>18}", "", "10", "1,000", "10,000");
    for (case, meaning) in CASES {
        let mut line = format!("  {case:10}");
        for routes in ROUTES {
            let (count, time) = (count(case, routes)?, time(case, routes)?);
            write!(line, "{:>18}", format!("{count:.0} {time:.0} ns"))?;
        }
        println!("{line}  {meaning}");
    }
    Ok(())
}

/// Runs this very program under callgrind.
fn count(case: &str, routes: usize) -> Result<f64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(format!("--toggle-collect={COUNTED}")).arg(std::env::current_exe()?);
    let output = run(valgrind, case, routes, LOOK_UPS);
    let output =
        output.context("no valgrind on PATH? `make setup` or `apt-get install valgrind` installs it")?;
    let report = String::from_utf8_lossy(&output.stderr);
    let total = report.lines().find_map(|line| line.split_once("Collected :"));
    let (_, total) = total.with_context(|| format!("callgrind printed no total:\n{report}"))?;
    let total: usize = total.trim().parse()?;
    ensure!(total > LOOK_UPS, "callgrind did not find {COUNTED}");
    Ok(total as f64 / LOOK_UPS as f64)
}

fn time(case: &str, routes: usize) -> Result<f64> {
    let output = run(Command::new(std::env::current_exe()?), case, routes, TIMED)?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

fn run(mut command: Command, case: &str, routes: usize, look_ups: usize) -> Result<Output> {
    let output = command.args([case, &routes.to_string(), &look_ups.to_string()]).output()?;
    let report = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{case} of {routes} routes failed:\n{report}");
    Ok(output)
}

/// Looks so often for a route, each time for another request.
#[inline(never)]
fn look_up(matcher: &Matcher, questions: &[Question], look_ups: usize) {
    for question in questions.iter().cycle().take(look_ups) {
        black_box(matcher.find(black_box(question)));
    }
}

/// The routes of a case, and the requests that are looked for in turn.
fn prepare(case: &str, routes: usize) -> Result<(Matcher, Vec<Question>)> {
    let mut text =
        "version: 1\ngateway:\n  listen: [\"127.0.0.1:1\"]\n  reload: off\n  registry: {endpoints: \
                    [\"http://127.0.0.1:2\"]}\n  routes:\n"
            .to_owned();
    for number in 0..routes {
        writeln!(text, "    - {{match: {{{}}}, service: s}}", route(case, number, routes))?;
    }
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), text)?;
    let source = Source::new(file.path().to_owned(), Environment::of_this_process());
    let loaded = source.load(Purpose::Reload)?;
    let matcher = Matcher::new(&loaded.config);
    // Of a prime number, so that all hosts have their turn.
    let questions = (0..997).map(|number| question(case, number * 7 % routes, routes));
    let questions = questions.collect::<Result<Vec<_>>>()?;
    let taken = questions.iter().filter(|question| matcher.find(question).is_some()).count();
    let expected = if matches!(case, "none" | "regexes") { 0 } else { questions.len() };
    ensure!(taken == expected, "{taken} of {} requests have a route", questions.len());
    Ok((matcher, questions))
}

/// What a route takes. Each hundredth of a site has an expression.
fn route(case: &str, number: usize, routes: usize) -> String {
    let is_expression = is_expression(number);
    match case {
        "plain" => format!("path: /team-{}/service-{number}", number % 50),
        "deep" if number < 500 => format!("path: {}", "/a".repeat(number + 1)),
        "deep" => format!("path: /b/{number}"),
        "values" => format!("path: /orders, headers: {{x-tenant: \"{number}\"}}"),
        "regexes" if is_expression => format!("host: a.example, path: {{regex: \"/v[0-9]+/i-{number}/.*\"}}"),
        "regexes" => format!("host: a.example, path: /s-{number}"),
        _ if is_expression => {
            format!("host: {}, path: {{regex: \"/v[0-9]+/i-{number}(/.*)?\"}}", host(number, routes))
        }
        _ => format!("host: {}, path: /team-{}/s-{number}", host(number, routes), number % 50),
    }
}

/// A request for such a route, or the like.
fn question(case: &str, number: usize, routes: usize) -> Result<Question> {
    // An expression's number, where one is meant, and else none's.
    let number = match (case, is_expression(number)) {
        ("regex", false) => number / 100 * 100 + EXPRESSION.min(routes - 1),
        ("usual" | "capital", true) => number - 1,
        _ => number,
    };
    let host = host(number, routes);
    let (host, path) = match case {
        "plain" => (host, format!("/team-{}/service-{number}/items/7?x=1", number % 50)),
        "regex" => (host, format!("/v2/i-{number}/items/7?x=1")),
        "none" => (host, format!("/teams/{number}/items/7?x=1")),
        "capital" => (host.to_uppercase(), format!("/team-{}/s-{number}/items/7?x=1", number % 50)),
        "deep" => (host, format!("{}/x", "/a".repeat(500.min(routes)))),
        "values" => (host, "/orders/7".to_owned()),
        "regexes" => ("a.example".to_owned(), format!("/v2/j-{number}/items/7?x=1")),
        _ => (host, format!("/team-{}/s-{number}/items/7?x=1", number % 50)),
    };
    let mut headers =
        ["accept: */*", "user-agent: curl/8", "accept-encoding: gzip", "cookie: session=0123456789abcdef"]
            .map(str::to_owned)
            .to_vec();
    if case == "values" {
        // The last that is tried.
        headers.push(format!("x-tenant: {}", routes - 1));
    }
    Ok(Question::parse(&format!("GET http://{host}{path}"), &headers, None)?)
}

/// The first of those that are expressions.
const EXPRESSION: usize = 5;

fn is_expression(number: usize) -> bool {
    number % 100 == EXPRESSION
}

/// Ten routes have one host, others a hundred of them.
fn host(number: usize, routes: usize) -> String {
    let hosts = (routes / 10).min(100);
    format!("h{}.shop.example.com", (number / 100 + number) % hosts)
}
