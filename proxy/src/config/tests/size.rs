//! Large files: reading one is bounded work, whatever stands in it.

use super::*;
use std::fmt::Write;
use std::time::Instant;

/// Ten times what such a file may take, 100 ms, and ten times that for a build without optimisation.
const PATIENCE: Duration = Duration::from_secs(10);

/// Far less than the hours that a quadratic step takes on a file of this size.
const BOUND: Duration = Duration::from_secs(30);

fn took(text: &str) -> (Result<Config, ConfigError>, Duration) {
    let begin = Instant::now();
    let read = parse(text);
    (read, begin.elapsed())
}

fn with_routes(count: usize) -> String {
    let mut text = VALID.to_owned();
    for number in 0..count {
        let _ = writeln!(text, "    - {{ path: /shop/{number}/goods, service: goods-{number} }}");
    }
    text
}

#[test]
fn ten_thousand_routes_are_read_within_a_blink() {
    let text = with_routes(10_000);
    let best = (0..3).map(|_| {
        let (read, time) = took(&text);
        assert_eq!(read.unwrap().gateway.routes.len(), 10_001);
        time
    });
    let best = best.min().unwrap();
    println!("10,000 routes, {} bytes: {best:?}", text.len());
    assert!(best < PATIENCE, "{best:?}");
}

/// The same with all that is usually said of a route.
#[test]
fn ten_thousand_full_routes_fit_into_a_file() {
    let route = |n: usize| {
        format!(
            "    - name: route-{n}\n      match:\n        host: h{}.example.com\n        path: /api/r{n}\n        \
             methods: [GET, POST]\n        headers: {{x-canary: \"1\", x-debug: {{present: false}}}}\n      \
             services: [{{service: s{n}, weight: 90}}, {{service: s{n}-next, weight: 10}}]\n      \
             strip_prefix: /api\n      request_headers: {{set: {{x-route: \"{{route}}\"}}, remove: [x-internal]}}\n",
            n % 100
        )
    };
    let text = VALID.to_owned() + &(0..10_000).map(route).collect::<String>();
    let (read, time) = took(&text);
    assert_eq!(read.unwrap().gateway.routes.len(), 10_001);
    println!("10,000 full routes, {} bytes: {time:?}", text.len());
    assert!(time < BOUND, "{time:?}");
}

/// Text that is repeated until the file is a sixteenth of what it may be: what is quadratic shows, and the test is quick.
fn filled(before: &str, piece: impl Fn(usize) -> String, after: &str) -> String {
    let mut text = before.to_owned();
    for number in 0.. {
        let next = piece(number);
        if text.len() + next.len() + after.len() > SIZE / 16 {
            break;
        }
        text += &next;
    }
    text + after
}

#[test]
fn a_file_full_of_anything_takes_bounded_work() {
    let listen = "version: 1\ngateway:\n  listen:\n";
    let routes = with_routes(2_000);
    for (what, text) in [
        ("unknown keys", filled(VALID, |n| format!("  k{n}: 1\n"), "")),
        ("keys that look like known ones", filled(VALID, |n| format!("  liste{n}: 1\n"), "")),
        ("one key again and again", filled(VALID, |_| "  log: json\n".to_owned(), "")),
        ("addresses", filled(listen, |n| format!("  - 10.0.{}.{}:80\n", n / 256, n % 256), "")),
        (
            "endpoints",
            filled(
                "version: 1\ngateway:\n  registry:\n    endpoints:\n",
                |n| format!("    - http://h{n}:1\n"),
                "",
            ),
        ),
        (
            "routes without anything",
            filled("version: 1\ngateway:\n  routes:\n", |_| "  - {}\n".to_owned(), ""),
        ),
        (
            "routes of one name",
            filled(VALID, |n| format!("    - {{ path: /p{n}, name: a, service: a }}\n"), ""),
        ),
        (
            "hosts of one route",
            filled(
                &format!("{VALID}    - service: a\n      match:\n        host:\n"),
                |n| format!("          - h{n}.example.com\n"),
                "",
            ),
        ),
        (
            "headers of one route",
            filled(
                &format!("{VALID}    - path: /a\n      service: a\n      match:\n        headers:\n"),
                |n| format!("          x-h{n}: a\n"),
                "",
            ),
        ),
        ("routes of one path", filled(VALID, |_| "    - { path: /goods, service: a }\n".to_owned(), "")),
        (
            "services of no route",
            filled(&format!("{routes}  services:\n"), |n| format!("    good{n}: {{}}\n"), ""),
        ),
        ("hosts", filled(&format!("{VALID}  admin_hosts:\n"), |n| format!("  - h{n}\n"), "")),
        ("lists in lists", filled(&format!("{VALID}  log: ["), |_| "[],".to_owned(), "]\n")),
        ("a long text", filled(&format!("{VALID}  log: \""), |_| "\u{1}x".to_owned(), "\"\n")),
        ("a text of many lines", filled(&format!("{VALID}  log: |\n"), |_| "    x\n".to_owned(), "")),
        ("comments", filled(VALID, |_| "# none\n".to_owned(), "")),
        ("anchors", filled(VALID, |n| format!("  k{n}: &a{n} 1\n"), "")),
    ] {
        let (read, time) = took(&text);
        println!("{what}: {time:?}");
        let told = read.map(drop).map_err(|error| error.to_string()).err().unwrap_or_default();
        assert!(told.lines().count() <= 101, "{what}: {}", told.lines().count());
        assert!(time < BOUND, "{what}: {time:?}");
    }
}
